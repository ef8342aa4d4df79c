"""Key frames: the first frame of every shot, which the others follow: in their colours, and in whether
anything is to be restored.

    frames -> watched -> (evened out, windowed) -> marked: each with the key frame of its shot

A film that is computed in pieces looks back for the key frame of the shot that it begins in, so that pieces
make the film that one go makes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from upscale.media.frame import Frame, Key
from upscale.motion.shots import is_cut, thumbnail
from upscale.planes import Planes

LOOK_BACK = 250
"""Frames that are read at a time, going backwards, to find where a shot begins."""

SETTLED = 3
"""Frames after a jump whose cuts are not believed: a deinterlacer looks back two frames."""

Read = Callable[[int | None], Iterator[Frame]]
"""Frames from a pts on, or from the beginning."""


@dataclass(slots=True)
class Cuts:
    """Compares each picture with the one before."""

    period: int | None = None
    """Ticks; with it, a shot that lasts longer counts as several, each from a multiple of this on."""
    _last: tuple[Planes, NDArray[np.float32], int] | None = None

    def begins_shot(self, frame: Frame) -> bool:
        """Whether a shot begins with this frame; with the first one it does."""
        last, planes = self._last, frame.planes
        is_over = last is not None and self.period is not None and frame.pts // self.period > last[2]
        if last is not None and last[0] is planes and not is_over:
            return False
        small = thumbnail(planes[0][0])
        self._last = planes, small, frame.pts // self.period if self.period else 0
        return last is None or is_over or is_cut(last[1], small)


@dataclass(slots=True)
class Keys:
    """Tells where shots begin, and gives every frame the key frame of its shot."""

    key: Key | None = None
    """Of the shot that goes on where the frames begin; None where one begins with them."""
    since: int | None = None
    """The key frame holds for the frames before this pts, whatever cuts there are among them; None where it
    is not known."""
    cuts: Cuts = field(default_factory=Cuts)
    _starts: deque[int] = field(default_factory=deque)

    def watched(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames as they were read; cuts are looked for in them."""
        for frame in frames:
            begins = self.cuts.begins_shot(frame)
            if begins and (self.since is None or frame.pts >= self.since):
                self._starts.append(frame.pts)
            yield frame

    def begins_shot(self, frame: Frame) -> bool:
        """Whether a shot begins with a frame that was watched, and not marked yet."""
        return frame.pts in self._starts

    def marked(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The same frames as the model is to see them, with their keys."""
        for frame in frames:
            if self._starts and self._starts[0] <= frame.pts:
                self._starts.popleft()
                self.key = Key(frame.planes, frame.pts)
            yield replace(frame, key=self.key)


def find_shot(read: Read, time: int, typical: int, period: int | None = None) -> tuple[int, int] | None:
    """The pts at which the shot of the first frame at or after ``time`` begins, and that frame's own; None
    if there is no such frame.

    ``typical`` is the ticks of a frame, ``period`` as of ``Cuts``."""
    earliest = next((frame.pts for frame in read(None)), None)
    if earliest is None:
        return None
    back = LOOK_BACK
    while True:
        begin = time - back * typical
        is_whole = begin <= earliest
        cuts, found = Cuts(period), None
        for count, frame in enumerate(read(None if is_whole else begin)):
            if cuts.begins_shot(frame) and (is_whole or count > SETTLED):
                found = frame.pts
            if frame.pts >= time:
                place = frame.pts
                break
        else:
            return None
        if found is not None:
            return found, place
        back = 4 * back if period is None else period // typical + 2 * SETTLED
