"""The window: what the frames around a frame, aligned with it, tell of it.

    frames -> t-6 ... t-1 (t) t+1 ... t+6 -> flow -> neighbours at t's place -> planes at the input's size

A window never crosses a cut, and is shorter at cuts and at the film's ends. An output depends on its window
alone, so a film cut into pieces that read a little beyond their ends is the same film.
"""

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from upscale.motion.dirt import Dirt, cleaned
from upscale.motion.flow import LEVELS, SMALLEST, Plane, find_flow, matchable
from upscale.motion.merge import Difference, Merge, Neighbour, PatchNoise
from upscale.motion.noise import noise_level
from upscale.motion.shots import is_cut, thumbnail
from upscale.planes import REACH, Planes

NEAR = 2
"""Frames on each side whose flow is found finely, and of which the median and its like are."""

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
class Seen:
    """A picture and what its flow is found by."""

    planes: Planes
    matchable: NDArray[np.uint8]

    @classmethod
    def of(cls, planes: Planes) -> "Seen":
        return cls(planes, matchable(planes[0][0]))


@dataclass(frozen=True, slots=True)
class _Picture:
    """One frame, or a run of equal ones, with what is worked out once for it."""

    seen: Seen
    thumbnail: NDArray[np.float32]
    number: int
    """Of the first frame that it stands for, in the film."""
    shot: int
    noise: tuple[float, float]
    """In luma and in chroma."""
    times: list[int]
    """How many frames it stands for, in a list of one, as it grows."""


def gather(
    centre: Seen,
    others: Sequence[tuple[int, Seen]],
    dirt: float = 0.0,
    pool: ThreadPoolExecutor | None = None,
) -> tuple[Planes, float | None]:
    """The planes of ``planes.WINDOW`` but the last two, [5, H, W], and merged chroma [2, h, w] unless grey.

    ``others`` are the pictures around the centre, each with how many pictures it is after it (below 0:
    before). ``dirt`` is how much is taken for it, from 0 to 1, and taken out of the centre; the other
    answer is the share that it had of the picture, None where nothing tells."""
    each: Callable[..., Iterable] = pool.map if pool is not None else map
    planes = centre.planes
    luma = planes[0][0]
    if not others or min(luma.shape) < SMALLEST:
        alone = np.full_like(luma, 1 / (2 * NEAR + 1))
        return (np.stack([luma, luma, luma, np.zeros_like(luma), alone]), *planes[1:]), None

    def aligned(distance: int, seen: Seen) -> Neighbour:
        effort = "fine" if abs(distance) <= NEAR else "quick"
        flow = find_flow(centre.matchable, seen.matchable, effort)
        return Neighbour.align(planes, distance, seen.planes, flow)

    def weighed(distance: int, seen: Seen) -> tuple[Planes, tuple[Plane, ...]]:
        neighbour = aligned(distance, seen)
        return neighbour.planes, Difference.of(planes, neighbour).weights(noise)

    near = list(each(aligned, *_columns(one for one in others if abs(one[0]) <= NEAR)))
    share = None
    if dirt and len(near) == 2 * NEAR:
        planes, share = cleaned(planes, [one.planes for one in near], dirt)
        luma = planes[0][0]
    differences = list(each(functools.partial(Difference.of, planes), near))
    nearest = [two for one, two in zip(near, differences, strict=True) if abs(one.distance) == 1]
    noise = PatchNoise.between(planes, nearest)
    weights = [difference.weights(noise) for difference in differences]
    merge = Merge(planes)
    for one, weight in zip(near, weights, strict=True):
        merge.add(one.planes, weight)
    # The far ones are many, and gone as soon as they are added.
    for other, weight in each(weighed, *_columns(one for one in others if abs(one[0]) > NEAR)):
        merge.add(other, weight)
    mean = merge.mean()
    median, spread = _middle([one.planes[0][0] for one in near], mean[0][0])
    sureness = sum((weight[0] for weight in weights), np.float32(1)) / np.float32(2 * NEAR + 1)
    return (np.stack([luma, mean[0][0], median, spread, sureness]), *mean[1:]), share


def _columns(others: Iterable[tuple[int, Seen]]) -> tuple[list[int], list[Seen]]:
    known = list(others)
    return [distance for distance, _ in known], [seen for _, seen in known]


def windowed(
    pictures: Iterable[Planes],
    noise: Noise | None = None,
    radius: int = REACH,
    dirt: float = 0.0,
    stains: Dirt | None = None,
    numbers: Iterable[int] | None = None,
    since: int | None = None,
) -> Iterator[Planes]:
    """For each of the ``pictures``, in order, the planes of its window: see ``gather``.

    ``noise`` is told the noise of each shot, ``stains`` the share of ``dirt``: see ``gather``. Equal frames
    in a row, as old transfers have them, count as one and get the very same planes; a window holds
    different frames. Holds no more than ``2 * radius + 1`` pictures. The answers do not depend on the
    number of threads.

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
            planes = centre.seen.planes
            if is_wanted(centre.number):
                planes, share = _window(held, place, radius, dirt, pool)
                if stains is not None and share is not None:
                    stains.note(share)
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
                and _equal(last.seen.planes, planes)
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
            held.append(_Picture(Seen.of(planes), small, number, shot, level, [1]))
        while place < len(held):
            yield from answer()
        if noise is not None:
            noise.close()


def _window(
    held: "deque[_Picture]", place: int, radius: int, dirt: float, pool: ThreadPoolExecutor
) -> tuple[Planes, float | None]:
    centre = held[place]
    others = [
        (other - place, held[other].seen)
        for other in range(max(place - radius, 0), min(place + radius + 1, len(held)))
        if other != place and held[other].shot == centre.shot
    ]
    return gather(centre.seen, others, dirt, pool)


def _middle(near: Sequence[Plane], merge: Plane) -> tuple[Plane, Plane]:
    """Median of the nearest neighbours, and their deviation."""
    count = len(near)
    mean = sum(near[1:], near[0]) / np.float32(count)
    squares = [np.square(one - mean) for one in near]
    spread = np.sqrt(sum(squares[1:], squares[0]) / np.float32(count))
    if count == 1:  # one against one: where they differ, nothing says which of them is dirty
        return merge, spread
    if count == 2:
        return mean, spread
    least, most = functools.reduce(np.minimum, near), functools.reduce(np.maximum, near)
    # Of three the middle one, of four the mean of the middle two.
    return (mean * np.float32(count) - least - most) / np.float32(count - 2), spread


def _equal(one: Planes, other: Planes) -> bool:
    return all(a is b or np.array_equal(a, b) for a, b in zip(one, other, strict=True))
