"""How fast we are, against the networks that people use and against the machine itself, in one run.

The others are built here with the layer sizes that their authors publish, and random weights: a frame takes
the same time whatever the weights are.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from upscale.models import weights
from upscale.models.catalog import find_model, find_stage
from upscale.models.raster import PAPER, RasterPixelCNN
from upscale.motion.dirt import AUTO
from upscale.motion.window import windowed
from upscale.planes import Planes
from upscale.sampling.options import SampleOptions
from upscale.sampling.raster import draw
from upscale.sampling.upscaler import Upscaler

SIZES = ((270, 480), (576, 720))
"""Inputs: a quarter of 1080p, and PAL; height and width."""

OURS = (("clean", None, "auto"), ("clean", 0.0, "auto"), ("clean", None, "float32"), ("film", None, "auto"))
"""Models of ours, temperatures (None is the model's), precisions; the others are compared with the
first."""

PASSES = 16
"""Of naive raster sampling that are timed, one for a pixel, all alike."""

RASTER_PATCH = 8
"""Input pixels a side of the patch that naive raster sampling is timed on; time grows with the area."""


@dataclass(frozen=True, slots=True)
class Row:
    """One contender at one size."""

    name: str
    scale: int
    size: tuple[int, int]
    """Of the input, height and width."""
    seconds: float
    """For a frame, the median."""
    multiplications: int | None
    """Multiply-accumulates per input pixel."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The rows, and what the machine can do."""

    threads: int
    peak: float
    """Multiply-accumulates a second, float32, of the better of a matrix product and a convolution."""
    rows: list[Row]


def srvgg(features: int, layers: int, scale: int) -> nn.Sequential:
    """SRVGGNetCompact of Real-ESRGAN: 64x32 is realesr-general-x4v3, 64x16 realesr-animevideov3."""
    body: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
    for _ in range(layers):
        body += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
    return nn.Sequential(*body, nn.Conv2d(features, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))


def fsrcnn(scale: int, d: int = 56, s: int = 12, m: int = 4) -> nn.Sequential:
    """FSRCNN(d, s, m): Dong, Loy, Tang 2016, https://arxiv.org/abs/1608.00367; luma alone."""
    body: list[nn.Module] = [nn.Conv2d(1, d, 5, padding=2), nn.PReLU(d), nn.Conv2d(d, s, 1), nn.PReLU(s)]
    for _ in range(m):
        body += [nn.Conv2d(s, s, 3, padding=1), nn.PReLU(s)]
    body += [nn.Conv2d(s, d, 1), nn.PReLU(d)]
    return nn.Sequential(*body, nn.ConvTranspose2d(d, 1, 9, scale, padding=4, output_padding=scale - 1))


def bench(repeats: int = 5) -> Iterator[Bench]:
    """Time all of them, ``repeats`` rounds in turns; yields after every size, the last with all rows."""
    rows: list[Row] = []
    peak = _peak()
    for size in SIZES:
        for scale in (4, 2):
            contenders = list(_contenders(size, scale))
            times: dict[str, list[float]] = {name: [] for name, _, _ in contenders}
            for round_ in range(repeats + 1):
                for name, work, _ in contenders:
                    began = time.perf_counter()
                    work()
                    if round_:  # the first round fills the caches
                        times[name].append(time.perf_counter() - began)
            rows += [
                Row(name, scale, size, statistics.median(times[name]), cost) for name, _, cost in contenders
            ]
            peak = max(peak, _peak())
            yield Bench(torch.get_num_threads(), peak, rows)
    rows.append(_raster())
    yield Bench(torch.get_num_threads(), peak, rows)


def markdown(result: Bench) -> str:
    """The table: times, how many times as long as ours, and the share of the machine's peak."""
    lines = [
        f"{result.threads} threads; the machine's best in float32: {result.peak / 1e9:.0f} GMAC/s",
        "",
        "| network | input | scale | s/frame | against ours | kMAC/pixel | of the peak |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result.rows:
        ours = _ours(result, row)
        pixels = row.size[0] * row.size[1]
        cost = f"{row.multiplications / 1000:.0f}" if row.multiplications else ""
        share = row.multiplications * pixels / row.seconds / result.peak if row.multiplications else None
        cells = [
            row.name,
            f"{row.size[1]}x{row.size[0]}",
            f"x{row.scale}",
            f"{row.seconds:.3f}" if row.seconds < 100 else f"{row.seconds:.0f}",
            f"{row.seconds / ours:.2f}" if row.seconds / ours < 1000 else f"{row.seconds / ours:.0f}",
            cost,
            f"{share:.0%}" if share else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ours(result: Bench, row: Row) -> float:
    default = next(iter(result.rows)).name  # the first contender
    return next(
        other.seconds
        for other in result.rows
        if (other.name, other.scale, other.size) == (default, row.scale, row.size)
    )


def _contenders(
    size: tuple[int, int], scale: int
) -> Iterator[tuple[str, Callable[[], object], int | None]]:
    """Name, what to time, and multiply-accumulates per input pixel."""
    for name, temperature, precision in OURS:
        entry = find_model(name)
        chosen = entry.chosen_temperature(temperature)
        stage = find_stage(entry.family(0), scale)
        luma = weights.describe(stage.luma.path).multiplications
        cost = luma + weights.describe(stage.chroma.path).multiplications // 4  # chroma is 4:2:0
        target = (size[0] * scale, size[1] * scale)
        options = SampleOptions(name, chosen, precision=precision)
        model = Upscaler(size, target, (2, 2), True, options)
        suffix = ", float32" if precision == "float32" else ""
        row = f"upscale {name}, temperature {chosen:g}{suffix}"
        yield row, _next_frame(model, _film(size, model.window)), cost
    others = {
        "SRVGGNetCompact 64x32": (srvgg(64, 32, scale), 3),
        "SRVGGNetCompact 64x16": (srvgg(64, 16, scale), 3),
        "FSRCNN(56,12,4), luma alone": (fsrcnn(scale), 1),
    }
    for name, (network, planes) in others.items():
        picture = torch.rand(1, planes, *size)
        macs = sum(
            layer.weight.numel() for layer in network if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        )
        yield name, _inference(network.eval(), picture), macs


def _film(size: tuple[int, int], window: int) -> Iterator[Planes]:
    """Frames that differ, so that none is taken for the one before; aligned, where a window is asked
    for."""
    random = np.random.default_rng(0)
    chroma = (2, -(-size[0] // 2), -(-size[1] // 2))
    pictures: list[Planes] = [
        (random.random((1, *size), np.float32), random.random(chroma, np.float32)) for _ in range(2)
    ]
    if window:
        pictures = list(windowed(pictures, dirt=AUTO))
    while True:
        yield from pictures


def _next_frame(model: Upscaler, frames: Iterator[Planes]) -> Callable[[], object]:
    return lambda: model(next(frames))


def _inference(network: nn.Module, picture: Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return network(picture)

    return run


def _peak() -> float:
    """The best rate of a large matrix product and of a plain 64-channel convolution, in MAC/s."""
    matrix = torch.rand(2048, 2048)
    conv = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    picture = torch.rand(1, 64, 270, 480).contiguous(memory_format=torch.channels_last)
    work: list[tuple[Callable[[], object], int]] = [
        (lambda: matrix @ matrix, 2048**3),
        (_inference(conv, picture), 64 * 64 * 9 * 270 * 480),
    ]
    best = 0.0
    for run, cost in work:
        for _ in range(6):
            began = time.perf_counter()
            run()
            best = max(best, cost / (time.perf_counter() - began))
    return best


def _raster() -> Row:
    """Naive sampling by the paper's prior, a pass of all of it for each pixel, of a patch; scaled up to a
    frame."""
    network = RasterPixelCNN(PAPER).eval()
    side = RASTER_PATCH * 4
    levels, codes = torch.zeros(1, 1, side, side), torch.zeros(1, PAPER.features, side, side)
    began = time.perf_counter()
    with torch.inference_mode():
        for x in range(PASSES):
            logits = network.logits(network.hidden(levels), codes)[:, 0, x]
            levels[0, 0, 0, x] = draw(logits, torch.rand(1), 1.0)
    each = (time.perf_counter() - began) / PASSES
    height, width = SIZES[0]
    pixels = 16 * height * width
    # A pass for every pixel of the frame, each as long as the frame is large.
    whole = each * pixels * (pixels / side**2)
    return Row("naive raster PixelCNN of the paper's size, scaled up from 32x32", 4, SIZES[0], whole, None)
