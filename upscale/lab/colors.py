"""What the colour network learns from: photos as old film saw them, each with something to follow.

    photo -> colours of the day -> target: luma as film saw it ┐
                                -> reference: the photo again, another frame of its film, a stranger ┘
          -> features, matching, flow -> a sample

A sample holds both kinds of hints; they are dropped at random when a batch is put together, so that one
network learns to guess, to match and to follow.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from upscale.color.features import Backbone
from upscale.color.matching import Colored, attend, move
from upscale.errors import UpscaleError
from upscale.lab.dataset import enlarged_chroma
from upscale.lab.degrade import grain_field
from upscale.lab.scenes import Stock, scene
from upscale.media.picture import find_pictures, read_picture
from upscale.media.read.source import Source
from upscale.models.color import CELL, FINE, Hints
from upscale.motion.flow import grid, matchable

SIDE = 256
"""Pixels of a sample."""

HELD = 640
"""Pixels of the shorter side at which pictures are held at most."""

GREY = 0.006
"""Mean distance of chroma from neutral below which a picture teaches no colours."""

APART = 5
"""Frames that a scene in motion has at most, and one."""

PORTRAITS = "faces"
"""How the names of folders of portraits begin."""

FRAMES = 120
"""Frames of a film that are held."""

FACES = 0.35
CLIPS = 0.2
MOTION = 0.3
"""Shares of the samples that show portraits, films, and photos in motion."""

ONE_FILM = 0.75
"""Share of the pairs that the same film saw, in the same light."""

STRANGER = 0.25
"""Share of the samples whose reference is another picture."""

NEAR = 0.5
"""Share of the others whose reference is the same picture a little moved, and not framed and mirrored
anew."""

GUESS, MATCH = 0.4, 0.2
"""Shares of uses in which there are no hints, and none along the flow."""

REUSE = 4
"""How often a sample is used: making one takes as long as learning from it."""

POOL = 512
"""Samples among which those of a batch are chosen."""

Picture = NDArray[np.uint8]
"""[3, H, W]: Y'CbCr, full range, 4:4:4."""

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Target and reference, Y' and CbCr around 0, [3, SIDE, SIDE]."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture, or a batch of them; half precision where it is held."""

    luma: Tensor
    """[N, 1, H, W] as film saw it."""
    levels: tuple[Tensor, ...]
    """Its features: see ``Features``."""
    chroma: Tensor
    """[N, 2, H/FINE, W/FINE] around 0: the truth."""
    hints: Hints

    @property
    def coarse(self) -> Tensor:
        """The true chroma of the cells, [N, 2, h, w]."""
        return F.avg_pool2d(self.chroma, CELL // FINE)

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """With every tensor changed."""
        hints = Hints(change(self.hints.matched), change(self.hints.moved))
        return replace(
            self,
            luma=change(self.luma),
            levels=tuple(change(level) for level in self.levels),
            chroma=change(self.chroma),
            hints=hints,
        )


@dataclass(slots=True)
class Album:
    """Pictures and films, in memory."""

    photos: list[Picture]
    faces: list[Picture]
    clips: list[list[Picture]]

    @classmethod
    def load(cls, paths: Sequence[Path]) -> Self:
        """From folders of pictures, of which grey ones are left out, and from films.

        A folder whose name begins with "faces" holds portraits. Raises UpscaleError."""
        folders = [path for path in paths if path.is_dir()]
        faces = [folder for folder in folders if folder.name.startswith(PORTRAITS)]
        return cls(
            [picture for folder in folders if folder not in faces for picture in _pictures(folder)],
            [picture for folder in faces for picture in _pictures(folder)],
            [_film(path) for path in paths if path not in folders],
        )

    @property
    def stills(self) -> list[Picture]:
        return self.photos + self.faces

    def __len__(self) -> int:
        return len(self.photos) + len(self.faces) + len(self.clips)


def _pictures(folder: Path) -> list[Picture]:
    held = []
    for path in find_pictures(folder):
        picture = read_picture(path)
        if np.abs(picture[1:] - 0.5).mean() > GREY:
            held.append(_held(picture))
    if not held:
        raise UpscaleError(f"{folder}: no coloured picture in it")
    return held


def _held(picture: NDArray[np.float32]) -> Picture:
    _, height, width = picture.shape
    factor = min(1.0, HELD / min(height, width))
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in picture]
    return np.round(np.stack(planes).clip(0, 1) * 255).astype(np.uint8)


def _film(path: Path) -> list[Picture]:
    frames = []
    with Source(path) as source:
        for number, frame in enumerate(source.frames()):
            if number == FRAMES:
                break
            if len(frame.planes) == 1:
                raise UpscaleError(f"{path}: is grey, and teaches no colours")
            frames.append(_held(enlarged_chroma(frame.planes)))
    return frames


def make_sample(pair: Pair, backbone: Backbone, random: np.random.Generator) -> Sample:
    """One sample of a target and its reference, in half precision."""
    target, reference = pair
    day = _day(random)
    target, reference = day(target), day(reference)
    film = film_stock(random)
    other = film if random.random() < ONE_FILM else film_stock(random)
    seen, there = film(target), other(reference)
    pictures = torch.from_numpy(np.stack([seen, there]))[:, None]
    features = backbone(pictures)
    descriptors = features.descriptors()
    chroma, known = (
        np.stack(
            [
                cv2.resize(plane, None, fx=1 / FINE, fy=1 / FINE, interpolation=cv2.INTER_AREA)
                for plane in picture[1:]
            ]
        )
        for picture in (target, reference)
    )
    matched = attend(descriptors[:1], [Colored(descriptors[1:], torch.from_numpy(known)[None])])
    moved = move(matchable(seen), matchable(there), known)
    sample = Sample(
        pictures[:1],
        tuple(level[:1] for level in features.levels),
        torch.from_numpy(chroma)[None],
        Hints(matched, torch.from_numpy(moved)[None]),
    )
    return sample.map(lambda tensor: tensor.half())


def choose(album: Album, random: np.random.Generator) -> Pair:
    """A target and a reference."""
    kind = random.random()
    if album.clips and kind < CLIPS:
        film = album.clips[random.integers(len(album.clips))]
        one, other = film[random.integers(len(film))], film[random.integers(len(film))]
        place = _framing(one, random)
        return _cropped(one, place), _cropped(other, place + _shift(random, 0.01))
    if random.random() < MOTION:
        return _in_motion(album, random)
    stock = album.faces if album.faces and kind < CLIPS + FACES else album.photos or album.faces
    picture = stock[random.integers(len(stock))]
    if random.random() < STRANGER:
        other = album.stills[random.integers(len(album.stills))]
        return _cropped(picture, _framing(picture, random)), _cropped(other, _framing(other, random))
    return _twice(picture, random)


def _in_motion(album: Album, random: np.random.Generator) -> Pair:
    """Two frames of a scene, see ``scenes.scene``, some way apart."""
    clip = scene(Stock(album.photos, album.faces), SIDE, int(random.integers(2, APART)), random)
    first, last = (np.concatenate([luma, chroma - np.float32(0.5)]) for luma, chroma in (clip[0], clip[-1]))
    return first, last


def _twice(picture: Picture, random: np.random.Generator) -> Pair:
    """A picture, and the same one moved or framed anew."""
    target = _framing(picture, random)
    reference = target + _shift(random, 0.05) if random.random() < NEAR else _framing(picture, random)
    return _cropped(picture, target), _cropped(picture, reference, _bend(random))


def _framing(picture: Picture, random: np.random.Generator) -> NDArray[np.float64]:
    """The corners (x, y) of a crop, [3, 2]: top left, top right, bottom left; mirrored at times."""
    _, height, width = picture.shape
    side = min(height, width) * random.uniform(0.45, 1.0)
    aspect = np.exp(random.normal(0, 0.08))
    wide, high = min(side * aspect, width), min(side / aspect, height)
    left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
    corners = np.array([[left, top], [left + wide, top], [left, top + high]])
    if random.random() < 0.5:
        corners = np.array([[left + wide, top], [left, top], [left + wide, top + high]])
    turn = random.normal(0, 0.04)
    middle = np.array([left + wide / 2, top + high / 2])
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (corners - middle) @ spin.T + middle


def _shift(random: np.random.Generator, size: float) -> NDArray[np.float64]:
    """Something that moves corners like a camera: by a share of the picture's side."""
    return (random.normal(0, size, (1, 2)) + random.normal(0, size / 3, (3, 2))) * 400


def _bend(random: np.random.Generator) -> NDArray[np.float32]:
    """Displacements [SIDE, SIDE, 2], smooth: as things move and turn by themselves."""
    knots = random.normal(0, random.uniform(0, 10), (5, 5, 2)).astype(np.float32)
    return cv2.resize(knots, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def _cropped(
    picture: Picture, corners: NDArray[np.float64], bend: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    square = np.array([[0, 0], [SIDE, 0], [0, SIDE]], np.float32)
    affine = cv2.getAffineTransform(square, corners.astype(np.float32)).astype(np.float32)
    from_places = grid(SIDE, SIDE) if bend is None else grid(SIDE, SIDE) + bend
    places = from_places @ affine[:, :2].T + affine[:, 2]
    step = np.linalg.norm(corners[1] - corners[0]) / SIDE
    planes = picture.transpose(1, 2, 0)
    if step > 1.5:  # without aliases
        factor = 1 / (step / 1.2)
        planes = cv2.resize(planes, None, fx=float(factor), fy=float(factor), interpolation=cv2.INTER_AREA)
        places = places * np.float32(factor)
    answer = cv2.remap(planes, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    answer = answer.transpose(2, 0, 1).astype(np.float32) / 255
    answer[1:] -= np.float32(128 / 255)
    return answer


def _day(random: np.random.Generator) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The colours of one day, the same for target and reference: white balance and saturation."""
    gain = np.exp(random.normal(0, 0.15))
    cast = random.normal(0, 0.012, 2).astype(np.float32)

    def change(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        picture = picture.copy()
        picture[1:] = picture[1:] * np.float32(gain) + cast[:, None, None] * picture[:1] * 2
        return picture

    return change


def film_stock(random: np.random.Generator) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A film, from Y'CbCr around 0 to luma [H, W].

    As it is, or as panchromatic or orthochromatic film sees it; lit otherwise, faded, soft and grainy."""
    kind = random.random()
    share = None
    if kind < 0.2:  # orthochromatic: blind to red
        share = np.array([random.uniform(0, 0.12), 0, random.uniform(0.25, 0.6)])
    elif kind < 0.5:
        share = np.array([random.uniform(0.15, 0.45), 0, random.uniform(0.05, 0.3)])
    if share is not None:
        share[1] = 1 - share.sum()
    fades, soft, grainy = random.random() < 0.6, random.random() < 0.4, random.random() < 0.5
    gamma = np.exp(random.normal(0, 0.25))
    black, white = random.uniform(0, 0.12), random.uniform(0.82, 1)
    blur, strength, clumps = random.uniform(0.3, 1.4), random.uniform(0.004, 0.05), random.uniform(0.2, 0.8)

    def sees(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        luma, blue, red = picture
        if share is not None:
            rgb = np.stack([luma + 1.402 * red, luma - 0.344 * blue - 0.714 * red, luma + 1.772 * blue])
            luma = np.tensordot(share.astype(np.float32), rgb.clip(0, 1), 1)
        luma = luma.clip(0, 1)
        if fades:
            luma = np.float32(black) + luma ** np.float32(gamma) * np.float32(white - black)
        if soft:
            luma = cv2.GaussianBlur(luma, (0, 0), blur)
        if grainy:
            luma = luma + grain_field(luma.shape[0], clumps, random) * np.float32(strength)
        return np.ascontiguousarray(luma.clip(0, 1), np.float32)

    return sees


@dataclass(slots=True)
class ColorLessons:
    """Endless batches of samples; the same for the same seed and beginning."""

    album: Album
    batch: int
    seed: int = 0

    def __len__(self) -> int:
        return len(self.album)

    def batches(self, first: int = 0) -> Iterator[Sample]:
        """From number ``first`` on. A batch is chosen among the latest samples, a part of which is new."""
        backbone = Backbone()
        pool: deque[Sample] = deque(maxlen=POOL)
        number = first
        while True:
            random = np.random.default_rng((self.seed, number))
            new = self.batch // REUSE if len(pool) >= POOL // 4 else self.batch
            pool.extend(make_sample(choose(self.album, random), backbone, random) for _ in range(new))
            chosen = [pool[-1 - i] for i in range(new)]
            chosen += [pool[i] for i in random.integers(len(pool), size=self.batch - new)]
            yield stacked([_dropped(sample, random) for sample in chosen])
            number += 1

    def held_out(self) -> Iterator[Sample]:
        """Every photo and portrait once, with a reference that is the same one."""
        backbone = Backbone()
        for number, picture in enumerate(self.album.stills):
            random = np.random.default_rng((self.seed, number))
            yield stacked([make_sample(_twice(picture, random), backbone, random)])


def _dropped(sample: Sample, random: np.random.Generator) -> Sample:
    kind = random.random()
    hints = sample.hints
    nothing = torch.zeros_like
    if kind < GUESS:
        return replace(sample, hints=Hints(nothing(hints.matched), nothing(hints.moved)))
    if kind < GUESS + MATCH:
        return replace(sample, hints=Hints(hints.matched, nothing(hints.moved)))
    return sample


def stacked(samples: list[Sample]) -> Sample:
    """One batch, in single precision."""

    def join(parts: list[Tensor]) -> Tensor:
        return torch.cat(parts).float()

    return Sample(
        join([sample.luma for sample in samples]),
        tuple(join(list(level)) for level in zip(*(sample.levels for sample in samples), strict=True)),
        join([sample.chroma for sample in samples]),
        Hints(
            join([sample.hints.matched for sample in samples]),
            join([sample.hints.moved for sample in samples]),
        ),
    )
