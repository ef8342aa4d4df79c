"""Where one shot ends and the next begins."""

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL = (16, 12)
"""Columns and rows of the picture that is compared: small enough for motion not to matter."""

ALIKE = 0.6
"""Correlation of two thumbnails above which they show one shot."""

FLAT = 1.5 / 255
"""Standard deviation of a thumbnail, in the luma range, below which there is nothing to compare: black,
say."""


def thumbnail(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luma [H, W] as [12, 16], each the mean of its part."""
    return cv2.resize(luma, THUMBNAIL, interpolation=cv2.INTER_AREA)


def is_cut(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Whether two thumbnails are of different shots.

    By the best correlation of the middle of one with the other, up to a pixel away: neither flicker nor a
    fade nor a quick pan changes that much. Between two flat pictures there is no cut."""
    if min(before.std(), after.std()) < FLAT:
        return bool(max(before.std(), after.std()) >= 4 * FLAT)
    # Each part at its own mean and contrast: Lewis, "Fast normalized cross-correlation" (1995).
    found = cv2.matchTemplate(after, before[1:-1, 1:-1], cv2.TM_CCOEFF_NORMED)
    return bool(found.max() < ALIKE)
