"""The sampler of the colour network: from a picture that was looked at to the chroma of its cells."""

import torch
import torch.nn.functional as F
from torch import Tensor

from upscale.models import palette
from upscale.models.color import ColorNet, Look, color_order
from upscale.sampling.noise import uniform_noise

ANNEALED = 0.6
"""What probabilities are annealed by at temperature 0, whose answer is the mean of p^(1/ANNEALED): the mean
of red and blue is grey. After Zhang, Isola and Efros 2016, who take 0.38."""

SMOOTH = 2.0
"""Sigma in cells of the blur of the noise."""


def sample_colors(network: ColorNet, look: Look, uniform: Tensor | None, temperature: float) -> Tensor:
    """Sample p(chroma | luma, hints) in the multiscale order, all cells of a step at once.

    At ``temperature`` 0 the answer is the annealed mean of every cell, which takes one pass; at 1 it is a
    full sample; between them it lies between the two, and probabilities are annealed less and less.

    uniform : Tensor, shape = (N or 1, 2, h, w), numbers in (0, 1) to draw with: see ``noise_by_likeness``;
    may be None at temperature 0. Returns (N, 2, h, w) float32 around 0.
    """
    n, _, height, width = look.told.shape
    known = look.told.new_zeros((n, 3, height, width), dtype=torch.float32)
    anneal = ANNEALED + (1 - ANNEALED) * temperature
    if temperature == 0:
        return palette.mean((network.logits(look, known) / anneal).softmax(1))
    if uniform is None:
        raise ValueError("a temperature above 0 needs uniform numbers to sample with")
    for step in color_order(height, width):
        mask = step.to(known.device)
        probability = (network.logits(look, known) / anneal).softmax(1)
        drawn = palette.quantile(probability, uniform)
        if temperature < 1:
            drawn = torch.lerp(palette.mean(probability), drawn, temperature)
        known[:, :2] = torch.where(mask, drawn, known[:, :2])
        known[:, 2:] = torch.where(mask, 1.0, known[:, 2:])
    return known[:, :2].clone()


def noise_by_likeness(seed: int, descriptors: Tensor) -> Tensor:
    """Uniform numbers (1, 2, h, w), alike where cells look alike: what is one thing is drawn in one colour.

    With numbers that belong to places, as luma is drawn with, a wall comes out in the colours of the
    rainbow. These are a Gaussian process over the ``descriptors`` (1, C, h, w) of the cells, unit vectors:
    random weights of their channels, by ``seed``."""
    channels, (height, width) = descriptors.shape[1], descriptors.shape[2:]
    weights = torch.special.ndtri(uniform_noise(seed, 2, channels)[0, 0].double()).to(descriptors)
    reach = round(3 * SMOOTH)
    taps = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * SMOOTH**2)).to(descriptors)
    kernel = (taps / taps.sum()).expand(channels, 1, 1, -1)
    with torch.autocast(descriptors.device.type, enabled=False):
        around = F.pad(descriptors, (reach, reach, reach, reach), mode="replicate")
        for side in (kernel, kernel.transpose(2, 3)):
            around = F.conv2d(around, side, groups=channels)
        field = weights @ F.normalize(around, dim=1)[0].flatten(1)  # of deviation 1, over all seeds
    return torch.special.ndtr(field).view(1, 2, height, width).clamp(1e-4, 1 - 1e-4)


def choose_color_precision(name: str, device: torch.device) -> str:
    """bfloat16 where a CPU has it, float16 on CUDA, unless float32 was asked for."""
    if name == "float32" or device.type not in ("cpu", "cuda"):
        return "float32"
    if device.type == "cuda":
        return "float16"
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "bfloat16" if supported is not None and supported() else "float32"
