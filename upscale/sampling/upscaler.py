"""A frame's planes in, the same planes larger out: the networks, their noise and their tiles together."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from upscale.errors import UpscaleError, UsageError
from upscale.models import weights
from upscale.models.catalog import find_stage, stages_for
from upscale.models.chroma import ChromaNet
from upscale.models.luma import LumaPixelCNN
from upscale.models.weights import Network
from upscale.planes import Planes
from upscale.sampling.chroma import luma_at_chroma, resite, siting_shift
from upscale.sampling.multiscale import mean_luma, sample_luma
from upscale.sampling.noise import uniform_noise
from upscale.sampling.options import SampleOptions
from upscale.sampling.tiles import run_tiled

WHOLE_FRAME = 1280 * 720
"""Input pixels up to which a frame is one tile, when the tile is left to us: some 1.2 GB at x4."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
KEPT = 1 << 30
"""Bytes: larger blocks, and more free memory than this at the end of the heap, go back to the system."""

AUTOMATIC_TILE = 512
"""Side of the tiles that larger frames are cut into, in input pixels."""


class Upscaler:
    """Frames of one size and layout, ``target`` (height, width) pixels large when they come out.

    ``subsampling`` is luma pixels per chroma sample (across, down), or None for grey. Loads its weights,
    and raises UpscaleError if they or the device are not there.
    """

    def __init__(
        self,
        source: tuple[int, int],
        target: tuple[int, int],
        subsampling: tuple[int, int] | None,
        chroma_left: bool,
        options: SampleOptions,
    ):
        self.target, self.subsampling, self.chroma_left = target, subsampling, chroma_left
        self.options = options
        self.device = choose_device(options.device)
        self.precision = choose_precision(options.precision, self.device)
        if self.device.type == "cpu":
            keep_large_blocks()
        scale = max(target[0] / source[0], target[1] / source[1])
        self.stages = [self._load_stage(native) for native in stages_for(scale)]
        self._noise: dict[int, Tensor] = {}

    @classmethod
    def for_pictures(cls, source: Sequence[int], scale: int, options: SampleOptions) -> Self:
        """For 4:4:4 pictures of (height, width) at a native scale."""
        height, width = source
        return cls((height, width), (height * scale, width * scale), (1, 1), True, options)

    def _load_stage(self, scale: int) -> tuple[LumaPixelCNN, ChromaNet]:
        stage = find_stage(scale)
        networks = (weights.load(stage.luma.path), weights.load(stage.chroma.path))
        for network in networks:
            if network.frames != 1:
                raise UpscaleError(
                    f"x{scale} wants {network.frames} frames at once; this version gives one"
                )
            network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        luma, chroma = networks
        assert isinstance(luma, LumaPixelCNN)
        assert isinstance(chroma, ChromaNet)
        return luma, chroma

    @torch.inference_mode()
    def __call__(self, planes: Planes) -> Planes:
        """Luma [1, H, W], and chroma [2, h, w] unless grey, float32; the same, larger, on the CPU."""
        luma = self._upload(planes[0])
        chroma = self._upload(planes[1]) if len(planes) > 1 else None
        left = self.chroma_left
        for number, (luma_net, chroma_net) in enumerate(self.stages):
            size = luma.shape[2:]
            luma = self._luma(luma_net, luma, number)
            if chroma is not None:
                chroma = self._chroma(chroma_net, chroma, luma, size, left)
                left = True
        luma, chroma = self._fit(luma, chroma)
        answer = (luma,) if chroma is None else (luma, chroma)
        return tuple(plane[0].float().cpu().numpy() for plane in answer)

    def _upload(self, plane: NDArray[np.float32]) -> Tensor:
        """[C, H, W] -> [1, C, H, W] on the device; from pinned memory to a GPU, to overlap copies."""
        tensor = torch.from_numpy(plane)[None]
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def _luma(self, network: LumaPixelCNN, luma: Tensor, number: int) -> Tensor:
        def run(low: Tensor, uniform: Tensor | None = None) -> Tensor:
            low = low.contiguous(memory_format=torch.channels_last)
            with self._autocast():
                if self.options.model == "mean":
                    return mean_luma(network, low)
                return sample_luma(network, low, uniform, self.options.temperature)

        inputs = [(luma, 1)]
        if self.options.model != "mean" and self.options.temperature > 0:
            inputs.append((self._noise_of(number, network.scale, luma), network.scale))
        return self._tiled(run, inputs, network)

    def _chroma(
        self, network: ChromaNet, chroma: Tensor, luma: Tensor, size: Sequence[int], left: bool
    ) -> Tensor:
        assert self.subsampling is not None
        across, down = self.subsampling
        scale = network.scale
        chroma = resite(chroma, siting_shift(scale, across, left))
        height, width = chroma.shape[2] * scale, chroma.shape[3] * scale
        guide = luma_at_chroma(luma, self.subsampling, (height, width))

        def run(low: Tensor, high: Tensor) -> Tensor:
            with self._autocast():
                return network(low.contiguous(memory_format=torch.channels_last), high)

        larger = self._tiled(run, [(chroma, 1), (guide, scale)], network)
        return larger[:, :, : -(-size[0] * scale // down), : -(-size[1] * scale // across)]

    def _tiled(
        self, run: Callable[..., Tensor], inputs: list[tuple[Tensor, int]], network: Network
    ) -> Tensor:
        height, width = inputs[0][0].shape[2:]
        tile = self.options.tile
        if tile == 0 and height * width > WHOLE_FRAME:
            tile = AUTOMATIC_TILE
        return run_tiled(run, inputs, network.scale, tile, network.receptive_field, self.options.batch)

    def _fit(self, luma: Tensor, chroma: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Resample to the target where the networks' scale is not the one that was asked for."""
        if luma.shape[2:] == self.target:
            return luma, chroma
        ratio = self.target[1] / luma.shape[3]
        luma = _resample(luma, self.target)
        if chroma is not None and self.subsampling is not None:
            across, down = self.subsampling
            chroma = resite(chroma, siting_shift(ratio, across, left=True))
            chroma = _resample(chroma, (-(-self.target[0] // down), -(-self.target[1] // across)))
        return luma, chroma

    def _noise_of(self, number: int, scale: int, luma: Tensor) -> Tensor:
        """The film's noise for one stage: drawn once, at the size of that stage's output."""
        if number not in self._noise:
            height, width = luma.shape[2] * scale, luma.shape[3] * scale
            noise = uniform_noise(self.options.seed, height, width, stream=number)
            self._noise[number] = noise.to(self.device)
        return self._noise[number]

    def _autocast(self) -> torch.autocast:
        dtype = getattr(torch, self.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)


def keep_large_blocks() -> None:
    """Ask the C library to keep blocks of any size for the next layer, which wants one just like it.

    By default glibc gives those over 32 MB back to the system at once, and a good part of a frame's time
    goes into mapping and clearing them anew. Does nothing where the C library is another one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, KEPT)
    mallopt(M_TRIM_THRESHOLD, KEPT)


def choose_device(name: str) -> torch.device:
    """The device of that name, or the best there is for ``auto``. Raises UsageError if it is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there.get(name.split(":")[0], False):
        available = ", ".join(device for device, is_there in there.items() if is_there)
        raise UsageError(f"there is no device {name!r} here; there is {available}")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """``auto`` is float16 on CUDA, where it is fastest, and float32 elsewhere, where it is exact."""
    if name != "auto":
        return name
    return "float16" if device.type == "cuda" else "float32"


def _resample(planes: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(planes, size=size, mode="bicubic", antialias=True, align_corners=False)
