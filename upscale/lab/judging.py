"""Teaching the judge of film networks how far a frame is from the clean picture that it was."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from upscale.errors import UpscaleError
from upscale.lab.shards import SIDE, Shards
from upscale.lab.train import schedule
from upscale.models import weights
from upscale.models.judge import OCTAVES, Judge
from upscale.models.luma import LumaPixelCNN
from upscale.planes import WINDOW

BATCH = 32
LEARNING_RATE = 2e-3

CLEAR = 0.1
"""Errors of a judgement below this are weighed by their square, those above by their size."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How well the judge did at a step: mean absolute errors of the damage, in octaves of the frame's
    error; ``held_out`` where it was measured."""

    step: int
    taught: float
    held_out: float | None = None


def teach_judge(paths: Sequence[Path], lessons: Path, validation: Path, steps: int) -> Iterator[Verdict]:
    """Teach the judge of the first of ``paths`` on the shards in ``lessons``, and give it to all of them.

    Deterministic. Raises UpscaleError for weights without a judge."""
    networks = [_with_judge(path) for path in paths]
    judge = networks[0].judge
    assert judge is not None
    judge.train().requires_grad_(True)
    shards = Shards(lessons, LumaPixelCNN.kind, networks[0].scale, SIDE * networks[0].scale, BATCH)
    examined = Shards(validation, LumaPixelCNN.kind, networks[0].scale, SIDE * networks[0].scale, 1)
    held_out = [_case(batch.low) for batch in examined.held_out()]
    optimizer = torch.optim.AdamW(judge.parameters(), LEARNING_RATE, weight_decay=1e-3)
    for step, batch in zip(range(steps), shards.batches(), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * schedule(step, steps)
        window, told = _case(batch.low)
        judged = judge(window)
        loss = F.smooth_l1_loss(judged, told, beta=CLEAR)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = step + 1 == steps
        yield Verdict(step + 1, _octaves(judged, told), _examined(judge, held_out) if last else None)
    judge.eval().requires_grad_(False)
    for path, network in zip(paths, networks, strict=True):
        network.judge = judge
        weights.save(path, network, weights.describe(path).training)


def _with_judge(path: Path) -> LumaPixelCNN:
    network = weights.load(path)
    if not isinstance(network, LumaPixelCNN) or network.judge is None:
        raise UpscaleError(f"{path}: only film networks for luma have a judge")
    return network


def _case(low: Tensor) -> tuple[Tensor, Tensor]:
    """What a judge sees of the planes, and what it should say."""
    place = WINDOW.index("damage")
    return low[:, :place], low[:, place].mean((1, 2))


def _octaves(judged: Tensor, told: Tensor) -> float:
    return float((judged.detach() - told).abs().mean()) * OCTAVES


@torch.no_grad()
def _examined(judge: Judge, held_out: Sequence[tuple[Tensor, Tensor]]) -> float:
    errors = [_octaves(judge(window), told) for window, told in held_out]
    return math.fsum(errors) / len(errors)
