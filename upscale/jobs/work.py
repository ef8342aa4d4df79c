"""What a worker does, in this process or in another: segments of films, one after the other.

    tasks -> read, align -> model -> encode -> a file of packets each

The stages overlap, and go on from one segment to the next: while the encoder gives back the last frames of
one, the model is at the next.
"""

import contextlib
import functools
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av

from upscale.belt import overlap
from upscale.errors import UpscaleError
from upscale.jobs.segments import Segment
from upscale.jobs.workspace import segment_path
from upscale.keys import Cuts, Keys
from upscale.media.frame import Frame, Key
from upscale.media.info import VideoInfo
from upscale.media.part import BEGINNING, Stretch
from upscale.media.read.source import FilmFile, Source
from upscale.media.write.packets import Pictures, PieceWriter, Track
from upscale.motion.findings import Findings
from upscale.pipeline import (
    Job,
    Limit,
    Networks,
    Stages,
    aligned,
    find_key,
    follows_keys,
    open_networks,
    shot_period,
)
from upscale.planes import Planes


@dataclass(frozen=True, slots=True)
class Task:
    """Segments of one film that follow each other, and all that a worker has to know to compute them."""

    film: int
    """Its number in the queue."""
    job: Job
    """With all that is ``auto`` settled."""
    tracks: tuple[Track, ...]
    size: tuple[int, int]
    """Width and height of the output."""
    segments: tuple[Segment, ...]
    folder: Path
    """Where the segments go."""
    fingerprint: dict[str, Any]
    """Of the source: see ``workspace.fingerprint``."""
    attempt: int = 0
    """Workers that it has cost so far."""


@dataclass(frozen=True, slots=True)
class FramesDone:
    """So many frames more of a segment are encoded."""

    film: int
    segment: int
    frames: int
    at: float
    """The time of the last of them, in seconds on the film's clock."""
    limit: str
    """See ``pipeline.Limit``."""


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """A segment is in its place; ``record`` is what it says of itself."""

    film: int
    segment: int
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskDone:
    """Nothing more comes of a task."""

    film: int
    error: Exception | None = None
    """Why it could not be done."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The program has failed in a worker."""

    traceback: str


Event = FramesDone | SegmentDone | TaskDone | Fault


class Inbox:
    """Tasks that come one by one from elsewhere. Iterating waits for the next one, until the end."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def put(self, task: Task) -> None:
        """One more."""
        self._tasks.put(task)

    def end(self) -> None:
        """No more will come; may be called in any thread, as often as one likes."""
        self._tasks.put(None)

    def __iter__(self) -> Iterator[Task]:
        while (task := self._tasks.get()) is not None:
            yield task


@dataclass(slots=True)
class _Run:
    """A task that is being worked on."""

    task: Task
    has_failed: bool = False
    """Whether its other frames are of no use."""
    is_told: bool = False
    """Whether its end was told."""


@dataclass(frozen=True, slots=True)
class _Load:
    """The reader waits for ``answer``, which the thread that runs the networks gives.

    libgomp, which PyTorch brings, keeps threads for each thread that runs networks, and lets all of them
    spin less when they are more than the cores: with networks that are loaded in the reader, every frame
    takes a quarter longer."""

    task: Task
    info: VideoInfo
    answer: Future[Networks] = field(default_factory=Future)


@dataclass(slots=True)
class _Begin:
    run: _Run
    segment: Segment
    networks: Networks
    writer: PieceWriter | None = None


@dataclass(slots=True)
class _End:
    run: _Run
    segment: Segment
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _TaskEnd:
    run: _Run
    error: Exception | None = None


Item = Frame | Pictures | _Load | _Begin | _End | _TaskEnd


class Worker:
    """Computes tasks. Keeps the networks for the next one of frames of the same size."""

    def __init__(self, reach: Callable[[Task], FilmFile | None] = lambda task: None):
        """``reach`` answers with the bytes of a task's film, or None to read it by its path."""
        self._reach = reach
        self._key: object = None
        self._networks: Networks | None = None
        self._loading: _Load | None = None
        self._last: tuple[int, int | None, Key | None] | None = None
        """The film that was read last, where its next segment begins, and the key frame there."""

    def work(self, tasks: Iterable[Task], tell: Callable[[Event], None]) -> None:
        """Do ``tasks`` as they come, to the last. ``tell`` is called in several threads.

        Ends an ``Inbox`` if anything but a task goes wrong, and raises what it was."""

        def release() -> None:
            self._stop_loading()
            if isinstance(tasks, Inbox):
                tasks.end()

        stages, told = Stages(), Stages()
        limit = Limit(stages)
        open_writers: set[PieceWriter] = set()

        def read(put: Callable[[Item], None]) -> None:
            for task in tasks:
                run = _Run(task)
                try:
                    self._read(run, put, stages)
                    put(_TaskEnd(run))
                except (UpscaleError, OSError) as error:
                    put(_TaskEnd(run, error))

        def enlarge(items: Iterator[Item]) -> Iterator[Item]:
            begun: deque[tuple[Frame, Callable[[], Planes]]] = deque()
            at: _Begin | None = None
            before = (0, 0)

            def next_pictures() -> Pictures:
                assert at is not None
                assert at.writer is not None
                frame, answer = begun.popleft()
                larger = replace(frame, planes=stages.timed("model", answer))
                writer = at.writer
                return stages.timed("pack", lambda: writer.pictures(larger))

            for item in items:
                if isinstance(item, _Load):
                    stages.timed("load", functools.partial(self._load, item))
                elif isinstance(item, _Begin):
                    at = item
                    if not item.run.has_failed:
                        try:
                            item.writer = _open_writer(item)
                        except (UpscaleError, OSError) as error:
                            item.run.has_failed = True
                            yield _TaskEnd(item.run, error)
                            continue
                        open_writers.add(item.writer)
                    model = item.networks.enlarger
                    before = model.reused, model.reused_tiles
                    yield item
                elif isinstance(item, Frame):
                    assert at is not None
                    if at.run.has_failed:
                        begun.clear()
                        continue
                    try:
                        begun.append((item, at.networks.begin(item, stages)))
                        if len(begun) > at.networks.enlarger.ahead:
                            yield next_pictures()
                    except UpscaleError as error:
                        at.run.has_failed = True
                        yield _TaskEnd(at.run, error)
                else:
                    try:
                        while begun and at is not None and not at.run.has_failed:
                            yield next_pictures()
                    except UpscaleError as error:
                        assert at is not None
                        at.run.has_failed = True
                        yield _TaskEnd(at.run, error)
                    begun.clear()
                    if isinstance(item, _End) and at is not None:
                        model = at.networks.enlarger
                        now = model.reused, model.reused_tiles
                        names = ("reused", "reused_tiles")
                        item.facts |= {k: b - a for k, a, b in zip(names, before, now, strict=True)}
                        item.facts["notes"] += sorted(model.notes)
                        item.facts["arithmetic"] = at.networks.arithmetic
                        item.facts["unlike"] = at.networks.take_unlike()
                    yield item

        writer: PieceWriter | None = None

        def write(item: Item) -> None:
            nonlocal writer
            if isinstance(item, _TaskEnd):
                item.run.has_failed |= item.error is not None
                if not item.run.is_told:
                    item.run.is_told = True
                    tell(TaskDone(item.run.task.film, item.error))
                return
            if isinstance(item, _Begin):
                at[0], writer = item, item.writer
                return
            run = at[0].run
            if run.has_failed or writer is None:
                return
            film, segment = run.task.film, at[0].segment.number
            event: Event
            try:
                if isinstance(item, tuple):
                    when = float((item[0].pts or 0) * (item[0].time_base or 0))
                    stages.timed("encode", functools.partial(writer.write, item))
                    event = FramesDone(film, segment, 1, when, limit.find())
                else:
                    assert isinstance(item, _End)
                    busy = dict(stages.busy)
                    item.facts["busy"] = {stage: busy[stage] - told.busy[stage] for stage in busy}
                    told.busy = busy
                    event = SegmentDone(film, segment, writer.finish(item.facts))
                    open_writers.discard(writer)
            except (UpscaleError, av.FFmpegError, OSError, ValueError) as error:
                write(_TaskEnd(run, error))
            else:  # not above: what ``tell`` raises is to end all of it
                tell(event)

        at: list[_Begin] = [None]  # type: ignore[list-item]
        try:
            overlap(read, enlarge, write, lambda item: isinstance(item, Frame | tuple), release)
        finally:
            for left in open_writers:
                left.discard()

    def _read(self, run: _Run, put: Callable[[Item], None], stages: Stages) -> None:
        """Put the frames of a task's segments, each between its _Begin and its _End."""
        task, job = run.task, run.task.job
        with Source(job.source, job.read, self._reach(task)) as source:
            networks = self._opened(task, source.info, put)
            window = networks.enlarger.window
            found = Findings()
            told, remarked, lost = 0, 0, 0

            def end(segment: Segment) -> _End:
                nonlocal told, remarked, lost
                facts = {
                    "lost": source.losses.frames - lost,
                    "reasons": list(source.losses.reasons),
                    "notes": source.notes[told:],
                    "remarks": source.remarks[remarked:],
                    "found": found.taken(),
                }
                told, remarked, lost = len(source.notes), len(source.remarks), source.losses.frames
                return _End(run, segment, facts)

            first, last = task.segments[0].stretch, task.segments[-1].stretch
            whole = Stretch(first.lead, first.begin, last.end, first.jump)
            keys = self._find_keys(task, source.info, window) if follows_keys(job, window) else None
            frames = source.frames(job.start, job.duration, stretch=whole)
            frames = aligned(
                stages.timed_each("decode", frames),
                window,
                job,
                found,
                source.info,
                first.begin,
                last.end,
                keys,
            )
            with contextlib.closing(frames):  # type: ignore[type-var]
                rest = iter(task.segments)
                segment: Segment | None = next(rest)
                put(_Begin(run, task.segments[0], networks))
                for frame in stages.timed_each("align", frames, within="decode"):
                    while segment is not None and _is_over(segment, frame):
                        put(end(segment))
                        segment = next(rest, None)
                        if segment is not None:
                            put(_Begin(run, segment, networks))
                    if segment is None:
                        self._last = (task.film, last.end, frame.key)
                    if segment is None or run.has_failed:
                        return
                    if frame.pts >= segment.stretch.begin:
                        put(frame)
                while segment is not None:  # the film ends here, sooner perhaps than it promised
                    put(end(segment))
                    segment = next(rest, None)
                    if segment is not None:
                        put(_Begin(run, segment, networks))

    def _find_keys(self, task: Task, info: VideoInfo, window: int) -> Keys:
        """The key frames for a task, with that of the shot that it begins in."""
        first, cuts = task.segments[0].stretch, Cuts(shot_period(task.job, info))
        if first.begin == BEGINNING:
            return Keys(cuts=cuts)
        # Not looked for where the segment before was read here: a long shot would be read again and again.
        if self._last is not None and self._last[:2] == (task.film, first.begin):
            return Keys(self._last[2], first.begin, cuts)

        def opened() -> Source:
            return Source(task.job.source, task.job.read, self._reach(task))

        key = find_key(task.job, info, opened, window, first.begin, first.jump)
        return Keys(key, first.begin, cuts)

    def _opened(self, task: Task, info: VideoInfo, put: Callable[[Item], None]) -> Networks:
        """In the thread that reads: the networks for a task, those of the one before where they suit it."""
        if self._networks is None or self._key != _key(task, info):
            self._loading = _Load(task, info)
            put(self._loading)
            return self._loading.answer.result()
        return self._networks

    def _load(self, load: _Load) -> None:
        try:
            self._networks = open_networks(load.task.job, load.info, load.task.size)
        except UpscaleError as error:
            load.answer.set_exception(error)
            return
        self._key = _key(load.task, load.info)
        load.answer.set_result(self._networks)

    def _stop_loading(self) -> None:
        """Unblock the thread that reads, if it waits for networks."""
        if self._loading is not None:
            self._loading.answer.cancel()


def _key(task: Task, info: VideoInfo) -> object:
    """What networks are opened for."""
    film = info.width, info.height, info.pixels, info.chroma_left, info.color.matrix
    return *film, task.size, task.job.sample, task.job.color


def _is_over(segment: Segment, frame: Frame) -> bool:
    return segment.stretch.end is not None and frame.pts >= segment.stretch.end


def _open_writer(begin: _Begin) -> PieceWriter:
    task = begin.run.task
    path = segment_path(task.folder, begin.segment.number)
    try:
        return PieceWriter(path, task.tracks, task.size)
    except (av.FFmpegError, ValueError) as error:
        names = " or ".join(dict.fromkeys(track.encoder.codec for track in task.tracks))
        raise UpscaleError(f"{names} cannot encode this ({error})") from error
