"""How noisy a picture is: one number, from its flattest places; and a film, shot by shot."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.motion.flow import LEVELS

BLOCK = 16
"""Side in pixels of the blocks that are told apart."""

FLATTEST = 0.2
"""Share of the blocks that are taken for flat; the others' detail would pass for noise."""

MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
"""Immerkær's: blind to planes and straight edges along the axes; white noise keeps its deviation."""


def noise_level(plane: NDArray[np.float32]) -> float:
    """Standard deviation of the noise of a plane [H, W], in the plane's own unit.

    After Immerkær, "Fast noise variance estimation" (1996): the mean absolute response to a mask that
    smooth pictures do not answer to, here only of the flattest blocks. Blocks at black and white are left
    out where others are left: there noise is clipped."""
    response = np.abs(cv2.filter2D(plane, -1, MASK, borderType=cv2.BORDER_REFLECT_101))
    rows, columns = max(plane.shape[0] // BLOCK, 1), max(plane.shape[1] // BLOCK, 1)
    size = (columns, rows)
    means = cv2.resize(response, size, interpolation=cv2.INTER_AREA).ravel()
    brightness = cv2.resize(plane, size, interpolation=cv2.INTER_AREA).ravel()
    lit = (brightness > 0.04) & (brightness < 0.96)
    if lit.sum() >= max(4, 0.05 * lit.size):
        means = means[lit]
    return float(np.quantile(means, FLATTEST) * np.sqrt(np.pi / 2))


@dataclass(frozen=True, slots=True)
class ShotNoise:
    """The noise of one shot, or a piece of one, in 8-bit levels: medians over its pictures."""

    luma: float
    chroma: float
    pictures: int


@dataclass(slots=True)
class Noise:
    """What was met so far, shot by shot."""

    shots: list[ShotNoise] = field(default_factory=list)
    continues: bool = False
    """Whether the first of them began in pictures that were only context."""
    _levels: list[tuple[float, float]] = field(default_factory=list)

    @property
    def luma(self) -> list[float]:
        """Of every shot, in 8-bit levels."""
        return [shot.luma for shot in self.shots]

    @property
    def chroma(self) -> list[float]:
        return [shot.chroma for shot in self.shots]

    def note(self, levels: tuple[float, float], new_shot: bool) -> None:
        """Add one picture's noise in luma and in chroma, in the unit of the planes."""
        if new_shot:
            self.close()
        elif not self.shots and not self._levels:
            self.continues = True
        self._levels.append(levels)

    def close(self) -> None:
        """The shot, or what is seen of it, ends here."""
        if self._levels:
            luma, chroma = np.median(np.array(self._levels), axis=0) * LEVELS
            self.shots.append(ShotNoise(float(luma), float(chroma), len(self._levels)))
            self._levels.clear()

    def append(self, later: "Noise") -> None:
        """Add what was met in the piece of the film that follows. A shot in both is a mean of the two."""
        shots = list(later.shots)
        if later.continues and shots and self.shots:
            one, other = self.shots.pop(), shots.pop(0)
            count = one.pictures + other.pictures
            luma, chroma = (
                (a * one.pictures + b * other.pictures) / count
                for a, b in ((one.luma, other.luma), (one.chroma, other.chroma))
            )
            self.shots.append(ShotNoise(luma, chroma, count))
        self.shots += shots
