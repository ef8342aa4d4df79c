"""The time of a packet and of a frame, where a file is vague about it."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

LEAP = Fraction(1, 10)
"""Seconds by which a clock has to step back to be a jump, as where tapes were joined."""

WAIT = Fraction(1)
"""Seconds of picture by which the streams of a file may be apart."""

WAITING = 256
"""Packets of another stream that wait for the picture at most."""

PRIMED = {"aac", "ac3", "eac3", "libopus", "mp3", "mp3float", "opus", "vorbis"}
"""Decoders of sound that need packets before the first one that is heard."""

PRIMING = Fraction(1, 10)
"""Seconds of them; Opus asks for the most, 80 ms."""

REORDERED = 16
"""Frames that a decoder may hold back."""


@dataclass(slots=True)
class _Lane:
    """A stream beside the picture."""

    jumps: int
    """Of the picture, that it has followed so far."""
    raw: Fraction | None = None
    """When its last packet is decoded, as the file says, in seconds."""
    last: int | None = None
    """The same on the file's clock, in ticks."""
    hidden: list[Packet] = field(default_factory=list)
    """What an edit list hides before the first packet."""
    waiting: deque[Packet] = field(default_factory=deque)
    """Packets that stepped back: the picture may jump, too."""
    since: Fraction | None = None
    """Where the picture was when they began to wait, as the file says."""


class FileClock:
    """The one clock of all streams of a file. It never jumps back.

    Where tapes were joined, the times of all streams begin anew; here all go on from where the picture was,
    so sound stays with its picture. The picture alone decides: where another stream steps back and the
    picture does not, only the packets concerned are moved. What an edit list hides of the picture tells
    nothing; of the other streams it is left out, as it would be heard where it is copied.
    """

    def __init__(self, picture: Stream):
        self._picture = picture.index
        self._jumps = 0
        self._before = self._shift = Fraction(0)
        """Seconds that were added before the last jump, and since."""
        self._joint = Fraction(0)
        """When that was, in seconds of this clock."""
        self._raw: Fraction | None = None
        """When the picture's last packet is decoded, as the file says."""
        self._due = Fraction(0)
        """When its next one is, on this clock."""
        self._lanes: dict[int, _Lane] = {}

    def stamp(self, packet: Packet) -> list[Packet]:
        """The packets that are ready now that this one has come, in order, at their times on this clock."""
        if packet.dts is None:
            return [packet]
        if packet.stream_index != self._picture:
            return self._beside(packet)
        raw = _seconds(packet)
        if packet.is_discard:  # an edit list hides it: its time lies amid that of those that are shown
            _move(packet, self._shift)
            return [packet]
        if self._raw is not None and raw < self._raw - LEAP:
            self._before, self._shift, self._joint = self._shift, self._due - raw, self._due
            self._jumps += 1
        self._raw = raw
        _move(packet, self._shift)
        self._due = max(self._due, _seconds(packet) + (packet.duration or 0) * packet.time_base)
        ready = [
            each for lane in self._lanes.values() if self._is_decided(lane) for each in self._all(lane)
        ]
        return [*ready, packet]

    def end(self) -> list[Packet]:
        """The packets that still wait: the file has no more."""
        return [packet for lane in self._lanes.values() for packet in self._all(lane)]

    def _beside(self, packet: Packet) -> list[Packet]:
        lane = self._lanes.setdefault(packet.stream_index, _Lane(self._jumps))
        if packet.is_discard:
            context = packet.stream.codec_context
            if lane.raw is None and context is not None and context.name in PRIMED:
                lane.hidden.append(packet)
            return []
        steps_back = lane.raw is not None and _seconds(packet) < lane.raw - LEAP
        if lane.waiting or (steps_back and lane.jumps == self._jumps):
            lane.since = lane.since if lane.waiting else self._raw
            lane.waiting.append(packet)
            return self._all(lane) if len(lane.waiting) > WAITING else []
        if lane.hidden:
            needed = _seconds(packet) - PRIMING
            lane.waiting.extend(each for each in lane.hidden if _seconds(each) >= needed)
            lane.hidden = []
            lane.waiting.append(packet)
            return self._all(lane)
        return [self._placed(lane, packet)]

    def _is_decided(self, lane: _Lane) -> bool:
        """Whether it is known if the picture jumps where a stream stepped back."""
        if not lane.waiting:
            return False
        assert self._raw is not None
        return lane.jumps < self._jumps or lane.since is None or self._raw - lane.since >= WAIT

    def _all(self, lane: _Lane) -> list[Packet]:
        """What waits, placed."""
        ready = [self._placed(lane, packet) for packet in lane.waiting]
        lane.waiting.clear()
        return ready

    def _placed(self, lane: _Lane, packet: Packet) -> Packet:
        raw = _seconds(packet)
        if lane.jumps < self._jumps:
            goes_on = lane.raw is None or raw >= lane.raw
            late = lane.jumps == self._jumps - 1 and goes_on and raw + self._before >= self._joint - WAIT
            lane.jumps = self._jumps - late
        lane.raw = raw
        _move(packet, self._shift if lane.jumps == self._jumps else self._before)
        assert packet.dts is not None
        if lane.last is not None and packet.dts < lane.last:
            packet.dts = lane.last
            packet.pts = lane.last if packet.pts is None else max(packet.pts, lane.last)
        lane.last = packet.dts
        return packet


def _seconds(packet: Packet) -> Fraction:
    """When a packet is decoded."""
    return (packet.dts or 0) * Fraction(packet.time_base)


def _move(packet: Packet, seconds: Fraction) -> None:
    ticks = round(seconds / packet.time_base)
    if packet.dts is not None:
        packet.dts += ticks
    if packet.pts is not None:
        packet.pts += ticks


class Sorter:
    """Gives frames their own times where a file only tells when they are decoded.

    Careless recorders, and OGM, write that as the time of showing, so reordered frames (B) come out of the
    decoder with each other's. Their times are the right ones, in the wrong order. So while the times of
    packets only rise, a frame waits until the frames of all earlier times have come, or will not come.
    """

    def __init__(self) -> None:
        self._is_careless = True
        self._last: int | None = None
        """The time of the last packet."""
        self._sent: list[int] = []
        """Times whose frames have not come, rising."""
        self._held: list[VideoFrame] = []

    def sent(self, packet: Packet) -> None:
        """A packet goes into the decoder."""
        if packet.pts is None or (self._last is not None and packet.pts <= self._last):
            self._is_careless = False
        elif not packet.is_discard:
            self._sent.append(packet.pts)
        self._last = packet.pts

    def sorted(self, frames: Iterable[VideoFrame], reorders: bool) -> list[VideoFrame]:
        """The frames that are ready now that these have come. ``reorders`` says whether the decoder may."""
        self._held += frames
        if not (self._is_careless and reorders):
            return self.end()
        for frame in frames:
            if frame.pts in self._sent:
                self._sent.remove(frame.pts)
        times = [frame.pts for frame in self._held if frame.pts is not None]
        # What so many have overtaken does not come: the decoder lost it, or could not begin with it.
        while self._sent and sum(pts > self._sent[0] for pts in times) >= REORDERED:
            self._sent.pop(0)
        return self.end() if not self._sent or max(times, default=0) < self._sent[0] else []

    def end(self) -> list[VideoFrame]:
        """All that still wait, in order."""
        ready, self._held = self._held, []
        if self._is_careless and all(frame.pts is not None for frame in ready):
            times = sorted(frame.pts for frame in ready if frame.pts is not None)
            for frame, pts in zip(ready, times, strict=True):
                frame.pts = pts
            self._sent = [pts for pts in self._sent if not times or pts > times[-1]]
        return ready


class Clock:
    """Gives every frame a pts that lies after the one before.

    Some containers (AVI above all) know no pts, and what a demuxer guesses may not increase. Then the dts
    of the packet that completed the frame is the better witness: the rule of FFmpeg's best-effort
    timestamps, which trusts whichever has failed less often.
    """

    def __init__(self, typical_duration: int):
        """``typical_duration`` in ticks serves where a stream gives neither pts nor dts."""
        self._typical = typical_duration
        self._last: int | None = None
        self._next = 0
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._pts_faults = 0
        self._dts_faults = 0

    def stamp(self, frame: VideoFrame) -> VideoFrame:
        """The same frame, its pts set where it was missing or did not increase."""
        pts, dts = frame.pts, frame.dts
        if pts is not None:
            self._pts_faults += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        if dts is not None:
            self._dts_faults += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        best = pts if pts is not None and (dts is None or self._pts_faults <= self._dts_faults) else dts
        if best is None or (self._last is not None and best <= self._last):
            best = self._next
        frame.pts = self._last = best
        self._next = best + (frame.duration or self._typical)
        return frame
