"""The time of a frame, where a stream is vague about it."""

from av.packet import Packet
from av.video.frame import VideoFrame


class PacketClock:
    """Keeps the times of one stream's packets rising, as muxers ask for.

    Where they jump back, as in tapes that were joined, they go on from where they were: the rule of
    ``Clock``, so sound stays with its picture.
    """

    def __init__(self) -> None:
        self._offset = 0
        self._last: int | None = None
        self._next = 0

    def stamp(self, packet: Packet) -> None:
        """Move a packet, in its own ticks, where its dts would not rise."""
        if packet.dts is None:
            return
        if self._last is not None and packet.dts + self._offset <= self._last:
            self._offset = max(self._next, self._last + 1) - packet.dts
        packet.dts += self._offset
        if packet.pts is not None:
            packet.pts += self._offset
        self._last = packet.dts
        self._next = packet.dts + (packet.duration or 0)


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
