"""The models for pictures in memory: see docs/api.md."""

import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import av
import numpy as np
from numpy.typing import NDArray

from upscale.checks import checked
from upscale.errors import UsageError
from upscale.media.pixels import SUBSAMPLING, PixelFormat, from_planes, guessed_matrix, to_planes
from upscale.models.catalog import find_model
from upscale.motion.window import windowed
from upscale.pipeline import Enlarger, check_dirt, settled_sample
from upscale.planes import SPREAD, Planes
from upscale.sampling.memory import parse_size
from upscale.sampling.options import SampleOptions

Picture = TypeVar("Picture", NDArray[Any], Planes)
"""RGB [H, W, 3] or grey [H, W], uint8 or float in [0, 1]; or ``planes.Planes``: Y'CbCr as video has it."""

STRAY = 0.5
"""By how much floats may lie outside [0, 1]: further than any filter overshoots, and much less than 255."""

LAYOUTS = tuple(SUBSAMPLING[name] for name in ("444", "420", "422", "440", "411", "410"))
"""Of chroma, as they are tried: the rows and columns of a tiny picture may fit several."""

WANTED = "a picture is an array, RGB [H, W, 3] or grey [H, W], uint8 or float from 0 to 1"

NAME = re.compile(r"(?P<model>[a-z]+)-x(?P<scale>\d+(?:\.\d+)?)")


class Model:
    """A model at a scale, for pictures in memory.

    Threads may share one: they take turns, a picture at a time. It can be pickled, without its networks.
    """

    def __init__(self, name: str, scale: float, options: SampleOptions, dirt: float | None = None):
        """See ``load``."""
        self.name, self.scale = name, scale
        self._dirt = dirt
        self._model, self._options = find_model(name), options
        self._model.stages(scale)
        self._opened: dict[bool, tuple[object, Enlarger]] = {}
        """Without and with the spread: for planes of which shapes, and the networks."""
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.scale, self._options, self._dirt)

    @classmethod
    def load(
        cls,
        name: str = "clean-x4",
        *,
        temperature: float | None = None,
        denoise: float | None = None,
        dirt: float | str | None = None,
        seed: int = 0,
        device: str = "auto",
        precision: str = "auto",
        tile: int = 0,
        memory: int | str | None = None,
        batch: int = 1,
        threads: int = 0,
    ) -> Self:
        """The model of that ``name``, MODEL-xSCALE: film-x4, clean-x2, mean-x3 and so on.

        What else may be asked for is the command's. Weights are loaded with the first picture. Raises
        UsageError for a name that there is not."""
        match = NAME.fullmatch(name)
        if match is None:
            raise UsageError(
                f"no model is called {name!r}; write MODEL-xSCALE, such as film-x4 or clean-x2"
            )
        scale = float(match["scale"])
        if not 1 <= scale <= 8:
            raise UsageError(f"a scale of {scale:g} is out of range: take 1 to 8")
        given = checked(
            {
                "temperature": temperature,
                "denoise": denoise,
                "dirt": dirt,
                "seed": seed,
                "device": device,
                "precision": precision,
                "tile": tile,
                "memory": parse_size(memory) if isinstance(memory, str) else memory,
                "batch": batch,
                "threads": threads,
            }
        )
        removed = given.pop("dirt")
        options = SampleOptions(model=match["model"], **given)
        check_dirt(removed, options)
        return cls(match["model"], scale, settled_sample(options, picture=True), removed)

    def __call__(self, picture: Picture) -> Picture:
        """The picture, larger: of the same kind and dtype, from its own pixels alone."""
        (larger,) = self.frames([picture])
        return larger

    def frames(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Frames of a film, in order, larger: each as soon as the model has seen those beside it.

        All of one size and kind. ``film`` reads six frames on each side, so it answers that much later.
        """
        given = iter(pictures)
        for first in given:
            kind = _Kind.of(first)
            break
        else:
            return
        head = kind.planes(first)

        def planes() -> Iterator[Planes]:
            yield head
            for picture in given:
                if _Kind.of(picture) != kind:
                    raise UsageError("the frames of a film are all of one size, kind and dtype")
                yield kind.planes(picture)

        enlarger = self._open(kind, spread=False)
        shown = planes()
        if enlarger.window:
            judged = self._options.denoise is None
            shown = windowed(shown, radius=enlarger.window, dirt=self._dirt, judged=judged)
        for window in shown:
            yield kind.picture(enlarger.begin(window)())

    def uncertainty(self, picture: Picture) -> NDArray[np.float32]:
        """How far each pixel of the larger picture may be from the truth, [H, W], judged from that picture
        alone: a standard deviation, in units of the luma range (times 255 for 8-bit levels).

        Raises UsageError of a model that cannot tell."""
        if not self._model.has_spread:
            raise UsageError(f"{self.name} does not tell how sure it is; film and clean do")
        kind = _Kind.of(picture)
        planes = kind.planes(picture)
        enlarger = self._open(kind, spread=True)
        if enlarger.window:
            (planes,) = windowed([planes], radius=enlarger.window, judged=self._options.denoise is None)
        levels: NDArray[np.float32] = np.exp2(enlarger.begin(planes)()[0][SPREAD]) / np.float32(255)
        return levels

    def _open(self, kind: "_Kind", spread: bool) -> Enlarger:
        """The networks for pictures of that size and layout, as they were opened last if that suits."""
        place = kind.size, kind.layout
        with self._opening:
            if spread not in self._opened or self._opened[spread][0] != place:
                options = replace(self._options, spread=spread)
                target = round(kind.size[0] * self.scale), round(kind.size[1] * self.scale)
                enlarger = self._model.open(kind.size, target, kind.layout, True, options)
                self._opened[spread] = place, enlarger
            return self._opened[spread][1]


def _layout(planes: Planes) -> tuple[int, int] | None:
    """Luma pixels per chroma sample (across, down); None for grey. Raises UsageError for chroma that no
    video has."""
    if len(planes) == 1:
        return None
    height, width = planes[0].shape[1:]
    for across, down in LAYOUTS:
        if planes[1].shape == (2, -(-height // down), -(-width // across)):
            return across, down
    raise UsageError(f"chroma of {list(planes[1].shape)} does not go with luma of {list(planes[0].shape)}")


def _floats(values: NDArray[Any]) -> NDArray[np.float32]:
    """A copy, whatever the floats that came in. Raises UsageError for what no picture holds."""
    with np.errstate(over="ignore"):  # to infinity, which is told below
        floats = np.array(values, np.float32, order="C")
    low, high = floats.min(), floats.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise UsageError("the picture holds NaN or infinity; replace them first")
    if low < -STRAY or high > 1 + STRAY:
        raise UsageError(f"a picture of floats goes from 0 to 1, and this one from {low:g} to {high:g}")
    return floats


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a picture that came in is read, and how the larger one is to be given back."""

    dtype: np.dtype[Any]
    channels: int
    """3 for RGB, 1 for grey, 0 for planes."""
    shapes: tuple[tuple[int, ...], ...]
    layout: tuple[int, int] | None
    """Of chroma in its planes: luma pixels per sample (across, down); None for grey."""

    @classmethod
    def of(cls, picture: Any) -> Self:
        """Raises UsageError for what is no picture."""
        if not isinstance(picture, tuple | np.ndarray):
            raise UsageError(f"{WANTED}; not {type(picture).__name__}")
        if isinstance(picture, tuple):
            arrays = all(isinstance(p, np.ndarray) and p.ndim == 3 and p.dtype.kind == "f" for p in picture)
            if not arrays or len(picture) not in (1, 2) or len(picture[0]) != 1 or not picture[0].size:
                raise UsageError(
                    "planes are a tuple of floats: luma [1, H, W], and chroma [2, h, w] unless grey"
                )
            return cls(np.dtype(np.float32), 0, tuple(plane.shape for plane in picture), _layout(picture))
        dtype, shape = picture.dtype, picture.shape
        is_rgb = len(shape) == 3 and shape[-1] == 3
        if (dtype != np.uint8 and dtype.kind != "f") or not picture.size or not (is_rgb or len(shape) == 2):
            raise UsageError(f"{WANTED}; not {dtype} {list(shape)}")
        return cls(dtype, 3 if is_rgb else 1, (shape,), (1, 1) if is_rgb else None)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.shapes[0][1:] if self.channels == 0 else self.shapes[0][:2]
        return height, width

    def planes(self, picture: Any) -> Planes:
        """The picture as float planes."""
        if self.channels == 0:
            return tuple(map(_floats, picture))  # copies: the caller's may change
        if self.dtype != np.uint8:
            picture = _floats(picture)
        if self.channels == 1:
            grey = np.asarray(picture, np.float32) / np.float32(255 if self.dtype == np.uint8 else 1)
            return (np.ascontiguousarray(grey.clip(0, 1))[np.newaxis],)
        if self.dtype == np.uint8:
            return to_planes(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))
        codes = np.round(picture.clip(0, 1) * np.float32(65535)).astype(np.uint16)
        return to_planes(av.VideoFrame.from_ndarray(codes, format="rgb48le"))

    def picture(self, planes: Planes) -> Any:
        """Larger planes as a picture of this kind."""
        if self.channels == 0:
            return tuple(plane.copy() for plane in planes)  # the enlarger keeps its own
        if self.channels == 1:
            return self._finished(planes[0][0])
        frame = from_planes(planes, PixelFormat(16, False, (1, 1)))
        height, width = self.size
        frame.colorspace = guessed_matrix(width, height)
        if self.dtype == np.uint8:
            return np.asarray(frame.reformat(format="rgb24").to_ndarray(), np.uint8)
        codes = frame.reformat(format="rgb48le").to_ndarray()
        return (codes.astype(np.float64) / 65535).astype(self.dtype)

    def _finished(self, grey: NDArray[np.float32]) -> Any:
        grey = np.clip(grey, 0, 1)
        return np.round(grey * 255).astype(np.uint8) if self.dtype == np.uint8 else grey.astype(self.dtype)
