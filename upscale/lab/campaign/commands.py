"""``upscale-lab campaign``: training that goes on for days beside other work."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from upscale.cli import reporting_errors
from upscale.errors import EXIT_INTERRUPTED, UpscaleError

if TYPE_CHECKING:
    from upscale.lab.campaign.plan import Campaign

NEEDED = ("matplotlib", "plotext", "psutil")
"""Of the extra ``train``."""

CAMPAIGN = click.Path(exists=True, dir_okay=False, path_type=Path)


@contextlib.contextmanager
def telling_os_errors() -> Iterator[None]:
    """A disk that is full, a folder that must not be written: one line."""
    try:
        yield
    except OSError as error:
        raise UpscaleError(f"{error.filename or 'a file'}: {error.strerror or error}") from error


place_option = click.option(
    "--place",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where campaigns keep checkpoints and journals; by default what the environment variable "
    "UPSCALE_CAMPAIGNS says, else ~/.local/share/upscale/campaigns.",
)


@click.group()
def campaign() -> None:
    """Train for days beside other work, as files like training/clean-x4.toml say."""


@campaign.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=CAMPAIGN)
@place_option
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--since",
    metavar="STAGE",
    help="Leave out what comes before this stage. Weights of earlier ones that are gone, as on another "
    "machine, are taken from those that ship.",
)
@click.option(
    "--weights",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("weights"),
    show_default=True,
    help="The folder of the weights that ship, for --since.",
)
@reporting_errors
@telling_os_errors()
def run(
    files: tuple[Path, ...], place: Path | None, threads: int, since: str | None, weights: Path
) -> None:
    """Do the campaigns of FILEs, one after the other, at the lowest priority.

    Run the same command again after a kill or a power cut: it goes on as if nothing had happened."""
    from upscale.lab.campaign.run import run as run_all

    plans = [_read(file, place) for file in files]
    if since is not None:
        plans = [plan.since(since, weights) for plan in plans]
    if not run_all(plans, threads, lambda line: click.echo(line, err=True)):
        sys.exit(EXIT_INTERRUPTED)


@campaign.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=CAMPAIGN)
@place_option
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the plot as a PNG as well."
)
@reporting_errors
@telling_os_errors()
def status(files: tuple[Path, ...], place: Path | None, plot: Path | None) -> None:
    """Tell how the campaigns of FILEs are going: loss, validation by time, what is left."""
    from upscale.lab.campaign import status as statuses
    from upscale.lab.campaign.journal import read

    if plot is not None and plot.suffix.lower() != ".png":
        raise click.UsageError(f"{plot}: the plot is a PNG; give it a name that ends in .png")
    found = []
    for plan in (_read(file, place, needs_data=False) for file in files):
        click.echo(statuses.status(plan))
        found += [curve for curve in statuses.curves(plan, read(plan.folder)) if len(curve.hours) > 1]
    if found:
        click.echo(statuses.terminal_plot(found, min(shutil.get_terminal_size().columns, 100), 16))
    if plot is not None:
        if not found:
            raise UpscaleError(f"{plot}: not written; it takes two validations to plot a curve")
        statuses.write_plot(found, plot)


@campaign.command()
@click.argument("file", metavar="FILE", type=CAMPAIGN)
@place_option
@click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("weights"),
    show_default=True,
    help="The folder of the weights that ship, and of their cards.",
)
@reporting_errors
@telling_os_errors()
def harvest(file: Path, place: Path | None, weights: Path) -> None:
    """Put the best weights of the campaign of FILE in place of those that ship, if they are better.

    They are calibrated and measured first, and the figures in their cards are made anew. It may be done
    while the campaign runs."""
    from upscale.lab import cards
    from upscale.lab.campaign.harvest import harvest as bring_in

    def tell(line: str) -> None:
        click.echo(line, err=True)

    for verdict in bring_in(_read(file, place), weights, tell):
        if verdict.is_better:
            card = weights / f"{verdict.name}.md"
            tell(f"{card}: measuring its figures anew (by hand: upscale-lab figures {card})")
            cards.refresh(card)


def _read(file: Path, place: Path | None, needs_data: bool = True) -> "Campaign":
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UpscaleError(f"{missing[0]} is not installed; pip install 'upscale-pixelcnn[train]'")
    from upscale.lab.campaign.plan import Campaign

    return Campaign.read(file, place, needs_data)
