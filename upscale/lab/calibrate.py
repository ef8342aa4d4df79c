"""The ranges that a network's features take, for its convolutions in 8-bit integers."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from upscale.errors import UpscaleError
from upscale.lab.courses import COURSES
from upscale.lab.dataset import downsample, load_pictures
from upscale.lab.shards import Shards
from upscale.models import weights
from upscale.models.conditioning import Conditioning
from upscale.models.int8 import observing

SIDE = 768
"""Pixels of every picture's middle that are looked at."""

SAMPLES = 240
"""How many of a folder of shards are looked at."""


def calibrate(path: Path, folder: Path) -> int:
    """Run the network of ``path`` on ``folder``, and save it with the ranges that suit what it met.

    ``folder`` holds pictures, or shards for a film network. Returns how many there were. Raises
    UpscaleError for other weights, or without pictures."""
    described = weights.describe(path)
    network = weights.load(path)
    rehearse = COURSES[described.kind].rehearse
    if not isinstance(network, Conditioning) or rehearse is None:
        raise UpscaleError(f"{path}: only networks for luma are run in int8")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    seen = 0
    with torch.inference_mode(), observing(network):
        for low in _samples(network, folder) if network.planes > 1 else _pictures(network, folder):
            rehearse(network, low.contiguous(memory_format=torch.channels_last))
            seen += 1
    weights.save(path, network, described.training)
    return seen


def _pictures(network: Conditioning, folder: Path) -> Iterator[Tensor]:
    for picture in load_pictures(folder, slice(0, 1), 16 * network.scale):
        height, width = (min(length, SIDE) // network.scale * network.scale for length in picture.shape[1:])
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        high = picture[None, :, top : top + height, left : left + width].float() / 255
        yield downsample(high, network.scale)


def _samples(network: Conditioning, folder: Path) -> Iterator[Tensor]:
    shards = Shards(folder, network.kind, network.scale, network.scale, 1)
    every = max(len(shards) // SAMPLES, 1)
    return (batch.low for batch in itertools.islice(shards.held_out(), 0, SAMPLES * every, every))
