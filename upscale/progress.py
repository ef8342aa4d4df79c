"""What a person sees while the work goes on: a bar on a terminal, plain lines in a log. All on stderr."""

import json
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
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
            report = {"frames": done, "of": self._frames, "seconds": seconds, "fps": done / seconds}
            sys.stderr.write(json.dumps(report) + "\n")


class FramesPerSecond(ProgressColumn):
    """The speed of a task, over the last half minute."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f} fps" if task.speed else "– fps")
