"""The whole command against the model alone: what decoding, encoding and waiting add."""

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from upscale.errors import UpscaleError
from upscale.media.source import ReadOptions, Source
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

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
    """Run the command on ``film``, with each of ENCODERS. Raises UpscaleError where that fails."""
    alone = _alone(film, scale, threads)
    with tempfile.TemporaryDirectory() as folder:
        numbers = ("--scale", f"{scale}", "--threads", f"{threads}")
        shared = [str(film), str(Path(folder) / "out.mkv"), *numbers]
        return [_run(shared, options, alone) for options in ENCODERS]


def markdown(film: Path, scale: int, rows: list[Whole]) -> str:
    """The table, in milliseconds for a frame."""
    lines = [
        f"| {film.name}, x{scale} | ms/frame | model alone | the command adds | decode | model | pack "
        "| encode | waiting | peak MB |",
        "| --- |" + " --- |" * 9,
    ]
    for row in rows:
        parts = (row.decode, row.model, row.pack, row.encode, row.waiting)
        cells = [
            row.options or "as it is",
            f"{row.seconds * 1000:.0f}",
            f"{row.alone * 1000:.0f}",
            f"{row.seconds / row.alone - 1:.0%}",
            *(f"{part * 1000:.0f}" for part in parts),
            f"{row.peak / 1e6:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _alone(film: Path, scale: int, threads: int) -> float:
    times = []
    with Source(film, ReadOptions()) as source:
        info = source.info
        target = info.height * scale, info.width * scale
        size, options = (info.height, info.width), SampleOptions(threads=threads)
        model = Upscaler(size, target, info.pixels.subsampling, info.chroma_left, options)
        for frame in itertools.islice(source.frames(), WARM_UP + FRAMES):
            before, began = model.reused, time.perf_counter()
            model(frame.planes)
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
        model=each["model"],
        pack=each["pack"],
        encode=each["encode"],
        peak=int(peak) * (1 if sys.platform == "darwin" else 1024),
    )
