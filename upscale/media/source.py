"""Video in: a file opened once, its frames one after the other, its other packets on the side."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.frame import VideoFrame

from upscale.errors import UpscaleError
from upscale.media.clock import Clock
from upscale.media.info import VideoInfo, describe_stream, location
from upscale.media.pixels import describe, planar_name, to_planes
from upscale.planes import Planes

INTERLEAVING = Fraction(1)
"""Seconds to read past the end of a part: sound may stand that far behind its picture in a file."""

TOLERANCE = Fraction(1, 2)
"""Seconds by which a film may end before its promised duration and still be whole."""


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


def probe(path: Path) -> VideoInfo:
    """Open a film, look at its first frame too, and close it. Raises UpscaleError as ``Source`` does."""
    with Source(path) as source:
        first = next(source._decoded(None, Fraction(0), None), None)
        matrix = first.side_data.get("DISPLAYMATRIX") if first is not None else None
        if not isinstance(matrix, SideData):
            return source.info
        return replace(source.info, display_matrix=struct.unpack("=9i", bytes(matrix)))


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
        self._given = 0
        self._hidden = 0
        """Packets that an edit list wants decoded, and not shown."""
        self._end = Fraction(0)
        """Where the last packet of any stream ended, in seconds."""

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
        # Containers round the time at which they start, so times are compared as the stream counts them.
        tick = self.info.time_base
        first, last = round(begin / tick), None if end is None else round(end / tick)
        if start:
            self._seek(begin)
        reached = None
        for frame in self._decoded(end, shift, aside if self.sound else None):
            assert frame.pts is not None
            if (start is not None and frame.pts < first) or (last is not None and frame.pts >= last):
                continue
            self._check_unchanged(frame)
            reached = frame.pts + (frame.duration or self._typical_duration)
            self._given += 1
            yield Frame(to_planes(frame), frame.pts - round(shift / tick), frame.duration or 0, tick)
        if start is None and duration is None and reached is not None:
            self.losses.frames = max(self.losses.frames, self._missing(reached))

    def _decoded(
        self,
        end: Fraction | None,
        shift: Fraction,
        aside: Callable[[Packet], None] | None,
    ) -> Iterator[VideoFrame]:
        """Every frame of the video stream from the container's position on, each with a pts."""
        clock = Clock(self._typical_duration)
        for packet in self._packets(end):
            if packet.stream is not self._video:
                assert packet.pts is not None
                at = packet.pts * packet.time_base
                if aside and (not shift or at >= shift) and (end is None or at < end):
                    _delay(packet, -shift)
                    aside(packet)
                continue
            for frame in self._decode(packet):
                yield clock.stamp(frame)
        for frame in self._decode(None):
            yield clock.stamp(frame)

    def _check_unchanged(self, frame: VideoFrame) -> None:
        size, planar = (frame.width, frame.height), planar_name(frame.format.name)
        if size != (self.info.width, self.info.height):
            what = f"size, from {self.info.width}x{self.info.height} to {size[0]}x{size[1]}"
        elif describe(planar, frame.color_range).subsampling != self.info.pixels.subsampling:
            what = f"format, to {frame.format.name}"
        else:
            return
        assert frame.pts is not None
        at = float(frame.pts * self.info.time_base)
        raise UpscaleError(f"{self.info.path}: the picture changes {what}, at {at:g} s; cut the file there")

    def _seek(self, begin: Fraction) -> None:
        """Go to where decoding has to start for a frame at ``begin`` seconds on the container's clock.

        A container without an index may land behind the key frame that it was asked for, so what comes
        first is looked at, and a place twice as far back is tried until it is early enough.
        """
        back = Fraction(0)
        while begin - back > self.info.start:
            place = int((begin - back) / self.info.time_base)
            self._jump(place)
            first = next(self._decoded(None, Fraction(0), None), None)
            self.losses = Losses()
            if first is not None and first.pts is not None and first.pts * self.info.time_base <= begin:
                self._jump(place)
                return
            back = max(2 * back, Fraction(1, 2))
        self._jump(int(self.info.start / self.info.time_base))

    def _jump(self, place: int) -> None:
        try:
            self._container.seek(place, stream=self._video)
        except av.FFmpegError as error:
            raise UpscaleError(
                f"{self.info.path}: one cannot jump in it ({error.strerror}); leave --start out"
            ) from error

    def _missing(self, reached: int) -> int:
        """How many frames that the container promises are missing; the last one ended at ``reached``.

        An AVI declares the frames that it repeats too, and an mp4 those that its edit list hides; so what
        counts is how far they should have reached. Matroska promises a duration, of its longest stream.
        """
        first = self._video.start_time or 0
        covered = (reached - first) // self._typical_duration
        if self.info.declared_frames:
            declared = self.info.declared_frames - self._hidden
            return max(0, min(declared - self._given, declared - covered))
        promised = self.info.duration
        if "matroska" not in self.info.container or promised is None or not self.info.average_rate:
            return 0
        if self._end + TOLERANCE >= self.info.start + promised:
            return 0
        return max(0, round(promised * self.info.average_rate) - covered)

    @property
    def _typical_duration(self) -> int:
        rate = self.info.average_rate
        return max(1, round(1 / (rate * self.info.time_base))) if rate else 1

    def _packets(self, end: Fraction | None) -> Iterator[Packet]:
        """Packets of video and sound, to a little past ``end`` or to where the file breaks off."""
        try:
            for packet in self._container.demux([self._video, *self.sound]):
                # The demuxer ends with an empty packet a stream; draining is our own affair.
                if not packet.size or (packet.pts is None and packet.stream is not self._video):
                    continue
                if packet.dts is not None:
                    self._end = max(self._end, (packet.dts + (packet.duration or 0)) * packet.time_base)
                is_film = packet.stream is self._video
                self._hidden += is_film and packet.is_discard
                if is_film and end is not None and packet.dts is not None:
                    past = packet.dts * packet.time_base - end
                    if past > INTERLEAVING:
                        return
                yield packet
        except av.FFmpegError as error:
            self._lost(0, f"the file breaks off: {error.strerror}")

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
        return av.open(location(path))
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
