"""The machine of the raster samplers: pixels that do not depend on each other are drawn together.

A pixel depends on the rows above it as far as ``reach`` columns to its right. So each row may follow the
one above at a distance of ``slope``, reach + 1 columns or more, and the pixels of a slanted *front* are
drawn at once, in all pictures of the batch::

    row 0   . . . . . . . . . . . . x        x: this step's pixels
    row 1   . . . x                          .: drawn before; the slope is 9
    row 2

That takes about W + slope * H steps in place of W * H. With a slope of W the front is a single pixel.

Every feature is computed once and kept, as soon as the pixels that it depends on are there. The vertical
stack leads: its layers read to their right as well, so of L layers after the first, layer l is
(L - l) * (kernel // 2) columns ahead of the pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from upscale.models.raster import (
    INPUT_UNIT,
    UNIT,
    CodeConv,
    GatedLayer,
    RasterPixelCNN,
    gated,
    hidden_codes,
    joined,
)

Draw = Callable[[Tensor, Tensor | None], Tensor]
"""Levels (M), of logits (M, LEVELS) and uniform numbers (M)."""


@dataclass(frozen=True, slots=True)
class _Front:
    """The places of one step: row y at column ``column - slope * y``, of some rows of all pictures."""

    rows: range
    column: int
    slope: int


class _Plane:
    """Numbers for all pixels, [row, picture, column, feature], zeros around them, read along fronts."""

    def __init__(
        self, size: tuple[int, int, int, int], like: Tensor, top: int = 0, sides: tuple[int, int] = (0, 0)
    ):
        """``size`` is without the zeros: ``top`` rows, and ``sides`` columns on the left and the right."""
        rows, pictures, columns, features = size
        left, right = sides
        self._all = like.new_zeros(top + rows, pictures, left + columns + right, features)
        self.inside = self._all[top:, :, left : left + columns]
        self._origin = top, left
        self._pictures, (self._row, self._picture, self._column, _) = pictures, self._all.stride()

    def _along(self, front: _Front, rows: range, columns: range) -> Tensor:
        """A view of what lies so far below and beside each place: [front's row, picture, rows, columns *
        features]."""
        row, column = self._row, self._column
        first = front.rows.start
        y, x = self._origin[0] + first, self._origin[1] + front.column - front.slope * first
        return self._all.as_strided(
            (len(front.rows), self._pictures, len(rows), len(columns) * column),
            # The way to the next row of a front does not matter where there is none.
            (max(row - front.slope * column, 0), self._picture, row, 1),
            (y + rows.start) * row + (x + columns.start) * column,
        )

    def around(self, front: _Front, rows: range, columns: range) -> Tensor:
        """What lies so far below and beside each place, (M, rows * columns * features)."""
        view = self._along(front, rows, columns)
        return view.reshape(len(front.rows) * self._pictures, -1)

    def at(self, front: _Front) -> Tensor:
        """The numbers of each place, (M, features)."""
        return self.around(front, range(1), range(1))

    def put(self, front: _Front, numbers: Tensor) -> None:
        """Set the first features of each place, to numbers for all of them."""
        view = self._along(front, range(1), range(1))
        numbers = numbers.view(*view.shape[:3], -1)
        view[..., : numbers.shape[3]] = numbers


class _Matrix:
    """A masked convolution at single places: codes (M, K) in, answers (M, outputs) float32 out."""

    def __init__(self, conv: CodeConv, *parts: Tensor, like: Tensor):
        """``parts`` of its weight's codes, [outputs, inputs, rows, columns], in the order of K."""
        _, self._scale, self._offset = conv.codes()
        ordered = [part.permute(0, 2, 3, 1).flatten(1) for part in parts]
        self._weight = torch.cat(ordered, 1).T.to(like.dtype).contiguous()
        self._product = torch._int_mm if like.dtype == torch.int8 else torch.mm

    def __call__(self, codes: Tensor) -> Tensor:
        return (self._product(codes, self._weight) * self._scale).add_(self._offset)


class _Layer:
    """A gated layer of the prior, and its codes so far."""

    def __init__(self, layer: GatedLayer, rows: _Plane, pixels: _Plane, lead: int):
        """Of the planes ``rows`` and ``pixels``, what its stacks read; the vertical one is ``lead`` columns
        ahead."""
        self.lead = lead
        self._joins = not layer.is_first
        up, across = layer.vertical.weight.shape[2:]
        half, features = across // 2, len(layer.vertical.weight) // 2
        own = 0 if layer.is_first else 1  # whether it sees the pixel itself
        self._above, self._beside = range(1 - up, own), range(-half, half + 1)
        self._before = range(-half, own)
        vertical, horizontal = layer.vertical.codes()[0], layer.horizontal.codes()[0]
        parts = horizontal[:, :-features, :, : half + own], horizontal[:, -features:, :, -1:]
        self._vertical = _Matrix(layer.vertical, vertical[:, :, : up - 1 + own], like=rows.inside)
        self._horizontal = _Matrix(layer.horizontal, *parts, like=rows.inside)
        self._inputs = rows, pixels
        size = *rows.inside.shape[:3], features
        self.rows = _Plane(size, rows.inside, half, (half, half))
        self.pixels = _Plane(size, rows.inside, 0, (half, 0))

    def see_above(self, front: _Front) -> None:
        """The vertical stack's turn."""
        rows, _ = self._inputs
        codes = gated(self._vertical(rows.around(front, self._above, self._beside)))
        self.rows.put(front, joined(rows.at(front), codes) if self._joins else codes)

    def see_beside(self, front: _Front) -> None:
        """The horizontal stack's turn."""
        _, pixels = self._inputs
        seen = torch.cat([pixels.around(front, range(1), self._before), self.rows.at(front)], 1)
        codes = gated(self._horizontal(seen))
        self.pixels.put(front, joined(pixels.at(front), codes) if self._joins else codes)


class Wavefront:
    """The prior of a network at work on some pictures, its weights as matrices."""

    def __init__(self, network: RasterPixelCNN, codes: Tensor, int8: bool):
        """codes : Tensor, shape = (N, features, H, W), of ``RasterPixelCNN.conditioned``. With ``int8``
        they are added up as bytes, else as floats."""
        n, features, height, width = codes.shape
        self._reach = network.reach
        like = torch.empty(0, dtype=torch.int8 if int8 else torch.float32, device=codes.device)
        self._known = _Plane((height, n, width, features), like)
        self._known.inside.copy_(codes.permute(2, 0, 3, 1))
        self._levels = _Plane((height, n, width, 1), like.short())
        half = network.config.first // 2
        self._read = rows = pixels = _Plane((height, n, width, 2), like, half, (half, half))
        self._read.inside[..., 1] = INPUT_UNIT
        self._layers: list[_Layer] = []
        for after in reversed(range(len(network.prior))):
            layer = network.prior[len(self._layers)]
            assert isinstance(layer, GatedLayer)
            self._layers.append(_Layer(layer, rows, pixels, after * (network.config.kernel // 2)))
            rows, pixels = self._layers[-1].rows, self._layers[-1].pixels
        self._hidden = _Matrix(network.to_hidden, network.to_hidden.codes()[0], like=like)
        self._logits = _Matrix(network.to_logits, network.to_logits.codes()[0], like=like)

    def run(self, uniform: Tensor | None, draw: Draw, slope: int) -> Tensor:
        """Draw all pixels, in fronts of that slope: levels, (N, 1, H, W) int16.

        uniform : Tensor, shape = (N or 1, 1, H, W), numbers for ``draw``."""
        height, n, width, _ = self._levels.inside.shape
        if slope <= self._reach:
            raise ValueError(f"rows that follow each other by {slope} columns would miss what they need")
        noise = None
        if uniform is not None:
            noise = _Plane((height, n, width, 1), uniform)
            noise.inside.copy_(uniform.permute(2, 0, 3, 1))
        for column in range(-self._layers[0].lead, width + slope * (height - 1)):
            for layer in self._layers:
                front = self._front(column + layer.lead, slope)
                if front.rows:
                    layer.see_above(front)
            front = self._front(column, slope)
            if not front.rows:
                continue
            for layer in self._layers:
                layer.see_beside(front)
            levels = draw(self._answer(front), None if noise is None else noise.at(front)[:, 0])
            self._levels.put(front, levels)
            self._read.put(front, levels.clamp(-UNIT, UNIT))
        return self._levels.inside.permute(1, 3, 0, 2)

    def _front(self, column: int, slope: int) -> _Front:
        """With all the rows whose place is in the picture; none before the first column or after the
        last."""
        height, _, width, _ = self._levels.inside.shape
        first, last = -(-(column - width + 1) // slope), column // slope
        return _Front(range(max(first, 0), min(last, height - 1) + 1), column, slope)

    def _answer(self, front: _Front) -> Tensor:
        """The logits of each place, (M, LEVELS)."""
        hidden = hidden_codes(self._hidden(self._layers[-1].pixels.at(front)))
        known = self._known.at(front)
        return self._logits(torch.cat([hidden.to(known.dtype), known], 1))
