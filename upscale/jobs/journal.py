"""Files that only grow: a JSON object a line. What a power cut leaves of a line costs that line."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


def append(file: BinaryIO, record: dict[str, Any]) -> None:
    """Write a record and see to it that it survives a power cut. ``file`` is of ``open_journal``. Raises
    OSError."""
    file.write(json.dumps(record).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def open_journal(path: Path) -> BinaryIO:
    """The journal, open for more: the next record begins a line, whatever stands before it. Raises
    OSError."""
    file = path.open("a+b")
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """All records that can be read, in order; none where there is no journal, or it cannot be read."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return
    for line in lines:
        # Behind a torn line that was not ended, as earlier versions left it, the next record begins.
        begin = line.find(b"{")
        while begin >= 0:
            try:
                record = json.loads(line[begin:].decode())
            except ValueError:
                begin = line.find(b"{", begin + 1)
                continue
            if isinstance(record, dict):
                yield record
            break
