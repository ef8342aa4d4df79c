"""A frame's planes in, the same planes larger out: the networks, their noise and their tiles together."""

import functools
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from upscale.errors import UpscaleError, UsageError
from upscale.models import weights
from upscale.models.catalog import Family, find_model, find_stage
from upscale.models.chroma import ChromaNet
from upscale.models.conditioning import Conditioning
from upscale.models.int8 import PAIRS, calibrated, int8_sums, quantise
from upscale.planes import REACH, SPREAD, Box, Planes
from upscale.sampling.chroma import luma_at_chroma, resite, siting_shift
from upscale.sampling.memory import LARGEST_WINDOW, PROGRAM, choose_tile, is_out_of_memory
from upscale.sampling.noise import uniform_noise
from upscale.sampling.options import SampleOptions
from upscale.sampling.process import keep_large_blocks
from upscale.sampling.sampler import Sampler
from upscale.sampling.tiles import Cut, Tiles
from upscale.sampling.transfers import Transfers

MARGIN = 4
"""Pixels beyond the networks' fields that chroma's resampling reads."""


@dataclass(slots=True)
class _Stage:
    """The networks for one native scale, and what is known of the frames that go through them."""

    number: int
    """How many stages come before it."""
    luma: Conditioning
    chroma: ChromaNet
    sampler: Sampler
    before: int
    """By how much those have enlarged the frame."""
    tiled: dict[str, Tiles] = field(default_factory=dict)
    noise: tuple[tuple[int, ...], Tensor] | None = None
    """The place that it was drawn for, and the noise."""

    @property
    def reach(self) -> int:
        """Pixels of the input that an answer may depend on: luma's field and chroma's, which follows it."""
        fields = self.luma.receptive_field + self.chroma.receptive_field
        return -(-fields // self.before) + MARGIN


class Upscaler:
    """Frames of one size and layout, ``target`` (height, width) pixels large when they come out.

    ``subsampling`` is luma pixels per chroma sample (across, down), or None for grey. Loads its weights,
    and raises UpscaleError if they or the device are not there.

    May be shared by threads: one frame is begun at a time, as it is compared with the one before.
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
        self.model = find_model(options.model)
        self.temperature = self.model.chosen_temperature(options.temperature)
        self.device = choose_device(options.device)
        self.precision = choose_precision(options.precision, self.device)
        if self.device.type == "cpu":
            keep_large_blocks()
        if options.threads:
            torch.set_num_threads(options.threads)
        scale = max(target[0] / source[0], target[1] / source[1])
        self._native = self.model.stages(scale)
        self._loaded: dict[tuple[Family, int], _Stage] = {}
        self.stages = self._chain(self.model.family)
        """What a frame goes through."""
        self._for_clean: list[_Stage] = []
        """What one goes through that came without its window; loaded for the first of them."""
        self.notes: set[str] = set()
        """What a user should know of how it went."""
        self.reused = 0
        """Frames that were, bit for bit, the one before."""
        self._transfers = Transfers(self.device)
        self._before: tuple[Planes, int, Callable[[], Planes]] | None = None
        self._turn = threading.Lock()
        """Held by the thread that uses what is kept of the frame before: here, in tiles and in noise."""

    @classmethod
    def for_pictures(cls, source: Sequence[int], scale: int, options: SampleOptions) -> Self:
        """For 4:4:4 pictures of (height, width) at a native scale."""
        height, width = source
        return cls((height, width), (height * scale, width * scale), (1, 1), True, options)

    def _chain(self, family_of: Callable[[int], Family]) -> list[_Stage]:
        stages = []
        for number, scale in enumerate(self._native):
            which = family_of(number), number
            if which not in self._loaded:
                before = math.prod(self._native[:number])
                self._loaded[which] = self._load_stage(which[0], scale, number, before)
            stages.append(self._loaded[which])
        return stages

    def _load_stage(self, family: Family, scale: int, number: int, before: int) -> _Stage:
        stage = find_stage(family, scale)
        networks = (weights.load(stage.luma.path), weights.load(stage.chroma.path))
        for network in networks:
            network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        luma, chroma = networks
        assert isinstance(luma, Conditioning)
        assert isinstance(chroma, ChromaNet)
        # Left to us, a network that was not calibrated stays float32.
        if self.precision == "int8" and calibrated(luma):
            quantise(luma)
        elif self.options.precision == "int8":
            raise UpscaleError(f"the weights for x{scale} are not calibrated; run upscale-lab calibrate")
        sampler = family.sampled_by(luma, self.temperature, self.options.spread)
        return _Stage(number, luma, chroma, sampler, before)

    @property
    def reused_tiles(self) -> int:
        """Tiles that were, bit for bit, those of the frame before, in other frames than ``reused``."""
        return sum(tiles.reused for stage in self._loaded.values() for tiles in stage.tiled.values())

    @property
    def arithmetic(self) -> str:
        """The precision and the device, on which the last bits of an answer depend."""
        return arithmetic_of(self.precision, self.device)

    @property
    def window(self) -> int:
        """Frames on each side that a frame's planes are to tell of: see ``motion.window.windowed``."""
        return REACH if self.stages[0].luma.frames > 1 else 0

    @property
    def ahead(self) -> int:
        """Frames to begin before the answer to the first of them is asked for: a GPU works meanwhile."""
        return 1 if self.device.type == "cuda" else 0

    def __call__(self, planes: Planes, time: int = 0) -> Planes:
        """As ``begin``, and then the answer."""
        return self.begin(planes, time)()

    @torch.inference_mode()
    def begin(self, planes: Planes, time: int = 0) -> Callable[[], Planes]:
        """Set to work on a frame. What this answers gives, when called, the answer to it.

        planes : luma [5, H, W] of its window, or [1, H, W] for a model without one, and for a frame that is
        clean, which the model's networks for those then enlarge; and chroma [2, h, w] unless grey, float32.
        The answer is luma and chroma, larger, on the CPU. With ``options.spread`` luma is [2, H, W]; the
        second plane is ``planes.SPREAD``. ``time`` is the frame's place in the film, for grain that moves.

        Not to be changed: the next frames may share parts of it.
        """
        time = time if self.options.grain == "moving" and self.temperature > 0 else 0
        with self._turn:
            if self._before is not None and self._before[1] == time and _same(self._before[0], planes):
                self.reused += 1
                return self._before[2]
            stages, low, chroma = self._read(planes)
            luma, chroma = self._enlarged(stages, low, chroma, time)
            luma, chroma = self._fit(luma, chroma, self.target)
            answer = self._transfers.down((luma,) if chroma is None else (luma, chroma))
            self._before = planes, time, answer
            return answer

    @torch.inference_mode()
    def detail(self, planes: Planes, box: Box) -> Planes:
        """The part ``box`` of the answer to a frame at time 0, for the price of that part: what the whole
        frame has there, rounding aside, unless its scale is not a native one or the model is not seamless.

        planes : as of ``begin``. The box is in input pixels, and begins at even ones."""
        with self._turn:
            stages, low, chroma = self._read(planes)
            height, width = low.shape[2:]
            seen = box.grown(sum(stage.reach for stage in stages), 4, (height, width))
            low = low[:, :, seen.top : seen.top + seen.height, seen.left : seen.left + seen.width]
            if chroma is not None and self.subsampling is not None:
                across, down = self.subsampling
                rows = slice(seen.top // down, -(-(seen.top + seen.height) // down))
                columns = slice(seen.left // across, -(-(seen.left + seen.width) // across))
                chroma = chroma[:, :, rows, columns]
            luma, chroma = self._enlarged(stages, low, chroma, 0, (seen.top, seen.left))
            ratio = self.target[0] / height, self.target[1] / width
            size = round(seen.height * ratio[0]), round(seen.width * ratio[1])
            luma, chroma = self._fit(luma, chroma, size)
            top, left = round((box.top - seen.top) * ratio[0]), round((box.left - seen.left) * ratio[1])
            high, wide = round(box.height * ratio[0]), round(box.width * ratio[1])
            parts = [luma[:, :, top : top + high, left : left + wide]]
            if chroma is not None and self.subsampling is not None:
                rows = slice(top // down, -(-(top + high) // down))
                parts.append(chroma[:, :, rows, left // across : -(-(left + wide) // across)])
            return self._transfers.down(parts)()

    def _read(self, planes: Planes) -> tuple[list[_Stage], Tensor, Tensor | None]:
        """What a whole frame goes through; and, on the device, all that the first network reads of it, and
        its chroma."""
        keep = 1 - (1 if self.options.denoise is None else self.options.denoise)
        stages = self.stages
        if self.window and len(planes[0]) == 1:
            self._for_clean = stages = self._for_clean or self._chain(self.model.family_for_clean)
        low = stages[0].luma.told(self._transfers.up(planes[0]), keep)
        return stages, low, self._transfers.up(planes[1]) if len(planes) > 1 else None

    def _enlarged(
        self,
        stages: Sequence[_Stage],
        low: Tensor,
        chroma: Tensor | None,
        time: int,
        origin: tuple[int, int] = (0, 0),
    ) -> tuple[Tensor, Tensor | None]:
        """A frame, or a part of one that begins at ``origin`` (row, column), through all stages."""
        left = self.chroma_left
        luma, spread = low, None
        for stage in stages:
            size = luma.shape[2:]
            luma = self._luma(luma, stage, time, origin)
            if self.options.spread:
                luma, spread = luma[:, :1], added_spread(spread, luma[:, SPREAD:])
            if chroma is not None:
                chroma = self._chroma(stage, chroma, luma, size, left)
                left = True
            origin = origin[0] * stage.luma.scale, origin[1] * stage.luma.scale
        return (luma if spread is None else torch.cat([luma, spread], 1)), chroma

    def _luma(self, low: Tensor, stage: _Stage, time: int, origin: tuple[int, int]) -> Tensor:
        noise = self._noise_of(stage, low, time, origin) if self.temperature > 0 else None
        return stage.sampler(low, noise, functools.partial(self._in_tiles, stage))

    def _chroma(
        self, stage: _Stage, chroma: Tensor, luma: Tensor, size: Sequence[int], left: bool
    ) -> Tensor:
        network = stage.chroma
        assert self.subsampling is not None
        across, down = self.subsampling
        scale = network.scale
        chroma = resite(chroma, siting_shift(scale, across, left))
        height, width = chroma.shape[2] * scale, chroma.shape[3] * scale
        guide = luma_at_chroma(luma, self.subsampling, (height, width))

        def run(low: Tensor, high: Tensor) -> Tensor:
            answer: Tensor = network(low.contiguous(memory_format=torch.channels_last), high)
            return answer

        larger = self._in_tiles(stage, "chroma", run, [(chroma, 1), (guide, scale)], Cut.of(network))
        return larger[:, :, : -(-size[0] * scale // down), : -(-size[1] * scale // across)]

    def _in_tiles(
        self,
        stage: _Stage,
        name: str,
        run: Callable[..., Tensor],
        inputs: list[tuple[Tensor, int]],
        cut: Cut,
    ) -> Tensor:
        """As ``sampler.Tiled``, for one stage."""
        tiles = stage.tiled.get(name)
        if tiles is None:
            first, k = inputs[0]
            tiles = stage.tiled[name] = self._tiles(cut, (first.shape[2] // k, first.shape[3] // k))
        while True:
            try:
                with self._autocast():
                    return tiles.run(run, inputs)
            except (RuntimeError, MemoryError) as error:
                if self.device.type == "cpu" or not is_out_of_memory(error):
                    raise
                said = str(error).partition("\n")[0]
            # Not above: the error holds what was computed so far, which is to be freed.
            if not tiles.halve():
                raise UpscaleError(f"there is not enough memory on the device ({said}); try --device cpu")
            self.notes.add("there was not enough memory on the device: tiles were made smaller")
            getattr(torch, self.device.type).empty_cache()

    def _tiles(self, cut: Cut, size: tuple[int, int]) -> Tiles:
        """For planes of ``size``, in input pixels."""
        on_cpu = self.device.type == "cpu"
        tile = self.options.tile, self.options.tile
        if self.options.tile == 0 and cut.is_seamless:
            largest = LARGEST_WINDOW if on_cpu else None
            tile = choose_tile(size, cut.scale, max(cut.halo), self._memory(), largest, self.window)
        # A CPU gains nothing from batches, and sums in another order: int8 would round otherwise.
        batch = self.options.batch if cut.is_exact or not on_cpu else 1
        return Tiles(cut, tile, batch, on_cpu)

    def _memory(self) -> int | None:
        """Bytes that may be taken; None where ``choose_tile`` is to look."""
        if self.options.memory is None and self.device.type == "cuda":
            return PROGRAM + torch.cuda.mem_get_info(self.device)[0]
        return self.options.memory

    def _fit(
        self, luma: Tensor, chroma: Tensor | None, target: tuple[int, int]
    ) -> tuple[Tensor, Tensor | None]:
        """Resample to ``target`` where the networks' scale is not the one that was asked for."""
        if luma.shape[2:] == target:
            return luma, chroma
        ratio = target[1] / luma.shape[3]
        luma = _resample(luma, target)
        if chroma is not None and self.subsampling is not None:
            across, down = self.subsampling
            chroma = resite(chroma, siting_shift(ratio, across, left=True))
            chroma = _resample(chroma, (-(-target[0] // down), -(-target[1] // across)))
        return luma, chroma

    def _noise_of(self, stage: _Stage, low: Tensor, time: int, origin: tuple[int, int]) -> Tensor:
        """The noise for one stage at that time and place, as its sampler wants it: drawn once."""
        scale = stage.luma.scale
        top, left, height, width = (scale * length for length in (*origin, *low.shape[2:]))
        place = time, top, left, height, width
        if stage.noise is None or stage.noise[0] != place:
            uniform = uniform_noise(self.options.seed, top + height, left + width, stage.number, time)
            uniform = uniform[:, :, top:, left:].to(self.device)
            stage.noise = place, stage.sampler.laid_out(uniform)
        return stage.noise[1]

    def _autocast(self) -> torch.autocast:
        half = self.precision in ("bfloat16", "float16")
        dtype = getattr(torch, self.precision) if half else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=half)


def added_spread(earlier: Tensor | None, own: Tensor) -> Tensor:
    """The spread after a stage, (1, 1, H, W), of that after the one before it, and of its own: variances
    add up."""
    if earlier is None:
        return own
    height, width = own.shape[2:]
    return torch.logaddexp2(2 * _resample(earlier, (height, width)), 2 * own) / 2


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
    """``auto`` is what is fastest: float16 on CUDA, int8 on a CPU that multiplies integers, else float32.

    Raises UsageError for int8 where it cannot be.
    """
    if name == "int8" and (device.type != "cpu" or not int8_sums()):
        raise UsageError("int8 is for CPUs with AVX2, and a PyTorch with oneDNN; take float32 or float16")
    if name != "auto":
        return name
    if device.type == "cpu":
        return "int8" if int8_sums() else "float32"
    return "float16" if device.type == "cuda" else "float32"


def arithmetic_of(precision: str, device: torch.device) -> str:
    """What the last bits of an answer depend on, in words: a film is computed by one kind alone."""
    in_pairs = precision == "int8" and int8_sums() == PAIRS
    return f"{precision}{' in pairs' if in_pairs else ''} on {device.type}"


def _same(before: Planes, now: Planes) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(before, now, strict=True))


def _resample(planes: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(planes, size=size, mode="bicubic", antialias=True, align_corners=False)
