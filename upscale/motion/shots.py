"""Where one shot ends and the next begins."""

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL = (64, 48)
"""Columns and rows of what is kept of a frame: fine enough to tell its borders."""

READ = 3
"""Rows of a frame, at least, that make one of its thumbnail: more would tell no more."""

COMPARED = (16, 12)
"""Columns and rows of the picture that is compared: small enough for motion not to matter."""

ALIKE = 0.6
"""Correlation of two pictures above which they show one shot."""

FLAT = 1.5 / 255
"""Standard deviation of a picture, in the luma range, below which there is nothing to compare: black,
say."""

STILL = 4 / 255
"""Most change of a place of a border: noise of tape, say."""

LEVEL = 6 / 255
"""How far a place of a border is off the level of its corner, at most."""

LEAST_PICTURE = 0.25
"""Share of the frame. Where less is left, the rest is no border, but a dark ground: what is seen on it is
small, and may go a good part of its own size in a frame."""

Thumbnail = NDArray[np.float32]


def thumbnail(luma: NDArray[np.float32]) -> Thumbnail:
    """Luma [H, W] as [48, 64], each the mean of its part; of every so many rows if there are many."""
    step = max(luma.shape[0] // (READ * THUMBNAIL[1]), 1)
    return cv2.resize(luma[::step], THUMBNAIL, interpolation=cv2.INTER_AREA)


def is_cut(before: Thumbnail, after: Thumbnail) -> bool:
    """Whether two thumbnails are of different shots.

    By the best correlation of the middle of one with the other, up to a pixel of 16 x 12 away: neither
    flicker nor a fade nor a quick pan changes that much. What is around the picture does not count: bars
    and masks are the same in every shot. Between two flat pictures there is no cut."""
    shown = _shown(before, after)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    share = cv2.resize(shown[box], COMPARED, interpolation=cv2.INTER_AREA)
    told = share >= 0.5
    one, other = (
        cv2.resize(picture[box] * shown[box], COMPARED, interpolation=cv2.INTER_AREA)
        / np.maximum(share, np.float32(0.5))
        for picture in (before, after)
    )
    spreads = float(one[told].std()), float(other[told].std())
    if min(spreads) < FLAT:
        return max(spreads) >= 4 * FLAT
    return not _alike(one, other, told)


def _shown(before: Thumbnail, after: Thumbnail) -> NDArray[np.float32]:
    """1 where two thumbnails may show a picture, 0 where both have one border around it, [48, 64].

    A border begins in a corner, is flat, and the same before and after. It is told by these two frames
    alone, so that a film computed in pieces has the cuts of the whole. A sky that is flat and still may go
    with it: what is left tells as well."""
    height, width = before.shape
    # In the mask of a flood fill, which has a margin, 1 is what it goes around, and 2 what it has filled.
    mask = np.ones((height + 2, width + 2), np.uint8)
    inner = mask[1:-1, 1:-1]
    np.greater(np.abs(after - before), STILL, out=inner, casting="unsafe")
    flags = 4 | 2 << 8 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
    for x, y in itertools.product((0, width - 1), (0, height - 1)):
        if inner[y, x] == 0:
            cv2.floodFill(before, mask, (x, y), 0, LEVEL, LEVEL, flags)
    # Beside a border is what is half of it.
    shown = cv2.erode((inner != 2).astype(np.float32), np.ones((3, 3), np.uint8))
    return shown if shown.mean() >= LEAST_PICTURE else np.ones_like(shown)


def _alike(one: NDArray[np.float32], other: NDArray[np.float32], told: NDArray[np.bool_]) -> bool:
    """Whether two pictures correlate where both are ``told``, in one place or up to a pixel beside it.

    Each part at its own mean and contrast: Lewis, "Fast normalized cross-correlation" (1995)."""
    height, width = one.shape
    middle = np.s_[1 : height - 1, 1 : width - 1]
    # Most frames are like the one before, in the same place.
    for y, x in ((1, 1), *itertools.product(range(3), repeat=2)):
        moved = np.s_[y : y + height - 2, x : x + width - 2]
        both = told[middle] & told[moved]
        first, second = one[middle][both], other[moved][both]
        first, second = first - first.mean(), second - second.mean()
        if first @ second > ALIKE * np.sqrt((first @ first) * (second @ second)):
            return True
    return False
