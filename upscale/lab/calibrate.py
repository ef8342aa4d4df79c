"""The ranges that a network's features take, for its convolutions in 8-bit integers."""

from pathlib import Path

import torch

from upscale.errors import UpscaleError
from upscale.lab.dataset import downsample, load_pictures
from upscale.models import weights
from upscale.models.int8 import observing
from upscale.models.luma import LumaPixelCNN
from upscale.models.mixture import log_odds
from upscale.sampling.multiscale import sample_luma
from upscale.sampling.noise import uniform_noise

SIDE = 768
"""Pixels of every picture's middle that are looked at."""

TEMPERATURES = (0.0, 0.5)
"""A full sample strays much further: room for it would make the steps coarse for all the others."""


def calibrate(path: Path, folder: Path) -> int:
    """Run the luma network of ``path`` on ``folder``, and save it with the ranges that suit what it met.

    Returns how many pictures there were. Raises UpscaleError for other weights, or without pictures.
    """
    described = weights.describe(path)
    network = weights.load(path)
    if not isinstance(network, LumaPixelCNN):
        raise UpscaleError(f"{path}: only luma networks are run in int8")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = load_pictures(folder, slice(0, 1), 16 * network.scale)
    with torch.inference_mode(), observing(network):
        for picture in pictures:
            height, width = (
                min(length, SIDE) // network.scale * network.scale for length in picture.shape[1:]
            )
            top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
            high = picture[None, :, top : top + height, left : left + width].float() / 255
            low = downsample(high, network.scale).contiguous(memory_format=torch.channels_last)
            odds = network.to_cells(log_odds(uniform_noise(0, height, width)))
            for temperature in TEMPERATURES:
                sample_luma(network, low, odds, temperature)
    weights.save(path, network, described.training)
    return len(pictures)
