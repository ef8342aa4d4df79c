"""Whether a shot is clean: a picture without grain, and without the traces of an encoder, has nothing to be
restored, and would only lose by it.

A picture alone does not tell leaves and water from grain. But grain is another one in every frame, where
detail, once aligned, is the same; so it is what differs between two frames that is looked at, and there the
places that differ the least, as flow fails in others. Where next to nothing differs, it was an encoder that
made the frames the same. What is black and white is old, as a rule, and clean only if nothing but rounding
to 8 bits differs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscale.motion.flow import LEVELS, Plane
from upscale.motion.grey import GREY, stray
from upscale.motion.merge import Difference, Neighbour
from upscale.motion.noise import noise_level
from upscale.planes import Planes


class Limits(NamedTuple):
    """What a clean picture stays within, each in 8-bit levels."""

    noise: tuple[float, float]
    """Deviation of the noise, of the picture or of what differs between two, the lesser. Rounding makes
    0.29."""
    calm: tuple[float, float]
    """Difference between the patches of two frames that CALMEST of the places stay below. Rounding makes
    some 0.4."""


IN_COLOR = Limits(noise=(0.0, 1.0), calm=(0.15, 1.8))
IN_BLACK_AND_WHITE = Limits(noise=(0.18, 0.6), calm=(0.35, 0.8))

CALMEST = 0.2
"""Share of the places."""

BLOCKS = 0.22
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
    is_grey = stray(centre) < GREY
    limits = IN_BLACK_AND_WHITE if is_grey else IN_COLOR
    luma = centre[0][0]
    noise = noise_level(luma)
    if neighbour is not None:
        changed = neighbour.planes[0][0] - luma
        noise = min(noise, noise_level(changed + np.float32(0.5)) / float(np.sqrt(2)))
        patches = Difference.of(centre[:1], neighbour).large[neighbour.inside]
        calm = LEVELS * float(np.sqrt(np.quantile(patches, CALMEST))) if patches.size else 0.0
        if not limits.calm[0] < calm < limits.calm[1]:
            return False
    elif is_grey:
        return False
    return limits.noise[0] <= noise * LEVELS < limits.noise[1] and blockiness(luma) < BLOCKS


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
