"""Training pictures in memory, and batches of crops cut from them."""

import itertools
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from upscale.errors import UpscaleError
from upscale.media.picture import SUFFIXES, find_pictures, read_picture
from upscale.media.read.source import Source
from upscale.planes import Planes

SOFT = 0.7
"""A picture whose finest octave holds less than this share of the contrast of the next is halved, unless
something else is asked for."""

FILMS = {".avi", ".mkv", ".mov", ".mp4", ".mpg", ".webm"}
"""Suffixes of the films that a folder of lessons may hold."""

FRAME_EVERY = 7
"""Of a film, every so many frames are taken: those between them show much the same."""

DAMPING = 0.75
"""A source is shown as often as its area to this power says: a large one more often than a small one, but
not by as much as it is larger, so that none dominates."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a network learns from: what it is shown, and what it is to answer."""

    low: Tensor
    """[N, planes, h, w] float32."""
    high: Tensor
    """[N, C, scale*h, scale*w] float32: luma; for chroma networks luma, the guide, then Cb and Cr."""

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """With every tensor changed."""
        return Batch(change(self.low), change(self.high))


class Lessons(Protocol):
    """Endless batches, of tensors that ``map`` changes all together; the same for the same seed."""

    def __len__(self) -> int:
        """Of how many pictures or samples."""

    def batches(self, first: int = 0) -> Iterator[Any]:
        """From number ``first`` on; batch i depends on i only, so that a resumed run sees the same."""


@dataclass(frozen=True, slots=True)
class Crops:
    """The clean track: pictures made small. Square crops, each turned and mirrored at random."""

    pictures: Sequence[Tensor]
    """Each [C, H, W] uint8: luma, or all three planes for a chroma network."""
    scale: int
    size: int
    batch: int
    seed: int = 0
    sources: Sequence[str] = ()
    """Where each picture is from; none, and all are of one source."""

    def __len__(self) -> int:
        return len(self.pictures)

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """Batches of ``size`` output pixels a side, from number ``first`` on.

        Batch number i depends on the seed and i only, so a resumed run sees what a straight one does.
        """
        chances = self.chances()
        for number in itertools.count(first):
            random = np.random.default_rng((self.seed, number))
            chosen = random.choice(len(self.pictures), self.batch, p=chances)
            yield lesson(
                torch.stack([self._crop(self.pictures[i], random) for i in chosen]).float() / 255,
                self.scale,
            )

    def chances(self) -> NDArray[np.float64]:
        """How likely each picture is to be shown: by its area, and by DAMPING of its source's."""
        areas = np.array([picture[0].numel() for picture in self.pictures], float)
        total: dict[str, float] = defaultdict(float)
        sources = self.sources or [""] * len(areas)
        for source, area in zip(sources, areas, strict=True):
            total[source] += area
        chances = areas * np.array([total[source] ** (DAMPING - 1) for source in sources])
        return chances / chances.sum()

    def _crop(self, picture: Tensor, random: np.random.Generator) -> Tensor:
        _, height, width = picture.shape
        top = random.integers(height - self.size + 1)
        left = random.integers(width - self.size + 1)
        crop = picture[:, top : top + self.size, left : left + self.size]
        return turned(crop, random.random(3) < 0.5)


def lesson(high: Tensor, scale: int) -> Batch:
    """Pictures [N, C, H, W] in [0, 1], of luma or of all three planes, and the same made small."""
    low = downsample(high, scale)
    return Batch(low if high.shape[1] == 1 else low[:, 1:], high)


def whole_pictures(folder: Path, planes: slice, scale: int) -> Iterator[Batch]:
    """Every picture of ``folder`` as it is, one by one, for validation; all three planes, for a chroma
    network, at half their size, as JPEG stores half of its chroma. Raises UpscaleError."""
    for path in find_pictures(folder):
        picture = torch.from_numpy(read_picture(path))
        if planes.stop == 3:
            picture = _halved(picture)
        yield lesson(cropped(picture[None, planes], scale), scale)


def cropped(picture: Tensor, scale: int) -> Tensor:
    """[..., H, W] without the rows and columns that the scale does not divide."""
    height, width = picture.shape[-2:]
    return picture[..., : height // scale * scale, : width // scale * scale]


def turned(crop: Tensor, how: NDArray[np.bool_]) -> Tensor:
    """[C, H, W] mirrored, flipped and transposed, each where ``how`` says so."""
    mirrored, flipped, transposed = how
    if mirrored:
        crop = crop.flip(2)
    if flipped:
        crop = crop.flip(1)
    return crop.transpose(1, 2) if transposed else crop


@dataclass(frozen=True, slots=True)
class Loading:
    """How pictures are to be taken in."""

    planes: slice
    """0 luma, 1 Cb, 2 Cr. A chroma network wants all three, and gets every picture halved once more: JPEG
    stores half of its chroma."""
    smallest: int
    """Pixels a side that a picture needs."""
    reduction: float = 1.0
    """Each is made smaller by a random factor from this to 1, so that the artefacts of its coding go."""
    seed: int = 0
    """Of the factors; a picture's depends on that and its name."""
    soft: float = SOFT
    """Instead of SOFT."""


def load_crops(paths: Sequence[Path], loading: Loading, scale: int, batch: int) -> Crops:
    """The pictures and films of all ``paths``, of which what is soft even when it is halved is left out.

    Where a picture is from is told by its folder and by what stands before "__" in its name. Raises
    UpscaleError if nothing can be used."""
    sources, pictures = [], []
    for source, name, picture in itertools.chain.from_iterable(map(pictures_in, paths)):
        loaded = _loaded(picture, loading, name)
        if loaded is not None:
            sources.append(source)
            pictures.append(loaded)
    if not pictures:
        raise _nothing_in(paths, loading.smallest)
    return Crops(pictures, scale, loading.smallest, batch, loading.seed, sources)


def load_pictures(folder: Path, planes: slice, smallest: int) -> list[Tensor]:
    """The ``planes`` (0 luma, 1 Cb, 2 Cr) of every picture in ``folder``, [C, H, W] uint8 full range.

    Soft ones are halved until they are sharp, as far as ``smallest`` pixels a side allow.
    """
    loading = Loading(planes, smallest)
    found = (_loaded(picture, loading) for _, _, picture in pictures_in(folder))
    pictures = [picture for picture in found if picture is not None]
    if not pictures:
        raise _nothing_in([folder], smallest)
    return pictures


def load_picture(path: Path, loading: Loading) -> Tensor | None:
    """One picture, [C, H, W] uint8 full range; None where it is too small or too soft.

    Raises UpscaleError if it cannot be read."""
    return _loaded(torch.from_numpy(read_picture(path)), loading, path.name)


def pictures_in(path: Path) -> Iterator[tuple[str, str, Tensor]]:
    """Pictures of a folder and frames of its films, or of one film: source, name, and [3, H, W] in [0, 1].

    Raises UpscaleError for what holds or is nothing of the kind."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES | FILMS)
        if not files:
            find_pictures(path)  # says what it looks for
    for file in files:
        source = f"{file.parent.name}/{file.name.partition('__')[0]}"
        if file.suffix.lower() in SUFFIXES:
            yield source, file.name, torch.from_numpy(read_picture(file))
            continue
        with Source(file) as film:
            for number, frame in enumerate(film.frames()):
                if number % FRAME_EVERY == 0:
                    yield source, f"{file.name}:{number}", torch.from_numpy(enlarged_chroma(frame.planes))


def enlarged_chroma(planes: Planes) -> NDArray[np.float32]:
    """[3, H, W]: chroma at the size of luma, neutral if there is none."""
    luma = planes[0]
    if len(planes) == 1:
        return np.concatenate([luma, np.full((2, *luma.shape[1:]), 0.5, np.float32)])
    size = luma.shape[2], luma.shape[1]
    chroma = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in planes[1]]
    return np.stack([luma[0], *chroma])


def _nothing_in(paths: Sequence[Path], smallest: int) -> UpscaleError:
    where = ", ".join(map(str, paths))
    return UpscaleError(f"{where}: no picture of at least {smallest}x{smallest} pixels")


def _loaded(picture: Tensor, loading: Loading, name: str = "") -> Tensor | None:
    """Made small and sharp, as uint8; None if it is too small, or where pictures are reduced still soft."""
    if loading.reduction < 1:
        random = np.random.default_rng((loading.seed, zlib.crc32(name.encode())))
        factor = random.uniform(loading.reduction, 1)
        size = [max(round(length * factor), 1) for length in picture.shape[1:]]
        picture = F.interpolate(picture[None], size, mode="bicubic", antialias=True)[0]
    if loading.planes.stop == 3:
        picture = _halved(picture)
    while min(picture.shape[1:]) >= 2 * loading.smallest and sharpness(picture[0]) < loading.soft:
        picture = _halved(picture)
    if min(picture.shape[1:]) < loading.smallest:
        return None
    if loading.reduction < 1 and sharpness(picture[0]) < loading.soft:
        return None
    return picture[loading.planes].mul(255).round().clamp(0, 255).byte()


def sharpness(luma: Tensor) -> float:
    """Contrast between neighbours, over contrast between neighbours in the halved picture [H, W]."""
    even = luma[: luma.shape[0] // 2 * 2, : luma.shape[1] // 2 * 2]
    halved = F.avg_pool2d(even[None], 2)[0]
    fine = (even[:, 1::2] - even[:, ::2]).abs().mean()
    coarse = (halved[:, 1:] - halved[:, :-1]).abs().mean()
    return float(fine / coarse.clamp(min=1e-6))


def downsample(high: Tensor, scale: int) -> Tensor:
    """The clean track: antialiased bicubic, rounded to 8 bit. [N, C, H, W] -> [N, C, H/scale, W/scale]."""
    low = F.interpolate(high, scale_factor=1 / scale, mode="bicubic", antialias=True, align_corners=False)
    return low.clamp(0, 1).mul(255).round().div(255)


def _halved(picture: Tensor) -> Tensor:
    _, height, width = picture.shape
    return downsample(picture[None, :, : height // 2 * 2, : width // 2 * 2], 2)[0]
