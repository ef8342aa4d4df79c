"""One film from end to end: read, sample, write, a frame at a time.

    Source.frames -> Frame -> planes -> Upscaler -> larger planes -> Frame (same pts) -> Writer

Memory does not grow with the length of the film: nothing here keeps more than one frame.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from upscale.errors import UpscaleError, UsageError
from upscale.media.encoder import EncodeOptions, check_encoder, chroma_step, output_format
from upscale.media.info import VideoInfo
from upscale.media.source import Source, probe
from upscale.media.writer import Writer, check_target
from upscale.models.catalog import check_model, stages_for
from upscale.sampling.options import SampleOptions

LARGEST_SCALE = 8


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with one film."""

    source: Path
    target: Path
    scale: float = 4.0
    height: int | None = None
    """Output height in pixels, instead of a scale."""
    start: Fraction | None = None
    duration: Fraction | None = None
    """In seconds; None for the whole film."""
    overwrite: bool = False
    sample: SampleOptions = field(default_factory=SampleOptions)
    encode: EncodeOptions = field(default_factory=EncodeOptions)


@dataclass(slots=True)
class Summary:
    """What was done with one film."""

    job: Job
    info: VideoInfo
    size: tuple[int, int]
    """Width and height of the output."""
    expected: int | None = None
    """Frames that the source seems to have, where it tells."""
    frames: int = 0
    lost: int = 0
    """Frames that the source could not give."""
    damaged: bool = False
    """Whether anything of the source, picture or sound, could not be read."""
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For a script; seconds, pixels and counts."""
        return {
            "input": str(self.job.source),
            "output": str(self.job.target),
            "input_size": [self.info.width, self.info.height],
            "output_size": list(self.size),
            "model": self.job.sample.model,
            "temperature": self.job.sample.temperature,
            "seed": self.job.sample.seed,
            "expected_frames": self.expected,
            "frames": self.frames,
            "lost_frames": self.lost,
            "seconds": round(self.seconds, 3),
            "warnings": self.warnings,
        }


def output_size(info: VideoInfo, job: Job) -> tuple[int, int]:
    """Width and height of the output; even where chroma is subsampled, as encoders want it.

    Raises UsageError where that is not larger than the source, or more than 8 times as large.
    """
    scale, height = job.scale, job.height
    wanted = height / info.height if height is not None else scale
    if not 1 < wanted <= LARGEST_SCALE:  # false for a NaN too
        given = f"a height of {height}" if height is not None else f"a scale of {scale:g}"
        raise UsageError(
            f"{given} is out of range for {info.width}x{info.height}: enlarge up to {LARGEST_SCALE} times"
        )
    factor = Fraction(height, info.height) if height is not None else Fraction(scale)
    across, down = chroma_step(info.pixels, job.encode)

    def scaled(length: int, step: int) -> int:
        return max(round(length * factor / step), 1) * step

    return scaled(info.width, across), scaled(info.height, down)


def prepare(job: Job) -> Summary:
    """Check all that is cheap to check, and say what would be done. Raises UpscaleError or UsageError."""
    check_model(job.sample.model)
    if not job.source.exists():
        raise UpscaleError(f"{job.source}: no such file")
    if job.target.exists():
        if job.target.is_file() and job.target.samefile(job.source):
            raise UsageError(f"{job.target}: is the source itself; choose another name")
        if job.target.is_file() and not job.overwrite:
            raise UpscaleError(f"{job.target}: exists; use -y to overwrite it, or -n to skip it")
    check_target(job.target)
    check_encoder(job.encode)
    info = probe(job.source)
    size = output_size(info, job)
    stages_for(max(size[0] / info.width, size[1] / info.height))
    return Summary(job, info, size, expected=expected_frames(info, job), warnings=_conversions(info, job))


def _conversions(info: VideoInfo, job: Job) -> list[str]:
    """What the picture loses on the way to the encoder."""
    warnings = []
    made, _ = output_format(info.pixels, job.encode)
    if info.is_rgb:
        warnings.append(f"{info.pix_fmt} became Y'CbCr 4:4:4")
    if info.has_alpha:
        warnings.append(f"the alpha plane of {info.pix_fmt} was left out")
    if made.bits < info.pixels.bits:
        warnings.append(f"{info.pixels.bits} bit became {made.bits} bit: {job.encode.codec} cannot do more")
    return warnings


def expected_frames(info: VideoInfo, job: Job) -> int | None:
    """How many frames the job will make, as far as the container tells."""
    whole = info.expected_frames
    if whole is None or (job.start is None and job.duration is None) or not info.average_rate:
        return whole
    part = max(whole - int((job.start or 0) * info.average_rate), 0)
    return part if job.duration is None else min(part, math.ceil(job.duration * info.average_rate))


def run(planned: Summary, on_frame: Callable[[int], None] = lambda frames: None) -> Summary:
    """Do what ``prepare`` answered with. ``on_frame`` is told the number of frames done after each.

    Raises UpscaleError if nothing can be written; where only a part of the source could be read, that
    part is written, and ``Summary.lost`` and ``warnings`` say what is missing.
    """
    job, info, size = planned.job, planned.info, planned.size
    summary = replace(planned, warnings=list(planned.warnings))
    began = time.monotonic()
    with (
        Source(job.source) as source,
        Writer(job.target, info, size, job.encode, source.sound, source.metadata) as writer,
    ):
        # After the writer: an encoder or a container that refuses says so before a model loads.
        from upscale.sampling.upscaler import Upscaler

        upscaler = Upscaler(
            (info.height, info.width),
            (size[1], size[0]),
            info.pixels.subsampling,
            info.chroma_left,
            job.sample,
        )
        for frame in source.frames(job.start, job.duration, writer.copy):
            writer.write(replace(frame, planes=upscaler(frame.planes)))
            summary.frames += 1
            on_frame(summary.frames)
        if summary.frames == 0:
            raise UpscaleError(
                f"{job.source}: no frame of it could be read{_because(source.losses.reasons)}"
            )
    summary.seconds = time.monotonic() - began
    summary.lost = source.losses.frames
    summary.warnings += [*writer.notes, *(f"{job.source} is damaged: {what}" for what in writer.damage)]
    summary.damaged = bool(summary.lost or source.losses.reasons or writer.damage)
    if summary.lost or source.losses.reasons:
        summary.warnings.append(
            f"{job.source} is damaged: {summary.lost} frames could not be read"
            f"{_because(source.losses.reasons)}, {summary.frames} were kept"
        )
    return summary


def _because(reasons: list[str]) -> str:
    return f" ({'; '.join(reasons)})" if reasons else ""
