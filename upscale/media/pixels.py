"""Pixel formats: between an av.VideoFrame and float planes, at the frame's own depth and range.

Y'CbCr stays Y'CbCr. Only what has no luma of its own (RGB, palettes, X'Y'Z') and floats are converted.
"""

import re
from dataclasses import dataclass

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from upscale.media.frame import samples
from upscale.media.light import as_shown, is_light
from upscale.planes import Planes

SUBSAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "440": (1, 2), "411": (4, 1), "410": (4, 4)}
"""Name of a chroma layout -> luma pixels per chroma pixel (horizontal, vertical)."""


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """What a planar format means: ``bits`` per sample, range, and luma pixels per chroma pixel."""

    bits: int
    full_range: bool
    subsampling: tuple[int, int] | None
    """(horizontal, vertical), or None for grey."""

    @property
    def name(self) -> str:
        """FFmpeg's name of the planar format that holds this; the range travels in the frame's tag."""
        depth = f"{self.bits}le" if self.bits > 8 else ""
        if self.subsampling is None:
            return f"gray{depth}"
        layout = next(k for k, v in SUBSAMPLING.items() if v == self.subsampling)
        return f"yuv{layout}p{depth}"

    @property
    def exists(self) -> bool:
        """Whether FFmpeg has a format of that layout and depth; the rarer layouts come in 8 bit only."""
        try:
            av.VideoFormat(self.name)
        except ValueError:
            return False
        return True

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("<u2" if self.bits > 8 else "u1")

    def chroma_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a chroma plane beside a luma plane of that size, rounded up as video does."""
        across, down = self.subsampling or (1, 1)
        return -(-width // across), -(-height // down)

    def codes(self, chroma: bool) -> tuple[float, float]:
        """(codes per unit, code of zero): code = value * first + second."""
        unit = 1 << (self.bits - 8)
        if self.full_range:
            top = (1 << self.bits) - 1
            # Full-range chroma is neutral at 128, not at 127.5 (ITU-T T.871).
            return (top, 128 * unit - top / 2) if chroma else (top, 0)
        return (224 * unit, 16 * unit) if chroma else (219 * unit, 16 * unit)

    def to_float(self, codes: NDArray[np.integer], chroma: bool) -> NDArray[np.float32]:
        per_unit, zero = self.codes(chroma)
        return (codes.astype(np.float32) - np.float32(zero)) * np.float32(1 / per_unit)

    def to_codes(self, values: NDArray[np.float32], chroma: bool) -> NDArray[np.integer]:
        """Round to the nearest code, and stop at the ends of the integer's range."""
        per_unit, zero = self.codes(chroma)
        codes = values * np.float32(per_unit)
        codes += np.float32(zero + 0.5)
        np.clip(codes, 0, (1 << self.bits) - 0.5, out=codes)
        return codes.astype(self.dtype)


SCALER = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,  # SMPTE 170M: the same numbers
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}
"""Code points of matrices (ITU-T H.273) -> what FFmpeg's scaler calls them; it knows no others."""

_PLANAR = re.compile(r"(?:yuv(j?)a?(4\d\d)p|gray)(9|1[0246])?(?:le)?$")
"""Planar Y'CbCr (an alpha plane may follow) or grey: JPEG's mark, chroma layout, bits."""


def has_no_luma(fmt: av.VideoFormat) -> bool:
    """Whether pictures of that format are converted: RGB, a palette of it, or the X'Y'Z' of digital cinema.

    FFmpeg counts none of X'Y'Z' as chroma; its scaler knows the gamma of 2.6 and the primaries."""
    return bool(fmt.is_rgb or fmt.has_palette or fmt.is_bayer or fmt.name.startswith("xyz"))


def planar_name(name: str) -> str:
    """The planar Y'CbCr or grey format that holds pixel format ``name`` at its depth.

    Semi-planar, packed and big-endian formats keep their layout; what has no luma becomes 4:4:4,
    and floats 16 bit.
    """
    if _PLANAR.match(name):
        return name
    fmt = av.VideoFormat(name)
    bits = 16 if is_light(name) else max(8, *(component.bits for component in fmt.components))
    depth = f"{bits}le" if bits > 8 else ""
    if has_no_luma(fmt):
        return f"yuv444p{depth}"
    if not any(component.is_chroma for component in fmt.components):
        return f"gray{depth}"
    across, down = 64 // fmt.chroma_width(64), 64 // fmt.chroma_height(64)
    layout = next(name for name, steps in SUBSAMPLING.items() if steps == (across, down))
    return f"yuv{layout}p{depth}"


def describe(name: str, color_range: int) -> PixelFormat:
    """The PixelFormat of a *planar* format ``name`` (see planar_name) tagged with ``color_range``.

    Untagged pictures are limited range, except yuvj (JPEG) and grey stills, as FFmpeg takes them.
    """
    match = _PLANAR.match(name)
    if match is None:
        raise ValueError(f"{name} is not a planar Y'CbCr or grey format")
    untagged = color_range not in (ColorRange.MPEG, ColorRange.JPEG)
    jpeg, layout, bits = match.groups()
    full = color_range == ColorRange.JPEG or bool(jpeg) or (untagged and layout is None)
    return PixelFormat(int(bits or 8), full, SUBSAMPLING[layout] if layout else None)


def to_planes(frame: av.VideoFrame) -> Planes:
    """The float planes of a decoded frame; alpha, if any, is left behind.

    RGB goes through ``guessed_matrix``, with 16 bit in between, so that 8 bit come back as they were.
    """
    frame = as_planar(frame)
    pixels = describe(frame.format.name, frame.color_range)
    luma = pixels.to_float(samples(frame.planes[0], pixels.dtype), chroma=False)[np.newaxis]
    if pixels.subsampling is None:
        return (luma,)
    chroma = np.stack([samples(plane, pixels.dtype) for plane in frame.planes[1:3]])
    return luma, pixels.to_float(chroma, chroma=True)


def from_planes(planes: Planes, pixels: PixelFormat, like: av.VideoFrame | None = None) -> av.VideoFrame:
    """The frame whose planes these are, rounded to the codes of ``pixels``.

    ``like`` is a frame of another size whose side data it is to carry. Raises ValueError if the planes do
    not have the shapes that ``pixels`` asks for.
    """
    _, height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixels.name)
    if like is not None:  # PyAV copies side data only when it resamples; the samples are overwritten below
        frame = like.reformat(width, height, pixels.name, interpolation=Interpolation.POINT)
        frame.make_writable()
        frame.pict_type = PictureType.NONE
    frame.color_range = ColorRange.JPEG if pixels.full_range else ColorRange.MPEG
    samples(frame.planes[0], pixels.dtype)[:] = pixels.to_codes(planes[0][0], chroma=False)
    if pixels.subsampling is not None:
        across, down = pixels.chroma_size(width, height)
        if len(planes) != 2 or planes[1].shape != (2, down, across):
            raise ValueError(f"{pixels.name} of {width}x{height} wants chroma [2, {down}, {across}]")
        for plane, values in zip(frame.planes[1:3], planes[1], strict=True):
            samples(plane, pixels.dtype)[:] = pixels.to_codes(values, chroma=True)
    return frame


def as_planar(frame: av.VideoFrame) -> av.VideoFrame:
    """``frame`` in the planar format of its depth: itself where it is in one already."""
    if is_light(frame.format.name):
        frame = as_shown(frame)
    name = planar_name(frame.format.name)
    if name == frame.format.name:
        return frame
    if has_no_luma(frame.format):
        return frame.reformat(
            format="yuv444p16le",
            dst_colorspace=guessed_matrix(frame.width, frame.height),
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        )
    return frame.reformat(format=name)


def guessed_matrix(width: int, height: int) -> Colorspace:
    """The Y'CbCr matrix of a picture that does not say: BT.601 for standard definition, else BT.709.

    With the limits that mpv uses: 576 lines, or 1280 columns.
    """
    return Colorspace.ITU709 if width >= 1280 or height > 576 else Colorspace.ITU601
