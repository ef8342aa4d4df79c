"""Cutting a frame into tiles that a network can take one by one, and putting the answers together.

A tile's window reaches beyond it by the halo, the receptive field, as far as the frame goes::

    +-----------------------+        Windows all have one shape, so that they batch; at the border of the
    | window   .........    |        frame a window is moved inward, never padded. So where the
    |          . tile  .    |        frame ends, the network meets its own zero padding, as it does with
    |          .........    |        the whole frame, and elsewhere real pixels: tiled equals whole.
    +-----------------------+
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Halo(NamedTuple):
    """Input pixels that a window reaches beyond its tile, on each side."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def all_around(cls, pixels: int) -> "Halo":
        return cls(pixels, pixels, pixels, pixels)


class Windowed(Protocol):
    """A network that sees so far, from windows that begin at a multiple of ``grid``."""

    @property
    def scale(self) -> int: ...
    @property
    def receptive_field(self) -> int: ...
    @property
    def grid(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """How what works on tiles wants its frames cut."""

    scale: int
    """Output pixels a side of an input pixel."""
    halo: Halo
    grid: int = 1
    """A tile's window begins at a multiple of this, in input pixels."""
    is_seamless: bool = True
    """Whether tiles answer as the whole frame does. If not, there are none unless they are asked for: what
    comes out is not to depend on the memory."""
    is_exact: bool = False
    """Whether the answer is the same to the bit whatever the batch, on a CPU too."""

    @classmethod
    def of(cls, network: "Windowed") -> "Cut":
        """What a network asks for that is to answer to tiles as to the whole frame."""
        return cls(network.scale, Halo.all_around(network.receptive_field), network.grid)


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, in input pixels: where its window starts, and the part it answers for."""

    window: int
    start: int
    stop: int


def spans(length: int, tile: int, halo: tuple[int, int], grid: int = 1) -> tuple[int, list[Span]]:
    """The length of every window along an axis, and the tiles that cover ``length``.

    Tiles are as long as one another, give or take, and ``tile`` at most; 0 is a single one. Every window
    begins at a multiple of ``grid``, and so do tiles; so far a window reaches before and after its tile,
    ``halo``, are multiples too."""
    before, after = halo
    if tile > 0:
        tile = math.ceil(length / math.ceil(length / tile))
        tile = max(tile // grid, 1) * grid if tile % grid else tile
        # As far from a multiple as the length is, so that the last window ends where the picture does.
        window = tile + before + after + (length - tile) % grid
    if tile <= 0 or window >= length:
        return length, [Span(0, 0, length)]
    return window, [
        Span(min(max(start - before, 0), length - window), start, min(start + tile, length))
        for start in range(0, length, tile)
    ]


class Tiles:
    """Takes the frames of a film through a network window by window, ``batch`` windows at a time.

    A tile whose window is, bit for bit, what it was in the frame before keeps its answer.
    """

    def __init__(self, cut: Cut, tile: tuple[int, int], batch: int = 1, reuse: bool = True):
        """``tile`` is the height and the width of a tile in input pixels, at most; 0 is the whole frame's.

        Without ``reuse`` no tile is compared with the one before, which on a GPU means to wait for it.
        """
        self._cut, self._tile, self._batch, self._reuse = cut, tile, batch, reuse
        self._size = (0, 0)
        self._inputs: list[Tensor] = []
        self._answer: Tensor | None = None
        self.computed = self.reused = 0
        """Tiles that went through the network so far, and those that kept their answer."""

    def run(self, network: Callable[..., Tensor], inputs: list[tuple[Tensor, int]]) -> Tensor:
        """The network's answer to a frame, (1, C', scale*H, scale*W), on the device; not to be changed.

        inputs : planes (1, C, k*H, k*W), each with its k: 1 for a plane at the input's resolution,
        ``scale`` for one at the output's.
        """
        first, k = inputs[0]
        height, width = (length // k for length in first.shape[2:])
        if self._size != (height, width):  # nothing of a frame of another size
            self._inputs, self._size = [], (height, width)
        halo, grid = self._cut.halo, self._cut.grid
        high, rows = spans(height, self._tile[0], (halo.top, halo.bottom), grid)
        wide, columns = spans(width, self._tile[1], (halo.left, halo.right), grid)
        places = list(product(rows, columns))

        def windows(planes: list[Tensor], place: tuple[Span, Span]) -> list[Tensor]:
            y, x = place[0].window, place[1].window
            return [
                plane[:, :, y * k : (y + high) * k, x * k : (x + wide) * k]
                for plane, (_, k) in zip(planes, inputs, strict=True)
            ]

        planes = [plane for plane, _ in inputs]
        before, answer = self._inputs, self._answer
        changed = [
            place
            for place in places
            if not before or not _same(windows(before, place), windows(planes, place))
        ]
        if self._reuse:
            self._inputs = planes
        self.reused += len(places) - len(changed)
        if not changed:
            assert answer is not None
            return answer
        self._answer = None  # of no use if what follows fails
        answer = answer.clone() if answer is not None and len(changed) < len(places) else None
        if len(places) == 1:
            answer = network(*planes)
        else:
            for start in range(0, len(changed), self._batch):
                group = changed[start : start + self._batch]
                stacked = [
                    torch.cat(parts)
                    for parts in zip(*(windows(planes, place) for place in group), strict=True)
                ]
                answer = self._put(network(*stacked), group, (height, width), answer)
        self.computed += len(changed)
        if self._reuse:
            self._answer = answer
        assert answer is not None
        return answer

    def halve(self) -> bool:
        """Make the tiles half as large, for want of memory; False if they are too small already."""
        height, width = (tile or length for tile, length in zip(self._tile, self._size, strict=True))
        if min(height, width) < 2 * max(self._cut.halo):
            return False
        self._inputs, self._tile = [], (height // 2, width // 2)
        return True

    def _put(
        self, answers: Tensor, group: list[tuple[Span, Span]], size: tuple[int, int], result: Tensor | None
    ) -> Tensor:
        scale = self._cut.scale
        if result is None:
            result = answers.new_empty((1, answers.shape[1], size[0] * scale, size[1] * scale))
        for answer, (r, c) in zip(answers, group, strict=True):
            inside = answer[
                :,
                (r.start - r.window) * scale : (r.stop - r.window) * scale,
                (c.start - c.window) * scale : (c.stop - c.window) * scale,
            ]
            result[0, :, r.start * scale : r.stop * scale, c.start * scale : c.stop * scale] = inside
        return result


def _same(before: list[Tensor], now: list[Tensor]) -> bool:
    return all(
        one.data_ptr() == other.data_ptr() or torch.equal(one, other)
        for one, other in zip(before, now, strict=True)
    )
