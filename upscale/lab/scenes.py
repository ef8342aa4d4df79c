"""Photos in motion: short clips whose every frame is known, for networks that look at several frames."""

import fnmatch
import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.errors import UpscaleError, UsageError
from upscale.lab.dataset import FILMS, Loading, enlarged_chroma, load_picture
from upscale.media.picture import find_pictures
from upscale.media.read.source import Source
from upscale.motion.flow import grid
from upscale.planes import Planes

FACES = 0.2
"""Share of the scenes that show faces, where there are any."""

REAL = 0.4
"""Share of the scenes that were filmed, where there are any."""

HAND = 120
"""Photos that a stock is dealt: the others stay on the disk."""

SHARP = 0.75
"""Filmed pictures are made this much smaller, to be rid of what their own encoder did."""

SPEEDS = ((0.0, 0.15), (2.0, 0.25), (6.0, 0.3), (16.0, 0.2), (40.0, 0.1))
"""Standard deviation of the motion in pixels a frame, and how often it is drawn."""

DENSEST = 5.0
"""How much smaller photos are made at most."""

SECOND_LAYER = 0.35
LOCAL_WARP = 0.25
MOTION_BLUR = 0.3
CAPTION = 0.1
INTERTITLE = 0.04
"""Probabilities: of something that moves in front, of a picture that bends, of a shutter that stays open,
of subtitles or titles that stand still, and of a card with nothing but text."""

SUBFRAMES = 3
"""Moments that an open shutter adds up."""

WORDS = (
    "the of and to in a is that it was for on are as with his they at be this from have or by one had "
    "not but what all were when we there can an your which their said if do will each about how up out "
    "them then she many some so these would other into has more her two like him see time could no make "
    "than first been its who now people my made over did down only way find use may water long little "
    "very after words called just where most know London 1914 1923 PARIS Kapitel Ende Fin THE END 12:45 "
    "No. 7 »Ja!« été señor "
).split()

Move = NDArray[np.float64]
"""[3, 3]: a homography from the scene's pixels to the picture's."""


@dataclass(slots=True)
class Stock:
    """What scenes are made of: pictures [3, H, W] uint8, 4:4:4 full range, and fonts to write with."""

    pictures: list[NDArray[np.uint8]]
    faces: list[NDArray[np.uint8]] = field(default_factory=list)
    fonts: list[Path] = field(default_factory=list)
    clips: list[list[NDArray[np.uint8]]] = field(default_factory=list)
    """Real ones: frames [3, H, W] like the pictures."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where scenes come from: folders of photos, of portraits and of fonts (in folders below it, too), and
    films or folders of films, of which those whose names match one of the patterns ``without`` stay out."""

    photos: tuple[Path, ...]
    faces: Path | None = None
    fonts: Path | None = None
    clips: tuple[Path, ...] = ()
    without: tuple[str, ...] = ()


class Library:
    """All that there is to make scenes of; photos are read when they are dealt."""

    def __init__(self, sources: Sources, side: int):
        """Pictures and films of less than ``side`` pixels are left out; all frames of the others are kept.

        Raises UpscaleError, and UsageError if there are fonts and nothing to write with."""
        if sources.fonts and not importlib.util.find_spec("PIL"):
            raise UsageError(
                "pillow, which writes, is not installed; pip install 'upscale-pixelcnn[train]'"
            )
        self._side = side
        self._photos = [path for folder in sources.photos for path in find_pictures(folder)]
        self._faces = find_pictures(sources.faces) if sources.faces else []
        self._fonts = sorted(sources.fonts.rglob("*.ttf")) if sources.fonts else []
        films = [path for path in _films(sources.clips) if not _matches(path, sources.without)]
        self._clips = [clip for clip in (_real_clip(path, side) for path in films) if clip]

    def deal(self, number: int) -> Stock:
        """The same for the same number: HAND of the photos, and a quarter as many faces.

        Raises UpscaleError if none of the photos is large enough."""
        random = np.random.default_rng(number)
        photos, faces = (
            self._some(paths, count, random)
            for paths, count in ((self._photos, HAND), (self._faces, HAND // 4))
        )
        if not photos:
            raise UpscaleError(f"none of {len(self._photos)} photos has {self._side} pixels a side")
        return Stock(photos, faces, self._fonts, self._clips)

    def _some(
        self, paths: Sequence[Path], count: int, random: np.random.Generator
    ) -> list[NDArray[np.uint8]]:
        chosen = random.permutation(len(paths))[:count]
        # All planes as they are: the halved chroma of JPEG is what shards take of the truth's.
        loading = Loading(slice(None), self._side)
        found = (load_picture(paths[place], loading) for place in chosen)
        return [picture.numpy() for picture in found if picture is not None]


def _films(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        inside = (
            sorted(file for file in path.iterdir() if file.suffix.lower() in FILMS)
            if path.is_dir()
            else [path]
        )
        if not inside:
            raise UpscaleError(f"{path}: no films in it")
        yield from inside


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)


def scene(stock: Stock, side: int, frames: int, random: np.random.Generator) -> list[Planes]:
    """A clip of ``frames`` frames: luma [1, side, side] and chroma [2, side, side].

    A photo under a camera that pans, zooms, turns and tilts; perhaps with another in front of it, perhaps
    with something written on it."""
    if stock.fonts and random.random() < INTERTITLE:
        clip = [np.repeat(_card(stock, side, random)[:, :, None], 3, 2)] * frames
        clip = [picture * colour(1, 0, 0) + colour(0, 0.5, 0.5) for picture in clip]
    elif stock.clips and random.random() < REAL:
        clip = _filmed(stock, side, frames, random)
    else:
        clip = _moving(_choose(stock, random), side, frames, random)
    if random.random() < SECOND_LAYER:
        clip = _in_front(clip, _moving(_choose(stock, random), side, frames, random), random)
    if stock.fonts and random.random() < CAPTION:
        clip = _captioned(clip, stock, random)
    answer: list[Planes] = []
    for picture in clip:
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1).clip(0, 1), np.float32)
        answer.append((planes[:1], planes[1:]))
    return answer


def colour(luma: float, blue: float, red: float) -> NDArray[np.float32]:
    """Y'CbCr of a pixel."""
    return np.array([luma, blue, red], np.float32)


def _choose(stock: Stock, random: np.random.Generator) -> NDArray[np.uint8]:
    pictures = stock.faces if stock.faces and random.random() < FACES else stock.pictures
    return pictures[random.integers(len(pictures))]


def _real_clip(path: Path, side: int) -> list[NDArray[np.uint8]]:
    """The frames of a film, [3, H, W] full range 4:4:4, reduced by SHARP as far as ``side`` pixels
    allow; none if it is smaller than that."""
    frames = []
    with Source(path) as source:
        if min(source.info.width, source.info.height) < side:
            return []
        for frame in source.frames():
            picture = enlarged_chroma(frame.planes)
            ratio = max(SHARP, side / min(picture.shape[1:]))
            frames.append(np.round(_shrunk(picture, ratio) * 255).clip(0, 255).astype(np.uint8))
    return frames


def _shrunk(picture: NDArray[Any], ratio: float) -> NDArray[Any]:
    size = round(picture.shape[2] * ratio), round(picture.shape[1] * ratio)
    return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in picture])


def _filmed(stock: Stock, side: int, frames: int, random: np.random.Generator) -> list[NDArray[np.float32]]:
    """A part of a real clip, at a size of its own, forwards or backwards; there and back again if it is too
    short."""
    clip = stock.clips[random.integers(len(stock.clips))]
    first = random.integers(max(len(clip) - frames, 0) + 1)
    chosen = clip[first : first + frames][:: random.choice([-1, 1])]
    ratio = np.exp(random.uniform(np.log(side / min(clip[0].shape[1:])), 0))
    size = [max(round(length * ratio), side) for length in clip[0].shape[1:]]
    top, left = (int(random.integers(length - side + 1)) for length in size)

    def part(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = cv2.resize(picture.transpose(1, 2, 0), size[::-1], interpolation=cv2.INTER_AREA)
        return _floats(small[top : top + side, left : left + side])

    parts = [part(picture) for picture in chosen]
    return list(itertools.islice(itertools.cycle([*parts, *parts[-2:0:-1]]), frames))


def _floats(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(picture, 255, dtype=np.float32)


def _moving(
    picture: NDArray[np.uint8], side: int, frames: int, random: np.random.Generator
) -> list[NDArray[np.float32]]:
    """A picture seen by a moving camera, [side, side, 3] in [0, 1] each."""
    _, height, width = picture.shape
    # The part that the camera may meet, smaller than it is: photos are softer than video, and small frames
    # show as much as large ones, so that their detail is dense.
    shrink = np.exp(random.uniform(0, np.log(max(1, min(DENSEST, height / side, width / side)))))
    reach = min(int(side * shrink * 1.7), height, width)
    top, left = random.integers(height - reach + 1), random.integers(width - reach + 1)
    part = picture[:, top : top + reach, left : left + reach].transpose(1, 2, 0)
    size = max(round(reach / shrink), side)
    part = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)

    speeds, shares = zip(*SPEEDS, strict=True)
    speed = float(random.choice(speeds, p=shares))
    pan = random.normal(0, speed, 2)
    turn, zoom = random.normal(0, 0.0009 * speed), random.normal(0, 0.001 * speed)
    tilt = random.normal(0, 2e-6 * speed, 2)
    jitter = 0.3 if speed else 0.0
    askew = random.normal(0, 0.1) if random.random() < 0.3 else 0.0
    bend = _bend(side, random) if random.random() < LOCAL_WARP and speed else None
    blurs = random.random() < MOTION_BLUR and speed > 2
    open_for = random.uniform(0.2, 0.6)
    hand = random.normal(0, jitter, (frames, 2))

    def at(moment: float, shaken: NDArray[np.float64]) -> NDArray[np.float32]:
        time = moment - frames // 2
        angle, scale = askew + turn * time, np.exp(zoom * time)
        x, y = size / 2 + pan * time + shaken
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        move = np.array([[cosine, -sine, 0], [sine, cosine, 0], [*(tilt * time), 1]])
        there = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
        here = np.array([[1, 0, -side / 2], [0, 1, -side / 2], [0, 0, 1]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        seen = cv2.warpPerspective(
            part, there @ move @ here, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT
        )
        if bend is not None:
            seen = cv2.remap(seen, bend(time), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        return _floats(seen)

    def shown(number: int) -> NDArray[np.float32]:
        moments = (
            [number + open_for * (part / SUBFRAMES - 0.5) for part in range(SUBFRAMES)]
            if blurs
            else [number]
        )
        answer: NDArray[np.float32] = np.stack([at(moment, hand[number]) for moment in moments]).mean(0)
        return answer

    return [shown(number) for number in range(frames)]


def _bend(side: int, random: np.random.Generator) -> Callable[[float], NDArray[np.float32]]:
    """A smooth field of motion that grows with time: faces that turn, cloth, water."""
    coarse = random.normal(0, random.choice([1, 3, 6]), (5, 5, 2)).astype(np.float32)
    moved = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)

    def places(time: float) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = grid(side, side) + moved * np.float32(time)
        return answer

    return places


def _in_front(
    clip: list[NDArray[np.float32]], front: list[NDArray[np.float32]], random: np.random.Generator
) -> list[NDArray[np.float32]]:
    """An ellipse of one clip, moving in front of another."""
    side, frames = clip[0].shape[0], len(clip)
    middle = random.uniform(side * 0.15, side * 0.85, 2)
    radius = random.uniform(0.08, 0.4) * side
    pace = random.normal(0, random.choice([4, 16, 30]), 2)
    angle, flat = random.uniform(0, 180), random.uniform(0.3, 1)
    answer = []
    for number, (back, before) in enumerate(zip(clip, front, strict=True)):
        x, y = middle + pace * (number - frames // 2)
        mask = np.zeros((side, side), np.float32)
        axes = (round(radius * 16), round(radius * flat * 16))
        cv2.ellipse(mask, (round(x * 16), round(y * 16)), axes, angle, 0, 360, 1, -1, cv2.LINE_AA, 4)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.8)[:, :, None]
        answer.append(back + mask * (before - back))
    return answer


def _captioned(
    clip: list[NDArray[np.float32]], stock: Stock, random: np.random.Generator
) -> list[NDArray[np.float32]]:
    """With text that stands still, light with a dark rim or the other way round."""
    letters = _written(stock, clip[0].shape[0], random)
    rim = cv2.GaussianBlur(cv2.dilate(letters, np.ones((5, 5), np.uint8)), (0, 0), 1)[:, :, None]
    light = float(random.choice([0.95, 0.1], p=[0.8, 0.2]))
    ink = colour(light, 0.5, 0.5 if random.random() < 0.7 else 0.35)
    dark = colour(1 - light, 0.5, 0.5)
    letters = letters[:, :, None]
    answer = [picture + rim * (dark - picture) for picture in clip]
    return [picture + letters * (ink - picture) for picture in answer]


def _card(stock: Stock, side: int, random: np.random.Generator) -> NDArray[np.float32]:
    """White, or nearly, on black, or nearly: [side, side] in [0, 1]."""
    black, white = np.float32(random.uniform(0, 0.15)), np.float32(random.uniform(0.75, 1))
    return black + (white - black) * _written(stock, side, random)


def _written(stock: Stock, side: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A few lines of text, [side, side] from 0 to 1."""
    from PIL import Image, ImageDraw, ImageFont

    height = int(random.choice([18, 24, 32, 48, 72], p=[0.15, 0.25, 0.3, 0.2, 0.1]))
    font = ImageFont.truetype(str(stock.fonts[random.integers(len(stock.fonts))]), height)
    page = Image.new("L", (side, side))
    pen = ImageDraw.Draw(page)
    y = int(random.integers(0, side // 2))
    for _ in range(random.integers(1, 5)):
        words = " ".join(str(word) for word in random.choice(WORDS, 6))
        pen.text((int(random.integers(-side // 8, side // 3)), y), words, fill=255, font=font)
        y += int(height * 1.3)
    return _floats(np.asarray(page))
