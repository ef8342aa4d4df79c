"""``upscale-lab``: for those who train and measure."""

import json
import logging
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import click

from upscale.cli import Time, reporting_errors
from upscale.errors import UpscaleError
from upscale.lab.campaign.commands import campaign
from upscale.progress import TrainingProgress
from upscale.sampling.options import PRECISIONS
from upscale.sampling.process import leave_cores_to_encoders

if TYPE_CHECKING:
    from upscale.sampling.options import SampleOptions

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="upscale-pixelcnn", prog_name="upscale-lab")
def main() -> None:
    """Train upscale's networks and measure them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


@main.command()
@click.argument("kind", type=click.Choice(["luma", "raster", "chroma", "color"]))
@click.argument("lessons", type=FOLDER)
@click.argument("output", type=FILE)
@click.option("--scale", type=click.Choice(["2", "4"]), default="4", show_default=True)
@click.option(
    "--also",
    type=FILE,
    multiple=True,
    help="A folder of pictures, or a film, to learn from too; repeat for more.",
)
@click.option(
    "--validation", type=FOLDER, multiple=True, help="Like LESSONS, measured and never trained on."
)
@click.option("--steps", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True)
@click.option("--crop", type=click.IntRange(16), default=128, show_default=True, help="Pixels a side.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=3e-3, show_default=True)
@click.option("--channels", type=click.IntRange(1), default=32, show_default=True)
@click.option("--blocks", type=click.IntRange(1), default=6, show_default=True, help="Of the luma trunk.")
@click.option(
    "--context", type=click.IntRange(0), default=0, show_default=True, help="Blocks at half size."
)
@click.option("--context-channels", type=click.IntRange(1), default=64, show_default=True)
@click.option(
    "--inner", type=click.IntRange(0), default=0, help="Channels inside a block of the trunk; 0 for all."
)
@click.option(
    "--chain-inner", type=click.IntRange(0), default=0, help="The same, of the blocks behind the trunk."
)
@click.option("--layers", type=click.IntRange(2), default=3, show_default=True, help="Of a chroma network.")
@click.option("--likelihood", type=click.FloatRange(0), default=1.0, show_default=True, help="Its weight.")
@click.option(
    "--balance", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="See TrainOptions."
)
@click.option(
    "--lead", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="See TrainOptions."
)
@click.option("--geometric", is_flag=True, help="Average errors as dB are averaged: see TrainOptions.")
@click.option(
    "--reduction",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Pictures are made smaller by a random factor from this to 1 when they are loaded.",
)
@click.option(
    "--soft",
    type=click.FloatRange(0),
    default=0.7,
    show_default=True,
    help="Pictures whose finest octave holds less contrast than this share of the next are halved.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["auto", "bfloat16", "float32"]),
    default="auto",
    show_default=True,
)
@click.option("--threads", type=click.IntRange(0), default=0, help="0 takes all.")
@click.option("--validate-every", type=click.IntRange(1), default=2_000, show_default=True)
@click.option(
    "--initial",
    type=FILE,
    multiple=True,
    help="Weights to begin with; of several, the later win where they fit.",
)
@click.option("--checkpoint", type=FILE, help="Where a stopped run goes on from; beside OUTPUT by default.")
@reporting_errors
def train(
    kind: str,
    lessons: Path,
    output: Path,
    scale: str,
    also: tuple[Path, ...],
    validation: tuple[Path, ...],
    threads: int,
    checkpoint: Path | None,
    initial: tuple[Path, ...],
    **options: int | float | str,
) -> None:
    """Train the KIND network on LESSONS, a folder of pictures or of shards, and write weights to OUTPUT.

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
        places = training.Places((lessons, *also), output, checkpoint, validation, initial)
        for report in training.train(chosen, places):
            progress.update(report.step, report.loss or 0.0, report.validation)


main.add_command(campaign)


@main.command()
@click.argument("weights", type=FILE)
@reporting_errors
def describe(weights: Path) -> None:
    """Tell what a file of WEIGHTS is: its network, its size, its cost and its training."""
    from upscale.lab.cards import described

    click.echo(described(weights))


@main.command()
@click.argument("card", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@reporting_errors
def figures(card: Path) -> None:
    """Make the figures in a model CARD anew, by the commands that stand in its comments."""
    from upscale.lab.cards import refresh

    click.echo(f"{refresh(card)} commands", err=True)


@main.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("old", metavar="OUT", type=FILE)
@click.option(
    "--preset",
    default="film16",
    show_default=True,
    help="film16, silent, vhs, dvd, webcam, broadcast, web, soft, light.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which old film.")
@click.option("--scale", type=click.IntRange(1, 8), default=1, show_default=True, help="How much smaller.")
@click.option("--truth", type=FILE, help="Write here what a restoration should come to.")
@click.option("--frames", type=click.IntRange(1), help="No more than this.")
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite OUT if it exists.")
@reporting_errors
def degrade(
    source: Path,
    old: Path,
    preset: str,
    seed: int,
    scale: int,
    truth: Path | None,
    frames: int | None,
    overwrite: bool,
) -> None:
    """Make old footage of new: grain, dirt, flicker, tape noise, and a real encoder, by PRESET and SEED.

    IN may be a photo: it is filmed by a moving camera. OUT is lossless, as degraded as the preset made it,
    and has no sound."""
    from upscale.lab.clips import degrade_clip, find_preset

    degrade_clip(source, old, find_preset(preset), scale, seed, truth, frames, overwrite=overwrite)


@main.command()
@click.argument("photos", type=FOLDER, nargs=-1, required=True)
@click.argument("output", type=FOLDER)
@click.option("--faces", type=FOLDER, help="Portraits, for a fifth of the scenes.")
@click.option("--fonts", type=FOLDER, help="TrueType fonts, for titles and signs.")
@click.option(
    "--clip", "clips", type=FILE, multiple=True, help="A real film, or a folder of them; repeat for more."
)
@click.option(
    "--without", metavar="PATTERN", multiple=True, help="Films by name, to be left out: 'a*.mkv'."
)
@click.option(
    "--count", type=click.IntRange(1), default=25, show_default=True, help="Files, of 500 samples."
)
@click.option(
    "--first", type=click.IntRange(0), default=0, show_default=True, help="Number of the first file."
)
@reporting_errors
def shards(
    photos: tuple[Path, ...],
    output: Path,
    faces: Path | None,
    fonts: Path | None,
    clips: tuple[Path, ...],
    without: tuple[str, ...],
    count: int,
    first: int,
) -> None:
    """Make samples for film networks of PHOTOS: scenes in motion, degraded and aligned, into OUTPUT.

    Each file depends on its number alone, and those that are there are not made again.
    """
    from upscale.lab import shards as sharding
    from upscale.lab.scenes import Library, Sources

    library = Library(Sources(photos, faces, fonts, clips, without), sharding.SIDE * 4 + 1)
    paths = [output / f"{number:04d}.safetensors" for number in range(first, first + count)]
    for number, path in enumerate(sharding.make_shards(library, paths), 1):
        click.echo(f"{path} ({number} of {count})", err=True)


@main.command()
@click.argument("inputs", metavar="PICTURES|CLIP...", nargs=-1, required=True, type=FILE)
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
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    help="Of pictures: mean and clean by default. Repeat it.",
)
@click.option(
    "--side", type=click.IntRange(0), default=0, help="Of pictures: their middle; 0 for all of it."
)
@click.option("--preset", "presets", multiple=True, help="Of clips: how to degrade them; all by default.")
@click.option("--frames", type=click.IntRange(2), default=12, show_default=True, help="Of every clip.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option("--color", is_flag=True, help="Colours: made grey, and coloured again.")
@click.option(
    "--pairs",
    is_flag=True,
    help="Pictures that others made small, measured as papers do: a folder with *HR* beside *LR*, or two "
    "folders, first that of the large ones.",
)
@click.option(
    "--window",
    is_flag=True,
    help="Of clips, or folders of them: what alignment and merge restore by themselves, without a network.",
)
@click.option("--sheet", type=FILE, help="Of colours: 24 of the pictures, before and after, into a JPEG.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@reporting_errors
def evaluate(
    inputs: tuple[Path, ...],
    scale: str,
    temperatures: tuple[float, ...],
    perceptual: tuple[str, ...],
    models: tuple[str, ...],
    side: int,
    presets: tuple[str, ...],
    frames: int,
    seed: int,
    device: str,
    precision: str,
    color: bool,
    pairs: bool,
    window: bool,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Measure quality: on a folder of PICTURES made small, or on CLIPs, or single photos in motion, made
    old; with --color on folders or CLIPs that are made grey; with --window of the aligned frames alone.

    Against what people have, in the same run: bicubic and Lanczos; for clips also FFmpeg's hqdn3d, and a
    merge of aligned frames with non-local means and the clean model, which needs no training."""
    from dataclasses import asdict

    from upscale.sampling.options import SampleOptions

    sample = SampleOptions(seed=seed, device=device, precision=precision)
    if sheet is not None and not color:
        raise click.UsageError("--sheet shows colours; add --color")
    if color:
        from upscale.color.film import check_installed

        check_installed()
        if sheet is not None:
            _write_color_sheet(inputs, sheet, sample)
            return
        _evaluate_color(inputs, frames, temperatures, perceptual, sample, as_json)
        return
    if window:
        _evaluate_window(inputs, frames, seed, as_json)
        return
    if not inputs[0].is_dir():
        from upscale.lab import clips
        from upscale.lab.degrade import MEASURED

        results = clips.Results(int(scale))
        for results in clips.evaluate_clips(
            inputs,
            presets or tuple(MEASURED),
            int(scale),
            frames,
            temperatures or (0.0,),
            perceptual,
            sample,
            seed,
        ):
            last = results.trials[-1]
            click.echo(
                f"{last.clip} {last.preset} {last.method}: {last.measures['PSNR-Y']:.2f} dB", err=True
            )
        click.echo(json.dumps(asdict(results), indent=2) if as_json else clips.markdown(results))
        return
    from upscale.lab import evaluate as evaluation

    if pairs:
        if side:
            raise click.UsageError("--pairs are measured whole; leave --side out")
        trials = evaluation.Trials.of_pairs(inputs, int(scale))
    elif len(inputs) > 1:
        raise click.UsageError("one folder of pictures at a time; two of large and small ones with --pairs")
    else:
        trials = evaluation.Trials.made_small(inputs[0], int(scale), side)
    table = evaluation.Table(int(scale))
    for table in evaluation.evaluate(
        trials,
        temperatures or evaluation.TEMPERATURES,
        perceptual,
        sample,
        models or evaluation.MODELS,
    ):
        click.echo(f"{table.pictures} measured", err=True)
    if as_json:
        click.echo(
            json.dumps({"scale": table.scale, "pictures": table.pictures, "rows": table.rows}, indent=2)
        )
        return
    click.echo(evaluation.markdown(table))


@main.command()
@click.argument("inputs", metavar="PICTURES|CLIP...", nargs=-1, required=True, type=FILE)
@click.option("--scale", type=click.Choice(["2", "4"]), default="4", show_default=True)
@click.option("-m", "--model", default="clean", show_default=True)
@click.option("-t", "--temperature", type=click.FloatRange(0, 1), default=0.0, show_default=True)
@click.option(
    "--side", type=click.IntRange(0), default=0, help="Of pictures: their middle; 0 for all of it."
)
@click.option("--preset", "presets", multiple=True, help="Of clips: how to degrade them; all by default.")
@click.option("--frames", type=click.IntRange(2), default=12, show_default=True, help="Of every clip.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@reporting_errors
def certainty(
    inputs: tuple[Path, ...],
    scale: str,
    model: str,
    temperature: float,
    side: int,
    presets: tuple[str, ...],
    frames: int,
    as_json: bool,
) -> None:
    """Check what --map shows: the stated spread of pixels against the errors that are made.

    On a folder of PICTURES made small, or on CLIPs, or single photos in motion, made old."""
    from upscale.lab.certainty import Certainty, markdown, measure_certainty
    from upscale.sampling.options import SampleOptions

    sample = SampleOptions(model=model, temperature=temperature)
    found = Certainty()
    for found in measure_certainty(inputs, int(scale), sample, side, presets, frames):
        click.echo(f"{found.pictures} measured", err=True)
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else markdown(found, int(scale), model))


def _write_color_sheet(folders: tuple[Path, ...], sheet: Path, sample: "SampleOptions") -> None:
    import cv2

    from upscale.lab.recolor import photo_sheet

    if sheet.suffix.lower() not in (".jpg", ".jpeg"):
        raise click.UsageError(f"{sheet}: the sheet is a JPEG; give it a name that ends in .jpg")
    if not sheet.parent.is_dir():
        raise UpscaleError(f"{sheet.parent}: no such folder; make it first")
    shown = photo_sheet(folders, 24, sample)[..., ::-1]
    if not cv2.imwrite(str(sheet), shown, [cv2.IMWRITE_JPEG_QUALITY, 88]):
        raise UpscaleError(f"{sheet}: cannot be written")


def _evaluate_window(inputs: tuple[Path, ...], frames: int, seed: int, as_json: bool) -> None:
    from dataclasses import asdict

    from upscale.lab import alignment

    results = alignment.Results()
    for results in alignment.evaluate_window(alignment.clips_in(inputs), frames, seed):
        last = results.trials[-1]
        click.echo(f"{last.clip} {last.strength}: {last.gain:+.2f} dB", err=True)
    click.echo(json.dumps(asdict(results), indent=2) if as_json else alignment.markdown(results))


def _evaluate_color(
    inputs: tuple[Path, ...],
    frames: int,
    temperatures: tuple[float, ...],
    perceptual: tuple[str, ...],
    sample: "SampleOptions",
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from upscale.color.options import DEFAULT_TEMPERATURE
    from upscale.lab import recolor

    results: dict[str, recolor.Colored] = {}
    if inputs[0].is_dir():
        measured = recolor.evaluate_photos(inputs, temperatures or recolor.TEMPERATURES, sample)
    else:
        first = (temperatures or (DEFAULT_TEMPERATURE,))[0]
        measured = recolor.evaluate_films(inputs, frames, first, perceptual, sample)
    for result in measured:
        results[result.name] = result
        method, measures = list(result.rows.items())[-1]
        score = next(iter(measures.items()))
        click.echo(f"{result.name} {method}: {score[0]} {score[1]:.2f}", err=True)
    found = list(results.values())
    if as_json:
        click.echo(json.dumps([asdict(result) for result in found], indent=2))
        return
    click.echo(recolor.markdown(found))


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
@click.argument("lessons", type=FOLDER)
@reporting_errors
def calibrate(weights: Path, lessons: Path) -> None:
    """Note in luma WEIGHTS the ranges that int8 needs, as they are met in LESSONS, pictures or shards."""
    from upscale.lab.calibrate import calibrate as calibrated

    click.echo(f"{calibrated(weights, lessons)} pictures seen", err=True)


@main.command()
@click.argument("weights", nargs=-1, required=True, type=FILE)
@click.option("--lessons", required=True, type=FOLDER, help="Shards to learn from.")
@click.option("--validation", required=True, type=FOLDER, help="Shards to be examined on.")
@click.option("--steps", type=click.IntRange(1), default=4000, show_default=True)
@reporting_errors
def judge(weights: tuple[Path, ...], lessons: Path, validation: Path, steps: int) -> None:
    """Teach the judge of film WEIGHTS how damaged frames are; all of them get the same."""
    from upscale.lab.judging import teach_judge

    for verdict in teach_judge(weights, lessons, validation, steps):
        if verdict.step % 100 == 0 or verdict.held_out is not None:
            held_out = "" if verdict.held_out is None else f", {verdict.held_out:.2f} on held-out scenes"
            click.echo(f"step {verdict.step}/{steps}  wrong by {verdict.taught:.2f} octaves{held_out}")


@main.command()
@click.argument("inputs", nargs=-1, required=True, type=FILE)
@click.argument("output", type=FILE)
@click.option("--at", type=Time(), help="Of a PNG, which frame: seconds, or h:mm:ss (0).")
@click.option("--start", type=Time(), help="Of a clip, where it begins: seconds, or h:mm:ss.")
@click.option("--duration", type=Time(), help="Of a clip, how much of the films it shows.")
@click.option(
    "--as",
    "layout",
    type=click.Choice(["side", "wipe", "flicker"]),
    help="Of a clip, how it compares (side).",
)
@click.option("--every", type=Time(), help="Of a flicker, how long each input is shown (0.5).")
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="What is written on an input; repeat it for each. A clip has the files' names otherwise.",
)
@click.option("--crop", default="0:0:1:1", show_default=True, help="x:y:width:height, each from 0 to 1.")
@click.option(
    "--enlarge", type=click.Choice(["bicubic", "lanczos", "point"]), default="bicubic", show_default=True
)
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite OUTPUT if it exists.")
@reporting_errors
def compare(
    inputs: tuple[Path, ...],
    output: Path,
    at: Fraction | None,
    crop: str,
    enlarge: str,
    labels: tuple[str, ...],
    overwrite: bool,
    **clip: Fraction | str | None,
) -> None:
    """Compare the same place in several videos or pictures: in a PNG, or in a clip (.mp4, .mkv, .webm ...).

    A PNG shows a frame of each, side by side. A clip shows the films at the same times, without sound: side
    by side; as a wipe, with a line that moves across two films; or as a flicker, in turns at the same
    place. It has the frames of the last input, beside which each other one shows what is on the screen
    then; one that ends earlier keeps its last frame.

    The smaller ones are enlarged to the size of the largest.
    """
    from upscale.lab.compare import Crop, compare_picture
    from upscale.lab.compare_clip import ClipOptions, compare_clip
    from upscale.media.write.destination import CONTAINERS
    from upscale.progress import FilmProgress

    given = {name: value for name, value in clip.items() if value is not None}
    area, interpolation = Crop.parse(crop), enlarge.upper()
    if output.suffix.lower() == ".png":
        if given:
            raise click.UsageError("a PNG takes --at; --start, --duration, --as and --every are for clips")
        compare_picture(inputs, output, at or Fraction(0), area, interpolation, labels, overwrite)
        return
    if output.suffix.lower() not in CONTAINERS:
        raise click.UsageError(
            f"{output}: OUTPUT comes last and ends in .png, or in .mp4, .mkv or .gif for a clip"
        )
    if at is not None:
        raise click.UsageError("--at is for a PNG; a clip takes --start and --duration")
    options = ClipOptions(area, interpolation, labels, overwrite=overwrite, **given)  # type: ignore[arg-type]
    with FilmProgress(output.name, None, "auto") as progress:
        notes = compare_clip(inputs, output, options, progress.update)
    for note in notes:
        click.echo(f"upscale-lab: {note}", err=True)
