"""For programs: what the command does to films.

Names of options and what they mean are the command's; see docs/api.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any, TypedDict, Unpack

from upscale.checks import checked
from upscale.color.options import ColorOptions, Reference
from upscale.jobs.executors import executor
from upscale.jobs.run import StoppedError, run_film
from upscale.media.read.source import ReadOptions
from upscale.media.write.encoder import EncodeOptions, parse_codec_options
from upscale.pipeline import Job, Summary
from upscale.sampling.memory import parse_size
from upscale.sampling.options import SampleOptions

Seconds = float | int | str | Fraction
"""A time: a number, or 1:02:03.5 as the command has it."""


class Options(TypedDict, total=False):
    """What may be asked for a film, all of it optional."""

    scale: float
    height: int | None
    model: str | None
    temperature: float | None
    denoise: float | None
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


def make_job(source: str | Path, target: str | Path, **options: Any) -> Job:
    """What the options of the command, or of ``film``, ask for. Raises UsageError or UpscaleError."""

    def chosen(record: type) -> dict[str, Any]:
        return {field.name: options[field.name] for field in fields(record) if field.name in options}

    memory = options.get("memory")
    options["memory"] = parse_size(memory) if isinstance(memory, str) else memory
    pairs = options.get("codec_options", ())
    told = [f"{key}={value}" for key, value in pairs.items()] if isinstance(pairs, Mapping) else pairs
    options["codec_options"] = parse_codec_options(told)
    references = map(str, options.get("references", ()))
    found = [known.read() for text in references for known in Reference.parse(text)]
    options["references"] = tuple(found)
    options["color"] = options.get("color") or ("reference" if found else "off")
    if options.get("map") is not None:
        options["map"] = Path(options["map"])
    color = ColorOptions(**chosen(ColorOptions))
    del options["color"]
    return Job(
        Path(source),
        Path(target),
        color=color,
        read=ReadOptions(**chosen(ReadOptions)),
        sample=SampleOptions(**chosen(SampleOptions)),
        encode=EncodeOptions(**chosen(EncodeOptions)),
        **chosen(Job),
    )
