"""The colour network: p(chroma | luma, hints), and chroma from its coarse grid to the picture.

After "PixColor" (Guadarrama et al. 2017, https://arxiv.org/abs/1705.07208), which samples small chroma
with a PixelCNN and lets a second network take it to the picture. Here the PixelCNN's order is multiscale
(``color_order``), and one network is asked at every step: it is shown the chroma that is known, and where.
What a reference suggests are two more hints of that kind, each with how far it can be trusted.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upscale.models import palette
from upscale.models.layers import conv3x3

CELL = 8
"""Luma pixels a side for each sample of the coarse chroma."""

FINE = 2
"""Luma pixels a side for each sample of the chroma that comes out."""

COARSEST = 16
"""Cells between the samples of the first step: 128 pixels."""

FEATURES = (24, 40, 112, 320)
"""Channels of the features, at strides 4, 8, 16 and 32."""

UNIT = 8.0
"""Chroma is about an eighth of its range; the network reads it enlarged by this."""

DROPPED = 0.25
"""Share of the features' channels that training leaves out, so that no picture is known by heart."""


@dataclass(frozen=True, slots=True)
class ColorConfig:
    """What a file of weights needs to say for its network to be built again."""

    channels: int = 96
    wide: int = 128
    widest: int = 192
    guided: int = 32
    """Channels of the guided upsampling."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What others suggest for the chroma of a picture, around 0; all zeros where nobody does."""

    matched: Tensor
    """(N, 4, h, w) per cell: Cb and Cr that ``color.matching`` found, the likeness of the best match (0 to
    1), and the spread of what was found."""
    moved: Tensor
    """(N, 3, H/FINE, W/FINE): Cb and Cr of a key frame, moved along the flow, and how far that can be
    trusted (0 to 1)."""

    @classmethod
    def none(cls, luma: Tensor) -> "Hints":
        """For luma (N, 1, H, W) about whose colours nobody knows."""
        n, _, height, width = luma.shape
        return cls(
            luma.new_zeros(n, 4, height // CELL, width // CELL),
            luma.new_zeros(n, 3, height // FINE, width // FINE),
        )


class _Block(nn.Module):
    """x + conv(relu(conv(relu(x)))), [N, C, h, w] -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = conv3x3(channels, channels)
        self.second = conv3x3(channels, channels, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


def _levelled(level: Tensor) -> Tensor:
    """Features of one picture over their root mean square: blocks differ a hundredfold."""
    return level * level.square().mean((1, 2, 3), keepdim=True).add(1e-6).rsqrt()


class ColorNet(nn.Module):
    """Reads luma, the frozen features of it, hints, and what chroma is known already."""

    kind = "color"
    is_large = True
    reduced: ClassVar = {
        "guided": 4,
        "read.2": 256,
        "read.3": 1024,
        "middle": 256,
        "down.": 256,
        "fine_up": CELL**2,
        "bottom": 1024,
    }
    reduced |= {"down_again": 1024, "up.": 1024, "around": 1 << 20, "": CELL**2}
    """Part of a layer's name -> luma pixels for each place that it works at; the first that fits."""

    def __init__(self, config: ColorConfig):
        super().__init__()
        self.config = config
        width, wide, widest = config.channels, config.wide, config.widest
        self.read = nn.ModuleList(
            nn.Conv2d(channels, out, 1)
            for channels, out in zip(
                (4 * FEATURES[0], *FEATURES[1:]), (width, width, wide, widest), strict=True
            )
        )
        self.read_luma = nn.Conv2d(16, width, 1)
        self.read_hints = nn.Conv2d(10, width, 3, padding=1)
        self.fine = _Block(width)
        self.down = nn.Conv2d(width, wide, 2, stride=2)
        self.middle = nn.Sequential(_Block(wide), _Block(wide))
        self.down_again = nn.Conv2d(wide, widest, 2, stride=2)
        self.bottom = nn.Sequential(_Block(widest), _Block(widest), _Block(widest))
        self.around = nn.Linear(widest, widest)
        self.up = nn.Conv2d(widest, 4 * wide, 1)
        self.middle_up = _Block(wide)
        self.up_again = nn.Conv2d(wide, 4 * width, 1)
        self.fine_up = nn.Sequential(_Block(width), _Block(width))
        self.to_bins = nn.Conv2d(width, palette.BINS, 1)
        nn.init.normal_(self.to_bins.weight, std=0.02)
        self.guided = Guided(config.guided)

    def looks(self, luma: Tensor, levels: tuple[Tensor, ...], hints: Hints) -> "Look":
        """All that is the same in every step, worked out once.

        luma : (N, 1, H, W) in [0, 1], sides multiples of 32; levels : see ``color.features.Features``.
        """
        levels = (F.pixel_unshuffle(levels[0], 2), *levels[1:])
        read = [
            layer(F.dropout2d(_levelled(level), DROPPED, self.training))
            for layer, level in zip(self.read, levels, strict=True)
        ]
        cells = F.pixel_unshuffle(F.avg_pool2d(luma, 2) - 0.5, CELL // 2)
        moved = F.avg_pool2d(hints.moved, CELL // FINE)
        fine = read[0] + read[1] + self.read_luma(2 * cells)
        told = torch.cat(
            [hints.matched[:, :2] * UNIT, hints.matched[:, 2:], moved[:, :2] * UNIT, moved[:, 2:]], 1
        )
        return Look(luma, fine, read[2], read[3], told, hints)

    def logits(self, look: "Look", known: Tensor) -> Tensor:
        """Log odds of every colour for every cell, (N, BINS, h, w) float32, not normalised.

        known : (N, 3, h, w), chroma around 0 where it is known and 0 elsewhere, and 1 where it is.
        """
        told = torch.cat([look.told, known[:, :2] * UNIT, known[:, 2:]], 1)
        fine = self.fine(look.fine + self.read_hints(told))
        middle = self.middle(self.down(fine) + look.middle)
        bottom = self.bottom(self.down_again(middle) + look.bottom)
        bottom = bottom + self.around(bottom.mean((2, 3)))[:, :, None, None]
        middle = self.middle_up(middle + F.pixel_shuffle(self.up(bottom), 2))
        fine = self.fine_up(fine + F.pixel_shuffle(self.up_again(middle), 2))
        return self.to_bins(F.relu(fine)).float()

    def enlarge(self, look: "Look", coarse: Tensor) -> Tensor:
        """Chroma around 0 for every FINE x FINE pixels, (N, 2, H/FINE, W/FINE), of its coarse cells."""
        return self.guided(coarse, look.luma, look.hints.moved)


@dataclass(frozen=True, slots=True)
class Look:
    """A picture as the network has looked at it: see ``ColorNet.looks``."""

    luma: Tensor
    fine: Tensor
    middle: Tensor
    bottom: Tensor
    told: Tensor
    hints: Hints


class Guided(nn.Module):
    """Coarse chroma to fine, guided by luma.

    Every fine sample is a mean of the nine cells around it and of what was moved there along the flow, with
    weights that a small network sees in luma (as RAFT's convex upsampling: Teed and Deng 2020,
    https://arxiv.org/abs/2003.12039), and what luma adds to it, in units of the contrast of chroma there:
    where cells agree no edge of luma can make a colour of its own.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.enter = conv3x3(FINE**2 + 2 + 3, channels)
        self.body = nn.ModuleList(conv3x3(channels, channels) for _ in range(2))
        self.leave = nn.Conv2d(channels, 10 + 2, 3, padding=1)
        nn.init.normal_(self.leave.weight, std=0.01)

    def forward(self, coarse: Tensor, luma: Tensor, moved: Tensor) -> Tensor:
        """coarse : (N, 2, h, w); luma : (N, 1, H, W); moved : see ``Hints``."""
        times = CELL // FINE
        smooth = F.interpolate(coarse.float(), scale_factor=times, mode="bilinear", align_corners=False)
        inside = F.pixel_unshuffle(luma - 0.5, FINE)
        read = torch.cat([2 * inside, smooth * UNIT, moved[:, :2] * UNIT, moved[:, 2:]], 1)
        features = F.relu(self.enter(read))
        for layer in self.body:
            features = F.relu(layer(features))
        answer = self.leave(features).float()
        n, _, height, width = coarse.shape
        around = F.unfold(F.pad(coarse.float(), (1, 1, 1, 1), mode="replicate"), 3)
        around = around.view(n, 2, 9, 1, height, width)
        trust = moved[:, 2:]
        shares = torch.cat([answer[:, :9], answer[:, 9:10] + (trust + 1e-4).log()], 1).softmax(1)
        # Fine samples as channels of their cell: the nine neighbours need not be repeated for each.
        of_cells = F.pixel_unshuffle(shares[:, :9], times).view(n, 1, 9, times**2, height, width)
        blended = F.pixel_shuffle((around * of_cells).sum(2).flatten(1, 2), times)
        contrast = F.interpolate(around.std(2).squeeze(2), scale_factor=times)
        return blended + shares[:, 9:] * moved[:, :2] + answer[:, 10:] * contrast


def color_order(height: int, width: int) -> list[Tensor]:
    """The steps in which cells are sampled, each a mask [height, width] of those that are its own.

    First every COARSEST-th cell, from half of that on; then, at half the spacing and again, the centres of
    the squares known so far and their edges, as in ``order.cell_order``: nine steps in all.
    """
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = y - COARSEST // 2, x - COARSEST // 2
    steps, known = [], torch.zeros(height, width, dtype=torch.bool)

    def add(mask: Tensor) -> None:
        nonlocal known
        new = mask & ~known
        if new.any():
            steps.append(new)
            known = known | new

    stride = COARSEST
    add((y % stride == 0) & (x % stride == 0))
    while stride > 1:
        half = stride // 2
        add((y % stride == half) & (x % stride == half))
        add((y % half == 0) & (x % half == 0))
        stride = half
    return steps
