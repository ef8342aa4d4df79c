"""Black borders: letterbox, pillarbox, the edges of a film scanner's gate."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from upscale.errors import UsageError
from upscale.planes import Planes

BLACKEST = 8 / 219
"""Luma up to which the mean of a line counts as black: code 24 of 8 bit, as FFmpeg's cropdetect has it."""


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a picture to keep, in luma pixels."""

    width: int
    height: int
    x: int
    y: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``WIDTH:HEIGHT:X:Y``, as FFmpeg's crop filter has it. Raises UsageError."""
        if not re.fullmatch(r"\d+:\d+:\d+:\d+", text):
            raise UsageError(f"{text!r} is no crop; write auto, off, or WIDTH:HEIGHT:X:Y in pixels")
        return cls(*map(int, text.split(":")))

    def __str__(self) -> str:
        return f"{self.width}:{self.height}:{self.x}:{self.y}"

    def check(self, width: int, height: int, subsampling: tuple[int, int] | None) -> None:
        """Raises UsageError if it is not inside a picture of that size, or splits a chroma sample."""
        if not (0 < self.width <= width - self.x and 0 < self.height <= height - self.y):
            raise UsageError(f"a crop of {self} does not fit into {width}x{height}")
        across, down = subsampling or (1, 1)
        if self.x % across or self.y % down:
            raise UsageError(
                f"a crop must begin at a multiple of {across} and {down} here, not {self.x}, {self.y}"
            )

    def of(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is inside of an array [H, W, ...], as a view."""
        return picture[self.y : self.y + self.height, self.x : self.x + self.width]

    def __call__(self, planes: Planes, subsampling: tuple[int, int] | None) -> Planes:
        """The planes inside, as views."""
        cut = []
        for plane, (across, down) in zip(planes, ((1, 1), subsampling or (1, 1)), strict=False):
            left, top = self.x // across, self.y // down
            right, bottom = -(-(self.x + self.width) // across), -(-(self.y + self.height) // down)
            cut.append(plane[:, top:bottom, left:right])
        return tuple(cut)


def find_borders(pictures: Iterable[Planes], subsampling: tuple[int, int] | None) -> Crop | None:
    """What lies inside the borders that are black in all ``pictures``; None if there are none."""
    rows: np.ndarray | None = None
    for planes in pictures:
        luma = planes[0][0]
        seen = luma.mean(axis=1), luma.mean(axis=0)
        if rows is None:
            rows, columns = seen
        else:
            rows, columns = np.maximum(rows, seen[0]), np.maximum(columns, seen[1])
    if rows is None or not (rows > BLACKEST).any() or not (columns > BLACKEST).any():
        return None
    across, down = subsampling or (1, 1)
    top, height = _inside(rows > BLACKEST, max(down, 2))
    left, width = _inside(columns > BLACKEST, max(across, 2))
    if (width, height) == (len(columns), len(rows)):
        return None
    return Crop(width, height, left, top)


def _inside(lit: np.ndarray, step: int) -> tuple[int, int]:
    """First line that is lit and number of lines to the last, in multiples of ``step``, inwards."""
    places = np.flatnonzero(lit)
    first = -(-int(places[0]) // step) * step
    end = int(places[-1]) + 1
    if end < len(lit):
        end = end // step * step
    return first, max(end - first, step)
