"""A distribution over colours: the joint probability of Cb and Cr, on a grid of bins.

Joint, as a car is red or blue and never half of each; bins, as the answer to "which colour" has many
peaks, at places that no small mixture would find ("Colorful Image Colorization", Zhang, Isola, Efros 2016,
https://arxiv.org/abs/1603.08511). They lie closer near grey, where most colours of a film are.
"""

import torch
from torch import Tensor

STEPS = 8
"""Bins on each side of neutral."""

LEVELS = 2 * STEPS + 1
"""Along each axis."""

BINS = LEVELS**2

BEND = 1.6
"""Power by which bins lie further apart away from neutral: by 4 levels of 8 bit at first, by 22 at last."""


def values() -> Tensor:
    """The chroma of each level, [LEVELS] from -0.5 to 0.5."""
    place = torch.arange(-STEPS, STEPS + 1) / STEPS
    return 0.5 * place.sign() * place.abs() ** BEND


def places(chroma: Tensor) -> Tensor:
    """Where chroma in [-0.5, 0.5] lies between the levels, in [0, LEVELS - 1]; exact at the levels only, as
    between two of them it goes in a straight line."""
    level = values().to(chroma.device)
    low = (torch.bucketize(chroma.contiguous(), level) - 1).clamp(0, LEVELS - 2)
    return low + ((chroma - level[low]) / (level[low + 1] - level[low])).clamp(0, 1)


def soft_targets(chroma: Tensor) -> tuple[Tensor, Tensor]:
    """The four bins around each colour and their shares, whose mean is that colour.

    chroma : (N, 2, h, w) around 0. Returns (N, 4, h, w) int64, and float32 that sum to 1.
    """
    place = places(chroma)
    low = place.long().clamp(max=LEVELS - 2)
    part = place - low
    bins, shares = [], []
    for blue in (0, 1):
        for red in (0, 1):
            bins.append((low[:, 0] + blue) * LEVELS + low[:, 1] + red)
            first = part[:, 0] if blue else 1 - part[:, 0]
            shares.append(first * (part[:, 1] if red else 1 - part[:, 1]))
    return torch.stack(bins, 1), torch.stack(shares, 1)


def mean(probability: Tensor) -> Tensor:
    """The mean colour of each distribution: (N, BINS, h, w) that sum to 1 -> (N, 2, h, w) around 0."""
    level = values().to(probability)
    n, _, height, width = probability.shape
    grid = probability.view(n, LEVELS, LEVELS, height, width)
    # Not as matrix products, which autocast would make in half precision.
    level = level.view(1, -1, 1, 1)
    return torch.stack([(grid.sum(axis) * level).sum(1) for axis in (2, 1)], 1)


def quantile(probability: Tensor, uniform: Tensor) -> Tensor:
    """The colour at ``uniform``, a draw from each distribution.

    First Cb, as the quantile of its own distribution, then Cr as that of its distribution beside that Cb.
    Within a bin it is spread evenly. As with ``mixture.Mixture.sample``, it moves as little as the
    distribution does, where drawing a bin would jump.

    probability : (N, BINS, h, w) that sum to 1; uniform : (N or 1, 2, h, w) in (0, 1). Returns
    (N, 2, h, w) around 0.
    """
    n, _, height, width = probability.shape
    grid = probability.view(n, LEVELS, LEVELS, height, width)
    blue = _place(grid.sum(2), uniform[:, :1].expand(n, -1, -1, -1))
    near = blue - torch.arange(LEVELS, device=blue.device).view(1, -1, 1, 1)
    share = (1 - near.abs()).clamp(min=0)  # of the two bins around it
    beside = (grid * share[:, :, None]).sum(1)
    beside = beside / beside.sum(1, keepdim=True).clamp(min=1e-12)
    red = _place(beside, uniform[:, 1:].expand(n, -1, -1, -1))
    level = values().to(probability)
    both = torch.cat([blue, red], 1)
    low = both.long().clamp(0, LEVELS - 2)
    return level[low] + (both - low) * (level[low + 1] - level[low])


RED, BLUE = 1.402, 1.772
GREEN = (0.344136, 0.714136)
"""What chroma adds to luma in red and blue, and takes from it in green: BT.601, which is near enough to the
others for what is possible at all."""


def possible(chroma: Tensor, luma: Tensor) -> Tensor:
    """Chroma (N, 2, h, w) around 0, drawn towards grey as far as luma (N, 1, h, w) asks for it: black and
    white have no colour, as red, green and blue lie between 0 and 1."""
    blue, red = chroma[:, :1], chroma[:, 1:]
    added = torch.cat([RED * red, BLUE * blue, -GREEN[0] * blue - GREEN[1] * red], 1)
    room = torch.where(added > 0, 1 - luma, luma).clamp(min=0)
    return chroma * (room / added.abs().clamp(min=1e-6)).amin(1, keepdim=True).clamp(max=1)


def _place(probability: Tensor, uniform: Tensor) -> Tensor:
    """The quantile of (N, LEVELS, h, w), whose bins are as wide as from one middle to the next: (N, 1, h,
    w) in [0, LEVELS - 1]."""
    total = probability.cumsum(1)
    number = (total < uniform * total[:, -1:]).sum(1, keepdim=True).clamp(max=LEVELS - 1)
    inside = probability.gather(1, number).clamp(min=1e-12)
    before = total.gather(1, number) - inside
    part = ((uniform * total[:, -1:] - before) / inside).clamp(0, 1)
    return (number + part - 0.5).clamp(0, LEVELS - 1)
