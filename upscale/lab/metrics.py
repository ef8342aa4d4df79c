"""Measures of quality on float pictures in [0, 1]."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BORDER = 4
"""Pixels on each side that no measure looks at."""


def psnr(picture: Tensor, truth: Tensor, border: int = BORDER) -> float:
    """Peak signal-to-noise ratio in dB of [..., H, W] tensors in [0, 1]."""
    error = (picture - truth)[..., border:-border, border:-border]
    return -10 * math.log10(max(float(error.square().mean()), 1e-10))


def ssim(picture: Tensor, truth: Tensor, border: int = BORDER) -> float:
    """Structural similarity of [1, 1, H, W] tensors in [0, 1], with the 11-tap Gaussian of sigma 1.5.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment" (2004), with their K1 and K2.
    """
    taps = torch.arange(11, dtype=torch.float64) - 5
    gauss = torch.exp(-taps.square() / (2 * 1.5**2))
    gauss = gauss / gauss.sum()

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, gauss.view(1, 1, -1, 1)), gauss.view(1, 1, 1, -1))

    a, b = (x[..., border:-border, border:-border].double() for x in (picture, truth))
    mean_a, mean_b = blur(a), blur(b)
    var_a = blur(a * a) - mean_a**2
    var_b = blur(b * b) - mean_b**2
    both = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
