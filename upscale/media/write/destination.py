"""Where a film goes: file, numbered pictures, standard output. Nothing half-done has a final name."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Protocol

import av

from upscale.errors import UsageError
from upscale.media.info import location
from upscale.media.picture import SUFFIXES, is_sequence, numbered, sequence_location
from upscale.media.pipe import STANDARD, OutputPipe, standard_output
from upscale.media.write.place import check_writable
from upscale.media.write.whole import short_name

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".m2ts": "mpegts",
    ".mts": "mpegts",
    ".m2t": "mpegts",
    ".nut": "nut",
    ".mpg": "mpeg",
    ".y4m": "yuv4mpegpipe",
    ".gif": "gif",
    ".wmv": "asf",
    ".asf": "asf",
    ".mxf": "mxf",
    ".264": "h264",
    ".h264": "h264",
    ".265": "hevc",
    ".h265": "hevc",
    ".hevc": "hevc",
    ".m2v": "mpeg2video",
    ".m1v": "mpeg1video",
    ".mpeg": "mpeg",
    ".ogv": "ogg",
}
"""Suffix -> FFmpeg's name of the container."""

PIPED = "nut"
"""What standard output gets unless one says otherwise: it takes everything, and is read without seeking."""


class Destination(Protocol):
    """Where a film goes, while it is made."""

    path: Path
    container: str
    """FFmpeg's name of the muxer."""
    holds_one_picture: bool

    def open(self) -> str | OutputPipe:
        """What FFmpeg is to write to."""

    def stop(self) -> None:
        """Unblock a thread that waits for the reader; its write raises InterruptedError."""

    def commit(self) -> str | None:
        """All is written: give it its final name. Answers with what there is to say of it."""

    def discard(self) -> None:
        """Leave nothing behind; what stood under the final name is as it was."""


class FileDestination:
    """A file, written into the work folder beside its final name and renamed at the end."""

    def __init__(self, path: Path, container: str):
        self.path, self.container = path, container
        self.holds_one_picture = container == "image2"
        self._final = path.resolve()  # what a link points to, not the link, is written
        self._folder = work_folder(path)
        self._beside = self._folder / f"film{path.suffix}"

    def open(self) -> str:
        self._folder.mkdir(exist_ok=True)
        return location(self._beside)

    def stop(self) -> None:
        """A write to a file does not wait."""

    def commit(self) -> str | None:
        sync_file(self._beside)
        self._beside.replace(self._final)
        _remove_if_empty(self._folder)
        return None

    def discard(self) -> None:
        self._beside.unlink(missing_ok=True)
        _remove_if_empty(self._folder)


class SequenceDestination:
    """Numbered pictures, written into a folder beside their final names and moved at the end."""

    holds_one_picture = False

    def __init__(self, path: Path):
        self.path, self.container = path, "image2"
        self._folder = work_folder(path)
        self._beside = self._folder / "pictures"

    def open(self) -> str:
        self._beside.mkdir(parents=True)
        return sequence_location(self._beside / self.path.name)

    def stop(self) -> None:
        """A write to a file does not wait."""

    def commit(self) -> str | None:
        made = sorted(self._beside.iterdir())
        for picture in made:
            picture.replace(self.path.parent / picture.name)
        self._beside.rmdir()
        _remove_if_empty(self._folder)
        older = numbered(self.path)[len(made) :]
        return f"{len(older)} pictures of an earlier sequence still stand beside these" if older else None

    def discard(self) -> None:
        shutil.rmtree(self._beside, ignore_errors=True)
        _remove_if_empty(self._folder)


class PipeDestination:
    """Standard output."""

    path = STANDARD
    holds_one_picture = False

    def __init__(self, container: str):
        self.container = container

    def open(self) -> OutputPipe:
        self._pipe = standard_output()
        return self._pipe

    def stop(self) -> None:
        self._pipe.stop()

    def commit(self) -> str | None:
        """What is written is gone."""
        return None

    def discard(self) -> None:
        """What is written is gone."""


def destination(path: Path, container: str | None = None) -> Destination:
    """Where ``path`` says, in ``container`` or the one that its suffix means.

    Raises UpscaleError or UsageError for what would stop us from writing there.
    """
    if path != STANDARD:
        check_writable(path)
    named = container or container_of(path)
    try:
        av.ContainerFormat(named, "w")
    except ValueError:
        what = repr(container or path.suffix)
        raise UsageError(f"{path}: no container is called {what}; try .mp4, .mkv or --format") from None
    if path == STANDARD:
        return PipeDestination(named)
    return SequenceDestination(path) if is_sequence(path) else FileDestination(path, named)


def container_of(path: Path) -> str:
    """FFmpeg's name of the container that a name asks for."""
    if path == STANDARD:
        return PIPED
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return "image2"
    return CONTAINERS.get(suffix, suffix.lstrip("."))


def work_folder(path: Path) -> Path:
    """The hidden folder beside an output in which all that is not ready yet lies. What a link points
    to, not the link, is written."""
    final = path if is_sequence(path) else path.resolve()
    return final.with_name(f".{short_name(final.name)}.upscale")


def sync_file(path: Path) -> None:
    """Make sure that what is written survives a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
