"""Optical flow made finer by what it should be: smooth, and along it brightness and slopes the same.

After Brox, Bruhn, Papenberg, Weickert, "High accuracy optical flow estimation based on a theory for
warping" (2004), as OpenCV's VariationalRefinement has it, with the weights that its DIS sets: linear
systems in a fixed-point iteration, solved by over-relaxation of a chessboard's two colours in turn.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from upscale.motion.warping import sampled

BRIGHTNESS, SLOPES, SMOOTHNESS = 2.5, 5.0, 10.0
"""Weights of what is to be the same, and of what is to be smooth: half of OpenCV's delta, gamma, alpha."""

FIXED_POINTS, SWEEPS, RELAXATION = 5, 5, 1.6
"""Systems, sweeps over each, and how much further than to the solution each one goes."""

LEAST_SLOPE, LEAST = 0.1**2, 0.001**2
"""What keeps the normalisation by slopes, and the root of a square, away from 0."""


class _Slopes(NamedTuple):
    """What the pictures say, each (N, 1, H, W): derivatives across, down and from one picture to the
    other."""

    x: Tensor
    y: Tensor
    t: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor
    xt: Tensor
    yt: Tensor


def refined(one: Tensor, others: Tensor, flow: Tensor) -> Tensor:
    """A better flow (N, 2, H, W) from a picture (1, H, W) to others (N, H, W), float32 in 8-bit levels."""
    seen = sampled(others[:, None], flow, "bilinear")
    mean, change = (one[:, None] + seen) / 2, seen - one[:, None]
    x, y = _across(mean), _down(mean)
    slopes = _Slopes(x, y, change, _across(x), _down(x), _down(y), _across(change), _down(change))
    height, width = one.shape[1:]
    rows, columns = (torch.arange(length, device=flow.device) for length in (height, width))
    red = (rows[:, None] + columns) % 2 == 0
    step = torch.zeros_like(flow)
    for _ in range(FIXED_POINTS):
        xx, xy, yy, pull = _data(slopes, step)
        link_x, link_y = _links(flow + step)
        total = link_x + link_y + _from_left(link_x) + _from_above(link_y)
        xx, yy = xx + total, yy + total
        pull = pull + _pulled(flow, link_x, link_y)
        for _ in range(SWEEPS):
            for turn in (red, ~red):
                around = _pulled_to(step, link_x, link_y) + pull
                u, v = step[:, :1], step[:, 1:]
                new_u = u + RELAXATION * ((around[:, :1] - v * xy) / xx - u)
                new_v = v + RELAXATION * ((around[:, 1:] - new_u * xy) / yy - v)
                step = torch.where(turn, torch.cat([new_u, new_v], 1), step)
    return flow + step


def _data(slopes: _Slopes, step: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The system's coefficients xx, xy and yy, (N, 1, H, W), and its other side (N, 2, H, W), of what is to
    be the same."""
    x, y, t, xx, xy, yy, xt, yt = slopes
    u, v = step[:, :1], step[:, 1:]
    norm = x * x + y * y + LEAST_SLOPE
    weight = BRIGHTNESS / ((t + x * u + y * v).square() / norm + LEAST).sqrt() / norm
    first = weight * x * x + LEAST_SLOPE, weight * x * y, weight * y * y + LEAST_SLOPE
    pull = torch.cat([weight * t * x, weight * t * y], 1)
    norm_x, norm_y = xx * xx + xy * xy + LEAST_SLOPE, yy * yy + xy * xy + LEAST_SLOPE
    across, down = (xt + xx * u + xy * v).square() / norm_x, (yt + xy * u + yy * v).square() / norm_y
    weight = SLOPES / (across + down + LEAST).sqrt()
    pull = pull + torch.cat(
        [
            weight * (xx * xt / norm_x + xy * yt / norm_y),
            weight * (xy * xt / norm_x + yy * yt / norm_y),
        ],
        1,
    )
    return (
        first[0] + weight * (xx * xx / norm_x + xy * xy / norm_y),
        first[1] + weight * (xx * xy / norm_x + xy * yy / norm_y),
        first[2] + weight * (xy * xy / norm_x + yy * yy / norm_y),
        -pull,
    )


def _links(flow: Tensor) -> tuple[Tensor, Tensor]:
    """How strongly each place is held to the next one across and down, (N, 1, H, W): the less, the more the
    flow changes there. 0 where there is none."""
    across, down = _next_across(flow) - flow, _next_down(flow) - flow
    changes = (across.square() + down.square()).sum(1, keepdim=True)
    strength = SMOOTHNESS / (changes + LEAST).sqrt()
    link_x, link_y = strength.clone(), strength
    link_x[..., -1] = 0
    link_y = link_y.clone()
    link_y[..., -1, :] = 0
    return link_x, link_y


def _pulled(flow: Tensor, link_x: Tensor, link_y: Tensor) -> Tensor:
    """What the neighbours' flow pulls at each place, above its own."""
    across, down = link_x * (_next_across(flow) - flow), link_y * (_next_down(flow) - flow)
    return across + down - _from_left(across) - _from_above(down)


def _pulled_to(step: Tensor, link_x: Tensor, link_y: Tensor) -> Tensor:
    """The sum of the neighbours' steps, each by its link."""
    before = _from_left(link_x * step) + _from_above(link_y * step)
    return before + link_x * _next_across(step) + link_y * _next_down(step)


def _next_across(planes: Tensor) -> Tensor:
    return torch.cat([planes[..., 1:], planes[..., -1:]], -1)


def _next_down(planes: Tensor) -> Tensor:
    return torch.cat([planes[..., 1:, :], planes[..., -1:, :]], -2)


def _from_left(planes: Tensor) -> Tensor:
    """Of the place on the left; 0 where there is none."""
    return F.pad(planes, (1, 0))[..., :-1]


def _from_above(planes: Tensor) -> Tensor:
    return F.pad(planes, (0, 0, 1, 0))[..., :-1, :]


def _across(planes: Tensor) -> Tensor:
    """The difference of the places on both sides; at the border the place itself stands in."""
    wide = F.pad(planes, (1, 1, 0, 0), mode="replicate")
    return wide[..., 2:] - wide[..., :-2]


def _down(planes: Tensor) -> Tensor:
    wide = F.pad(planes, (0, 0, 1, 1), mode="replicate")
    return wide[..., 2:, :] - wide[..., :-2, :]
