"""Films as one queue of segments: opened when their turn comes, and joined when all of them are done."""

import contextlib
import errno
import json
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from upscale import __version__
from upscale.errors import DiskFullError, UpscaleError
from upscale.jobs.join import check_fit, join
from upscale.jobs.segments import WHOLE, Segment, cut
from upscale.jobs.work import Event, Fault, FramesDone, SegmentDone, Task
from upscale.jobs.workspace import Workspace, fingerprint, segment_path
from upscale.media.pipe import STANDARD, is_piped
from upscale.media.read.index import index_film
from upscale.models.catalog import find_model, weights_digest
from upscale.motion.findings import Findings
from upscale.pipeline import (
    Job,
    Plan,
    Step,
    Summary,
    check_overwriting,
    context_of,
    prepared,
    tell_unlike,
    ticks_of_a_frame,
)

ATTEMPTS = 3
"""Workers that a task may cost."""

NOT_OF_THE_FRAMES = ("source", "target", "map", "overwrite", "strict", "restart")
"""Options of a job that do not change the frames: they may differ when a run is resumed."""

OF_THE_MACHINE = ("threads", "memory", "batch", "tile")
"""Options of the sampling of which the same is true."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class Film:
    """A film that is being worked on."""

    number: int
    job: Job
    plan: Plan
    workspace: Workspace
    fingerprint: dict[str, Any]
    """Of the source."""
    segments: list[Segment]
    records: dict[int, dict[str, Any]]
    began: float
    exits: contextlib.ExitStack
    resumed: int = 0
    """Frames that an earlier run has done."""
    finished: int = 0
    """Frames of the segments that are finished, those of an earlier run among them."""
    begun: dict[int, int] = field(default_factory=dict)
    """Frames that are encoded of segments that are not finished."""
    last: FramesDone | None = None
    """What was told last."""

    @property
    def done(self) -> int:
        """Frames that are encoded."""
        return self.finished + sum(self.begun.values())

    @property
    def step(self) -> Step:
        """How far it is."""
        at, limit = (0.0, "") if self.last is None else (self.last.at, self.last.limit)
        return Step(self.done, at, limit)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a film ended."""

    number: int
    job: Job
    summary: Summary | None = None
    error: UpscaleError | None = None
    fingerprint: dict[str, Any] = field(default_factory=dict)
    """Of the source, when it was opened."""


@dataclass(slots=True)
class Hooks:
    """Whom to tell of what; in any thread, one call at a time."""

    opened: Callable[[Film], None] = lambda film: None
    progress: Callable[[Film], None] = lambda film: None
    joining: Callable[[Film], None] = lambda film: None
    """All segments are finished, and become the film now."""
    ended: Callable[[Outcome], None] = lambda outcome: None


def goes_in_one(plan: Plan) -> bool:
    """Whether a film is made in one go: from or into a pipe, of a single picture, or because asked to."""
    job = plan.job
    piped = is_piped(job.source) or job.target == STANDARD
    one = plan.summary.info.is_picture or plan.destinations[0].holds_one_picture
    return piped or one or job.segment == 0


@dataclass(slots=True)
class Queue:
    """Hands out tasks and takes what comes of them; in any thread."""

    jobs: Iterator[Job]
    """Taken from as the work goes on."""
    hooks: Hooks = field(default_factory=Hooks)
    _films: dict[int, Film] = field(default_factory=dict)
    _tasks: deque[Task] = field(default_factory=deque)
    _count: int = 0
    _lock: Any = field(default_factory=threading.RLock)

    def take(self) -> Task | None:
        """The next task, of a film that is opened for it if need be; None where there is none now."""
        with self._lock:
            while not self._tasks:
                job = next(self.jobs, None)
                if job is None:
                    return None
                self._open(job)
            return self._tasks.popleft()

    def tasks(self) -> Iterator[Task]:
        """All tasks, as they are taken."""
        while (task := self.take()) is not None:
            yield task

    def tell(self, event: Event) -> None:
        """What has come of a task."""
        if isinstance(event, Fault):
            raise RuntimeError(event.traceback)
        with self._lock:
            film = self._films.get(event.film)
            if film is None:  # it has failed meanwhile
                return
            if isinstance(event, FramesDone):
                film.begun[event.segment] = film.begun.get(event.segment, 0) + event.frames
                film.last = event
                self.hooks.progress(film)
            elif isinstance(event, SegmentDone):
                film.records[event.segment] = event.record
                film.begun.pop(event.segment, None)
                film.finished += event.record["frames"]
                self._join_if_done(film)
            elif event.error is not None:
                self._fail(film, event.error)

    def give_back(self, task: Task) -> None:
        """A task that was taken, and not begun."""
        with self._lock:
            if task.film in self._films:
                self._tasks.appendleft(task)

    def died(self, task: Task) -> None:
        """The worker of a task is gone: it is tried again, with less memory, in which tiles are smaller."""
        with self._lock:
            film = self._films.get(task.film)
            if film is None:
                return
            left = tuple(segment for segment in task.segments if segment.number not in film.records)
            for segment in left:
                film.begun.pop(segment.number, None)
            if not left:
                return
            attempt = task.attempt + 1
            if attempt >= ATTEMPTS:
                where = left[0].number + 1
                self._fail(
                    film,
                    UpscaleError(
                        f"{film.job.source}: segment {where} of {len(film.segments)} crashed its worker"
                        f" {attempt} times, perhaps for lack of memory; try --workers 1, or --memory 1G"
                    ),
                )
                return
            self._tasks.appendleft(replace(task, segments=left, attempt=attempt))

    def close(self) -> None:
        """Nothing will be done any more; what is finished of films stays, to be resumed."""
        with self._lock:
            for film in self._films.values():
                film.exits.close()
            self._films.clear()
            self._tasks.clear()

    @property
    def kept(self) -> list[str]:
        """What there is to go on from, a line for each film."""
        return [
            f"{len(film.records)} of {len(film.segments)} segments of {film.job.target} are kept"
            for film in self._films.values()
            if film.records
        ]

    @property
    def unkept(self) -> list[str]:
        """The films that were begun, and of which no segment is finished yet."""
        return [
            f"no segment of {film.job.target} was finished, so the next run begins anew"
            for film in self._films.values()
            if film.begun and not film.records
        ]

    def _open(self, job: Job) -> None:
        number, self._count = self._count, self._count + 1
        with contextlib.ExitStack() as exits:
            try:
                film = _opened(number, job, exits)
            except (UpscaleError, OSError) as error:
                self.hooks.ended(Outcome(number, job, error=_told(error, job)))
                return
            film.exits = exits.pop_all()
        self._films[number] = film
        plan = film.plan
        self.hooks.opened(film)
        left = [segment for segment in film.segments if segment.number not in film.records]
        jumps = all(segment.stretch.jump for segment in film.segments[1:])
        groups = [(segment,) for segment in left] if jumps else ([tuple(left)] if left else [])
        for group in groups:
            self._tasks.append(
                Task(
                    number,
                    plan.job,
                    plan.tracks,
                    plan.summary.size,
                    group,
                    film.workspace.path,
                    film.fingerprint,
                )
            )
        self._join_if_done(film)

    def _join_if_done(self, film: Film) -> None:
        if len(film.records) < len(film.segments):
            return
        records = [film.records[segment.number] for segment in film.segments]
        paths = [segment_path(film.workspace.path, segment.number) for segment in film.segments]
        self.hooks.joining(film)
        try:
            _check_room(film, sum(record["bytes"] for record in records))
            notes = join(film.plan, paths, records)
        except (UpscaleError, OSError) as error:
            self._fail(film, error)
            return
        summary = film.plan.summary
        _add_up(summary, records)
        summary.warnings += notes
        summary.seconds = time.monotonic() - film.began
        summary.segments, summary.resumed = len(film.segments), film.resumed
        outcome = Outcome(film.number, film.job, summary, fingerprint=film.fingerprint)
        self._end(film, outcome, clear=True)

    def _fail(self, film: Film, error: Exception) -> None:
        """End a film. Its segments stay: another run, with --strict left out or more memory, may go on with
        them."""
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            error = DiskFullError(_lacking(film))
        outcome = Outcome(film.number, film.job, error=_told(error, film.job))
        self._end(film, outcome, clear=not film.finished)

    def _end(self, film: Film, outcome: Outcome, clear: bool) -> None:
        """``clear`` says that nobody will go on from the film's segments."""
        self._tasks = deque(task for task in self._tasks if task.film != film.number)
        del self._films[film.number]
        with film.exits:
            try:
                # Before anything is removed, which takes its time: a kill there is to find the film noted.
                self.hooks.ended(outcome)
            finally:
                if clear:
                    film.workspace.clear()


def _opened(number: int, job: Job, exits: contextlib.ExitStack) -> Film:
    began = time.monotonic()
    plan = exits.enter_context(prepared(job))
    job, info = plan.job, plan.summary.info
    workspace = exits.enter_context(Workspace(job.target))
    if job.map is not None:
        exits.enter_context(Workspace(job.map))
    check_overwriting(job)  # now that nobody else can
    check_fit(plan)
    index = index_film(plan.source)
    part = plan.source.part(job.start, job.duration)
    tick = info.time_base
    typical = ticks_of_a_frame(info.average_rate, tick)
    shift = round(part.shift / tick)
    first = round(part.begin / tick) if part.shift else -(1 << 62)
    last = None if part.end is None else round(part.end / tick)
    frames = max(round(job.segment / (typical * tick)), 1)
    if job.read.detelecine:  # which counts frames from the beginning
        index = replace(index, exact=False)
    segments = [WHOLE]
    if job.segment:
        segments = cut(index, first, last, shift, typical, frames, context_of(job))
    crop = str(plan.source.crop) if plan.source.crop is not None else "off"
    job = replace(job, read=replace(job.read, crop=crop))
    plan = replace(plan, job=job)
    source = fingerprint(job.source)
    records = workspace.begin(_identity(plan, source, segments), job.restart)
    records = {n: record for n, record in records.items() if n < len(segments)}
    done = sum(record["frames"] for record in records.values())
    return Film(
        number,
        job,
        plan,
        workspace,
        fingerprint=source,
        segments=segments,
        records=records,
        began=began,
        exits=exits,
        resumed=done,
        finished=done,
    )


def _told(error: Exception, job: Job) -> UpscaleError:
    """An error as a line for the user."""
    if isinstance(error, UpscaleError):
        return error
    if isinstance(error, OSError):
        if error.errno in NO_ROOM:
            return DiskFullError(
                f"{job.target}: the disk is full; make room, and give the same command again"
            )
        return UpscaleError(f"{job.target}: {error.strerror or error}")
    return UpscaleError(f"{job.target}: cannot be written ({error})")


def options_of(job: Job) -> dict[str, Any]:
    """The options that the frames of a job depend on."""
    options = {key: value for key, value in asdict(job).items() if key not in NOT_OF_THE_FRAMES}
    options["color"] = job.color.identity()
    options["sample"] = {k: v for k, v in options["sample"].items() if k not in OF_THE_MACHINE}
    return options


def asked_of(job: Job) -> dict[str, Any]:
    """Those of ``options_of`` that differ from the defaults, as JSON has them: these can be compared with
    what another version, which has other options and other defaults, was asked for."""
    plain = options_of(Job(job.source, job.target))

    def differing(own: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for key, value in own.items():
            if isinstance(value, dict) and isinstance(default[key], dict):
                value = differing(value, default[key]) or default[key]
            if value != default[key]:
                found[key] = value
        return found

    asked: dict[str, Any] = json.loads(json.dumps(differing(options_of(job), plain), default=str))
    return asked


def _identity(plan: Plan, source: dict[str, Any], segments: Iterable[Segment]) -> dict[str, Any]:
    """All that the frames of a film depend on."""
    job = plan.job
    return {
        "version": __version__,
        "input": source,
        "options": options_of(job),
        "encoders": [asdict(track.encoder) for track in plan.tracks],
        "size": plan.summary.size,
        "weights": weights_digest(find_model(job.sample.model), job.color.wanted),
        "segments": [asdict(segment.stretch) for segment in segments],
    }


def _check_room(film: Film, needed: int) -> None:
    """Raises DiskFullError where the joined film has no place beside its segments."""
    free = shutil.disk_usage(film.workspace.path).free
    if free < needed:
        raise DiskFullError(_lacking(film))


def _lacking(film: Film) -> str:
    """How much room a film wants, by what its segments took so far."""
    path = film.workspace.path
    done = sum(record["bytes"] for record in film.records.values())
    frames = sum(record["frames"] for record in film.records.values())
    free = shutil.disk_usage(path).free
    kept = f"{len(film.records)} of {len(film.segments)} segments are kept"
    told = f"{kept}; make room, and the same command goes on"
    expected = max(film.plan.summary.expected or 0, film.done)
    if not frames:
        return f"{film.job.target}: the disk is full; {told}"
    whole = done * max(expected, frames) / frames
    lacking = max(2 * whole - done - free, 1 << 20)  # the segments, and then the film beside them
    return f"{film.job.target}: the disk is full, by about {lacking / 1e6:.0f} MB; {told}"


def _add_up(summary: Summary, records: Iterable[dict[str, Any]]) -> None:
    unlike: set[int] = set()  # a shot may reach over several segments
    for record in records:
        unlike |= set(record["unlike"])
        summary.found.append(Findings.read(record["found"]))
        summary.reused += record["reused"]
        summary.reused_tiles += record["reused_tiles"]
        for stage, seconds in record["busy"].items():
            summary.stages.busy[stage] += seconds
    summary.warnings += tell_unlike(unlike)
