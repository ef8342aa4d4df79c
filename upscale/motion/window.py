"""The window: what the frames around a frame, aligned with it, tell of it.

    frames -> t-2 t-1 (t) t+1 t+2 -> flow, both ways -> neighbours at t's place -> planes at the input's
    size

A window never crosses a cut, and is shorter at cuts and at the film's ends. An output depends on its window
alone, so a film cut into pieces that read a little beyond their ends is the same film.
"""

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.motion.flow import LEVELS, SMALLEST, Aligned, Flow, Plane, align, find_flow, grid, matchable
from upscale.motion.noise import noise_level
from upscale.motion.shots import is_cut, thumbnail
from upscale.planes import Planes

RADIUS = 2
"""Frames on each side that a window takes in."""

CHROMA_TOLERANCE = 8.0
"""As ``flow.TOLERANCE``, for colour: 8-bit levels, by which tape's colour noise may differ."""

CHROMA_SMOOTHING = 2.0
"""Sigma in chroma samples of the blur of that difference."""

LONGEST_RUN = 8
"""Equal frames that count as one in a window. More would hold up the film, and its sound with it."""

WORKERS = 4
"""Threads at most that align neighbours beside each other."""


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


@dataclass(frozen=True, slots=True)
class _Picture:
    """One frame, or a run of equal ones, with what is worked out once for it."""

    planes: Planes
    matchable: NDArray[np.uint8]
    thumbnail: NDArray[np.float32]
    number: int
    """Of the first frame that it stands for, in the film."""
    shot: int
    noise: tuple[float, float]
    """In luma and in chroma."""
    times: list[int]
    """How many frames it stands for, in a list of one, as it grows."""
    flows: "dict[int, Future[Flow]]" = field(default_factory=dict)
    """To the pictures so many places later."""


def gather(
    centre: Planes,
    neighbours: Sequence[Planes],
    flows: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    pool: ThreadPoolExecutor | None = None,
) -> Planes:
    """The planes of ``planes.WINDOW`` but the last two, [5, H, W], and merged chroma [2, h, w] unless grey.

    ``flows`` are, for each neighbour, those from the centre to it and back.
    """
    luma = centre[0][0]
    each = pool.map if pool is not None else map
    aligned = list(each(lambda planes, flow: align(luma, planes[0][0], *flow), neighbours, flows))
    merge, median, spread, weight = _combined(luma, aligned)
    planes = np.stack([luma, merge, median, spread, weight])
    if len(centre) == 1:
        return (planes,)
    return planes, _merged_chroma(centre[1], [planes[1] for planes in neighbours], aligned)


def windowed(
    pictures: Iterable[Planes],
    noise: Noise | None = None,
    radius: int = RADIUS,
    numbers: Iterable[int] | None = None,
    since: int | None = None,
) -> Iterator[Planes]:
    """For each of the ``pictures``, in order, the planes of its window: see ``gather``.

    ``noise`` is told the noise of each shot. Equal frames in a row, as old transfers have them, count as
    one and get the very same planes; a window holds different frames. Holds no more than
    ``2 * radius + 1`` pictures. The answers do not depend on the number of threads.

    ``numbers`` are the places of the pictures in the film, rising; by default they are counted from 0. A
    run of equal frames ends at every multiple of LONGEST_RUN, wherever reading began. Pictures with
    numbers below ``since`` are context: they are given back as they came, and cost little.
    """
    held: deque[_Picture] = deque()
    answered = -1
    """The shot of the last picture that was answered for."""

    def is_wanted(number: int) -> bool:
        return since is None or number >= since

    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1), "window") as pool:
        place = 0  # in ``held``, of the next picture to answer for

        def answer() -> Iterator[Planes]:
            nonlocal place, answered
            centre = held[place]
            planes = centre.planes
            if is_wanted(centre.number):
                planes = _window(held, place, radius, pool)
                if noise is not None:
                    noise.note(centre.noise, centre.shot != answered)
            answered = centre.shot
            for _ in range(centre.times[0]):
                yield planes
            place += 1
            if place > radius:
                held.popleft()
                place -= 1

        for planes, number in zip(
            pictures, itertools.count() if numbers is None else numbers, strict=False
        ):
            last = held[-1] if held else None
            if (
                last is not None
                and last.number // LONGEST_RUN == number // LONGEST_RUN
                and _equal(last.planes, planes)
            ):
                last.times[0] += 1
                continue
            # What came before this one is whole now.
            if len(held) - place > radius:
                yield from answer()
            small = thumbnail(planes[0][0])
            shot = 0 if last is None else last.shot + is_cut(last.thumbnail, small)
            level = (0.0, 0.0)
            if is_wanted(number):
                chroma = planes[1] if len(planes) > 1 else ()
                level = noise_level(planes[0][0]), max(map(noise_level, chroma), default=0.0)
            new = _Picture(planes, matchable(planes[0][0]), small, number, shot, level, [1])
            if is_wanted(number) and min(planes[0].shape[1:]) >= SMALLEST:
                for distance, earlier in enumerate(list(held)[: -radius - 1 : -1], 1):
                    if earlier.shot == shot:
                        earlier.flows[distance] = pool.submit(find_flow, earlier.matchable, new.matchable)
            held.append(new)
        while place < len(held):
            yield from answer()
        if noise is not None:
            noise.close()


def _window(held: "deque[_Picture]", place: int, radius: int, pool: ThreadPoolExecutor) -> Planes:
    centre = held[place]
    neighbours, flows = [], []
    for other in range(max(place - radius, 0), min(place + radius + 1, len(held))):
        neighbour = held[other]
        earlier = centre if other > place else neighbour
        found = earlier.flows.get(abs(other - place))
        if other == place or neighbour.shot != centre.shot or found is None:
            continue
        flow = found.result()
        there = (flow.forward, flow.backward)
        flows.append(there if other > place else there[::-1])
        neighbours.append(neighbour.planes)
    return gather(centre.planes, neighbours, flows, pool)


def _combined(centre: Plane, aligned: Sequence[Aligned]) -> tuple[Plane, Plane, Plane, Plane]:
    """Merge, median of the neighbours, their deviation, and share of the greatest sum of weights."""
    if not aligned:
        return centre, centre, np.zeros_like(centre), np.full_like(centre, 1 / (2 * RADIUS + 1))
    merge, weights = centre.copy(), np.ones_like(centre)
    for one in aligned:
        merge += one.weight * one.luma
        weights += one.weight
    merge /= weights
    stack = np.stack([one.luma for one in aligned])
    total, count = stack.sum(0), len(stack)
    median = total / count
    if count == 1:  # one against one: where they differ, nothing says which of them is dirty
        median = merge
    if count > 2:  # of three the middle one, of four the mean of the middle two
        median = (total - stack.min(0) - stack.max(0)) / (count - 2)
    return merge, median, stack.std(0), weights / np.float32(2 * RADIUS + 1)


def _merged_chroma(
    centre: NDArray[np.float32], neighbours: Sequence[NDArray[np.float32]], aligned: Sequence[Aligned]
) -> NDArray[np.float32]:
    """Chroma [2, h, w] merged by the flow and the weights of luma, and by how alike it is itself."""
    if not aligned:
        return centre
    height, width = centre.shape[1:]
    across, down = aligned[0].weight.shape[1] / width, aligned[0].weight.shape[0] / height
    merge, weights = centre.copy(), np.ones((height, width), np.float32)
    for chroma, one in zip(neighbours, aligned, strict=True):
        moved = one.map - grid(*one.weight.shape)
        if (across, down) != (1, 1):
            moved = cv2.resize(moved, (width, height), interpolation=cv2.INTER_AREA)
        places = grid(height, width) + moved / np.array([across, down], np.float32)
        weight = cv2.resize(one.weight, (width, height), interpolation=cv2.INTER_AREA)
        warped = np.stack(
            [
                cv2.remap(plane, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
                for plane in chroma
            ]
        )
        for before, after in zip(centre, warped, strict=True):
            error = cv2.GaussianBlur(after - before, (0, 0), CHROMA_SMOOTHING)
            weight *= np.exp(-np.square(error * (LEVELS / CHROMA_TOLERANCE)) / 2)
        merge += weight * warped
        weights += weight
    return merge / weights


def _equal(one: Planes, other: Planes) -> bool:
    return all(a is b or np.array_equal(a, b) for a, b in zip(one, other, strict=True))
