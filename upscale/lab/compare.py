"""The same place in several videos or pictures, side by side."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from upscale.errors import UpscaleError, UsageError
from upscale.media.pixels import from_planes
from upscale.media.read.source import Source

GAP = 4
"""White pixels between two pictures."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle, as fractions of the picture's width and height."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def parse(cls, text: str) -> "Crop":
        """``x:y:width:height``, each from 0 to 1. Raises UsageError for anything else."""
        try:
            crop = cls(*(float(part) for part in text.split(":")))
        except (TypeError, ValueError):
            raise UsageError(f"{text!r} is not a crop; write x:y:width:height, each from 0 to 1") from None
        inside = min(crop.x, crop.y) >= 0 and crop.x + crop.width <= 1 and crop.y + crop.height <= 1
        if not inside or min(crop.width, crop.height) <= 0:
            raise UsageError(f"the crop {text} reaches out of the picture")
        return crop


def side_by_side(paths: list[Path], at: Fraction, crop: Crop, interpolation: str) -> NDArray[np.uint8]:
    """The frames shown at ``at`` seconds of every video, cropped alike, each as large as the largest.

    ``interpolation`` (BICUBIC, POINT …) enlarges the smaller ones. Returns RGB [H, W, 3].
    """
    frames = [grab(path, at) for path in paths]
    width = max(frame.width for frame in frames)
    height = max(frame.height for frame in frames)
    pictures = []
    for frame in frames:
        rgb = frame.reformat(width, height, "rgb24", interpolation=interpolation).to_ndarray()
        top, left = round(crop.y * height), round(crop.x * width)
        high, wide = max(1, round(crop.height * height)), max(1, round(crop.width * width))
        part = rgb[top : top + high, left : left + wide]
        pictures += [part, np.full((part.shape[0], GAP, 3), 255, np.uint8)]
    return np.concatenate(pictures[:-1], axis=1)


def grab(path: Path, at: Fraction) -> av.VideoFrame:
    """The first frame at or after ``at`` seconds. Raises UpscaleError if the video is shorter."""
    with Source(path) as source:
        for frame in source.frames(start=at):
            picture = from_planes(frame.planes, source.info.pixels)
            picture.colorspace = source.info.color.matrix
            return picture
    raise UpscaleError(f"{path}: there is no frame at {float(at):g} s")
