"""How alike the window on a device and that of the CPU are: RMS of what differs, 8-bit levels.

    python benchmarks/device_window.py clips/city.mpg clips/cars.mp4 --device cpu

Of frames 7, 13 and 19 of each clip, made WIDTH pixels wide, as they are and with grain.
"""

import argparse
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from upscale.motion.device import DeviceWindow
from upscale.motion.window import Seen, gather
from upscale.planes import Planes

AT, REACH = (6, 12, 18), 6
GRAIN, GRAIN_SIZE = 5.0, 0.7
"""Deviation in 8-bit levels, and sigma of its blur in pixels."""


def planes_of(path: Path, count: int, width: int) -> list[Planes]:
    """The first frames, 4:2:0, made smaller."""
    found: list[Planes] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            height = round(width * frame.height / frame.width / 2) * 2
            small = frame.reformat(format="yuv420p", width=width, height=height).to_ndarray()
            codes = small.astype(np.float32) / 255
            found.append((codes[None, :height], codes[height:].reshape(2, height // 2, width // 2)))
            if len(found) == count:
                break
    return found


def grainy(planes: Planes, seed: int) -> Planes:
    """With grain in luma."""
    noise = np.random.default_rng(seed).standard_normal(planes[0].shape[1:]).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), GRAIN_SIZE)
    return (planes[0] + noise * np.float32(GRAIN / 255 / noise.std()), *planes[1:])


def rms(one: np.ndarray, other: np.ndarray) -> float:
    return 255 * float(np.sqrt(np.square(one - other).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--width", type=int, default=480)
    chosen = parser.parse_args()
    window = DeviceWindow(torch.device(chosen.device))
    print("| clip | merge | chroma | merge, with grain | its error on the CPU, on the device |")
    print("| --- | --- | --- | --- | --- |")
    for path in chosen.clips:
        clip = planes_of(path, AT[-1] + REACH + 1, chosen.width)
        rows = []
        for at in (at for at in AT if at + REACH < len(clip)):
            row: list[float] = []
            for change in (lambda planes, _: planes, grainy):
                seen = {n: Seen.of(change(clip[n], n)) for n in range(at - REACH, at + REACH + 1)}
                others = [(n - at, one) for n, one in seen.items() if n != at]
                (cpu, cpu_chroma), _ = gather(seen[at], others)
                (own, own_chroma), _ = window(seen[at], others)
                row += [rms(own[1], cpu[1]), rms(own_chroma, cpu_chroma)]
            truth = clip[at][0][0]
            rows.append([*row[:3], rms(cpu[1], truth), rms(own[1], truth)])
        means = np.mean(rows, axis=0)
        cells = [f"{mean:.2f}" for mean in means]
        print(f"| {path.stem} | {' | '.join(cells[:3])} | {cells[3]}, {cells[4]} |", flush=True)


if __name__ == "__main__":
    main()
