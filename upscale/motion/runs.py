"""Going through a film with the pictures around each: what every stage that looks at several of them does.

Equal frames in a row, as old transfers have them, are one *run*, and count as one picture.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from upscale.planes import Planes

LONGEST_RUN = 8
"""Equal frames that count as one picture. More would hold up the film, and its sound with it."""

Known = TypeVar("Known")


class Context(NamedTuple):
    """How much of what is before a frame an answer to it depends on."""

    frames: int
    periods: int
    """Of LONGEST_RUN frames, before those: all frames of one may be equal, and count as one picture."""

    @property
    def most(self) -> int:
        """In frames."""
        return self.frames + self.periods * LONGEST_RUN


class Place(NamedTuple):
    """Where a picture is in its film."""

    number: int
    """Of the frame, rising."""
    begins: bool | None = None
    """Whether a shot begins with it; None where nobody has looked."""
    wanted: bool = True
    """Whether it is more than context for others."""


@dataclass(slots=True)
class Run(Generic[Known]):
    """One frame, or a run of equal ones."""

    planes: Planes
    place: Place
    """Of the first frame that it stands for; wanted if one of them is."""
    known: Known
    """What a stage works out once for it."""
    times: int = 1
    """How many frames it stands for."""


def runs(
    pictures: Iterable[Planes],
    places: Iterable[Place] | None,
    radius: int,
    look: Callable[[Planes, Place, Run[Known] | None], Known],
) -> Iterator[tuple[Run[Known], Sequence[tuple[int, Run[Known]]]]]:
    """Each run of equal ``pictures``, and with it up to ``radius`` others on each side, by how many runs
    they are after it (below 0: before).

    ``places`` are counted from 0 by default. A run ends at every number that is a multiple of LONGEST_RUN,
    wherever reading began. ``look`` is given the picture that a run begins with, and the run before. Holds
    no more than ``2 * radius + 1`` pictures."""
    held: deque[Run[Known]] = deque()
    here = 0  # in ``held``, of the next run to answer for

    def answer() -> tuple[Run[Known], Sequence[tuple[int, Run[Known]]]]:
        nonlocal here
        around = range(max(here - radius, 0), min(here + radius + 1, len(held)))
        answered = held[here], [(other - here, held[other]) for other in around if other != here]
        here += 1
        if here > radius:
            held.popleft()
            here -= 1
        return answered

    counted = map(Place, itertools.count())
    for planes, place in zip(pictures, counted if places is None else places, strict=False):
        last = held[-1] if held else None
        if (
            last is not None
            and last.place.number // LONGEST_RUN == place.number // LONGEST_RUN
            and _equal(last.planes, planes)
        ):
            last.times += 1
            if place.wanted and not last.place.wanted:
                last.place = last.place._replace(wanted=True)
            continue
        # What came before this one is whole now.
        if len(held) - here > radius:
            yield answer()
        held.append(Run(planes, place, look(planes, place, last)))
    while here < len(held):
        yield answer()


def _equal(one: Planes, other: Planes) -> bool:
    return all(a is b or np.array_equal(a, b) for a, b in zip(one, other, strict=True))
