"""What a campaign has written down of itself: a JSON object a line, one a minute and one a validation.

A line that a kill cut short is skipped, and the next one begins behind it. Steps that were done again after
a kill stand there twice; the later line counts.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from upscale.jobs.journal import append, open_journal, read_journal

FILE = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """How far a stage was at a time."""

    stage: str
    step: int
    steps: int
    time: float
    """Seconds since 1970."""
    loss: float | None = None
    """The mean since the entry before."""
    seconds: float | None = None
    """For a step, since the entry before."""
    validation: dict[str, float] | None = None
    """dB, where it was measured."""
    score: float | None = None
    """The one of them that decides."""

    def line(self, campaign: str) -> str:
        """For people who read a log."""
        parts = [f"{time.strftime('%F %T', time.localtime(self.time))}  {campaign} {self.stage}"]
        parts.append(f"step {self.step}/{self.steps}")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4f}")
        if self.seconds is not None:
            parts.append(f"{self.seconds:.3f} s a step")
        parts += [f"{name} {value:.3f} dB" for name, value in (self.validation or {}).items()]
        return "  ".join(parts)


class Journal:
    """The file, open for more."""

    def __init__(self, folder: Path):
        self._file = open_journal(folder / FILE)

    def note(self, entry: Entry) -> None:
        append(self._file, asdict(entry))

    def close(self) -> None:
        self._file.close()


def read(folder: Path) -> list[Entry]:
    """All entries, in the order in which they were made, without those of steps that were done again."""
    latest: dict[tuple[str, int], Entry] = {}
    for entry in _lines(folder / FILE):
        latest.pop((entry.stage, entry.step), None)
        latest[entry.stage, entry.step] = entry
    return list(latest.values())


def _lines(path: Path) -> Iterator[Entry]:
    for record in read_journal(path):
        with contextlib.suppress(TypeError):  # a part of a line that was cut short by a kill
            yield Entry(**record)
