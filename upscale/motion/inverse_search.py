"""Optical flow by dense inverse search, on a device: all patches of all pairs of pictures at once.

After DIS (Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", 2016,
https://arxiv.org/abs/1603.03590), with the patches, steps and limits that OpenCV's has, so that both answer
alike. One thing differs: a patch takes over the flow of a better neighbour from all of them at once, and
not in the order of a scan.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from upscale.motion.refinement import refined
from upscale.motion.warping import sampled

PATCH, STRIDE = 8, 4
"""Side of a patch, and pixels from one to the next."""

BORDER = 16
"""Pixels around a picture that patches may reach into."""

PASSES = ((1, 1), (-1, -1))
"""Where the better neighbours are that each pass looks at: above and on the left, then the others."""

JUMPS = (2, 1)
"""Patches to the neighbours that are looked at, one after the other."""

SMALLEST_DETERMINANT = 1e-3
"""Of a patch's structure: below it there is nothing to follow."""


def find_flows(one: Tensor, others: Tensor, finest: int, steps: int, refine: bool = False) -> Tensor:
    """Where each pixel of one picture is in others: [N, 2, H, W] float32 pixels (x, y), to be added to its
    own place.

    one, others : Tensor, shape = (1, H, W) and (N, H, W), as of ``flow.matchable``, float32. ``finest`` is
    the power of two by which pictures are smaller at the last level, ``steps`` how many a patch makes at
    each level, and ``refine`` says whether its flow is then ``refined``."""
    height, width = one.shape[1:]
    coarsest = min(
        int(math.log2(max(height, width) / (4 * PATCH)) + 0.5) if max(height, width) > 4 * PATCH else 0,
        int(math.log2(min(height, width) / PATCH)),
    )
    flow = None
    for level in range(max(coarsest, finest), finest - 1, -1):
        size = height >> level, width >> level
        small, smalls = _smaller(one, finest, level), _smaller(others, finest, level)
        flow = others.new_zeros(len(others), 2, *size) if flow is None else 2 * _resized(flow, size)
        flow = _dense(small, smalls, _searched(small, smalls, flow, steps))
        if refine:
            flow = refined(small, smalls, flow)
    assert flow is not None
    return _resized(flow, (height, width)) * 2**finest


def _smaller(pictures: Tensor, finest: int, level: int) -> Tensor:
    """At 1 / 2**level of the size, made so from ``finest`` on in steps of two, and rounded as bytes are."""
    height, width = pictures.shape[1:]
    for step in range(finest, level + 1):
        pictures = F.interpolate(pictures[:, None], (height >> step, width >> step), mode="area")[
            :, 0
        ].round()
    return pictures


def _resized(flow: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(flow, size, mode="bilinear", align_corners=False)


def _searched(one: Tensor, others: Tensor, flow: Tensor, steps: int) -> Tensor:
    """The flow of each patch, (N, 2, rows, columns), from that of its middle in ``flow``."""
    height, width = one.shape[1:]
    rows, columns = (1 + (length - PATCH) // STRIDE for length in (height, width))
    template = _patches(one)
    # As OpenCV's, eight times the slope: that makes the steps of the descent so much smaller.
    across = one.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([across, across.T])[:, None]
    slopes = F.conv2d(F.pad(one[:, None], (1, 1, 1, 1), mode="reflect"), kernels)
    x_slope, y_slope = _patches(slopes[:, 0]), _patches(slopes[:, 1])
    xx, yy, xy = (
        (a * b).sum((-2, -1)) for a, b in ((x_slope, x_slope), (y_slope, y_slope), (x_slope, y_slope))
    )
    x_mean, y_mean = x_slope.mean((-2, -1)), y_slope.mean((-2, -1))
    determinant = xx * yy - xy * xy
    determinant = torch.where(
        determinant.abs() < SMALLEST_DETERMINANT, determinant.new_tensor(SMALLEST_DETERMINANT), determinant
    )
    wide = F.pad(others[:, None], (BORDER,) * 4, mode="replicate")[:, 0]
    stride = wide.shape[2]
    flat = wide.flatten(1)
    places = torch.arange(PATCH + 1, device=one.device)
    offsets = (places[:, None] * stride + places).flatten()
    top = torch.arange(rows, device=one.device)[:, None] * STRIDE
    left = torch.arange(columns, device=one.device) * STRIDE

    def difference(found: Tensor) -> Tensor:
        """Of what lies there from the patches, (N, rows, columns, PATCH, PATCH)."""
        x = (left + found[:, 0] + BORDER).clamp(BORDER - PATCH + 1, BORDER + width - 1)
        y = (top + found[:, 1] + BORDER).clamp(BORDER - PATCH + 1, BORDER + height - 1)
        x_floor, y_floor = x.floor(), y.floor()
        begins = (y_floor * stride + x_floor).long()
        index = begins[..., None] + offsets
        seen = flat.gather(1, index.flatten(1)).view(*index.shape[:3], PATCH + 1, PATCH + 1)
        x_part, y_part = ((a - b)[..., None, None] for a, b in ((x, x_floor), (y, y_floor)))
        seen = torch.lerp(seen[..., :-1], seen[..., 1:], x_part)
        return torch.lerp(seen[..., :-1, :], seen[..., 1:, :], y_part) - template

    def distance(found: Tensor) -> Tensor:
        return _variance(difference(found))

    found = flow[:, :, top.flatten() + PATCH // 2][..., left + PATCH // 2]
    for down, right in PASSES:
        least = distance(found)
        for jump in JUMPS:
            for rolled in ((down * jump, 0), (0, right * jump)):
                candidate = _moved(found, *rolled)
                here = distance(candidate)
                better = here < least
                found = torch.where(better[:, None], candidate, found)
                least = torch.where(better, here, least)
        began, current = found, found
        previous = torch.full_like(least, math.inf)
        active = torch.ones_like(least, dtype=torch.bool)
        for _ in range(steps // len(PASSES)):
            differs = difference(current)
            total = differs.sum((-2, -1))
            x_pull = (differs * x_slope).sum((-2, -1)) - total * x_mean
            y_pull = (differs * y_slope).sum((-2, -1)) - total * y_mean
            step = torch.stack([yy * x_pull - xy * y_pull, xx * y_pull - xy * x_pull], 1) / determinant
            current = torch.where(active[:, None], current - step, current)
            now = _variance(differs)
            active = active & (now < previous)
            previous = now
        near = (current - began).square().sum(1, keepdim=True) <= PATCH**2
        found = torch.where(near, current, began)
    return found


def _variance(differs: Tensor) -> Tensor:
    """The sum of the squares of what differs, its mean aside."""
    return differs.square().sum((-2, -1)) - differs.sum((-2, -1)).square() / PATCH**2


def _patches(pictures: Tensor) -> Tensor:
    """(N, H, W) -> (N, rows, columns, PATCH, PATCH)."""
    return pictures.unfold(1, PATCH, STRIDE).unfold(2, PATCH, STRIDE)


def _moved(found: Tensor, down: int, right: int) -> Tensor:
    """The flow of the patch so far above and on the left; at the border that of the outermost one."""
    rows, columns = (torch.arange(length, device=found.device) for length in found.shape[2:])
    rows, columns = (rows - down).clamp(0, len(rows) - 1), (columns - right).clamp(0, len(columns) - 1)
    return found[:, :, rows][..., columns]


def _dense(one: Tensor, others: Tensor, found: Tensor) -> Tensor:
    """The flow of each pixel, (N, 2, H, W): the mean of the patches that it is in, weighted by how well
    each fits it."""
    height, width = one.shape[1:]
    rows, columns = found.shape[2:]
    y, x = (torch.arange(length, device=one.device) for length in (height, width))
    total = weights = found.new_zeros(())
    for up in range(PATCH // STRIDE):
        for back in range(PATCH // STRIDE):
            row, column = (y // STRIDE - up).clamp(0, rows - 1), (x // STRIDE - back).clamp(0, columns - 1)
            flow = found[:, :, row][..., column]
            seen = sampled(others[:, None], flow, "bilinear")[:, 0]
            weight = 1 / (seen - one).abs().clamp(min=1)[:, None]
            total, weights = total + weight * flow, weights + weight
    return total / weights
