"""A frame and its aligned neighbours, averaged by how far each place of a neighbour shows the same.

Whether it does is told by the distance between patches, as in non-local means (Buades, Coll, Morel 2005),
here along the motion: the mean *squared* difference around a place, in units of what noise alone makes. A
mean difference would not do: where an edge is misplaced, it cancels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.motion.flow import LEVELS, Plane, align
from upscale.planes import Planes

SMALL_PATCH, LARGE_PATCH = 1.2, 3.0
"""Sigma in pixels of the two patches: the small one knows edges, the large one noise."""

SMALL_DOUBT, LARGE_DOUBT = 0.15, 0.25
"""How fast a weight falls with the distance of each, for every unit above the first."""

CHROMA_PATCH, CHROMA_DOUBT = 2.0, 0.4
"""The same for colour; sigma in chroma samples."""

QUIET = 0.3 / LEVELS
"""Root of the mean squared difference below which nothing is noise: rounding to 8 bits makes as much."""

SAMPLED = 4
"""Every so many rows and columns are looked at to tell the noise."""

FLATTEST = 0.1 / LEVELS
"""Mean difference from the surroundings below which a place is empty, as black borders are: that nothing
changes there tells nothing."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A picture seen from the centre's place."""

    distance: int
    """How many pictures before (below 0) or after the centre."""
    planes: Planes
    """At the centre's places and exposure."""
    inside: NDArray[np.bool_]
    """[H, W]: whether it reaches there."""

    @classmethod
    def align(cls, centre: Planes, distance: int, planes: Planes, flow: NDArray[np.float32]) -> Self:
        """The picture of ``planes``, by the ``flow`` from the centre to it."""
        aligned = align(centre[0][0], planes[0][0], flow)
        luma = aligned.luma[np.newaxis]
        if len(planes) == 1:
            return cls(distance, (luma,), aligned.inside)
        height, width = planes[1].shape[1:]
        ratio = np.array([flow.shape[1] / width, flow.shape[0] / height], np.float32)
        places = cv2.resize(aligned.map, (width, height), interpolation=cv2.INTER_AREA)
        places = (places + np.float32(0.5)) / ratio - np.float32(0.5)
        warped = [
            cv2.remap(plane, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            for plane in planes[1]
        ]
        return cls(distance, (luma, np.stack(warped)), aligned.inside)


@dataclass(frozen=True, slots=True)
class PatchNoise:
    """The squared distance of patches that noise alone makes, in the unit of the planes."""

    luma: float
    chroma: float

    @classmethod
    def between(cls, centre: Planes, neighbours: Iterable["Difference"]) -> Self:
        """From the differences of the nearest ones, most of whose places match.

        The further ones do not tell: in a fast scene their mismatches would pass for noise."""
        luma = centre[0][0]
        rough = cv2.blur(np.abs(luma - cv2.blur(luma, (5, 5))), (5, 5))
        told = rough[::SAMPLED, ::SAMPLED] > FLATTEST
        if told.mean() < 0.02:
            told[:] = True
        large: list[float] = []
        chroma = [np.inf]
        for one in neighbours:
            large.append(float(np.median(one.large[::SAMPLED, ::SAMPLED][told])))
            if one.chroma is not None:
                chroma.append(float(np.median(one.chroma[:: SAMPLED // 2, :: SAMPLED // 2])))
        return cls(max(min(large), QUIET**2), max(min(chroma), 2 * QUIET**2))


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a neighbour is from the centre: squared distances of patches, in the unit of the planes."""

    small: Plane
    large: Plane
    chroma: Plane | None
    """[h, w], the sum of both planes; None for grey pictures."""
    inside: NDArray[np.bool_]

    @classmethod
    def of(cls, centre: Planes, neighbour: Neighbour) -> Self:
        """Of two pictures, the second one aligned with the first."""
        squared = np.square(neighbour.planes[0][0] - centre[0][0])
        small, large = (cv2.GaussianBlur(squared, (0, 0), sigma) for sigma in (SMALL_PATCH, LARGE_PATCH))
        chroma = None
        if len(centre) > 1:
            both = np.square(neighbour.planes[1] - centre[1])
            chroma = cv2.GaussianBlur(both[0] + both[1], (0, 0), CHROMA_PATCH)
        return cls(small, large, chroma, neighbour.inside)

    def weights(self, noise: PatchNoise) -> tuple[Plane, ...]:
        """Of luma [H, W], and of chroma [h, w] if there is any: from 0 (occluded, outside, mismatched) to 1
        (no further than noise makes what is the same)."""
        doubt = SMALL_DOUBT * _beyond(self.small, noise.luma)
        doubt += LARGE_DOUBT * _beyond(self.large, noise.luma)
        weight = np.exp(-doubt)
        weight[~self.inside] = 0
        if self.chroma is None:
            return (weight,)
        height, width = self.chroma.shape
        small: Plane = cv2.resize(weight, (width, height), interpolation=cv2.INTER_AREA)
        return weight, small * np.exp(-CHROMA_DOUBT * _beyond(self.chroma, noise.chroma))


def _beyond(distance: Plane, noise: float) -> Plane:
    return np.maximum(distance * np.float32(1 / noise) - np.float32(1), 0)


class Merge:
    """The mean of a picture, which has weight 1, and of all that is added."""

    def __init__(self, centre: Planes):
        self._sums = [plane.copy() for plane in centre]
        self._weights = [np.ones_like(plane[0]) for plane in centre]

    def add(self, planes: Planes, weights: tuple[Plane, ...]) -> None:
        """An aligned neighbour."""
        for number, (plane, weight) in enumerate(zip(planes, weights, strict=True)):
            self._sums[number] += weight * plane
            self._weights[number] += weight

    def mean(self) -> Planes:
        """Luma [1, H, W], and chroma [2, h, w] if there is any."""
        return tuple(total / weight for total, weight in zip(self._sums, self._weights, strict=True))
