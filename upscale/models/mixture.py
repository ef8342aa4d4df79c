"""A mixture of logistic distributions for every pixel.

After Salimans et al., "PixelCNN++" (2017), https://arxiv.org/abs/1701.05517, but continuous, so that
8 and 10 bit video share one model. The discrete likelihood is there to measure bits per pixel.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN_UNIT = 0.1
"""One unit of a network's output moves a component's mean by this much of the luma range."""

LOG_SCALE_START = -4.0
"""Log of the scale that an output of zero stands for: 0.018, some five 8-bit levels."""

LOG_SCALE_FLOOR = -6.5
"""Narrowest component: 0.0015, less than half an 8-bit level, as the training pictures are 8-bit."""

LOG_SCALE_CEILING = 0.0
"""Widest component: the whole luma range."""

NEWTON_STEPS = 6
"""Leave an error of 3e-6 of the luma range or less for 999 pixels in 1,000, and 1e-7 on average."""

UNIFORM_EDGE = 1e-4
"""Uniform numbers stay this far from 0 and 1: a logistic tail is cut at 9.2 scales."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Parameters for P pixels per position and K components; every tensor is [N, K, P, H, W] float32.

    ``logits`` weigh the components, ``means`` and ``log_scales`` are in units of the luma range.
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor

    @classmethod
    def from_output(cls, output: Tensor, components: int) -> "Mixture":
        """Read a network's output [N, 3*K*P, H, W], in the order parameter, component, pixel."""
        n, channels, h, w = output.shape
        parts = output.float().view(n, 3, components, channels // (3 * components), h, w)
        logits, means, log_scales = parts.unbind(1)
        log_scales = (log_scales + LOG_SCALE_START).clamp(LOG_SCALE_FLOOR, LOG_SCALE_CEILING)
        return cls(logits, means * MEAN_UNIT, log_scales)

    def mean(self) -> Tensor:
        """The mean of the mixture, [N, P, H, W]."""
        return (self.logits.softmax(1) * self.means).sum(1)

    def sample(self, uniform: Tensor, temperature: float) -> Tensor:
        """One draw per pixel, [N, P, H, W]: the quantile of the mixture at ``uniform``.

        ``uniform`` holds numbers in (0, 1), shaped [N or 1, P, H, W]. ``temperature`` in [0, 1] divides the
        logits and multiplies the scales; at 0 the answer is the mean of the mixture.

        To draw a component and then a value is to jump where the weights say so: rounding, or the grain of
        the next frame, then turns a pixel over. The quantile moves as little as the parameters do. It lies
        between the quantiles of the components, and Newton's method finds it on the scale of log odds, on
        which one logistic is a straight line; a step that leaves the bracket is replaced by its middle.
        """
        if temperature == 0:
            return self.mean()
        weights = (self.logits / temperature).softmax(1)
        scales = temperature * self.log_scales.exp()
        uniform = uniform.clamp(UNIFORM_EDGE, 1 - UNIFORM_EDGE)
        odds = torch.logit(uniform)
        quantiles = self.means + scales * odds.unsqueeze(1)
        if quantiles.shape[1] == 1:
            return quantiles[:, 0]
        low, high = quantiles.amin(1), quantiles.amax(1)
        value = (weights * quantiles).sum(1)
        slopes = weights / scales
        for _ in range(NEWTON_STEPS):
            each = torch.sigmoid((value.unsqueeze(1) - self.means) / scales)
            below = (weights * each).sum(1).clamp(UNIFORM_EDGE / 10, 1 - UNIFORM_EDGE / 10)
            density = (slopes * each * (1 - each)).sum(1).clamp(min=1e-9)
            above = below > uniform
            low, high = torch.where(above, low, value), torch.where(above, value, high)
            step = value - (torch.logit(below) - odds) * below * (1 - below) / density
            inside = (step >= low) & (step <= high)
            value = torch.where(inside, step, (low + high) / 2)
        return value

    def log_density(self, value: Tensor) -> Tensor:
        """Log of the density at ``value`` [N, P, H, W], in nats per unit of the luma range."""
        z = (value.unsqueeze(1) - self.means) * torch.exp(-self.log_scales)
        each = -z - self.log_scales - 2 * F.softplus(-z)
        return torch.logsumexp(each + self.logits.log_softmax(1), 1)

    def log_mass(self, value: Tensor, level: float = 1 / 255) -> Tensor:
        """Log of the probability of the ``level``-wide interval around ``value``, [N, P, H, W], in nats.

        Summed over the pixels of an 8-bit picture this is an honest code length for it.
        """
        inverse = torch.exp(-self.log_scales)
        centred = value.unsqueeze(1) - self.means
        upper = torch.sigmoid((centred + level / 2) * inverse)
        lower = torch.sigmoid((centred - level / 2) * inverse)
        # Far out in a tail the difference rounds to zero; there the density times the width is exact.
        z = centred * inverse
        tail = -z - self.log_scales - 2 * F.softplus(-z) + math.log(level)
        each = torch.where(upper - lower > 1e-5, (upper - lower).clamp(min=1e-12).log(), tail)
        return torch.logsumexp(each + self.logits.log_softmax(1), 1)
