"""The paper's finding as a picture: the sample loses to the mean in PSNR, and wins in perception.

    python benchmarks/finding.py photos/validation examples/raster.png

The photos with the most detail, at x4, each by bicubic, the mean, clean and raster, and the truth, with the
PSNR in dB and the ST-LPIPS (lower is better) of the middle 512x512. Prints the means too. Wants the extra
[perceptual].
"""

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from upscale.lab.dataset import downsample
from upscale.lab.metrics import psnr
from upscale.lab.perceptual import distances
from upscale.media.picture import find_pictures, read_picture, to_rgb, write_picture
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

SIDE = 512
"""Of the part that is measured."""

SHOWN = 160
"""Of its middle, which is shown at twice its size."""

METHODS = {
    "mean": SampleOptions("mean"),
    "clean, temperature 0.8": SampleOptions("clean", 0.8),
    "raster, temperature 0.8": SampleOptions("raster", 0.8),
    "raster, temperature 1": SampleOptions("raster", 1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--count", type=int, default=3)
    chosen = parser.parse_args()
    measure = distances(("ST-LPIPS",))["ST-LPIPS"]
    middles = [middle(path) for path in find_pictures(chosen.photos)]
    middles.sort(key=lambda truth: -float(truth[:, 0, SHOWN:-SHOWN, SHOWN:-SHOWN].diff(dim=2).abs().mean()))
    rows, scores = [], []
    for truth in middles[: chosen.count]:
        low = downsample(truth, 4)
        answers = {
            "bicubic": interpolate(low, scale_factor=4, mode="bicubic", align_corners=False)[0].numpy()
        }
        for name, options in METHODS.items():
            upscaler = Upscaler.for_pictures(low.shape[2:], 4, replace(options))
            answers[name] = np.concatenate(upscaler((low[0, :1].numpy(), low[0, 1:].numpy())))
        cells = []
        for name, answer in answers.items():
            luma = torch.from_numpy(answer[None, :1]).clamp(0, 1).mul(255).round().div(255)
            scores.append(
                (name, psnr(luma, truth[:, :1]), measure(to_rgb(answer), to_rgb(truth[0].numpy())))
            )
            cells.append(cell(answer, [name, "{:.2f} dB, {:.3f}".format(*scores[-1][1:])]))
        rows.append(np.concatenate([*cells, cell(truth[0].numpy(), ["truth", ""])], 1))
    write_picture(chosen.picture, np.concatenate(rows))
    print("| method | PSNR-Y | ST-LPIPS |\n| --- | --- | --- |")
    for name in dict.fromkeys(name for name, _, _ in scores):
        means = [np.mean([score[number] for score in scores if score[0] == name]) for number in (1, 2)]
        print(f"| {name} | {means[0]:.2f} | {means[1]:.3f} |")


def middle(path: Path) -> Tensor:
    """[1, 3, SIDE, SIDE] of a photo."""
    photo = torch.from_numpy(read_picture(path))
    top, left = ((length - SIDE) // 2 for length in photo.shape[1:])
    return photo[None, :, top : top + SIDE, left : left + SIDE]


def cell(planes: NDArray[np.float32], lines: list[str]) -> NDArray[np.uint8]:
    """The middle of a picture [3, H, W], twice as large, under what is to be said of it."""
    rgb = to_rgb(planes.clip(0, 1))
    first = (SIDE - SHOWN) // 2
    shown = rgb[first : first + SHOWN, first : first + SHOWN].repeat(2, 0).repeat(2, 1)
    label = np.full((44, shown.shape[1], 3), 255, np.uint8)
    for number, line in enumerate(lines):
        cv2.putText(
            label, line, (4, 16 + 20 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA
        )
    framed = np.concatenate([label, shown])
    return np.pad(framed, ((0, 4), (0, 4), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main()
