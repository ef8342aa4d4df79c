"""What a person sees while the work goes on: a bar on a terminal, plain lines in a log. All on stderr."""

import json
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

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

if TYPE_CHECKING:
    from upscale.lab.train import Progress as TrainingReport

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

    def update(self, report: "TrainingReport") -> None:
        """Show what a step reports; the loss is the mean since the last line."""
        self._sum += report.loss
        self._count += 1
        self._bar.update(self._task, completed=report.step, loss=self._sum / self._count)
        scores = ", ".join(f"{name} {value:.3f} dB" for name, value in (report.validation or {}).items())
        if scores or report.step % LOG_EVERY == 0:
            if scores or not self._console.is_terminal:
                loss = self._sum / self._count
                line = f"step {report.step}/{self._steps}  loss {loss:.4f}  {report.seconds:.0f} s"
                sys.stderr.write(f"{line}  {scores}".rstrip() + "\n")
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
