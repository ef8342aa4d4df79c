"""The model without a network: every pixel repeated. Knows no torch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from upscale.planes import Box, Planes
from upscale.sampling.options import SampleOptions


class Nearest:
    """Planes of any size in, the nearest pixel's value at each place of ``target`` (height, width) out.

    The arguments are an ``Upscaler``'s.
    """

    def __init__(
        self,
        source: tuple[int, int],
        target: tuple[int, int],
        subsampling: tuple[int, int] | None,
        chroma_left: bool,
        options: SampleOptions,
    ):
        across, down = subsampling or (1, 1)
        height, width = target
        self._sizes = [target, (-(-height // down), -(-width // across))]

    ahead = window = reused = reused_tiles = 0
    notes: frozenset[str] = frozenset()
    arithmetic = ""

    def begin(self, planes: Planes, time: int = 0) -> Callable[[], Planes]:
        """As of an ``Upscaler``."""
        return lambda: self(planes)

    def detail(self, planes: Planes, box: Box) -> Planes:
        """As of an ``Upscaler``."""
        height, width = planes[0].shape[1:]
        cut = []
        for plane, (rows, columns) in zip(self(planes), self._sizes, strict=False):
            down, across = rows / height, columns / width
            top, left = round(box.top * down), round(box.left * across)
            high, wide = round(box.height * down), round(box.width * across)
            cut.append(plane[:, top : top + high, left : left + wide])
        return tuple(cut)

    def __call__(self, planes: Planes) -> Planes:
        return tuple(_nearest(plane, size) for plane, size in zip(planes, self._sizes, strict=False))


def _nearest(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, plane.shape[1:], strict=True))
    return plane[:, rows[:, None], columns]
