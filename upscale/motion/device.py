"""The window on a device, a GPU above all: what ``window.gather`` answers, worked out there for all
neighbours of a picture at once, within a fraction of a level.

The flow is that of ``inverse_search``. Dirt is looked for on the CPU, as stains are followed one by one.
"""

import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from upscale.errors import UpscaleError
from upscale.motion import merge
from upscale.motion.dirt import cleaned
from upscale.motion.flow import EXPOSURE_BOX, LARGEST_GAIN, LEVELS, SMALLEST
from upscale.motion.inverse_search import find_flows
from upscale.motion.warping import sampled
from upscale.motion.window import NEAR, Seen, alone
from upscale.planes import Planes

FINEST = 1
"""Half the size is where the flow ends, as that of ``flow.EFFORTS`` does."""

FINE, QUICK = (16, True), (12, False)
"""Steps that a patch makes at each level, and whether its flow is refined: to near neighbours, to far
ones."""


@dataclass(frozen=True, slots=True)
class _Here:
    """A picture on the device."""

    planes: tuple[Tensor, ...]
    """Luma (1, 1, H, W), and chroma (1, 2, h, w) if there is any."""
    matchable: Tensor
    """(1, H, W) float32."""


@dataclass(frozen=True, slots=True)
class _Aligned:
    """Neighbours at the centre's places and exposure; one of ``merge.Neighbour`` for each, in one."""

    planes: tuple[Tensor, ...]
    """(N, 1, H, W), and (N, 2, h, w)."""
    inside: Tensor
    """(N, 1, H, W) bool."""

    def planes_of(self, number: int) -> Planes:
        """Of one of them, for the CPU."""
        return tuple(plane[number].cpu().numpy() for plane in self.planes)


class DeviceWindow:
    """``window.gather`` on a device. For one thread."""

    def __init__(self, device: torch.device):
        self._device = device
        self._sent: weakref.WeakKeyDictionary[Seen, _Here] = weakref.WeakKeyDictionary()
        """Pictures that are there as long as someone else holds them."""

    def __call__(
        self,
        centre: Seen,
        others: Sequence[tuple[int, Seen]],
        dirt: float = 0.0,
        pool: ThreadPoolExecutor | None = None,
    ) -> tuple[Planes, float | None]:
        """As ``window.gather``; the pool has nothing to do. Raises UpscaleError where memory runs out."""
        try:
            with torch.inference_mode():
                return self._gathered(centre, others, dirt)
        except torch.OutOfMemoryError as error:
            said = str(error).partition("\n")[0]
        raise UpscaleError(f"there is not enough memory on the device ({said}); try --device cpu")

    def _gathered(
        self, centre: Seen, others: Sequence[tuple[int, Seen]], dirt: float
    ) -> tuple[Planes, float | None]:
        if not others or min(centre.planes[0][0].shape) < SMALLEST:
            return alone(centre.planes), None
        here = self._here(centre)
        near = [one for one in others if abs(one[0]) <= NEAR]
        far = [one for one in others if abs(one[0]) > NEAR]
        aligned = self._aligned(here, here, near, FINE)
        planes, share = here.planes, None
        if dirt and len(near) == 2 * NEAR:
            neighbours = [aligned.planes_of(number) for number in range(len(near))]
            clean, share = cleaned(centre.planes, neighbours, dirt)
            planes = self._sent_up(clean)
        differences = _differences(planes, aligned)
        nearest = [number for number, (distance, _) in enumerate(near) if abs(distance) == 1]
        noise = _noise(planes, differences, nearest)
        weights = _weights(differences, aligned.inside, noise)
        sums = [
            plane + (w * a).sum(0, keepdim=True)
            for plane, w, a in zip(planes, weights, aligned.planes, strict=True)
        ]
        totals = [1 + w.sum(0, keepdim=True) for w in weights]
        sureness = totals[0] / (2 * NEAR + 1)
        if far:
            beyond = self._aligned(here, _Here(planes, here.matchable), far, QUICK)
            their = _weights(_differences(planes, beyond), beyond.inside, noise)
            for number, (w, a) in enumerate(zip(their, beyond.planes, strict=True)):
                sums[number] = sums[number] + (w * a).sum(0, keepdim=True)
                totals[number] = totals[number] + w.sum(0, keepdim=True)
        merged = [total / weight for total, weight in zip(sums, totals, strict=True)]
        median, spread = _middle(aligned.planes[0], merged[0])
        luma = torch.cat([planes[0], merged[0], median, spread, sureness], 1)
        return tuple(plane[0].cpu().numpy() for plane in (luma, *merged[1:])), share

    def _here(self, seen: Seen) -> _Here:
        here = self._sent.get(seen)
        if here is None:
            matchable = torch.from_numpy(seen.matchable)[None].to(self._device).float()
            here = self._sent[seen] = _Here(self._sent_up(seen.planes), matchable)
        return here

    def _sent_up(self, planes: Planes) -> tuple[Tensor, ...]:
        return tuple(
            torch.from_numpy(np.ascontiguousarray(plane))[None].to(self._device) for plane in planes
        )

    def _aligned(
        self, match: _Here, centre: _Here, others: Sequence[tuple[int, Seen]], effort: tuple[int, bool]
    ) -> _Aligned:
        """As ``merge.Neighbour.align``, the flow from ``match`` and the exposure of ``centre``."""
        pictures = [self._here(seen) for _, seen in others]
        flow = find_flows(match.matchable, torch.cat([one.matchable for one in pictures]), FINEST, *effort)
        planes = [torch.cat(several) for several in zip(*(one.planes for one in pictures), strict=True)]
        luma = centre.planes[0]
        height, width = luma.shape[2:]
        warped = sampled(planes[0], flow, "bicubic")
        y, x = (torch.arange(length, device=flow.device) for length in (height, width))
        x_place, y_place = flow[:, :1] + x, flow[:, 1:] + y[:, None]
        inside = (x_place >= 0) & (x_place <= width - 1) & (y_place >= 0) & (y_place <= height - 1)
        gain = _deviation(luma, inside) / _deviation(warped, inside).clamp(min=1e-3 / LEVELS)
        is_alike = (gain > 1 / LARGEST_GAIN) & (gain < LARGEST_GAIN)
        warped = warped * torch.where(is_alike, gain, torch.ones_like(gain))
        warped = warped + _box(luma - warped, EXPOSURE_BOX)
        warped = torch.where(inside, warped, luma)
        if len(planes) == 1:
            return _Aligned((warped,), inside)
        size = planes[1].shape[2:]
        ratio = flow.new_tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1)
        # The flow's mean over a sample of chroma is that of the places, less its own.
        small = F.interpolate(flow, size, mode="area") / ratio
        return _Aligned((warped, sampled(planes[1], small, "bicubic")), inside)


@dataclass(frozen=True, slots=True)
class _Differences:
    """``merge.Difference`` of many."""

    small: Tensor
    large: Tensor
    chroma: Tensor | None


def _differences(centre: Sequence[Tensor], aligned: _Aligned) -> _Differences:
    squared = (aligned.planes[0] - centre[0]).square()
    chroma = None
    if len(centre) > 1:
        both = (aligned.planes[1] - centre[1]).square().sum(1, keepdim=True)
        chroma = _gaussian(both, merge.CHROMA_PATCH)
    small, large = (_gaussian(squared, sigma) for sigma in (merge.SMALL_PATCH, merge.LARGE_PATCH))
    return _Differences(small, large, chroma)


def _noise(centre: Sequence[Tensor], differences: _Differences, nearest: Sequence[int]) -> merge.PatchNoise:
    """As ``merge.PatchNoise.between``."""
    rough = _box((centre[0] - _box(centre[0], 5)).abs(), 5)
    each = merge.SAMPLED
    told = rough[0, 0, ::each, ::each] > merge.FLATTEST
    if told.float().mean() < 0.02:
        told = torch.ones_like(told)
    luma = [float(differences.large[n, 0, ::each, ::each][told].quantile(0.5)) for n in nearest]
    chroma = [float("inf")]
    if differences.chroma is not None:
        chroma += [
            float(differences.chroma[n, 0, :: each // 2, :: each // 2].quantile(0.5)) for n in nearest
        ]
    return merge.PatchNoise(max(min(luma), merge.QUIET**2), max(min(chroma), 2 * merge.QUIET**2))


def _weights(differences: _Differences, inside: Tensor, noise: merge.PatchNoise) -> tuple[Tensor, ...]:
    """As ``merge.Difference.weights``: (N, 1, H, W), and (N, 1, h, w) if there is chroma."""
    doubt = merge.SMALL_DOUBT * (differences.small / noise.luma - 1).clamp(min=0)
    doubt = doubt + merge.LARGE_DOUBT * (differences.large / noise.luma - 1).clamp(min=0)
    weight = (-doubt).exp() * inside
    if differences.chroma is None:
        return (weight,)
    small = F.interpolate(weight, differences.chroma.shape[2:], mode="area")
    beyond = (differences.chroma / noise.chroma - 1).clamp(min=0)
    return weight, small * (-merge.CHROMA_DOUBT * beyond).exp()


def _middle(near: Tensor, merged: Tensor) -> tuple[Tensor, Tensor]:
    """As ``window.middle``."""
    count = len(near)
    mean = near.mean(0, keepdim=True)
    spread = (near - mean).square().mean(0, keepdim=True).sqrt()
    if count == 1:
        return merged, spread
    if count == 2:
        return mean, spread
    total = near.sum(0, keepdim=True)
    return (total - near.amin(0, True) - near.amax(0, True)) / (count - 2), spread


def _deviation(pictures: Tensor, inside: Tensor) -> Tensor:
    """The standard deviation of what lies inside, (N, 1, 1, 1)."""
    count = inside.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (pictures * inside).sum((2, 3), keepdim=True) / count
    return (((pictures - mean) * inside).square().sum((2, 3), keepdim=True) / count).sqrt()


def _box(planes: Tensor, side: int) -> Tensor:
    """The mean of the box around each place, the border mirrored."""
    kernel = planes.new_full((side,), 1 / side)
    return _separable(planes, kernel)


def _gaussian(planes: Tensor, sigma: float) -> Tensor:
    """A blur over four sigma, as OpenCV's of floats."""
    radius = round(sigma * 8 + 1) // 2
    kernel = (-0.5 * (torch.arange(-radius, radius + 1, device=planes.device) / sigma).square()).exp()
    return _separable(planes, kernel / kernel.sum())


def _separable(planes: Tensor, kernel: Tensor) -> Tensor:
    radius = len(kernel) // 2
    for dimension in (2, 3):
        planes = _mirrored(planes, dimension, radius)
        shape = [1, 1, 1, 1]
        shape[dimension] = len(kernel)
        planes = F.conv2d(planes, kernel.view(shape))
    return planes


def _mirrored(planes: Tensor, dimension: int, radius: int) -> Tensor:
    """With so much more on both sides; again and again where a picture is smaller than that."""
    length = planes.shape[dimension]
    place = torch.arange(-radius, length + radius, device=planes.device)
    period = max(2 * (length - 1), 1)
    place = place.remainder(period)
    return planes.index_select(dimension, torch.minimum(place, period - place).clamp(0, length - 1))
