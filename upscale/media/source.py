"""Video in: a file opened once, its frames one after the other, its other packets on the side."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame

from upscale.errors import UpscaleError
from upscale.media.info import VideoInfo, describe_stream
from upscale.media.pixels import to_planes
from upscale.planes import Planes

INTERLEAVING = Fraction(1)
"""Seconds to read past the end of a part: sound may stand that far behind its picture in a file."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture and its place in time, in ticks of ``time_base`` seconds."""

    planes: Planes
    pts: int
    duration: int
    """In ticks; 0 where the stream does not say."""
    time_base: Fraction


@dataclass(slots=True)
class Losses:
    """What could not be read."""

    frames: int = 0
    reasons: list[str] = field(default_factory=list)


class Source:
    """An open video. Use it as a context manager.

    ``info`` describes the picture, ``sound`` are its audio streams, and after
    ``frames`` has ended ``losses`` says what the file could not give.
    """

    def __init__(self, path: Path):
        """Raises UpscaleError if there is no such file, or no video that can be decoded in it."""
        self._container = _open(path)
        try:
            self._video = _video_stream(self._container, path)
            self.info: VideoInfo = describe_stream(self._container, self._video, path)
        except BaseException:
            self._container.close()
            raise
        self.sound: list[AudioStream] = list(self._container.streams.audio)
        self.metadata: dict[str, str] = dict(self._container.metadata)
        self.losses = Losses()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def frames(
        self,
        start: Fraction | None = None,
        duration: Fraction | None = None,
        aside: Callable[[Packet], None] | None = None,
    ) -> Iterator[Frame]:
        """The frames in the order in which they are shown, to the last one that the decoder holds.

        ``start`` and ``duration`` (seconds from the beginning of the file) choose a part of it, whose
        clock then begins at 0; without them every pts is the stream's own. ``aside`` is given the packets
        of the ``sound`` streams as they come, on the same clock.
        """
        begin = self.info.start + (start or 0)
        end = None if duration is None else begin + duration
        shift = begin if start is not None or duration is not None else Fraction(0)
        if start:
            self._seek(begin)
        given, reached = 0, 0
        for frame in self._decoded(end, shift, aside if self.sound else None):
            assert frame.pts is not None
            at = frame.pts * self.info.time_base
            if start is not None and at < begin:
                continue
            if end is not None and at >= end:
                continue
            given += 1
            reached = frame.pts + self._typical_duration
            yield Frame(
                to_planes(frame),
                frame.pts - round(shift / self.info.time_base),
                frame.duration or 0,
                self.info.time_base,
            )
        if start is None and duration is None:
            self.losses.frames = max(self.losses.frames, self._missing(given, reached))

    def _decoded(
        self,
        end: Fraction | None,
        shift: Fraction,
        aside: Callable[[Packet], None] | None,
    ) -> Iterator[VideoFrame]:
        """Every frame of the video stream from the container's position on, each with a pts."""
        expected = 0
        for packet in chain(self._packets(), [None]):
            if packet is not None and packet.stream is not self._video:
                assert packet.pts is not None
                at = packet.pts * packet.time_base
                if aside and (not shift or at >= shift) and (end is None or at < end):
                    _delay(packet, -shift)
                    aside(packet)
                continue
            if end is not None and packet is not None and packet.dts is not None:
                past = packet.dts * packet.time_base - end
                if past > INTERLEAVING:
                    return
            for frame in self._decode(packet):
                if frame.pts is None:
                    frame.pts = expected
                expected = frame.pts + (frame.duration or self._typical_duration)
                yield frame

    def _seek(self, begin: Fraction) -> None:
        """Go to where decoding has to start for a frame at ``begin`` seconds on the container's clock.

        A container without an index may land behind the key frame that it was asked for, so what comes
        first is looked at, and a place twice as far back is tried until it is early enough.
        """
        back = Fraction(0)
        while begin - back > self.info.start:
            place = int((begin - back) / self.info.time_base)
            self._container.seek(place, stream=self._video)
            first = next(self._decoded(None, Fraction(0), None), None)
            self.losses = Losses()
            if first is not None and first.pts is not None and first.pts * self.info.time_base <= begin:
                self._container.seek(place, stream=self._video)
                return
            back = max(2 * back, Fraction(1, 2))
        self._container.seek(int(self.info.start / self.info.time_base), stream=self._video)

    def _missing(self, given: int, reached: int) -> int:
        """How many declared frames are missing after ``given`` of them, which ended at ``reached``.

        An AVI declares the frames that it repeats too, so what counts is how far they should have reached.
        """
        declared = self.info.declared_frames
        first = self._video.start_time or 0
        covered = (reached - first) // self._typical_duration
        return max(0, min(declared - given, declared - covered))

    @property
    def _typical_duration(self) -> int:
        rate = self.info.average_rate
        return max(1, round(1 / (rate * self.info.time_base))) if rate else 1

    def _packets(self) -> Iterator[Packet]:
        """Packets of the video and the sound streams; where the file breaks off, so does this."""
        try:
            for packet in self._container.demux([self._video, *self.sound]):
                # The demuxer ends with an empty packet a stream; draining is our own affair.
                if packet.size and (packet.pts is not None or packet.stream is self._video):
                    yield packet
        except av.FFmpegError as error:
            self._lost(0, f"the file breaks off ({error.strerror})")

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        """The frames that a packet completes; None drains the decoder at the end."""
        try:
            return self._video.codec_context.decode(packet)
        except av.EOFError:
            return []
        except av.FFmpegError as error:
            self._lost(1, error.strerror)
            return []

    def _lost(self, frames: int, reason: str | None) -> None:
        self.losses.frames += frames
        if reason and reason not in self.losses.reasons:
            self.losses.reasons.append(reason)


def _delay(packet: Packet, seconds: Fraction) -> None:
    ticks = round(seconds / packet.time_base)
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks


def _open(path: Path) -> av.container.InputContainer:
    if not path.exists():
        raise UpscaleError(f"{path}: no such file")
    if path.is_dir():
        raise UpscaleError(f"{path}: is a folder; give a video file")
    try:
        return av.open(str(path))
    except av.FFmpegError as error:
        raise UpscaleError(f"{path}: cannot be read as a video ({error.strerror})") from error


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not pictures:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UpscaleError(f"{path}: no video in it, only {kinds}")
    stream = pictures[0]
    if stream.codec_context is None or not stream.codec_context.pix_fmt:
        raise UpscaleError(
            f"{path}: its video cannot be decoded (unknown codec, or no picture in the file)"
        )
    stream.thread_type = "AUTO"
    return stream
