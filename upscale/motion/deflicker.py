"""Brightness that pumps from frame to frame, evened out over the frames around.

What pumps goes up and down around one level. A flash, a lamp that goes on and a fade do not, and stay: the
level of a frame is told by those of the frames around it that are lit as it is.
"""

import functools
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upscale.motion.runs import Place
from upscale.motion.shots import is_cut, thumbnail
from upscale.planes import Planes

RADIUS = 6
"""Frames on each side whose brightness counts: half a second in all."""

LARGEST_GAIN = 1.25
"""More than this is a lamp that goes on, and no flicker, unless the film pumps as much."""

PUMPING = 4.0
"""Standard deviations of the changes from frame to frame (in logarithms) that one of them may have."""

SLOPED, LIT, BENT = 0.1, 0.02, 0.003
"""Share of the squares that is left, below which there is a slope and not one level; two levels (a small
lamp); and a slope that begins or ends. The last two are far less than pumping leaves by chance, in a few
frames: two levels leave 0.19 of a wave at least."""

ALONE = 16.0
"""Standard deviations (by the median absolute one) off the median, beyond which a frame stands out."""

DEVIATION = 1.48
"""Standard deviation of what is normally distributed, over its median absolute deviation."""

MANY = 0.4
"""Share of the frames from which on those that differ do not stand out, but are the other half of what
pumps."""

FEWEST = 6
"""Frames that tell two levels, or two slopes, from pumping."""

DARKEST = 2 / 255
"""Mean luma below which a frame is left as it is."""


@dataclass(slots=True)
class Flicker:
    """How much there was: mean change of brightness from one frame of a shot to the next, as a share of it.
    Where a flash or a lamp makes the change, it does not count."""

    before: float = 0.0
    after: float = 0.0
    frames: int = 0

    def note(self, before: float, after: float) -> None:
        """Add one change, before and after."""
        self.frames += 1
        self.before += (before - self.before) / self.frames
        self.after += (after - self.after) / self.frames

    def append(self, later: "Flicker") -> None:
        """Add what was met in another piece of the film."""
        self.frames += later.frames
        if self.frames:
            self.before += (later.before - self.before) * later.frames / self.frames
            self.after += (later.after - self.after) * later.frames / self.frames


def lit_alike(levels: NDArray[np.float64], here: int) -> NDArray[np.bool_]:
    """Which of the frames of one shot, by their mean luma [n] in [0, 1], are lit as the one ``here``, [n].

    By no more than LARGEST_GAIN from it, or by what is usual from one frame to the next: the median of the
    changes, which a flash or a lamp does not move."""
    logs = np.log(np.maximum(levels, DARKEST))
    usual = DEVIATION * _median(np.abs(np.diff(logs))) if len(logs) > 2 else 0.0
    alike: NDArray[np.bool_] = np.abs(logs - logs[here]) <= max(np.log(LARGEST_GAIN), PUMPING * usual)
    return alike


def steady_level(levels: NDArray[np.float64], here: int, alike: NDArray[np.bool_]) -> float:
    """The mean luma that the frame ``here`` would have without pumping, from the ``levels`` [n] of the
    frames of its shot around it, of which those that are ``alike`` count.

    By least squares: the mean; or a slope, where there is one (a fade); or of two parts of the frames, told
    apart by the squares that they leave (Chow, "Tests of equality between sets of coefficients", 1960), the
    one that the frame is in. What stands out alone does not count, and gets the level of the others."""
    times, values = np.flatnonzero(alike) - float(here), levels[alike]
    # Less than a thousandth of the level is not seen.
    unseen = 1e-3 * float(levels[here])
    if len(values) < 3:
        return float(levels[here])
    off = np.abs(values - _median(values))
    alone = off > ALONE * DEVIATION * _median(off) + unseen
    if 0 < np.count_nonzero(alone) < MANY * len(alone) and not (alone[1:] & alone[:-1]).any():
        times, values = times[~alone], values[~alone]
    count = len(values)
    sums = np.zeros((6, count + 1))
    np.cumsum([np.ones(count), times, values, times**2, times * values, values**2], axis=1, out=sums[:, 1:])
    whole = sums[:, -1]
    flat, sloped = _squares_left(whole)
    has_slope = bool(sloped < SLOPED * flat)
    straight = sloped if has_slope else flat
    if count < FEWEST or straight <= count * unseen**2:
        return _level(whole, has_slope)
    begins, ends, is_bend = _parts(count)
    part = sums[:, ends] - sums[:, begins]
    rest = whole[:, None] - part
    left = np.stack(_squares_left(np.stack([part, rest], axis=1))).sum(axis=1)
    level = int(left[0].argmin())
    bend = int(np.where(is_bend, left[1], np.inf).argmin())
    place = min(int(np.searchsorted(times, 0.0)), count - 1)
    for found, bends in ((level, False), (bend, True)):
        if left[int(bends), found] < (BENT if bends else LIT) * straight:
            own = part if begins[found] <= place < ends[found] else rest
            return _level(own[:, found], bends)
    return _level(whole, has_slope)


def _median(values: NDArray[np.float64]) -> float:
    """In a tenth of the time that ``np.median`` takes for a few."""
    ordered = sorted(values.tolist())
    return (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2


@functools.cache
def _parts(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Where each run of neighbours among ``count`` begins and ends that may be lit otherwise than the rest,
    and whether it is all that is before some frame, and so may have another slope than what is after."""
    begins, ends = np.triu_indices(count, 1)
    is_part = ends - begins < count - 2
    begins, ends = begins[is_part], ends[is_part] + 1
    return begins, ends, begins == 0


def _squares_left(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The squares that the mean leaves, and those that a line leaves, by the sums [6, ...] of 1, t, y, t^2,
    t y and y^2."""
    count, t, y, tt, ty, yy = sums
    flat = np.maximum(yy - y * y / count, 0)
    spread = tt - t * t / count
    slope = np.divide(ty - t * y / count, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    return flat, np.maximum(flat - slope * slope * spread, 0)


def _level(sums: NDArray[np.float64], has_slope: bool) -> float:
    """At time 0, by those sums [6]: the mean, or of the line."""
    count, t, y, tt, ty, _ = sums
    spread = tt - t * t / count
    slope = (ty - t * y / count) / spread if has_slope and spread > 1e-9 else 0.0
    return float((y - slope * t) / count)


def deflickered(
    pictures: Iterable[Planes],
    flicker: Flicker | None = None,
    radius: int = RADIUS,
    places: Iterable[Place] | None = None,
) -> Iterator[Planes]:
    """Each picture with its luma at the mean brightness of those around it, ``radius`` frames on each side.

    A gain for the whole frame, as of FFmpeg's filter of that name, which knows no shots: across a cut it
    would lighten the dark side and darken the light one. Flashes, lamps and fades are left as they are: see
    ``steady_level``. What flickers in spots is left to the merge of the window. Holds ``2 * radius + 1``
    pictures; an answer depends on those alone. ``flicker`` is told what was met in pictures that are
    wanted, by their ``places``."""
    held: deque[tuple[Planes, float, int, bool]] = deque()  # picture, mean luma, shot, wanted
    place, shots = 0, 0
    small: np.ndarray | None = None
    last: tuple[float, float] | None = None

    def answer() -> Planes:
        nonlocal place, last
        planes, mean, number, is_wanted = held[place]
        begin = max(place - radius, 0)
        around = list(itertools.islice(held, begin, place + radius + 1))
        shot = [at for at, one in enumerate(around) if one[2] == number]
        levels = np.array([around[at][1] for at in shot])
        here = shot.index(place - begin)
        gain, alike = 1.0, lit_alike(levels, here)
        if mean > DARKEST:
            gain = steady_level(levels, here, alike) / mean
            gain = min(max(gain, 1 / LARGEST_GAIN), LARGEST_GAIN)
        follows = here > 0 and bool(alike[here - 1])
        if flicker is not None and is_wanted and last and follows and mean > DARKEST:
            flicker.note(abs(mean - last[0]) / mean, abs(mean * gain - last[1]) / mean)
        last = mean, mean * gain
        place += 1
        if place > radius:
            held.popleft()
            place -= 1
        return (planes[0] * np.float32(gain), *planes[1:])

    counted = map(Place, itertools.count())
    for planes, at in zip(pictures, counted if places is None else places, strict=False):
        now = thumbnail(planes[0][0])
        shots += small is not None and is_cut(small, now)
        small = now
        held.append((planes, float(planes[0].mean(dtype=np.float64)), shots, at.wanted))
        if len(held) - place > radius:
            yield answer()
    while place < len(held):
        yield answer()
