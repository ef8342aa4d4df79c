"""The raster PixelCNN for luma: "Pixel Recursive Super Resolution", pixel after pixel.

Dahl, Norouzi, Shlens 2017, https://arxiv.org/abs/1702.00783: a conditioning network that sees the small
picture and a prior that sees the pixels sampled so far each answer with 256 logits for a pixel; their sum
is its distribution. The prior is a gated PixelCNN of two stacks, so that it has no blind spot (van den Oord
et al. 2016, https://arxiv.org/abs/1606.05328).

    small picture --> conditioning network --> mean --> levels - mean --> prior --> logits  (+)-> softmax
                                           '-> features -----------------------> logits  -'

What is not as in the paper, and why:

* Luma alone, as chroma has a network of its own; so there are no sub-pixel masks.
* Levels are counted from the rounded mean of the conditioning network: the 256 are -128 to 127, of which
  the ends stand for all beyond them. What is left to learn is the same everywhere, and takes a fraction of
  the training.
* The conditioning network sees real pixels around a patch, where the paper's sees 8x8 and nothing else. It
  upsamples by sub-pixel convolutions, where transposed ones leave a pattern.
* All that the prior adds up is integers: features are codes of 8 bits, weights too. Sums of integers are
  the same in any order, so every way to sample gives the same picture, on any machine, in any batch.
  For that, tanh and the sigmoid of the gates are made of straight lines, and a layer adds to its input
  within the range of the codes, without another convolution.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upscale.models.conditioning import SIGNAL, Conditioning, ConditioningConfig, ResidualBlock

ROWS = 64
"""Of a picture whose logits are looked at together."""

LEVELS = 256
"""Of luma, and of the softmax."""

LOWEST = -128
"""The level that the first logit stands for, from the mean."""

UNIT = 127
"""The code of a feature of 1; features are between -1 and 1."""

INPUT_UNIT = 16
"""The code of 1 where codes are levels: most are a few levels from the mean."""

PRIOR_SCALE = 6.0
"""Levels in which the probability falls by e, before anything is learned."""


@dataclass(frozen=True, slots=True)
class RasterConfig(ConditioningConfig):
    """The sizes of the network; those of ``PAPER`` are the paper's."""

    upper: tuple[int, ...] = (0, 0)
    """Residual blocks of the conditioning network after each doubling of the resolution."""
    layers: int = 5
    """Gated layers of the prior, after the first."""
    features: int = 32
    """Of each of its stacks."""
    first: int = 7
    """Pixels a side of the square that the first layer sees the upper half of."""
    kernel: int = 3
    """The same of the other layers."""
    hidden: int = 64
    """Features between the last layer and the logits."""


PAPER = RasterConfig(4, 32, 6, upper=(6, 6), layers=20, features=64, kernel=5, hidden=1024)
"""The network of the paper, as its table of sizes has it."""


class Doubling(nn.Module):
    """A sub-pixel convolution, then residual blocks, [N, C, h, w] -> [N, C, 2h, 2w]."""

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        self.enlarge = nn.Conv2d(channels, 4 * channels, 1)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))

    def forward(self, features: Tensor) -> Tensor:
        features = F.relu(F.pixel_shuffle(self.enlarge(features), 2))
        for block in self.blocks:
            features = block(features)
        return features


class _Rounded(torch.autograd.Function):
    """Rounding, whose gradient is that of nothing done (the straight-through estimator)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def rounded(x: Tensor) -> Tensor:
    """The nearest integers; gradients pass."""
    answer: Tensor = _Rounded.apply(x) if torch.is_grad_enabled() else x.round()
    return answer


def gated(answer: Tensor, dim: int = 1) -> Tensor:
    """tanh(a) * sigmoid(b), of straight lines, as codes: (..., 2F, ...) -> (..., F, ...).

    Products, clamps and rounding of floats are exactly defined: equal inputs make equal codes anywhere."""
    value, gate = answer.chunk(2, dim)
    if torch.is_grad_enabled():
        return rounded(F.hardtanh(value, -UNIT, UNIT) * F.hardtanh(gate, 0, 1))
    return value.clamp_(-UNIT, UNIT).mul_(gate.clamp_(0, 1)).round_()


class CodeConv(nn.Module):
    """A masked convolution of codes, whose weights are codes as well; it reaches up, left and right."""

    mask: Tensor
    units: Tensor

    def __init__(self, mask: Tensor, right: int, units: Tensor, unit: int = UNIT):
        """``mask`` is 1 for the weights that there are, [inputs, rows, columns]: the last row is the
        pixel's own, and so is the column that has ``right`` others after it. ``unit`` is the code of 1 of
        its input; ``units`` is what the answers have instead, [outputs]."""
        super().__init__()
        inputs, rows, columns = mask.shape
        self.unit, self.right = unit, right
        self.pads = columns - 1 - right, right, rows - 1, 0
        self.register_buffer("mask", mask[None], persistent=False)
        self.register_buffer("units", units, persistent=False)
        self.weight = nn.Parameter(torch.empty(len(units), inputs, rows, columns))
        self.bias = nn.Parameter(torch.zeros(len(units)))
        nn.init.normal_(self.weight, std=float(mask.sum()) ** -0.5)

    def codes(self) -> tuple[Tensor, Tensor, Tensor]:
        """The weights as integers from -127 to 127, [outputs, inputs, rows, columns]; what the sums of each
        output are multiplied by, and what is added to them then, [outputs]; all float32."""
        weight = self.weight * self.mask
        step = weight.detach().abs().amax((1, 2, 3)).clamp(min=1e-8) / UNIT
        return (
            rounded(weight / step.view(-1, 1, 1, 1)),
            step / self.unit * self.units,
            self.bias * self.units,
        )

    def forward(self, codes: Tensor) -> Tensor:
        """(N, inputs, H, W) codes -> (N, outputs, H, W); zeros around the picture."""
        weight, scale, offset = self.codes()
        sums = F.conv2d(F.pad(codes, self.pads), weight)
        scale, offset = (numbers.to(sums.dtype).view(-1, 1, 1) for numbers in (scale, offset))
        return sums * scale + offset


class GatedLayer(nn.Module):
    """A layer of both stacks: the vertical one sees all rows above, the horizontal one that and its row.

    The first layer, of ``inputs`` planes, does not see the pixel that is asked for; the others read
    features that do not."""

    def __init__(self, features: int, size: int, inputs: int = 0):
        super().__init__()
        self.is_first = inputs > 0
        read, half = inputs or features, size // 2
        unit = INPUT_UNIT if self.is_first else UNIT
        above = torch.ones(read, half + 1, size)
        beside = torch.zeros(read + features, 1, half + 1)
        beside[:read] = 1
        beside[read:, :, -1] = 1  # of the vertical stack, the pixel's own features
        if self.is_first:
            above[:, -1] = 0
            beside[:read, :, -1] = 0
        units = torch.ones(2 * features)
        units[:features] = UNIT
        self.vertical = CodeConv(above, half, units, unit)
        self.horizontal = CodeConv(beside, 0, units, unit)
        for conv in (self.vertical, self.horizontal):
            conv.bias.data[features:] = 0.5  # half open

    def forward(self, rows: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of both stacks, (N, features, H, W) each, or of the input, to those of the next layer."""
        above = gated(self.vertical(rows))
        if not self.is_first:
            above = joined(rows, above)
        beside = gated(self.horizontal(torch.cat([pixels, above], 1)))
        return above, beside if self.is_first else joined(pixels, beside)


def joined(codes: Tensor, more: Tensor) -> Tensor:
    """Their sum, within the range of codes."""
    if torch.is_grad_enabled():
        return F.hardtanh(codes + more, -UNIT, UNIT)
    return more.add_(codes).clamp_(-UNIT, UNIT)


def hidden_codes(answer: Tensor) -> Tensor:
    """What comes before the logits, as codes: those of the positive ones."""
    return rounded(F.hardtanh(answer, 0, UNIT))


class RasterPixelCNN(Conditioning):
    """p(high-resolution luma | low-resolution planes), factorised over all pixels, row by row.

    What the prior reads and answers with are *codes*, integers in floats; *levels* are those of 8-bit luma,
    counted from the rounded mean."""

    kind = "raster"
    is_large = False
    reduced: ClassVar[dict[str, float]] = Conditioning.reduced | {
        "upper.1": 1 / 4,
        **dict.fromkeys(("to_codes", "prior", "to_hidden", "to_logits"), 1 / 16),
    }
    """At x4, which is what there are weights for."""
    config: RasterConfig

    def __init__(self, config: RasterConfig):
        super().__init__(config)
        channels, features = config.channels, config.features
        if 2 ** len(config.upper) != config.scale:
            raise ValueError(f"{len(config.upper)} doublings do not make x{config.scale}")
        self.upper = nn.ModuleList(Doubling(channels, blocks) for blocks in config.upper)
        self.to_codes = nn.Conv2d(channels, features, 1)
        first = GatedLayer(features, config.first, inputs=2)
        others = (GatedLayer(features, config.kernel) for _ in range(config.layers))
        self.prior = nn.ModuleList([first, *others])
        self.to_hidden = CodeConv(torch.ones(features, 1, 1), 0, torch.full((config.hidden,), float(UNIT)))
        self.to_logits = CodeConv(torch.ones(config.hidden + features, 1, 1), 0, torch.ones(LEVELS))
        self.to_logits.weight.data *= 0.1
        self.to_logits.bias.data = -torch.arange(LOWEST, LOWEST + LEVELS).abs() / PRIOR_SCALE

    @property
    def receptive_field(self) -> int:
        """Input pixels on each side that the conditioning network sees: the halo of its tiles."""
        doubled = (-(-2 * blocks // 2**level) for level, blocks in enumerate(self.config.upper, 1))
        return self._on_grid(super().receptive_field + sum(doubled))

    @property
    def reach(self) -> int:
        """Output pixels upward, to the left and to the right of one that its distribution depends on."""
        return self.config.first // 2 + self.config.layers * (self.config.kernel // 2)

    @property
    def residual_blocks(self) -> tuple[nn.ModuleList, ...]:
        """All the residual blocks, by the chain that they stand in."""
        upper = (doubling.blocks for doubling in self.upper if isinstance(doubling, Doubling))
        return *super().residual_blocks, *upper

    def conditioned(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of every pixel, (N, 1, H, W), and the codes that its logits are made of, (N, features,
        H, W).

        low : Tensor, shape = (N, planes, h, w)."""
        mean, features = self.condition(low)
        for doubling in self.upper:
            features = doubling(features)
        return self.to_picture(mean), rounded(UNIT * self.to_codes(features).float().clamp(-1, 1))

    def hidden(self, levels: Tensor) -> Tensor:
        """What the prior makes of the pixels before each one, (N, hidden, H, W) codes.

        levels : Tensor, shape = (N, 1, H, W)."""
        rows = pixels = read(levels)
        for layer in self.prior:
            rows, pixels = layer(rows, pixels)
        return hidden_codes(self.to_hidden(pixels))

    def logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """For each level from LOWEST on, (N, H, W, LEVELS) float32: the sum of what the prior says and what
        the conditioning network does; the latter's alone where ``hidden`` is zeros."""
        weight, scale, offset = self.to_logits.codes()
        rows = torch.cat([hidden.float(), codes], 1).permute(0, 2, 3, 1)
        with torch.autocast(hidden.device.type, enabled=False):
            return rows @ weight.flatten(1).T * scale + offset

    def nats(self, low: Tensor, high: Tensor) -> Tensor:
        """-log p(high | low) of 8-bit pictures (N, 1, H, W), summed.

        A logit at an end stands for all levels from there on, each as likely as the others."""
        mean, codes = self.conditioned(low)
        middle, truth = level_of(mean), high.mul(255).round()
        levels = truth - middle
        # A few rows at a time: there are hundreds of logits for each pixel.
        parts = (planes.split(ROWS, 2) for planes in (self.hidden(levels), codes, levels))
        nats = torch.stack(
            [
                cross_entropy(self.logits(known, own), true).sum()
                for known, own, true in zip(*parts, strict=True)
            ]
        ).sum()
        below, above = middle + LOWEST + 1, 255 - middle - (LOWEST + LEVELS - 1) + 1
        shared = torch.where(levels <= LOWEST, below, torch.where(levels >= -LOWEST - 1, above, 1))
        return nats + shared.clamp(min=1).log().sum()


def level_of(mean: Tensor) -> Tensor:
    """The 8-bit level of a mean, from which others are counted; beyond 0 to 255 where signals may be."""
    return mean.clamp(*SIGNAL).mul(255).round()


def read(levels: Tensor) -> Tensor:
    """What the prior reads, (N, 2, H, W) codes: (N, 1, H, W) levels, and where there are any."""
    both = torch.cat([levels.clamp(-UNIT, UNIT), torch.full_like(levels, INPUT_UNIT)], 1)
    return both.contiguous(memory_format=torch.channels_last)


def cross_entropy(logits: Tensor, levels: Tensor) -> Tensor:
    """Nats of each level, (N * H * W): of (N, H, W, LEVELS) logits and (N, 1, H, W) levels."""
    classes = (levels[:, 0] - LOWEST).clamp(0, LEVELS - 1).long()
    return F.cross_entropy(logits.flatten(0, 2), classes.flatten(), reduction="none")
