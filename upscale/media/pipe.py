"""Standard input and output as FFmpeg reads and writes them."""

import contextlib
import os
import select
import stat
import sys
from pathlib import Path

STANDARD = Path("-")
"""The name that stands for standard input, or output."""


ATOMIC = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe which is ready takes without waiting."""


class StoppedError(Exception):
    """Something stopped us inside a pipe: ``by`` is what."""

    def __init__(self, by: BaseException):
        super().__init__(str(by))
        self.by = by


class _Waiter:
    """Waits until a descriptor is ready, or until someone, in any thread, says stop."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor
        self._heard, self._said = os.pipe()

    def until_ready(self, reading: bool) -> None:
        """Raises InterruptedError if it was told to stop."""
        if os.name == "nt":  # there, select knows sockets alone
            return
        wanted = ([self.descriptor], []) if reading else ([], [self.descriptor])
        ready, _, _ = select.select([*wanted[0], self._heard], wanted[1], [])
        if self._heard in ready:
            raise InterruptedError("stopped")

    def stop(self) -> None:
        os.write(self._said, b"!")


def is_piped(path: Path) -> bool:
    """Whether a film can be read from there once only: standard input, or a pipe that has a name."""
    if path == STANDARD:
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


class InputPipe:
    """A pipe to read from, as a file object for PyAV.

    FFmpeg's own pipes start a call again that Ctrl-C has interrupted, and PyAV swallows what a file object
    raises unless it is an Exception: so KeyboardInterrupt and its like travel inside a StoppedError.
    """

    def __init__(self, descriptor: int, is_ours: bool = False):
        """``is_ours`` says whether to close ``descriptor`` at the end."""
        self._waiter = _Waiter(descriptor)
        self._is_ours = is_ours
        self._returned = b""

    def read(self, size: int) -> bytes:
        if self._returned:
            data, self._returned = self._returned[:size], self._returned[size:]
            return data
        try:
            while True:
                self._waiter.until_ready(reading=True)
                with contextlib.suppress(BlockingIOError):
                    return os.read(self._waiter.descriptor, size)
        except BaseException as error:
            raise StoppedError(error) from error

    def unread(self, data: bytes) -> None:
        """Take back what was read last; it is read once more."""
        self._returned = data + self._returned

    def stop(self) -> None:
        """Unblock a read that waits in another thread; it raises InterruptedError."""
        self._waiter.stop()

    def close(self) -> None:
        """Leave the descriptor of standard input to the process."""
        if self._is_ours:
            self._is_ours = False
            os.close(self._waiter.descriptor)


class OutputPipe:
    """A pipe to write to; as ``InputPipe``."""

    def __init__(self, descriptor: int):
        self._waiter = _Waiter(descriptor)

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest:
                self._waiter.until_ready(reading=False)
                rest = rest[os.write(self._waiter.descriptor, rest[:ATOMIC]) :]
        except BaseException as error:
            raise StoppedError(error) from error
        return len(data)

    def stop(self) -> None:
        """Unblock a write that waits in another thread; it raises InterruptedError."""
        self._waiter.stop()

    def close(self) -> None:
        """Leave the descriptor to the process."""


def input_pipe(path: Path) -> InputPipe:
    """The pipe at ``path``: see ``is_piped``. Raises OSError."""
    if path == STANDARD:
        return InputPipe(sys.stdin.fileno())
    # Where nobody writes yet, to open it otherwise would wait, and could not be stopped.
    return InputPipe(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), is_ours=True)


def standard_output() -> OutputPipe:
    """Standard output, kept for data alone: whatever else is printed from now on goes to standard error."""
    descriptor = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return OutputPipe(descriptor)
