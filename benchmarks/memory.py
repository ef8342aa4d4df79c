"""Peak memory of the whole command, and whether it grows with the length of the film.

    python benchmarks/memory.py --size 480x270 --scale 4 --frames 20 200

Makes a clip of moving noise and gradients for each length, runs the command on it in a process of its own,
and prints that process's peak resident set, sound, decoder, networks and encoder included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np


def make_clip(path: Path, width: int, height: int, frames: int) -> None:
    random = np.random.default_rng(0)
    grain = random.integers(0, 64, (height, 2 * width), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            luma = grain[:, number % width :][:, :width] + 96
            chroma = np.full((height // 2, width), 128, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]).astype(np.uint8), "yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def peak_of(command: list[str]) -> float:
    """MB of the largest resident set that the command had."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_maxrss / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="480x270")
    parser.add_argument("--scale", default="4")
    parser.add_argument("--frames", type=int, nargs="+", default=[20, 200])
    parser.add_argument("options", nargs="*", help="more options for upscale, after --")
    chosen = parser.parse_args()
    width, height = map(int, chosen.size.split("x"))
    print("| frames | peak MB |\n| --- | --- |")
    for frames in chosen.frames:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
            make_clip(source, width, height, frames)
            run = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
            peak = peak_of([*run, str(source), str(target), "-q", "--scale", chosen.scale, *chosen.options])
        print(f"| {frames} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
