"""The command line: parses, reports, and turns errors into one line. The work is in ``pipeline.py``."""

import contextlib
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from upscale.color.options import COLORS, DEFAULT_TEMPERATURE
from upscale.errors import ConsumerGoneError, EndedError, UpscaleError, UsageError, interrupted_code
from upscale.media.pipe import STANDARD, is_piped
from upscale.models.catalog import (
    FOR_PICTURES,
    FOR_VIDEO,
    MODELS,
    QUALITY_OF,
    SPEED_OF,
    find_model,
)
from upscale.sampling.options import GRAIN, PRECISIONS
from upscale.telling import ended_by_signals, streams
from upscale.times import parse_time

if TYPE_CHECKING:
    from upscale.jobs.executors import Executor
    from upscale.pipeline import Job, Summary

TYPED = "upscale.typed"
"""Where a context keeps the arguments as they were typed."""


class Time(click.ParamType):
    """Seconds (12.5), or [hours:]minutes:seconds (1:02:03.5)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        try:
            return parse_time(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time; write seconds, or hours:minutes:seconds", param, ctx)


class Share(click.ParamType):
    """A number from 0 to 1, or ``auto``, which is None; ``off``, where there is that, is 0."""

    name = "share"

    def __init__(self, has_off: bool = False):
        self._words = "auto, off" if has_off else "auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if value == "auto" or value is None:
            return None
        if value in self._words.split(", "):
            return 0.0
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            words = self._words.replace(",", " nor")
            self.fail(f"{value!r} is neither {words} nor a number from 0 to 1", param, ctx)
        return share


def reporting_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what goes wrong in ``command`` into one line on stderr and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: Any, **options: Any) -> None:
        name = click.get_current_context().find_root().info_name
        with streams(), ended_by_signals():
            try:
                command(*args, **options)
            except UpscaleError as error:
                if options.get("debug"):
                    traceback.print_exc()
                if not isinstance(error, ConsumerGoneError):
                    _tell_error(f"{name}: ", str(error), error.exit_code, options)
                sys.exit(error.exit_code)
            except KeyboardInterrupt as error:
                said, code = f"interrupted{error}; an earlier output is unchanged", interrupted_code(error)
                _tell_error(f"{name}: ", said, code, options)
                sys.exit(code)

    return wrapper


def _tell_skipped(target: Path, beside: str, style: str, as_json: bool) -> None:
    """``beside`` names what was not made either."""
    from upscale.progress import tell_json

    reason = f"the output exists{beside}"
    told = {"output": str(target), "status": "skipped", "reason": reason}
    if as_json:
        click.echo(json.dumps(told, indent=2))
    if style == "json":
        tell_json("result", **told)
    else:
        click.echo(f"upscale: {target} exists; skipped{beside}", err=True)


def _warn(style: str, message: str) -> None:
    """A line, or an object for a script that asked for objects."""
    from upscale.progress import tell_json

    if style == "json":
        tell_json("warning", message=message)
    else:
        click.echo(f"upscale: {message}", err=True)


def _tell_error(prefix: str, message: str, code: int, options: dict[str, Any]) -> None:
    """One line, or an object for a script that asked for objects."""
    if options.get("as_json"):
        with contextlib.suppress(UpscaleError):  # which tells of less than this one
            click.echo(json.dumps({"error": message, "exit_code": code}, indent=2))
    if options.get("progress") == "json":
        click.echo(json.dumps({"type": "error", "message": message, "exit_code": code}), err=True)
    else:
        click.echo(prefix + message, err=True)


def _list_models(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        _print_models()
        ctx.exit()


def _print_models() -> None:
    defaults = {FOR_PICTURES: " (default for pictures)", FOR_VIDEO: " (default for video)"}
    for name, model in MODELS.items():
        click.echo(f"{name}{defaults.get(name, '')}")
        for word, said in (("for", model.what), ("speed", model.speed), ("quality", model.quality)):
            click.echo(f"    {word:8} {said}")
    click.echo(f"Speed: {SPEED_OF}.\nQuality: {QUALITY_OF}.")


def _print_version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from upscale import __version__

    click.echo(f"upscale {__version__}")
    if "--debug" in ctx.meta[TYPED]:
        from upscale.versions import versions

        for name, version in list(versions().items())[1:]:
            click.echo(f"{name} {version}")
    ctx.exit()


INTRODUCTION = """\
upscale restores old footage: it makes a film larger and sharper, and keeps all else of it.
  upscale tape.avi                                  a film: writes tape-x4.mp4 beside it
  upscale footage/ restored/ --scale 2              a folder of films
  upscale tape.avi --preview sheet.png              which settings? details to choose from, in seconds
upscale --help tells of all options, upscale --list-models of models; what is new: CHANGELOG.md"""
"""What the command alone prints."""


class Command(click.Command):
    """Keeps what was typed, for the report of it; what cannot be printed is an error in a line."""

    def main(self, *args: Any, **options: Any) -> Any:
        with streams():
            try:
                return super().main(*args, **options)
            except UpscaleError as error:  # of --help, --version and the like
                if not isinstance(error, ConsumerGoneError):
                    click.echo(f"upscale: {error}", err=True)
                sys.exit(error.exit_code)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[TYPED] = list(args)
        if not args and not ctx.resilient_parsing:
            click.echo(INTRODUCTION)
            ctx.exit()
        return super().parse_args(ctx, args)


def _model_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For a shell that completes what was begun."""
    return [name for name in MODELS if name.startswith(incomplete)]


@click.command(
    cls=Command,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    short_help="restores old footage with a PixelCNN",
)
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.argument("target", metavar="[OUTPUT]", required=False, type=click.Path(path_type=Path))
@click.option(
    "-s", "--scale", type=float, default=4.0, show_default=True, help="Enlargement factor, 1 to 8."
)
@click.option("--height", type=click.IntRange(2), help="Output height in pixels, instead of a scale.")
@click.option(
    "-m",
    "--model",
    shell_complete=_model_names,
    help="Model; chosen by the kind of input by default (see --list-models).",
)
@click.option(
    "-t",
    "--temperature",
    type=click.FloatRange(0, 1),
    help="0 (most faithful) to 1 (a full sample: sharper, noisier); the default depends on the model.",
)
@click.option(
    "--denoise", type=Share(), default="auto", help="How much grain and noise to remove: 0 to 1, or auto."
)
@click.option(
    "--dirt",
    type=Share(has_off=True),
    default="auto",
    help="How much of what one frame alone has, specks and hairs, to remove: off, 0 to 1, or auto (0.5).",
)
@click.option("--stabilize", is_flag=True, help="Hold still film that weaves in its gate; pans stay.")
@click.option("--deflicker", is_flag=True, help="Even out brightness flicker between frames.")
@click.option(
    "--grain",
    type=click.Choice(GRAIN),
    default="still",
    show_default=True,
    help="Sampling noise: the same in all frames (still), or new in each frame (moving).",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    default=0,
    show_default=True,
    help="Random seed of the sample.",
)
@click.option(
    "--color",
    type=click.Choice(COLORS),
    help="Colour black-and-white input: auto samples, reference follows pictures; off by default.",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="[TIME=]IMAGE",
    help="Colour picture to follow: the frame at TIME, or a similar scene. Repeatable.",
)
@click.option(
    "--color-seed",
    type=click.IntRange(0, 2**64 - 1),
    default=0,
    show_default=True,
    help="Random seed of the colours.",
)
@click.option(
    "--color-temperature",
    type=click.FloatRange(0, 1),
    default=DEFAULT_TEMPERATURE,
    show_default=True,
    help="0 (the safest guess) to 1 (a full sample) of the colours.",
)
@click.option(
    "--color-strength",
    type=click.FloatRange(0, 1),
    help="For input in colour: share of its colours to replace, 0 to 1.",
)
@click.option(
    "--saturation",
    type=click.FloatRange(0, 4),
    default=1.0,
    show_default=True,
    help="Saturation factor of the new colours.",
)
@click.option(
    "--preview",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a sheet (PNG) instead: details by several settings; with --color, shots by several seeds.",
)
@click.option("--at", type=Time(), multiple=True, help="With --preview: a moment to show. Repeatable.")
@click.option(
    "--export-keys",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the coloured first frame of each shot to a folder instead, to use as --reference.",
)
@click.option(
    "--map",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write an uncertainty map, a film or a picture: bright where detail was invented.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="Arithmetic of the networks.",
)
@click.option(
    "--tile",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Tile side in input pixels; 0 chooses it by the memory.",
)
@click.option("--memory", help="Memory to use, such as 2G; half of what is free by default.")
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Tiles per network call; more fill a GPU.",
)
@click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="CPU threads for the networks; 0 uses all cores.",
)
@click.option("--codec", help="Video encoder, by FFmpeg's name; libx264 where the container allows it.")
@click.option(
    "--crf", type=click.FloatRange(0, 63), help="Constant quality, lower is better; 16 by default."
)
@click.option("--preset", help="The encoder's preset, such as slow or veryfast.")
@click.option("--pix-fmt", help="Output pixel format; by default the source's bit depth and chroma layout.")
@click.option(
    "--codec-option",
    "codec_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Private option of the encoder. Repeatable.",
)
@click.option("--format", help="Container, if OUTPUT's name does not tell: nut, matroska, mp4 ...")
@click.option(
    "--deinterlace",
    type=click.Choice(["auto", "on", "bob", "off"]),
    default="auto",
    show_default=True,
    help="auto: frames marked as interlaced; on: all frames; bob: one frame per field.",
)
@click.option(
    "--field-order",
    type=click.Choice(["auto", "top", "bottom"]),
    default="auto",
    show_default=True,
    help="Field shown first, if the file says nothing, or is wrong.",
)
@click.option("--detelecine", is_flag=True, help="Undo 3:2 pulldown: 30 frames a second become 24.")
@click.option(
    "--crop", default="off", show_default=True, help="auto removes black borders; or WIDTH:HEIGHT:X:Y."
)
@click.option("--strict", is_flag=True, help="Stop rather than convert, leave out or lose anything.")
@click.option("--start", type=Time(), help="Start time: seconds, or h:mm:ss.")
@click.option("--duration", type=Time(), help="Length: seconds, or h:mm:ss.")
@click.option(
    "--segment",
    type=Time(),
    default="10",
    show_default=True,
    help="Length of a segment: finished ones survive an interruption. 0: no segments.",
)
@click.option(
    "--restart",
    is_flag=True,
    help="Discard what an earlier run has finished: segments, and a folder's films.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Number of processes, 1 by default: one per GPU, or per few cores.",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Use a Ray cluster: auto, local, host:port or ray://host:port.",
)
@click.option("--suffix", default="", help="For a folder: suffix added to output names.")
@click.option("--ext", help="For a folder: extension of the outputs; by default that of the input, or mkv.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a report: an HTML page to view the result; for a folder, JSON with a record per film.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write where the time goes: a trace of the first frames (JSON), for Perfetto or Chrome.",
)
@click.option(
    "--watch",
    is_flag=True,
    help="For a folder: keep running and process films as they arrive, until Ctrl-C.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite OUTPUT if it exists.")
@click.option("-n", "--skip-existing", is_flag=True, help="Do nothing if OUTPUT exists.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "json", "none"]),
    default="auto",
    show_default=True,
    help="A bar on a terminal, JSON lines for scripts; on stderr.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only errors and warnings.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON summary on stdout.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and exit.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--list-models",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_models,
    help="Show which model suits what, its speed and quality, and exit.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit; with --debug, also those of the libraries, and the device.",
)
@reporting_errors
@click.pass_context
def main(
    ctx: click.Context,
    source: Path,
    target: Path | None,
    preview: Path | None,
    at: tuple[Fraction, ...],
    export_keys: Path | None,
    overwrite: bool,
    skip_existing: bool,
    progress: str,
    quiet: bool,
    as_json: bool,
    dry_run: bool,
    debug: bool,
    workers: int | None,
    cluster: str | None,
    suffix: str,
    ext: str | None,
    report: Path | None,
    profile: Path | None,
    watch: bool,
    **options: Any,
) -> None:
    """Restore the video INPUT with a PixelCNN and write it, larger and sharper, to OUTPUT.

    Without OUTPUT it goes beside INPUT: tape.avi becomes tape-x4.mp4, footage/ becomes footage-x4/.

    Sound, subtitles, chapters, metadata, colour and timing stay as they are. "-" stands for a pipe. A
    folder of films becomes a folder. An interrupted run continues when the same command is given again.

    Exit codes: 0 done; 1 something failed, or frames were lost; 2 wrong usage; 130 interrupted; 141 the
    reader of the output has gone.
    """
    from upscale.jobs.options import make_job

    if overwrite and skip_existing:
        raise click.UsageError("-y and -n contradict each other; choose one")
    if preview or export_keys:
        beside = {"--dry-run": dry_run, "--map": options["map"], "--report": report, "--watch": watch}
        beside |= {"--profile": profile}
        for name, given in beside.items():
            if given:
                raise UsageError(f"--preview and --export-keys make no film; leave {name} out")
        job = make_job(source, target or source, overwrite=overwrite, **options)
        _look(job, preview, at, export_keys, quiet or progress == "json")
        return
    if at:
        raise UsageError("--at needs --preview SHEET")
    if target is None:
        from upscale.media.write.place import name_beside

        height = options["height"]
        target = name_beside(source, f"x{options['scale']:g}" if height is None else f"{height}p")
        if not quiet and progress != "json":
            click.echo(f"upscale: OUTPUT is {target}", err=True)
    _check_pipes(source, target, as_json)
    job = make_job(source, target, overwrite=overwrite, **options)
    style = "none" if quiet else progress

    def executor() -> "Executor":
        from upscale.jobs.executors import executor

        return executor(workers, cluster, job.sample, functools.partial(_warn, style))

    is_folder = os.path.isdir(source)  # noqa: PTH112 - which a name that is too long does not stop
    if profile is not None and (cluster or (workers or 1) > 1 or is_folder):
        raise UsageError("--profile is of one film in one process; leave --workers and --cluster out")
    if is_folder:
        _run_folder(
            job, executor, suffix, ext, report, watch, skip_existing, style, quiet, as_json, dry_run
        )
        return
    if suffix or ext or watch:
        raise UsageError("--suffix, --ext and --watch are for a folder; give one as INPUT")
    from upscale import pipeline
    from upscale.media.write.place import existing

    if skip_existing and existing(target):
        beside = {"map": job.map, "report": report, "profile": profile}
        asked = [name for name, path in beside.items() if path is not None]
        unmade = f"; no {' and no '.join(asked)} was made" if asked else ""
        _tell_skipped(target, unmade, progress, as_json)
        return
    if report is not None:
        from upscale.look.report import check_report

        if is_piped(source) or target == STANDARD:
            raise UsageError("--report looks at both films once more; give INPUT and OUTPUT names")
        check_report(report, job)
    if profile is not None:
        from upscale.look.profile import check_profile

        check_profile(profile, job)
    if dry_run:
        with pipeline.prepared(job) as plan:
            _report(plan.summary, as_json, quiet=False, done=False)
        return
    from upscale.jobs.run import run_film
    from upscale.progress import tell_json

    if profile is None:
        summary = run_film(job, executor, style)
    else:
        from upscale.look.profile import profiled

        summary = profiled(profile, lambda count: run_film(job, executor, style, count))
    if summary.segments == 0 and (cluster or (workers or 1) > 1):
        summary.warnings.append(
            "one process made it: pipes, pictures and --segment 0 leave no segments to share"
        )
    if progress == "json":
        for warning in summary.warnings:
            _warn(progress, warning)
        tell_json("result", **summary.as_dict())
    has_page = True
    if report is not None:
        has_page = _write_page(report, summary, [ctx.info_name or "upscale", *ctx.meta[TYPED]])
    _report(summary, as_json, quiet or progress == "json", done=True, told=progress == "json")
    if summary.damaged or not has_page:
        sys.exit(UpscaleError.exit_code)


def _check_color(job: "Job") -> None:
    """Once for all films of a folder."""
    from upscale.color.film import check_installed

    job.color.check()
    if job.color.wanted:
        check_installed()


def _look(
    job: "Job", sheet: Path | None, at: tuple[Fraction, ...], folder: Path | None, quiet: bool
) -> None:
    def tell(line: str) -> None:
        if not quiet:
            click.echo(f"upscale: {line}", err=True)

    if job.color.wanted or folder is not None:
        from upscale.look.keys import look_at_keys

        if at:
            raise UsageError(
                "--at is for a sheet of details; with --color the sheet shows where shots begin"
            )
        count, what = look_at_keys(job, sheet, folder, tell), "shot"
    else:
        from upscale.look.preview import preview

        assert sheet is not None
        count, what = preview(job, sheet, at, tell), "moment"
    if not quiet:
        for target in filter(None, (sheet, folder)):
            click.echo(f"{target}: {count} {what}{'s' * (count != 1)}", err=True)


def _run_folder(
    job: "Job",
    executor: "Callable[[], Executor]",
    suffix: str,
    ext: str | None,
    report: Path | None,
    watch: bool,
    skip_existing: bool,
    style: str,
    quiet: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    from upscale.jobs.folder import Folder
    from upscale.jobs.run import run_folder
    from upscale.progress import print_table, tell_json

    if job.map is not None:
        raise UsageError("--map is for one film; give a film as INPUT")
    find_model(job.sample.model)
    _check_color(job)
    # Any other suffix may be that of a film, or of the list of the finished ones.
    if report is not None and report.suffix.lower() != ".json":
        raise UsageError(f"{report}: the report of a folder is JSON; give it a name that ends in .json")
    folder = Folder(job.source, job.target, suffix, ext, tell=functools.partial(_warn, style))
    if report is not None:
        folder.check_report(report, job.overwrite)
    if dry_run:
        for entry in folder.look():
            click.echo(f"{entry.source} -> {entry.target}")
        return
    has_report = True
    try:
        run_folder(folder, job, executor(), style, skip_existing, watch)
    finally:
        told = folder.report()
        if report is not None:
            has_report = _write_report(report, told, style)
        if style != "json" and not quiet:
            print_table(told)
    if style == "json":
        tell_json("result", **told)
    if as_json:
        click.echo(json.dumps(told, indent=2))
    if not folder.entries:
        raise UpscaleError(f"{job.source}: no films in it")
    if told["failed"] or not has_report or any(entry.damaged for entry in folder.entries):
        sys.exit(UpscaleError.exit_code)


def _write_report(path: Path, told: dict[str, Any], style: str) -> bool:
    """Whether there is a report. The films are made: what goes wrong now is a warning."""
    from upscale.media.write.whole import write_whole

    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, (json.dumps(told, indent=2) + "\n").encode())
        return True
    except OSError as error:
        _warn(style, f"{path}: cannot be written ({error.strerror})")
        return False


def _write_page(page: Path, summary: "Summary", command: list[str]) -> bool:
    """Whether there is a report. The film is made: what goes wrong now is a warning of its summary."""
    from upscale.look.report import write_report

    try:
        write_report(page, summary, command)
        return True
    except UpscaleError as error:
        summary.warnings.append(f"there is no report: {error}")
    except EndedError:
        raise
    except KeyboardInterrupt:
        summary.warnings.append("there is no report, as it was interrupted; the film is made")
    return False


def _check_pipes(source: Path, target: Path, as_json: bool) -> None:
    """Raises UsageError for pipes that cannot be."""
    if target == STANDARD and as_json:
        raise UsageError("with OUTPUT - the film is on standard output, and --json cannot be there too")
    if (target == STANDARD and sys.stdout is None) or (source == STANDARD and sys.stdin is None):
        raise UsageError("- stands for a standard input or output that is closed; give files' names")
    if target == STANDARD and sys.stdout.isatty():
        raise UsageError("standard output is a terminal; pipe it on, or give OUTPUT a name")
    if source == STANDARD and sys.stdin.isatty():
        raise UsageError("standard input is a terminal; pipe a film into it, or give INPUT a name")


def _restored(summary: "Summary") -> str:
    """What was found and evened out, for the line at the end."""
    said = ""
    noise, flicker, dirt = summary.found.noise, summary.found.flicker, summary.found.dirt
    condition, weave = summary.found.condition, summary.found.weave
    if noise.luma:
        shots = len(noise.luma)
        levels = []
        for name, each in (("luma", noise.luma), ("chroma", noise.chroma)):
            span = f"{min(each):.1f}" + (f" to {max(each):.1f}" if shots > 1 else "")
            levels.append(f"{span} in {name}")
        said += f"; noise {' and '.join(levels)} (8-bit levels, {shots} shot{'s' * (shots > 1)})"
    if condition.clean:
        said += f"; {condition.clean} of {condition.pictures} pictures are clean, and not restored"
    if dirt.dirty:
        share = f"{dirt.share:.2%}" if dirt.share >= 0.0001 else "less than 0.01%"
        said += f"; dirt removed from {dirt.dirty} of {dirt.pictures} pictures, {share} of their pixels"
    if weave.pictures:
        moved = f"{weave.moved} of {weave.pictures} pictures moved"
        said += f"; weave of {weave.pixels:.1f} pixels taken out, {moved}"
    if flicker.frames:
        before, after = (f"{change:.1%}" for change in (flicker.before, flicker.after))
        said += f"; flicker {before} of the brightness, now {after}"
    return said


def _report(summary: "Summary", as_json: bool, quiet: bool, done: bool, told: bool = False) -> None:
    """``told`` says that the warnings were."""
    for warning in () if told else summary.warnings:
        click.echo(f"upscale: {warning}", err=True)
    if as_json:
        click.echo(json.dumps(summary.as_dict(), indent=2))
    elif not quiet:
        info, (width, height) = summary.info, summary.size
        what = f"{summary.job.target}: {info.width}x{info.height} -> {width}x{height}"
        if done and summary.reused:
            what += f" ({summary.reused} frames repeat the one before)"
        if done:
            made = summary.frames - summary.resumed
            rate = made / summary.seconds if summary.seconds else 0
            earlier = f", {summary.resumed} more of an earlier run" if summary.resumed else ""
            counted = f"{made} frame{'s' * (made != 1)}"
            what += f", {counted} in {summary.seconds:.1f} s ({rate:.2f} fps){earlier}"
            what += _restored(summary)
            what += f"; map: {summary.job.map}" if summary.job.map is not None else ""
            if summary.layers:
                shares = (f"{share:.0%} {kind}" for kind, share in summary.layers.items() if share >= 0.01)
                what += f"; the networks' time: {', '.join(shares)}"
        else:
            job = summary.job
            frames = summary.expected or "an unknown number of"
            what += f", {frames} frames, {job.sample.model} at temperature {job.sample.temperature:g}"
        click.echo(what, err=True)
