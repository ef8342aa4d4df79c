"""A look before the film is made: a detail of some moments, by the settings that matter.

film -> moments -> the most detailed part of each -> a column for each choice -> a sheet
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from upscale.errors import UpscaleError, UsageError
from upscale.look.moments import Moment, cut_out, find_moments, moments, most_detailed
from upscale.look.sheet import Cell, check_sheet, in_shape, write_sheet
from upscale.media.info import VideoInfo
from upscale.media.pipe import is_piped
from upscale.media.read.source import Source
from upscale.media.rgb import Rgb, to_rgb, upright
from upscale.models.catalog import Model, find_model
from upscale.pipeline import Job, Networks, is_judged, open_networks, output_size, settled_sample
from upscale.planes import Box
from upscale.times import name_time

ROWS = 6
"""Moments on a sheet."""

WIDTH, HEIGHT = 320, 240
"""Of a detail on the sheet, at the output's size."""

SMALLEST = 32
"""Input pixels a side of a detail, however large the scale."""

TEMPERATURES = (0.0, 0.3, 0.5, 0.7)

DENOISE: tuple[float | None, ...] = (0.0, None, 1.0)

DIRT = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Choice:
    """A column of the sheet."""

    option: str
    """What to type for it."""
    job: Job
    beside: str = ""
    """What goes with it, where there are several to choose from."""


def choices(model: Model, job: Job) -> list[Choice]:
    """What there is to choose of a model, around the options that were given."""
    if model.temperature is None:
        return [Choice(f"--model {model.name}", job)]

    def sampled(**changed: float | None) -> Job:
        return replace(job, sample=replace(job.sample, **changed))  # type: ignore[arg-type]

    given = job.sample.temperature
    temperatures = set(TEMPERATURES) if model.denoises else {*TEMPERATURES, given}
    found = [
        Choice(f"--temperature {t:g}", sampled(temperature=t))
        for t in sorted(temperatures)  # type: ignore[type-var]
    ]
    if not model.denoises:
        return found
    beside = f"temperature {given:g}"
    for denoise in DENOISE:
        option = f"--denoise {'auto' if denoise is None else f'{denoise:g}'}"
        found.append(Choice(option, sampled(denoise=denoise), beside))
    found += [Choice(f"--dirt {dirt:g}", replace(job, dirt=dirt), beside) for dirt in DIRT]
    return found


def preview(
    job: Job, sheet: Path, at: Sequence[Fraction] = (), tell: Callable[[str], None] = lambda line: None
) -> int:
    """Write a ``sheet`` of details of the film by the settings that there are to choose from: of moments
    spread over it, or of those ``at`` some seconds. Answers with the number of moments.

    Raises UpscaleError or UsageError."""
    _check(job, sheet)
    with Source(job.source, job.read) as source:
        info = source.info
        crop = str(source.crop) if source.crop is not None else "off"
        job = replace(job, read=replace(job.read, crop=crop))
    job = replace(job, sample=settled_sample(job.sample, info.is_picture))
    model = find_model(job.sample.model)
    size = output_size(info, job, info.pixels.subsampling or (1, 1))
    model.stages(max(size[0] / info.width, size[1] / info.height))
    places = find_moments(job, info, ROWS, at)
    columns = choices(model, job)
    opened = [open_networks(choice.job, info, size) for choice in columns]
    window = opened[0].enlarger.window
    seen_by = {seen_of(choice.job): choice.job for choice in columns}
    rows = []
    for place in places:
        seen = {
            key: moment for key, one in seen_by.items() for moment in moments(one, info, window, [place])
        }
        if not seen:
            continue
        tell(f"{job.source}: a detail at {name_time(next(iter(seen.values())).time)}")
        rows.append(_row(seen, info, size, columns, opened, job))
    if not rows:
        raise UpscaleError(f"{job.source}: no frame of it could be read")
    write_sheet(sheet, rows)
    return len(rows)


def seen_of(job: Job) -> object:
    """What the planes depend on that a model sees, of the options that there are to choose from."""
    return is_judged(job), job.dirt


def _check(job: Job, sheet: Path) -> None:
    """All that is cheap to check."""
    if is_piped(job.source):
        raise UsageError("a pipe can be read only once; give the name of a file as INPUT")
    if job.source.is_dir():
        raise UsageError(f"{job.source}: is a folder; look at one film at a time")
    find_model(job.sample.model)
    check_sheet(sheet, job)


def _row(
    seen: dict[object, Moment],
    info: VideoInfo,
    size: tuple[int, int],
    columns: Sequence[Choice],
    opened: Sequence[Networks],
    given: Job,
) -> list[Cell]:
    """The detail of a moment as a player shows it, and by every choice. ``seen`` is what the models see of
    it, by ``seen_of``."""
    moment, ratio = seen[seen_of(given)], max(size[0] / info.width, size[1] / info.height)
    moment = seen.get(seen_of(replace(given, dirt=0.0)), moment)  # a player shows the dirt
    sides = (max(round(side / ratio) // 4 * 4, SMALLEST) for side in (WIDTH, HEIGHT))
    box = most_detailed(moment.frame.planes[0][0], *sides)
    when = "" if info.is_picture else f" at {name_time(moment.time)}"
    cells = [Cell(_enlarged(moment, info, box, size), (f"source{when}", "bicubic"))]
    for choice, networks in zip(columns, opened, strict=True):
        planes = seen[seen_of(choice.job)].frame.planes
        shown = upright(to_rgb(networks.enlarger.detail(planes, box), info), info)
        current = "current setting" if choice.job == given else ""
        told = ", ".join(filter(None, (choice.beside, current)))
        cells.append(Cell(shown, (choice.option, told)))
    return [cell._replace(picture=in_shape(cell.picture, info)) for cell in cells]


def _enlarged(moment: Moment, info: VideoInfo, box: Box, size: tuple[int, int]) -> Rgb:
    """The source's own pixels, by bicubic."""
    across, down = size[0] / info.width, size[1] / info.height
    around = box.grown(4, 4, (info.height, info.width))
    rgb = to_rgb(cut_out(moment.frame.planes, around, info.pixels.subsampling), info)
    wide, high = round(around.width * across), round(around.height * down)
    large = cv2.resize(rgb, (wide, high), interpolation=cv2.INTER_CUBIC)
    top, left = round((box.top - around.top) * down), round((box.left - around.left) * across)
    part = large[top : top + round(box.height * down), left : left + round(box.width * across)]
    return upright(np.asarray(part, np.uint8), info)
