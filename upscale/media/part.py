"""A part of a film: for a preview, with a clock of its own, or for one who computes a piece of it."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Self

from av.packet import Packet

if TYPE_CHECKING:
    from av.container.core import Chapter


BEGINNING = -(1 << 62)
"""A time before every frame."""


@dataclass(frozen=True, slots=True)
class Part:
    """From ``begin`` to before ``end``, in seconds on the container's clock."""

    begin: Fraction
    end: Fraction | None
    """None where the film ends."""
    shift: Fraction
    """Seconds by which times become earlier: ``begin``, or 0 for a whole film, which keeps its clock."""

    @classmethod
    def of(cls, clock: Fraction, start: Fraction | None, duration: Fraction | None) -> Self:
        """The part from ``start``, ``duration`` long, where the container's clock starts at ``clock``."""
        begin = clock + (start or 0)
        whole = start is None and duration is None
        return cls(begin, None if duration is None else begin + duration, Fraction(0) if whole else begin)

    def shows(self, pts: int, tick: Fraction) -> bool:
        """Whether a picture at ``pts`` (in ticks) lies in it.

        Containers round the time at which they start, so the limits are compared as the stream counts.
        """
        if self.shift and pts < round(self.begin / tick):
            return False
        return self.end is None or pts < round(self.end / tick)

    def take(self, packet: Packet) -> bool:
        """Move a packet to the new clock; False if it does not belong to the part.

        A subtitle on the screen where the part begins or ends is cut there, if it was read: a file is read
        from the key frame before the part.
        """
        if packet.pts is None:
            return False
        at = packet.pts * packet.time_base
        if self.end is not None and at >= self.end:
            return False
        if self.shift and at < self.shift:
            rest = at + (packet.duration or 0) * packet.time_base - self.shift
            if packet.stream.type != "subtitle" or rest <= 0:
                return False
            packet.duration = round(rest / packet.time_base)
            packet.pts = packet.dts = round(self.shift / packet.time_base)
        if self.end is not None and packet.stream.type == "subtitle" and packet.duration:
            rest = self.end - packet.pts * packet.time_base
            packet.duration = min(packet.duration, round(rest / packet.time_base))
        ticks = round(self.shift / packet.time_base)
        packet.pts -= ticks
        if packet.dts is not None:
            packet.dts -= ticks
        return True

    def chapters(self, chapters: list["Chapter"]) -> list["Chapter"]:
        """The chapters that the part touches, cut to it, on the new clock."""
        kept: list[Chapter] = []
        for chapter in chapters:
            tick = chapter["time_base"] or Fraction(1)
            start, end = (Fraction(chapter[key] * tick) for key in ("start", "end"))
            if self.shift:
                start = max(start, self.begin)
            if self.end is not None:
                end = min(end, self.end)
            if start < end:
                ticks = [round((moment - self.shift) / tick) for moment in (start, end)]
                kept.append({**chapter, "start": ticks[0], "end": ticks[1]})
        return kept


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is read for a piece of the film that is computed by itself, in ticks of the film's clock (of its
    part's, where there is one)."""

    lead: int
    """Reading begins here: what comes before ``begin`` is context."""
    begin: int
    end: int | None
    """Where the next piece begins; None where the film ends."""
    jump: bool = True
    """Whether one may jump there; else all that comes before is decoded, and dropped."""

    def holds(self, pts: int) -> bool:
        """Whether a picture is one of the piece's own."""
        return pts >= self.begin and (self.end is None or pts < self.end)
