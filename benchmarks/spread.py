"""Whose spread tells the truth: that of each pixel as it is drawn, or that of the first pixel of its cell.

    python benchmarks/spread.py photos/validation

For every step of the order, at temperature 0: RMS of the spread and of the error in 8-bit levels, and how
much of the truth lies in the 50% and the 90% interval of the distribution that the pixel is drawn from.
"""

import itertools
import sys
from pathlib import Path

import torch
from torch import Tensor

from upscale.lab.dataset import cropped, downsample, load_pictures
from upscale.lab.evaluate import middle
from upscale.models import weights
from upscale.models.catalog import CLEAN, find_stage
from upscale.models.mixture import Mixture

SCALE, SIDE = 4, 512


def below(mixture: Mixture, value: Tensor) -> Tensor:
    """The probability of less than ``value``."""
    scale, upper = mixture.log_scale.exp(), mixture.balance.sigmoid()
    parts = [((value - mixture.centre + side * mixture.reach) / scale).sigmoid() for side in (1, -1)]
    return (1 - upper) * parts[0] + upper * parts[1]


def main(folder: Path) -> None:
    network = weights.load(find_stage(CLEAN, SCALE).luma.path)
    met: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}
    with torch.inference_mode():
        for picture in load_pictures(folder, slice(0, 1), 16 * SCALE):
            high = cropped(torch.from_numpy(middle(picture.numpy(), SIDE)), SCALE)[None].float() / 255
            mean, features = network.condition(downsample(high, SCALE))
            truth = network.to_cells(high) - mean
            residuals = torch.zeros_like(mean)
            start = 0
            for index, step in enumerate(network.steps):
                part = slice(start, start + len(step))
                features = network.advance(index, features, residuals[:, :start])
                mixture = network.mixture(index, features)
                residuals[:, part] = mixture.mean()
                error = residuals[:, part] - truth[:, part]
                found = (mixture.deviation(), error, below(mixture, truth[:, part]))
                met.setdefault(index, []).append(tuple(each.flatten() for each in found))
                start = part.stop
    everything = []
    for index, parts in [*met.items(), (None, list(itertools.chain(*met.values())))]:
        spread, error, place = (torch.cat(each) for each in zip(*parts, strict=True))
        inside = [float(((place - 0.5).abs() < share / 2).float().mean()) for share in (0.5, 0.9)]
        rms = [255 * float(each.square().mean().sqrt()) for each in (spread, error)]
        name = "all" if index is None else f"step {index + 1}"
        everything.append(f"| {name} | {rms[0]:.1f} | {rms[1]:.1f} | {inside[0]:.1%} | {inside[1]:.1%} |")
    print("| | spread | error | in 50% | in 90% |\n| --- | --- | --- | --- | --- |")
    print("\n".join(everything))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
