"""The multiscale PixelCNN for luma.

"Pixel Recursive Super Resolution" (Dahl, Norouzi, Shlens 2017, https://arxiv.org/abs/1702.00783) adds a
conditioning network and a PixelCNN. So does this one, in the multiscale order of ``order.py``: a trunk
reads the input and answers with the mean picture, then a chain of blocks walks through the steps, each
told the pixels that were sampled before it. Every layer works at the input's resolution; the sub-pixels
of a cell are channels, so a frame costs a few dozen small convolutions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upscale.models.layers import bicubic_cells, conv3x3, planes, upsampling_kernel
from upscale.models.mixture import MEAN_UNIT, NUMBERS, Mixture
from upscale.models.order import cell_order, raster_index

KNOWN_GAIN = 10.0
"""Residuals are about a tenth of the luma range; the network reads them enlarged by this."""


@dataclass(frozen=True, slots=True)
class LumaConfig:
    """What a file of weights needs to say for its network to be built again."""

    scale: int
    channels: int = 32
    blocks: int = 6
    """Residual blocks of the trunk; each step of the chain adds one more."""
    frames: int = 1
    """Input frames that one output frame depends on."""


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x) + known)), [N, C, H, W] -> the same."""

    ranges: Tensor
    """Of the codes for x, inner features and known values, by ``int8.observing``; 0 where it never was."""

    def __init__(self, config: LumaConfig, known: int = 0):
        super().__init__()
        self.register_buffer("ranges", torch.zeros(3))
        self.first = conv3x3(config.channels, config.channels)
        self.known = nn.Conv2d(known, config.channels, 3, padding=1) if known else None
        self.second = conv3x3(config.channels, config.channels, gain=0.1)

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        inner = self.first(x)
        if self.known is not None:
            inner += self.known(known)
        # In place: no convolution needs its own output again, not even for its gradient.
        return self.second(F.relu(inner, inplace=True)).add_(x)


class LumaPixelCNN(nn.Module):
    """p(high-resolution luma | low-resolution luma), factorised over the steps of a cell.

    Pictures are [N, 1, H, W] float in [0, 1]. *Cells* are the same pixels as channels,
    [N, scale**2, h, w], in the order of the steps.
    """

    kind = "luma"
    planes = 1
    base: Tensor
    order: Tensor
    raster: Tensor

    def __init__(self, config: LumaConfig):
        super().__init__()
        self.config = config
        self.steps = cell_order(config.scale)
        self.enter: nn.Module = nn.Conv2d(1, config.channels, 3, padding=1)
        self.trunk = nn.ModuleList(ResidualBlock(config) for _ in range(config.blocks))
        self.to_mean = nn.Conv2d(config.channels, config.scale**2, 3, padding=1)
        self.chain, self.to_mixture = nn.ModuleList(), nn.ModuleList()
        known = 0
        for step in self.steps:
            self.chain.append(ResidualBlock(config, known))
            self.to_mixture.append(_mixture_head(config, len(step)))
            known += len(step)
        nn.init.normal_(self.to_mean.weight, std=0.01)
        order = raster_index(config.scale)
        self.register_buffer("base", upsampling_kernel(config.scale)[order], persistent=False)
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("raster", torch.tensor(order).argsort(), persistent=False)

    @property
    def scale(self) -> int:
        return self.config.scale

    @property
    def frames(self) -> int:
        return self.config.frames

    @property
    def receptive_field(self) -> int:
        """Input pixels on each side that an output pixel may depend on: the halo of a tile."""
        return 2 + 2 * self.config.blocks + 2 * len(self.steps)

    def condition(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of every pixel as cells, and the features that the chain starts from.

        low : Tensor, shape = (N, 1, h, w). Returns (N, scale**2, h, w) float32 and (N, channels, h, w).
        """
        entered = self.enter(low - 0.5)
        features = entered
        for block in self.trunk:
            features = block(features)
        features = features.add_(entered)
        base = bicubic_cells(low, self.base)
        return base + MEAN_UNIT * self.to_mean(features).float(), features

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

    def to_cells(self, picture: Tensor) -> Tensor:
        """(N, 1, scale*h, scale*w) -> (N, scale**2, h, w), in the order of the steps."""
        cells: Tensor = F.pixel_unshuffle(picture, self.scale)
        return cells[:, self.order]

    def to_picture(self, cells: Tensor) -> Tensor:
        """(N, scale**2, h, w) -> (N, 1, scale*h, scale*w): the inverse of ``to_cells``."""
        return F.pixel_shuffle(cells[:, self.raster], self.scale)


def _mixture_head(config: LumaConfig, pixels: int) -> nn.Conv2d:
    """A 1x1 convolution; its two components start apart, so that they can part ways."""
    head = nn.Conv2d(config.channels, NUMBERS * pixels, 1)
    nn.init.normal_(head.weight, std=0.02)
    assert head.bias is not None
    nn.init.zeros_(head.bias)
    head.bias.data.view(NUMBERS, pixels)[2] += 0.1
    return head
