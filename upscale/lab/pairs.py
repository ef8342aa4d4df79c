"""Large and small pictures that others have made, and the protocol by which papers measure on them.

The sets of the literature (Set5, Set14, BSD100, Urban100, Manga109) are handed around as pairs, the small
ones by MATLAB's bicubic. PSNR and SSIM are of luma as MATLAB's rgb2ycbcr makes it, BT.601 in limited range,
of pictures that were rounded to 8-bit RGB, without a border of ``scale`` pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upscale.errors import UsageError
from upscale.media.picture import find_pictures, from_rgb, read_rgb, to_rgb

LARGE, SMALL = "HR", "LR"
"""What the names of pairs in one folder differ by."""

WEIGHTS = (65.481, 128.553, 24.966)
"""Of red, green and blue in [0, 1], in the luma of rgb2ycbcr; black is 16."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files."""

    large: Path
    small: Path

    def read(self, scale: int) -> tuple[Tensor, Tensor]:
        """The small and the large picture, full-range Y'CbCr [3, H, W] in [0, 1]; of the large one what the
        small one shows. Raises UsageError if their sizes do not fit."""
        small, large = (torch.from_numpy(from_rgb(read_rgb(path))) for path in (self.small, self.large))
        height, width = (length * scale for length in small.shape[1:])
        if not all(0 <= a - b < scale for a, b in zip(large.shape[1:], (height, width), strict=True)):
            sizes = " and ".join(f"{picture.shape[2]}x{picture.shape[1]}" for picture in (large, small))
            raise UsageError(f"{self.large.name} and {self.small.name} are {sizes}, which is no x{scale}")
        return small, large[:, :height, :width]


def find_pairs(folders: Sequence[Path]) -> list[Pair]:
    """The pairs in one folder, ``*HR*`` beside ``*LR*``, or in two, of the large and of the small ones.

    Raises UsageError, or UpscaleError where there are no pictures."""
    if len(folders) == 2:
        large, small = map(find_pictures, folders)
    elif len(folders) == 1:
        found = find_pictures(folders[0])
        large = [path for path in found if LARGE in path.stem]
        there = {path.stem: path for path in found}
        small = [
            there[name]
            for path in large
            if (name := path.stem.replace(LARGE, SMALL)) in there and name != path.stem
        ]
    else:
        raise UsageError("pairs are in one folder, *HR* beside *LR*, or in two: first the large ones")
    where = " and ".join(map(str, folders))
    if not large or len(large) != len(small):
        raise UsageError(f"{where}: {len(large)} large pictures, and {len(small)} small ones to them")
    for one, other in zip(large, small, strict=True):
        if len(folders) == 2 and not other.stem.startswith(one.stem):
            raise UsageError(
                f"{where}: {other.name} is no pair of {one.name}; its name should begin like it"
            )
    return [Pair(*files) for files in zip(large, small, strict=True)]


def paper_luma(planes: NDArray[np.float32]) -> Tensor:
    """Y'CbCr [3, H, W] as 8-bit RGB, and of that the luma of rgb2ycbcr over 255, [1, 1, H, W]."""
    luma = to_rgb(planes).astype(np.float64) @ np.array(WEIGHTS) / 255 + 16
    return torch.from_numpy(luma / 255)[None, None]
