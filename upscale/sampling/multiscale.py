"""The sampler of the multiscale PixelCNN: from low-resolution tiles to high-resolution ones."""

import torch
from torch import Tensor

from upscale.models.luma import LumaPixelCNN

SIGNAL = (-0.08, 1.1)
"""What limited-range codes can hold, headroom and footroom included: (0 - 16) / 219 to (255 - 16) / 219."""


def sample_luma(network: LumaPixelCNN, low: Tensor, odds: Tensor | None, temperature: float) -> Tensor:
    """Sample p(high | low) pixel by pixel in the multiscale order, every step for all cells at once.

    low : Tensor, shape = (N, 1, h, w), luma in [0, 1].
    odds : Tensor, shape = (N or 1, scale**2, h, w), ``mixture.log_odds`` of uniform numbers as cells, one
    for each pixel to be sampled; may be None at temperature 0, where each takes the mean of its mixture.

    Returns (N, 1, scale*h, scale*w) float32, within SIGNAL.
    """
    mean, features = network.condition(low)
    if odds is None and temperature > 0:
        raise ValueError("a temperature above 0 needs uniform numbers to sample with")
    residuals = torch.zeros_like(mean)
    start = 0
    for index, step in enumerate(network.steps):
        part = slice(start, start + len(step))
        features, mixture = network.step(index, features, residuals[:, :start])
        drawn = mixture.mean() if odds is None else mixture.sample(odds[:, part], temperature)
        # A pixel that no signal can hold would lead the later steps astray, further with each.
        pixels = (mean[:, part] + drawn).clamp(*SIGNAL)
        residuals[:, part] = pixels - mean[:, part]
        start = part.stop
    return network.to_picture(mean + residuals)


def mean_luma(network: LumaPixelCNN, low: Tensor) -> Tensor:
    """The mean head alone: the ConvNet of the paper's comparison, which answers with an average.

    (N, 1, h, w) -> (N, 1, scale*h, scale*w) float32, within SIGNAL.
    """
    mean, _ = network.condition(low)
    return network.to_picture(mean.clamp(*SIGNAL))
