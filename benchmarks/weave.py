"""How much of the weave that is put into clips `--stabilize` takes out, and what it does to them without.

    python benchmarks/weave.py CLIP...

Clips are made 480 columns wide. Each frame of them is moved by two numbers drawn evenly from ±2 pixels, or
by a walk that comes back (each 0.7 of the one before, and noise; deviation 1), and the border is cut off.
"""

import itertools
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.media.read.source import Source
from upscale.motion.steady import RADIUS, Weave, steadied
from upscale.planes import Planes

FRAMES, WIDTH, BORDER = 90, 480, 6

Path2 = NDArray[np.float64]


def weaves(frames: int) -> dict[str, Path2]:
    random = np.random.default_rng(0)
    walk = np.zeros((frames, 2))
    for at in range(1, frames):
        walk[at] = 0.7 * walk[at - 1] + random.normal(0, np.sqrt(1 - 0.7**2), 2)
    return {"none": np.zeros((frames, 2)), "±2": random.uniform(-2, 2, (frames, 2)), "walk": walk}


def small(path: Path) -> list[NDArray[np.float32]]:
    with Source(path) as source:
        lumas = [frame.planes[0][0] for frame in itertools.islice(source.frames(), FRAMES)]
    ratio = min(1.0, WIDTH / lumas[0].shape[1])
    size = round(lumas[0].shape[1] * ratio), round(lumas[0].shape[0] * ratio)
    shown = [cv2.resize(luma, size, interpolation=cv2.INTER_AREA) for luma in lumas]
    # Repeated frames would not be equal any more.
    return [
        one for number, one in enumerate(shown) if not number or not np.array_equal(one, shown[number - 1])
    ]


def shaken(frames: list[NDArray[np.float32]], weave: Path2) -> list[Planes]:
    height, width = frames[0].shape
    inner = slice(BORDER, -BORDER)
    return [
        (
            cv2.warpAffine(
                frame,
                np.array([[1, 0, x], [0, 1, y]]),
                (width, height),
                flags=cv2.INTER_LANCZOS4,
                borderMode=cv2.BORDER_REPLICATE,
            )[inner, inner][np.newaxis],
        )
        for frame, (x, y) in zip(frames, weave, strict=True)
    ]


class Moves(Weave):
    """Keeps all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Path2] = []

    def note(self, move: Path2) -> None:
        super().note(move)
        self.all.append(move)


def size(path: Path2) -> float:
    return float(np.sqrt(np.square(path).sum(1).mean()))


def main() -> None:
    print("| clip | weave | moved, px | of its steps gone | of it gone | ms a frame |")
    print("| --- | --- | --- | --- | --- | --- |")
    for path in map(Path, sys.argv[1:]):
        frames = small(path)
        for name, weave in weaves(len(frames)).items():
            moves, began = Moves(), time.perf_counter()
            for _ in steadied(shaken(frames, weave), moves):
                pass
            taken = (time.perf_counter() - began) / len(frames) * 1e3
            move = np.array(moves.all)
            steps = gone = "|"
            if weave.any():
                left = (weave + move)[RADIUS:-RADIUS]
                left = left - np.median(left, axis=0)
                steps = f"{1 - size(np.diff(left, axis=0)) / size(np.diff(weave, axis=0)):.0%} |"
                gone = f"{1 - size(left) / size(weave):.0%} |"
            print(f"| {path.stem} | {name} | {size(move):.2f} | {steps} {gone} {taken:.0f} |", flush=True)


if __name__ == "__main__":
    main()
