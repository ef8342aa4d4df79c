"""What a campaign is: a file that says what is to be trained, from what, in which stages, for how long.

    [training]                     # what every stage that trains has, unless it says otherwise
    lessons = ["$PHOTOS/train"]    # variables are the environment's
    validation = ["$PHOTOS/validation"]
    kind = "luma"                  # this and most of the rest: see TrainOptions

    [[stage]]                      # one after the other
    name = "first"                 # of its files, and for later stages
    steps = 20000

    [[stage]]
    name = "second"
    initial = ["first"]            # weights to begin with: of earlier stages, or files
    ships = "clean-x4-luma"        # in weights/, by `campaign harvest`; stages may share one
    steps = 100000

``task = "shards"`` or ``"judge"`` makes a stage another entry of ``TASKS``.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from upscale.errors import UpscaleError, UsageError
from upscale.lab.campaign.tasks import TASKS, Task

PLACE = "UPSCALE_CAMPAIGNS"
"""The environment variable that says where campaigns keep their work. In a campaign's file it is that place
even if ``--place`` says so: ``$UPSCALE_CAMPAIGNS/film-shards/scenes`` is a result of another one."""

NAME = re.compile(r"\w[^/]*")
"""Of a stage."""

DEFAULT_PLACE = "~/.local/share/upscale/campaigns"


@dataclass(frozen=True, slots=True)
class Campaign:
    """Read from a file; ``folder`` is where its checkpoints, weights and journal are."""

    name: str
    folder: Path
    stages: tuple[Task, ...]
    calibration: Path | None = None
    """Pictures or shards: what networks for luma are calibrated on when they are harvested."""

    @classmethod
    def read(cls, path: Path, place: Path | None = None, needs_data: bool = True) -> "Campaign":
        """Of the file ``path``, with its work in ``place``, else where $UPSCALE_CAMPAIGNS says.

        Unless it ``needs_data``, variables that the environment lacks may stay in paths. Raises
        UsageError, which names the file, for what cannot be read or makes no sense."""
        try:
            content = tomllib.loads(path.read_text())
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise UsageError(f"{path}: not TOML ({error})") from error
        folder = Path(place or os.environ.get(PLACE) or DEFAULT_PLACE).expanduser() / path.stem
        try:
            return cls._of(path.stem, content, folder, needs_data)
        except UpscaleError as error:
            raise UsageError(f"{path}: {error}") from error

    @classmethod
    def _of(cls, name: str, content: dict[str, Any], folder: Path, needs_data: bool) -> "Campaign":
        tables = content.pop("stage", [])
        calibration = content.pop("calibration", None)
        training = content.pop("training", {})
        if content:
            raise UsageError(f"unknown key {min(content)!r}")
        if not isinstance(training, dict) or not isinstance(tables, list):
            raise UsageError("[training] is one table, and every [[stage]] has two brackets on each side")
        stages: dict[str, Task] = {}
        for table in tables:
            if table.setdefault("task", "train") == "train":
                table = {**training, **table}
            stage = _stage(table, Lookup(folder, stages, needs_data))
            if stage.name in stages:
                raise UsageError(f"two stages are called {stage.name!r}")
            stages[stage.name] = stage
        if not stages:
            raise UsageError("there is no [[stage]]")
        at = None if calibration is None else Lookup(folder, stages, needs_data).path(calibration)
        return cls(name, folder, tuple(stages.values()), at)

    def since(self, name: str, weights: Path) -> "Campaign":
        """From the stage ``name`` on. What it takes of earlier ones whose files are gone is what ships of
        them in the folder ``weights``. Raises UsageError if there is no such stage."""
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise UsageError(f"no stage is called {name!r}; there are {', '.join(names)}")
        number = names.index(name)
        shipped = {
            candidate.path: weights / f"{candidate.name}.safetensors"
            for stage in self.stages[:number]
            for candidate in stage.candidates
            if not candidate.path.exists()
        }
        return replace(self, stages=tuple(stage.with_files(shipped) for stage in self.stages[number:]))


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the texts in a campaign's file stand for."""

    folder: Path
    stages: Mapping[str, Task]
    """Those before."""
    needs_data: bool = True

    def path(self, text: str) -> Path:
        """Of an earlier stage what it makes, else a path with the environment's variables filled in."""
        if not isinstance(text, str):
            raise UsageError(f"{text!r} should be a text, the name of a stage or a path")
        if text in self.stages:
            return self.stages[text].result
        expanded = os.path.expandvars(text.replace(f"${PLACE}", str(self.folder.parent)))
        if self.needs_data and "$" in expanded:
            raise UsageError(f"{text}: this variable is not set in the environment")
        return Path(expanded).expanduser()

    def paths(self, texts: Sequence[str]) -> tuple[Path, ...]:
        if isinstance(texts, str):
            raise UsageError(f"{texts!r} should be a list of texts, in brackets")
        return tuple(map(self.path, texts))


def _stage(table: dict[str, Any], lookup: Lookup) -> Task:
    task = table.pop("task")
    name = table.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError("every [[stage]] needs a name, which is part of the names of its files")
    if not isinstance(task, str) or task not in TASKS:
        raise UsageError(f"stage {name!r}: no task is called {task!r}; there are {', '.join(TASKS)}")
    try:
        stage: Task = TASKS[task].read(table, lookup.folder, lookup)
    except KeyError as error:
        raise UsageError(f"stage {name!r}: {error.args[0]} is needed") from error
    except TypeError as error:
        raise UsageError(f"stage {name!r}: {error}") from error
    return stage
