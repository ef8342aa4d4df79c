"""What the stages hand on: a picture as float planes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Planes = tuple[NDArray[np.float32], ...]
"""Luma [1, H, W] in [0, 1] with 0 black and 1 white, and, unless grey, chroma [2, h, w] with 0.5 neutral.

Codes beyond nominal black and white ("footroom" and "headroom" of limited range) lie a little outside
[0, 1] and survive the way to float and back.
"""


class Box(NamedTuple):
    """A part of a picture, in luma pixels."""

    top: int
    left: int
    height: int
    width: int

    def grown(self, margin: int, grid: int, size: tuple[int, int]) -> "Box":
        """With ``margin`` more on each side, its corners at multiples of ``grid``, inside a picture of
        ``size`` (height, width)."""
        top, left = (max(first - margin, 0) // grid * grid for first in (self.top, self.left))
        bottom, right = (
            min(-(-(first + length + margin) // grid) * grid, end)
            for first, length, end in zip(self[:2], self[2:], size, strict=True)
        )
        return Box(top, left, bottom - top, right - left)


SPREAD = 1
"""The plane of luma [2, H, W] that tells how far each pixel may be from the truth, given the input alone:
the logarithm to base 2 of a standard deviation in 8-bit levels."""

REACH = 6
"""Frames on each side that a window of frames takes in."""

WINDOW = ("centre", "merge", "median", "spread", "weight", "damage", "keep")
"""Planes of luma [7, H, W] that a window of frames adds up to, in this order:

centre   the frame itself, without its dirt
merge    the frame and its aligned neighbours, weighted by how far each can be trusted
median   of the two aligned neighbours on each side without the frame: what is in the frame alone, as dust
         is, is not in it; the merge where there is but one
spread   standard deviation of those neighbours
weight   sum of their weights and the frame's own, from 1/5 (the frame alone) to 1
damage   how far the frame is from the clean picture, the same everywhere: see ``models.judge.damage``
keep     how much of grain and compression noise is to stay, from 0 to 1, the same everywhere
"""
