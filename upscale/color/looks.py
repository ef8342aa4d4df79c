"""A picture as colours are looked for in it: small, with its features; and one whose colours are known."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upscale.color.features import Backbone, Features
from upscale.color.matching import Colored
from upscale.models.color import FINE
from upscale.motion.flow import matchable

AREA = 448 * 256
"""Pixels, about, at which a picture is looked at."""

STRIDE = 32
"""Sides are multiples of it: the coarsest features have one sample for so many pixels."""

LARGEST_GAIN = 2.0
"""A small picture is enlarged by no more than this."""


def working_size(height: int, width: int) -> tuple[int, int]:
    """The height and the width at which a picture of that size is looked at."""
    gain = min((AREA / (height * width)) ** 0.5, LARGEST_GAIN)
    high, wide = (max(round(side * gain / STRIDE), 2) * STRIDE for side in (height, width))
    return high, wide


@dataclass(frozen=True, slots=True)
class View:
    """A picture at its working size."""

    luma: Tensor
    """[1, 1, H, W] in [0, 1]."""
    features: Features
    descriptors: Tensor
    matchable: NDArray[np.uint8]

    @classmethod
    def of(cls, luma: NDArray[np.float32], backbone: Backbone, size: tuple[int, int]) -> "View":
        """Of luma [H, W] of any size."""
        small = resized(luma, size).clip(0, 1)
        there = torch.from_numpy(small)[None, None].to(next(backbone.parameters()).device)
        features = backbone(there)
        return cls(there, features, features.descriptors(), matchable(small))


@dataclass(frozen=True, slots=True)
class Colors:
    """A picture whose colours are known, as far as others are told of it."""

    descriptors: Tensor
    matchable: NDArray[np.uint8]
    chroma: NDArray[np.float32]
    """[2, H/FINE, W/FINE] around 0."""
    pts: int | None = None
    """Its place in the film, where it has one."""

    @property
    def colored(self) -> Colored:
        """As others look for their colours in it."""
        chroma = torch.from_numpy(self.chroma)[None].to(self.descriptors.device)
        return Colored(self.descriptors, chroma)

    @classmethod
    def of(
        cls,
        picture: NDArray[np.float32],
        backbone: Backbone,
        size: tuple[int, int] | None = None,
        pts: int | None = None,
    ) -> "Colors":
        """Of Y'CbCr [3, H, W] of any size, chroma around 0.5; at its own working size, or at ``size``."""
        height, width = size or working_size(*picture.shape[1:])
        view = View.of(picture[0], backbone, (height, width))
        small = (height // FINE, width // FINE)
        chroma = np.stack([resized(plane - np.float32(0.5), small) for plane in picture[1:]])
        return cls(view.descriptors, view.matchable, chroma, pts)


def resized(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A plane [H, W] at ``size`` (height, width), without aliases."""
    if plane.shape == size:
        return np.ascontiguousarray(plane)
    shrinks = size[0] * size[1] < plane.size
    kernel = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(plane, size[::-1], interpolation=kernel))
