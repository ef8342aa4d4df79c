"""``upscale-lab``: for those who train and measure."""

import logging
from pathlib import Path

import click

from upscale.cli import reporting_errors
from upscale.progress import TrainingProgress

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="upscale-pixelcnn", prog_name="upscale-lab")
def main() -> None:
    """Train upscale's networks and measure them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


@main.command()
@click.argument("kind", type=click.Choice(["luma", "chroma"]))
@click.argument("pictures", type=FOLDER)
@click.argument("output", type=FILE)
@click.option("--scale", type=click.Choice(["2", "4"]), default="4", show_default=True)
@click.option("--validation", type=FOLDER, help="Pictures that are measured, never trained on.")
@click.option("--steps", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True)
@click.option("--crop", type=click.IntRange(16), default=128, show_default=True, help="Pixels a side.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=3e-3, show_default=True)
@click.option("--channels", type=click.IntRange(1), default=32, show_default=True)
@click.option("--blocks", type=click.IntRange(1), default=6, show_default=True, help="Of the luma trunk.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["bfloat16", "float16", "float32"]),
    default="bfloat16",
    show_default=True,
)
@click.option("--threads", type=click.IntRange(0), default=0, help="0 takes all.")
@click.option("--validate-every", type=click.IntRange(1), default=2_000, show_default=True)
@click.option("--checkpoint", type=FILE, help="Where a stopped run goes on from; beside OUTPUT by default.")
@reporting_errors
def train(
    kind: str,
    pictures: Path,
    output: Path,
    scale: str,
    validation: Path | None,
    threads: int,
    checkpoint: Path | None,
    **options: int | float | str,
) -> None:
    """Train the KIND network on a folder of PICTURES, and write its weights to OUTPUT.

    Run the same command again after an interruption: it goes on from its checkpoint.
    """
    import torch

    from upscale.lab import train as training

    if threads:
        torch.set_num_threads(threads)
    chosen = training.TrainOptions(kind=kind, scale=int(scale), **options)  # type: ignore[arg-type]
    checkpoint = checkpoint or output.with_suffix(".checkpoint")
    with TrainingProgress(chosen.steps) as progress:
        for report in training.train(chosen, pictures, validation, output, checkpoint):
            progress.update(report)
