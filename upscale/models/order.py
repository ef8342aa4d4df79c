"""The order in which the pixels of a cell are sampled.

An input pixel becomes a *cell* of scale x scale output pixels. All cells of a picture are sampled at
once; inside a cell the pixels come in a few steps, coarse to fine, after Reed et al., "Parallel
Multiscale Autoregressive Density Estimation" (2017), https://arxiv.org/abs/1703.03664.
"""

Step = tuple[tuple[int, int], ...]
"""Positions (row, column) inside the cell whose pixels are sampled together."""


def cell_order(scale: int) -> tuple[Step, ...]:
    """The steps for a cell of ``scale`` x ``scale`` pixels; ``scale`` is a power of two.

    Each halving of the stride adds the centres of the squares known so far, then their edges. For
    x4 that makes 5 steps of 1, 1, 2, 4 and 8 pixels, numbered here where they stand in the cell::

        0 4 2 4
        4 3 4 3
        2 4 1 4
        4 3 4 3

    Raises ValueError for a scale that is not a power of two of at least 2.
    """
    if scale < 2 or scale & (scale - 1):
        raise ValueError(f"the multiscale order needs a scale of 2, 4, 8 …, not {scale}")
    steps: list[Step] = [((0, 0),)]
    stride = scale
    while stride > 1:
        half = stride // 2
        corners = [(y, x) for y in range(0, scale, stride) for x in range(0, scale, stride)]
        steps.append(tuple((y + half, x + half) for y, x in corners))
        steps.append(tuple((y + half, x) for y, x in corners) + tuple((y, x + half) for y, x in corners))
        stride = half
    return tuple(steps)


def raster_index(scale: int) -> list[int]:
    """For each pixel of the cell in the order of the steps, its index ``row * scale + column``."""
    return [y * scale + x for step in cell_order(scale) for y, x in step]
