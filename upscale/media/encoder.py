"""Which encoder, which pixel format, which container: what can be settled before a frame is read."""

from dataclasses import dataclass
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError

from upscale.errors import UsageError
from upscale.media.pixels import SUBSAMPLING, PixelFormat, describe, planar_name

CRF_CODECS = {"libx264", "libx265", "libsvtav1", "libvpx-vp9", "libaom-av1"}
"""Encoders that understand --crf."""

DEFAULT_CRF = 16

QSCALE = 2 * 118
"""For encoders that know a fixed quantiser instead: 2, the finest useful one, in FFmpeg's lambda units."""

SUGGESTED = "try libx264, libx265, libsvtav1 or ffv1"


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """The encoder and how it is asked to work."""

    codec: str = "libx264"
    crf: float | None = None
    """None is DEFAULT_CRF for an encoder that understands it."""
    preset: str | None = None
    pix_fmt: str | None = None
    """None keeps the source's depth and chroma layout, as far as the encoder can."""


def check_encoder(encode: EncodeOptions) -> None:
    """Raises UsageError for an encoder that there is not, or that cannot do what is asked of it."""
    names = _formats(encode.codec)
    if encode.pix_fmt is not None and encode.pix_fmt not in names:
        raise UsageError(f"{encode.codec} cannot write {encode.pix_fmt!r}; it can write {', '.join(names)}")
    if encode.crf is not None and encode.codec not in CRF_CODECS:
        raise UsageError(f"{encode.codec} knows no crf; {', '.join(sorted(CRF_CODECS))} do")


def output_format(source: PixelFormat, encode: EncodeOptions) -> tuple[PixelFormat, str]:
    """The format of the planes to make, and the name of the one to encode.

    They are the same but where the encoder, or ``encode.pix_fmt``, wants a layout that is not the source's.
    """
    names = _formats(encode.codec)
    if encode.pix_fmt is None and source.name in names:
        return source, source.name
    if encode.pix_fmt is not None:
        name = encode.pix_fmt
    else:
        name = min(names, key=lambda name: _distance(source, describe(planar_name(name), 0), name))
    wanted = describe(planar_name(name), 0)
    full_range = source.full_range or name.startswith("yuvj")
    made = PixelFormat(wanted.bits, full_range, source.subsampling)
    if not made.exists:
        made = PixelFormat(source.bits, full_range, source.subsampling)
    return made, name


def chroma_step(source: PixelFormat, encode: EncodeOptions) -> tuple[int, int]:
    """What the width and height of the output have to be multiples of."""
    made, name = output_format(source, encode)
    layouts = [
        layout for layout in (made.subsampling, describe(planar_name(name), 0).subsampling) if layout
    ]
    return max((x for x, _ in layouts), default=1), max((y for _, y in layouts), default=1)


def encoder_options(encode: EncodeOptions) -> dict[str, str]:
    """What to pass to the encoder by name."""
    options = {} if encode.preset is None else {"preset": encode.preset}
    if encode.codec in CRF_CODECS:
        options["crf"] = f"{DEFAULT_CRF if encode.crf is None else encode.crf:g}"
    return options


def container_name(path: Path) -> str:
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


def _formats(name: str) -> list[str]:
    """The Y'CbCr and grey formats that an encoder takes; RGB would need a second conversion."""
    try:
        codec = av.Codec(name, "w")
    except UnknownCodecError:
        raise UsageError(f"no encoder is called {name!r}; {SUGGESTED}") from None
    if codec.type != "video":
        raise UsageError(f"{name} encodes {codec.type}; {SUGGESTED}")
    # An encoder that names no format (rawvideo) takes them all.
    listed = [fmt.name for fmt in codec.video_formats or ()] or ["yuv420p", "yuv422p", "yuv444p", "gray"]
    names = [name for name in listed if _is_ycbcr(name)]
    if not names:
        raise UsageError(f"{name} writes no Y'CbCr, only {', '.join(listed)}; {SUGGESTED}")
    return names


def _is_ycbcr(name: str) -> bool:
    fmt = av.VideoFormat(name)
    hardware = not fmt.components  # frames that live on a device
    return not (hardware or fmt.is_rgb or fmt.has_palette or fmt.is_bayer or name.startswith("mono"))


def _distance(source: PixelFormat, target: PixelFormat, name: str) -> tuple[bool, int, bool, int]:
    """How much of ``source`` is lost in ``target``: chroma, depth, plainness, and then wasted room."""
    across, down = source.subsampling or SUBSAMPLING["444"]
    x, y = target.subsampling or (64, 64)
    loses_chroma = source.subsampling is not None and (x > across or y > down)
    plain = planar_name(name) == name and not name.startswith(("yuvj", "yuva"))
    room = target.bits + 10 * (across * down - x * y)
    return loses_chroma, max(0, source.bits - target.bits), not plain, room
