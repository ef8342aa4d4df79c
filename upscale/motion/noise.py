"""How noisy a picture is: one number, from its flattest places."""

import cv2
import numpy as np
from numpy.typing import NDArray

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
