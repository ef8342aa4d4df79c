"""Training of the networks, from a folder of pictures or of shards (see ``shards``).

Deterministic for a seed on one machine: batch number i depends on the seed and i only, and so does the
dequantisation noise. A checkpoint holds all that a later run needs to go on as if nothing had happened.
"""

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from upscale.errors import UpscaleError
from upscale.lab.courses import COURSES, Course, TrainOptions
from upscale.lab.metrics import psnr
from upscale.lab.shards import Shards
from upscale.models import weights
from upscale.models.weights import Network

log = logging.getLogger(__name__)

FIRST = "enter.weight"
"""The layer that reads the planes."""

WARM_UP = 200
"""Steps until the learning rate has risen to its full height."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has to tell after a step; ``validation`` in dB of PSNR where it was measured."""

    step: int
    loss: float | None = None
    validation: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run reads and writes."""

    lessons: Sequence[Path]
    """Folders of pictures or of shards, or films: what ``Course.lessons`` takes."""
    output: Path
    """The averaged weights, as they are at every checkpoint."""
    checkpoint: Path
    validation: Sequence[Path] = ()
    """Measured and never trained on."""
    initial: Sequence[Path] = ()
    """Weights to begin with instead of random ones, the later before the earlier; they may be of another
    scale, or of a smaller network: what does not fit begins anew."""
    best: Path | None = None
    """The averaged weights that were best at validation."""


def train(options: TrainOptions, places: Places) -> Iterator[Progress]:
    """Train, or go on from the checkpoint if it is there.

    Yields after every step, and may be closed between two: that writes a checkpoint. Raises UpscaleError
    for unusable pictures, or a checkpoint of other options.
    """
    for path in (*places.lessons, *places.validation, *places.initial):
        if not path.exists():
            raise UpscaleError(f"{path}: no such file or folder")
    course = COURSES[options.kind]
    taught = course.lessons(places.lessons, options)
    held_out = list(course.held_out(places.validation, options)) if places.validation else []
    torch.manual_seed(options.seed)
    network = course.network(options, taught)
    for path in places.initial:
        _begin_with(network, path)
    network.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(options.average))
    optimizer = torch.optim.AdamW(
        network.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
    )
    state = {"network": network, "average": average, "optimizer": optimizer}
    done = _resume(places.checkpoint, options, state)
    pin = options.device.startswith("cuda")
    what = "scenes" if isinstance(taught, Shards) else "pictures"
    if not done and places.best is not None:
        places.best.unlink(missing_ok=True)  # of another run
    best = _best_so_far(places.best, course)
    for step, batch in zip(range(done, options.steps), taught.batches(done), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * schedule(step, options.steps)
        batch = batch.map(
            lambda part: (part.pin_memory() if pin else part).to(options.device, non_blocking=True)
        )
        random = torch.Generator(options.device).manual_seed(options.seed * 1_000_003 + step)
        with options.autocast:
            loss = course.loss(network, batch, random, options)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        last = step + 1 == options.steps
        scores = None
        if held_out and (last or (step + 1) % options.validate_every == 0):
            scores = validate(course, _averaged(average), held_out)
        record = {**asdict(options), "steps_done": step + 1, what: len(taught), "validation": scores or {}}
        if places.best is not None and scores is not None and scores[course.decisive] > best:
            best = scores[course.decisive]
            weights.save(places.best, _averaged(average), record)
        if last or (step + 1) % options.checkpoint_every == 0:
            # The weights first: with the checkpoint of the last step, the run counts as ended.
            weights.save(places.output, _averaged(average), record)
            _write_checkpoint(places.checkpoint, options, step + 1, state)
        try:
            yield Progress(step + 1, loss.item(), scores)
        except GeneratorExit:
            _write_checkpoint(places.checkpoint, options, step + 1, state)
            raise


def steps_done(checkpoint: Path, options: TrainOptions) -> int:
    """How many steps a run has behind it, by its checkpoint; 0 without one.

    Raises UpscaleError if it is damaged, or of other options."""
    return int(_read_checkpoint(checkpoint, options, "cpu")["step"]) if checkpoint.exists() else 0


def schedule(step: int, steps: int) -> float:
    """The share of the learning rate: a short linear rise, then a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / WARM_UP)
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


@torch.inference_mode()
def validate(course: Course, network: Network, held_out: list[Any]) -> dict[str, float]:
    """PSNR in dB, rounded to 8 bit, against what needs no training in the same run: of the error of all
    batches together where the course is ``pooled``, else the mean over them."""
    network.eval()
    found: dict[str, list[float]] = {}
    device = next(network.parameters()).device
    for batch in held_out:
        answers = course.answers(network, batch.map(lambda part: part.to(device)))
        for name, (answer, truth) in answers.items():
            rounded = answer.clamp(0, 1).mul(255).round().div(255)
            found.setdefault(name, []).append(psnr(rounded, truth))
    network.train()
    return {name: _pooled(values) if course.pooled else fmean(values) for name, values in found.items()}


def _pooled(decibels: list[float]) -> float:
    return -10 * math.log10(fmean(10 ** (-value / 10) for value in decibels))


def _best_so_far(path: Path | None, course: Course) -> float:
    """The score of the weights that an earlier run found best; without any, nothing is worse."""
    if path is None or not path.exists():
        return -math.inf
    return float(weights.describe(path).training["validation"][course.decisive])


def _begin_with(network: Network, path: Path) -> None:
    """Take over what fits of the weights of ``path``: those of the same name and shape.

    A first layer that reads fewer planes fits too: the rest of them begin at zero. Raises UpscaleError if
    there is nothing to take over.
    """
    begin, state = weights.load(path).state_dict(), network.state_dict()
    fitting = {
        name: value for name, value in begin.items() if name in state and value.shape == state[name].shape
    }
    first, own = begin.get(FIRST), state.get(FIRST)
    if first is not None and own is not None and len(first) == len(own) and first.shape[1] < own.shape[1]:
        fitting[FIRST] = torch.zeros_like(own)
        fitting[FIRST][:, : first.shape[1]] = first
    if not any(name.endswith("weight") for name in fitting):
        raise UpscaleError(f"{path}: none of its layers is one of {network.config}")
    network.load_state_dict(state | fitting)
    log.info("%s: %d of %d tensors taken over", path, len(fitting), len(begin))


def _averaged(average: AveragedModel) -> Network:
    network = average.module
    assert isinstance(network, Network)
    return network


def _write_checkpoint(path: Path, options: TrainOptions, step: int, state: dict) -> None:
    partial = path.with_suffix(".part")
    content = {name: part.state_dict() for name, part in state.items()}
    with partial.open("wb") as file:
        torch.save({"options": json.dumps(asdict(options)), "step": step, **content}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _read_checkpoint(path: Path, options: TrainOptions, device: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises whatever its readers do
        raise UpscaleError(f"{path}: damaged ({error}); remove it to begin anew") from error
    # Options that are newer than the checkpoint had their defaults.
    if {**asdict(TrainOptions()), **json.loads(content["options"])} != asdict(options):
        raise UpscaleError(f"{path}: from a run with other options; rename it, or remove it to begin anew")
    return content


def _resume(path: Path, options: TrainOptions, state: dict) -> int:
    """Load what the checkpoint holds into ``state``, and answer with the steps it has behind it."""
    if not path.exists():
        return 0
    content = _read_checkpoint(path, options, options.device)
    for name, part in state.items():
        part.load_state_dict(content[name])
    log.info("going on from %s at step %d", path, content["step"])
    return int(content["step"])
