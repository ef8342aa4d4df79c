"""A sheet of pictures to choose from: rows of the same picture in several ways, each with what to type."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from upscale.errors import UsageError
from upscale.media.info import VideoInfo
from upscale.media.picture import write_picture
from upscale.media.rgb import Rgb, is_turned
from upscale.media.write.place import check_small
from upscale.media.write.whole import part_of
from upscale.pipeline import Job

LINE = 20
"""Rows of a line of text."""

GAP = 6

FONT, SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.5


class Cell(NamedTuple):
    """A picture of a sheet, and the lines above it."""

    picture: Rgb
    lines: tuple[str, ...]


def check_sheet(sheet: Path, job: Job) -> None:
    """Raises UpscaleError or UsageError for a sheet of a job that cannot be written under that name."""
    check_small(sheet, job.overwrite, job.sources)
    if sheet.suffix.lower() != ".png":
        raise UsageError(f"{sheet}: the sheet is a PNG; give it a name that ends in .png")


def write_sheet(sheet: Path, rows: Sequence[Sequence[Cell]]) -> None:
    """Write the rows as a PNG, beside its name first. Raises UpscaleError."""
    strips = [np.concatenate([_drawn(cell) for cell in row], 1) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    beside = part_of(sheet)
    try:
        write_picture(beside, np.concatenate(padded))
        beside.replace(sheet)
    finally:
        beside.unlink(missing_ok=True)


def shrunk(picture: Rgb, width: int) -> Rgb:
    """A picture made ``width`` columns wide."""
    height = max(round(width * picture.shape[0] / picture.shape[1]), 1)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def in_shape(picture: Rgb, info: VideoInfo) -> Rgb:
    """A picture of a film with square pixels, as wide as players show it."""
    aspect = info.sample_aspect_ratio or 1
    if aspect == 1:
        return picture
    width = max(round(picture.shape[1] * (1 / aspect if is_turned(info) else aspect)), 1)
    size = width, picture.shape[0]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _drawn(cell: Cell) -> Rgb:
    height, width = cell.picture.shape[:2]
    wide = (cv2.getTextSize(line, FONT, SIZE, 1)[0][0] + GAP for line in cell.lines)
    width = max(width, *wide)
    top = LINE * len(cell.lines) + GAP
    drawn = np.full((top + height + GAP, width + GAP, 3), 255, np.uint8)
    drawn[top : top + height, : cell.picture.shape[1]] = cell.picture
    for number, line in enumerate(cell.lines, 1):
        place = 2, LINE * number - 4
        cv2.putText(drawn[:, : width + GAP // 2], line, place, FONT, SIZE, (0, 0, 0), 1, cv2.LINE_AA)
    return drawn
