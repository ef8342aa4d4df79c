"""Perceptual distances, from the optional extra ``perceptual``."""

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from upscale.errors import UsageError
from upscale.media.picture import write_picture

Picture = NDArray[np.uint8]
"""RGB, [H, W, 3]."""

Distance = Callable[[Picture, Picture], float]
"""(picture, truth) -> one number."""


PACKAGES = {"ST-LPIPS": "stlpips_pytorch", "SSIMULACRA2": "ssimulacra2"}
"""The measures that there are, and the packages that they come in."""


def distances(names: tuple[str, ...]) -> dict[str, Distance]:
    """ST-LPIPS (AlexNet; lower is better) and SSIMULACRA2 (higher is better, and slow), by name.

    Raises UsageError if the extra is not installed.
    """
    missing = [PACKAGES[name] for name in names if not importlib.util.find_spec(PACKAGES[name])]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not installed; pip install 'upscale-pixelcnn[perceptual]'"
        )
    return {name: _st_lpips() if name == "ST-LPIPS" else _ssimulacra2 for name in names}


def _st_lpips() -> Distance:
    """Ghildyal, Liu, "Shift-tolerant perceptual similarity metric" (2022), https://arxiv.org/abs/2207.13686."""
    # The package imports these without declaring them; its AlexNet, all that we use, needs none of them.
    for name in ("torchvision", "torchsummary", "IPython"):
        if name not in sys.modules and not importlib.util.find_spec(name):
            placeholder: Any = ModuleType(name)
            placeholder.models = placeholder.summary = placeholder.embed = placeholder
            sys.modules[name] = placeholder
    from stlpips_pytorch import stlpips

    metric = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)

    @torch.inference_mode()
    def distance(picture: Picture, truth: Picture) -> float:
        return float(metric(_signed(picture), _signed(truth)))

    return distance


def _signed(picture: Picture) -> torch.Tensor:
    """[H, W, 3] uint8 -> [1, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def _ssimulacra2(picture: Picture, truth: Picture) -> float:
    """Sneyers, "SSIMULACRA 2" (2022), https://github.com/cloudinary/ssimulacra2."""
    from ssimulacra2 import compute_ssimulacra2

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("truth.png", "picture.png")]
        for path, content in zip(paths, (truth, picture), strict=True):
            write_picture(path, content)
        return float(compute_ssimulacra2(*map(str, paths)))
