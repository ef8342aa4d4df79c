"""Video out: encoded to its destination, which shows nothing before all of it is there."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from upscale.media.side_data import ROTATION
from upscale.media.write import gif
from upscale.media.write.destination import Destination
from upscale.media.write.encoder import COUNTING, WITHOUT_START, Encoder
from upscale.media.write.encoding import Encoding
from upscale.media.write.tracks import WITH_CHAPTERS, add_tracks
from upscale.times import name_time

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
    "gif": set(),
    "image2": set(),
}
"""Container -> the tags that it has a place for; the others take any."""

FINEST_TIMESCALE = 48000
"""Ticks a second of an mp4's edit lists, at least: FFmpeg's 1000 put sound off by up to a millisecond."""

LONGEST_PAUSE = {"avi": 60_000}
"""Frames without a picture that a muxer fills in, in a container that counts them; FFmpeg's own limit."""

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
        self.notes: list[str] = []
        """What the container could not hold, and what became of it."""
        self._encoder = encoder
        self._before: int | None = None
        """When the packet before was decoded, in ticks of the encoder."""
        self._refused: Counter[int] = Counter()
        """Index of a stream of the source -> packets that the muxer would not have."""
        with self._reporting("cannot be written"):
            target = destination.open()
            options = _container_options(destination, info, cargo.metadata)
            self._container = av.open(target, "w", format=destination.container, container_options=options)
        try:
            with self._reporting(f"{encoder.codec} cannot encode this"):
                self._video = encoder.add_to(self._container, size)
            self._encoding = Encoding(encoder, self._video.codec_context, size)
            if info.display_matrix is not None and destination.container in WITH_ROTATION:
                self._video.set_display_matrix(info.display_matrix)
            elif info.display_matrix is not None and ROTATION not in encoder.writes:
                self.notes.append(f"the rotation was left out: {destination.container} has none")
            self._video.metadata.update(cargo.picture_metadata)
            if cargo.disposition is not None:
                self._video.disposition = cargo.disposition
            begins = encoder.origin if destination.container in WITHOUT_START else None
            self._tracks = add_tracks(self._container, cargo.streams, self.notes, begins)
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

    def cancel(self) -> None:
        """Leave nothing behind."""
        self._discard()

    @property
    def damage(self) -> list[str]:
        """What of the sound and the subtitles could not be read so far."""
        unread = [
            f"{track.packets_lost} packets of stream {index} could not be read"
            for index, track in self._tracks.items()
            if track.packets_lost
        ]
        holder = self.destination.container
        return unread + [
            f"{count} packets of stream {index} were refused by {holder}"
            for index, count in self._refused.items()
        ]

    def picture(self, frame: Frame) -> VideoFrame:
        """See ``Encoding.picture``."""
        return self._encoding.picture(frame)

    def write(self, picture: VideoFrame) -> None:
        """Encode what ``picture`` made of a frame, at its own pts."""
        if self.destination.holds_one_picture and self._encoding.given:
            name = self.destination.path
            raise UpscaleError(
                f"{name}: holds one picture, and there are more; write to {name.stem}%05d{name.suffix}"
            )
        with self._reporting(f"frame {self._encoding.given + 1} cannot be encoded or written"):
            self.add(self._encoding.encode(picture))
        if self._encoding.moved:
            self.tell_of_moved()

    def add(self, packets: list[Packet]) -> None:
        """Write packets of the picture, with times in ticks of the encoder."""
        tick = self._video.codec_context.time_base
        for packet in packets:
            self._check_pause(packet, tick)
            packet.stream, packet.time_base = self._video, tick
            with self._reporting("cannot be written"):
                self._container.mux(packet)

    def _check_pause(self, packet: Packet, tick: Fraction) -> None:
        """Raises UpscaleError where the container would have to count more frames than it can."""
        holder, at = self.destination.container, packet.dts
        apart = 0 if self._before is None or at is None else at - self._before
        if holder in LONGEST_PAUSE and apart > LONGEST_PAUSE[holder]:
            raise UpscaleError(
                f"{self.destination.path}: the film pauses for {name_time(apart * tick)}, which {holder} "
                "cannot hold, as it counts frames; write .mkv or .mp4"
            )
        self._before = at

    @property
    def headers(self) -> bytes:
        """What the encoder puts before its packets; those of another run of it go with the same."""
        return self._video.codec_context.extradata or b""

    def tell_of_moved(self) -> None:
        """Note that frames were given other times than their own."""
        counts = "hundredths of a second, one frame in each" if self._encoder.clock else "frames"
        container, codec = self.destination.container, self._encoder.codec
        who = container if container in COUNTING or self._encoder.clock or codec not in COUNTING else codec
        note = f"times were moved: {who} only counts {counts}"
        if note not in self.notes:
            self.notes.append(note)

    def copy(self, packet: Packet) -> None:
        """Pass a packet of one of the source's other streams on."""
        track = self._tracks.get(packet.stream.index)
        if track is not None:
            index = packet.stream.index
            with self._reporting(f"stream {index} cannot be written"):
                try:
                    self._mux_beside(track.pass_on(packet))
                except (av.ArgumentError, av.InvalidDataError):  # the film is not to be lost for it
                    self._refused[index] += 1

    def _fitting(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The tags of the film that the container has a place for."""
        tags = {key: text for key, text in metadata.items() if key.lower() not in CONTAINER_MARKS}
        places = KEPT_TAGS.get(self._container.format.name)
        lost = sorted(key for key in tags if places is not None and key.lower() not in places)
        if lost:
            self.notes.append(f"tags were left out: {', '.join(lost)}")
        return {key: text for key, text in tags.items() if key not in lost}

    def _add_chapters(self, chapters: Sequence["Chapter"]) -> None:
        if not chapters:
            return
        if self._container.format.name in WITH_CHAPTERS:
            self._container.set_chapters(list(chapters))
        else:
            self.notes.append(
                f"{len(chapters)} chapters were left out: {self._container.format.name} has none"
            )

    def _mux_beside(self, packets: Iterable[Packet]) -> None:
        """Write packets of sound and the like."""
        for packet in packets:
            if self._container.format.name in WITHOUT_START and packet.pts is not None:
                ticks = round(self._encoder.origin / packet.time_base)
                packet.pts -= ticks
                packet.dts = None if packet.dts is None else packet.dts - ticks
                # Encoded sound may begin before zero: all of it would come late.
                if packet.pts + (packet.duration or 0) / 2 < 0:
                    continue
            self._container.mux(packet)

    def _finish(self) -> None:
        with self._reporting("cannot be finished"):
            self.add(self._encoding.finish())
            for track in self._tracks.values():
                self._mux_beside(track.end())
            self._container.close()
        self.notes += self._encoding.notes
        remark = self.destination.commit()
        if remark:
            self.notes.append(remark)

    @contextlib.contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        try:
            yield
        except StoppedError as error:
            if isinstance(error.by, BrokenPipeError):
                raise ConsumerGoneError("the reader of the output has gone") from error
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
    if destination.container == "gif" and info.plays:
        return {"loop": gif.loops(info.plays)}
    if destination.container == "apng":
        return {"plays": str(info.plays or 0)}
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
