"""The chroma network: a small ConvNet that lets chroma follow the new luma.

Edges of colour are edges of luma nearly always, and the eye sees chroma coarsely. So chroma is not
sampled: it takes the mean, guided by the high-resolution luma that was.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upscale.models.layers import bicubic_cells, conv3x3, upsampling_kernel

CONTRAST_FLOOR = 0.005
"""About an 8-bit level: chroma that varies less than this is noise, and not blown up."""


@dataclass(frozen=True, slots=True)
class ChromaConfig:
    """What a file of weights needs to say for its network to be built again."""

    scale: int
    channels: int = 24
    layers: int = 3
    frames: int = 1
    """Input frames that one output frame depends on."""


class ChromaNet(nn.Module):
    """Cb and Cr at ``scale`` times their own resolution, whatever the subsampling.

    The guide is luma at the *chroma's* output resolution, so 4:2:0, 4:2:2 and 4:4:4 are one network.
    What it adds to bicubic is in units of the local contrast of chroma: where there is no colour edge in
    reach, no edge of luma can make one.
    """

    kind = "chroma"
    is_large = False
    reduced: ClassVar[dict[str, int]] = {}
    planes = 2
    grid = 1
    base: Tensor

    def __init__(self, config: ChromaConfig):
        super().__init__()
        self.config = config
        cell, width = config.scale**2, config.channels
        self.enter = conv3x3(4 + cell, width)
        self.body = nn.ModuleList(conv3x3(width, width) for _ in range(config.layers - 1))
        self.leave = nn.Conv2d(width, 2 * cell, 3, padding=1)
        nn.init.normal_(self.leave.weight, std=0.01)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)
        kernel = upsampling_kernel(config.scale)
        self.register_buffer("base", torch.cat([kernel, kernel]), persistent=False)

    @property
    def scale(self) -> int:
        return self.config.scale

    @property
    def frames(self) -> int:
        return self.config.frames

    @property
    def receptive_field(self) -> int:
        """Input pixels on each side that an output pixel may depend on: the halo of a tile."""
        return 2 + 1 + self.config.layers  # the window of the contrast, then the convolutions

    def forward(self, chroma: Tensor, guide: Tensor) -> Tensor:
        """chroma : (N, 2, h, w) around 0.5; guide : (N, 1, scale*h, scale*w) luma in [0, 1].

        Returns (N, 2, scale*h, scale*w) float32 around 0.5.
        """
        inside = F.pixel_unshuffle(guide, self.scale)
        # In planes: with two channels last, the means would take four times as long.
        around = F.pad(chroma.float().contiguous(), (2, 2, 2, 2), mode="replicate")
        mean = F.avg_pool2d(around, 5, 1)
        variance = F.avg_pool2d((around - 0.5).square(), 5, 1) - (mean - 0.5).square()
        contrast = variance.clamp(min=1e-8).sqrt()  # (N, 2, h, w)
        normalised = (chroma - mean) / (contrast + CONTRAST_FLOOR)
        features = F.relu(self.enter(torch.cat([chroma - 0.5, normalised, inside - 0.5], 1)), inplace=True)
        for layer in self.body:
            features = F.relu(layer(features), inplace=True)
        detail = self.leave(features).float() * contrast.repeat_interleave(self.scale**2, 1)
        return F.pixel_shuffle(bicubic_cells(chroma, self.base) + detail, self.scale)
