"""A folder of films: which there are, where each goes, which are done already, and what became of them."""

import contextlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from upscale import __version__
from upscale.errors import UpscaleError, UsageError
from upscale.jobs.journal import append, open_journal, read_journal
from upscale.jobs.queue import Outcome, asked_of
from upscale.jobs.workspace import clear_left_behind, content_of, fingerprint, is_like
from upscale.media.picture import SUFFIXES as PICTURES
from upscale.media.pipe import STANDARD
from upscale.media.read.source import Source
from upscale.media.write.destination import CONTAINERS
from upscale.media.write.place import KEPT_SUFFIXES, check_folder, check_small, is_part_of
from upscale.models.catalog import FOR_VIDEO, find_model, weights_digest
from upscale.pipeline import Job

FILMS = set(CONTAINERS) | {
    ".3gp", ".divx", ".dv", ".f4v", ".flv", ".mjpg", ".rm", ".rmvb", ".vob",
}  # fmt: skip
"""Suffixes of what is a film, or a damaged one; whatever else can be read as one is taken too."""

OTHERWISE = ".mkv"
"""What sources become whose outputs have another suffix: it holds everything."""

FINISHED = ".upscale-finished.jsonl"
"""In the output folder: a line for each film that was finished."""

STATUSES = ("done", "skipped", "failed")

TEXT = "tty"
"""FFmpeg's name of the demuxer that makes pictures of letters: a film's .nfo is no film."""


@dataclass(slots=True)
class Entry:
    """One film of a folder."""

    source: Path
    target: Path
    work: float = 0.0
    """Input pixels of all frames, as far as the container tells: what it will cost, more or less."""
    job: Job | None = None
    """What was to be done, as it was asked for."""
    status: str | None = None
    reason: str | None = None
    frames: int = 0
    seconds: float = 0.0
    damaged: bool = False
    """Whether anything of it could not be read."""
    lost: int = 0
    """Frames that could not."""
    state: tuple[int, int] | None = None
    """Size and time of the source when it was found."""

    def as_dict(self) -> dict[str, Any]:
        """For the report; bytes and seconds."""
        return {
            "input": str(self.source),
            "output": str(self.target),
            "status": self.status,
            "reason": self.reason,
            "damaged": self.damaged,
            "frames": self.frames,
            "lost_frames": self.lost,
            "seconds": round(self.seconds, 3),
            "input_bytes": _size(self.source),
            "output_bytes": _size(self.target) if self.status != "failed" else None,
        }


@dataclass(slots=True)
class Folder:
    """The films below ``source``, and those that they become below ``target``."""

    source: Path
    target: Path
    suffix: str = ""
    """What is added to the names of outputs, before the extension."""
    ext: str | None = None
    """The extension of outputs; None keeps what can be kept."""
    entries: list[Entry] = field(default_factory=list)
    tell: Callable[[str], None] = lambda message: None
    """Called with what the user should know."""
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """Files that were looked at, with their size and time then."""
    _others: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """Those of them that are no films."""

    _owners: dict[str, str] = field(default_factory=dict)
    """Folded names of outputs -> the names of their inputs, below ``source``."""
    _list: tuple[tuple[int, int] | None, dict[str, dict[str, Any]]] = (None, {})
    """The list of finished films as it was read last, with its size and time then."""

    def __post_init__(self) -> None:
        """Raises UsageError for an output folder that cannot be one."""
        if self.target == STANDARD:
            raise UsageError("a folder of films becomes a folder, not a pipe; give OUTPUT the name of one")
        inside, outside = self.target.resolve(), self.source.resolve()
        if self.target.exists() and not self.target.is_dir():
            raise UsageError(f"{self.target}: is no folder; a folder of films becomes a folder")
        check_folder(self.target)
        if inside == outside or outside in inside.parents:
            raise UsageError(f"{self.target}: lies in the folder that is read; choose another")
        if self.ext is not None and f".{self.ext.lstrip('.')}".lower() not in CONTAINERS:
            raise UsageError(f"no container is called {self.ext!r}; try --ext mp4, or mkv")

    def check_report(self, path: Path, overwrite: bool) -> None:
        """Raises UsageError or UpscaleError for a report that cannot be written, or would replace anything
        but what an earlier run has reported of this folder."""
        overwrite = overwrite or self._is_report(path)
        check_small(path, overwrite, [self.source], made=self.target)

    def _is_report(self, path: Path) -> bool:
        try:
            told = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(told, dict) and told.get("input") == str(self.source) and "films" in told

    def look(self, settle: bool = False) -> list[Entry]:
        """The films that earlier calls have not returned yet, or that have changed, in natural order.

        With ``settle`` a file counts only when it has not changed since the last look: one that still grows
        is waited for."""
        new = []
        known = {entry.source: entry for entry in self.entries}
        finished = self._finished()
        for name, record in finished.items():
            self._owners.setdefault(folded(name), str(record.get("input")))
        for path in self._files(self.source):
            try:
                status = path.stat()
            except OSError:  # gone meanwhile
                continue
            state = status.st_size, status.st_mtime_ns
            before, self._seen[path] = self._seen.get(path), state
            entry = known.get(path)
            if state in (self._others.get(path), entry and entry.state) or (settle and before != state):
                continue
            work = _work(path)
            if work is None and path.suffix.lower() not in FILMS:
                self._others[path] = state
                continue
            target = self._target_of(path, finished) if entry is None else entry.target
            known[path] = Entry(path, target, work or 0.0, state=state)
            new.append(known[path])
        self.entries = [entry for entry in self.entries if known[entry.source] is entry] + new
        return new

    def jobs(self, entries: list[Entry], job: Job, skip_existing: bool) -> Iterator[tuple[Entry, Job]]:
        """What is to be done of ``entries``: ``job`` with each one's names. The others are marked."""
        finished = self._finished()
        for entry in entries:
            one = entry.job = replace(job, source=entry.source, target=entry.target)
            try:
                if is_part_of(entry.target, self.source):
                    what = "lies in the folder that is read; choose another OUTPUT"
                    entry.status, entry.reason = "failed", f"{entry.target}: {what}"
                elif entry.target.exists() and skip_existing:
                    entry.status, entry.reason = "skipped", "the output exists"
                elif (differs := self._finished_how(entry, one, finished)) is None:
                    entry.target.parent.mkdir(parents=True, exist_ok=True)
                    yield entry, one
                elif job.restart:  # our own work, which is to be made anew
                    yield entry, replace(one, overwrite=True)
                else:
                    clear_left_behind(entry.target)
                    entry.status = "skipped"
                    entry.reason = f"an earlier run has finished it{differs}"
            except OSError as error:
                entry.status, entry.reason = "failed", f"{error.filename or entry.source}: {error.strerror}"

    def begin(self, entry: Entry) -> None:
        """Work on an entry has begun."""
        entry.status = "interrupted"  # until it has ended

    def note(self, entry: Entry, outcome: Outcome) -> None:
        """Keep what became of an entry."""
        assert entry.job is not None
        if outcome.summary is None:
            entry.status, entry.reason = "failed", str(outcome.error)
            with contextlib.suppress(OSError):
                if self._finished_how(entry, entry.job, self._finished()) is not None:
                    entry.status, entry.reason = "skipped", "another run has finished it"
            return
        summary = outcome.summary
        entry.status, entry.frames, entry.seconds = "done", summary.frames, summary.seconds
        entry.damaged, entry.lost = summary.damaged, summary.lost
        entry.reason = "; ".join(summary.warnings) or None
        try:
            is_same = fingerprint(entry.source) == outcome.fingerprint
            content = content_of(entry.source) if is_same else None  # else it has changed meanwhile
            made = fingerprint(entry.target)
        except OSError as error:
            self.tell(f"{entry.source}: the next run will not know that it is done ({error.strerror})")
            return
        record = self._program(entry.job) | {
            "output": self._name(entry),
            "input": str(entry.source.relative_to(self.source)),
            "asked": asked_of(entry.job),
            "source": outcome.fingerprint,
            "content": content,
            "made": made,
        }
        self._append(record)

    def report(self) -> dict[str, Any]:
        """All entries, and how many ended how."""
        counts = {name: sum(entry.status == name for entry in self.entries) for name in STATUSES}
        return {
            "input": str(self.source),
            "output": str(self.target),
            **counts,
            "films": [entry.as_dict() for entry in self.entries],
        }

    def _target_of(self, path: Path, finished: dict[str, dict[str, Any]]) -> Path:
        inside = path.relative_to(self.source)
        ext = f".{self.ext.lstrip('.')}" if self.ext else path.suffix.lower()
        if self.ext is None and ext not in KEPT_SUFFIXES:
            ext = OTHERWISE
        target = self.target / inside.with_name(f"{path.stem}{self.suffix}{ext}")
        own, number = str(inside), 0
        while True:
            name = str(target.relative_to(self.target))
            is_ours = finished.get(name, {}).get("input") == own
            if is_ours or self._owners.setdefault(folded(name), own) == own:
                return target
            number += 1  # Tape.avi, tape.mpg and tape.MPG
            more = f"-{number}" if number > 1 else ""
            target = target.with_name(f"{path.name}{self.suffix}{more}{ext}")

    def _files(self, folder: Path) -> Iterator[Path]:
        """All files below a folder in natural order; not the hidden ones, nor what is no file."""
        try:
            found = sorted(folder.iterdir(), key=lambda path: (natural(path.name), path.name))
        except OSError as error:
            if folder == self.source:
                raise UpscaleError(f"{folder}: cannot be read ({error.strerror})") from error
            if folder not in self._others:
                self.tell(f"{folder}: cannot be read ({error.strerror}); left out")
                self._others[folder] = (0, 0)
            return
        for path in found:
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if not path.is_symlink():
                    yield from self._files(path)
            elif path.is_file():
                yield path

    def _name(self, entry: Entry) -> str:
        return str(entry.target.relative_to(self.target))

    def _finished(self) -> dict[str, dict[str, Any]]:
        """Name of an output -> its state when it was finished."""
        path = self.target / FINISHED
        try:
            state = path.stat().st_size, path.stat().st_mtime_ns
        except OSError:
            state = None
        if state is None or state != self._list[0]:
            found = (record for record in read_journal(path) if "output" in record)
            self._list = state, {str(record.pop("output")): record for record in found}
        return self._list[1]

    def _append(self, record: dict[str, Any]) -> None:
        try:
            with open_journal(self.target / FINISHED) as file:
                append(file, record)
        except OSError as error:
            self.tell(f"{self.target / FINISHED}: cannot be written ({error.strerror})")

    def _finished_how(self, entry: Entry, job: Job, finished: dict[str, dict[str, Any]]) -> str | None:
        """None unless the output stands there as a run has made it, of this input with these options. Else
        what is different now, to be added to that: nothing, or another version and the like.

        Raises OSError."""
        known = finished.get(self._name(entry))
        if known is None or not entry.target.exists() or known.get("asked") != asked_of(job):
            return None
        if not is_like(known.get("made"), fingerprint(entry.target)):
            return None
        differs = ""
        source, program = fingerprint(entry.source), self._program(job)
        if known.get("source") != source:
            if not is_like(known.get("source"), source) or known.get("content") != content_of(entry.source):
                return None
            differs += "; the input has another date, and the same content"
            # So that its content is read, and this is told, once.
            self._append({"output": self._name(entry), **known, "source": source})
        if known.get("version") != program["version"]:
            differs += f"; by version {known.get('version')} (--restart makes it anew)"
        elif known.get("weights") != program["weights"]:
            differs += "; by other weights (--restart makes it anew)"
        return differs

    def _program(self, job: Job) -> dict[str, str]:
        """What else an output depends on, which may change without making it wrong."""
        model = find_model(job.sample.model or FOR_VIDEO)
        return {"version": __version__, "weights": weights_digest(model, job.color.wanted)}


def natural(name: str) -> list[tuple[bool, int, str]]:
    """The key by which tape2 comes before tape10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def folded(name: str) -> str:
    """The same for names that are one file where letters have no case, or accents no form of their own. On
    all file systems, as a shelf may be copied to such a one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _work(path: Path) -> float | None:
    """Pixels of all frames of a film; None for what is none, or cannot be read."""
    if path.suffix.lower() in PICTURES:
        return None
    try:
        with Source(path) as source:
            info = source.info
            if info.is_picture or info.container == TEXT:
                return None
            return float(info.width * info.height * (info.expected_frames or 1))
    except (UpscaleError, OSError):
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
