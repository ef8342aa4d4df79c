"""Weave: film that did not stand still in its gate, held still.

Weave moves all that is in the picture alike, and otherwise from one frame to the next, where cameras and
people move on their way. So the picture is cut into cells, each with the path that the flow takes it, frame
by frame; how far each is off a smooth path is, by the median of them, the weave. No cell has to stand
still: one in a pan, or on a train, tells as much.

The paths are fitted around each frame alone, with weights that fall with the distance in time (Savitzky,
Golay 1964; Cleveland 1979), so an answer depends on nothing but a few frames. OpenCV's videostab is not in
its packages for Python, FFmpeg's vidstab not in PyAV's, and both go through a film twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.motion.flow import SMALLEST, find_flow, matchable
from upscale.motion.runs import Place, Run, runs
from upscale.motion.shots import is_cut, thumbnail
from upscale.planes import Planes

RADIUS = 24
"""Different pictures on each side that a path is fitted through."""

SIGMA = 12.0
"""Pictures over which the weights of the fit fall."""

CELLS = (16, 12)
"""Columns and rows of the cells."""

STILL, SHAKEN = 0.08, 0.16
"""Pixels that a picture is off its path, root mean square, around which nothing is done, and from which all
of it: flow is no surer than that."""

SMOOTH, ROUGH = 0.3, 0.5
"""Squared steps of what is left of the path, over its squares (von Neumann's ratio: 2 for white noise),
around which it is the camera's own way, and from which it is weave."""

BENT, CURVED = 1.1, 1.5
"""How much larger what a straight path leaves is than what a curved one leaves, around which the straight
one is taken, which less noise goes through, and from which the curved one."""

LEAST = 0.05
"""Pixels: less is not worth an interpolation."""

LARGEST = 0.05
"""Share of the picture's height; more is no weave."""

FILLERS = 4
"""Pictures on each side that are looked at for what comes in at a border."""

FEWEST = 5
"""Pictures of a shot, below which nothing tells weave from motion."""

Path = NDArray[np.float64]


@dataclass(slots=True)
class Weave:
    """How much of it was taken out."""

    pictures: int = 0
    """That were looked at; equal frames are one picture."""
    moved: int = 0
    squares: float = 0.0
    """Of the pixels by which each picture was moved, the mean over all of them."""

    @property
    def pixels(self) -> float:
        """By which pictures were moved: the root mean square."""
        return float(np.sqrt(self.squares))

    def note(self, move: NDArray[np.float64]) -> None:
        """Add a picture and how far it was moved, (x, y)."""
        self.pictures += 1
        self.moved += bool(move.any())
        self.squares += (float(np.square(move).sum()) - self.squares) / self.pictures

    def append(self, later: "Weave") -> None:
        """Add what was found in another piece of the film."""
        self.pictures += later.pictures
        self.moved += later.moved
        if self.pictures:
            self.squares += (later.squares - self.squares) * later.pictures / self.pictures


@dataclass(slots=True)
class _Known:
    """What is worked out once for each picture."""

    matchable: NDArray[np.uint8] | None
    """Until the next one was looked at."""
    thumbnail: NDArray[np.float32]
    shot: int
    step: Path
    """How far each cell has moved since the picture before, [rows * columns, 2]; 0 where a shot begins."""
    told: NDArray[np.bool_]
    """[rows * columns]: whether there is something in it to be matched."""


def steadied(
    pictures: Iterable[Planes], weave: Weave | None = None, places: Iterable[Place] | None = None
) -> Iterator[Planes]:
    """Each picture at the place where a smooth path through those around it has it; the very same where it
    is there already. What comes in at a border is taken from the pictures around, as far as they have it.

    Equal frames in a row count as one: see ``runs``. A path ends at a cut. An answer depends on no more
    than ``2 * RADIUS + 1`` pictures, and some ``RADIUS + FILLERS`` are held. ``weave`` is told what was met
    in pictures that are wanted, by their ``places``; the others are moved, too, as what follows looks at
    them beside the wanted ones."""

    def look(planes: Planes, place: Place, last: Run[_Known] | None) -> _Known:
        luma = planes[0][0]
        seen, small, count = matchable(luma), thumbnail(luma), CELLS[0] * CELLS[1]
        told = _cells(np.abs(cv2.Laplacian(cv2.GaussianBlur(luma, (0, 0), 1.5), cv2.CV_32F)))[:, 0]
        shot, step = 0, np.zeros((count, 2))
        if last is not None:
            shot = last.known.shot + is_cut(last.known.thumbnail, small)
            before, last.known.matchable = last.known.matchable, None
            if shot == last.known.shot and min(luma.shape) >= SMALLEST and before is not None:
                step = _cells(find_flow(before, seen, "quick"))
        return _Known(seen, small, shot, step, told >= np.quantile(told, 0.25))

    for centre, around in runs(pictures, places, RADIUS, look):
        planes, told = centre.planes, centre.known.told
        others = [(at, one) for at, one in around if one.known.shot == centre.known.shot]
        paths = _paths(centre.known, [(at, one.known) for at, one in others])
        move = find_weave(paths, [at for at, _ in others], told, planes[0].shape[1])
        if weave is not None and centre.place.wanted:
            weave.note(move)
        if move.any():
            near = sorted(zip(others, paths, strict=True), key=lambda one: abs(one[0][0]))
            fillers = [(one.planes, path) for (at, one), path in near if abs(at) <= FILLERS]
            planes = moved(planes, move, [(one, np.median(path[told], 0)) for one, path in fillers])
        for _ in range(centre.times):
            yield planes
        for at, one in around:
            if at <= -FILLERS:
                one.planes = ()  # from now on it is its path alone that counts


def find_weave(
    paths: Sequence[Path], distances: Sequence[int], told: NDArray[np.bool_], height: int
) -> NDArray[np.float64]:
    """How far to move a picture, (x, y) in pixels, for it to be where a smooth path has it.

    ``paths`` are the ways of its cells to the pictures around it, [cells, 2] each, ``distances`` how many
    pictures those are after it. Of the cells, those that are ``told`` count."""
    still = np.zeros(2)
    if len(paths) + 1 < FEWEST or not told.any():
        return still
    times = np.array([0, *distances], float)
    order = np.argsort(times)
    times = times[order]
    ways = np.stack([np.zeros_like(paths[0]), *paths])[order][:, told]  # [pictures, cells, 2]
    weights = np.exp(-0.5 * np.square(times / SIGMA))
    off = [_agreed(ways - _fitted(times, weights, degree, ways), weights) for degree in (1, 2)]
    here = int(np.flatnonzero(times == 0)[0])
    way, sizes = np.zeros((len(times), 2)), np.zeros(2)
    for axis in range(2):
        straight, curved = (one[:, axis] for one in off)
        left = [float(np.sqrt(np.average(np.square(one), weights=weights))) for one in (straight, curved)]
        bend = _between(left[0] / max(left[1], 1e-6), BENT, CURVED) if len(times) > FEWEST else 0.0
        way[:, axis] = (1 - bend) * straight + bend * curved
        sizes[axis] = (1 - bend) * left[0] + bend * left[1]
    steps = np.square(np.diff(way, axis=0)).mean() / max(float(np.square(way).mean()), 1e-12)
    trust = [_between(float(size), STILL, SHAKEN) * _between(float(steps), SMOOTH, ROUGH) for size in sizes]
    move = -np.array(trust) * way[here]
    return move if LEAST <= np.abs(move).max() <= LARGEST * height else still


def moved(
    planes: Planes, move: NDArray[np.float64], ways: Sequence[tuple[Planes, NDArray[np.float64]]]
) -> Planes:
    """A picture moved by (x, y) luma pixels. What comes in at its borders is that of the first of the other
    pictures that has it: ``ways`` are these, and the way there, (x, y)."""
    height, width = planes[0].shape[1:]
    answer = []
    for number, plane in enumerate(planes):
        ratio = np.array([plane.shape[2] / width, plane.shape[1] / height])
        shown, missing = _shifted(plane, move * ratio)
        for other, way in ways:
            if not missing.any():
                break
            filling, lacking = _shifted(other[number], (move - way) * ratio)
            here = missing & ~lacking
            shown[:, here] = filling[:, here]
            missing &= lacking
        answer.append(shown)
    return tuple(answer)


def _shifted(
    plane: NDArray[np.float32], move: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A plane [C, H, W] moved by (x, y), its border replicated; and where that is, [H, W]."""
    height, width = plane.shape[1:]
    matrix = np.array([[1, 0, move[0]], [0, 1, move[1]]])
    shown = np.stack(
        [
            cv2.warpAffine(
                one, matrix, (width, height), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE
            )
            for one in plane
        ]
    )
    columns, rows = np.arange(width) - move[0], np.arange(height) - move[1]
    beyond = [(at < -0.5) | (at > length - 0.5) for at, length in ((columns, width), (rows, height))]
    return shown, beyond[1][:, None] | beyond[0][None]


def _paths(centre: _Known, others: Sequence[tuple[int, _Known]]) -> list[Path]:
    """The ways of the centre's cells to each of the ``others``, which follow each other."""
    after = np.cumsum([one.step for at, one in others if at > 0], axis=0)
    # A picture's own step leads to it from the one before.
    back = [centre, *(one for at, one in reversed(others) if at < 0)][:-1]
    before = -np.cumsum([one.step for one in back], axis=0)
    return [*reversed(list(before)), *after]


def _fitted(times: Path, weights: Path, degree: int, ways: Path) -> Path:
    """A polynomial through the ``ways`` [pictures, cells, 2] of every cell, by weighted least squares."""
    basis = np.vander(times / RADIUS, degree + 1)
    root = np.sqrt(weights)[:, None]
    projection = basis @ np.linalg.pinv(basis * root) * root.T
    fitted: Path = np.tensordot(projection, ways, axes=1)
    return fitted


def _agreed(off: Path, weights: Path) -> Path:
    """What the cells say together, [pictures, 2], of ``off`` [pictures, cells, 2]: the mean of that half of
    them which is closest to the median."""
    apart = np.abs(off - np.median(off, axis=1, keepdims=True)).sum(axis=2)
    closest = np.argsort(np.average(apart, axis=0, weights=weights))[: max(off.shape[1] // 2, 1)]
    agreed: Path = off[:, closest].mean(axis=1)
    return agreed


def _between(value: float, none: float, all_of_it: float) -> float:
    """From 0 at ``none`` to 1 at ``all_of_it``."""
    return min(max((value - none) / (all_of_it - none), 0.0), 1.0)


def _cells(field: NDArray[np.float32]) -> Path:
    """Means over the cells of [H, W] or [H, W, C], as [rows * columns, C]."""
    small = cv2.resize(field, CELLS, interpolation=cv2.INTER_AREA)
    return small.reshape(CELLS[0] * CELLS[1], -1).astype(np.float64)
