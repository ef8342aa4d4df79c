"""Cutting a frame into tiles that a network can take one by one, and putting the answers together.

A tile's window reaches beyond it by the halo, the receptive field, as far as the frame goes::

    +-----------------------+        Windows all have one shape, so that they batch; at the border of the
    | window   .........    |        frame a window is moved inward, never padded. So where the
    |          . tile  .    |        frame ends, the network meets its own zero padding, as it does with
    |          .........    |        the whole frame, and elsewhere real pixels: tiled equals whole.
    +-----------------------+
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, in input pixels: where its window starts, and the part it answers for."""

    window: int
    start: int
    stop: int


def spans(length: int, tile: int, halo: int) -> tuple[int, list[Span]]:
    """The length of every window along an axis, and the tiles that cover ``length``; ``tile`` 0 is one."""
    if tile <= 0 or tile + 2 * halo >= length:
        return length, [Span(0, 0, length)]
    window = tile + 2 * halo
    return window, [
        Span(min(max(start - halo, 0), length - window), start, min(start + tile, length))
        for start in range(0, length, tile)
    ]


def run_tiled(
    network: Callable[..., Tensor],
    inputs: list[tuple[Tensor, int]],
    scale: int,
    tile: int,
    halo: int,
    batch: int,
) -> Tensor:
    """Apply ``network`` window by window, ``batch`` windows at a time.

    inputs : planes (1, C, k*H, k*W), each with its k: 1 for a plane at the input's resolution (the first
    one is), ``scale`` for one at the output's. Returns (1, C', scale*H, scale*W), on the inputs' device.
    """
    height, width = inputs[0][0].shape[2:]
    (high, rows), (wide, columns) = spans(height, tile, halo), spans(width, tile, halo)
    if len(rows) == len(columns) == 1:
        return network(*(plane for plane, _ in inputs))
    result: Tensor | None = None
    places = list(product(rows, columns))
    for first in range(0, len(places), batch):
        group = places[first : first + batch]
        windows = [
            torch.cat(
                [
                    plane[:, :, r.window * k :, c.window * k :][:, :, : high * k, : wide * k]
                    for r, c in group
                ]
            )
            for plane, k in inputs
        ]
        answers = network(*windows)
        if result is None:
            result = answers.new_empty((1, answers.shape[1], height * scale, width * scale))
        for answer, (r, c) in zip(answers, group, strict=True):
            inside = answer[
                :,
                (r.start - r.window) * scale : (r.stop - r.window) * scale,
                (c.start - c.window) * scale : (c.stop - c.window) * scale,
            ]
            result[0, :, r.start * scale : r.stop * scale, c.start * scale : c.stop * scale] = inside
    assert result is not None
    return result
