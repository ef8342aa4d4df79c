"""What is told must not stop what is done: standard error and standard output while a command runs.

A terminal may be closed, a log's disk may fill up, a monitor may die. Standard error then takes what it
can, and the work goes on. Standard output is for data: what it does not take is an error, in a line.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO

from upscale.errors import ConsumerGoneError, EndedError, UpscaleError

ENDING = ("SIGTERM", "SIGHUP")
"""Signals that end a command as Ctrl-C does; Windows has not both of them."""


_came: list[int] = []
"""The ENDING signal that has come to this process."""


class Told:
    """Standard error, whose writes never fail."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """As of a file."""
        # RuntimeError is of Python's buffers, where a signal's handler writes within a write.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As of a file."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Data:
    """Standard output. Where it cannot be written ConsumerGoneError or UpscaleError is raised, once; what
    is written after that goes nowhere."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """As of a file."""
        if text != "":  # by which click tries what a stream takes, whatever it raises
            with self._refusals():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As of a file."""
        with self._refusals():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            _drop(self._stream)
            raise ConsumerGoneError("the reader of the standard output has gone") from error
        except OSError as error:
            _drop(self._stream)
            raise UpscaleError(f"standard output: cannot be written ({error.strerror})") from error


@contextlib.contextmanager
def streams() -> Iterator[None]:
    """Standard error and output are a Told and a Data meanwhile."""
    if isinstance(sys.stderr, Told):
        yield
        return
    if (
        sys.stderr is None
    ):  # closed; nothing else is to be opened under its number, as libraries write there
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    stdout, stderr = sys.stdout, sys.stderr
    sys.stderr = Told(stderr)
    if stdout is not None:
        sys.stdout = Data(stdout)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        try:
            stderr.flush()
        except (OSError, ValueError):  # else Python, which flushes once more, ends with another exit code
            _drop(stderr)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """The first of the ENDING signals raises EndedError meanwhile, the second ends the process at once."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        _came.append(number)
        raise EndedError(number)

    _came.clear()

    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler == signal.SIG_DFL:
                signal.signal(number, handler)


def check_ended() -> None:
    """Raises EndedError if a signal has come: what its handler raises is lost where Python ignores errors,
    as in a destructor. In any thread."""
    if _came:
        raise EndedError(_came[0])


def _drop(stream: TextIO) -> None:
    """Lead a stream that cannot be written to nowhere, with what its buffer holds."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
            stream.flush()
        finally:
            os.close(nowhere)
