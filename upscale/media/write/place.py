"""Whether a file may be written under a name: one check for all outputs, before any work."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from upscale.checks import check_here
from upscale.errors import UpscaleError, UsageError
from upscale.media.picture import SUFFIXES, is_sequence, numbered
from upscale.media.pipe import STANDARD, is_piped
from upscale.media.write.whole import part_of

KEPT_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts"}
"""Of films that are read, which what is made of them has too."""


def name_beside(source: Path, enlarged: str) -> Path:
    """The name for what is made of a film, a picture or a folder where nobody gives one: the source's, with
    ``enlarged`` at its end; and its suffix, or .mp4 where that suits a film better.

    Raises UsageError for what has no such name, UpscaleError for what cannot be looked at."""
    try:
        has_none, is_folder = is_piped(source) or is_sequence(source), source.is_dir()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UpscaleError(f"{source}: {error.strerror}") from error
    if has_none:
        raise UsageError(
            "give OUTPUT a name as well: a pipe, or numbered pictures, have none to begin with"
        )
    if is_folder:
        named = source.resolve() if source.name in ("", "..") else source
        return named.with_name(f"{named.name}-{enlarged}")
    suffix = source.suffix.lower()
    kept = suffix in KEPT_SUFFIXES or suffix in SUFFIXES
    return source.with_name(f"{source.stem}-{enlarged}{suffix if kept else '.mp4'}")


def check_place(
    path: Path,
    overwrite: bool,
    sources: Iterable[Path] = (),
    others: Mapping[str, Path] | None = None,
    skipping: str = "",
) -> None:
    """Check that a file, or numbered pictures, may be written under ``path``.

    ``sources`` are files that are read, numbered pictures, or folders of them: never replaced. ``others``
    are the other outputs of the command, by what they are called. ``skipping`` is what else the message may
    offer where something stands there. Raises UsageError for what cannot be, UpscaleError for what must
    not, or cannot be written."""
    try:
        if path == STANDARD:
            raise UsageError("only OUTPUT may be -, the standard output; give the other files names")
        for name, other in (others or {}).items():
            if path.resolve() == other.resolve():
                raise UsageError(f"{path}: is {name} itself; choose another name")
        there = existing(path)
        for source in sources:
            if is_part_of(path, source):
                what = "lies in the folder that is read" if source.is_dir() else "is the source itself"
                raise UsageError(f"{path}: {what}; choose another name")
        check_writable(path)
        if there is not None and not overwrite:
            raise UpscaleError(f"{there}: exists; use -y to overwrite it{skipping}")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        check_here()
        raise UpscaleError(f"{path}: cannot be written ({error.strerror})") from error


def check_small(
    path: Path,
    overwrite: bool,
    sources: Iterable[Path] = (),
    others: Mapping[str, Path] | None = None,
    made: Path | None = None,
) -> None:
    """``check_place`` for what ``write_whole`` will write; tries whether it can. ``made`` is a folder that
    the work will make, if it is not there yet."""
    if made is not None and path.parent == made and not made.exists():
        check_folder(made)
        return
    check_place(path, overwrite, sources, others)
    beside = part_of(path)
    try:
        beside.write_bytes(b"")
        beside.unlink()
    except OSError as error:
        raise UpscaleError(f"{path}: cannot be written ({error.strerror})") from error


def check_writable(path: Path) -> None:
    """Raises UsageError or UpscaleError where no file can be written under that name."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the name of a file to write")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no file; write to standard output, -, instead")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UpscaleError(f"{path.parent}: cannot be written to; choose another folder")


def check_folder(folder: Path) -> None:
    """Raises UsageError or UpscaleError where there is no such folder, and none can be made."""
    try:
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        if not there.is_dir():
            raise UsageError(f"{there}: is no folder; choose another name")
    except OSError as error:
        raise UpscaleError(f"{folder}: cannot be written ({error.strerror})") from error
    if not os.access(there, os.W_OK):
        raise UpscaleError(f"{there}: cannot be written to; choose another folder")


def existing(path: Path) -> Path | None:
    """What stands already where ``path`` would be written: the file, or a picture of the sequence."""
    if path == STANDARD:
        return None
    if not is_sequence(path):
        return path if path.exists() else None
    return next(iter(numbered(path)), None)


def is_part_of(path: Path, source: Path) -> bool:
    """Whether to write ``path`` would replace ``source``, or a picture of that sequence; or write into that
    folder."""
    if path.resolve() == source.resolve():
        return True
    if source.is_dir():
        return source.resolve() in path.resolve().parents
    written = [one for one in (numbered(path) if is_sequence(path) else [path]) if one.exists()]
    read = numbered(source) if is_sequence(source) else [source]
    return any(one.samefile(each) for one in written for each in read if each.exists())
