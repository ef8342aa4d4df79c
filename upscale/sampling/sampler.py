"""What draws the luma of a frame with a network: the seam between networks and frames.

A family of weights names its sampler in the catalogue. The upscaler gives it whole frames, noise, and the
means to go through them in tiles; how often, over which windows, and what the noise is made into is the
sampler's to say."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from upscale.sampling.tiles import Cut


class Tiled(Protocol):
    """Runs something over a frame in tiles, in the upscaler's precision; those that are as before stay."""

    def __call__(
        self, name: str, run: Callable[..., Tensor], inputs: list[tuple[Tensor, int]], cut: Cut
    ) -> Tensor:
        """``run``'s answer to the frame, from its answers to windows of the ``inputs``: see ``Tiles.run``.

        Each pass of a sampler over its frames has a ``name`` of its own."""


class Sampler(Protocol):
    """Draws the luma of one stage's frames."""

    def __init__(self, network: Any, temperature: float, spread: bool = False):
        """``spread`` is for a model that ``has_spread`` alone."""

    def laid_out(self, uniform: Tensor) -> Tensor:
        """Uniform numbers in (0, 1), (1, 1, scale*H, scale*W), as ``__call__`` wants to have them."""

    def __call__(self, low: Tensor, noise: Tensor | None, tiled: Tiled) -> Tensor:
        """The luma of a frame, (1, 1, scale*H, scale*W) float32, of what its network reads, (1, planes, H,
        W); ``noise`` may be None at temperature 0. With ``spread`` a plane more: see ``planes.SPREAD``."""
