"""What a person sees while the work goes on: a bar on a terminal, plain lines in a log. All on stderr."""

import json
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

LOG_EVERY = 100
"""Training steps between two lines in a log."""


class TrainingProgress:
    """Loss and validation of a training run."""

    def __init__(self, steps: int):
        self._console = Console(stderr=True)
        self._steps = steps
        self._bar = Progress(
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

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, step: int, loss: float, seconds: float, scores: dict[str, float] | None) -> None:
        """Show what a step reports; the loss is shown as its mean since the last line, scores are in dB."""
        self._sum += loss
        self._count += 1
        mean = self._sum / self._count
        self._bar.update(self._task, completed=step, loss=mean)
        if not scores and step % LOG_EVERY:
            return
        if scores or not self._console.is_terminal:
            said = ", ".join(f"{name} {value:.3f} dB" for name, value in (scores or {}).items())
            line = f"step {step}/{self._steps}  loss {mean:.4f}  {seconds:.0f} s  {said}"
            self._console.print(line.rstrip(), soft_wrap=True, highlight=False)
        self._sum, self._count = 0.0, 0


class FilmProgress:
    """Frames done of one film. ``style`` is auto (a bar on a terminal, else nothing), bar, json or none."""

    def __init__(self, name: str, frames: int | None, style: str):
        console = Console(stderr=True)
        if style == "auto":
            style = "bar" if console.is_terminal else "none"
        self._json = style == "json"
        self._frames = frames
        self._name, self._resumed = name, 0
        self._began = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames"),
            FramesPerSecond(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=style != "bar",
        )
        self._task = self._bar.add_task(name, total=frames)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: int) -> None:
        """Show that ``done`` frames are written."""
        self._bar.update(self._task, completed=done)
        if self._json:
            seconds = time.monotonic() - self._began
            fps = (done - self._resumed) / seconds if seconds else 0.0
            tell_json("progress", file=self._name, frames=done, of=self._frames, seconds=seconds, fps=fps)

    def resume(self, done: int) -> None:
        """Show that an earlier run has done so many; they do not count for the speed."""
        self._resumed = done
        self._bar.reset(self._task, completed=done, total=self._frames)


class FolderProgress:
    """A folder of films: a bar for all of them, by the pixels that each has, and one for the film at hand.

    The time that is left is told by the speed so far, over the last ten minutes, in which what an earlier
    run has done does not count. ``style`` is as of ``FilmProgress``."""

    def __init__(self, films: int, work: float, style: str):
        console = Console(stderr=True)
        if style == "auto":
            style = "bar" if console.is_terminal else "none"
        self._json = style == "json"
        self._films, self._ended = films, 0
        self._began = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=style != "bar",
            speed_estimate_period=600,
        )
        self._all = self._bar.add_task("folder", total=work or None, told=f"0 of {films} films")
        self._film = self._bar.add_task("", total=None, told="")
        self._done = 0.0
        """Work of the films that have ended."""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, name: str, work: float, done: int, resumed: int, frames: int | None) -> None:
        """Show that ``done`` frames of ``frames`` of a film are encoded, ``resumed`` of them before."""
        share = min(done / frames, 1.0) if frames else 0.0
        if self._bar.tasks[self._film].description != name:
            self._bar.reset(self._film, description=name, total=frames, completed=resumed)
        self._bar.update(self._film, completed=done, told=f"{done} of {frames or '?'} frames")
        self._bar.update(self._all, completed=self._done + work * share)
        if self._json:
            seconds = time.monotonic() - self._began
            tell_json("progress", file=name, frames=done, of=frames, seconds=seconds)

    def end(self, work: float) -> None:
        """A film has ended."""
        self._done += work
        self._ended += 1
        self._bar.update(self._all, completed=self._done, told=f"{self._ended} of {self._films} films")


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
