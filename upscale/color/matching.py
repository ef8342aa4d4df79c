"""Where a picture's colours are in another one: by likeness, and along the flow."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from upscale.models.color import CELL, FINE, Hints
from upscale.motion.flow import find_flow, grid

SHARPNESS = 0.02
"""Temperature of the attention: cosines of cells that differ by this count a third."""

UNLIKE = 12.0
"""Codes of ``flow.matchable``, whose deviation is 50, by which the same thing may differ."""

UNALIKE, ALIKE = 0.45, 0.75
"""Cosines between which the best match of a cell passes from none to one that can be relied on."""

LIKE = 0.6
"""Likeness from which on a reference serves a shot."""


@dataclass(frozen=True, slots=True)
class Colored:
    """A picture whose colours are known, as others look for theirs in it."""

    descriptors: Tensor
    """[1, C, h, w], unit vectors: see ``color.features.Features.descriptors``."""
    chroma: Tensor
    """[1, 2, H/FINE, W/FINE] around 0."""

    @property
    def coarse(self) -> Tensor:
        """Chroma of the cells, [1, 2, h, w]."""
        return F.avg_pool2d(self.chroma, CELL // FINE)


def attend(wanted: Tensor, others: list[Colored]) -> Tensor:
    """For every cell of a picture the colours of those like it in the ``others``: see ``Hints.matched``.

    wanted : descriptors (1, C, h, w). Softmax attention by cosine over all cells of all of them.
    """
    _, _, height, width = wanted.shape
    there = torch.cat([other.descriptors.flatten(2)[0] for other in others], 1)  # [C, cells]
    colours = torch.cat([other.coarse.flatten(2)[0] for other in others], 1)  # [2, cells]
    cosines = (wanted.flatten(2)[0].t() @ there).float()  # [h*w, cells]
    # What follows in full precision: the spread is a small difference of large numbers.
    with torch.autocast(wanted.device.type, enabled=False):
        best = cosines.amax(1)
        weights = cosines.sub_(best[:, None]).div_(SHARPNESS).exp_()
        table = torch.cat([colours, colours.square().sum(0, keepdim=True), torch.ones_like(colours[:1])])
        found = weights @ table.t()
    found = found[:, :3] / found[:, 3:]
    spread = (found[:, 2] - found[:, :2].square().sum(1)).clamp(min=0).sqrt()
    answer = torch.stack([found[:, 0], found[:, 1], best, 4 * spread])
    return answer.view(1, 4, height, width)


def told(hints: Hints) -> tuple[Tensor, Tensor]:
    """What hints say by themselves: chroma around 0, (N, 2, H/FINE, W/FINE), and how sure they are, (N, 1,
    H/FINE, W/FINE) from 0 to 1.

    That is what came along the flow where it can be trusted, elsewhere the mean of it and of what was
    matched."""
    times = CELL // FINE
    matched = F.interpolate(hints.matched[:, :3], scale_factor=times, mode="bilinear", align_corners=False)
    trust = hints.moved[:, 2:]
    chroma = torch.lerp((matched[:, :2] + hints.moved[:, :2]) / 2, hints.moved[:, :2], trust)
    alike = ((matched[:, 2:] - UNALIKE) / (ALIKE - UNALIKE)).clamp(0, 1)
    return chroma, torch.maximum(trust, alike)


def likeness(wanted: Tensor, other: Colored) -> float:
    """How well the cells of a picture are found in another one: the mean cosine of the best matches.

    0.66 to 0.93 for frames of one shot, two seconds apart, and 0.44 to 0.6 for other films."""
    with torch.autocast(wanted.device.type, enabled=False):
        cosines = wanted.flatten(2)[0].t() @ other.descriptors.flatten(2)[0]
    return float(cosines.amax(1).mean())


def move(
    seen: NDArray[np.uint8], key: NDArray[np.uint8], chroma: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The chroma of a key frame at the places of another frame, by flow: see ``Hints.moved``.

    ``seen`` and ``key`` are ``flow.matchable`` [H, W], ``chroma`` [2, H/FINE, W/FINE] around 0 of the key.
    Trusted as far as going there and back comes back to the start, and the two look alike.
    """
    there, back = find_flow(seen, key), find_flow(key, seen)
    height, width = seen.shape
    places = grid(height, width) + there
    returned = cv2.remap(back, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    miss = np.square(returned + there).sum(-1)
    there = cv2.remap(key, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    unlike = cv2.GaussianBlur(there.astype(np.float32) - seen, (0, 0), 1.5) / UNLIKE
    trust = np.exp(-(miss + unlike * unlike) / 2)
    x, y = places[..., 0], places[..., 1]
    trust[(x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)] = 0
    half = cv2.resize(places, (width // FINE, height // FINE), interpolation=cv2.INTER_AREA)
    half = (half + 0.5) / FINE - 0.5
    trust = cv2.resize(trust, (width // FINE, height // FINE), interpolation=cv2.INTER_AREA)
    moved = [
        cv2.remap(plane, half, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for plane in chroma
    ]
    return np.stack([*moved, trust]).astype(np.float32)


def blended(moved: list[NDArray[np.float32]], distances: list[int]) -> NDArray[np.float32]:
    """What several key frames say, each by its trust and by how near in time it is: see ``Hints.moved``.

    ``distances`` are in ticks; the nearest counts most, and the trust is that of the most trusted."""
    if len(moved) == 1:
        return moved[0]
    nearest = min(distances)
    near = np.array([(nearest + 1) / (distance + 1) for distance in distances], np.float32)
    stack = np.stack(moved)
    weights = near[:, None, None] * (stack[:, 2] + np.float32(1e-4))
    colours = (weights[:, None] * stack[:, :2]).sum(0) / weights.sum(0)
    return np.concatenate([colours, stack[:, 2].max(0)[None]])
