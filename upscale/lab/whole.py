"""The whole command against the model alone: what decoding, encoding and waiting add."""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from upscale.errors import UpscaleError
from upscale.media.source import Source
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

ENCODERS = ((), ("--preset", "ultrafast"), ("--codec", "rawvideo"))
"""Options of the command: its default, a light encoder, and none to speak of."""

FRAMES = 12
"""That the model alone is timed on."""


@dataclass(frozen=True, slots=True)
class Whole:
    """One run of the command; seconds are for a frame, and leave out the loading of the networks."""

    options: str
    seconds: float
    alone: float
    """What the model takes for a frame of the film with nothing beside it: the median."""
    decode: float
    model: float
    encode: float
    peak: int
    """The largest resident set, in bytes."""

    @property
    def waiting(self) -> float:
        """What the model waited for the others."""
        return self.seconds - self.model


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
        f"| {film.name}, x{scale} | ms/frame | model alone | the command adds | decode | model | encode "
        "| waiting | peak MB |",
        "| --- |" + " --- |" * 8,
    ]
    for row in rows:
        parts = (row.decode, row.model, row.encode, row.waiting)
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
    with Source(film) as source:
        info = source.info
        target = info.height * scale, info.width * scale
        size, options = (info.height, info.width), SampleOptions(threads=threads)
        model = Upscaler(size, target, info.pixels.subsampling, info.chroma_left, options)
        for frame in itertools.islice(source.frames(), FRAMES + 2):
            began = time.perf_counter()
            model(frame.planes)
            times.append(time.perf_counter() - began)
    if len(times) <= 2:
        raise UpscaleError(f"{film}: is too short; {FRAMES} frames tell how long one takes")
    return statistics.median(times[2:])  # the first ones fill the caches


def _run(shared: list[str], options: tuple[str, ...], alone: float) -> Whole:
    script = "from upscale.cli import main; main(prog_name='upscale')"
    command = [sys.executable, "-c", script, *shared, "-y", "--json", "--progress", "none", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said, complaints = process.stdout.read(), process.stderr.read()
        _, process.returncode, usage = os.wait4(process.pid, 0)
    if process.returncode:
        raise UpscaleError(complaints.decode().strip().splitlines()[-1])
    summary = json.loads(said)
    frames, busy = summary["frames"], summary["busy_seconds"]
    return Whole(
        " ".join(options),
        (summary["seconds"] - busy["load"]) / frames,
        alone,
        decode=busy["decode"] / frames,
        model=busy["model"] / frames,
        encode=busy["encode"] / frames,
        peak=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )
