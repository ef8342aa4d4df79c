"""Training pictures in memory, and batches of crops cut from them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from upscale.errors import UpscaleError
from upscale.media.picture import find_pictures, read_picture

MIDDLE = 256
"""Pixels a side of what validation looks at."""

SOFT = 0.7
"""A picture whose finest octave holds less than this share of the contrast of the next is halved."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a network learns from: what it is shown, and what it is to answer."""

    low: Tensor
    """[N, planes, h, w] float32."""
    high: Tensor
    """[N, C, scale*h, scale*w] float32: luma; for chroma networks luma, the guide, then Cb and Cr."""

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """With every tensor changed."""
        return Batch(change(self.low), change(self.high))


class Lessons(Protocol):
    """Endless batches, of tensors that ``map`` changes all together; the same for the same seed."""

    def __len__(self) -> int:
        """Of how many pictures or samples."""

    def batches(self, first: int = 0) -> Iterator[Any]:
        """From number ``first`` on; batch i depends on i only, so that a resumed run sees the same."""

    def held_out(self) -> Iterator[Any]:
        """Each picture or sample once, for validation."""


@dataclass(frozen=True, slots=True)
class Crops:
    """The clean track: pictures made small. Square crops, each turned and mirrored at random."""

    pictures: list[Tensor]
    """Each [C, H, W] uint8: luma, or all three planes for a chroma network."""
    scale: int
    size: int
    batch: int
    seed: int = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """Batches of ``size`` output pixels a side, from number ``first`` on.

        Batch number i depends on the seed and i only, so a resumed run sees what a straight one does.
        """
        areas = np.array([picture[0].numel() for picture in self.pictures], float)
        number = first
        while True:
            random = np.random.default_rng((self.seed, number))
            chosen = random.choice(len(self.pictures), self.batch, p=areas / areas.sum())
            yield self._lesson(
                torch.stack([self._crop(self.pictures[i], random) for i in chosen]).float() / 255
            )
            number += 1

    def held_out(self) -> Iterator[Batch]:
        """The middle of every picture, MIDDLE pixels a side."""
        for picture in self.pictures:
            _, height, width = picture.shape
            h, w = (min(MIDDLE, length) // self.scale * self.scale for length in (height, width))
            top, left = (height - h) // 2, (width - w) // 2
            yield self._lesson(picture[None, :, top : top + h, left : left + w].float() / 255)

    def _lesson(self, high: Tensor) -> Batch:
        low = downsample(high, self.scale)
        return Batch(low if high.shape[1] == 1 else low[:, 1:], high)

    def _crop(self, picture: Tensor, random: np.random.Generator) -> Tensor:
        _, height, width = picture.shape
        top = random.integers(height - self.size + 1)
        left = random.integers(width - self.size + 1)
        crop = picture[:, top : top + self.size, left : left + self.size]
        return turned(crop, random.random(3) < 0.5)


def turned(crop: Tensor, how: NDArray[np.bool_]) -> Tensor:
    """[C, H, W] mirrored, flipped and transposed, each where ``how`` says so."""
    mirrored, flipped, transposed = how
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
