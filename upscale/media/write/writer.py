"""Video out: encoded to its destination, which shows nothing before all of it is there."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
from av.packet import Packet
from av.video.frame import VideoFrame

from upscale.errors import ConsumerGoneError, UpscaleError
from upscale.media.cargo import NOTHING, Cargo
from upscale.media.frame import Frame
from upscale.media.info import VideoInfo
from upscale.media.pipe import StoppedError
from upscale.media.write.destination import Destination
from upscale.media.write.encoder import Encoder
from upscale.media.write.tracks import WITH_CHAPTERS, add_tracks

if TYPE_CHECKING:
    from av.container.core import Chapter

CONTAINER_MARKS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
"""Metadata that describes the source's container and would be wrong, or refused, in the target's."""

APPLE_KEYS = {
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright",
    "grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords",
    "location", "creation_time", "timecode", "track", "disc", "make", "model",
}  # fmt: skip
"""Keys that mp4 and mov have boxes of their own for; any other wants them all in Apple's newer form."""

WITH_ROTATION = {"mp4", "mov", "matroska", "webm"}
"""Containers that tell players to turn the picture."""

KEPT_TAGS: dict[str, set[str]] = {
    "avi": {"title", "artist", "album", "comment", "copyright", "date", "genre", "language", "track"},
    "mpegts": {"service_name", "service_provider"},
    "yuv4mpegpipe": set(),
    "image2": set(),
}
"""Container -> the tags that it has a place for; the others take any."""

MISPLACED = Fraction(1, 1000)
"""Seconds by which a frame may be moved without a word."""

FINEST_TIMESCALE = 48000
"""Ticks a second of an mp4's edit lists, at least: FFmpeg's 1000 put sound off by up to a millisecond."""

FRAGMENTS = "frag_keyframe+delay_moov+default_base_moof"
"""How an mp4 is written where one cannot go back to its beginning."""


class Writer:
    """An output in the making. Use it as a context manager: it gets its final name if the block ends well,
    and is removed if it does not.

    ``info`` is the source's record, whose clock and rotation are kept. Raises UpscaleError if the encoder
    or the container will not have it.
    """

    def __init__(
        self,
        destination: Destination,
        info: VideoInfo,
        size: tuple[int, int],
        encoder: Encoder,
        cargo: Cargo = NOTHING,
        chapters: Sequence["Chapter"] = (),
    ):
        self.destination = destination
        self.frames_given = 0
        self.frames_written = 0
        self.notes: list[str] = []
        """What the container could not hold, and what became of it."""
        self._encoder = encoder
        self._size = size
        self._number = -1 << 31
        """Of the last frame, where frames are counted."""
        self._moved = False
        with self._reporting("cannot be written"):
            target = destination.open()
            options = _container_options(destination, info, cargo.metadata)
            self._container = av.open(target, "w", format=destination.container, container_options=options)
        try:
            with self._reporting(f"{encoder.codec} cannot encode this"):
                self._video = encoder.add_to(self._container, size)
            if info.display_matrix is not None and destination.container in WITH_ROTATION:
                self._video.set_display_matrix(info.display_matrix)
            elif info.display_matrix is not None:
                self.notes.append(f"the rotation was left out: {destination.container} has none")
            self._video.metadata.update(cargo.picture_metadata)
            if cargo.disposition is not None:
                self._video.disposition = cargo.disposition
            self._tracks = add_tracks(self._container, cargo.streams, self.notes)
            self._add_chapters(chapters)
            self._container.metadata.update(self._fitting(cargo.metadata))
            with self._reporting(f"cannot be written, or {destination.container} cannot hold this"):
                self._container.start_encoding()
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._finish()
        except BaseException:
            self._discard()
            raise

    @property
    def damage(self) -> list[str]:
        """What of the sound and the subtitles could not be read so far."""
        return [
            f"{track.packets_lost} packets of stream {index} could not be read"
            for index, track in self._tracks.items()
            if track.packets_lost
        ]

    def picture(self, frame: Frame) -> VideoFrame:
        """The frame as it will be encoded, a quarter of its size in memory. In any thread.

        Raises ValueError for a picture of another size.
        """
        height, width = frame.planes[0].shape[1:]
        if (width, height) != self._size:
            raise ValueError(f"a picture of {width}x{height} for a film of {self._size[0]}x{self._size[1]}")
        picture = self._encoder.frame(frame.planes, frame.extras)
        picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
        return picture

    def write(self, picture: VideoFrame) -> None:
        """Encode what ``picture`` made of a frame, at its own pts."""
        if self.destination.holds_one_picture and self.frames_given:
            name = self.destination.path
            raise UpscaleError(
                f"{name}: holds one picture, and there are more; write to {name.stem}%05d{name.suffix}"
            )
        if self._encoder.counts_frames:
            self._on_the_grid(picture)
        self.frames_given += 1
        with self._reporting(f"frame {self.frames_given} cannot be encoded or written"):
            self._mux(self._video.encode(picture))

    def copy(self, packet: Packet) -> None:
        """Pass a packet of one of the source's other streams on."""
        track = self._tracks.get(packet.stream.index)
        if track is not None:
            with self._reporting(f"stream {packet.stream.index} cannot be written"):
                self._mux_beside(track.pass_on(packet))

    def _fitting(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The tags of the film that the container has a place for."""
        tags = {key: text for key, text in metadata.items() if key.lower() not in CONTAINER_MARKS}
        places = KEPT_TAGS.get(self._container.format.name)
        lost = sorted(key for key in tags if places is not None and key.lower() not in places)
        if lost:
            self.notes.append(f"tags were left out: {', '.join(lost)}")
        return {key: text for key, text in tags.items() if key not in lost}

    def _on_the_grid(self, picture: VideoFrame) -> None:
        """Give a frame a number of its own, in a container that counts frames."""
        assert picture.pts is not None
        assert picture.time_base is not None
        at = picture.pts * picture.time_base
        number = max(round(at / self._encoder.tick), self._number + 1)
        if abs(number * self._encoder.tick - at) > MISPLACED and not self._moved:
            self._moved = True
            self.notes.append(f"times were moved: {self.destination.container} only counts frames")
        self._number = number
        picture.pts, picture.time_base, picture.duration = number, self._encoder.tick, 1

    def _add_chapters(self, chapters: Sequence["Chapter"]) -> None:
        if not chapters:
            return
        if self._container.format.name in WITH_CHAPTERS:
            self._container.set_chapters(list(chapters))
        else:
            self.notes.append(
                f"{len(chapters)} chapters were left out: {self._container.format.name} has none"
            )

    def _mux(self, packets: list[Packet]) -> None:
        self.frames_written += len(packets)
        self._container.mux(packets)

    def _mux_beside(self, packets: list[Packet]) -> None:
        """Write packets of sound and the like."""
        for packet in packets:
            # An AVI knows no time before zero, where encoded sound begins: all of it would come late.
            middle = (packet.pts or 0) + (packet.duration or 0) / 2
            if self._container.format.name != "avi" or middle >= 0:
                self._container.mux(packet)

    def _finish(self) -> None:
        with self._reporting("cannot be finished"):
            self._mux(self._video.encode())
            for track in self._tracks.values():
                self._mux_beside(track.end())
            self._container.close()
        if self.frames_written != self.frames_given:
            raise UpscaleError(
                f"{self.destination.path}: the encoder took {self.frames_given} frames and gave"
                f" {self.frames_written}"
            )
        remark = self.destination.commit()
        if remark:
            self.notes.append(remark)

    @contextlib.contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        try:
            yield
        except StoppedError as error:
            if isinstance(error.by, BrokenPipeError):
                raise ConsumerGoneError("whoever read the output has gone") from error
            raise error.by from None
        except (av.FFmpegError, ValueError, OSError) as error:
            raise UpscaleError(f"{self.destination.path}: {what} ({reason(error)})") from error

    def _discard(self) -> None:
        # An unfinished file may not want to be closed; it is removed anyway.
        with contextlib.suppress(av.FFmpegError, ValueError, OSError, StoppedError):
            self._container.close()
        self.destination.discard()


def _container_options(
    destination: Destination, info: VideoInfo, metadata: Mapping[str, str]
) -> dict[str, str]:
    """What the muxer is told by name."""
    if destination.container == "image2":
        return {"update": "1"} if destination.holds_one_picture else {}
    if destination.container == "yuv4mpegpipe":
        return {"strict": "-1"}  # more than 8 bit
    if destination.container == "avi":
        return {"avoid_negative_ts": "disabled"}
    if destination.container not in ("mp4", "mov"):
        return {}
    ticks = info.time_base.denominator
    options = {"movie_timescale": str(ticks * max(1, -(-FINEST_TIMESCALE // ticks)))}
    flags = []
    if not {key.lower() for key in metadata} <= APPLE_KEYS | CONTAINER_MARKS:
        flags.append("use_metadata_tags")
    if destination.path.name == "-":
        flags.append(FRAGMENTS)
        options["frag_duration"] = "1000000"
    return options | ({"movflags": "+".join(flags)} if flags else {})


def reason(error: Exception) -> str:
    """What an error of FFmpeg's, or of PyAV's own, has to say."""
    return getattr(error, "strerror", None) or str(error)
