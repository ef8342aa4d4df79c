"""A mixture of two logistic distributions for every pixel, of one scale: four numbers.

After Salimans et al., "PixelCNN++" (2017), https://arxiv.org/abs/1701.05517, but continuous, so that
8 and 10 bit video share one model. The discrete likelihood is there to measure bits per pixel. As the two
have one scale, the quantile of the mixture, which a sample is, has a closed form.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NUMBERS = 4
"""Of a network's output for every pixel."""

MEAN_UNIT = 0.1
"""One unit of a network's output moves a mean by this much of the luma range."""

LOG_SCALE_START = -4.0
"""Log of the scale that an output of zero stands for: 0.018, some five 8-bit levels."""

LOG_SCALE_FLOOR = -6.5
"""Narrowest component: 0.0015, less than half an 8-bit level, as the training pictures are 8-bit."""

LOG_SCALE_CEILING = 0.0
"""Widest component: the whole luma range."""

UNIFORM_EDGE = 1e-4
"""Uniform numbers stay this far from 0 and 1: a logistic tail is cut at 9.2 scales."""

COLDEST = 0.02
"""Temperature of a pixel below which a sample is as good as the likelier component's middle."""

TINY = 1e-37
"""Keeps the logarithm of nothing away."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Two logistics around ``centre - reach`` and ``centre + reach``; every tensor is [N, P, H, W] float32.

    ``balance`` is the log odds of the upper one; centre, reach (not below 0) and ``exp(log_scale)`` are in
    units of the luma range.
    """

    balance: Tensor
    centre: Tensor
    reach: Tensor
    log_scale: Tensor

    @classmethod
    def from_output(cls, output: Tensor) -> "Mixture":
        """Read a network's output [N, 4 * P, H, W], in the order number, pixel."""
        balance, centre, reach, log_scale = output.unflatten(1, (NUMBERS, -1)).unbind(1)
        log_scale = (log_scale + LOG_SCALE_START).clamp(LOG_SCALE_FLOOR, LOG_SCALE_CEILING)
        return cls(balance, MEAN_UNIT * centre, MEAN_UNIT * reach.abs(), log_scale)

    def mean(self) -> Tensor:
        """The mean of the mixture, [N, P, H, W]."""
        return torch.addcmul(self.centre, self.reach, torch.tanh(self.balance / 2))

    def deviation(self) -> Tensor:
        """The standard deviation of the mixture, [N, P, H, W], in units of the luma range."""
        within = self.log_scale.mul(2).exp_().mul_(math.pi**2 / 3)  # variance of a logistic
        beside = self.reach.square() * (1 - torch.tanh(self.balance / 2).square_())
        return within.add_(beside).sqrt_()

    def sample(self, odds: Tensor, temperature: float | Tensor) -> Tensor:
        """One draw per pixel, [N, P, H, W]: the quantile of the mixture at ``odds``.

        ``odds`` are log odds of uniform numbers, [N or 1, P, H, W]: see ``log_odds``. ``temperature`` in
        [0, 1] divides the balance and multiplies the scale; at 0 the answer is the mean of the mixture. It
        may be a tensor of such, which count as no less than COLDEST.

        To draw a component and then a value is to jump where the weights say so: rounding, or the grain of
        the next frame, then turns a pixel over. The quantile moves as little as the parameters do.

        With y = exp((x - centre) / scale - odds / 2), the probability below x is the uniform number where
        y - 1/y = 2q, so x = centre + scale * (odds / 2 + asinh q). As q grows like exp(d) with d = reach /
        scale, it is q * exp(-d) that is worked out here, and d that is added to its logarithm.
        """
        if isinstance(temperature, Tensor):
            temperature = temperature.clamp(min=COLDEST)
        elif temperature == 0:
            return self.mean()
        scale = self.log_scale.exp().mul_(temperature)
        apart = (self.reach / scale).mul_(-2).exp_().clamp_(min=TINY)  # exp(-2d)
        share = (self.balance / temperature).sigmoid_().mul_(1 - apart)
        half = odds / 2
        gain = half.exp()
        twice = (apart + share).mul_(gain).sub_((1 - share).div_(gain))  # 2q * exp(-d)
        size = torch.addcmul(apart.mul_(4), twice, twice).sqrt_().add_(twice.abs()).div_(2).log_()
        moved = torch.addcmul(self.reach, scale, size).copysign_(twice)  # scale * asinh q
        return moved.add_(self.centre).addcmul_(scale, half)

    def log_density(self, value: Tensor) -> Tensor:
        """Log of the density at ``value`` [N, P, H, W], in nats per unit of the luma range."""
        return self._log_sum(value, lambda z: F.logsigmoid(z) + F.logsigmoid(-z)) - self.log_scale

    def log_mass(self, value: Tensor, level: float = 1 / 255) -> Tensor:
        """Log of the probability of the ``level``-wide interval around ``value``, [N, P, H, W], in nats.

        Summed over the pixels of an 8-bit picture this is an honest code length for it.
        """
        # sigmoid(b) - sigmoid(a) = sigmoid(b) * sigmoid(-a) * (1 - exp(a - b)): exact in the tails too.
        width = level * torch.exp(-self.log_scale)
        sides = self._log_sum(value, lambda z: F.logsigmoid(z + width / 2) + F.logsigmoid(width / 2 - z))
        return sides + torch.log(-torch.expm1(-width))

    def _log_sum(self, value: Tensor, each: Callable[[Tensor], Tensor]) -> Tensor:
        """Log of the weighted sum of what ``each`` says, in logs, about (value - mean) / scale."""
        inverse = torch.exp(-self.log_scale)
        below, above = (
            each((value - self.centre + side * self.reach) * inverse) + F.logsigmoid(-side * self.balance)
            for side in (1, -1)
        )
        return torch.logaddexp(below, above)


def log_odds(uniform: Tensor) -> Tensor:
    """log(u / (1 - u)) of uniform numbers in (0, 1): what ``Mixture.sample`` draws with."""
    return uniform.clamp(UNIFORM_EDGE, 1 - UNIFORM_EDGE).logit_()
