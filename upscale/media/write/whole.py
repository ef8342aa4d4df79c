"""Small files that are there whole or not at all."""

import hashlib
import os
from pathlib import Path

LONGEST_NAME = 200
"""Bytes of an output's name that go into that of what lies beside it while it is made."""


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the name first, and rename: an earlier file stays where this one finds no room.

    Raises OSError, and leaves nothing behind then."""
    beside = part_of(path)
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        if beside.is_file():
            beside.unlink()


def part_of(path: Path) -> Path:
    """The hidden file beside a small output in which it is written."""
    return path.with_name(f".{short_name(path.name)}.part")


def short_name(name: str) -> str:
    """A name to which more can be added: itself, unless it is too long for that, or has a number for FFmpeg
    to fill in."""
    if len(os.fsencode(name)) <= LONGEST_NAME and "%" not in name:
        return name
    return f"{name[:40].replace('%', '')}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
