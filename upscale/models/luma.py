"""The multiscale PixelCNN for luma.

"Pixel Recursive Super Resolution" (Dahl, Norouzi, Shlens 2017, https://arxiv.org/abs/1702.00783) adds a
conditioning network and a PixelCNN. So does this one, in the multiscale order of ``order.py``: the
conditioning network answers with the mean picture, then a chain of blocks walks through the steps, each
told the pixels that were sampled before it. Every layer works at the input's resolution; the sub-pixels
of a cell are channels, so a frame costs a few dozen small convolutions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from upscale.models.conditioning import Conditioning, ConditioningConfig, ResidualBlock
from upscale.models.layers import planes
from upscale.models.mixture import NUMBERS, Mixture
from upscale.models.order import cell_order

KNOWN_GAIN = 10.0
"""Residuals are about a tenth of the luma range; the network reads them enlarged by this."""


@dataclass(frozen=True, slots=True)
class LumaConfig(ConditioningConfig):
    """As of its conditioning network: each step of the chain adds one more residual block."""

    chain_inner: int = 0
    """As ``inner``, of the chain's blocks."""


class LumaPixelCNN(Conditioning):
    """p(high-resolution luma | low-resolution planes), factorised over the steps of a cell."""

    kind = "luma"
    is_large = False

    def __init__(self, config: LumaConfig):
        super().__init__(config)
        self.steps = cell_order(config.scale)
        self.chain, self.to_mixture = nn.ModuleList(), nn.ModuleList()
        known = 0
        for step in self.steps:
            self.chain.append(ResidualBlock(config.channels, known, config.chain_inner))
            self.to_mixture.append(_mixture_head(config, len(step)))
            known += len(step)

    @property
    def receptive_field(self) -> int:
        """Input pixels on each side that an output pixel may depend on: the halo of a tile."""
        return self._on_grid(super().receptive_field + 2 * len(self.steps))

    @property
    def residual_blocks(self) -> tuple[nn.ModuleList, ...]:
        """All the residual blocks, by the chain that they stand in."""
        return *super().residual_blocks, self.chain

    def advance(self, index: int, features: Tensor, known: Tensor) -> Tensor:
        """One step of the chain: its features (N, channels, h, w), from those of the step before.

        known : Tensor, shape = (N, pixels sampled so far, h, w), their residuals (pixel - mean).
        """
        block: nn.Module = self.chain[index]
        return block(features, known * KNOWN_GAIN) if index else block(features)

    def mixture(self, index: int, features: Tensor) -> Mixture:
        """The mixtures of the residuals of a step's pixels, from its features or some rows of them."""
        return Mixture.from_output(planes(self.to_mixture[index], features))

    def mixtures(self, features: Tensor, residuals: Tensor) -> Iterator[tuple[slice, Mixture]]:
        """What every step says, and which cells about, given the true residuals before it.

        residuals : Tensor, shape = (N, scale**2, h, w).
        """
        start = 0
        for index, step in enumerate(self.steps):
            features = self.advance(index, features, residuals[:, :start])
            yield slice(start, start + len(step)), self.mixture(index, features)
            start += len(step)

    def nats(self, low: Tensor, high: Tensor) -> Tensor:
        """-log p(high | low) of 8-bit pictures (N, 1, H, W), summed."""
        mean, features = self.condition(low)
        residuals = self.to_cells(high) - mean
        pairs = self.mixtures(features, residuals)
        return -torch.stack([mixture.log_mass(residuals[:, part]).sum() for part, mixture in pairs]).sum()


def _mixture_head(config: LumaConfig, pixels: int) -> nn.Conv2d:
    """A 1x1 convolution; its two components start apart, so that they can part ways."""
    head = nn.Conv2d(config.channels, NUMBERS * pixels, 1)
    nn.init.normal_(head.weight, std=0.02)
    assert head.bias is not None
    nn.init.zeros_(head.bias)
    head.bias.data.view(NUMBERS, pixels)[2] += 0.1
    return head
