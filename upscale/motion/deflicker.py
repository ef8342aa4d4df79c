"""Brightness that pumps from frame to frame, evened out over the frames around."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from upscale.motion.runs import Place
from upscale.motion.shots import is_cut, thumbnail
from upscale.planes import Planes

RADIUS = 6
"""Frames on each side whose brightness counts: half a second in all."""

LARGEST_GAIN = 1.25
"""More than this is a lamp that goes on, and no flicker."""

DARKEST = 2 / 255
"""Mean luma below which a frame is left as it is."""


@dataclass(slots=True)
class Flicker:
    """How much there was: mean change of brightness from one frame of a shot to the next, as a share of
    it."""

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


def deflickered(
    pictures: Iterable[Planes],
    flicker: Flicker | None = None,
    radius: int = RADIUS,
    places: Iterable[Place] | None = None,
) -> Iterator[Planes]:
    """Each picture with its luma at the mean brightness of those around it, ``radius`` frames on each side.

    A gain for the whole frame, as of FFmpeg's filter of that name, which knows no shots: across a cut it
    would lighten the dark side and darken the light one. What flickers in spots is left to the merge of the
    window. Holds ``2 * radius + 1`` pictures; an answer depends on those alone. ``flicker`` is told what
    was met in pictures that are wanted, by their ``places``."""
    held: deque[tuple[Planes, float, int, bool]] = deque()  # picture, mean luma, shot, wanted
    place, shot = 0, 0
    small: np.ndarray | None = None
    last: tuple[float, float, int] | None = None

    def answer() -> Planes:
        nonlocal place, last
        planes, mean, number, is_wanted = held[place]
        around = [
            level
            for _, level, other, _ in list(held)[max(place - radius, 0) : place + radius + 1]
            if other == number
        ]
        gain = 1.0
        if mean > DARKEST:
            gain = min(max(sum(around) / len(around) / mean, 1 / LARGEST_GAIN), LARGEST_GAIN)
        if flicker is not None and is_wanted and last and last[2] == number and mean > DARKEST:
            flicker.note(abs(mean - last[0]) / mean, abs(mean * gain - last[1]) / mean)
        last = mean, mean * gain, number
        place += 1
        if place > radius:
            held.popleft()
            place -= 1
        return (planes[0] * np.float32(gain), *planes[1:])

    counted = map(Place, itertools.count())
    for planes, at in zip(pictures, counted if places is None else places, strict=False):
        now = thumbnail(planes[0][0])
        shot += small is not None and is_cut(small, now)
        small = now
        held.append((planes, float(planes[0].mean(dtype=np.float64)), shot, at.wanted))
        if len(held) - place > radius:
            yield answer()
    while place < len(held):
        yield answer()
