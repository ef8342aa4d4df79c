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

NEWTON_STEPS = 4
"""Leave an error of 1e-5 of the luma range or less for 99 pixels in 100, and 5e-6 on average."""

PIECE = 1 << 16
"""Pixels that a CPU samples at a time: some twenty planes of them fit its second-level cache."""

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
        parts = output.float().contiguous().view(n, 3, components, channels // (3 * components), h, w)
        logits, means, log_scales = parts.unbind(1)
        log_scales = (log_scales + LOG_SCALE_START).clamp(LOG_SCALE_FLOOR, LOG_SCALE_CEILING)
        return cls(logits, means * MEAN_UNIT, log_scales)

    def mean(self) -> Tensor:
        """The mean of the mixture, [N, P, H, W]."""
        if self.means.shape[1] == 1:
            return self.means[:, 0]
        return (self.logits.softmax(1) * self.means).sum(1)

    def sample(self, uniform: Tensor, temperature: float) -> Tensor:
        """One draw per pixel, [N, P, H, W]: the quantile of the mixture at ``uniform``.

        ``uniform`` holds numbers in (0, 1), shaped [N or 1, P, H, W]. ``temperature`` in [0, 1] divides the
        logits and multiplies the scales; at 0 the answer is the mean of the mixture.

        To draw a component and then a value is to jump where the weights say so: rounding, or the grain of
        the next frame, then turns a pixel over. The quantile moves as little as the parameters do. It lies
        between the quantiles of the components, and Newton's method finds it on the scale of log odds, on
        which one logistic is a straight line.
        """
        if temperature == 0:
            return self.mean()
        n, _, pixels, height, width = self.logits.shape
        answer = uniform.new_empty((n, pixels, height, width))
        # Small pieces stay in the cache through the dozens of passes; a GPU wants one large one.
        rows = max(1, PIECE // (n * pixels * width)) if answer.device.type == "cpu" else height
        for top in range(0, height, rows):
            part = slice(top, top + rows)
            piece = Mixture(
                self.logits[..., part, :], self.means[..., part, :], self.log_scales[..., part, :]
            )
            answer[..., part, :] = piece._quantile(uniform[..., part, :], temperature)
        return answer

    def _quantile(self, uniform: Tensor, temperature: float) -> Tensor:
        odds = torch.logit(uniform.clamp(UNIFORM_EDGE, 1 - UNIFORM_EDGE))
        means = self.means.unbind(1)
        scales = [temperature * log_scale.exp() for log_scale in self.log_scales.unbind(1)]
        quantiles = [torch.addcmul(mean, scale, odds) for mean, scale in zip(means, scales, strict=True)]
        if len(quantiles) == 1:
            return quantiles[0]
        weights = (self.logits / temperature).softmax(1).unbind(1)
        rates = [1 / scale for scale in scales]
        low, high = torch.stack(quantiles).aminmax(dim=0)
        value = torch.stack([w * q for w, q in zip(weights, quantiles, strict=True)]).sum(0)
        for _ in range(NEWTON_STEPS):
            below, density = torch.zeros_like(value), torch.zeros_like(value)
            for mean, rate, weight in zip(means, rates, weights, strict=True):
                share = ((value - mean) * rate).sigmoid_()
                below.addcmul_(weight, share)
                density.addcmul_(weight * rate, share.addcmul_(share, share, value=-1))
            below.clamp_(UNIFORM_EDGE / 10, 1 - UNIFORM_EDGE / 10)
            step = (odds - torch.logit(below)).mul_(below.addcmul_(below, below, value=-1))
            value = torch.clamp(value + step.div_(density.clamp_(min=1e-9)), low, high)
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
