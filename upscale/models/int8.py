"""Residual blocks in 8-bit integers: up to four times as many products as of floats on CPUs with dot
products of them (VNNI), and nearly twice as many on others with AVX2.

Quantised after training: weights symmetrically for each output channel, features for each tensor, by the
ranges that ``observing`` saw. Between the blocks features stay float32, so that rounding does not add up.
Sums of integers are exact: unlike with floats, the number of threads or tiles changes nothing.

Without VNNI two products are added up in 16 bits, which stop at 32,767. There weights get so few steps that
no two of an output channel reach it: features keep all of their 255.
"""

import contextlib
import functools
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upscale.models.conditioning import Conditioning, ResidualBlock

ZERO = 128
"""The code of zero where features are signed."""

OCTAVES = (-12, 12)
"""Powers of two between which sizes of features are told apart."""

BINS = 16
"""Sizes that are told apart in an octave."""

WIDE, PAIRS = 32, 16
"""Bits that products are added up in: all of them, or two at a time before they join the others."""

LARGEST, LARGEST_PAIR = 127, 32767 // 255 - 1
"""Codes of one weight, and of two in ``PAIRS`` before they are rounded: 128 x 255 still fits."""

CUT = 16.0
"""How much more the squared error of what a range cuts off counts than that of rounding, which comes out of
a sum as often too large as too small."""

ONES = [1, 1]
"""Stride, padding and dilation of a 3x3 convolution, as oneDNN wants them."""


class Int8Conv:
    """A 3x3 convolution of uint8 codes with int8 weights, by oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor, scale: float, zero: int, sums: int):
        """The codes mean ``(code - zero) * scale``; weight [out, in, 3, 3] and bias are float32. ``sums``
        is WIDE or PAIRS."""
        self._scale, self._zero, self._bias = scale, zero, bias
        largest = weight.abs().flatten(1).topk(2).values.clamp(min=1e-8)
        self._weight_scale = largest[:, 0] / LARGEST
        if sums == PAIRS:  # any two: which ones meet is oneDNN's affair
            self._weight_scale = self._weight_scale.maximum(largest.sum(1) / LARGEST_PAIR)
        self._weight_zero = torch.zeros(len(weight), dtype=torch.int64)
        codes = torch.round(weight / self._weight_scale[:, None, None, None]).to(torch.int8)
        self._packed = torch.ops.onednn.qconv_prepack(
            codes, self._weight_scale, scale, zero, ONES, ONES, ONES, 1, None
        )

    def rectified(self, codes: Tensor, scale: float) -> Tensor:
        """relu(convolution), as uint8 codes of ``scale`` each."""
        return torch.ops.onednn.qconv2d_pointwise(
            *self._arguments(codes), self._bias, ONES, ONES, ONES, 1, scale, 0, torch.uint8, "relu", [], ""
        )

    def plain(self, codes: Tensor) -> Tensor:
        """The convolution, float32."""
        return torch.ops.onednn.qconv2d_pointwise(
            *self._arguments(codes), self._bias, ONES, ONES, ONES, 1, 1.0, 0, torch.float32, "none", [], ""
        )

    def _arguments(self, codes: Tensor) -> tuple[Any, ...]:
        return codes, self._scale, self._zero, self._packed, self._weight_scale, self._weight_zero


class Int8Block(nn.Module):
    """A ``ResidualBlock`` in integers, within a rounding of it. Inference only."""

    def __init__(self, block: ResidualBlock, sums: int):
        """``sums`` as of ``Int8Conv``."""
        super().__init__()
        outer, inner, known = block.ranges.tolist()
        self._outer, self._inner = outer / (ZERO - 1), inner / 255
        weight, bias = block.first.weight, block.first.bias
        assert bias is not None
        self._known = 0.0
        if block.known is not None:
            # What is known joins the features: its weights make up for a scale of its own.
            self._known = known / (ZERO - 1)
            weight = torch.cat([weight, block.known.weight * (self._known / self._outer)], 1)
            assert block.known.bias is not None
            bias = bias + block.known.bias
        assert block.second.bias is not None
        self._first = Int8Conv(weight, bias, self._outer, ZERO, sums)
        self._second = Int8Conv(block.second.weight, block.second.bias, self._inner, 0, sums)

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        codes = _codes(x, self._outer)
        if known is not None:
            codes = torch.cat([codes, _codes(known, self._known)], 1)
        # Not as oneDNN's sum: PyTorch copies what that has summed.
        return self._second.plain(self._first.rectified(codes, self._inner)).add_(x)


class SteadyConv(nn.Module):
    """A convolution of floats by oneDNN, whatever the size of the picture.

    For less than 20,480 numbers PyTorch takes another routine, which sums in another order: a tile's
    features would differ from the frame's in the last bit, and here and there fall on another code.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self._conv = conv

    def forward(self, x: Tensor) -> Tensor:
        conv = self._conv
        return torch.ops.aten.mkldnn_convolution(x, conv.weight, conv.bias, conv.padding, ONES, ONES, 1)


def _codes(features: Tensor, scale: float) -> Tensor:
    """Signed features as uint8 codes around ZERO, channels last; those beyond the range stop at its end."""
    features = features.contiguous(memory_format=torch.channels_last)
    quantised = torch.quantize_per_tensor(features, scale, ZERO, torch.quint8)
    # The same bytes as plain integers; int_repr would copy them.
    plain = torch.empty(0, dtype=torch.uint8)
    return plain.set_(quantised.untyped_storage(), 0, quantised.shape, quantised.stride())


def has_vnni() -> bool:
    """Whether this CPU has dot products of 8-bit integers that add up in 32 bits, in vectors of 512."""
    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    return supported is not None and bool(supported())


@functools.cache
def int8_sums() -> int:
    """Bits that convolutions of this CPU and PyTorch add up products of 8-bit integers in, WIDE or PAIRS; 0
    where there are none, or none that are faster than floats.

    Found by trying the largest products: what a CPU can do is not all, as oneDNN may be told to do less.
    """
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return 0
    ones = torch.ones(16, 16, 3, 3)
    features = torch.full((1, 16, 8, 8), (255 - ZERO) / (ZERO - 1))
    for sums in (WIDE, PAIRS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the operators may move to another package one day
                conv = Int8Conv(ones, torch.zeros(16), 1 / (ZERO - 1), ZERO, sums)
                answer = conv.plain(_codes(features, 1 / (ZERO - 1)))
        except (AttributeError, RuntimeError):  # other versions may take other arguments
            return 0
        if torch.allclose(answer, F.conv2d(features, ones, padding=1), rtol=0.02):  # cut off, it is half
            return sums
    return 0


def calibrated(network: Conditioning) -> bool:
    """Whether the network was ever observed, and so has ranges."""
    blocks = itertools.chain(*network.residual_blocks)
    return all(isinstance(block, ResidualBlock) and bool(block.ranges[:2].all()) for block in blocks)


def quantise(network: Conditioning) -> None:
    """Put integers in the place of a calibrated network's blocks, where ``int8_sums`` is not 0."""
    assert isinstance(network.enter, nn.Conv2d)
    network.enter = SteadyConv(network.enter)
    if isinstance(network.enter_context, nn.Conv2d) and isinstance(network.leave_context, nn.Conv2d):
        network.enter_context = SteadyConv(network.enter_context)
        network.leave_context = SteadyConv(network.leave_context)
    for chain in network.residual_blocks:
        for index, block in enumerate(chain):
            assert isinstance(block, ResidualBlock)
            chain[index] = Int8Block(block, int8_sums())


class Spread:
    """How often features of each size were met, and the range of codes that suits them best."""

    def __init__(self) -> None:
        self._counts = torch.zeros((OCTAVES[1] - OCTAVES[0]) * BINS)

    def note(self, features: Tensor) -> None:
        """Count features of any shape; zeros cost nothing, and do not count."""
        sizes = features[features != 0].abs().log2_().clamp_(OCTAVES[0], OCTAVES[1])
        self._counts += sizes.float().histc(len(self._counts), *OCTAVES)

    def best_range(self, codes: int) -> float:
        """The range, in so many codes, that makes the squared error of rounding and cutting off, ``CUT``
        times, least.

        0 if nothing was noted. The largest values alone would make the steps coarse for all the others.
        """
        if not self._counts.any():
            return 0.0
        edges = OCTAVES[0] + torch.arange(1, len(self._counts) + 1) / BINS
        sizes, ranges = 2 ** (edges - 0.5 / BINS), 2 ** edges[:, None]
        rounded = torch.minimum(sizes**2, (ranges / codes) ** 2 / 12)
        errors = torch.where(sizes < ranges, rounded, CUT * (sizes - ranges) ** 2) @ self._counts
        return float(ranges[errors.argmin()])


@contextlib.contextmanager
def observing(network: Conditioning) -> Iterator[None]:
    """Note all that the network computes meanwhile, and set the ranges of its blocks by it."""
    hooks, spreads = [], []
    for block in itertools.chain(*network.residual_blocks):
        assert isinstance(block, ResidualBlock)
        outer, inner, known = each = Spread(), Spread(), Spread()
        spreads.append((block, each))
        for layer, spread in ((block.first, outer), (block.second, inner), (block.known, known)):
            if layer is not None:
                hooks.append(
                    layer.register_forward_pre_hook(lambda _, inputs, to=spread: to.note(inputs[0]))
                )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    for block, (outer, inner, known) in spreads:
        # Inner features that are never positive add nothing: any range will do.
        found = outer.best_range(ZERO - 1), inner.best_range(255) or 1.0, known.best_range(ZERO - 1)
        block.ranges.copy_(torch.tensor(found))
