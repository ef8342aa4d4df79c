"""Training samples on disk: degraded scenes through the product's own alignment, so that networks learn its
mistakes."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from upscale.errors import UpscaleError
from upscale.lab.dataset import Batch, downsample, turned
from upscale.lab.degrade import CLEAN, PRESETS, Recipe, degraded, draw
from upscale.lab.scenes import Stock, scene
from upscale.models.judge import damage
from upscale.motion.dirt import AUTO
from upscale.motion.window import Seen, gather
from upscale.planes import REACH, Planes
from upscale.sampling.chroma import luma_at_chroma

SIDE = 72
"""Input pixels a side of a sample."""

FRAMES = 2 * REACH + 3
"""Frames of a scene: a window, and one more on each side for the encoder."""

CLEAN_SHARE = 0.2
"""Samples that are made small and nothing else: the film model must not soften what is good."""

PRESET_SHARES = {"film16": 0.24, "silent": 0.2, "vhs": 0.14, "dvd": 0.14, "webcam": 0.14, "broadcast": 0.14}

ALONE, ONE_SIDED = 0.1, 0.06
"""Samples without neighbours, as stills have none, and with those of one side, as at a cut."""

IN_A_SHARD = 500

KEEPING = 0.2
"""Share of the samples in which a part of grain and compression noise is to stay: FFDNet's dial (Zhang,
Zuo, Zhang 2018, https://arxiv.org/abs/1710.04026), for how much instead of how noisy."""

MISJUDGED = 0.06
"""Standard deviation of the damage that networks are told around the true one, as their judge errs."""

LOOK_EVERY = 500
"""Batches between looks for new shards."""


def write_shard(stock: Stock, path: Path, seed: int, scale: int = 4, count: int = IN_A_SHARD) -> None:
    """Make ``count`` samples and save them; the same for the same seed.

    planes  [N, 5, SIDE, SIDE] float16, the first of ``planes.WINDOW``
    small   [N, SIDE, SIDE] float16, the centre before its degradation     truth  [N, s*SIDE, s*SIDE] uint8
    chroma  [N, 2, SIDE/2, SIDE/2] float16, merged    colours  [N, 2, s*SIDE/2, s*SIDE/2] uint8, the truth's
    """
    cv2.setNumThreads(1)
    samples = [sample(stock, scale, np.random.default_rng((seed, number))) for number in range(count)]
    arrays = {name: np.stack([one[name] for one in samples]) for name in samples[0]}
    partial = path.with_suffix(".part")
    save_file(arrays, partial)
    partial.replace(path)


def sample(stock: Stock, scale: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """One sample: see ``write_shard``."""
    recipe = _recipe(random)
    frames = scene(stock, SIDE * scale, FRAMES, random)
    aged = list(degraded(frames, recipe, scale, int(random.integers(1 << 32))))
    centre = FRAMES // 2
    first, last = _reach(random)
    window = range(centre - first, centre + last + 1)
    planes = _aligned([aged[place].picture for place in window], first)
    truth = aged[centre].truth
    grey = len(truth) == 1
    half = (SIDE // 2, SIDE // 2)
    chroma = np.full((2, *half), 0.5) if grey else planes[1]
    colours = (
        [np.full((SIDE * scale // 2,) * 2, 0.5)] * 2 if grey else [_halved(plane) for plane in truth[1]]
    )
    return {
        "planes": planes[0][:5].astype(np.float16),
        "small": aged[centre].small[0][0].astype(np.float16),
        "truth": np.round(truth[0][0] * 255).astype(np.uint8),
        "chroma": chroma.astype(np.float16),
        "colours": np.round(np.stack(colours) * 255).clip(0, 255).astype(np.uint8),
    }


def _recipe(random: np.random.Generator) -> Recipe:
    if random.random() < CLEAN_SHARE:
        return draw(CLEAN, random)
    return draw(PRESETS[str(random.choice(list(PRESET_SHARES), p=list(PRESET_SHARES.values())))], random)


def _reach(random: np.random.Generator) -> tuple[int, int]:
    """How many frames before and after the centre are there."""
    which = random.random()
    if which < ALONE:
        return 0, 0
    if which < ALONE + ONE_SIDED:
        return (REACH, 0) if random.random() < 0.5 else (0, REACH)
    return REACH, REACH


def _aligned(pictures: list[Planes], centre: int) -> Planes:
    seen = [Seen.of(planes) for planes in pictures]
    others = [(place - centre, one) for place, one in enumerate(seen) if place != centre]
    planes, _ = gather(seen[centre], others, AUTO)
    return planes


def _halved(plane: np.ndarray) -> np.ndarray:
    """Chroma where 4:2:0 has it: on every other column, between two rows."""
    across = cv2.sepFilter2D(plane, -1, np.array([0.25, 0.5, 0.25]), np.array([1.0]))
    return (across[::2, ::2] + across[1::2, ::2]) / 2


class Shards:
    """Endless batches of crops from a folder of shards; new files are taken up as they appear."""

    def __init__(self, folder: Path, kind: str, scale: int, crop: int, batch: int, seed: int = 0):
        """For networks of that ``kind``, luma or chroma, at ``scale``: at most that of the shards. ``crop``
        is in pixels of the output, or of its chroma."""
        self._folder, self._kind, self._scale, self._seed = folder, kind, scale, seed
        self._crop, self._batch = crop // scale, batch
        self._files: dict[Path, dict[str, Tensor]] = {}
        self._look()
        side = SIDE // 2 if kind == "chroma" else SIDE
        if not self._files:
            raise UpscaleError(f"{folder}: no shards in it; make them with upscale-lab shards")
        if self._crop > side:
            raise UpscaleError(f"a crop of {crop} is larger than the samples, {side * scale}")

    def __len__(self) -> int:
        return sum(len(file["planes"]) for file in self._files.values())

    def _look(self) -> None:
        for path in sorted(self._folder.glob("*.safetensors")):
            if path not in self._files:
                with safe_open(path, framework="pt") as file:
                    self._files[path] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """Batches from number ``first`` on; number i depends on the seed, i and the files that there
        are."""
        number = first
        while True:
            if number % LOOK_EVERY == 0:
                self._look()
            random = np.random.default_rng((self._seed, number))
            files = list(self._files.values())
            rows = []
            for _ in range(self._batch):
                file = files[random.integers(len(files))]
                keep = float(random.random()) if random.random() < KEEPING else 0.0
                sample, misjudged = int(random.integers(len(file["planes"]))), random.normal(0, MISJUDGED)
                low, high = self._read(file, sample, keep, misjudged)
                rows.append(_crop(low, high, self._crop, random))
            yield Batch(*(torch.stack(part) for part in zip(*rows, strict=True)))
            number += 1

    def held_out(self) -> Iterator[Batch]:
        """Every sample, whole, one by one; nothing of its noise is to be kept."""
        for file in self._files.values():
            for number in range(len(file["planes"])):
                low, high = self._read(file, number, 0.0, 0.0)
                yield Batch(low[None], high[None])

    def _read(
        self, file: dict[str, Tensor], number: int, keep: float, misjudged: float
    ) -> tuple[Tensor, Tensor]:
        truth = file["truth"][number].float()[None, None] / 255
        reduction = truth.shape[3] // SIDE // self._scale
        if self._kind == "chroma":
            colours = file["colours"][number].float()[None] / 255
            guide = luma_at_chroma(truth, (2, 2), (colours.shape[2], colours.shape[3]))
            high = _reduced(torch.cat([guide, colours], 1), reduction)
            return file["chroma"][number].float(), high[0]
        planes = file["planes"][number].float()
        same = torch.ones(1, SIDE, SIDE)
        judged = damage(planes[None, :1], file["small"][number].float()[None, None]) + misjudged
        low = torch.cat([planes, same * judged.clamp(0, 1), same * keep])
        high = _reduced(truth, reduction)
        if keep:
            lost = (planes[:1] - file["small"][number].float())[None]
            high = high + keep * F.interpolate(lost, scale_factor=self._scale, mode="bicubic")
        return low, high[0]


def _reduced(high: Tensor, times: int) -> Tensor:
    return high if times == 1 else downsample(high, times)


def _crop(low: Tensor, high: Tensor, side: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same part of both, [C, side, side] and as much larger, turned and mirrored alike."""
    scale = high.shape[2] // low.shape[2]
    top, left = (int(place) for place in random.integers(low.shape[2] - side + 1, size=2))
    low = low[:, top : top + side, left : left + side]
    high = high[:, top * scale : (top + side) * scale, left * scale : (left + side) * scale]
    turn = random.random(3) < 0.5
    return turned(low, turn), turned(high, turn)
