"""What can go wrong through no fault of the program. ``cli.py`` turns these into one line each."""


class UpscaleError(Exception):
    """Something failed; the message is one line that says what to do next."""

    exit_code = 1


class UsageError(UpscaleError):
    """The command was given something that cannot work: found before any work began."""

    exit_code = 2


class ConsumerGoneError(UpscaleError):
    """The reader of our standard output has closed it, as ``| head`` does; nothing is printed."""

    exit_code = 141  # 128 + SIGPIPE, as a shell has it


class DiskFullError(UpscaleError):
    """There is no room for the output; nothing else can be done there either."""
