"""The spread of a frame's pixels as a picture: dark where the input tells what was there, bright where the
model had to invent it. Knows no torch."""

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.media.frame import Frame
from upscale.media.hdr import NO_HDR
from upscale.media.info import UNSPECIFIED, Color, VideoInfo
from upscale.media.pixels import PixelFormat
from upscale.planes import SPREAD

DARKEST, BRIGHTEST = -1.0, 5.0
"""Spreads that are black and white: half a level of 8 bit, as good as known, and 32 levels."""

TICKS = range(int(DARKEST), int(BRIGHTEST) + 1)
"""What the scale in the corner is marked at: each is twice the one before."""

CAPTION = "likely error, levels of 255"

FONT, TEXT = cv2.FONT_HERSHEY_SIMPLEX, 20
"""TEXT is the height of a line for a font scale of 0.5, in pixels."""


def map_info(info: VideoInfo, size: tuple[int, int], holds_one_picture: bool) -> VideoInfo:
    """The record of a map of ``size`` (width, height) that goes beside a film: the same clock and rotation.

    Grey as video mostly is, with chroma that players expect, where that can be."""
    has_chroma = not holds_one_picture and size[0] % 2 == size[1] % 2 == 0
    pixels = PixelFormat(8, False, (2, 2) if has_chroma else None)
    plain = replace(info, pixels=pixels, pix_fmt=pixels.name, is_rgb=False, has_alpha=False, hdr=NO_HDR)
    return replace(plain, color=Color(info.color.matrix, UNSPECIFIED, UNSPECIFIED))


@dataclass(frozen=True, slots=True)
class MapView:
    """Turns a larger frame with its spread into a picture of that, of ``pixels``, with a scale in the
    corner: see ``media.write.packets.Track``."""

    pixels: PixelFormat

    def __call__(self, frame: Frame) -> Frame:
        """Raises ValueError for a frame without a spread."""
        if len(frame.planes[0]) <= SPREAD:
            raise ValueError("the frame has no spread: SampleOptions.spread is off")
        luma = brightness(frame.planes[0][SPREAD])
        height, width = luma.shape
        legend = scale_for(height, width)
        luma[height - legend.shape[0] :, : legend.shape[1]] = legend
        planes: tuple[NDArray[np.float32], ...] = (luma[np.newaxis],)
        if self.pixels.subsampling is not None:
            across, down = self.pixels.chroma_size(width, height)
            planes = (*planes, np.broadcast_to(np.float32(0.5), (2, down, across)))
        return replace(frame, planes=planes, extras=None)


def brightness(spread: NDArray[np.float32]) -> NDArray[np.float32]:
    """A ``planes.SPREAD`` [H, W] as luma from 0 to 1; one step of the scale is twice the spread."""
    luma = spread * np.float32(1 / (BRIGHTEST - DARKEST))
    luma -= np.float32(DARKEST / (BRIGHTEST - DARKEST))
    return np.clip(luma, 0, 1, out=luma)


@functools.lru_cache(maxsize=4)
def scale_for(rows: int, columns: int) -> NDArray[np.float32]:
    """The scale for a map of that size: what brightness stands for how many levels; nothing where it would
    cover a good part of the picture. Not to be changed."""
    size = max(rows / 1080, 0.5)
    font = 0.8 * size
    line, margin = round(TEXT * size * 1.4), round(10 * size)
    width, height = round(420 * size), 3 * line + 2 * margin
    if width > columns or height > rows / 2:
        return np.zeros((0, 0), np.float32)
    legend = np.zeros((height, width), np.uint8)
    thickness = max(1, round(1.2 * size))

    def write(text: str, x: int, y: int, centred: bool) -> None:
        (wide, _), _ = cv2.getTextSize(text, FONT, font, thickness)
        at = x - wide // 2 if centred else x
        cv2.putText(legend, text, (at, y), FONT, font, (255,), thickness, cv2.LINE_AA)

    left, right = round(2.5 * margin), width - round(2.5 * margin)
    write(CAPTION, margin, margin + line - line // 4, centred=False)
    ramp = np.linspace(0, 255, right - left).astype(np.uint8)
    legend[margin + line : margin + 2 * line, left:right] = ramp
    for tick in TICKS:
        x = left + round((right - left) * (tick - DARKEST) / (BRIGHTEST - DARKEST))
        write(f"{2.0**tick:g}", x, margin + 3 * line - line // 8, centred=True)
    return legend.astype(np.float32) / np.float32(255)
