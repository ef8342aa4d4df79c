"""A mixture of logistic distributions for every pixel.

After Salimans et al., "PixelCNN++" (2017), https://arxiv.org/abs/1701.05517, but continuous, so that
8 and 10 bit video share one model. The discrete likelihood is there to measure bits per pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

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

NEWTON_STEPS = 3
"""Leave an error of 1e-8 of the luma range or less for 99 pixels in 100, and 0.001 at the most."""

PIECE = 1 << 16
"""Pixels that a CPU samples at a time: some twenty planes of them fit its second-level cache."""

UNIFORM_EDGE = 1e-4
"""Uniform numbers stay this far from 0 and 1: a logistic tail is cut at 9.2 scales."""

PROBABILITY_EDGE = UNIFORM_EDGE / 10
"""And so do the probabilities on the way to them."""


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
        logits, means, log_scales = output.unflatten(1, (3, components, -1)).unbind(1)
        return cls(logits, means, log_scales.clamp(LOG_SCALE_FLOOR, LOG_SCALE_CEILING))

    def mean(self) -> Tensor:
        """The mean of the mixture, [N, P, H, W]."""
        if self.means.shape[1] == 1:
            return self.means[:, 0]
        return (self.logits.softmax(1) * self.means).sum(1)

    def sample(self, odds: Tensor, temperature: float) -> Tensor:
        """One draw per pixel, [N, P, H, W]: the quantile of the mixture at ``odds``.

        ``odds`` are log odds of uniform numbers, [N or 1, P, H, W]: see ``log_odds``. ``temperature`` in
        [0, 1] divides the logits and multiplies the scales; at 0 the answer is the mean of the mixture.

        To draw a component and then a value is to jump where the weights say so: rounding, or the grain of
        the next frame, then turns a pixel over. The quantile moves as little as the parameters do. It lies
        between the quantiles of the components, and Newton's method finds it on the scale of log odds, on
        which one logistic is a straight line.
        """
        if temperature == 0:
            return self.mean()
        n, _, pixels, height, width = self.logits.shape
        answer = odds.new_empty((n, pixels, height, width))
        # Small pieces stay in the cache through the dozens of passes; a GPU wants one large one.
        rows = max(1, PIECE // (n * pixels * width)) if answer.device.type == "cpu" else height
        for top in range(0, height, rows):
            part = slice(top, top + rows)
            piece = Mixture(
                self.logits[..., part, :], self.means[..., part, :], self.log_scales[..., part, :]
            )
            answer[..., part, :] = piece._quantile(odds[..., part, :], temperature)
        return answer

    def _quantile(self, odds: Tensor, temperature: float) -> Tensor:
        means = self.means.unbind(1)
        scales = [temperature * log_scale.exp() for log_scale in self.log_scales.unbind(1)]
        quantiles = [torch.addcmul(mean, scale, odds) for mean, scale in zip(means, scales, strict=True)]
        if len(quantiles) == 1:
            return quantiles[0]
        weights = (self.logits / temperature).softmax(1).unbind(1)
        rates = [scale.reciprocal_() for scale in scales]
        starts = [(mean * rate).neg_() for mean, rate in zip(means, rates, strict=True)]
        low, high = reduce(torch.minimum, quantiles), reduce(torch.maximum, quantiles)
        value = _weighted(weights, quantiles)
        peaks = [weight * rate for weight, rate in zip(weights, rates, strict=True)]
        for _ in range(NEWTON_STEPS):
            # shares: how much of each component lies below the value.
            shares = [
                torch.addcmul(start, value, rate).sigmoid_()
                for start, rate in zip(starts, rates, strict=True)
            ]
            below = _weighted(weights, shares).clamp_(PROBABILITY_EDGE, 1 - PROBABILITY_EDGE)
            density = _weighted(peaks, [share.addcmul_(share, share, value=-1) for share in shares])
            step = torch.logit(below).sub_(odds).mul_(below.addcmul_(below, below, value=-1))
            value = value.sub_(step.div_(density.clamp_(min=1e-9))).clamp_(low, high)
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


def log_odds(uniform: Tensor) -> Tensor:
    """log(u / (1 - u)) of uniform numbers in (0, 1): what ``Mixture.sample`` draws with."""
    return torch.logit(uniform.clamp(UNIFORM_EDGE, 1 - UNIFORM_EDGE))


def _weighted(weights: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """The sum of the products."""
    total = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        total.addcmul_(weight, value)
    return total
