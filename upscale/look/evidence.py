"""What a report shows of a film: moments before and after, how sure the model was, what the files hold."""

import contextlib
import functools
import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from upscale.color.options import ColorOptions
from upscale.errors import UpscaleError
from upscale.look.moments import find_moments, first_time, moments
from upscale.look.timing import Shown
from upscale.media.info import location
from upscale.media.picture import is_sequence
from upscale.media.read.index import index_film
from upscale.media.read.source import Source
from upscale.media.rgb import Rgb, to_rgb, upright
from upscale.media.write.writer import CONTAINER_MARKS
from upscale.models.catalog import find_model, weights_files
from upscale.pipeline import Job, Summary, open_networks
from upscale.planes import SPREAD
from upscale.sampling.map import brightness

MOMENTS = 8

ROUNDED = Fraction(6, 1000)
"""Seconds by which an output may show a frame late: a GIF's clock has hundredths of a second."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A moment of a film, before and after, as players show it."""

    time: Fraction
    """Seconds from the beginning of the film."""
    before: Rgb
    after: Rgb
    map: Rgb | None
    """How far each pixel may be from the truth: see ``sampling.map``; None of a model that cannot tell."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of a file, in words."""

    kind: str
    what: str


def pairs(summary: Summary) -> Iterator[Pair]:
    """Moments spread over the film, read from its source and from what was made of it.

    Raises UpscaleError where one of them cannot be read in this way."""
    with Source(summary.job.source, summary.job.read) as source:
        crop = str(source.crop) if source.crop is not None else "off"
        info = source.info  # without colours, where some were given
    read = replace(summary.job.read, crop=crop)
    has_spread = find_model(summary.job.sample.model).has_spread
    sample = replace(summary.job.sample, spread=has_spread)
    job = replace(summary.job, read=read, color=ColorOptions(), sample=sample)
    plain = replace(job, stabilize=False, deflicker=False)
    enlarger = open_networks(job, info, summary.size).enlarger if has_spread else None
    begins = first_time(job, info)
    places = find_moments(job, info, MOMENTS)
    seen = moments(job, info, enlarger.window, places) if enlarger is not None else None
    for moment in moments(plain, info, 0, places):
        after = _after(job, moment.frame.pts, moment.frame.pts * info.time_base - begins)
        shown: Rgb | None = None
        if seen is not None and enlarger is not None:
            planes = next(seen).frame.planes
            bright = np.round(brightness(enlarger.begin(planes)()[0][SPREAD]) * 255).astype(np.uint8)
            shown = upright(np.repeat(bright[..., np.newaxis], 3, 2), info)
        yield Pair(moment.time, upright(to_rgb(moment.frame.planes, info), info), after, shown)


def _after(job: Job, pts: int, since: Fraction) -> Rgb:
    """What was made of the frame at ``pts``, ``since`` seconds after the first one of its part.

    Numbered pictures have no clock: they are counted."""
    with Source(job.target) as source:
        info = source.info
        if is_sequence(job.target):
            since = _number(job, pts) / (info.average_rate or Fraction(25))
        shown = Shown(source, since, lambda frame: to_rgb(frame.planes, info))
        return upright(shown.at(since + ROUNDED), info)


def _number(job: Job, pts: int) -> int:
    """How many frames of the part that is made come before the one at ``pts``."""
    with Source(job.source, job.read) as source:
        index, part, tick = index_film(source), source.part(job.start, job.duration), source.info.time_base
    shift = round(part.shift / tick)
    first = round(part.begin / tick) if part.shift else min(index.times, default=0)
    times = sorted(index.times)
    return bisect_left(times, pts + shift) - bisect_left(times, first)


def streams(path: Path) -> list[Stream]:
    """What a file holds. Raises UpscaleError if it cannot be read."""
    try:
        with av.open(location(path), metadata_errors="replace") as container:
            found = [Stream(stream.type or "unknown", _described(stream)) for stream in container.streams]
            chapters = container.chapters()
            first = None
            with contextlib.suppress(av.FFmpegError):  # its first packets may be damaged
                first = next(container.decode(video=0), None)
            if first is not None and first.interlaced_frame:
                place = [stream.type for stream in container.streams].index("video")
                found[place] = replace(found[place], what=f"{found[place].what}, interlaced")
            if chapters:
                found.append(Stream("chapters", str(len(chapters))))
            told = container.metadata.items()
            tags = ", ".join(f"{key}: {text}" for key, text in told if key.lower() not in CONTAINER_MARKS)
            if tags:
                found.append(Stream("tags", tags))
            return found
    except (av.FFmpegError, OSError) as error:
        raise UpscaleError(f"{path}: cannot be read for the report ({error})") from error


def _described(stream: Any) -> str:
    """A stream's codec, and what matters of its kind."""
    context = stream.codec_context
    if context is None:
        return "of a kind that FFmpeg does not know"
    words = [context.name]
    if stream.type == "video":
        words += [f"{context.width}x{context.height}", context.pix_fmt or ""]
        if stream.average_rate:
            words.append(f"{float(stream.average_rate):.5g} frames/s on average")
    elif stream.type == "audio":
        words += [f"{context.sample_rate} Hz", context.layout.name]
    if stream.language not in (None, "und"):
        words.append(stream.language)
    return ", ".join(word for word in words if word)


@functools.lru_cache(maxsize=16)
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights_of(job: Job, scale: float) -> dict[str, str]:
    """The files of weights that a job went through, each with its sha256."""
    files = weights_files(find_model(job.sample.model), scale, job.color.wanted)
    return {path.name: _digest(path) for path in files}
