"""A look at the colours before the film is made: the key frame of every shot, by several seeds.

film -> where its shots begin -> key frames -> a sheet of samples, or a picture each, to be painted
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from upscale.color.film import check_installed
from upscale.color.options import name_of_time, time_in_name
from upscale.errors import UpscaleError, UsageError
from upscale.keys import Cuts
from upscale.look.sheet import Cell, check_sheet, shrunk, write_sheet
from upscale.media.frame import Frame, Key
from upscale.media.info import VideoInfo
from upscale.media.part import Part
from upscale.media.picture import write_picture
from upscale.media.pipe import is_piped
from upscale.media.read.source import Source
from upscale.media.rgb import to_rgb
from upscale.media.write.place import check_folder
from upscale.pipeline import (
    Job,
    Networks,
    key_at,
    may_jump,
    open_networks,
    settled_color,
    settled_sample,
)
from upscale.planes import Planes

SEEDS = 4
"""Samples of each key frame, from ``--color-seed`` on."""

ROWS = 12
"""Key frames on a sheet, at most: spread over the film where it has more shots."""

CELL = 320
"""Columns of a picture on the sheet."""


def look_at_keys(
    job: Job, sheet: Path | None, folder: Path | None, tell: Callable[[str], None] = lambda line: None
) -> int:
    """Write a ``sheet`` of samples, or the coloured key frames into a ``folder``, or both.

    Answers with the number of shots, and tells what is known of the film. Raises UpscaleError, and
    UsageError where the film cannot be looked through."""
    _check(job, sheet, folder)
    with Source(job.source, job.read) as source:
        crop = str(source.crop) if source.crop is not None else "off"
        job = replace(job, read=replace(job.read, crop=crop))
        job = replace(job, sample=settled_sample(job.sample, source.info.is_picture))
        job, notes = settled_color(job, source)
        for note in notes:
            tell(f"{job.source}: {note}")
        info, jump = job.picture(source.info), may_jump(job, source)
        networks = open_networks(job, source.info, (2 * info.width, 2 * info.height))
    starts = _starts(job)
    if not starts:
        raise UpscaleError(f"{job.source}: no frame of it could be read")
    if folder is not None:
        for key, time in _keys(job, info, networks, starts, jump):
            write_picture(folder / f"{name_of_time(time)}.png", to_rgb(_colored(networks, key), info))
    if sheet is not None:
        step = max(len(starts) / ROWS, 1.0)
        chosen = [starts[int(place * step)] for place in range(min(ROWS, len(starts)))]
        keys = _keys(job, info, networks, chosen, jump)
        write_sheet(sheet, [_row(job, networks, info, key, time) for key, time in keys])
    return len(starts)


def _check(job: Job, sheet: Path | None, folder: Path | None) -> None:
    """All that is cheap to check."""
    if not job.color.wanted:
        raise UsageError("--export-keys writes coloured frames; add --color auto, or --reference IMAGE")
    if is_piped(job.source):
        raise UsageError("a pipe can be read only once; give the name of a file as INPUT")
    if job.source.is_dir():
        raise UsageError(f"{job.source}: is a folder; look at one film at a time")
    job.color.check()
    check_installed()
    if sheet is not None:
        check_sheet(sheet, job)
    if folder is not None:
        check_folder(folder)
        if not folder.parent.is_dir():
            raise UsageError(f"{folder.parent}: no such folder; make it first")
        if folder.exists() and not job.overwrite:
            raise UpscaleError(f"{folder}: exists; use -y to overwrite what is in it")
        for source in job.sources:
            # A key frame that was painted is named as the one that would replace it.
            if time_in_name(source) is not None and folder.resolve() == source.resolve().parent:
                raise UsageError(
                    f"{folder}: {source.name}, which is read, lies in it; choose another folder"
                )
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UpscaleError(f"{folder}: {error.strerror}") from error


def _starts(job: Job) -> list[int]:
    """The pts of the first frame of every shot."""
    cuts = Cuts()
    with Source(job.source, job.read) as source:
        frames = source.frames(job.start, job.duration)
        return [frame.pts for frame in frames if cuts.begins_shot(frame)]


def _keys(
    job: Job, info: VideoInfo, networks: Networks, starts: list[int], jump: bool
) -> Iterator[tuple[Key, Fraction]]:
    """The key frames of the shots that begin at those pts, and their times in seconds."""
    shift = Part.of(info.start, job.start, job.duration).shift

    def opened() -> Source:
        return Source(job.source, job.read)

    for start in starts:
        key = key_at(job, info, opened, networks.enlarger.window, start, jump)
        if key is not None:
            yield key, key.pts * info.time_base + shift - info.start


def _colored(networks: Networks, key: Key) -> Planes:
    assert networks.colorist is not None
    frame = networks.colorist(Frame(key.planes, key.pts, 1, Fraction(1), key=key))
    return frame.planes[0][:1], frame.planes[1]


def _row(job: Job, networks: Networks, info: VideoInfo, key: Key, time: Fraction) -> list[Cell]:
    """The key frame as it is, and by every seed."""
    assert networks.colorist is not None
    pictures, labels = [], [name_of_time(time)]
    for seed in range(job.color.color_seed, job.color.color_seed + SEEDS):
        networks.colorist.draw_anew(seed % 2**64)
        pictures.append(_colored(networks, key))
        labels.append(f"--color-seed {seed % 2**64}")
    luma, chroma = pictures[0]
    pictures.insert(0, (luma, np.full_like(chroma, 0.5)))
    return [
        Cell(shrunk(to_rgb(planes, info), CELL), (label,))
        for planes, label in zip(pictures, labels, strict=True)
    ]
