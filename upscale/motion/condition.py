"""Whether a shot is clean: a picture without grain, and without the traces of an encoder, has nothing to be
restored, and would only lose by it.

A picture alone does not tell leaves and water from grain. But grain is another one in every frame, where
detail, once aligned, is the same; so it is what differs between two frames that is looked at, and there the
places that differ the least, as flow fails in others. Where next to nothing differs, it was an encoder that
made the frames the same. What is black and white is old, and never clean.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upscale.motion.flow import LEVELS, Plane
from upscale.motion.grey import GREY, stray
from upscale.motion.merge import Difference, Neighbour
from upscale.motion.noise import noise_level
from upscale.planes import Planes

NOISE = 1.0
"""Deviation of the noise, in 8-bit levels, from which a picture is damaged. Rounding alone makes 0.3."""

CALM, CALMEST = (0.15, 1.8), 0.2
"""Difference between the patches of two frames, in 8-bit levels, that the calmest of the places, so large a
share of all, stay below in a clean picture: within these limits. Rounding alone makes 0.4."""

BLOCKS = 0.18
"""By how many 8-bit levels the steps at the borders of blocks are larger than others in a damaged
picture."""

BLOCK = 8
"""Side in pixels of what encoders cut pictures into."""

LARGEST_STEP = 4.0
"""Between two pixels, in 8-bit levels: more is a contour, and says nothing of blocks."""


@dataclass(slots=True)
class Condition:
    """How many pictures were found clean, and left as they came."""

    pictures: int = 0
    """That were judged; equal frames are one picture."""
    clean: int = 0

    def note(self, is_clean: bool) -> None:
        """Add a picture."""
        self.pictures += 1
        self.clean += is_clean

    def append(self, later: "Condition") -> None:
        """Add what was found in another piece of the film."""
        self.pictures += later.pictures
        self.clean += later.clean


def is_clean(centre: Planes, neighbour: Neighbour | None) -> bool:
    """Whether a picture has nothing to be restored, by itself and by a ``neighbour`` two frames away.
    Without any, detail may pass for noise."""
    if stray(centre) < GREY:
        return False
    luma = centre[0][0]
    noise = noise_level(luma)
    if neighbour is not None:
        changed = neighbour.planes[0][0] - luma
        noise = min(noise, noise_level(changed + np.float32(0.5)) / np.sqrt(2))
        patches = Difference.of(centre[:1], neighbour).large[neighbour.inside]
        calm = LEVELS * np.sqrt(np.quantile(patches, CALMEST)) if patches.size else 0.0
        if not CALM[0] < calm < CALM[1]:
            return False
    return bool(noise * LEVELS < NOISE and blockiness(luma) < BLOCKS)


def blockiness(luma: Plane) -> float:
    """By how many 8-bit levels the mean step between pixels is larger where blocks of 8 adjoin.

    Of the eight places where such borders may be, as pictures are cropped, the one with the largest steps
    is taken, against the fourth of them in order; of rows and columns the worse."""
    return max(_block_steps(np.abs(np.diff(plane, axis=1))) for plane in (luma, luma.T))


def _block_steps(steps: NDArray[np.float32]) -> float:
    means = np.minimum(steps * np.float32(LEVELS), np.float32(LARGEST_STEP)).mean(axis=0)
    if len(means) < 2 * BLOCK:
        return 0.0
    ordered = np.sort(means[: len(means) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=0))
    return float(ordered[-1] - ordered[BLOCK // 2 - 1])
