"""Video out: encoded beside the target, renamed at the end."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.codec.context import Flags
from av.packet import Packet

from upscale.errors import UpscaleError, UsageError
from upscale.media.info import VideoInfo
from upscale.media.pixels import SUBSAMPLING, PixelFormat, describe, from_planes, planar_name
from upscale.media.sound import ConvertedTrack, Track, add_track
from upscale.media.source import Frame

CRF_CODECS = {"libx264", "libx265", "libsvtav1", "libvpx-vp9", "libaom-av1"}
"""Encoders that understand --crf; the others are asked for their own constant quality, if any."""

CONTAINER_MARKS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
"""Metadata that describes the source's container and would be wrong, or refused, in the target's."""


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """The encoder and how it is asked to work."""

    codec: str = "libx264"
    crf: float = 16
    preset: str | None = None
    pix_fmt: str | None = None
    """None keeps the source's depth and chroma layout, as far as the encoder can."""
    options: dict[str, str] = field(default_factory=dict)


def check_output(path: Path, encode: EncodeOptions) -> None:
    """Find out what would stop us in the end, before any work begins. Raises UpscaleError or UsageError."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the name of a file to write")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UpscaleError(f"{path.parent}: cannot be written to; choose another folder")
    try:
        av.ContainerFormat(_format_name(path), "w")
    except ValueError:
        raise UsageError(f"{path}: no container is called {path.suffix!r}; try .mp4 or .mkv") from None
    codec = _encoder(encode.codec)
    if encode.pix_fmt is not None:
        names = [fmt.name for fmt in codec.video_formats or ()]
        if encode.pix_fmt not in names:
            raise UsageError(
                f"{encode.codec} cannot write {encode.pix_fmt}; it can write {', '.join(names)}"
            )


def output_format(source: PixelFormat, encode: EncodeOptions) -> tuple[PixelFormat, str]:
    """The format of the planes to make, and the name of the one to encode.

    They are the same but where ``encode.pix_fmt`` asks for a layout that is not the source's.
    """
    names = [fmt.name for fmt in _encoder(encode.codec).video_formats or ()]
    if encode.pix_fmt is not None:
        wanted = describe(planar_name(encode.pix_fmt), 0)
        made = PixelFormat(wanted.bits, source.full_range or wanted.full_range, source.subsampling)
        return made, encode.pix_fmt
    if source.name in names or not names:
        return source, source.name
    planar = [describe(name, 0) for name in names if _is_plain(name)]
    if not planar:
        return source, names[0]
    best = min(planar, key=lambda fmt: _distance(source, fmt))
    return PixelFormat(best.bits, source.full_range, source.subsampling), best.name


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
        self._beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._made, self._encoded_name = output_format(info.pixels, encode)
        self._size = size
        try:
            self._container = av.open(str(self._beside), "w", format=_format_name(path))
        except OSError as error:
            raise UpscaleError(f"{path}: cannot be written ({error.strerror})") from error
        try:
            self._video = self._add_video(info, encode)
            self._tracks = self._add_tracks(sound)
            self._container.metadata.update(
                {key: value for key, value in (metadata or {}).items() if key not in CONTAINER_MARKS}
            )
            self._container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            self._discard()
            raise UpscaleError(f"{path}: {encode.codec} cannot encode this ({_reason(error)})") from error
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
        """Encode one frame at its own pts."""
        height, width = frame.planes[0].shape[1:]
        if (width, height) != self._size:
            raise UpscaleError(f"the picture changes size, to {width}x{height}, at pts {frame.pts}")
        picture = from_planes(frame.planes, self._made)
        if self._encoded_name != picture.format.name:
            picture = picture.reformat(format=self._encoded_name)
        picture.pts, picture.time_base = frame.pts, frame.time_base
        picture.duration = frame.duration
        self.frames_given += 1
        self._mux(self._video.encode(picture))

    def copy(self, packet: Packet) -> None:
        """Pass a packet of one of the source's sound streams on."""
        track = self._tracks.get(packet.stream.index)
        if track is not None:
            self._container.mux(track.pass_on(packet))

    def _add_video(self, info: VideoInfo, encode: EncodeOptions) -> av.VideoStream:
        rate = info.average_rate or Fraction(25)
        stream = self._container.add_stream(encode.codec, rate=rate, options=_encoder_options(encode))
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = self._encoded_name
        context.time_base = stream.time_base = info.time_base
        context.sample_aspect_ratio = info.sample_aspect_ratio or Fraction(0, 1)
        context.color_range = 2 if self._made.full_range else 1
        context.colorspace = info.color.matrix
        context.color_primaries = info.color.primaries
        context.color_trc = info.color.transfer
        context.thread_type = "AUTO"
        context.flags |= Flags.frame_duration
        return stream

    def _add_tracks(self, sound: Sequence[AudioStream]) -> dict[int, Track]:
        """Index of a source stream -> the track that its packets go to."""
        tracks: dict[int, Track] = {}
        for stream in sound:
            try:
                track = add_track(self._container, stream)
            except (av.FFmpegError, ValueError) as error:
                self.notes.append(f"sound {stream.index} was left out ({_reason(error)})")
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
        self._mux(self._video.encode())
        for track in self._tracks.values():
            self._container.mux(track.end())
        self._container.close()
        if self.frames_written != self.frames_given:
            raise UpscaleError(
                f"{self.path}: the encoder took {self.frames_given} frames and gave {self.frames_written}"
            )
        self._beside.replace(self.path)

    def _discard(self) -> None:
        # An unfinished file may not want to be closed; it is removed anyway.
        with contextlib.suppress(av.FFmpegError, ValueError, OSError):
            self._container.close()
        self._beside.unlink(missing_ok=True)


def _encoder(name: str) -> av.Codec:
    try:
        codec = av.Codec(name, "w")
    except UnknownCodecError:
        raise UsageError(
            f"no encoder is called {name!r}; try libx264, libx265, libsvtav1 or ffv1"
        ) from None
    if codec.type != "video":
        raise UsageError(f"{name} encodes {codec.type}; try libx264, libx265, libsvtav1 or ffv1")
    return codec


def _encoder_options(encode: EncodeOptions) -> dict[str, str]:
    options = dict(encode.options)
    if encode.codec in CRF_CODECS:
        options.setdefault("crf", f"{encode.crf:g}")
    if encode.preset is not None:
        options["preset"] = encode.preset
    return options


def _format_name(path: Path) -> str:
    """FFmpeg's name of the container for a suffix."""
    known = {
        ".mp4": "mp4",
        ".m4v": "mp4",
        ".mov": "mov",
        ".mkv": "matroska",
        ".webm": "webm",
        ".avi": "avi",
    }
    known |= {".ts": "mpegts", ".m2ts": "mpegts", ".nut": "nut", ".mpg": "mpeg", ".y4m": "yuv4mpegpipe"}
    return known.get(path.suffix.lower(), path.suffix.lstrip("."))


def _is_plain(name: str) -> bool:
    try:
        describe(name, 0)
    except ValueError:
        return False
    return not name.startswith(("yuvj", "yuva"))


def _distance(source: PixelFormat, target: PixelFormat) -> tuple[bool, int, int]:
    """How much of ``source`` is lost in ``target``: chroma first, then depth, then wasted room."""
    across, down = source.subsampling or SUBSAMPLING["444"]
    x, y = target.subsampling or (64, 64)
    loses_chroma = source.subsampling is not None and (x > across or y > down)
    return loses_chroma, max(0, source.bits - target.bits), target.bits + 10 * (across * down - x * y)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
