"""Training samples on disk: degraded scenes through the product's own alignment, so that networks learn its
mistakes."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from upscale.errors import UpscaleError
from upscale.lab.dataset import Batch, downsample, turned
from upscale.lab.degrade import CLEAN, PRESETS, Recipe, degraded, draw
from upscale.lab.scenes import Library, Stock, scene
from upscale.models.judge import damage
from upscale.motion.dirt import AUTO
from upscale.motion.window import Seen, gather
from upscale.planes import REACH, Planes
from upscale.sampling.chroma import luma_at_chroma

SIDE = 72
"""Input pixels a side of a sample."""

FRAMES = 2 * REACH + 3
"""Frames of a scene: a window, and one more on each side for the encoder."""

CLEAN_SHARE = 0.1
"""Samples that are made small and nothing else: the film model must not soften what is good."""

PRESET_SHARES = {
    "film16": 0.18, "silent": 0.18, "vhs": 0.12, "dvd": 0.12, "webcam": 0.12, "broadcast": 0.12,
    "web": 0.06, "soft": 0.05, "light": 0.05,
}  # fmt: skip

ALONE, ONE_SIDED = 0.1, 0.06
"""Samples without neighbours, as stills have none, and with those of one side, as at a cut."""

IN_A_SHARD = 500

SCRATCHES = 4.0
"""So many times as many scratches as a preset has: a sample is narrow, and would seldom show one."""

KEEPING = 0.2
"""Share of the samples in which a part of grain and compression noise is to stay: FFDNet's dial (Zhang,
Zuo, Zhang 2018, https://arxiv.org/abs/1710.04026), for how much instead of how noisy."""

MISJUDGED = 0.06
"""Standard deviation of the damage that networks are told around the true one, as their judge errs."""

LOOK_EVERY = 500
"""Batches between looks for new shards."""


PLANES = {"planes": 5, "small": 1, "truth": 1, "chroma": 2, "colours": 2}
"""Of the arrays of a sample."""

FINE, FOOTROOM = 1020, 0.25
"""Planes are stored as whole numbers: (value + FOOTROOM) * FINE, a quarter of an 8-bit level."""

Arrays = dict[str, NDArray[Any]]
"""Of one sample, by name:

planes  [5, SIDE, SIDE] float32, the first of ``planes.WINDOW``
small   [1, SIDE, SIDE] float32, the centre before its degradation
truth   [1, s*SIDE, s*SIDE] uint8
chroma  [2, SIDE/2, SIDE/2] float32, merged
colours [2, s*SIDE/2, s*SIDE/2] uint8, the truth's"""


def make_shards(library: Library, paths: Iterable[Path], count: int = IN_A_SHARD) -> Iterator[Path]:
    """Make the files that are not there yet, each of ``count`` samples by the number that is its name.

    Yields each of ``paths`` as soon as it is there; those of before cost nothing."""
    cv2.setNumThreads(1)
    for path in paths:
        if not path.exists():
            number = int(path.stem)
            write_shard(library.deal(number), path, number, count=count)
        yield path


def write_shard(stock: Stock, path: Path, seed: int, scale: int = 4, count: int = IN_A_SHARD) -> None:
    """Make ``count`` samples and save them; the same for the same seed.

    A sample's array is a PNG, its planes below each other: without loss, a few thousandths of a second to
    read, and half the size. All of one name follow each other; ``NAME.ends`` says where each ends."""
    packed: dict[str, list[NDArray[np.uint8]]] = {}
    for number in range(count):
        for name, array in sample(stock, scale, np.random.default_rng((seed, number))).items():
            packed.setdefault(name, []).append(_packed(array))
    arrays = {name: np.concatenate(each) for name, each in packed.items()}
    arrays |= {f"{name}.ends": np.cumsum([len(one) for one in each]) for name, each in packed.items()}
    partial = path.with_suffix(".part")
    save_file(arrays, partial)
    partial.replace(path)


def _packed(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Planes [C, H, W], float32 or uint8, as a PNG of 16 or 8 bits."""
    tall = array.reshape(-1, array.shape[2])
    if tall.dtype != np.uint8:
        tall = np.round((tall + FOOTROOM) * FINE).clip(0, (1 << 16) - 1).astype(np.uint16)
    _, png = cv2.imencode(".png", tall)
    return png.ravel()


def _unpacked(png: NDArray[np.uint8]) -> Tensor:
    """The planes of a PNG below each other, [C * H, W] float32; those of 8 bits in [0, 1]."""
    tall = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    if tall is None:
        raise UpscaleError("a sample is damaged; make its shard again")
    if tall.dtype == np.uint8:
        return torch.from_numpy(tall.astype(np.float32) / np.float32(255))
    return torch.from_numpy(tall.astype(np.float32) / np.float32(FINE) - np.float32(FOOTROOM))


class Shard:
    """A file of samples, of which a read takes no more than it needs."""

    def __init__(self, path: Path):
        """Raises UpscaleError for a file that is laid out otherwise, as shards were once."""
        self._file = safe_open(path, framework="np")
        if not self._ends.keys() >= PLANES.keys():
            raise UpscaleError(f"{path}: not a shard, or one of an older version; make it again")

    def __len__(self) -> int:
        return len(self._ends["truth"])

    @cached_property
    def _ends(self) -> dict[str, NDArray[np.int64]]:
        return {
            name.removesuffix(".ends"): self._file.get_tensor(name)
            for name in self._file.keys()  # noqa: SIM118
            if name.endswith(".ends")
        }

    def read(self, name: str, number: int) -> Tensor:
        """An array of a sample, [C, H, W] float32: see ``Arrays``; truth and colours in [0, 1], too."""
        ends = self._ends[name]
        first = int(ends[number - 1]) if number else 0
        tall = _unpacked(self._file.get_slice(name)[first : int(ends[number])])
        planes: Tensor = tall.view(PLANES[name], -1, tall.shape[1])
        return planes


def sample(stock: Stock, scale: int, random: np.random.Generator) -> Arrays:
    """One sample."""
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
        "planes": planes[0],
        "small": aged[centre].small[0],
        "truth": np.round(truth[0] * 255).astype(np.uint8),
        "chroma": chroma,
        "colours": np.round(np.stack(colours) * 255).clip(0, 255).astype(np.uint8),
    }


def _recipe(random: np.random.Generator) -> Recipe:
    if random.random() < CLEAN_SHARE:
        return draw(CLEAN, random)
    name = str(random.choice(list(PRESET_SHARES), p=list(PRESET_SHARES.values())))
    recipe = draw(PRESETS[name], random)
    return replace(recipe, scratches=recipe.scratches * SCRATCHES)


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
        self._files: dict[Path, Shard] = {}
        self._look()
        side = SIDE // 2 if kind == "chroma" else SIDE
        if not self._files:
            raise UpscaleError(f"{folder}: no shards in it; make them with upscale-lab shards")
        if self._crop > side:
            raise UpscaleError(f"a crop of {crop} is larger than the samples, {side * scale}")

    def __len__(self) -> int:
        return sum(map(len, self._files.values()))

    def _look(self) -> None:
        for path in sorted(self._folder.glob("*.safetensors")):
            if path not in self._files:
                self._files[path] = Shard(path)

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
                sample, misjudged = int(random.integers(len(file))), random.normal(0, MISJUDGED)
                low, high = self._read(file, sample, keep, misjudged)
                rows.append(_crop(low, high, self._crop, random))
            yield Batch(*(torch.stack(part) for part in zip(*rows, strict=True)))
            number += 1

    def held_out(self) -> Iterator[Batch]:
        """Every sample, whole, one by one; nothing of its noise is to be kept."""
        for file in self._files.values():
            for number in range(len(file)):
                low, high = self._read(file, number, 0.0, 0.0)
                yield Batch(low[None], high[None])

    def _read(self, file: Shard, number: int, keep: float, misjudged: float) -> tuple[Tensor, Tensor]:
        truth = file.read("truth", number)[None]
        reduction = truth.shape[3] // SIDE // self._scale
        if self._kind == "chroma":
            colours = file.read("colours", number)[None]
            guide = luma_at_chroma(truth, (2, 2), (colours.shape[2], colours.shape[3]))
            high = _reduced(torch.cat([guide, colours], 1), reduction)
            return file.read("chroma", number), high[0]
        planes, small = file.read("planes", number), file.read("small", number)
        same = torch.ones(1, SIDE, SIDE)
        judged = damage(planes[None, :1], small[None]) + misjudged
        low = torch.cat([planes, same * judged.clamp(0, 1), same * keep])
        high = _reduced(truth, reduction)
        if keep:
            lost = (planes[:1] - small)[None]
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
