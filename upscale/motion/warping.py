"""Pictures seen along a flow, on a device."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sampled(pictures: Tensor, flow: Tensor, how: str) -> Tensor:
    """The pictures (N, C, H, W) seen along the flow (N, 2, H, W); beyond their border, what is there."""
    height, width = pictures.shape[2:]
    y, x = (torch.arange(length, device=flow.device, dtype=flow.dtype) for length in flow.shape[2:])
    places = torch.stack(
        [
            (x + flow[:, 0]) * (2 / max(width - 1, 1)) - 1,
            (y[:, None] + flow[:, 1]) * (2 / max(height - 1, 1)) - 1,
        ],
        -1,
    )
    return F.grid_sample(pictures, places, mode=how, padding_mode="border", align_corners=True)
