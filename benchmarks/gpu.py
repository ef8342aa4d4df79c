"""Frames a second on a GPU: models, sizes and arithmetics, compiled or not; the window there and here.

    python benchmarks/gpu.py                    # some five minutes on a card
    python benchmarks/gpu.py --device cpu --sizes 96x54 --arithmetic float32 --frames 2     # that it runs

Prints Markdown. "Of the peak" is the share of what the largest matrix product reaches in that arithmetic.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from upscale.models import weights
from upscale.models.catalog import find_model, find_stage
from upscale.motion.device import DeviceWindow
from upscale.motion.window import Seen, gather
from upscale.planes import Planes
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

WINDOW = 13
"""Frames that a window takes in."""


def frames(height: int, width: int, planes: int) -> Iterator[Planes]:
    """Frames that differ."""
    random = np.random.default_rng(0)
    while True:
        luma = random.random((planes, height, width), np.float32)
        yield luma, random.random((2, -(-height // 2), -(-width // 2)), np.float32)


def rate(work: Callable[[], object], count: int, device: torch.device) -> float:
    """Calls a second, the median of three rounds of ``count``."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work()
    rates = []
    for _ in range(3):
        wait()
        began = time.perf_counter()
        for _ in range(count):
            work()
        wait()
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates)


def peak(device: torch.device, arithmetic: str) -> float:
    """Multiply-accumulates a second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 1024
    matrix = torch.rand(side, side, device=device, dtype=getattr(torch, arithmetic))
    return rate(lambda: matrix @ matrix, 5, device) * side**3


def in_turn(model: Upscaler, source: Iterator[Planes]) -> Callable[[], object]:
    """One more frame; its answer is waited for when the next one has begun, as ``pipeline.run`` does."""
    begun: list[Callable[[], Planes]] = []

    def step() -> None:
        begun.append(model.begin(next(source), len(begun)))
        if len(begun) > model.ahead:
            begun.pop(0)()

    return step


def compiled(model: Upscaler) -> Upscaler:
    """Its networks compiled, and replayed as CUDA graphs."""
    for stage in model.stages:
        stage.luma.condition = torch.compile(stage.luma.condition, mode="reduce-overhead")  # type: ignore[method-assign]
        stage.chroma.forward = torch.compile(stage.chroma.forward, mode="reduce-overhead")  # type: ignore[method-assign]
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", nargs="+", default=["480x270", "720x576", "1920x1080"])
    parser.add_argument("--arithmetic", nargs="+", default=["float16", "bfloat16", "float32"])
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    sizes = [tuple(int(side) for side in size.split("x")) for size in chosen.sizes]
    print(f"PyTorch {torch.__version__} on {name}\n")
    print("| model | input | scale | arithmetic | frames/s | of the peak | compiled |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for arithmetic in chosen.arithmetic:
        best = peak(device, arithmetic)
        for width, height in sizes:
            for entry in ("clean", "film"):
                for scale in (2, 4):
                    stage = find_stage(find_model(entry).family(0), scale)
                    luma, chroma = (
                        weights.describe(one.path).multiplications for one in (stage.luma, stage.chroma)
                    )
                    options = SampleOptions(entry, device=chosen.device, precision=arithmetic)
                    target = height * scale, width * scale

                    def measured(change: Callable[[Upscaler], Upscaler]) -> float:
                        model = change(Upscaler((height, width), target, (2, 2), True, options))  # noqa: B023
                        source = frames(height, width, 5 if model.window else 1)  # noqa: B023
                        return rate(in_turn(model, source), chosen.frames, device)

                    plain = measured(lambda model: model)
                    cell = f"{measured(compiled):.1f}" if chosen.compile else ""
                    share = plain * (luma + chroma / 4) * width * height / best
                    what = f"{entry} | {width}x{height} | x{scale} | {arithmetic}"
                    print(f"| {what} | {plain:.1f} | {share:.0%} | {cell} |", flush=True)
    print("\n| window of | ms on the device | ms on the CPU |\n| --- | --- | --- |")
    for width, height in sizes:
        source = frames(height, width, 1)
        seen = [Seen.of(next(source)) for _ in range(WINDOW)]
        others = [(n - WINDOW // 2, one) for n, one in enumerate(seen) if n != WINDOW // 2]
        there, centre = DeviceWindow(device), seen[WINDOW // 2]
        times = [
            1000 / rate(lambda: window(centre, others, 0.5), max(chosen.frames // 4, 1), device)  # noqa: B023
            for window in (there, gather)
        ]
        print(f"| {width}x{height} | {times[0]:.1f} | {times[1]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
