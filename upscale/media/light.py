"""Linear light: pictures of floats (OpenEXR, Radiance HDR, PFM), where 1 is white, and more is brighter.

Networks are used to what screens are sent. So a picture goes to them by sRGB's curve, which ends at white,
and comes back by it. What was brighter is kept beside it, and is put on again, interpolated::

    light = min(light, 1) * max(light, 1)
             '-- curve, network, curve back     '-- interpolated
"""

import functools
import re

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from upscale.media.frame import samples

BRIGHTEST = 65504.0
"""What infinity becomes: the largest number that OpenEXR's half floats have."""

LINEAR, SRGB = 8, 13
"""Transfers, as code points of ITU-T H.273."""

_FLOATS = re.compile(r"(?P<layout>gray|gbrp|gbrap|ya|rgb|rgba)f(?P<bits>16|32)(?P<order>le|be)")

_PACKED = {"ya": 2, "rgb": 3, "rgba": 4}
"""Layouts of a single plane -> numbers for each pixel."""


def is_light(name: str) -> bool:
    """Whether a pixel format is one of floats."""
    return _FLOATS.fullmatch(name) is not None


def light_of(frame: VideoFrame) -> NDArray[np.float32]:
    """The numbers in a frame of floats: RGB [H, W, 3] or grey [H, W], 1 is white. NaN becomes 0."""
    match = _FLOATS.fullmatch(frame.format.name)
    assert match is not None
    dtype = np.dtype(f"{'<' if match['order'] == 'le' else '>'}f{int(match['bits']) // 8}")
    layout = match["layout"]
    numbers = _PACKED.get(layout, 1)
    planes = [
        samples(plane, dtype, numbers).reshape(frame.height, frame.width, numbers) for plane in frame.planes
    ]
    if layout in ("gray", "ya"):
        light = planes[0][..., 0]
    elif layout in _PACKED:
        light = planes[0][..., :3]
    else:
        green, blue, red = planes[:3]
        light = np.concatenate([red, green, blue], -1)
    return np.nan_to_num(light.astype(np.float32), nan=0.0, posinf=BRIGHTEST, neginf=0.0)


def from_light(light: NDArray[np.float32]) -> VideoFrame:
    """A frame of floats from RGB [H, W, 3] or grey [H, W]."""
    name = "grayf32le" if light.ndim == 2 else "gbrpf32le"
    return VideoFrame.from_ndarray(np.ascontiguousarray(light), format=name)


def as_shown(frame: VideoFrame) -> VideoFrame:
    """A frame of floats as a screen is sent it: 16 bit of RGB or grey by sRGB's curve, black to white."""
    light = light_of(frame).clip(0, 1)
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** np.float32(1 / 2.4) - 0.055)
    codes = np.round(signal * 65535).astype(np.uint16)
    shown = VideoFrame.from_ndarray(codes, format="gray16le" if codes.ndim == 2 else "rgb48le")
    shown.color_range = ColorRange.JPEG
    return shown


def as_light(shown: VideoFrame, source: VideoFrame | None = None) -> VideoFrame:
    """The inverse of ``as_shown``. ``source`` is the picture of another size from which ``shown`` was made:
    if it is one of floats, what is brighter than white in it is put on again."""
    light = _curve()[shown.to_ndarray()]
    if source is not None and is_light(source.format.name):
        brighter = np.maximum(light_of(source), 1)
        if (brighter > 1).any():
            brighter = _interpolated(brighter, light.shape[:2])
            light = light * (brighter[..., None] if brighter.ndim < light.ndim else brighter)
    return from_light(light)


@functools.lru_cache(maxsize=1)
def _curve() -> NDArray[np.float32]:
    """The light of each of sRGB's codes of 16 bit. Not to be changed."""
    signal = np.arange(65536) / 65535
    light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _interpolated(light: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Linearly, so that nothing rings, to ``size`` (height, width)."""
    for axis, new in enumerate(size):
        old = light.shape[axis]
        places = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
        before = places.astype(int)
        after = np.minimum(before + 1, old - 1)
        shape = [new if number == axis else 1 for number in range(light.ndim)]
        share = (places - before).astype(np.float32).reshape(shape)
        light = light.take(before, axis) * (1 - share) + light.take(after, axis) * share
    return light
