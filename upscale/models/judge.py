"""How far a frame is from the clean picture that it was: one number, from the window around it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upscale.planes import WINDOW

SEEN = ("centre", "median", "weight")
"""The planes that are looked at, of ``planes.WINDOW``."""

ALONE = 0.201
"""A little above the weight where there are no neighbours, and the median says nothing."""

OCTAVES = 4
"""A damage of 1 is an error of 2**OCTAVES - 1 8-bit levels."""

STEPS = 64
"""Steps of a judgement from 0 to 1: so coarse that frames alike get the same, and their tiles are
known again."""

SUREST = 6.0
"""Natural logarithm of how much a place's word may weigh, against 1."""

ROWS = 512
"""Rows that are judged at a time, as memory has an end."""


class Judge(nn.Module):
    """Small convolutions, averaged over the frame by how sure each place is: a clean sky tells more than
    leaves, whose detail may be noise. They see texture, and what differs from the neighbours, both
    squashed, as only small differences are in doubt."""

    def __init__(self, channels: int = 24):
        super().__init__()
        self.body = nn.ModuleList(
            [
                nn.Conv2d(3, channels, 5, stride=2, padding=2),
                nn.Conv2d(channels, channels, 3, stride=2, padding=1),
                nn.Conv2d(channels, channels, 3, stride=2, padding=1),
                nn.Conv2d(channels, channels, 3, padding=1),
            ]
        )
        self.answer = nn.Conv2d(channels, 2, 1)
        assert self.answer.bias is not None
        self.answer.bias.data = torch.tensor([0.5, 0.0])

    def forward(self, window: Tensor) -> Tensor:
        """The damage of each frame, (N,): see ``damage``.

        window : Tensor, shape = (N, planes, h, w), the first of ``planes.WINDOW``."""
        judged, sure = self._summed(window)
        return (judged / sure).float()

    def of_frame(self, window: Tensor) -> Tensor:
        """As ``forward``, in steps, of frames of any size."""
        bands = [self._summed(band) for band in window.split(ROWS, 2)]
        judged, sure = (torch.stack(part).sum(0) for part in zip(*bands, strict=True))
        return ((judged / sure).float().clamp(0, 1) * STEPS).round() / STEPS

    def _summed(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """What the places say, weighed by how sure each is, and how sure they are: sums (N,) of each."""
        centre, median, weight = (window[:, WINDOW.index(name)][:, None] for name in SEEN)
        local = F.avg_pool2d(F.pad(centre, (2, 2, 2, 2), mode="replicate"), 5, 1)
        alone = (weight.amax((2, 3), keepdim=True) > ALONE).float()
        seen = [_squashed(centre - local), _squashed(centre - median) * alone, weight - 0.5]
        features = torch.cat(seen, 1).contiguous(memory_format=torch.channels_last)
        for conv in self.body:
            features = F.relu(conv(features), inplace=True)
        answer = self.answer(features)
        if answer.device.type == "cpu":  # whose threads share sums out: in double, nothing of that is left
            answer = answer.double()
        judged, surety = answer.unbind(1)
        sure = surety.clamp(-SUREST, SUREST).exp()
        return (judged * sure).sum((1, 2)), sure.sum((1, 2))


def damage(picture: Tensor, clean: Tensor) -> Tensor:
    """How far pictures (N, 1, h, w) in [0, 1] are from the clean ones, (N,): 0 for equal ones, a quarter
    for an RMS error of an 8-bit level, a half for 3, 1 for 15."""
    error = (picture - clean).square().mean((1, 2, 3)).sqrt() * 255
    return torch.log2(1 + error) / OCTAVES


def error_of(damage: Tensor) -> Tensor:
    """The RMS error in 8-bit levels that a damage stands for."""
    return 2 ** (OCTAVES * damage) - 1


def _squashed(difference: Tensor) -> Tensor:
    levels = difference * 255
    return levels / (1 + levels.abs())
