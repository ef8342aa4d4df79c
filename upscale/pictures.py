"""The models for pictures in memory: see docs/api.md."""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Self, TypeVar

import av
import numpy as np
from numpy.typing import NDArray

from upscale.errors import UsageError
from upscale.media.pixels import PixelFormat, from_planes, guessed_matrix, to_planes
from upscale.models.catalog import find_model
from upscale.motion.window import windowed
from upscale.pipeline import Enlarger, settled_sample
from upscale.planes import SPREAD, Planes
from upscale.sampling.memory import parse_size
from upscale.sampling.options import SampleOptions

Picture = TypeVar("Picture", NDArray[Any], Planes)
"""RGB [H, W, 3] or grey [H, W], uint8 or float in [0, 1]; or ``planes.Planes``: Y'CbCr as video has it."""

NAME = re.compile(r"(?P<model>[a-z]+)-x(?P<scale>\d+(?:\.\d+)?)")


class Model:
    """A model at a scale, for pictures in memory."""

    def __init__(self, name: str, scale: float, options: SampleOptions):
        """See ``load``."""
        self.name, self.scale = name, scale
        self._model, self._options = find_model(name), options
        self._model.stages(scale)
        self._opened: tuple[object, Enlarger] | None = None

    @classmethod
    def load(
        cls,
        name: str = "clean-x4",
        *,
        temperature: float | None = None,
        denoise: float | None = None,
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
        options = SampleOptions(
            model=match["model"],
            temperature=temperature,
            denoise=denoise,
            seed=seed,
            device=device,
            precision=precision,
            tile=tile,
            memory=parse_size(memory) if isinstance(memory, str) else memory,
            batch=batch,
            threads=threads,
        )
        return cls(match["model"], scale, settled_sample(options, picture=True))

    def __call__(self, picture: Picture) -> Picture:
        """The picture, larger: of the same kind and dtype, from its own pixels alone."""
        (larger,) = self.frames([picture])
        return larger

    def frames(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Frames of a film, in order, larger: each as soon as the model has seen those beside it.

        All of one size and kind. ``film`` reads two frames on each side, so it answers that much later.
        """
        given = iter(pictures)
        first = next(given, None)
        if first is None:
            return
        kind = _Kind.of(first)
        planes = (kind.planes(picture) for picture in itertools.chain([first], given))
        head = next(planes)
        enlarger = self._open(head)
        rest = itertools.chain([head], planes)
        shown = windowed(rest, radius=enlarger.window) if enlarger.window else rest
        for window in shown:
            if window[0].shape[1:] != head[0].shape[1:]:
                raise UsageError("the frames of a film are all of one size")
            yield kind.picture(enlarger.begin(window)())

    def uncertainty(self, picture: Picture) -> NDArray[np.float32]:
        """How far each pixel of the larger picture may be from the truth, [H, W]: a standard deviation, in
        units of the luma range (times 255 for 8-bit levels). Raises UsageError of a model that cannot
        tell."""
        if not self._model.has_spread:
            raise UsageError(f"{self.name} does not tell how sure it is; film and clean do")
        options = replace(self._options, spread=True)
        planes = _Kind.of(picture).planes(picture)
        enlarger = _opened(self._model, planes, self.scale, options)
        if enlarger.window:
            (planes,) = windowed([planes], radius=enlarger.window)
        levels: NDArray[np.float32] = np.exp2(enlarger.begin(planes)()[0][SPREAD]) / np.float32(255)
        return levels

    def _open(self, planes: Planes) -> Enlarger:
        shape = tuple(plane.shape for plane in planes)
        if self._opened is None or self._opened[0] != shape:
            self._opened = shape, _opened(self._model, planes, self.scale, self._options)
        return self._opened[1]


def _opened(model: Any, planes: Planes, scale: float, options: SampleOptions) -> Enlarger:
    height, width = planes[0].shape[1:]
    layout = None
    if len(planes) > 1:
        layout = -(-width // planes[1].shape[2]), -(-height // planes[1].shape[1])
    target = round(height * scale), round(width * scale)
    enlarger: Enlarger = model.open((height, width), target, layout, True, options)
    return enlarger


class _Kind:
    """How a picture that came in is read, and how the larger one is to be given back."""

    def __init__(self, dtype: np.dtype[Any], channels: int, matrix: int):
        self._dtype, self._channels, self._matrix = dtype, channels, matrix

    @classmethod
    def of(cls, picture: Any) -> Self:
        """Raises UsageError for what is no picture."""
        if isinstance(picture, tuple):
            if not picture or picture[0].ndim != 3 or picture[0].shape[0] != 1:
                raise UsageError("planes are a tuple: luma [1, H, W], and chroma [2, h, w] unless grey")
            return cls(np.dtype(np.float32), 0, 0)
        known = picture.dtype == np.uint8 or picture.dtype.kind == "f"
        channels = {2: 1, 3: picture.shape[-1] if picture.ndim == 3 else 0}.get(picture.ndim, 0)
        if not known or channels not in (1, 3) or (picture.ndim == 3 and channels == 1):
            raise UsageError(
                f"a picture is RGB [H, W, 3] or grey [H, W], uint8 or float, not {picture.dtype}"
                f" {list(picture.shape)}"
            )
        return cls(picture.dtype, channels, int(guessed_matrix(picture.shape[1], picture.shape[0])))

    def planes(self, picture: Any) -> Planes:
        """The picture as float planes."""
        if self._channels == 0:
            return tuple(np.ascontiguousarray(plane, np.float32) for plane in picture)
        if self._channels == 1:
            grey = np.asarray(picture, np.float32) / np.float32(255 if self._dtype == np.uint8 else 1)
            return (np.ascontiguousarray(grey)[np.newaxis],)
        if self._dtype == np.uint8:
            return to_planes(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))
        codes = np.round(np.clip(picture, 0, 1) * 65535).astype(np.uint16)
        return to_planes(av.VideoFrame.from_ndarray(codes, format="rgb48le"))

    def picture(self, planes: Planes) -> Any:
        """Larger planes as a picture of this kind."""
        if self._channels == 0:
            return planes
        if self._channels == 1:
            return self._finished(planes[0][0])
        frame = from_planes(planes, PixelFormat(16, False, (1, 1)))
        frame.colorspace = self._matrix
        if self._dtype == np.uint8:
            return np.asarray(frame.reformat(format="rgb24").to_ndarray(), np.uint8)
        codes = frame.reformat(format="rgb48le").to_ndarray()
        return (codes.astype(np.float64) / 65535).astype(self._dtype)

    def _finished(self, grey: NDArray[np.float32]) -> Any:
        grey = np.clip(grey, 0, 1)
        return (
            np.round(grey * 255).astype(np.uint8) if self._dtype == np.uint8 else grey.astype(self._dtype)
        )
