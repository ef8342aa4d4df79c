"""What there is to know about a video, read once."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from upscale.media.pixels import PixelFormat, describe, guessed_matrix, planar_name


@dataclass(frozen=True, slots=True)
class Color:
    """The colour tags of a stream, as the code points of ITU-T H.273."""

    matrix: int
    primaries: int
    transfer: int


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The first video stream of a file. Nothing else in the program reads a container's metadata."""

    path: Path
    container: str
    """FFmpeg's name of the demuxer."""
    width: int
    height: int
    pixels: PixelFormat
    """Of the planes that ``decode`` yields: the stream's own, or 4:4:4 for RGB."""
    pix_fmt: str
    """FFmpeg's name of the format that the decoder gives."""
    is_rgb: bool
    """Whether that is RGB, or a palette of it, and had to be converted."""
    has_alpha: bool
    color: Color
    sample_aspect_ratio: Fraction | None
    time_base: Fraction
    """Seconds per tick of a pts."""
    average_rate: Fraction | None
    """Frames per second where it is known. Timing never comes from it; estimates and encoders do."""
    start: Fraction
    """Seconds at which the container's clock starts."""
    duration: Fraction | None
    """Seconds, where the container says so."""
    declared_frames: int
    """Frames that the container's index promises, 0 if it has none."""
    display_matrix: tuple[int, ...] | None = None
    """Rotation and mirroring for the player, as FFmpeg's nine integers; ``source.probe`` finds it."""
    chroma_left: bool = True
    """Whether subsampled chroma sits on every other luma column (MPEG-2 and after), or between (JPEG)."""

    @property
    def expected_frames(self) -> int | None:
        """How many frames to expect, for a progress bar."""
        if self.declared_frames:
            return self.declared_frames
        if self.duration is None or self.average_rate is None:
            return None
        return round(self.duration * self.average_rate)


CENTRED_CHROMA = {"mjpeg", "mpeg1video", "theora", "h261", "h263", "flv1"}
"""Codecs whose 4:2:0 chroma lies in the middle of four luma pixels. FFmpeg's demuxers do not say more."""

UNSPECIFIED = 2
"""The code point of H.273 for a tag that is not given."""

AV_TIME_BASE = 1_000_000
"""Ticks per second of a container's own times."""


def location(path: Path) -> str:
    """The path as FFmpeg wants it: without a scheme, it takes ``12:30.mp4`` for a protocol."""
    return f"file:{path}"


def describe_stream(container: InputContainer, stream: VideoStream, path: Path) -> VideoInfo:
    """The record of one stream of an open container."""
    context = stream.codec_context
    assert context.pix_fmt is not None
    assert stream.time_base is not None
    planar = planar_name(context.pix_fmt)
    converted = stream.format.is_rgb or stream.format.has_palette
    color_range = ColorRange.MPEG if converted else context.color_range
    # Players take untagged pictures by their size, which changes here: so the tag is made explicit.
    known = not converted and context.colorspace != UNSPECIFIED
    matrix = context.colorspace if known else guessed_matrix(context.width, context.height)
    aspect = stream.sample_aspect_ratio
    ticks, tick = (stream.duration, stream.time_base)
    if not ticks:
        ticks, tick = container.duration, Fraction(1, AV_TIME_BASE)
    return VideoInfo(
        path=path,
        container=container.format.name,
        width=context.width,
        height=context.height,
        pixels=describe(planar, color_range),
        pix_fmt=context.pix_fmt,
        is_rgb=converted,
        has_alpha=any(component.is_alpha for component in stream.format.components),
        color=Color(int(matrix), int(context.color_primaries), int(context.color_trc)),
        sample_aspect_ratio=aspect or None,
        time_base=Fraction(stream.time_base),
        average_rate=Fraction(stream.average_rate) if stream.average_rate else None,
        start=Fraction(container.start_time or 0, AV_TIME_BASE),
        duration=ticks * Fraction(tick) if ticks else None,
        declared_frames=stream.frames,
        chroma_left=context.name not in CENTRED_CHROMA,
    )
