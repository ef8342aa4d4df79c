"""Values that a program gives are checked as those that are typed: by the command's own types."""

from typing import Any

from upscale.errors import UsageError

NOT_TYPED = ("references", "codec_options", "memory", "map")
"""Options that a program gives in another form than the command line does."""


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
