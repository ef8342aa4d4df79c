"""For programs: what the command does to films.

Names of options and what they mean are the command's; see docs/api.md.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypedDict, Unpack

from upscale.checks import checked
from upscale.jobs.executors import executor
from upscale.jobs.options import make_job
from upscale.jobs.run import StoppedError, run_film
from upscale.pipeline import Summary

Seconds = float | int | str | Fraction
"""A time: a number, or 1:02:03.5 as the command has it."""


class Options(TypedDict, total=False):
    """What may be asked for a film, all of it optional."""

    scale: float
    height: int | None
    model: str | None
    temperature: float | None
    denoise: float | None
    dirt: float | str | None
    stabilize: bool
    deflicker: bool
    grain: str
    seed: int
    color: str
    references: Sequence[str | Path]
    color_seed: int
    color_temperature: float
    color_strength: float | None
    saturation: float
    map: str | Path | None
    device: str
    precision: str
    tile: int
    memory: int | str | None
    batch: int
    threads: int
    codec: str | None
    crf: float | None
    preset: str | None
    pix_fmt: str | None
    codec_options: Mapping[str, str]
    format: str | None
    deinterlace: str
    field_order: str
    detelecine: bool
    crop: str
    strict: bool
    start: Seconds | None
    duration: Seconds | None
    segment: Seconds
    restart: bool
    overwrite: bool


def film(
    source: str | Path,
    target: str | Path,
    *,
    on_frame: Callable[[int], None] = lambda frames: None,
    workers: int | None = None,
    cluster: str | None = None,
    **options: Unpack[Options],
) -> Summary:
    """Restore the film ``source`` and write it to ``target``, as ``upscale SOURCE TARGET`` does.

    ``on_frame`` is told the number of frames done after each, in any thread. Answers with what was done;
    ``Summary.warnings`` says what was converted or left out, ``Summary.damaged`` whether anything of the
    source could not be read. Raises UpscaleError, or UsageError for invalid options. Ctrl-C
    leaves what is finished beside the target; the same call goes on with it.
    """
    job = make_job(source, target, **checked(dict(options)))
    warned: list[str] = []
    try:
        summary = run_film(
            job, lambda: executor(workers, cluster, job.sample, warned.append), "none", on_frame
        )
    except StoppedError as error:
        raise KeyboardInterrupt(str(error)) from error
    summary.warnings += warned
    return summary
