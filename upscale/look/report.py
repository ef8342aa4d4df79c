"""The page that is looked at after a film was made: one file, which needs nothing else to be shown."""

import base64
import contextlib
import importlib.util
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from upscale.errors import UpscaleError, UsageError
from upscale.look.evidence import MOMENTS, Pair, pairs, streams, weights_of
from upscale.media.rgb import Rgb, is_turned
from upscale.media.write.place import check_small
from upscale.media.write.whole import write_whole
from upscale.pipeline import Job, Summary
from upscale.times import name_time
from upscale.versions import versions

LARGEST = 8_000_000
"""Bytes of a page, at most."""

FOR_PICTURES = 5_400_000
"""Of these, for pictures, which base64 makes a third larger."""

QUALITIES = (88, 80, 70, 55)
"""Of WebP, that are tried one after the other until a picture fits."""

SMALLER = 0.75
"""What the sides of a picture are multiplied by that does not fit at any of these."""

NEEDED = ("jinja2", "matplotlib")


def check_report(page: Path, job: Job) -> None:
    """All that is cheap to check before a film is made. Raises UsageError or UpscaleError."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{page}: the report of a film is a page; give it a name that ends in .html")
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise UsageError("--report of a film needs its extra: pip install 'upscale-pixelcnn[report]'")
    others = {"OUTPUT": job.target} | ({"--map": job.map} if job.map is not None else {})
    check_small(page, job.overwrite, job.sources, others)


def write_report(page: Path, summary: Summary, command: Sequence[str]) -> None:
    """Write what there is to say and to show of a film that was made, to ``page``. ``command`` is what was
    typed. Raises UpscaleError."""
    text = render(summary, command)
    try:
        write_whole(page, text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise UpscaleError(f"{page}: cannot be written ({error.strerror})") from error


def render(summary: Summary, command: Sequence[str]) -> str:
    """The page as HTML."""
    import shlex

    from jinja2 import Environment, PackageLoader, StrictUndefined

    from upscale.look import plots

    room = FOR_PICTURES // (MOMENTS * 3)
    aspect = summary.info.sample_aspect_ratio or Fraction(1)
    if is_turned(summary.info):
        aspect = 1 / aspect
    found: list[dict[str, Any]] = []
    with contextlib.suppress(UpscaleError):  # a page without pictures is better than none
        for pair in pairs(summary):
            found.append(_moment(pair, room, aspect))
    told = summary.as_dict()
    loader = PackageLoader("upscale.look", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scale = max(summary.size[0] / summary.info.width, summary.size[1] / summary.info.height)
    return environment.get_template("report.html.jinja").render(
        summary=told,
        command=shlex.join(command),
        versions=versions() | {"computed in": summary.arithmetic},
        weights=weights_of(summary.job, scale),
        moments=found,
        files=[_file("source", summary.job.source), _file("result", summary.job.target)],
        pace=plots.pace(summary.pace),
        stages=plots.stages(summary.stages.busy),
        noise=plots.noise(summary.found.noise.luma, summary.found.noise.chroma),
    )


def _file(role: str, path: Path) -> dict[str, Any]:
    size = path.stat().st_size if path.is_file() else None
    found = streams(path) if path.is_file() else []
    return {"role": role, "path": str(path), "bytes": size, "streams": found}


def _moment(pair: Pair, room: int, aspect: Fraction) -> dict[str, Any]:
    """What the template shows of a moment, its pictures in ``room`` bytes each.

    ``aspect`` is the width of a pixel to its height."""
    height, width = pair.after.shape[:2]
    return {
        "time": name_time(pair.time),
        "width": round(width * aspect),
        "height": height,
        "before": embedded(pair.before, room),
        "after": embedded(pair.after, room),
        "map": None if pair.map is None else embedded(pair.map, room),
    }


def embedded(rgb: Rgb, room: int) -> str:
    """A picture as a WebP in a data URL, of ``room`` bytes at most before base64."""
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    while True:
        for quality in QUALITIES:
            done, data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])
            if done and len(data) <= room:
                return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()
        height, width = (max(round(side * SMALLER), 1) for side in bgr.shape[:2])
        bgr = np.asarray(cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
