"""Dirt: what one frame has and its neighbours do not, and what should be there instead.

After Kokaram's detectors of spikes (SDIa, SDIp, ROD: "Motion Picture Restoration", 1998): where the aligned
neighbours agree, and the frame differs from all of them to one side by more than noise does, it is dirty.
A ball or a hand that is too fast for the flow looks the same; but it is to be seen in the frames before and
after as well, each time where no other frame has it.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.motion.flow import LEVELS, Plane
from upscale.planes import Planes

AUTO = 0.5
"""How much is taken for dirt, from 0 (nothing) to 1, where nobody says: thresholds are divided by what is
asked for, over this."""

LEAST = 8 / LEVELS
"""Difference that dirt makes at least."""

ABOVE_NOISE, ABOVE_SPREAD = 3.5, 2.0
"""The same in units of the noise, and of how far the neighbours differ among themselves."""

SMOOTHING, SPREAD_SMOOTHING = 0.8, 1.0
"""Sigma in pixels of the blur of differences."""

CORE = 0.2
"""Share of a stain's greatest difference below which what adjoins is not part of it: where it led the flow
astray."""

LARGEST, ALWAYS = 0.02, 150
"""A stain covers at most this share of the frame, or so many pixels if that is more."""

MOST = 0.05
"""Share of the frame above which nothing is taken for dirt: a flash, a flow that failed."""

CALM = 4
"""Pixels around a stain in which little else may happen."""

TELLING = 0.55
"""Share of a stain's contrast from which another difference counts."""

RESTLESS = 0.25
"""Share of the pixels around in which neighbours may differ among themselves."""

STIRRED = 0.5
"""Pixels there, as a share of the stain's, that may differ from all others in the frame before and in that
after."""

BEYOND = 8
"""Pixels there that may differ from all neighbours without being taken for dirt: they are a part of what
moves."""

FASTEST = 0.12
"""How far a thing moves between two frames at most, as a share of the frame's width."""

WIDE = 480
"""Frames are made so many times smaller as they are wider than this, to look for what moves."""

SAME, UNLIKE = 0.35, 0.8
"""In the frames before and after it looks otherwise by at most this share of its squared contrast: the
geometric mean, and each."""

ALONE = 0.4
"""Share of it that is what no other frame has there, if it is known by its brightness."""

STRAIGHT, SLACK = 0.7, 4.0
"""How far its ways there and back may differ: a share of the longer one, and pixels."""

WAYS = 64
"""Ways that are tried at most."""

EDGE, EDGE_SMOOTHING = 2, 0.7
"""Pixels around a stain that go with it, and sigma of its rim."""

Part = tuple[slice, slice]
"""Rows and columns."""


@dataclass(slots=True)
class Dirt:
    """How much of it was found."""

    pictures: int = 0
    """In which it was looked for: those with two neighbours on each side. Equal frames are one picture."""
    dirty: int = 0
    """Those that had some."""
    share: float = 0.0
    """Of the pixels, the mean over all of them."""

    def note(self, share: float) -> None:
        """Add a picture, of which this ``share`` is dirty."""
        self.pictures += 1
        self.dirty += share > 0
        self.share += (share - self.share) / self.pictures

    def append(self, later: "Dirt") -> None:
        """Add what was found in another piece of the film."""
        self.pictures += later.pictures
        self.dirty += later.dirty
        if self.pictures:
            self.share += (later.share - self.share) * later.pictures / self.pictures


def cleaned(centre: Planes, near: Sequence[Planes], strength: float) -> tuple[Planes, float]:
    """The picture without its dirt, and the share of its pixels that were dirty.

    ``near`` are its aligned neighbours, two before and two after. ``strength`` is from 0, for nothing, to
    1."""
    share, median = find_dirt(centre[0][0], [planes[0][0] for planes in near], strength / AUTO)
    if not share.any():
        return centre, 0.0
    luma = (centre[0][0] + share * (median - centre[0][0]))[np.newaxis]
    dirty = float((share > 0.5).mean())
    if len(centre) == 1:
        return (luma,), dirty
    height, width = centre[1].shape[1:]
    small = cv2.resize(share, (width, height), interpolation=cv2.INTER_AREA)
    chroma = centre[1] + small * (_ranked([planes[1] for planes in near])[1] - centre[1])
    return (luma, chroma), dirty


def find_dirt(centre: Plane, near: Sequence[Plane], strength: float = 1.0) -> tuple[Plane, Plane]:
    """Where ``centre`` [H, W] is dirty, from 0 to 1, and what should be there instead, [H, W].

    ``near`` are the four aligned neighbours in order. ``strength``, above 0, divides the thresholds."""
    lowest, median, highest = _ranked(near)
    difference = centre - median
    size = np.abs(cv2.GaussianBlur(difference, (0, 0), SMOOTHING))
    noise = 1.4826 * float(np.median(size[::2, ::2]))
    spread = cv2.GaussianBlur(highest - lowest, (0, 0), SPREAD_SMOOTHING)
    alone = size > max(LEAST, ABOVE_NOISE * noise) / strength
    alone &= size > ABOVE_SPREAD / strength * spread
    alone &= (centre < lowest) | (centre > highest)
    nothing = np.zeros_like(centre)
    if not alone.any() or alone.mean() > MOST:
        return nothing, median
    mask = cv2.dilate(alone.astype(np.uint8), np.ones((3, 3), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    others = [
        _Other(near[place], near[place] - _ranked([centre, *near[:place], *near[place + 1 :]])[1])
        for place in (1, 2)
    ]
    trail = _Trail(centre, difference, others)
    largest = max(LARGEST * centre.size, ALWAYS)
    dirty = np.zeros(centre.shape, np.uint8)
    for number in range(1, count):
        box, area = boxes[number], boxes[number][cv2.CC_STAT_AREA]
        here, around = (_around(box, margin, centre.shape) for margin in (2, CALM))
        shape = labels[here] == number
        seeds = np.abs(difference[here][alone[here] & shape])
        telling = TELLING * float(seeds.mean())
        stirred = (int((np.abs(one.alone[around]) > telling).sum()) for one in others)
        beyond = (labels[around] == 0) & (size[around] > telling)
        if (
            area <= largest
            and beyond.sum() <= BEYOND
            and (spread[around] > telling).mean() <= RESTLESS
            and min(stirred) <= STIRRED * area
        ):
            core = shape & (size[here] > CORE * float(size[here][shape].max()))
            if not trail.moves(here, core, telling):
                dirty[here] |= core
    if not dirty.any():
        return nothing, median
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE + 1, 2 * EDGE + 1))
    share = cv2.dilate(dirty, disc).astype(np.float32)
    return cv2.GaussianBlur(share, (0, 0), EDGE_SMOOTHING), median


def _ranked(four: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], ...]:
    """The least, the mean of the middle two, and the greatest of four."""
    lowest, highest = functools.reduce(np.minimum, four), functools.reduce(np.maximum, four)
    total = four[0] + four[1] + four[2] + four[3]
    return lowest, (total - lowest - highest) / np.float32(2), highest


def _around(box: NDArray[np.int32], margin: int, shape: tuple[int, ...]) -> Part:
    """A box (left, top, width, height ...) and so many pixels around it."""
    left, top, width, height = box[:4]
    return (
        slice(max(top - margin, 0), min(top + height + margin, shape[0])),
        slice(max(left - margin, 0), min(left + width + margin, shape[1])),
    )


@dataclass(frozen=True, slots=True)
class _Other:
    """The frame before, or that after."""

    luma: Plane
    """Aligned, [H, W]."""
    alone: Plane
    """What it has alone: its difference from all others."""


class _Trail:
    """Where things that are alone in a frame are in the frames before and after."""

    def __init__(self, centre: Plane, difference: Plane, others: Sequence[_Other]):
        """A frame, what it has alone, and those two ``others``. Large ones are looked at smaller."""
        self._times = max(centre.shape[1] // WIDE, 1)
        self._centre, self._difference = self._smaller(centre), self._smaller(difference)
        self._others = [_Other(self._smaller(one.luma), self._smaller(one.alone)) for one in others]
        self._reach = round(FASTEST * self._centre.shape[1])

    def moves(self, here: Part, shape: NDArray[np.bool_], telling: float) -> bool:
        """Whether what is ``here``, of that shape, is to be found in the frame before and in that after, on
        about one way, and alone there: a difference counts from ``telling``."""
        rows, columns = (slice(one.start // self._times, -(-one.stop // self._times)) for one in here)
        size = columns.stop - columns.start, rows.stop - rows.start
        mask = cv2.resize(shape.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        (before, one), (after, other) = (
            self._ways((rows, columns), mask, frame, telling) for frame in self._others
        )
        if not len(before) or not len(after) or one * other > SAME**2:
            return False
        turn = np.hypot(*np.moveaxis(before[:, None] + after[None], 2, 0))
        longer = np.maximum(np.hypot(*before.T)[:, None], np.hypot(*after.T)[None])
        return bool((turn < STRAIGHT * longer + SLACK).any())

    def _smaller(self, plane: Plane) -> Plane:
        if self._times == 1:
            return plane
        size = -(-plane.shape[1] // self._times), -(-plane.shape[0] // self._times)
        return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)

    def _ways(
        self, here: Part, mask: Plane, other: _Other, telling: float
    ) -> tuple[NDArray[np.int64], float]:
        """The ways [N, 2] (rows, columns) to where another frame has much the same alone: the same
        difference from what is behind it, or, as that changes, the same brightness; and how unlike the most
        alike is, as a share of the squared contrast."""
        rows, columns = (
            slice(max(one.start - self._reach, 0), min(one.stop + self._reach, length))
            for one, length in zip(here, other.luma.shape, strict=True)
        )
        alone = np.ascontiguousarray(other.alone[rows, columns])
        is_alone = (np.abs(alone) > telling / 2).astype(np.float32)
        if not is_alone.any():
            return np.zeros((0, 2), np.int64), 1.0
        part, luma = (np.ascontiguousarray(p) for p in (self._centre[here], other.luma[rows, columns]))
        difference = np.ascontiguousarray(self._difference[here])
        there = cv2.matchTemplate(is_alone, mask, cv2.TM_CCORR) > ALONE * float(mask.sum())
        unlike = cv2.matchTemplate(alone, difference, cv2.TM_SQDIFF, mask=mask)
        same_light = cv2.matchTemplate(luma, part, cv2.TM_SQDIFF, mask=mask)
        unlike = np.where(there, np.minimum(unlike, same_light), unlike)
        unlike /= float(np.square(difference * mask).sum())
        ways = np.argwhere(unlike < UNLIKE)
        ways = ways[:: max(-(-len(ways) // WAYS), 1)]
        return ways + np.array([rows.start - here[0].start, columns.start - here[1].start]), float(
            unlike.min()
        )
