"""What there is to know about a video, read once."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from upscale.media.hdr import NO_HDR, HdrMetadata, read_hdr
from upscale.media.light import SRGB, is_light
from upscale.media.pixels import PixelFormat, describe, guessed_matrix, has_no_luma, planar_name
from upscale.media.side_data import Inspector, display_matrix


@dataclass(frozen=True, slots=True)
class Color:
    """The colour tags of a stream, as the code points of ITU-T H.273."""

    matrix: int
    primaries: int
    transfer: int


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The picture of a film, as ``Source`` yields it."""

    path: Path
    container: str
    """FFmpeg's name of the demuxer."""
    width: int
    height: int
    pixels: PixelFormat
    """Of its planes: the stream's own, or 4:4:4 for RGB."""
    pix_fmt: str
    """FFmpeg's name of the format that the decoder gives."""
    is_rgb: bool
    """Whether that has no luma, as RGB has none, and had to be converted: see ``pixels.has_no_luma``."""
    has_alpha: bool
    color: Color
    sample_aspect_ratio: Fraction | None
    time_base: Fraction
    """Seconds per tick of a pts."""
    average_rate: Fraction | None
    """Frames per second where it is known. Timing never comes from it; estimates and encoders do."""
    steady_rate: Fraction | None
    """Frames per second that every frame's time fits, or nearly; for what can only count them."""
    start: Fraction
    """Seconds at which the container's clock starts."""
    duration: Fraction | None
    """Seconds, where the container says so."""
    declared_frames: int
    """Frames that the container's index promises, 0 if it has none."""
    display_matrix: tuple[int, ...] | None = None
    """Rotation and mirroring for the player, as FFmpeg's nine integers."""
    hdr: HdrMetadata = NO_HDR
    carries: frozenset[str] = frozenset()
    """The kinds of side data of its first frame: see ``side_data.Inspector.kinds``."""
    chroma_left: bool = True
    """Whether subsampled chroma sits on every other luma column (MPEG-2 and after), or between (JPEG)."""
    plays: int | None = None
    """How often an animation plays, 0 without end; None for a film."""

    @property
    def is_picture(self) -> bool:
        """Whether it is a single still, and no film."""
        still = self.container.endswith("_pipe") or self.container == "image2"
        return still and not NUMBERED.search(self.path.name)

    @property
    def expected_frames(self) -> int | None:
        """How many frames to expect, for a progress bar."""
        if self.declared_frames:
            return self.declared_frames
        if self.duration is None or self.average_rate is None:
            return None
        return round(self.duration * self.average_rate)


NUMBERED = re.compile(r"%0?(\d*)d")
"""The frame's number in the name of a sequence of pictures: frame%05d.png."""

CLOCK_TIME = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)$")
"""Hours, minutes and seconds."""

CENTRED_CHROMA = {"mjpeg", "mpeg1video", "theora", "h261", "h263", "flv1"}
"""Codecs whose 4:2:0 chroma lies in the middle of four luma pixels. FFmpeg's demuxers do not say more."""

UNSPECIFIED = 2
"""The code point of H.273 for a tag that is not given."""

FASTEST = 120
"""Frames a second that a film seldom exceeds: more is slow motion, or the tick of a clock."""

AV_TIME_BASE = 1_000_000
"""Ticks per second of a container's own times."""


def location(path: Path) -> str:
    """The path as FFmpeg wants it: without a scheme, it takes ``12:30.mp4`` for a protocol."""
    return f"file:{path}"


def describe_stream(
    container: InputContainer,
    stream: VideoStream,
    path: Path,
    rate: Fraction | None,
    first: VideoFrame | None = None,
) -> VideoInfo:
    """The record of one stream of an open container. ``rate`` is that of the film, in frames a second, and
    ``first`` its first frame, if it has one."""
    context = stream.codec_context
    assert context.pix_fmt is not None
    assert stream.time_base is not None
    fmt = first.format if first is not None else stream.format
    color = first if first is not None else context
    planar = planar_name(fmt.name)
    converted = has_no_luma(fmt)
    color_range = ColorRange.MPEG if converted else _known(color.color_range, context.color_range, 0)
    # Players take untagged pictures by their size, which changes here: so the tag is made explicit.
    width, height = (first.width, first.height) if first is not None else (context.width, context.height)
    matrix = _known(color.colorspace, context.colorspace, UNSPECIFIED)
    if converted or matrix == UNSPECIFIED:
        matrix = guessed_matrix(width, height)
    tags = (
        _known(color.color_primaries, context.color_primaries, UNSPECIFIED),
        _known(color.color_trc, context.color_trc, UNSPECIFIED),
    )
    if fmt.name.startswith("xyz"):  # what it is converted to is what players take untagged pictures for
        tags = UNSPECIFIED, UNSPECIFIED
    if is_light(fmt.name):
        tags = tags[0], SRGB
    inspector = Inspector()
    data = inspector.readable(first) if first is not None else {}
    return VideoInfo(
        path=path,
        container=container.format.name,
        width=width,
        height=height,
        pixels=describe(planar, color_range),
        pix_fmt=fmt.name,
        is_rgb=converted,
        has_alpha=any(component.is_alpha for component in fmt.components),
        color=Color(int(matrix), *tags),
        sample_aspect_ratio=stream.sample_aspect_ratio or context.sample_aspect_ratio or None,
        time_base=Fraction((first is not None and first.time_base) or stream.time_base),
        average_rate=rate,
        steady_rate=_steady_rate(stream, rate),
        start=Fraction(container.start_time or 0, AV_TIME_BASE),
        duration=_duration(container, stream),
        declared_frames=stream.frames if rate == stream.average_rate else 0,
        display_matrix=display_matrix(data),
        hdr=read_hdr(data),
        carries=inspector.kinds(first) if first is not None else frozenset(),
        chroma_left=context.name not in CENTRED_CHROMA,
    )


def _known(value: int, otherwise: int, unknown: int) -> int:
    return int(otherwise if value == unknown else value)


def _steady_rate(stream: VideoStream, average: Fraction | None) -> Fraction | None:
    """The average rate, or the finest that the demuxer met if that is one of a film at all."""
    finest = stream.base_rate
    return Fraction(finest) if average and finest and average < finest <= FASTEST else average


def stream_duration(stream: VideoStream) -> float | None:
    """Seconds of a stream by itself, where the container says so."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    told = CLOCK_TIME.match(stream.metadata.get("DURATION", ""))  # as Matroska's writers do
    return (
        None
        if told is None
        else sum(float(part) * unit for part, unit in zip(told.groups(), (3600, 60, 1), strict=True))
    )


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Seconds, of the stream where the container says so, else of all that is in it."""
    if stream.duration and stream.time_base:
        return stream.duration * Fraction(stream.time_base)
    if not container.duration:
        return None
    # Matroska says when its last block ends.
    early = container.start_time if "matroska" in container.format.name else 0
    return Fraction(container.duration - (early or 0), AV_TIME_BASE)
