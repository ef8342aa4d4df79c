"""The raster PixelCNN's three samplers and the multiscale one, on the same patches of 8x8 to 32x32.

    python benchmarks/raster.py photos/validation

Prints whether the three draw the same picture of 100 random patches, and the seconds that a patch takes, by
how many are sampled at once: medians of rounds in turns. Naive sampling is timed by a few of its pixels.
For the raster samplers what the conditioning network says is there already; multiscale patches are windows
with their halo, as tiles are. 2025 patches are a frame of
1920x1080; the last column is such a frame as the command makes it, luma alone, with all that it takes.
"""

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from upscale.lab.dataset import downsample
from upscale.media.picture import find_pictures, read_picture
from upscale.models import weights
from upscale.models.catalog import CLEAN, RASTER, Family, find_stage
from upscale.models.conditioning import Conditioning
from upscale.models.int8 import calibrated, has_vnni, int8_sums, quantise
from upscale.models.raster import RasterPixelCNN
from upscale.sampling import raster
from upscale.sampling.noise import uniform_noise
from upscale.sampling.options import SampleOptions
from upscale.sampling.raster import sample_cached, sample_naive, sample_wavefront
from upscale.sampling.upscaler import Upscaler

SIDE = 8
BATCHES = (1, 16, 256, 2025)
FRAME = 270, 480

FRAMES = "a frame"
"""The column of those."""
PIXELS = {1: 32, 16: 8, 256: 2, 2025: 1}
"""Of naive sampling that are timed, by the size of the batch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--agree", type=int, default=100, help="patches on which the samplers are compared")
    chosen = parser.parse_args()
    with torch.inference_mode():
        print(f"{torch.get_num_threads()} threads, int8: {has_vnni()}\n")
        run(chosen.photos, chosen.rounds, chosen.temperature, chosen.agree)


def run(photos: Path, rounds: int, temperature: float, agree: int) -> None:
    prior = opened(RASTER)
    assert isinstance(prior, RasterPixelCNN)
    inner = slice(4 * prior.receptive_field, 4 * (prior.receptive_field + SIDE))
    windows = patches(photos, prior.receptive_field)
    codes = torch.cat([prior.conditioned(low)[1][:, :, inner, inner] for low in windows])
    uniform = uniform_noise(1, len(codes) * 4 * SIDE, 4 * SIDE).view(-1, 1, 4 * SIDE, 4 * SIDE)
    drawn = [
        sample(prior, codes[:agree], uniform[:agree], temperature)
        for sample in (sample_naive, sample_cached, sample_wavefront)
    ]
    same = [bool(torch.equal(drawn[0], other)) for other in drawn[1:]]
    print(f"on {agree} patches cached draws what naive does: {same[0]}; wavefront: {same[1]}\n")

    times: dict[tuple[str, str], list[float]] = {}
    contenders = list(by_batch(prior, codes, uniform, temperature, photos)) + list(
        by_frame(photos, temperature)
    )
    for _ in range(rounds):
        for name, column, work, share in contenders:
            began = time.perf_counter()
            work()
            times.setdefault((name, column), []).append((time.perf_counter() - began) * share)
    medians = {key: statistics.median(each) for key, each in times.items()}
    base = medians["naive", "1"]
    names = list(dict.fromkeys(name for name, _ in medians))
    columns = [str(batch) for batch in BATCHES]
    print("| s for each 32x32 patch | " + " | ".join(columns) + " | faster than naive | s for 1080p |")
    print("| --- |" + " --- |" * (len(columns) + 2))
    for name in names:
        cells = [f"{medians[name, column]:.3g}" for column in columns]
        faster = base / medians[name, columns[-1]]
        frame = medians.get((name, FRAMES), medians[name, columns[-1]] * BATCHES[-1])
        print(f"| {name} | {' | '.join(cells)} | {faster:,.0f} | {frame:.3g} |")


def opened(family: Family) -> Conditioning:
    """As the command runs it on this machine."""
    network = weights.load(find_stage(family, 4).luma.path)
    assert isinstance(network, Conditioning)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if int8_sums() and calibrated(network):
        quantise(network)
    return network


def patches(photos: Path, halo: int) -> Iterator[Tensor]:
    """As many as the largest batch, from the photos in turn, at random places, with a halo."""
    small = [
        downsample(torch.from_numpy(read_picture(path))[None, :1, :1024, :1024], 4)
        for path in find_pictures(photos)
    ]
    choose = random.Random(0)
    for number in range(max(BATCHES)):
        low = small[number % len(small)]
        side = SIDE + 2 * halo
        top, left = (choose.randrange(length - side) for length in low.shape[2:])
        window = low[:, :, top : top + side, left : left + side]
        yield window.contiguous(memory_format=torch.channels_last)


def by_batch(
    prior: RasterPixelCNN, codes: Tensor, uniform: Tensor, temperature: float, photos: Path
) -> Iterator[tuple[str, str, Callable[[], object], float]]:
    """Name, column, what to time, and what its seconds are multiplied by."""
    clean = opened(CLEAN)
    multiscale = CLEAN.sampled_by(clean, temperature)
    windows = torch.cat(list(patches(photos, clean.receptive_field)))
    side = 4 * windows.shape[2]
    odds = multiscale.laid_out(uniform_noise(1, side, side))
    for batch in BATCHES:
        some, noise = codes[:batch], uniform[:batch]

        def naive(some: Tensor = some, noise: Tensor = noise, count: int = PIXELS[batch]) -> None:
            levels = torch.zeros_like(some[:, :1])
            for x in range(count):
                logits = prior.logits(prior.hidden(levels), some)[:, 0, x]
                levels[:, 0, 0, x] = raster.draw(logits, noise[:, 0, 0, x], temperature).float()

        def multi(low: Tensor = windows[:batch]) -> None:
            for some in low.split(256):
                multiscale(
                    some, odds, lambda name, run, inputs, cut: run(*(planes for planes, _ in inputs))
                )

        share = 1 / batch
        yield "naive", str(batch), naive, share * (4 * SIDE) ** 2 / PIXELS[batch]
        yield "cached", str(batch), lambda a=some, b=noise: sample_cached(prior, a, b, temperature), share
        yield (
            "wavefront",
            str(batch),
            lambda a=some, b=noise: sample_wavefront(prior, a, b, temperature),
            share,
        )
        yield "multiscale", str(batch), multi, share


def by_frame(photos: Path, temperature: float) -> Iterator[tuple[str, str, Callable[[], object], float]]:
    """All of a frame, conditioning network and margins included."""
    height, width = FRAME
    luma = read_picture(find_pictures(photos)[0])[:1, :height, :width]
    for name, model in (("wavefront", "raster"), ("multiscale", "clean")):
        options = SampleOptions(model, temperature)
        upscaler = Upscaler((height, width), (4 * height, 4 * width), None, True, options)
        # In turns, so that nothing is kept of the frame before.
        frames = itertools.cycle([luma, luma[:, ::-1].copy()])
        yield name, FRAMES, lambda model=upscaler, frames=frames: model((next(frames),)), 1.0


if __name__ == "__main__":
    main()
