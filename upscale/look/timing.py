"""Films beside each other: the frames of one with their times, and what others show at those."""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

from upscale.errors import UpscaleError, UsageError
from upscale.media.frame import Frame
from upscale.media.part import Stretch
from upscale.media.read.source import Source
from upscale.media.rgb import Rgb

LATE = Fraction(2, 1000)
"""Seconds by which a frame may begin after the time for which it is shown: Matroska rounds the time of each
frame, and of the first, to milliseconds."""


def timed(
    source: Source, start: Fraction | None, duration: Fraction | None
) -> Iterator[tuple[Fraction, Frame]]:
    """The frames of the clip's clock, each with its time in seconds after the first picture of its film."""
    if source.info.is_picture:
        raise UsageError(f"{source.path}: is one picture; put a film last, as the clip has its times")
    tick, begins = source.info.time_base, _begins(source)
    if start is not None or duration is not None:
        start = begins - source.info.start + (start or 0)
    shift = round(source.part(start, duration).shift / tick)
    for frame in source.frames(start, duration):
        yield (frame.pts + shift) * tick - begins, frame


class Shown:
    """The frame of a film that is on the screen at a time, as a picture."""

    def __init__(self, source: Source, since: Fraction, show: Callable[[Frame], Rgb]):
        """``since`` is the first time that will be asked for, in seconds after the first picture."""
        self._begins, self._tick = _begins(source), source.info.time_base
        self._frames, self._show = _frames_since(source, since + LATE), show
        current = next(self._frames, None)
        if current is None:
            raise UpscaleError(f"{source.path}: no frame of it could be read")
        self._current = current
        self._next = next(self._frames, None)
        self._picture: Rgb | None = None

    def at(self, time: Fraction) -> Rgb:
        """The picture shown ``time`` seconds after the first one; the last one from the end on. Times never
        decrease."""
        while self._next is not None and self._next.pts * self._tick - self._begins <= time + LATE:
            self._current, self._next = self._next, next(self._frames, None)
            self._picture = None
        if self._picture is None:
            self._picture = self._show(self._current)
        return self._picture


def _frames_since(source: Source, since: Fraction) -> Iterator[Frame]:
    """The frames from the one that is shown ``since`` seconds after the first picture. It may have begun
    long before, so reading begins a second earlier, and twice as much until that is early enough."""
    tick, begins = source.info.time_base, _begins(source)
    if since <= 0 or source.info.is_picture:
        yield from source.frames()
        return
    last = math.floor((begins + since) / tick)
    back = math.ceil(1 / tick)
    while True:
        frames = source.frames(stretch=Stretch(last - back, last - back, None))
        first = next(frames, None)
        if (first is not None and first.pts <= last) or (last - back) * tick < begins:
            break
        back *= 2
    if first is not None:
        yield first
        yield from frames


def _begins(source: Source) -> Fraction:
    if source.begins is None:
        raise UpscaleError(f"{source.path}: no frame of it could be read")
    return source.begins
