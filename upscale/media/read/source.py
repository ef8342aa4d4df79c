"""Video in: a film opened once, its frames one after the other, its other packets on the side."""

import contextlib
import errno
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame

from upscale.errors import UpscaleError, UsageError
from upscale.media.cargo import Cargo, is_cover, lasting
from upscale.media.frame import Extras, Frame
from upscale.media.info import VideoInfo, describe_stream, location, stream_duration
from upscale.media.light import from_light, is_light, light_of
from upscale.media.part import Part, Stretch
from upscale.media.picture import first_number, is_sequence, sequence_location
from upscale.media.pipe import InputPipe, StoppedError, input_pipe, is_piped
from upscale.media.pixels import to_planes
from upscale.media.read.clock import LEAP
from upscale.media.read.crop import Crop, find_borders
from upscale.media.read.filters import PULLDOWN, conformed, progressive, without_pulldown
from upscale.media.read.losses import Losses
from upscale.media.read.matroska import read_entries, second_listings
from upscale.media.read.plays import read_plays
from upscale.media.read.rate import find_rate
from upscale.media.read.reading import Reading
from upscale.media.side_data import WRITTEN, Inspector
from upscale.planes import Planes

Parsed = TypeVar("Parsed")

SAMPLES = 24
"""Frames that are looked at, all over the film, to judge it: for black borders, say."""

NTSC = Fraction(30000, 1001)
"""Frames a second that 3:2 pulldown makes."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What is done to the frames of a film before anything else."""

    deinterlace: str = "auto"
    """See ``filters.progressive``."""
    field_order: str = "auto"
    """Which field is shown first, where the stream is silent or wrong: see ``filters.FIELD_ORDERS``."""
    detelecine: bool = False
    """Undo 3:2 pulldown."""
    crop: str = "off"
    """``auto``, ``off``, or WIDTH:HEIGHT:X:Y."""


HEIF = {"heic", "heix", "heim", "mif1", "avif"}
"""Brands of files of pictures, which may be cut into tiles: phones write them."""

BESIDE = Disposition.dependent | Disposition.timed_thumbnails | Disposition.still_image
"""Marks of streams that go with another one."""

JOINED = {"mpegts", "mpeg"}
"""Containers that are joined by writing one file behind another."""

BRIEF = 0.2
"""Share of the longest stream's time below which another one is no film: a title, a preview."""

AS_IT_IS = ReadOptions(deinterlace="off")


class FilmFile(Protocol):
    """The bytes of a film that is no file here, as PyAV reads them."""

    name: str
    """Its path; demuxers look at the suffix."""

    def read(self, size: int) -> bytes: ...

    def seek(self, offset: int, whence: int = 0) -> int: ...

    def tell(self) -> int: ...


class Source:
    """An open film, from a file or (``-``) from standard input. Use it as a context manager.

    ``info`` describes the picture, ``cargo`` what else there is. After ``frames`` has ended ``losses`` says
    what could not be read, ``notes`` what changed on the way, and ``remarks`` what is odd and was kept.
    """

    def __init__(self, path: Path, read: ReadOptions = AS_IT_IS, file: FilmFile | None = None):
        """``file`` is where its bytes come from, if not from ``path``.

        Raises UpscaleError if there is no such file, or no video that can be decoded in it."""
        self.path, self._read = path, read
        self.notes: list[str] = []
        self.remarks: list[str] = []
        self._inspector = Inspector()
        self._pipe = _pipe(path) if file is None and is_piped(path) else None
        entries = _parsed(path, file or self._pipe, read_entries)
        plays = _parsed(path, file or self._pipe, read_plays)
        self._container = _open(path, file or self._pipe)
        try:
            # The first of the twins gets the packets, and is what ``_video_stream`` takes.
            self._repeated = second_listings(entries, self._container.streams)
            if self._repeated:
                which = ", ".join(map(str, sorted(self._repeated)))
                self.notes.append(
                    f"the file lists its tracks twice; the second list (streams {which}) was left out"
                )
            self._video = _video_stream(self._container, path)
            first = next(stream for stream in self._container.streams.video if not is_cover(stream))
            if self._video is not first:
                size = f"{self._video.width}x{self._video.height}"
                self.remarks.append(
                    f"stream {self._video.index} ({size}) was taken for the film,"
                    f" and not stream {first.index} ({first.width}x{first.height})"
                )
            self.rate = find_rate(self._container, self._video, may_jump=self._pipe is None)
            """Frames a second as they are stored: ``info`` has those that ``frames`` gives."""
            self._opening: VideoFrame | None = None
            self._reading, self._pictures, self._first = self._begin()
            self._opening = self._first
            self.info = replace(self._describe(), plays=plays)
            self.crop = self._choose_crop(read.crop)
            if self.crop is not None:
                self.info = replace(self.info, width=self.crop.width, height=self.crop.height)
            self.cargo = Cargo(
                streams=[stream for stream in self._container.streams if self._travels(stream)],
                metadata=dict(self._container.metadata),
                picture_metadata=lasting(self._video.metadata),
                disposition=self._video.disposition,
                chapters=self._container.chapters(),
            )
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def glimpse(self) -> list[Planes]:
        """The first picture, before ``frames`` gives it; an empty list if there is none."""
        return [] if self._first is None else [self._planes(self._first)]

    @property
    def begins(self) -> Fraction | None:
        """When the first picture of the film is shown, in seconds on the container's clock; None if there
        is none."""
        first = self._opening
        return None if first is None or first.pts is None else first.pts * self.info.time_base

    @property
    def losses(self) -> Losses:
        """What could not be read so far."""
        return self._reading.losses

    def stop(self) -> None:
        """Unblock a thread that waits for the pipe; its read raises InterruptedError."""
        if self._pipe is not None:
            self._pipe.stop()

    def part(self, start: Fraction | None, duration: Fraction | None) -> Part:
        """A part of the film, in seconds from its beginning; the whole film without either."""
        return Part.of(self.info.start, start, duration)

    def frames(
        self,
        start: Fraction | None = None,
        duration: Fraction | None = None,
        aside: Callable[[Packet], None] | None = None,
        stretch: Stretch | None = None,
    ) -> Iterator[Frame]:
        """The frames in the order in which they are shown, to the last one that the decoder holds.

        ``start`` and ``duration`` (seconds from the beginning of the file) choose a part of it, whose
        clock then begins at 0; without them every pts is the stream's own. ``aside`` is given the packets
        of the ``cargo``'s streams as they come, on the same clock. A frame that was lost is the one before
        it once more: the very same planes.

        With a ``stretch`` frames come from its ``lead`` on, and go on beyond its end; ``losses`` are those
        of the stretch alone. What the container promised is not looked at: see ``short_of_promise``.
        """
        part = self.part(start, duration)
        tick = self.info.time_base
        if stretch is not None and stretch.jump:
            self._seek(part.shift + stretch.lead * tick)
        elif start and self._pipe is None and not self._is_joined:
            self._seek(part.begin)
        reading = self._reading
        reading.until = part.end
        self._deliver_to(aside, part)
        shift = round(part.shift / tick)
        steps = self._steps
        missing = reading.gaps.missing
        shown: Frame | None = None
        lost: tuple[int, list[str]] = (0, [])
        for picture in itertools.chain([self._first] if self._first else [], self._pictures):
            assert picture.pts is not None
            pts = picture.pts - shift
            while missing and missing[0] * steps < picture.pts:
                place = missing.popleft() * steps
                known = shown is not None and place - shift > shown.pts and part.shows(place, tick)
                if shown is not None and known and not self._read.detelecine:
                    shown = replace(shown, pts=place - shift)
                    yield shown
            is_shown = part.shows(picture.pts, tick) and (stretch is None or pts >= stretch.lead)
            is_own = is_shown and (stretch is None or stretch.holds(pts))
            if not is_own:  # what is lost before the part, or after it, is not lost to it
                self.losses.frames, self.losses.reasons = lost[0], list(lost[1])
            if not is_shown:
                continue
            shown = Frame(self._planes(picture), pts, picture.duration or 0, tick, self._extras(picture))
            yield shown
            if is_own:
                lost = self.losses.frames, list(self.losses.reasons)
        is_last = stretch is None or stretch.end is None
        if start is None and duration is None and is_last:
            if shown is not None:
                yield from (replace(shown, pts=place * steps) for place in missing)
            if stretch is None:
                # What was lost before the last picture, and what should have come after it.
                self.losses.frames = max(self.losses.frames, lost[0] + self.short_of_promise())

    def companions(
        self, start: Fraction | None = None, duration: Fraction | None = None
    ) -> Iterator[Packet]:
        """The packets that ``frames`` gives ``aside``, without the work of decoding pictures."""
        part = self.part(start, duration)
        if start and not self._is_joined:
            self._seek(part.begin)
        self._reading.until = part.end
        held, self._reading.held = self._reading.held, []
        for packet in itertools.chain(held, self._reading.beside()):
            if is_cover(packet.stream) or part.take(packet):
                yield packet

    def short_of_promise(self) -> int:
        """How many frames the container promises beyond those that are there. To be asked at the end of
        ``frames``, or of ``companions``."""
        return self._reading.missing(self.info.duration, self.info.start)

    @functools.cached_property
    def _is_joined(self) -> bool:
        """Whether the clock of the file jumps back, as where tapes were joined: then a time tells no place
        in it, and what comes before is decoded."""
        if self._container.format.name not in JOINED or not self.path.is_file():
            return False
        last: Fraction | None = None
        with open_film(self.path) as (container, video), contextlib.suppress(av.FFmpegError):
            for packet in container.demux(video):
                if packet.dts is None or not packet.size:
                    continue
                at = packet.dts * Fraction(packet.time_base)
                if last is not None and at < last - LEAP:
                    return True
                last = at
        return False

    @property
    def _steps(self) -> int:
        """Ticks of our clock for each of the stream's: 2 where every field becomes a frame."""
        return round(self._reading.tick / self.info.time_base)

    def _begin(self) -> tuple[Reading, Iterator[VideoFrame], VideoFrame | None]:
        """Read from the container's position on: the reading, its pictures as wanted, and the first one."""
        reading = Reading(self._container, self._video, self.rate)
        reading.notes, reading.remarks = self.notes, self.remarks
        pictures = reading.pictures()
        if self._read.detelecine:
            pictures = without_pulldown(pictures, reading.rate or NTSC, self.notes, self._read.field_order)
        else:
            marked = self._video.codec_context.field_order
            pictures = progressive(
                pictures,
                self._read.deinterlace,
                reading.rate,
                marked,
                self._read.field_order,
                self.remarks,
            )
        pictures = conformed(pictures, self.notes, self._opening)
        return reading, pictures, next(pictures, None)

    def _seek(self, begin: Fraction) -> None:
        """Go to where decoding has to start for a frame at ``begin`` seconds on the container's clock.

        A container without an index may land behind the key frame that it was asked for, so what comes
        first is looked at, and a place twice as far back is tried until it is early enough. The last one
        lies before the beginning: asked for the beginning, a transport stream answers with what follows.
        """
        earliest = self.info.start - 1
        covers = [packet for packet in self._reading.held if is_cover(packet.stream)]
        back = Fraction(0)
        while True:
            place = max(begin - back, earliest)
            try:
                self._jump(place)
            except av.FFmpegError as error:
                raise UpscaleError(
                    f"{self.path}: one cannot jump in it ({error.strerror}); leave --start out"
                ) from error
            self._reading, self._pictures, self._first = self._begin()
            first = self._first
            early = first is not None and first.pts is not None and first.pts * self.info.time_base <= begin
            if early or place == earliest:
                break
            back = max(2 * back, Fraction(1, 2))
        self._reading.held[:0] = covers

    def _jump(self, place: Fraction) -> None:
        try:
            self._container.seek(int(place / self._reading.tick), stream=self._video)
        except av.FFmpegError:
            if place >= self.info.start:
                raise
            # An AVI knows nothing before its beginning.
            self._container.seek(int(self.info.start / self._reading.tick), stream=self._video)

    def _deliver_to(self, aside: Callable[[Packet], None] | None, part: Part) -> None:
        """Give ``aside`` the packets that came before the first picture, and from now on the others."""

        def deliver(packet: Packet) -> None:
            if aside is not None and (is_cover(packet.stream) or part.take(packet)):
                aside(packet)

        self._reading.aside = deliver
        for packet in self._reading.held:
            deliver(packet)
        self._reading.held = []

    def _planes(self, picture: VideoFrame) -> Planes:
        planes = to_planes(picture)
        return planes if self.crop is None else self.crop(planes, self.info.pixels.subsampling)

    def _extras(self, picture: VideoFrame) -> Extras | None:
        """See ``Frame.extras``."""
        kinds = self._inspector.kinds(picture)
        if is_light(picture.format.name):
            cropped = picture if self.crop is None else from_light(self.crop.of(light_of(picture)))
            return Extras(cropped, kinds)
        return Extras(picture, kinds) if kinds & WRITTEN else None

    def _describe(self) -> VideoInfo:
        info = describe_stream(self._container, self._video, self.path, self.rate, self._first)
        if info.average_rate is None or self._first is None:
            return info
        factor = 1 / PULLDOWN if self._read.detelecine else Fraction(1)
        if self._read.deinterlace == "bob":
            factor *= 2
        count = round(info.declared_frames * factor)
        steady = info.steady_rate and info.steady_rate * factor
        average = info.average_rate * factor
        return replace(info, average_rate=average, steady_rate=steady, declared_frames=count)

    def _choose_crop(self, asked: str) -> Crop | None:
        if asked == "off":
            return None
        if asked != "auto":
            crop: Crop | None = Crop.parse(asked)
        elif self._pipe is not None:
            raise UsageError("a pipe can be read only once; give the crop as WIDTH:HEIGHT:X:Y")
        else:
            crop = find_borders(samples(self.path), self.info.pixels.subsampling)
        if crop is not None:
            crop.check(self.info.width, self.info.height, self.info.pixels.subsampling)
        return crop

    def _travels(self, stream: Stream) -> bool:
        """Whether a stream is to be carried over; what muxers make anew from chapters and tags is not."""
        if stream.type == "data" and "mov" in self._container.format.name:
            text_of_chapters = stream.name == "bin_data" and bool(self._container.chapters())
            if text_of_chapters or "timecode" in stream.metadata:
                return False
        return stream is not self._video and stream.index not in self._repeated


def samples(
    path: Path, since: Fraction | None = None, duration: Fraction | None = None
) -> Iterator[Planes]:
    """Frames from all over a film, or over a part of it (in seconds); only the first where there is no
    telling how long it is."""
    begin = since or Fraction(0)
    with Source(path) as source:
        whole = source.info.duration
    length = None if whole is None or whole <= begin else whole - begin
    if length is not None and duration is not None:
        length = min(length, duration)
    for number in range(SAMPLES if length else 1):
        with Source(path) as source:
            start = begin + length * number / SAMPLES if length else since
            yield from (frame.planes for frame in itertools.islice(source.frames(start), 1))


@contextlib.contextmanager
def open_film(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """A file open beside others that read it: its container, and the stream of its picture."""
    with _open(path) as container:
        yield container, _video_stream(container, path)


def _pipe(path: Path) -> InputPipe:
    try:
        return input_pipe(path)
    except OSError as error:
        raise UpscaleError(f"{path}: cannot be read ({error.strerror})") from error


def _open(path: Path, file: InputPipe | FilmFile | None = None) -> InputContainer:
    if file is None and path.is_dir():
        raise UpscaleError(f"{path}: is a folder; give a video file")
    options = {}
    if file is None and is_sequence(path):
        options = {"start_number": str(first_number(path))}
    place = sequence_location(path) if options else location(path)
    try:
        return av.open(file or place, "r", metadata_errors="replace", container_options=options)
    except StoppedError as error:
        raise error.by from None
    except av.FileNotFoundError:
        raise UpscaleError(f"{path}: no such file") from None
    except av.FFmpegError as error:
        if file is not None and error.errno == errno.ENOSYS:
            raise UpscaleError(
                f"{path}: this format cannot be read from a pipe; give the file's name"
            ) from error
        raise UpscaleError(f"{path}: cannot be read as a video ({error.strerror})") from error


def _prominence(stream: av.VideoStream, longest: float) -> tuple[bool, bool, bool, bool, float, int]:
    """What makes a player show a stream rather than another one, the weightiest first. ``longest`` is the
    time in seconds of the longest one."""
    context = stream.codec_context
    seconds = stream_duration(stream)
    is_still = stream.frames == 1 or not stream.average_rate
    return (
        context is not None and bool(context.pix_fmt),
        not stream.disposition & BESIDE,
        not is_still and (seconds is None or seconds >= BRIEF * longest),
        bool(stream.disposition & Disposition.default),
        seconds or 0.0,
        stream.width * stream.height,
    )


def _parsed(
    path: Path, file: InputPipe | FilmFile | None, parse: Callable[[Callable[[int], bytes]], Parsed]
) -> Parsed:
    """What ``parse`` makes of the bytes at the beginning of a film, which it gets by the number; ``file``
    stands there before and after."""
    if isinstance(file, InputPipe):
        taken: list[bytes] = []

        def read(size: int) -> bytes:
            taken.append(file.read(size))
            return taken[-1]

        try:
            return parse(read)
        except StoppedError as error:
            raise error.by from None
        finally:
            file.unread(b"".join(taken))
    try:
        if file is not None:
            parsed = parse(file.read)
            file.seek(0)
            return parsed
        if path.is_file():  # what comes out of a named pipe would be gone
            with path.open("rb") as opened:
                return parse(opened.read)
    except OSError:  # told when the film is opened
        pass
    return parse(lambda size: b"")


def _video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The stream that a player would show."""
    pictures = [stream for stream in container.streams.video if not is_cover(stream)]
    if not pictures:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UpscaleError(f"{path}: no video in it, only {kinds}")
    tiles = [stream for stream in pictures if stream.disposition & Disposition.dependent]
    if tiles and container.metadata.get("major_brand") in HEIF:
        raise UpscaleError(
            f"{path}: a picture of {len(tiles)} tiles, which are not put together here;"
            " convert it to PNG or JPEG first"
        )
    longest = max(stream_duration(stream) or 0.0 for stream in pictures)
    stream = max(pictures, key=lambda stream: _prominence(stream, longest))
    if stream.codec_context is None or not stream.codec_context.pix_fmt:
        why = "unknown codec, or no picture in the file"
        if is_piped(path) and "mp4" in container.format.name.split(","):
            why = "an mp4 with its index at the end is no stream; give the file's name instead"
        raise UpscaleError(f"{path}: its video cannot be decoded ({why})")
    stream.thread_type = "AUTO"
    return stream
