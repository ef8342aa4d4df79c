"""Layers that the networks share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(inputs: int, outputs: int, gain: float = 1.0) -> nn.Conv2d:
    """A 3x3 convolution, zeros around the border, with He's initialisation times ``gain``."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(conv.weight, std=gain * (2 / (inputs * 9)) ** 0.5)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def planes(head: nn.Module, features: Tensor) -> Tensor:
    """head(features) for a 1x1 convolution, (N, C, h, w) -> (N, C', h, w) float32.

    As a matrix product, whose answer lies in planes: a convolution would answer with channels last, and
    need a copy to be split up.
    """
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    n, channels, height, width = features.shape
    pixels = features.permute(0, 2, 3, 1).reshape(-1, channels)
    answer = torch.addmm(head.bias[:, None], head.weight.view(-1, channels), pixels.t())
    return answer.view(-1, n, height, width).transpose(0, 1).float()


def upsampling_kernel(scale: int) -> Tensor:
    """Bicubic upsampling as a convolution: [scale**2, 1, 5, 5], sub-pixels in raster order.

    Read off PyTorch's own bicubic, by showing it every single pixel of a 5x5 neighbourhood.
    """
    impulses = torch.eye(25).view(25, 1, 5, 5)
    answers = F.interpolate(impulses, scale_factor=scale, mode="bicubic", align_corners=False)
    cell = answers[:, 0, 2 * scale : 3 * scale, 2 * scale : 3 * scale]
    return cell.reshape(25, scale**2).T.reshape(scale**2, 1, 5, 5).contiguous()


def bicubic_cells(planes: Tensor, kernel: Tensor) -> Tensor:
    """Every plane upsampled, as cells: (N, C, h, w) -> (N, C * scale**2, h, w) float32.

    kernel : Tensor, shape = (C * scale**2, 1, 5, 5), ``upsampling_kernel`` of each plane. In float32: in
    half precision the kernel's taps no longer sum to one, and a network would learn to make up for that.
    """
    around = F.pad(planes.float(), (2, 2, 2, 2), mode="replicate")
    with torch.autocast(planes.device.type, enabled=False):
        return F.conv2d(around, kernel, groups=planes.shape[1])
