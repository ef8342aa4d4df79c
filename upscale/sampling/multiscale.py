"""The sampler of the multiscale PixelCNN: from low-resolution tiles to high-resolution ones."""

from collections.abc import Iterator

import torch
from torch import Tensor

from upscale.models.conditioning import SIGNAL, Conditioning
from upscale.models.luma import LumaPixelCNN
from upscale.models.mixture import log_odds
from upscale.sampling.sampler import Tiled
from upscale.sampling.tiles import Cut

PIECE = 1 << 17
"""Pixels that a CPU samples at a time: some ten planes of them fit its caches."""


def sample_luma(network: LumaPixelCNN, low: Tensor, odds: Tensor | None, temperature: float) -> Tensor:
    """Sample p(high | low) pixel by pixel in the multiscale order, every step for all cells at once.

    low : Tensor, shape = (N, planes, h, w), what the network reads: luma in [0, 1] comes first.
    odds : Tensor, shape = (N or 1, scale**2, h, w), ``mixture.log_odds`` of uniform numbers as cells, one
    for each pixel to be sampled; may be None at temperature 0, where each takes the mean of its mixture.

    Returns (N, 1, scale*h, scale*w) float32, within SIGNAL.
    """
    mean, features = network.condition(low)
    if odds is None and temperature > 0:
        raise ValueError("a temperature above 0 needs uniform numbers to sample with")
    residuals, pixels = torch.empty_like(mean), torch.empty_like(mean)
    start = 0
    for index, step in enumerate(network.steps):
        part = slice(start, start + len(step))
        features = network.advance(index, features, residuals[:, :start])
        for rows in _pieces(mean[:, part]):
            mixture = network.mixture(index, features[..., rows, :])
            drawn = mixture.mean() if odds is None else mixture.sample(odds[:, part, rows], temperature)
            # A pixel that no signal can hold would lead the later steps astray, further with each.
            average = mean[:, part, rows]
            pixels[:, part, rows] = drawn.add_(average).clamp_(*SIGNAL)
            residuals[:, part, rows] = drawn.sub_(average)
        start = part.stop
    return network.to_picture(pixels)


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

    def __init__(self, network: LumaPixelCNN, temperature: float):
        self._network, self._temperature = network, temperature

    def laid_out(self, uniform: Tensor) -> Tensor:
        return self._network.to_cells(log_odds(uniform))

    def __call__(self, low: Tensor, noise: Tensor | None, tiled: Tiled) -> Tensor:
        def run(low: Tensor, odds: Tensor | None = None) -> Tensor:
            low = low.contiguous(memory_format=torch.channels_last)
            return sample_luma(self._network, low, odds, self._temperature)

        inputs = [(low, 1)] if noise is None else [(low, 1), (noise, 1)]
        return tiled("luma", run, inputs, Cut.of(self._network))


class Mean:
    """``mean_luma`` for frames: see ``Sampler``."""

    def __init__(self, network: Conditioning, temperature: float):
        self._network = network

    def laid_out(self, uniform: Tensor) -> Tensor:
        return uniform

    def __call__(self, low: Tensor, noise: Tensor | None, tiled: Tiled) -> Tensor:
        def run(low: Tensor) -> Tensor:
            return mean_luma(self._network, low.contiguous(memory_format=torch.channels_last))

        return tiled("luma", run, [(low, 1)], Cut.of(self._network))
