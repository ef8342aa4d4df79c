"""What can go wrong through no fault of the program. ``cli.py`` turns these into one line each."""

import signal


class UpscaleError(Exception):
    """Something failed; the message is one line that says what to do next."""

    exit_code = 1


class UsageError(UpscaleError):
    """The command was given something that cannot work: found before any work began."""

    exit_code = 2


class ConsumerGoneError(UpscaleError):
    """The reader of our standard output has closed it, as ``| head`` does; nothing is printed."""

    exit_code = 141  # 128 + SIGPIPE, as a shell has it


EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell has it


def interrupted_code(stop: KeyboardInterrupt) -> int:
    """The exit code of what was interrupted by Ctrl-C, or by another signal."""
    return stop.exit_code if isinstance(stop, EndedError) else EXIT_INTERRUPTED


class EndedError(KeyboardInterrupt):
    """A signal other than Ctrl-C's asks us to end."""

    def __init__(self, number: int):
        super().__init__(f" by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class DiskFullError(UpscaleError):
    """There is no room for the output; nothing else can be done there either."""
