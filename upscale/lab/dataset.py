"""Training pictures in memory, and batches of crops cut from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from upscale.errors import UpscaleError
from upscale.media.picture import find_pictures, read_picture

SOFT = 0.7
"""A picture whose finest octave holds less than this share of the contrast of the next is halved."""


@dataclass(frozen=True, slots=True)
class Crops:
    """Endless batches of square crops, each turned and mirrored at random; the same for the same seed."""

    pictures: list[Tensor]
    """Each [C, H, W] uint8."""
    size: int
    batch: int
    seed: int = 0

    def batches(self, first: int = 0) -> Iterator[Tensor]:
        """Batches [batch, C, size, size] float32 in [0, 1], from number ``first`` on.

        Batch number i depends on the seed and i only, so a resumed run sees what a straight one does.
        """
        areas = np.array([picture[0].numel() for picture in self.pictures], float)
        number = first
        while True:
            random = np.random.default_rng((self.seed, number))
            chosen = random.choice(len(self.pictures), self.batch, p=areas / areas.sum())
            yield torch.stack([self._crop(self.pictures[i], random) for i in chosen]).float() / 255
            number += 1

    def _crop(self, picture: Tensor, random: np.random.Generator) -> Tensor:
        _, height, width = picture.shape
        top = random.integers(height - self.size + 1)
        left = random.integers(width - self.size + 1)
        crop = picture[:, top : top + self.size, left : left + self.size]
        mirrored, flipped, transposed = random.random(3) < 0.5
        if mirrored:
            crop = crop.flip(2)
        if flipped:
            crop = crop.flip(1)
        return crop.transpose(1, 2) if transposed else crop


def load_pictures(folder: Path, planes: slice, smallest: int) -> list[Tensor]:
    """The ``planes`` (0 luma, 1 Cb, 2 Cr) of every picture in ``folder``, [C, H, W] uint8 full range.

    Soft ones are halved until they are sharp, as far as ``smallest`` pixels a side allow. A chroma network
    wants all three planes, and gets every picture halved once more: JPEG stores half of its chroma.
    """
    pictures = []
    for path in find_pictures(folder):
        picture = torch.from_numpy(read_picture(path))
        if planes.stop == 3:
            picture = _halved(picture)
        while min(picture.shape[1:]) >= 2 * smallest and sharpness(picture[0]) < SOFT:
            picture = _halved(picture)
        if min(picture.shape[1:]) >= smallest:
            pictures.append(picture[planes].mul(255).round().clamp(0, 255).byte())
    if not pictures:
        raise UpscaleError(f"{folder}: no picture of at least {smallest}x{smallest} pixels")
    return pictures


def sharpness(luma: Tensor) -> float:
    """Contrast between neighbours, over contrast between neighbours in the halved picture [H, W]."""
    even = luma[: luma.shape[0] // 2 * 2, : luma.shape[1] // 2 * 2]
    halved = F.avg_pool2d(even[None], 2)[0]
    fine = (even[:, 1::2] - even[:, ::2]).abs().mean()
    coarse = (halved[:, 1:] - halved[:, :-1]).abs().mean()
    return float(fine / coarse.clamp(min=1e-6))


def downsample(high: Tensor, scale: int) -> Tensor:
    """The clean track: antialiased bicubic, rounded to 8 bit. [N, C, H, W] -> [N, C, H/scale, W/scale]."""
    low = F.interpolate(high, scale_factor=1 / scale, mode="bicubic", antialias=True, align_corners=False)
    return low.clamp(0, 1).mul(255).round().div(255)


def _halved(picture: Tensor) -> Tensor:
    _, height, width = picture.shape
    return downsample(picture[None, :, : height // 2 * 2, : width // 2 * 2], 2)[0]
