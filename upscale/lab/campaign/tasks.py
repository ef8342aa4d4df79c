"""What a stage of a campaign can be. To add a kind of stage is to add an entry to TASKS."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

from upscale.errors import UsageError
from upscale.lab.courses import COURSES, TrainOptions
from upscale.lab.scenes import Library, Sources
from upscale.lab.train import Places, Progress, steps_done, train


class Finder(Protocol):
    """Turns the texts of a campaign's file into paths: see ``plan.Lookup``."""

    def path(self, text: str) -> Path: ...

    def paths(self, texts: Sequence[str]) -> tuple[Path, ...]: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """Weights that may ship: see ``harvest``."""

    name: str
    """Theirs in ``weights/``, as clean-x4-luma."""
    path: Path
    validation: tuple[Path, ...]
    """What to measure them on."""


class Task(Protocol):
    """A stage."""

    name: str

    @classmethod
    def read(cls, table: dict[str, Any], folder: Path, finder: Finder) -> Self:
        """From its table in the campaign's file. Raises UsageError or TypeError for unknown keys."""

    @property
    def result(self) -> Path:
        """What later stages take of it: a file of weights, or a folder."""

    @property
    def steps(self) -> int:
        """How many there are to do."""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What of its results may ship, whether they are there yet or not."""

    def with_files(self, instead: Mapping[Path, Path]) -> Self:
        """With other files of weights to begin with, instead of some."""

    def done(self) -> int:
        """How many steps are done, by what is on the disk."""

    def score(self, validation: dict[str, float]) -> float:
        """Which of its measures tells whether weights are better than others."""

    def work(self) -> Iterator[Progress]:
        """Do the rest; may be closed between two steps, and loses little when it is killed."""


@dataclass(frozen=True, slots=True)
class Training:
    """A run of ``train``."""

    name: str
    folder: Path
    options: TrainOptions
    places: Places
    ships: str | None = None
    """The weights in ``weights/`` that its best are for."""

    @classmethod
    def read(cls, table: dict[str, Any], folder: Path, finder: Finder) -> Self:
        name = table.pop("name")
        lessons, validation, initial = (
            finder.paths(table.pop(key, [])) for key in ("lessons", "validation", "initial")
        )
        if not lessons or not validation:
            raise UsageError(f"stage {name!r}: lessons and validation are needed")
        ships = table.pop("ships", None)
        options = TrainOptions(**_of_types(name, table, asdict(TrainOptions())))
        if options.kind not in COURSES:
            raise UsageError(f"stage {name!r}: no network is of the kind {options.kind!r}")
        output, checkpoint, best = (
            folder / f"{name}{suffix}" for suffix in (".safetensors", ".checkpoint", ".best.safetensors")
        )
        places = Places(lessons, output, checkpoint, validation, initial, best)
        return cls(name, folder, options, places, ships)

    @property
    def result(self) -> Path:
        assert self.places.best is not None
        return self.places.best

    @property
    def steps(self) -> int:
        return self.options.steps

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        if self.ships is None:
            return ()
        return (Candidate(self.ships, self.result, tuple(self.places.validation)),)

    def with_files(self, instead: Mapping[Path, Path]) -> Self:
        initial = tuple(instead.get(path, path) for path in self.places.initial)
        return replace(self, places=replace(self.places, initial=initial))

    def done(self) -> int:
        return steps_done(self.places.checkpoint, self.options)

    def score(self, validation: dict[str, float]) -> float:
        return validation[COURSES[self.options.kind].decisive]

    def work(self) -> Iterator[Progress]:
        return train(self.options, self.places)


@dataclass(frozen=True, slots=True)
class Sharding:
    """Files of samples for film networks, each a step: see ``shards``."""

    name: str
    result: Path
    sources: Sources
    steps: int
    first: int = 0

    @classmethod
    def read(cls, table: dict[str, Any], folder: Path, finder: Finder) -> Self:
        found = {key: finder.path(table.pop(key)) for key in ("faces", "fonts") if key in table}
        photos, clips = (finder.paths(table.pop(key, [])) for key in ("photos", "clips"))
        without, name = table.pop("without", []), table.pop("name")
        if not isinstance(without, list):
            raise UsageError(
                f"stage {name!r}: without = {without!r} should be a list of texts, in brackets"
            )
        if not photos:
            raise UsageError(f"stage {name!r}: photos are needed")
        numbers = _of_types(name, table, {"steps": 1, "first": 0})
        return cls(
            name, folder / name, Sources(photos, clips=clips, without=tuple(without), **found), **numbers
        )

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return ()

    def with_files(self, instead: Mapping[Path, Path]) -> Self:
        return self

    def _files(self) -> list[Path]:
        return [
            self.result / f"{number:04d}.safetensors"
            for number in range(self.first, self.first + self.steps)
        ]

    def done(self) -> int:
        return sum(path.exists() for path in self._files())

    def work(self) -> Iterator[Progress]:
        from upscale.lab import shards

        self.result.mkdir(parents=True, exist_ok=True)
        library = Library(self.sources, shards.SIDE * 4 + 1)
        for step, _ in enumerate(shards.make_shards(library, self._files()), 1):
            yield Progress(step)


@dataclass(frozen=True, slots=True)
class Judging:
    """One judge for several film networks: see ``judging.teach_judge``. Begins anew after a kill."""

    name: str
    result: Path
    """A folder with the weights of the other stages, by their names, with the judge in them."""
    weights: tuple[Path, ...]
    lessons: Path
    validation: Path
    steps: int
    ships: tuple[str, ...] = ()
    """What each of ``weights`` is for, in ``weights/``; none is for anything where this is empty."""

    @classmethod
    def read(cls, table: dict[str, Any], folder: Path, finder: Finder) -> Self:
        paths: dict[str, Any] = {key: finder.path(table.pop(key)) for key in ("lessons", "validation")}
        weights, ships = finder.paths(table.pop("weights")), tuple(table.pop("ships", ()))
        name = table.pop("name")
        if ships and len(ships) != len(weights):
            raise UsageError(f"stage {name!r}: ships has another length than weights")
        numbers = _of_types(name, table, {"steps": 1})
        return cls(name, folder / name, weights, ships=ships, **paths, **numbers)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(
            Candidate(name, self.result / path.name, (self.validation,))
            for name, path in zip(self.ships, self.weights, strict=False)
        )

    def with_files(self, instead: Mapping[Path, Path]) -> Self:
        return replace(self, weights=tuple(instead.get(path, path) for path in self.weights))

    def done(self) -> int:
        return self.steps if self.result.exists() else 0

    def work(self) -> Iterator[Progress]:
        from upscale.lab.judging import teach_judge

        partial = self.result.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        copies = [Path(shutil.copy(path, partial / path.name)) for path in self.weights]
        for verdict in teach_judge(copies, self.lessons, self.validation, self.steps):
            yield Progress(verdict.step, verdict.taught)
        partial.rename(self.result)


def _of_types(stage: str, table: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    """The table, if its values are of the types of ``examples``, and counts at least 1 where those are;
    whole numbers are numbers too. Raises UsageError for those that are not, and for other keys."""
    for key, value in table.items():
        if key not in examples:
            raise UsageError(f"stage {stage!r}: unknown key {key!r}")
        wanted = type(examples[key])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise UsageError(f"stage {stage!r}: {key} = {value!r} should be of the type {wanted.__name__}")
        if wanted is int and value < min(examples[key], 1):
            raise UsageError(f"stage {stage!r}: {key} = {value} is too small")
    return table


TASKS: dict[str, type[Any]] = {"train": Training, "shards": Sharding, "judge": Judging}
"""What ``task`` may be in a stage's table -> what it makes of it."""
