"""Video out: encoded beside the target, renamed at the end."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.packet import Packet

from upscale.errors import UpscaleError, UsageError
from upscale.media.encoder import QSCALE, EncodeOptions, container_name, encoder_options, output_format
from upscale.media.info import VideoInfo, location
from upscale.media.pixels import from_planes
from upscale.media.sound import ConvertedTrack, Track, add_track
from upscale.media.source import Frame

CONTAINER_MARKS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
"""Metadata that describes the source's container and would be wrong, or refused, in the target's."""


def check_target(path: Path) -> None:
    """Find out what would stop us from writing there. Raises UpscaleError or UsageError."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the name of a file to write")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UpscaleError(f"{path.parent}: cannot be written to; choose another folder")
    try:
        av.ContainerFormat(container_name(path), "w")
    except ValueError:
        raise UsageError(f"{path}: no container is called {path.suffix!r}; try .mp4 or .mkv") from None


class Writer:
    """An output file in the making. Use it as a context manager: it is renamed to its final name if the
    block ends well, and removed if it does not.

    ``info`` is the source's record, whose colour tags, sample aspect ratio and clock are kept. Raises
    UpscaleError if the encoder or the container will not have it.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        size: tuple[int, int],
        encode: EncodeOptions,
        sound: Sequence[AudioStream] = (),
        metadata: dict[str, str] | None = None,
    ):
        self.path = path
        self.frames_given = 0
        self.frames_written = 0
        self.notes: list[str] = []
        """What the container could not hold, and what became of it."""
        self.damage: list[str] = []
        """What of the sound could not be read; known when the file is finished."""
        self._beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._made, self._encoded_name = output_format(info.pixels, encode)
        self._size = size
        with self._reporting("cannot be written"):
            self._container = av.open(location(self._beside), "w", format=container_name(path))
        try:
            with self._reporting(f"{encode.codec} cannot encode this"):
                self._video = self._add_video(info, encode)
                self._video.codec_context.open()
            self._tracks = self._add_tracks(sound)
            kept = {key: text for key, text in (metadata or {}).items() if key not in CONTAINER_MARKS}
            self._container.metadata.update(kept)
            with self._reporting(f"cannot be written, or {path.suffix} cannot hold this"):
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

    def write(self, frame: Frame) -> None:
        """Encode one frame at its own pts. Raises ValueError for a picture of another size."""
        height, width = frame.planes[0].shape[1:]
        if (width, height) != self._size:
            raise ValueError(f"a picture of {width}x{height} for a film of {self._size[0]}x{self._size[1]}")
        picture = from_planes(frame.planes, self._made)
        if self._encoded_name != picture.format.name:
            picture = picture.reformat(format=self._encoded_name)
        picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
        self.frames_given += 1
        with self._reporting(f"frame {self.frames_given} cannot be encoded or written"):
            self._mux(self._video.encode(picture))

    def copy(self, packet: Packet) -> None:
        """Pass a packet of one of the source's sound streams on."""
        track = self._tracks.get(packet.stream.index)
        if track is not None:
            with self._reporting(f"sound {packet.stream.index} cannot be written"):
                self._container.mux(track.pass_on(packet))

    def _add_video(self, info: VideoInfo, encode: EncodeOptions) -> av.VideoStream:
        rate = info.average_rate or Fraction(25)
        options = encoder_options(encode)
        stream = self._container.add_stream(encode.codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = self._encoded_name
        context.time_base = stream.time_base = info.time_base
        if self._container.format.name == "avi":  # it counts frames, and knows no pts: no reordering either
            context.time_base = stream.time_base = 1 / rate
            context.max_b_frames = 0
        context.sample_aspect_ratio = info.sample_aspect_ratio or Fraction(0, 1)
        context.color_range = 2 if self._made.full_range else 1
        context.colorspace = info.color.matrix
        context.color_primaries = info.color.primaries
        context.color_trc = info.color.transfer
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        context.thread_type = "AUTO"
        context.flags |= Flags.frame_duration
        if "crf" not in options:
            context.flags |= Flags.qscale
            context.global_quality = QSCALE
        return stream

    def _add_tracks(self, sound: Sequence[AudioStream]) -> dict[int, Track]:
        """Index of a source stream -> the track that its packets go to."""
        tracks: dict[int, Track] = {}
        for stream in sound:
            try:
                track = add_track(self._container, stream)
            except (av.FFmpegError, ValueError) as error:
                self.notes.append(f"sound {stream.index} was left out ({reason(error)})")
                continue
            tracks[stream.index] = track
            if isinstance(track, ConvertedTrack):
                name = stream.codec_context.name
                self.notes.append(f"sound {stream.index} was converted from {name} to {track.codec}")
        return tracks

    def _mux(self, packets: list[Packet]) -> None:
        self.frames_written += len(packets)
        self._container.mux(packets)

    def _finish(self) -> None:
        with self._reporting("cannot be finished"):
            self._mux(self._video.encode())
            for index, track in self._tracks.items():
                self._container.mux(track.end())
                if isinstance(track, ConvertedTrack) and track.packets_lost:
                    self.damage.append(f"{track.packets_lost} packets of sound {index} could not be read")
            self._container.close()
        if self.frames_written != self.frames_given:
            raise UpscaleError(
                f"{self.path}: the encoder took {self.frames_given} frames and gave {self.frames_written}"
            )
        self._beside.replace(self.path)

    @contextlib.contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, ValueError) as error:
            raise UpscaleError(f"{self.path}: {what} ({reason(error)})") from error

    def _discard(self) -> None:
        # An unfinished file may not want to be closed; it is removed anyway.
        with contextlib.suppress(av.FFmpegError, ValueError, OSError):
            self._container.close()
        self._beside.unlink(missing_ok=True)


def reason(error: Exception) -> str:
    """What an error of FFmpeg's, or of PyAV's own, has to say."""
    return getattr(error, "strerror", None) or str(error)
