"""What a report shows of a film: moments before and after, how sure the model was, what the files hold."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from upscale.color.options import ColorOptions
from upscale.errors import UpscaleError
from upscale.look.moments import find_moments, moments
from upscale.media.part import Stretch
from upscale.media.read.source import Source
from upscale.media.rgb import Rgb, to_rgb, upright
from upscale.media.write.writer import CONTAINER_MARKS
from upscale.models.catalog import find_model, weights_files
from upscale.pipeline import Job, Summary, open_networks
from upscale.planes import SPREAD
from upscale.sampling.map import brightness

MOMENTS = 8


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
    """Moments spread over the film, read from its source and from what was made of it."""
    job, info, size = summary.job, summary.info, summary.size
    with Source(job.source, job.read) as source:
        crop = str(source.crop) if source.crop is not None else "off"
        own = source.info  # grey, where colours were given
    job = replace(job, read=replace(job.read, crop=crop), color=ColorOptions())
    has_spread = find_model(job.sample.model).has_spread
    job = replace(job, sample=replace(job.sample, spread=has_spread))
    enlarger = open_networks(job, own, size).enlarger if has_spread else None
    window = enlarger.window if enlarger is not None else 0
    for moment in moments(job, own, window, find_moments(job, own, MOMENTS)):
        planes = moment.frame.planes
        after = _at(summary.job.target, moment.frame.pts * info.time_base, info.average_rate)
        if after is None:  # of a film that ends sooner than its source
            continue
        shown: Rgb | None = None
        if enlarger is not None:
            bright = np.round(brightness(enlarger.begin(planes)()[0][SPREAD]) * 255).astype(np.uint8)
            shown = upright(np.repeat(bright[..., np.newaxis], 3, 2), own)
        before = to_rgb((planes[0][:1], *planes[1:]), own)
        yield Pair(moment.time, upright(before, own), after, shown)


def _at(path: Path, seconds: Fraction, rate: Fraction | None) -> Rgb | None:
    """The frame of an output that is shown at that time of its clock."""
    early = seconds - 1 / (2 * rate) if rate else seconds
    with Source(path) as source:
        info = source.info
        first = round(early / info.time_base)
        stretch = Stretch(first, first, None, jump=not info.is_picture)
        last = None
        for frame in source.frames(stretch=stretch):
            last = frame
            break
        return None if last is None else upright(to_rgb(last.planes, info), info)


def streams(path: Path) -> list[Stream]:
    """What a file holds. Raises UpscaleError if it cannot be read."""
    try:
        with av.open(str(path)) as container:
            found = [Stream(stream.type or "unknown", _described(stream)) for stream in container.streams]
            chapters = container.chapters()
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
    words = [context.name if context is not None else "data"]
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
