"""A film as a list of segments, each computed by itself: a few seconds that show no seams.

    time     |<------ segment 3 ------>|<------ segment 4 ------>|
    read            [lead][begin ..................... end][2 frames]

A segment begins where a run of equal frames ends in any case (see ``motion.window.windowed``), and reads
far enough before that for its first window; among such places, shortly after a key frame.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from upscale.media.part import BEGINNING, Stretch
from upscale.media.read.index import FilmIndex
from upscale.motion.runs import LONGEST_RUN, Context

STRAY = 0.25
"""Share of its length by which a segment may be shorter or longer, for a better place to begin."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One of the pieces that a film is computed in."""

    number: int
    stretch: Stretch


WHOLE = Segment(0, Stretch(BEGINNING, BEGINNING, None, False))
"""A film in one piece."""


def cut(
    index: FilmIndex, first: int, last: int | None, shift: int, typical: int, frames: int, context: Context
) -> list[Segment]:
    """The segments of a film, or of the part from ``first`` to before ``last``, ticks as in ``index``.

    Times become earlier by ``shift`` ticks. ``typical`` is the ticks of a frame, ``frames`` how many a
    segment is to have, ``context`` what it has to read before."""
    period = LONGEST_RUN * typical
    times = [time - shift for time in index.times if time >= first and (last is None or time < last)]
    keys = [key - shift for key in index.keys]
    starts: list[tuple[int, int]] = []  # begin, lead
    place = 0
    while True:
        near = range(place + max(round(frames * (1 - STRAY)), 1), place + round(frames * (1 + STRAY)) + 1)
        best: tuple[int, int, int] | None = None
        for here in near:
            if here >= len(times) or here + frames // 2 > len(times):
                break
            begin = times[here] // period * period
            if bisect_left(times, begin) <= place:
                continue
            lead = _lead(times, begin, period, context)
            key = bisect_right(keys, lead) - 1
            waste = lead - keys[key] if key >= 0 else lead - (times[0] if times else 0)
            if best is None or (waste, abs(here - place - frames)) < best[:2]:
                best = waste, abs(here - place - frames), begin
        if best is None:
            if near.stop + frames // 2 > len(times):
                break
            place = near.stop
            continue
        begin = best[2]
        starts.append((begin, _lead(times, begin, period, context)))
        place = bisect_left(times, begin)
    begins = [BEGINNING, *(begin for begin, _ in starts)]
    leads = [BEGINNING, *(lead for _, lead in starts)]
    ends: list[int | None] = [*begins[1:], None]
    return [
        Segment(number, Stretch(lead, begin, end, number > 0 and index.exact))
        for number, (lead, begin, end) in enumerate(zip(leads, begins, ends, strict=True))
    ]


def _lead(times: list[int], begin: int, period: int, context: Context) -> int:
    """Where to read from, for periods with frames in them."""
    place = bisect_left(times, begin)
    for _ in range(context.periods):
        if place == 0:
            break
        place = bisect_left(times, times[place - 1] // period * period)
    return times[max(place - context.frames, 0)]
