"""Key frames: the first frame of every shot, which the colours of the others follow.

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
class Keys:
    """Tells where shots begin, and gives every frame the key frame of its shot."""

    key: Key | None = None
    """Of the shot that goes on where the frames begin; None where one begins with them."""
    since: int | None = None
    """The key frame holds for the frames before this pts, whatever cuts there are among them; None where it
    is not known."""
    _cuts: "Cuts" = field(default_factory=lambda: Cuts())
    _starts: deque[int] = field(default_factory=deque)

    def watched(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames as they were read; cuts are looked for in them."""
        for frame in frames:
            begins = self._cuts.begins_shot(frame.planes)
            if begins and (self.since is None or frame.pts >= self.since):
                self._starts.append(frame.pts)
            yield frame

    def marked(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The same frames as the model is to see them, with their keys."""
        for frame in frames:
            if self._starts and self._starts[0] <= frame.pts:
                self._starts.popleft()
                self.key = Key(frame.planes, frame.pts)
            yield replace(frame, key=self.key)


@dataclass(slots=True)
class Cuts:
    """Compares each picture with the one before."""

    _last: tuple[Planes, NDArray[np.float32]] | None = None

    def begins_shot(self, planes: Planes) -> bool:
        """Whether a shot begins with this picture; with the first one it does."""
        last = self._last
        if last is not None and last[0] is planes:
            return False
        small = thumbnail(planes[0][0])
        self._last = planes, small
        return last is None or is_cut(last[1], small)


def find_shot(read: Read, time: int, typical: int) -> tuple[int, int] | None:
    """The pts at which the shot of the first frame at or after ``time`` begins, and that frame's own; None
    if there is no such frame.

    ``typical`` is the ticks of a frame."""
    earliest = next((frame.pts for frame in read(None)), None)
    if earliest is None:
        return None
    back = LOOK_BACK
    while True:
        begin = time - back * typical
        is_whole = begin <= earliest
        cuts, found = Cuts(), None
        for count, frame in enumerate(read(None if is_whole else begin)):
            if cuts.begins_shot(frame.planes) and (is_whole or count > SETTLED):
                found = frame.pts
            if frame.pts >= time:
                place = frame.pts
                break
        else:
            return None
        if found is not None:
            return found, place
        back *= 4
