"""Weights on disk: safetensors files that say what network they belong to.

The metadata holds ``format``, ``kind`` and the ``config`` of the network as JSON, and what the training
wants to tell; nothing is unpickled, and a file is read no further than it describes itself.
"""

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from upscale.errors import UpscaleError
from upscale.models.chroma import ChromaConfig, ChromaNet
from upscale.models.color import ColorConfig, ColorNet
from upscale.models.luma import LumaConfig, LumaPixelCNN
from upscale.models.raster import RasterConfig, RasterPixelCNN

FORMAT = "upscale-1"

KERNEL = 4
"""Dimensions of a convolution's weights: all but a few of the numbers, and as good in half precision."""

STEP = ".step"
"""What follows the name of a kernel that is stored in bytes, in the name of its steps."""

BYTE = 127
"""The largest code of such a kernel."""

NETWORKS: dict[str, tuple[Any, Any]] = {
    LumaPixelCNN.kind: (LumaPixelCNN, LumaConfig),
    RasterPixelCNN.kind: (RasterPixelCNN, RasterConfig),
    ChromaNet.kind: (ChromaNet, ChromaConfig),
    ColorNet.kind: (ColorNet, ColorConfig),
}
"""Kind -> the network, and its configuration. To add a kind is to add an entry."""

Network = LumaPixelCNN | RasterPixelCNN | ChromaNet | ColorNet


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights and what its metadata says."""

    path: Path
    kind: str
    config: dict[str, Any]
    training: dict[str, Any]
    multiplications: int
    """Multiply-accumulates per sample of the input plane: every layer works at its resolution, or at the
    part of it that the network's ``reduced`` says."""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def scale(self) -> int:
        """1 for a network that enlarges nothing."""
        return int(self.config.get("scale", 1))


def save(path: Path, network: Network, training: dict[str, Any]) -> None:
    """Write kernels as float16, or in bytes where the network is large, and the rest as float32, with their
    configuration and the ``training`` record."""
    metadata = {
        "format": FORMAT,
        "kind": network.kind,
        "config": json.dumps(asdict(network.config)),
        "training": json.dumps(training),
    }
    state: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        value = value.detach().float().contiguous()
        if value.ndim < KERNEL:
            state[key] = value
        elif network.is_large:
            step = value.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12) / BYTE
            state[key], state[key + STEP] = (value / step).round().to(torch.int8), step
        else:
            state[key] = value.half()
    partial = path.with_suffix(".part")
    save_file(state, partial, metadata)
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def describe(path: Path) -> WeightsFile:
    """Read the metadata alone. Raises UpscaleError if the file is missing, damaged or not ours."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            keys = [key for key in file.keys() if key.endswith(".weight")]  # noqa: SIM118
            sizes = {key: math.prod(file.get_slice(key).get_shape()) for key in keys}
        if metadata.get("format") != FORMAT:
            raise UpscaleError(f"{path}: not weights of this program (format {metadata.get('format')!r})")
        return WeightsFile(
            path,
            metadata["kind"],
            json.loads(metadata["config"]),
            json.loads(metadata.get("training", "{}")),
            sum(int(size / _reduction(metadata["kind"], key)) for key, size in sizes.items()),
        )
    except FileNotFoundError:
        raise UpscaleError(f"{path}: no such file of weights") from None
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UpscaleError(f"{path}: damaged weights ({error}); install the package again") from error


def _reduction(kind: str, key: str) -> float:
    """Input pixels for each place that a layer works at; less than 1 for one at a higher resolution."""
    network, _ = NETWORKS[kind]
    return next((pixels for part, pixels in network.reduced.items() if part in key), 1)


def load(path: Path) -> Network:
    """Build the network that the file describes, in evaluation mode on the CPU.

    Raises UpscaleError if the file is missing, damaged or not ours.
    """
    described = describe(path)
    try:
        network = build(described.kind, described.config)
        with safe_open(path, framework="pt") as file:
            stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        state = {
            key: value * stored[key + STEP] if key + STEP in stored else value
            for key, value in stored.items()
            if not key.endswith(STEP)
        }
        missing, unexpected = network.load_state_dict(state, strict=False)
        if unexpected or not all(
            key.endswith(".ranges") for key in missing
        ):  # not every file was calibrated
            raise ValueError(f"{(unexpected or missing)[0]!r}")
    except (SafetensorError, TypeError, ValueError, RuntimeError) as error:
        raise UpscaleError(f"{path}: the weights do not fit their own description ({error})") from error
    return network.eval().requires_grad_(False)


def build(kind: str, config: dict[str, Any]) -> Network:
    """A new network of that kind. Raises ValueError or TypeError for one that is not known."""
    if kind not in NETWORKS:
        raise ValueError(f"unknown kind of network {kind!r}")
    network, settings = NETWORKS[kind]
    # JSON knows no tuples.
    told = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    built: Network = network(settings(**told))
    return built
