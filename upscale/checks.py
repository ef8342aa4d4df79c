"""Where a job is asked for: values that a program gives are checked by the command's own types."""

import os
from typing import Any

from upscale.errors import UpscaleError, UsageError

NOT_TYPED = ("references", "codec_options", "memory", "map")
"""Options that a program gives in another form than the command line does."""


def check_here() -> None:
    """Raises UpscaleError where the working folder was deleted: then nothing can be found from it, and no
    process can be started in it."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError as error:
        raise UpscaleError(
            f"the folder that this runs in is gone ({error.strerror}); change to one that there is"
        ) from error


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options as the command would have them: numbers in their ranges, choices among what there is.

    None stands for what was not asked for. Raises UsageError, and TypeError for an option that there is
    not."""
    import click

    from upscale.cli import main

    known = {parameter.name: parameter.type for parameter in main.params}
    values = dict(options)
    for name, value in options.items():
        if name not in known:
            raise TypeError(f"no option is called {name!r}")
        if value is None or name in NOT_TYPED:
            continue
        try:
            values[name] = known[name].convert(value, None, None)
        except click.BadParameter as error:
            raise UsageError(f"{name}: {error.message}") from None
    return values
