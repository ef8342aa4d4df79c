"""Standard input and output as FFmpeg reads and writes them."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

STANDARD = Path("-")
"""The name that stands for standard input, or output."""


class StoppedError(Exception):
    """Something stopped us inside a pipe: ``by`` is what."""

    def __init__(self, by: BaseException):
        super().__init__(str(by))
        self.by = by


class Pipe:
    """A pipe, as a file object for PyAV.

    FFmpeg's own pipes start a call again that Ctrl-C has interrupted, and PyAV swallows what a file object
    raises unless it is an Exception: so KeyboardInterrupt and its like travel inside a StoppedError.
    """

    def __init__(self, file: BinaryIO):
        self._file = file

    def read(self, size: int) -> bytes:
        try:
            return self._file.read1(size)  # type: ignore[attr-defined]
        except BaseException as error:
            raise StoppedError(error) from error

    def close(self) -> None:
        """Leave the descriptor to the process."""


class OutputPipe:
    """The other end; as ``Pipe``."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BaseException as error:
            raise StoppedError(error) from error
        return len(data)

    def close(self) -> None:
        """Leave the descriptor to the process."""


def standard_input() -> Pipe:
    return Pipe(sys.stdin.buffer)


def standard_output() -> OutputPipe:
    """Standard output, kept for data alone: whatever else is printed from now on goes to standard error."""
    descriptor = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return OutputPipe(descriptor)
