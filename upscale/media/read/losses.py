"""What of a film cannot be read, and when it should have been shown."""

import bisect
from collections import deque
from dataclasses import dataclass, field

from av.packet import Packet

ONE_FRAME_A_PACKET = {
    "h264", "hevc", "mpeg1video", "mpeg2video", "mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff",
    "utvideo", "dvvideo", "rawvideo", "v210", "png", "jpeg2000",
}  # fmt: skip
"""Decoders that owe a frame for every packet. Others' packets may show nothing, or repeat a picture."""

LONG = 1.5
"""Frame durations from one frame to the next beyond which something may lie between them."""


@dataclass(slots=True)
class Losses:
    """What could not be read."""

    frames: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, frames: int, reason: str | None) -> None:
        self.frames += frames
        if reason and reason not in self.reasons:
            self.reasons.append(reason)


class Gaps:
    """The places of lost frames: packets that went into the decoder and never came out as a frame.

    For a codec whose packets may rightly show nothing, only as many as the decoder complained of, at the
    stream's rate.
    """

    def __init__(self, codec: str, container: str, typical_duration: int, losses: Losses):
        """``typical_duration`` of a frame, in ticks."""
        # An AVI knows no pts; what FFmpeg guesses for reordered frames is off by some.
        self._exact = codec in ONE_FRAME_A_PACKET and container != "avi"
        self._typical = typical_duration
        self._losses = losses
        self._sent: list[int] = []
        self._complaints = 0
        self._last: int | None = None
        self.missing: deque[int] = deque()
        """The pts of lost frames that nobody has asked for yet, rising."""

    def sent(self, packet: Packet) -> None:
        if self._exact and packet.pts is not None and not packet.is_discard:
            bisect.insort(self._sent, packet.pts)

    def complained(self, reason: str | None) -> None:
        """The decoder could make nothing of a packet."""
        self._complaints += 1
        self._losses.add(0, reason)

    def arrived(self, pts: int | None) -> None:
        """A frame came out of the decoder, with the pts that its packet had."""
        if pts is None:
            return
        last, self._last = self._last, pts
        if last is not None and pts - last > LONG * self._typical:
            self._lose(last, pts)
        self._sent = self._sent[bisect.bisect_right(self._sent, pts) :]

    def ended(self) -> None:
        """The decoder holds no more frames."""
        if self._last is not None and self._exact:
            self._lose(self._last, self._last + (1 << 62))
        elif self._complaints:
            self._losses.add(self._complaints, None)

    def _lose(self, last: int, until: int) -> None:
        if self._exact:
            places = [place for place in self._sent if last < place < until]
        else:
            places = list(range(last + self._typical, until - self._typical // 2, self._typical))
            places = places[: self._complaints]
            self._complaints -= len(places)
        for place in places:
            if place - last > 0.75 * self._typical:  # the two fields of a picture may come as two packets
                last = place
                self.missing.append(place)
                self._losses.add(1, None)
