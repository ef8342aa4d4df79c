"""The sampler of the multiscale PixelCNN: from low-resolution tiles to high-resolution ones."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from upscale.models.conditioning import SIGNAL, Conditioning
from upscale.models.luma import LumaPixelCNN
from upscale.models.mixture import Mixture, log_odds
from upscale.sampling.sampler import Tiled
from upscale.sampling.tiles import Cut

PIECE = 1 << 17
"""Pixels that a CPU samples at a time: some ten planes of them fit its caches."""


UNPLACED = 0.5
"""How far a value may stray because what stands beside it may stand a little elsewhere, as a share of how
much the mean varies around it."""

TAILS = 2.0
"""Log odds at which tails are cut for a temperature near 0; further out the nearer it is to 1."""

TAKEN = 0.5
"""At temperature 0, the share of what the chain adds to the mean. They are two answers to one question, the
mean of a pixel, and what lies half way between errs less than either at x4, on photos by 0.03 dB."""


def sample_luma(
    network: LumaPixelCNN,
    low: Tensor,
    odds: Tensor | None,
    temperature: float,
    spread: bool = False,
    steady: bool = False,
) -> Tensor:
    """Sample p(high | low) pixel by pixel in the multiscale order, every step for all cells at once.

    low : Tensor, shape = (N, planes, h, w), what the network reads: luma in [0, 1] comes first.
    odds : Tensor, shape = (N or 1, scale**2, h, w), ``mixture.log_odds`` of uniform numbers as cells, one
    for each pixel to be sampled; may be None at temperature 0, where each takes TAKEN of its mixture's
    mean.
    steady : whether edges are drawn at a lower temperature: see ``textured``.

    Returns (N, 1, scale*h, scale*w) float32, within SIGNAL; with ``spread`` that plane follows it, (N, 2,
    scale*h, scale*w): see ``spread_between``.
    """
    mean, features = network.condition(low)
    if odds is None and temperature > 0:
        raise ValueError("a temperature above 0 needs uniform numbers to sample with")
    varied = variation(mean) if steady and odds is not None and temperature < 1 else None
    residuals, pixels = torch.empty_like(mean), torch.empty_like(mean)
    unsure: list[Tensor] = []
    start = 0
    for index, step in enumerate(network.steps):
        part = slice(start, start + len(step))
        features = network.advance(index, features, residuals[:, :start])
        for rows in _pieces(mean[:, part]):
            mixture = network.mixture(index, features[..., rows, :])
            if spread and index == 0:
                unsure.append(doublings(mixture))
            if odds is None:
                drawn = mixture.mean().mul_(TAKEN)
            elif varied is None:
                drawn = mixture.sample(odds[:, part, rows], temperature)
            else:
                drawn = textured(mixture, odds[:, part, rows], temperature, varied[..., rows, :])
            # A pixel that no signal can hold would lead the later steps astray, further with each.
            average = mean[:, part, rows]
            pixels[:, part, rows] = drawn.add_(average).clamp_(*SIGNAL)
            residuals[:, part, rows] = drawn.sub_(average)
        start = part.stop
    picture = network.to_picture(pixels)
    return (
        torch.cat([picture, spread_between(torch.cat(unsure, 2), network.scale)], 1) if spread else picture
    )


def variation(mean: Tensor) -> Tensor:
    """How much a mean picture varies around each cell, [N, 1, h, w]: the deviation within 3x3 of them.

    mean : Tensor, shape = (N, scale**2, h, w), as cells."""
    moments = torch.cat([mean.mean(1, keepdim=True), mean.square().mean(1, keepdim=True)], 1)
    first, second = F.avg_pool2d(F.pad(moments, (1, 1, 1, 1), mode="replicate"), 3, 1).split(1, 1)
    return second.sub_(first.square_()).clamp_(min=0).sqrt_()


def textured(mixture: Mixture, odds: Tensor, temperature: float, varied: Tensor) -> Tensor:
    """A sample at a ``temperature`` below 1, or a lower one where a mixture is wide for an edge nearby.

    Cells do not know where their neighbours draw an edge that is uncertain, as it is in soft and grainy
    pictures, and would draw it ragged. Where a mixture is wide and nothing is near, texture is unknown, and
    that has no right place. ``varied`` tells what is near: see ``variation``. The nearer the temperature is
    to 1, the less of this: there it is an honest sample."""
    cut = TAILS / (1 - temperature)
    placing = (varied / mixture.deviation()).square_().mul_(UNPLACED**2 * (1 / temperature - 1))
    return mixture.sample(odds.clamp(-cut, cut), temperature / placing.add_(1))


def doublings(mixture: Mixture) -> Tensor:
    """The standard deviation of each pixel as the logarithm to base 2 of 8-bit levels, [N, P, H, W]: the
    spread of ``planes.SPREAD``."""
    return mixture.deviation().mul_(255).log2_()


def spread_between(first: Tensor, scale: int) -> Tensor:
    """The spread of every pixel given the small picture alone, (N, 1, scale*h, scale*w).

    first : Tensor, shape = (N, 1, h, w), that of the pixel that is sampled first in each cell.

    The later pixels of a cell are drawn from what is left when those before them are drawn: a narrow
    distribution around an invented pixel, which says nothing of how far that may be from the truth. The
    first one has seen nothing but the input, so what it says is true (see the calibration in the model
    card), and much the same holds for the pixels between it and the next cell's, ``scale`` pixels on."""
    height, width = (scale * length for length in first.shape[2:])
    corners = F.pad(first, (0, 1, 0, 1), mode="replicate")
    size = height + 1, width + 1
    return F.interpolate(corners, size, mode="bilinear", align_corners=True)[..., :height, :width]


def _pieces(planes: Tensor) -> Iterator[slice]:
    """Rows to sample at a time: dozens of passes over a piece stay in a CPU's cache; a GPU takes all."""
    height = planes.shape[2]
    rows = max(1, PIECE * height // planes.numel()) if planes.device.type == "cpu" else height
    return (slice(top, top + rows) for top in range(0, height, rows))


def mean_luma(network: Conditioning, low: Tensor) -> Tensor:
    """The mean head alone: the ConvNet of the paper's comparison, which answers with an average."""
    mean, _ = network.condition(low)
    return network.to_picture(mean.clamp(*SIGNAL))


class Multiscale:
    """``sample_luma`` for frames: see ``Sampler``."""

    _is_steady = False

    def __init__(self, network: LumaPixelCNN, temperature: float, spread: bool = False):
        self._network, self._temperature, self._spread = network, temperature, spread

    def laid_out(self, uniform: Tensor) -> Tensor:
        return self._network.to_cells(log_odds(uniform))

    def __call__(self, low: Tensor, noise: Tensor | None, tiled: Tiled) -> Tensor:
        def run(low: Tensor, odds: Tensor | None = None) -> Tensor:
            low = low.contiguous(memory_format=torch.channels_last)
            return sample_luma(self._network, low, odds, self._temperature, self._spread, self._is_steady)

        inputs = [(low, 1)] if noise is None else [(low, 1), (noise, 1)]
        return tiled("luma", run, inputs, Cut.of(self._network))


class Textured(Multiscale):
    """For old films, whose edges are uncertain: texture is sampled, and edges less: see ``textured``."""

    _is_steady = True


class Mean:
    """``mean_luma`` for frames: see ``Sampler``."""

    def __init__(self, network: Conditioning, temperature: float, spread: bool = False):
        self._network = network

    def laid_out(self, uniform: Tensor) -> Tensor:
        return uniform

    def __call__(self, low: Tensor, noise: Tensor | None, tiled: Tiled) -> Tensor:
        def run(low: Tensor) -> Tensor:
            return mean_luma(self._network, low.contiguous(memory_format=torch.channels_last))

        return tiled("luma", run, [(low, 1)], Cut.of(self._network))
