"""The whole command against the model alone: what decoding, encoding and waiting add."""

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from upscale.errors import UpscaleError
from upscale.media.read.source import ReadOptions, Source
from upscale.motion.window import windowed
from upscale.planes import Planes
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

MODELS = ("clean", "film")

ENCODERS = ((), ("--preset", "ultrafast"), ("--codec", "rawvideo"))
"""Options of the command: its default, a light encoder, and none to speak of."""

WARM_UP, FRAMES = 2, 12
"""Frames that fill the caches, and those at most that the model alone is then timed on."""

LAUNCHER = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(done.returncode)
"""
"""Runs a command and tells its peak; a child of ours would begin with the peak that we have."""


@dataclass(frozen=True, slots=True)
class Whole:
    """One run of the command; seconds are for a frame, and leave out the loading of the networks."""

    options: str
    seconds: float
    alone: float
    """What the model takes for a frame of the film with nothing beside it: the median."""
    decode: float
    align: float
    model: float
    pack: float
    encode: float
    peak: int
    """The largest resident set, in bytes."""

    @property
    def waiting(self) -> float:
        """What the thread of the model waited for the others."""
        return self.seconds - self.model - self.pack


def measure(film: Path, scale: int, threads: int = 0) -> list[Whole]:
    """Run the command on ``film`` by each of MODELS with each of ENCODERS. Raises UpscaleError where that
    fails."""
    rows = []
    for name in MODELS:
        alone = _alone(film, scale, threads, name)
        with tempfile.TemporaryDirectory() as folder:
            numbers = ("--scale", f"{scale}", "--threads", f"{threads}")
            shared = [str(film), str(Path(folder) / "out.mkv"), *numbers]
            rows += [_run(shared, ("--model", name, *options), alone) for options in ENCODERS]
    return rows


def markdown(film: Path, scale: int, rows: list[Whole]) -> str:
    """The table, in milliseconds for a frame."""
    lines = [
        f"| {film.name}, x{scale} | ms/frame | model alone | the command adds | decode | align | model "
        "| pack | encode | waiting | peak MB |",
        "| --- |" + " --- |" * 10,
    ]
    for row in rows:
        parts = (row.decode, row.align, row.model, row.pack, row.encode, row.waiting)
        cells = [
            row.options,
            f"{row.seconds * 1000:.0f}",
            f"{row.alone * 1000:.0f}",
            f"{row.seconds / row.alone - 1:.0%}",
            *(f"{part * 1000:.0f}" for part in parts),
            f"{row.peak / 1e6:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _alone(film: Path, scale: int, threads: int, model_name: str) -> float:
    times = []
    with Source(film, ReadOptions()) as source:
        info = source.info
        target = info.height * scale, info.width * scale
        size, options = (info.height, info.width), SampleOptions(model=model_name, threads=threads)
        model = Upscaler(size, target, info.pixels.subsampling, info.chroma_left, options)
        pictures: Iterator[Planes] = (frame.planes for frame in source.frames())
        if model.window:
            pictures = windowed(pictures, dirt=None, judged=True)
        for planes in itertools.islice(pictures, WARM_UP + FRAMES):
            before, began = model.reused, time.perf_counter()
            model(planes)
            if model.reused == before:
                times.append(time.perf_counter() - began)
    if len(times) <= WARM_UP:
        raise UpscaleError(f"{film}: is too short to tell how long a frame takes")
    return statistics.median(times[WARM_UP:])


def _run(shared: list[str], options: tuple[str, ...], alone: float) -> Whole:
    script = "from upscale.cli import main; main(prog_name='upscale')"
    command = [sys.executable, "-c", script, *shared, "-y", "--json", "--progress", "none", *options]
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], capture_output=True, text=True)
    *said, peak = done.stderr.splitlines() or [""]
    if done.returncode:
        raise UpscaleError(said[-1] if said else f"the command ended with {done.returncode}")
    summary = json.loads(done.stdout)
    each = {stage: seconds / summary["frames"] for stage, seconds in summary["busy_seconds"].items()}
    return Whole(
        " ".join(options),
        summary["seconds"] / summary["frames"] - each["load"],
        alone,
        decode=each["decode"],
        align=each["align"],
        model=each["model"],
        pack=each["pack"],
        encode=each["encode"],
        peak=int(peak) * (1 if sys.platform == "darwin" else 1024),
    )
