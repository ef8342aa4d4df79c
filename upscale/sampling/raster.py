"""The samplers of the raster PixelCNN: three ways through a picture, one result.

naive
    A pass of the whole prior for each pixel: the reference.
cached
    Each feature is computed once (Ramachandran et al. 2017, "Fast Generation for Convolutional
    Autoregressive Models", https://arxiv.org/abs/1704.06001).
wavefront
    As cached, for all pixels together that do not depend on each other: see ``wavefront``.

All that they add up is integers (see ``models.raster``), so with the same noise they draw the same picture.
"""

import torch
from torch import Tensor

from upscale.models.conditioning import SIGNAL
from upscale.models.int8 import has_vnni
from upscale.models.raster import LEVELS, LOWEST, RasterPixelCNN, level_of
from upscale.sampling.sampler import Tiled
from upscale.sampling.tiles import Cut, Halo
from upscale.sampling.wavefront import Wavefront

MARGIN = 2
"""Input pixels above, to the left and to the right of a tile that are sampled with it and thrown away."""


def draw(logits: Tensor, uniform: Tensor | None, temperature: float) -> Tensor:
    """A level for each row of (M, LEVELS) logits, (M): the quantile of their softmax at ``uniform`` (M).

    The paper multiplies logits by tau, 1 or more; that is 1 / ``temperature``, and what tau goes to at 0,
    the mode. The quantile moves as little as the logits do: where they hardly change from frame to frame,
    pixels hardly do."""
    if uniform is None or temperature == 0:
        return logits.argmax(1) + LOWEST
    below = (logits / temperature).softmax(1).cumsum(1)
    # The sum is not quite 1.
    index = torch.searchsorted(below, (uniform * below[:, -1])[:, None])[:, 0]
    return index.clamp(max=LEVELS - 1) + LOWEST


def sample_naive(
    network: RasterPixelCNN, codes: Tensor, uniform: Tensor | None, temperature: float
) -> Tensor:
    """As ``sample_wavefront``."""
    n, _, height, width = codes.shape
    codes = codes.float()
    levels = codes.new_zeros(n, 1, height, width)
    for y in range(height):
        for x in range(width):
            logits = network.logits(network.hidden(levels), codes)[:, y, x]
            numbers = None if uniform is None else uniform[:, 0, y, x].expand(n)
            levels[:, 0, y, x] = draw(logits, numbers, temperature).float()
    return levels.short()


def sample_cached(
    network: RasterPixelCNN, codes: Tensor, uniform: Tensor | None, temperature: float
) -> Tensor:
    """As ``sample_wavefront``."""
    return sample_wavefront(network, codes, uniform, temperature, max(codes.shape[3], network.reach + 1))


def sample_wavefront(
    network: RasterPixelCNN,
    codes: Tensor,
    uniform: Tensor | None,
    temperature: float,
    slope: int = 0,
    int8: bool | None = None,
) -> Tensor:
    """Sample pictures, row by row.

    codes : Tensor, shape = (N, features, H, W), of ``RasterPixelCNN.conditioned``.
    uniform : Tensor, shape = (N or 1, 1, H, W), numbers in (0, 1); may be None at temperature 0.
    slope : columns that a row is behind the one above it; 0 is as few as can be.
    int8 : whether to add up bytes; None does where the machine can. The answer is the same.

    Returns levels from the rounded mean, (N, 1, H, W) int16."""
    if uniform is None and temperature > 0:
        raise ValueError("a temperature above 0 needs uniform numbers to sample with")
    if int8 is None:
        int8 = codes.device.type == "cpu" and has_vnni()
    with torch.autocast(codes.device.type, enabled=False):
        return Wavefront(network, codes, int8).run(
            uniform,
            lambda logits, numbers: draw(logits, numbers, temperature),
            slope or network.reach + 1,
        )


class Raster:
    """``sample_wavefront`` for frames: see ``Sampler``.

    The conditioning network goes over the frame first. Then pixels are sampled, in one front through the
    whole frame: each sees those above and to the left that were kept, so there are no borders to show.

    If ``--tile`` asks for tiles, they begin with a margin. As the noise belongs to the place, and not to
    the tile, what a tile draws in its margin is soon what its neighbour draws there, at temperature 1; the
    lower the temperature, the longer a tile remembers what it drew, and the less a margin helps
    (benchmarks/seams.py)."""

    def __init__(self, network: RasterPixelCNN, temperature: float, spread: bool = False):
        self._network, self._temperature = network, temperature

    def laid_out(self, uniform: Tensor) -> Tensor:
        return uniform

    def __call__(self, low: Tensor, noise: Tensor | None, tiled: Tiled) -> Tensor:
        network = self._network

        def condition(low: Tensor) -> Tensor:
            mean, codes = network.conditioned(low.contiguous(memory_format=torch.channels_last))
            return torch.cat([level_of(mean), codes], 1).short()

        def sample(known: Tensor, uniform: Tensor | None = None) -> Tensor:
            return sample_wavefront(network, known[:, 1:], uniform, self._temperature)

        known = tiled("conditioning", condition, [(low, 1)], Cut.of(network))
        inputs = (
            [(known, network.scale)] if noise is None else [(known, network.scale), (noise, network.scale)]
        )
        halo = Halo(MARGIN, 0, MARGIN, MARGIN)
        cut = Cut(network.scale, halo, is_exact=True, is_seamless=False)
        levels = tiled("prior", sample, inputs, cut)
        return (known[:, :1] + levels).div(255).clamp(*SIGNAL)
