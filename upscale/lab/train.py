"""Training of the luma and chroma networks, from a folder of pictures or of shards (see ``shards``).

Deterministic for a seed on one machine: batch number i depends on the seed and i only, and so does the
dequantisation noise. A checkpoint holds all that a later run needs to go on as if nothing had happened.
"""

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from upscale.errors import UpscaleError
from upscale.lab.dataset import Batch, Crops, Lessons, downsample, load_pictures
from upscale.lab.metrics import psnr
from upscale.lab.shards import Shards
from upscale.models import weights
from upscale.models.chroma import ChromaConfig, ChromaNet
from upscale.models.luma import LumaConfig, LumaPixelCNN
from upscale.models.mixture import LOG_SCALE_START, Mixture
from upscale.models.weights import Network
from upscale.motion.window import RADIUS
from upscale.planes import WINDOW
from upscale.sampling.multiscale import mean_luma, sample_luma

log = logging.getLogger(__name__)

MEAN_WEIGHT = 10.0
"""Weight of the mean head's error beside the likelihood in nats per pixel."""

FIRST = "enter.weight"
"""The layer that reads the planes."""

EASY = 1 / 255
"""Added to the errors of samples before their geometric mean: flat ones would count for all."""

WARM_UP = 200
"""Steps until the learning rate has risen to its full height."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One training run; ``crop`` is in pixels of the high-resolution picture."""

    kind: str = "luma"
    scale: int = 4
    steps: int = 20_000
    batch: int = 16
    crop: int = 128
    learning_rate: float = 3e-3
    average: float = 0.999
    """Decay of the exponential average of the weights, per step; the average is what ships."""
    seed: int = 0
    device: str = "cpu"
    precision: str = "bfloat16"
    """Of the convolutions; weights, mean and likelihood stay float32."""
    channels: int = 32
    blocks: int = 6
    likelihood: float = 1.0
    """Weight of the likelihood in the loss, beside MEAN_WEIGHT for the mean head's error."""
    balance: float = 0.0
    """From 0 to 1, how far every pixel's likelihood is weighed by the scale that the network gives it: 0
    lets the surest pixels have the most to say, 1 makes all errors count alike. The beta-NLL of Seitzer et
    al. 2022, https://arxiv.org/abs/2203.09168, whose beta is half of it."""
    lead: float = 1.0
    """How much of the likelihood's gradient reaches the trunk; the mean head's error teaches it as well."""
    geometric: bool = False
    """Take the geometric mean of a batch's errors, as PSNR in dB does when it is averaged: samples that can
    be restored well count as much as those that cannot."""
    context: int = 0
    context_channels: int = 64
    checkpoint_every: int = 500
    validate_every: int = 2_000


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has to tell after a step; ``validation`` in dB of PSNR where it was measured."""

    step: int
    loss: float
    seconds: float
    validation: dict[str, float] | None = None


def train(
    options: TrainOptions,
    lessons: Path,
    validation: Path | None,
    output: Path,
    checkpoint: Path,
    initial: Sequence[Path] = (),
) -> Iterator[Progress]:
    """Train, or go on from ``checkpoint`` if it is there, and write the averaged weights to ``output``.

    ``initial`` names weights to begin with instead of random ones, the later before the earlier; they may
    be of another scale, or of a smaller network: what does not fit begins anew.

    Yields after every step. Raises UpscaleError for unusable pictures, or a checkpoint of other options.
    """
    if options.crop % options.scale:
        raise UpscaleError(f"a crop of {options.crop} is not a multiple of the scale, {options.scale}")
    taught = find_lessons(lessons, options)
    held_out = list(find_lessons(validation, options).held_out()) if validation else []
    torch.manual_seed(options.seed)
    network = _new_network(options, window=isinstance(taught, Shards))
    for path in initial:
        _begin_with(network, path)
    network.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(options.average))
    optimizer = torch.optim.AdamW(
        network.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
    )
    state = {"network": network, "average": average, "optimizer": optimizer}
    done = _resume(checkpoint, options, state)
    pin = options.device.startswith("cuda")
    began = time.monotonic()
    for step, batch in zip(range(done, options.steps), taught.batches(done), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * schedule(step, options.steps)
        low, high = (
            (part.pin_memory() if pin else part).to(options.device, non_blocking=True)
            for part in (batch.low, batch.high)
        )
        random = torch.Generator(options.device).manual_seed(options.seed * 1_000_003 + step)
        with torch.autocast(
            torch.device(options.device).type,
            getattr(torch, options.precision),
            enabled=options.precision != "float32",
        ):
            loss = loss_of(network, Batch(low, high), random, options)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        last = step + 1 == options.steps
        scores = None
        if held_out and (last or (step + 1) % options.validate_every == 0):
            scores = validate(_averaged(average), held_out)
        if last or (step + 1) % options.checkpoint_every == 0:
            _write_checkpoint(checkpoint, options, step + 1, state)
            what = "scenes" if isinstance(taught, Shards) else "pictures"
            record = {**asdict(options), "steps_done": step + 1, what: len(taught)}
            record["validation"] = scores or {}
            weights.save(output, _averaged(average), record)
        yield Progress(step + 1, loss.item(), time.monotonic() - began, scores)


def schedule(step: int, steps: int) -> float:
    """The share of the learning rate: a short linear rise, then a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / WARM_UP)
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def find_lessons(folder: Path, options: TrainOptions) -> Lessons:
    """What a folder has to teach: its shards if there are any, else its pictures. Raises UpscaleError."""
    if any(folder.glob("*.safetensors")):
        return Shards(folder, options.kind, options.scale, options.crop, options.batch, options.seed)
    planes = slice(0, 1) if options.kind == LumaPixelCNN.kind else slice(0, 3)
    pictures = load_pictures(folder, planes, options.crop)
    return Crops(pictures, options.scale, options.crop, options.batch, options.seed)


def loss_of(network: Network, batch: Batch, random: torch.Generator, options: TrainOptions) -> Tensor:
    """What training makes small, for either kind of network."""
    if isinstance(network, LumaPixelCNN):
        return luma_loss(network, batch, random, options)
    return chroma_loss(network, batch, random)


def luma_loss(
    network: LumaPixelCNN, batch: Batch, random: torch.Generator, options: TrainOptions
) -> Tensor:
    """Nats per pixel of the PixelCNN, plus the mean head's Charbonnier error."""
    cells = network.to_cells(batch.high)
    mean, features = network.condition(batch.low.contiguous(memory_format=torch.channels_last))
    errors = torch.sqrt((cells - mean) ** 2 + 1e-6).mean((1, 2, 3))
    error, weight = errors.mean(), torch.ones_like(errors)
    if options.geometric:
        error = (errors + EASY).log().mean().exp()
        weight = error.detach() / (errors.detach() + EASY)
    # An 8-bit level stands for an interval; noise over it keeps a continuous density finite.
    noise = (torch.rand(cells.shape, generator=random, device=cells.device) - 0.5) / 255
    residuals = cells - mean.detach() + noise
    if options.lead < 1:
        features = torch.lerp(features.detach(), features, options.lead)
    log_density = sum(
        (_balanced(mixture, residuals[:, part], options.balance) * weight.view(-1, 1, 1, 1)).sum()
        for part, mixture in network.mixtures(features, residuals)
    )
    return MEAN_WEIGHT * error - options.likelihood * log_density / cells.numel()


def _balanced(mixture: Mixture, residuals: Tensor, balance: float) -> Tensor:
    """The log density of each pixel, weighed by its scale: see ``TrainOptions.balance``."""
    log_density = mixture.log_density(residuals)
    if not balance:
        return log_density
    return log_density * (balance * (mixture.log_scale.detach() - LOG_SCALE_START)).exp()


def chroma_loss(network: ChromaNet, batch: Batch, random: torch.Generator) -> Tensor:
    """Charbonnier error of chroma.

    The guide is true luma mixed with upsampled luma in random parts, as a sampled frame's is neither.
    """
    true = batch.high[:, :1]
    small = downsample(true, network.scale)
    blurred = F.interpolate(small, scale_factor=network.scale, mode="bicubic", align_corners=False)
    part = torch.rand((len(true), 1, 1, 1), generator=random, device=true.device)
    guide = torch.lerp(blurred, true, part.sqrt())
    error = network(batch.low, guide) - batch.high[:, 1:]
    return torch.sqrt(error**2 + 1e-6).mean()


@torch.inference_mode()
def validate(network: Network, held_out: list[Batch]) -> dict[str, float]:
    """PSNR in dB of all batches together, against bicubic in the same run.

    Together, as some pictures are grey, and the PSNR of their chroma is as good as infinite.
    """
    network.eval()
    errors: dict[str, list[float]] = {}
    device = next(network.parameters()).device
    for batch in held_out:
        answers = _answers(network, batch.low.to(device), batch.high.to(device))
        for name, (answer, truth) in answers.items():
            errors.setdefault(name, []).append(10 ** (-psnr(answer.clamp(0, 1), truth) / 10))
    network.train()
    return {name: -10 * math.log10(sum(values) / len(values)) for name, values in errors.items()}


def _answers(network: Network, low: Tensor, high: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    def bicubic(planes: Tensor) -> Tensor:
        return F.interpolate(planes, scale_factor=network.scale, mode="bicubic", align_corners=False)

    if isinstance(network, ChromaNet):
        truth = high[:, 1:]
        return {"bicubic": (bicubic(low), truth), "chroma": (network(low, high[:, :1]), truth)}
    seen = {"bicubic": (bicubic(low[:, :1]), high)}
    if low.shape[1] > 1:
        seen["bicubic of the merge"] = (bicubic(low[:, 1:2]), high)
    return seen | {
        "mean": (mean_luma(network, low), high),
        "temperature 0": (sample_luma(network, low, None, 0.0), high),
    }


def _new_network(options: TrainOptions, window: bool) -> Network:
    if options.kind == ChromaNet.kind:
        return ChromaNet(ChromaConfig(options.scale, options.channels))
    seen = {"frames": 2 * RADIUS + 1, "planes": WINDOW} if window else {}
    return LumaPixelCNN(
        LumaConfig(
            options.scale,
            options.channels,
            options.blocks,
            context=options.context,
            context_channels=options.context_channels,
            **seen,  # type: ignore[arg-type]
        )
    )


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


def _averaged(average: AveragedModel) -> Network:
    network = average.module
    assert isinstance(network, LumaPixelCNN | ChromaNet)
    return network


def _write_checkpoint(path: Path, options: TrainOptions, step: int, state: dict) -> None:
    partial = path.with_suffix(".part")
    content = {name: part.state_dict() for name, part in state.items()}
    torch.save({"options": json.dumps(asdict(options)), "step": step, **content}, partial)
    partial.replace(path)


def _resume(path: Path, options: TrainOptions, state: dict) -> int:
    """Load what the checkpoint holds into ``state``, and answer with the steps it has behind it."""
    if not path.exists():
        return 0
    content = torch.load(path, map_location=options.device, weights_only=True)
    if json.loads(content["options"]) != asdict(options):
        raise UpscaleError(f"{path}: from a run with other options; name another --checkpoint or remove it")
    for name, part in state.items():
        part.load_state_dict(content[name])
    log.info("going on from %s at step %d", path, content["step"])
    return int(content["step"])
