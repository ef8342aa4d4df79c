"""Training of the luma and chroma networks from a folder of pictures.

Deterministic for a seed on one machine: batch number i depends on the seed and i only, and so does the
dequantisation noise. A checkpoint holds all that a later run needs to go on as if nothing had happened.
"""

import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from upscale.errors import UpscaleError
from upscale.lab.dataset import Crops, downsample, load_pictures
from upscale.lab.metrics import psnr
from upscale.models import weights
from upscale.models.chroma import ChromaConfig, ChromaNet
from upscale.models.luma import LumaConfig, LumaPixelCNN
from upscale.models.weights import Network
from upscale.sampling.multiscale import mean_luma, sample_luma

log = logging.getLogger(__name__)

MEAN_WEIGHT = 10.0
"""Weight of the mean head's error beside the likelihood in nats per pixel."""

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
    pictures: Path,
    validation: Path | None,
    output: Path,
    checkpoint: Path,
    initial: Path | None = None,
) -> Iterator[Progress]:
    """Train, or go on from ``checkpoint`` if it is there, and write the averaged weights to ``output``.

    ``initial`` names weights to begin with instead of random ones; they have to be of the same shape.

    Yields after every step. Raises UpscaleError for unusable pictures, or a checkpoint of other options.
    """
    if options.crop % options.scale:
        raise UpscaleError(f"a crop of {options.crop} is not a multiple of the scale, {options.scale}")
    planes = slice(0, 1) if options.kind == LumaPixelCNN.kind else slice(0, 3)
    crops = Crops(load_pictures(pictures, planes, options.crop), options.crop, options.batch, options.seed)
    held_out = load_pictures(validation, planes, options.crop) if validation else []
    torch.manual_seed(options.seed)
    network = _new_network(options)
    if initial is not None:
        begin = weights.load(initial)
        if begin.config != network.config:
            raise UpscaleError(f"{initial}: {begin.config} is not the network asked for, {network.config}")
        network.load_state_dict(begin.state_dict())
    network.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(options.average))
    optimizer = torch.optim.AdamW(
        network.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
    )
    state = {"network": network, "average": average, "optimizer": optimizer}
    done = _resume(checkpoint, options, state)
    pin = options.device.startswith("cuda")
    began = time.monotonic()
    for step, high in zip(range(done, options.steps), crops.batches(done), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * schedule(step, options.steps)
        high = (high.pin_memory() if pin else high).to(options.device, non_blocking=True)
        random = torch.Generator(options.device).manual_seed(options.seed * 1_000_003 + step)
        with torch.autocast(
            torch.device(options.device).type,
            getattr(torch, options.precision),
            enabled=options.precision != "float32",
        ):
            loss = loss_of(network, high, random)
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
            record = {**asdict(options), "steps_done": step + 1, "pictures": len(crops.pictures)}
            record["validation"] = scores or {}
            weights.save(output, _averaged(average), record)
        yield Progress(step + 1, loss.item(), time.monotonic() - began, scores)


def schedule(step: int, steps: int) -> float:
    """The share of the learning rate: a short linear rise, then a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / WARM_UP)
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def loss_of(network: Network, high: Tensor, random: torch.Generator) -> Tensor:
    """What training makes small, for either kind of network; ``high`` are its crops."""
    if isinstance(network, LumaPixelCNN):
        return luma_loss(network, high, random)
    return chroma_loss(network, high, random)


def luma_loss(network: LumaPixelCNN, high: Tensor, random: torch.Generator) -> Tensor:
    """Nats per pixel of the PixelCNN, plus the mean head's Charbonnier error; high : (N, 1, H, W)."""
    low = downsample(high, network.scale).contiguous(memory_format=torch.channels_last)
    cells = network.to_cells(high)
    mean, features = network.condition(low)
    error = torch.sqrt((cells - mean) ** 2 + 1e-6).mean()
    # An 8-bit level stands for an interval; noise over it keeps a continuous density finite.
    noise = (torch.rand(cells.shape, generator=random, device=cells.device) - 0.5) / 255
    residuals = cells - mean.detach() + noise
    log_density = sum(
        mixture.log_density(residuals[:, part]).sum()
        for part, mixture in network.mixtures(features, residuals)
    )
    return MEAN_WEIGHT * error - log_density / cells.numel()


def chroma_loss(network: ChromaNet, high: Tensor, random: torch.Generator) -> Tensor:
    """Charbonnier error of chroma; high : (N, 3, H, W).

    The guide is true luma mixed with upsampled luma in random parts, as a sampled frame's is neither.
    """
    low = downsample(high, network.scale)
    blurred = F.interpolate(low[:, :1], scale_factor=network.scale, mode="bicubic", align_corners=False)
    part = torch.rand((len(high), 1, 1, 1), generator=random, device=high.device)
    guide = torch.lerp(blurred, high[:, :1], part.sqrt())
    error = network(low[:, 1:], guide) - high[:, 1:]
    return torch.sqrt(error**2 + 1e-6).mean()


@torch.inference_mode()
def validate(network: Network, pictures: list[Tensor], size: int = 256) -> dict[str, float]:
    """PSNR in dB of the middles of all pictures together, against bicubic in the same run.

    Together, as some pictures are grey, and the PSNR of their chroma is as good as infinite.
    """
    network.eval()
    errors: dict[str, list[float]] = {}
    for picture in pictures:
        high = _middle(picture, size, network.scale).to(next(network.parameters()).device)
        low = downsample(high, network.scale)
        answers = _answers(network, low, high)
        for name, (answer, truth) in answers.items():
            errors.setdefault(name, []).append(10 ** (-psnr(answer.clamp(0, 1), truth) / 10))
    network.train()
    return {name: -10 * math.log10(sum(values) / len(values)) for name, values in errors.items()}


def _answers(network: Network, low: Tensor, high: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    def bicubic(planes: Tensor) -> Tensor:
        return F.interpolate(planes, scale_factor=network.scale, mode="bicubic", align_corners=False)

    if isinstance(network, ChromaNet):
        truth = high[:, 1:]
        return {
            "bicubic": (bicubic(low[:, 1:]), truth),
            "chroma": (network(low[:, 1:], high[:, :1]), truth),
        }
    return {
        "bicubic": (bicubic(low), high),
        "mean": (mean_luma(network, low), high),
        "temperature 0": (sample_luma(network, low, None, 0.0), high),
    }


def _middle(picture: Tensor, size: int, scale: int) -> Tensor:
    """The middle of [C, H, W] uint8 as [1, C, h, w] float, its sides multiples of ``scale``."""
    _, height, width = picture.shape
    h, w = min(size, height) // scale * scale, min(size, width) // scale * scale
    top, left = (height - h) // 2, (width - w) // 2
    return picture[None, :, top : top + h, left : left + w].float() / 255


def _new_network(options: TrainOptions) -> Network:
    if options.kind == LumaPixelCNN.kind:
        return LumaPixelCNN(LumaConfig(options.scale, options.channels, options.blocks))
    return ChromaNet(ChromaConfig(options.scale, options.channels))


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
