"""The window: what the frames around a frame, aligned with it, tell of it.

    frames -> t-6 ... t-1 (t) t+1 ... t+6 -> flow -> neighbours at t's place -> planes at the input's size

A window never crosses a cut, and is shorter at cuts and at the film's ends. An output depends on its window
alone, so a film cut into pieces that read a little beyond their ends is the same film.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upscale.motion.condition import is_clean
from upscale.motion.dirt import AUTO, cleaned
from upscale.motion.findings import Findings
from upscale.motion.flow import SMALLEST, Plane, find_flow, matchable
from upscale.motion.merge import Difference, Merge, Neighbour, PatchNoise
from upscale.motion.noise import noise_level
from upscale.motion.runs import Place, Run, runs
from upscale.motion.shots import is_cut, thumbnail
from upscale.planes import REACH, Planes

NEAR = 2
"""Frames on each side whose flow is found finely, and of which the median and its like are."""

WORKERS = 4
"""Threads at most that align neighbours beside each other."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Seen:
    """A picture and what its flow is found by."""

    planes: Planes
    matchable: NDArray[np.uint8]

    @classmethod
    def of(cls, planes: Planes) -> "Seen":
        return cls(planes, matchable(planes[0][0]))


@dataclass(frozen=True, slots=True)
class _Known:
    """What is worked out once for each picture."""

    seen: Seen
    thumbnail: NDArray[np.float32]
    shot: int


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
        return alone(planes), None

    def weighed(distance: int, seen: Seen) -> tuple[Planes, tuple[Plane, ...]]:
        # At the exposure of the picture without its dirt.
        neighbour = _aligned(Seen(planes, centre.matchable), distance, seen)
        return neighbour.planes, Difference.of(planes, neighbour).weights(noise)

    near = list(each(functools.partial(_aligned, centre), *_columns(_nearest(others))))
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


def alone(planes: Planes) -> Planes:
    """What ``gather`` answers for a picture without neighbours, or one that is too small for them."""
    luma = planes[0][0]
    weight = np.full_like(luma, 1 / (2 * NEAR + 1))
    return (np.stack([luma, luma, luma, np.zeros_like(luma), weight]), *planes[1:])


Gather = Callable[
    [Seen, Sequence[tuple[int, Seen]], float, ThreadPoolExecutor | None], tuple[Planes, float | None]
]
"""What answers as ``gather`` does."""


def spared(
    centre: Seen,
    others: Sequence[tuple[int, Seen]],
    dirt: float = 0.0,
    pool: ThreadPoolExecutor | None = None,
) -> tuple[Planes, float | None]:
    """As ``gather``, of a clean picture: as it came, but for its dirt."""
    near = _nearest(others)
    if not dirt or len(near) < 2 * NEAR or min(centre.planes[0][0].shape) < SMALLEST:
        return centre.planes, None
    each: Callable[..., Iterable] = pool.map if pool is not None else map
    aligned = each(functools.partial(_aligned, centre), *_columns(near))
    return cleaned(centre.planes, [one.planes for one in aligned], dirt)


def _aligned(centre: Seen, distance: int, seen: Seen) -> Neighbour:
    effort = "fine" if abs(distance) <= NEAR else "quick"
    flow = find_flow(centre.matchable, seen.matchable, effort)
    return Neighbour.align(centre.planes, distance, seen.planes, flow)


def _nearest(others: Sequence[tuple[int, Seen]]) -> list[tuple[int, Seen]]:
    return [one for one in others if abs(one[0]) <= NEAR]


def _columns(others: Iterable[tuple[int, Seen]]) -> tuple[list[int], list[Seen]]:
    known = list(others)
    return [distance for distance, _ in known], [seen for _, seen in known]


def windowed(
    pictures: Iterable[Planes],
    found: Findings | None = None,
    radius: int = REACH,
    dirt: float | None = 0.0,
    judged: bool = False,
    clean: bool | None = None,
    places: Iterable[Place] | None = None,
    gather: Gather = gather,
) -> Iterator[Planes]:
    """For each of the ``pictures``, in order, the planes of its window: see ``gather``. Equal frames in a
    row count as one, and get the very same planes: see ``runs``.

    With ``judged`` those of a shot that is clean (see ``condition``) by the picture that it begins with are
    given back as they came: luma [1, H, W]. ``clean`` is what is known of the shot that goes on where the
    pictures begin. ``dirt`` is how much is taken for it; None for nothing in clean shots, and
    ``dirt.AUTO`` in others. ``found`` is told what was met.

    ``places`` say where the pictures are in the film; by default they are counted from 0, and shots are
    told apart by the pictures. Those that are not wanted are given back as they came, and cost little.
    ``gather`` may be one that works elsewhere: see ``motion.device``.
    Holds no more than ``2 * radius + 1`` pictures. The answers do not depend on the number of threads."""
    met = Findings() if found is None else found
    answered = -1
    """The shot of the last picture that was answered for."""

    def look(planes: Planes, place: Place, last: Run[_Known] | None) -> _Known:
        small = thumbnail(planes[0][0])
        shot = 0 if last is None else last.known.shot + is_cut(last.known.thumbnail, small)
        return _Known(Seen.of(planes), small, shot)

    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1), "window") as pool:
        for centre, around in runs(pictures, places, radius, look):
            planes, known = centre.planes, centre.known
            others = [(at, one.known.seen) for at, one in around if one.known.shot == known.shot]
            begins = centre.place.begins
            if begins is None:
                begins = known.shot != answered
            if centre.place.wanted:
                if judged:
                    if begins or clean is None:
                        clean = judge(known.seen, others)
                    met.condition.note(clean)
                is_spared = judged and bool(clean)
                much = (0.0 if is_spared else AUTO) if dirt is None else dirt
                planes, share = (spared if is_spared else gather)(known.seen, others, much, pool)
                if share is not None:
                    met.dirt.note(share)
                met.noise.note(_noise(centre.planes), known.shot != answered)
            answered = known.shot
            for _ in range(centre.times):
                yield planes
    met.noise.close()


def _noise(planes: Planes) -> tuple[float, float]:
    """In luma and in chroma."""
    chroma = planes[1] if len(planes) > 1 else ()
    return noise_level(planes[0][0]), max(map(noise_level, chroma), default=0.0)


def judge(centre: Seen, others: Sequence[tuple[int, Seen]]) -> bool:
    """Whether a picture is clean: see ``condition.is_clean``. The others are as of ``gather``."""
    planes = centre.planes
    if not others or min(planes[0][0].shape) < SMALLEST:
        return is_clean(planes, None)
    # Not the next one: an encoder that saves makes that of this one, noise and all.
    distance, seen = max(_nearest(others), key=lambda one: (abs(one[0]), one[0]))
    return is_clean(planes, _aligned(centre, distance, seen))


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
