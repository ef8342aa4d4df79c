"""One pass over an open film, from where its container stands: pictures, and the other packets beside."""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from upscale.errors import UpscaleError
from upscale.media.pipe import StoppedError
from upscale.media.read.clock import Clock, FileClock, Sorter
from upscale.media.read.losses import Gaps, Losses
from upscale.times import name_time

INTERLEAVING = Fraction(1)
"""Seconds to read past the end of a part: sound may stand that far behind its picture in a file."""

TOLERANCE = Fraction(1, 2)
"""Seconds by which a film may end before its promised duration and still be whole."""

PAUSE = Fraction(600)
"""Seconds without a new picture that are told: the clock may be wrong."""

BROKEN = "the container marks packets as damaged; what could be made of them was kept"

PATIENCE = 64 << 20
"""Bytes of sound and the like that may come before the first picture."""


class Reading:
    """Decodes one video stream of a container, and hands the packets of the others to ``aside``.

    Until someone sets ``aside`` they are kept in ``held``. ``until`` (seconds) is where the part ends that
    is wanted; None reads to the end.
    """

    def __init__(self, container: InputContainer, video: VideoStream, rate: Fraction | None):
        """``rate`` is that of the film, in frames a second."""
        self._container, self._video = container, video
        self.tick = Fraction(video.time_base or 1)
        self.rate = rate
        self._typical = max(1, round(1 / (self.rate * self.tick))) if self.rate else 1
        """Ticks that a frame lasts, where it does not say."""
        self.until: Fraction | None = None
        self.held: list[Packet] = []
        self.aside: Callable[[Packet], None] = self._hold
        self.losses = Losses()
        self.gaps = Gaps(video.codec_context.name, container.format.name, self._typical, self.losses)
        self.notes: list[str] = []
        """What changed on the way."""
        self.remarks: list[str] = []
        """What is odd, and was kept."""
        self._clock = FileClock(video)
        self._held_bytes = 0
        self._late: set[int] = set()
        """Streams that were not there when the film was opened."""
        self._given = 0
        self._hidden = 0
        """Packets that an edit list wants decoded, and not shown."""
        self._reached: int | None = None
        """Where the last frame ended, in ticks."""
        self._sent = 0
        """Packets of pictures that were read, without the hidden ones."""
        self._span: int | None = None
        """Where the last of them ends, in ticks."""
        self._ended = Fraction(0)
        """Where the last packet of any stream ended, in seconds."""

    def pictures(self) -> Iterator[VideoFrame]:
        """Every frame of the video stream, each with a pts."""
        clock, sorter = Clock(self._typical), Sorter()
        aspect = self._video.codec_context.sample_aspect_ratio
        for packet in itertools.chain(self._packets(), [None]):
            if packet is not None and packet.stream is not self._video:
                self.aside(packet)
                continue
            if packet is not None:
                self.gaps.sent(packet)
                sorter.sent(packet)
            frames = sorter.sorted(self._decode(packet), self._video.codec_context.has_b_frames)
            for frame in frames if packet is not None else [*frames, *sorter.end()]:
                self.gaps.arrived(frame.pts)
                frame.time_base = self.tick  # PyAV forgets it on frames that are drained
                stamped = clock.stamp(frame)
                assert stamped.pts is not None
                self._given += 1
                self._reached = stamped.pts + (stamped.duration or self._typical)
                now = self._video.codec_context.sample_aspect_ratio
                if now and now != aspect:
                    self.notes.append(f"the pixels' shape changes at {stamped.time:.2f} s; it was kept")
                    aspect = now
                yield stamped
        self.gaps.ended()

    def beside(self) -> Iterator[Packet]:
        """The packets of the other streams from here to the end; no picture is decoded any more."""
        for packet in self._packets():
            if packet.stream is not self._video:
                yield packet
        self._given, self._reached = self._sent, self._span

    def missing(self, promised: Fraction | None, start: Fraction) -> int:
        """How many frames that the container promises are missing. ``promised`` is its duration in seconds,
        and ``start`` where its clock starts. To be asked at the end.

        An AVI declares the frames that it repeats too, and an mp4 those that its edit list hides; so what
        counts is how far they should have reached. Matroska promises a duration, of its longest stream.
        """
        if self._reached is None:
            return 0
        span = self._reached - (self._video.start_time or 0)
        covered = span // self._typical
        if self._video.frames:
            if self._video.average_rate != self.rate:  # it counts the ticks of a clock for frames
                covered = int(span * self.tick * Fraction(self._video.average_rate or 0))
            declared = self._video.frames - self._hidden
            if "mov" in self._container.format.name and self._video.duration:
                # It ends where the edit list does, and begins before an empty edit.
                declared = min(declared, round(self._video.duration / self._typical))
                covered = max(covered, self._reached // self._typical)
            return max(0, min(declared - self._given, declared - covered))
        if "matroska" not in self._container.format.name or promised is None or not self.rate:
            return 0
        if self._ended + TOLERANCE >= start + promised:
            return 0
        return max(0, round(promised * self.rate) - covered)

    def _packets(self) -> Iterator[Packet]:
        """Packets of all streams on one clock, to a little past the end of the part, or as far as the file
        goes."""
        known = len(self._container.streams)
        try:
            for packet in self._container.demux():
                if not packet.size:  # the demuxer ends with one for each stream; draining is our own affair
                    continue
                if packet.stream_index >= known:
                    known = packet.stream_index + 1
                    self._late.add(packet.stream_index)
                    self.notes.append(f"stream {packet.stream_index} begins half-way, and was left out")
                if packet.stream_index in self._late:
                    continue
                if packet.is_corrupt and BROKEN not in self.notes:
                    self.notes.append(BROKEN)
                for ready in self._clock.stamp(packet):
                    is_film = ready.stream is self._video
                    if is_film:
                        self._note_picture(ready)
                    if ready.dts is not None:
                        at = ready.dts * ready.time_base
                        self._ended = max(self._ended, at + (ready.duration or 0) * ready.time_base)
                        if is_film and self.until is not None and at - self.until > INTERLEAVING:
                            return
                    yield ready
            yield from self._clock.end()
        except StoppedError as error:
            raise error.by from None
        except av.FFmpegError as error:
            self.losses.add(0, f"the file breaks off: {error.strerror}")

    def _note_picture(self, packet: Packet) -> None:
        self._hidden += packet.is_discard
        self._sent += not packet.is_discard
        at = packet.dts if packet.pts is None else packet.pts
        if at is not None:
            if self._span is not None and (at - self._span) * self.tick > PAUSE:
                since, lasts = (name_time(ticks * self.tick) for ticks in (self._span, at - self._span))
                self.remarks.append(f"there is no picture for {lasts} from {since} on; the times were kept")
            end = at + (packet.duration or self._typical)
            self._span = end if self._span is None else max(self._span, end)

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        """The frames that a packet completes; None drains the decoder at the end."""
        try:
            return self._video.codec_context.decode(packet)
        except av.EOFError:
            return []
        except av.FFmpegError as error:
            self.gaps.complained(error.strerror)
            return []

    def _hold(self, packet: Packet) -> None:
        self.held.append(packet)
        self._held_bytes += packet.size
        if self._held_bytes > PATIENCE:
            raise UpscaleError(f"{self._container.name}: no picture at its beginning; is it a film?")
