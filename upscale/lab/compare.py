"""The same place in several videos or pictures, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
from av.video.reformatter import Interpolation

from upscale.errors import UpscaleError, UsageError
from upscale.lab.labels import draw_label, labels_for
from upscale.media.info import VideoInfo
from upscale.media.picture import write_picture
from upscale.media.pixels import from_planes
from upscale.media.read.source import Source
from upscale.media.rgb import Rgb, is_turned, upright
from upscale.planes import Planes

GAP = 4
"""White pixels between two pictures."""

ROUNDED = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""How swscale converts every picture alike, whether it is enlarged or not."""


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


WHOLE = Crop(0, 0, 1, 1)


@dataclass(frozen=True, slots=True)
class View:
    """How the pictures of all inputs are shown: each as large as the largest, cropped alike."""

    width: int
    height: int
    crop: Crop = WHOLE
    interpolation: str = "BICUBIC"
    """Of what is enlarged, by swscale's name: BICUBIC, POINT …"""

    @classmethod
    def of(cls, infos: Sequence[VideoInfo], crop: Crop, interpolation: str) -> Self:
        """The view of films with these records."""
        sizes = [
            (info.height, info.width) if is_turned(info) else (info.width, info.height) for info in infos
        ]
        return cls(
            max(width for width, _ in sizes), max(height for _, height in sizes), crop, interpolation
        )

    def show(self, planes: Planes, info: VideoInfo) -> Rgb:
        """A picture of the film as the view has it: upright, and RGB by the film's own matrix."""
        frame = from_planes(planes, info.pixels)
        frame.colorspace = info.color.matrix
        size = (self.height, self.width) if is_turned(info) else (self.width, self.height)
        rgb = frame.reformat(*size, "rgb24", interpolation=Interpolation[self.interpolation] | ROUNDED)
        picture = upright(np.asarray(rgb.to_ndarray(), np.uint8), info)
        crop, width, height = self.crop, self.width, self.height
        top, left = round(crop.y * height), round(crop.x * width)
        high, wide = max(1, round(crop.height * height)), max(1, round(crop.width * width))
        return np.ascontiguousarray(picture[top : top + high, left : left + wide])


def compare_picture(
    inputs: Sequence[Path],
    output: Path,
    at: Fraction,
    crop: Crop,
    interpolation: str,
    labels: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write the PNG that ``side_by_side`` makes; ``labels`` are one for each input, or none.

    Raises UpscaleError or UsageError.
    """
    check_output(inputs, output, overwrite)
    if labels:
        labels = labels_for(inputs, labels)
    write_picture(output, side_by_side(inputs, at, crop, interpolation, labels))


def check_output(inputs: Sequence[Path], output: Path, overwrite: bool) -> None:
    """Raises UpscaleError where something stands under the name of the output that is to stay."""
    try:
        if not output.exists():
            return
        if any(path.exists() and path.samefile(output) for path in inputs):
            raise UsageError(f"{output}: is an input itself; OUTPUT comes last, and has another name")
        if output.is_file() and not overwrite:
            raise UpscaleError(f"{output}: exists; use -y to overwrite it")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UpscaleError(f"{error.filename}: {error.strerror}") from error


def side_by_side(
    paths: Sequence[Path], at: Fraction, crop: Crop, interpolation: str, labels: Sequence[str] = ()
) -> Rgb:
    """The frames shown at ``at`` seconds of every video, cropped alike, each as large as the largest.

    ``interpolation`` (BICUBIC, POINT …) enlarges the smaller ones. Raises UpscaleError.
    """
    frames = [grab(path, at) for path in paths]
    view = View.of([info for _, info in frames], crop, interpolation)
    pictures = [view.show(planes, info) for planes, info in frames]
    for picture, label in zip(pictures, labels, strict=False):
        draw_label(picture, label)
    return beside(pictures)


def beside(pictures: Sequence[Rgb]) -> Rgb:
    """Pictures of one height from left to right, with a white gap between each two."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (gap, picture)][1:], axis=1)


def grab(path: Path, at: Fraction) -> tuple[Planes, VideoInfo]:
    """The first frame at or after ``at`` seconds. Raises UpscaleError if the video is shorter."""
    with Source(path) as source:
        for frame in source.frames(start=at):
            return frame.planes, source.info
    raise UpscaleError(f"{path}: there is no frame at {float(at):g} s")
