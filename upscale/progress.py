"""What a person sees while the work goes on: a bar on a terminal, plain lines in a log. All on stderr."""

import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

MOST_POINTS = 1000
"""Of a ``Pace``."""

LOG_EVERY = 100
"""Training steps between two lines in a log."""


class Shown:
    """A bar that is on the screen while it is used as a context manager."""

    _bar: Bar
    _json = False

    def say(self, line: str) -> None:
        """Tell a line, above the bar if there is one."""
        if self._json:
            tell_json("warning", message=line)
        elif not self._bar.disable:
            self._bar.console.print(f"upscale: {line}", highlight=False, markup=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class Progress(Protocol):
    """How far a film is: see ``pipeline.Step``."""

    @property
    def frames(self) -> int: ...
    @property
    def at(self) -> float: ...
    @property
    def limit(self) -> str: ...


class TrainingProgress(Shown):
    """Loss and validation of a training run."""

    def __init__(self, steps: int):
        self._console = Console(stderr=True)
        self._steps = steps
        self._bar = Bar(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, loss=0.0)
        self._sum, self._count = 0.0, 0
        self._began = time.monotonic()

    def update(self, step: int, loss: float, scores: dict[str, float] | None) -> None:
        """Show what a step reports; the loss is shown as its mean since the last line, scores are in dB."""
        self._sum += loss
        self._count += 1
        mean = self._sum / self._count
        self._bar.update(self._task, completed=step, loss=mean)
        if not scores and step % LOG_EVERY:
            return
        if scores or not self._console.is_terminal:
            said = ", ".join(f"{name} {value:.3f} dB" for name, value in (scores or {}).items())
            seconds = time.monotonic() - self._began
            line = f"step {step}/{self._steps}  loss {mean:.4f}  {seconds:.0f} s  {said}"
            self._console.print(line.rstrip(), soft_wrap=True, highlight=False)
        self._sum, self._count = 0.0, 0


class Pace:
    """How far a run was at what time: few points, however long it takes."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.points: list[tuple[float, int]] = [(0.0, 0)]
        """Seconds since the beginning, and frames done by then."""
        self._every, self._count = 1, 0

    def note(self, done: int) -> None:
        """``done`` frames are done now."""
        self._count += 1
        if self._count % self._every:
            return
        self.points.append((time.monotonic() - self._began, done))
        if len(self.points) > MOST_POINTS:
            del self.points[1:-1:2]
            self._every *= 2


class FilmProgress(Shown):
    """Frames done of one film. ``style`` is auto (a bar on a terminal, else nothing), bar, json or none."""

    def __init__(self, name: str, frames: int | None, style: str):
        self._frames = frames
        self._name, self._resumed = name, 0
        self._began = time.monotonic()
        self._pace = Pace()
        counted = (
            MofNCompleteColumn(),
            TextColumn("frames"),
            FramesPerSecond(),
            TextColumn("{task.fields[told]}"),
        )
        self._bar, self._json = _bar(style, *counted, elapsed=False)
        self._task = self._bar.add_task(name, total=frames, left=None, told="loading")

    def update(self, step: Progress) -> None:
        """Show how far it is."""
        done = step.frames
        self._pace.note(done - self._resumed)
        seconds = time.monotonic() - self._began
        left = seconds_left(done, self._frames, self._resumed, seconds)
        self._bar.update(self._task, completed=done, left=left, told=_where(step))
        if self._json:
            fps = (done - self._resumed) / seconds if seconds else 0.0
            tell_json(
                "progress",
                file=self._name,
                frames=done,
                of=self._frames,
                seconds=round(seconds, 3),
                fps=round(fps, 3),
                left=_rounded(left),
                time=round(step.at, 3),
                limit=step.limit or None,
            )

    def stage(self, name: str) -> None:
        """Show what is done that is no frame."""
        self._bar.update(self._task, told=name)

    @property
    def pace(self) -> list[tuple[float, int]]:
        """How far this run was at what time: see ``Pace``."""
        return self._pace.points

    def resume(self, done: int) -> None:
        """Show that an earlier run has done so many; they do not count for the speed."""
        self._resumed = done
        self._bar.reset(self._task, completed=done, total=self._frames, left=None, told="loading")


class FolderProgress(Shown):
    """A folder of films: a bar for all of them, by the pixels that each has, and one for the film at hand.

    ``work`` is the pixels of all films that there are to do; ``style`` is as of ``FilmProgress``."""

    def __init__(self, films: int, work: float, style: str):
        self._films, self._ended, self._work = films, 0, work
        self._began = time.monotonic()
        self._bar, self._json = _bar(style, TextColumn("{task.fields[told]}"))
        told = f"0 of {films} films"
        self._all = self._bar.add_task("folder", total=work or None, told=told, left=None)
        self._film = self._bar.add_task("", total=None, told="", left=None)
        self._shown: Path | None = None
        """The film at hand."""
        self._done = 0.0
        """Work of the films that have ended."""
        self._open: dict[Path, tuple[float, float]] = {}
        """Films that were begun -> work that is done of them, and by an earlier run."""
        self._earlier = 0.0
        """What an earlier run has done of those that have ended."""

    def update(self, path: Path, work: float, step: Progress, resumed: int, frames: int | None) -> None:
        """Show how far a film of ``frames`` is, ``resumed`` of which were done before."""
        done = step.frames
        per_frame = work / frames if frames else 0.0
        self._open[path] = min(done * per_frame, work), min(resumed * per_frame, work)
        if self._shown != path:
            self._shown = path
            self._bar.reset(self._film, description=path.name, total=frames, completed=resumed)
        where = f", {_where(step)}" if step.limit else ""
        self._bar.update(self._film, completed=done, told=f"{done} of {frames or '?'} frames{where}")
        left = self._show()
        if self._json:
            tell_json(
                "progress",
                file=str(path),
                frames=done,
                of=frames,
                ended_films=self._ended,
                of_films=self._films,
                seconds=round(time.monotonic() - self._began, 3),
                left=_rounded(left),
            )

    def end(self, path: Path, work: float, is_done: bool) -> None:
        """A film has ended; one that has failed is no work any more."""
        _, before = self._open.pop(path, (0.0, 0.0))
        if is_done:
            self._done += work
            self._earlier += before
        else:
            self._work -= work
        self._ended += 1
        self._show()

    def _show(self) -> float | None:
        """Show all of the folder; answers with the seconds that are left."""
        done = self._done + sum(now for now, _ in self._open.values())
        earlier = self._earlier + sum(before for _, before in self._open.values())
        left = seconds_left(done, self._work, earlier, time.monotonic() - self._began)
        told = f"{self._ended} of {self._films} films"
        self._bar.update(self._all, completed=done, total=self._work or None, told=told, left=left)
        return left


def _where(step: Progress) -> str:
    """The time in the film, and what limits the speed."""
    limit = f", limit: {step.limit}" if step.limit else ""
    return f"at {timedelta(seconds=int(step.at))}{limit}"


def seconds_left(done: float, total: float | None, before: float, seconds: float) -> float | None:
    """How long the rest of ``total`` takes at the average speed so far, of ``done`` in ``seconds`` without
    what was done ``before``. None where nothing can be told yet."""
    if not total or done <= before:
        return None
    return max(total - done, 0.0) / (done - before) * seconds


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _bar(style: str, *columns: ProgressColumn, elapsed: bool = True) -> tuple[Bar, bool]:
    """A bar with ``columns`` behind it, and with the time since the beginning unless ``elapsed`` is false;
    and whether ``style`` is json. Nothing is shown unless it is ``bar``, or auto on a terminal."""
    console = Console(stderr=True)
    if style == "auto":
        style = "bar" if console.is_terminal else "none"
    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *columns,
        *([TimeElapsedColumn()] if elapsed else []),
        TimeLeft(),
        console=console,
        disable=style != "bar",
    )
    return bar, style == "json"


def print_table(report: Mapping[str, Any]) -> None:
    """What became of the films of a folder."""
    table = Table("film", "", "frames", "seconds", "", box=None, pad_edge=False)
    for film in report["films"]:
        name = os.path.relpath(film["input"], report["input"])
        cells = (name, film["status"] or "not begun", str(film["frames"] or ""))
        seconds = f"{film['seconds']:.0f}" if film["seconds"] else ""
        table.add_row(*map(escape, (*cells, seconds, film["reason"] or "")))
    console = Console(stderr=True)
    console.print(table)
    counts = ", ".join(f"{report[name]} {name}" for name in ("done", "skipped", "failed"))
    console.print(counts, highlight=False)


def tell_json(kind: str, **facts: object) -> None:
    """A line for a script, on stderr: an object with a ``type``."""
    sys.stderr.write(json.dumps({"type": kind, **facts}) + "\n")


class FramesPerSecond(ProgressColumn):
    """The speed of a task, over the last half minute."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f} fps" if task.speed else "– fps")


class TimeLeft(ProgressColumn):
    """The field ``left`` of a task, in seconds, as hours, minutes and seconds."""

    def render(self, task: Task) -> Text:
        left = task.fields["left"]
        return Text("" if left is None else f"{timedelta(seconds=round(left))} left")
