"""``upscale-lab``: for those who train and measure."""

import json
import logging
from fractions import Fraction
from pathlib import Path

import click

from upscale.cli import Time, reporting_errors
from upscale.progress import TrainingProgress
from upscale.sampling.options import PRECISIONS
from upscale.sampling.process import leave_cores_to_encoders

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
    type=click.Choice(["bfloat16", "float32"]),
    default="bfloat16",
    show_default=True,
)
@click.option("--threads", type=click.IntRange(0), default=0, help="0 takes all.")
@click.option("--validate-every", type=click.IntRange(1), default=2_000, show_default=True)
@click.option("--initial", type=FILE, help="Weights to begin with, for a run that refines them.")
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
    initial: Path | None,
    **options: int | float | str,
) -> None:
    """Train the KIND network on a folder of PICTURES, and write its weights to OUTPUT.

    Run the same command again after an interruption: it goes on from its checkpoint.
    """
    import torch

    from upscale.lab import train as training
    from upscale.sampling.upscaler import choose_device

    for folder in {output.parent, (checkpoint or output).parent}:
        if not folder.is_dir():
            raise click.UsageError(f"{folder}: no such folder; make it first")
    choose_device(str(options["device"]))
    if threads:
        torch.set_num_threads(threads)
    chosen = training.TrainOptions(kind=kind, scale=int(scale), **options)  # type: ignore[arg-type]
    checkpoint = checkpoint or output.with_suffix(".checkpoint")
    with TrainingProgress(chosen.steps) as progress:
        for report in training.train(chosen, pictures, validation, output, checkpoint, initial):
            progress.update(report.step, report.loss, report.seconds, report.validation)


@main.command()
@click.argument("pictures", type=FOLDER)
@click.option("--scale", type=click.Choice(["2", "4"]), default="4", show_default=True)
@click.option(
    "-t",
    "--temperature",
    "temperatures",
    type=click.FloatRange(0, 1),
    multiple=True,
    help="Repeat for more.",
)
@click.option(
    "--perceptual",
    type=click.Choice(["ST-LPIPS", "SSIMULACRA2"], case_sensitive=False),
    multiple=True,
    help="Perceptual distances too, from the extra of that name; repeat for both.",
)
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@reporting_errors
def evaluate(
    pictures: Path,
    scale: str,
    temperatures: tuple[float, ...],
    perceptual: tuple[str, ...],
    seed: int,
    device: str,
    precision: str,
    as_json: bool,
) -> None:
    """Measure quality on a folder of PICTURES, against bicubic and Lanczos in the same run."""
    from upscale.lab import evaluate as evaluation
    from upscale.sampling.options import SampleOptions

    sample = SampleOptions(seed=seed, device=device, precision=precision)
    table = evaluation.Table(int(scale))
    for table in evaluation.evaluate(
        pictures, int(scale), temperatures or evaluation.TEMPERATURES, perceptual, sample
    ):
        click.echo(f"{table.pictures} measured", err=True)
    if as_json:
        click.echo(
            json.dumps({"scale": table.scale, "pictures": table.pictures, "rows": table.rows}, indent=2)
        )
        return
    click.echo(evaluation.markdown(table))


@main.command()
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Rounds in turns.")
@click.option("--threads", type=click.IntRange(0), default=0, help="0 takes all.")
@click.option("--film", type=FILE, help="A film on which the whole command is timed too, at x4.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@reporting_errors
def bench(repeats: int, threads: int, film: Path | None, as_json: bool) -> None:
    """Time a frame of ours against the networks that people use, all in one run."""
    from dataclasses import asdict

    leave_cores_to_encoders()
    import torch

    from upscale.lab import bench as benching
    from upscale.lab import whole

    commands = whole.measure(film, 4, threads) if film is not None else []
    if threads:
        torch.set_num_threads(threads)
    result = benching.Bench(0, 0.0, [])
    for result in benching.bench(repeats):
        click.echo(f"{len(result.rows)} rows measured", err=True)
    if as_json:
        click.echo(json.dumps(asdict(result) | {"commands": [asdict(row) for row in commands]}, indent=2))
        return
    click.echo(benching.markdown(result))
    if film is not None:
        click.echo("\n" + whole.markdown(film, 4, commands))


@main.command()
@click.argument("weights", type=FILE)
@click.argument("pictures", type=FOLDER)
@reporting_errors
def calibrate(weights: Path, pictures: Path) -> None:
    """Note in luma WEIGHTS the ranges that int8 needs, as they are met in a folder of PICTURES."""
    from upscale.lab.calibrate import calibrate as calibrated

    click.echo(f"{calibrated(weights, pictures)} pictures seen", err=True)


@main.command()
@click.argument("inputs", nargs=-1, required=True, type=FILE)
@click.argument("output", type=FILE)
@click.option("--at", type=Time(), default="0", show_default=True, help="Which frame: seconds, or h:mm:ss.")
@click.option("--crop", default="0:0:1:1", show_default=True, help="x:y:width:height, each from 0 to 1.")
@click.option(
    "--enlarge", type=click.Choice(["bicubic", "lanczos", "point"]), default="bicubic", show_default=True
)
@reporting_errors
def compare(inputs: tuple[Path, ...], output: Path, at: Fraction, crop: str, enlarge: str) -> None:
    """Write a PNG with the same place in several videos or pictures, side by side.

    The smaller ones are enlarged to the size of the largest.
    """
    if output.suffix.lower() != ".png":
        raise click.UsageError(f"{output}: OUTPUT comes last and ends in .png")
    from upscale.lab.compare import Crop, side_by_side
    from upscale.media.picture import write_picture

    write_picture(output, side_by_side(list(inputs), at, Crop.parse(crop), enlarge.upper()))
