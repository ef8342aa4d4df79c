"""Whether the borders of patches show in what the raster model draws, by margin and temperature.

    python benchmarks/seams.py photos/validation -t 1 -t 0.8 --margin 0 1 2 4

The edge error: mean difference between neighbours across the borders of patches, over that across other
borders of input pixels, minus the same in the truth; the mean of both directions, of the middle 256x256 of
all photos. "kept" is a patch as large as the picture: every pixel sees those that were sampled before it.
Also PSNR, and the share of pixels that are the same as in "kept".
"""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from upscale.lab.dataset import lesson, load_pictures
from upscale.lab.evaluate import middle
from upscale.models import weights
from upscale.models.catalog import RASTER, find_stage
from upscale.models.raster import RasterPixelCNN
from upscale.sampling import raster
from upscale.sampling.noise import uniform_noise
from upscale.sampling.raster import Raster
from upscale.sampling.tiles import Cut, Tiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("-t", "--temperature", type=float, action="append", required=True)
    parser.add_argument("--margin", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--patch", type=int, default=8, help="input pixels a side")
    chosen = parser.parse_args()
    network = weights.load(find_stage(RASTER, 4).luma.path)
    assert isinstance(network, RasterPixelCNN)
    pictures = load_pictures(chosen.photos, slice(0, 1), 256)
    lessons = [lesson(middle(picture, 256)[None].float() / 255, 4) for picture in pictures]
    noise = uniform_noise(0, 256, 256)
    print("| temperature | margin | edge error | PSNR | as kept |\n| --- | --- | --- | --- | --- |")
    for temperature in chosen.temperature:
        sampler = Raster(network, temperature)
        kept = [drawn(sampler, lesson.low, noise, 64) for lesson in lessons]
        for margin in [*chosen.margin, None]:
            raster.MARGIN = margin or 0
            pictures = (
                kept if margin is None else [drawn(sampler, x.low, noise, chosen.patch) for x in lessons]
            )
            truth = [lesson.high for lesson in lessons]
            error = edges(pictures, chosen.patch) - edges(truth, chosen.patch)
            psnr = mean(
                -10 * math.log10(float(((a.clamp(0, 1) - b) ** 2).mean()))
                for a, b in zip(pictures, truth, strict=True)
            )
            same = mean(float((a == b).float().mean()) for a, b in zip(pictures, kept, strict=True))
            name = "kept" if margin is None else margin
            print(f"| {temperature:g} | {name} | {error:+.1%} | {psnr:.2f} | {same:.0%} |", flush=True)


@torch.inference_mode()
def drawn(sampler: Raster, low: Tensor, noise: Tensor, side: int) -> Tensor:
    def tiled(name: str, run: object, inputs: list[tuple[Tensor, int]], cut: Cut) -> Tensor:
        tile = side if cut.is_exact else 0
        return Tiles(cut, (tile, tile), 256).run(run, inputs)  # type: ignore[arg-type]

    return sampler(low, noise, tiled)


def edges(pictures: list[Tensor], patch: int) -> float:
    """Difference across the borders of patches over that across other borders of input pixels."""
    ratios = []
    for dim in (2, 3):
        steps = [picture.diff(dim=dim).abs().transpose(dim, 3) for picture in pictures]
        places = torch.arange(4, 256, 4)
        at = places % (4 * patch) == 0
        across, elsewhere = (
            mean(float(step[..., places[which] - 1].mean()) for step in steps) for which in (at, ~at)
        )
        ratios.append(across / elsewhere)
    return mean(ratios)


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


if __name__ == "__main__":
    main()
