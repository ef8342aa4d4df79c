"""What there is to be trained: for each kind of network its lessons, its loss and its examination."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from upscale.color.film import check_installed
from upscale.errors import UpscaleError, UsageError
from upscale.lab.colors import Album, ColorLessons, Sample
from upscale.lab.dataset import SOFT, Batch, Lessons, Loading, downsample, load_crops, whole_pictures
from upscale.lab.shards import Shards
from upscale.models import palette
from upscale.models.chroma import ChromaConfig, ChromaNet
from upscale.models.color import ColorConfig, ColorNet, Hints, color_order
from upscale.models.luma import LumaConfig, LumaPixelCNN
from upscale.models.mixture import LOG_SCALE_START, Mixture, log_odds
from upscale.models.raster import RasterConfig, RasterPixelCNN, cross_entropy, level_of
from upscale.models.weights import Network
from upscale.planes import REACH, WINDOW
from upscale.sampling.multiscale import mean_luma, sample_luma
from upscale.sampling.noise import uniform_noise

MEAN_WEIGHT = 10.0
"""Weight of the mean head's error beside the likelihood in nats per pixel."""

INEXACT = 0.008
"""Deviation of what is known from the truth, as a sampled colour is never quite the true one."""

REHEARSED = 0.5
"""Temperature at which ranges of features are set beside 0. A full sample strays much further: room for it
would make the steps coarse for all the others."""

EASY = 1 / 255
"""Added to the errors of samples before their geometric mean: flat ones would count for all."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One training run; ``crop`` is in pixels of the high-resolution picture."""

    kind: str = "luma"
    scale: int = 4
    """How much larger; colour networks enlarge nothing, and have none."""
    steps: int = 20_000
    batch: int = 16
    crop: int = 128
    learning_rate: float = 3e-3
    average: float = 0.999
    """Decay of the exponential average of the weights, per step; the average is what ships."""
    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"
    """Of the convolutions; weights, mean and likelihood stay float32. ``auto`` is bfloat16 where GPU
    or oneDNN multiply that, else float32: a CPU with AVX2 alone takes thirteen times as long for it."""
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
    reduction: float = 1.0
    """Pictures are made smaller by a random factor from this to 1 as they are loaded: see ``Loading``."""
    soft: float = SOFT
    """Pictures whose finest octave holds less contrast than this share of the next are halved, and left out
    where that does not help."""
    layers: int = 3
    """Of a chroma network, before its last one."""
    context: int = 0
    context_channels: int = 64
    inner: int = 0
    chain_inner: int = 0
    checkpoint_every: int = 500
    validate_every: int = 2_000

    @property
    def autocast(self) -> torch.autocast:
        """What the forward pass runs in."""
        device, name = torch.device(self.device).type, self.precision
        if name == "auto":
            name = "bfloat16" if _multiplies_bfloat16(device) else "float32"
        enabled = name != "float32"
        return torch.autocast(device, getattr(torch, name) if enabled else torch.bfloat16, enabled=enabled)


def _multiplies_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False


@dataclass(frozen=True, slots=True)
class Course:
    """How one kind of network is trained. To add a kind is to add an entry to COURSES."""

    lessons: Callable[[Sequence[Path], TrainOptions], Lessons]
    """From folders, and films, of what there is to learn. Raises UpscaleError."""
    held_out: Callable[[Sequence[Path], TrainOptions], Iterator[Any]]
    """Of folders: each picture or sample once, for validation. Raises UpscaleError."""
    network: Callable[[TrainOptions, Lessons], Network]
    """A new one."""
    loss: Callable[[Any, Any, torch.Generator, TrainOptions], Tensor]
    """What training makes small: of the network and a batch."""
    answers: Callable[[Any, Any], dict[str, tuple[Tensor, Tensor]]]
    """What is compared at an examination: name -> answer and truth."""
    decisive: str
    """Which of them tells whether weights are better than others."""
    pooled: bool = False
    """Whether PSNR is of the error of all pictures together, and not its mean over them: some pictures are
    grey, and the PSNR of their chroma is as good as infinite."""
    rehearse: Callable[[Any, Tensor], object] | None = None
    """Compute what it does where it is used, of what it reads: ranges of features are set by that. None for
    what is never run in 8-bit integers."""


def crops_or_shards(paths: Sequence[Path], options: TrainOptions) -> Lessons:
    """What there is to learn: the shards of a folder if there are any, else the pictures of all paths.

    Raises UpscaleError."""
    if options.crop % options.scale:
        raise UpscaleError(f"a crop of {options.crop} is not a multiple of the scale, {options.scale}")
    if _holds_shards(paths[0]):
        return _shards(paths, options, options.crop, options.batch)
    loading = Loading(_planes(options), options.crop, options.reduction, options.seed, options.soft)
    return load_crops(paths, loading, options.scale, options.batch)


def pictures_or_shards(paths: Sequence[Path], options: TrainOptions) -> Iterator[Batch]:
    """Whole pictures or samples, for validation. Raises UpscaleError."""
    if _holds_shards(paths[0]):
        return _shards(paths, options, options.scale, 1).held_out()
    return itertools.chain.from_iterable(
        whole_pictures(folder, _planes(options), options.scale) for folder in paths
    )


def _shards(paths: Sequence[Path], options: TrainOptions, crop: int, batch: int) -> Shards:
    if len(paths) > 1:
        raise UsageError("shards are learned from one folder at a time")
    if options.kind == RasterPixelCNN.kind:
        raise UsageError("raster networks read one frame, and learn from pictures; shards are windows")
    return Shards(paths[0], options.kind, options.scale, crop, batch, options.seed)


def _holds_shards(path: Path) -> bool:
    return any(path.glob("*.safetensors"))


def _planes(options: TrainOptions) -> slice:
    return slice(0, 3) if options.kind == ChromaNet.kind else slice(0, 1)


def colours(paths: Sequence[Path], options: TrainOptions) -> ColorLessons:
    """Folders of pictures and films, all in one album. Raises UpscaleError."""
    check_installed()
    return ColorLessons(Album.load(paths), options.batch, options.seed)


def _held_out_colours(paths: Sequence[Path], options: TrainOptions) -> Iterator[Sample]:
    return colours(paths, options).held_out()


def _luma_network(options: TrainOptions, lessons: Lessons) -> Network:
    seen = {"frames": 2 * REACH + 1, "planes": WINDOW} if isinstance(lessons, Shards) else {}
    return LumaPixelCNN(
        LumaConfig(
            options.scale,
            options.channels,
            options.blocks,
            context=options.context,
            context_channels=options.context_channels,
            inner=options.inner,
            chain_inner=options.chain_inner,
            **seen,  # type: ignore[arg-type]
        )
    )


def _raster_network(options: TrainOptions, lessons: Lessons) -> Network:
    doublings = options.scale.bit_length() - 1
    return RasterPixelCNN(
        RasterConfig(options.scale, options.channels, options.blocks, upper=(0,) * doublings)
    )


def _chroma_network(options: TrainOptions, lessons: Lessons) -> Network:
    return ChromaNet(ChromaConfig(options.scale, options.channels, options.layers))


def _color_network(options: TrainOptions, lessons: Lessons) -> Network:
    return ColorNet(ColorConfig())


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


def raster_loss(
    network: RasterPixelCNN, batch: Batch, random: torch.Generator, options: TrainOptions
) -> Tensor:
    """Nats per pixel of the summed logits, and of the conditioning network's alone (the paper's equation
    6), plus the error of the mean that levels are counted from."""
    mean, codes = network.conditioned(batch.low.contiguous(memory_format=torch.channels_last))
    error = torch.sqrt((batch.high - mean) ** 2 + 1e-6).mean()
    levels = batch.high.mul(255).round() - level_of(mean.detach())
    hidden = network.hidden(levels)
    nats = sum(
        cross_entropy(network.logits(known, codes), levels).mean()
        for known in (hidden, torch.zeros_like(hidden))
    )
    return MEAN_WEIGHT * error + options.likelihood * nats


def chroma_loss(network: ChromaNet, batch: Batch, random: torch.Generator, options: TrainOptions) -> Tensor:
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


def color_loss(network: ColorNet, batch: Sample, random: torch.Generator, options: TrainOptions) -> Tensor:
    """Nats per cell of the PixelCNN, plus the error of its means, plus that of the guided upsampling.

    Every sample is asked at a step of its own, the first one most often: it is all that temperature 0 has.
    """
    truth = batch.coarse
    n, _, height, width = truth.shape
    order = torch.stack(color_order(height, width)).to(truth.device)  # [steps, h, w]
    step = torch.randint(-len(order), len(order), (n,), generator=random, device=truth.device).clamp(min=0)
    before = torch.arange(len(order), device=truth.device)[None] < step[:, None]
    is_known = (before[:, :, None, None] & order[None]).any(1, keepdim=True).float()
    inexact = torch.randn(truth.shape, generator=random, device=truth.device) * INEXACT
    known = torch.cat([(truth + inexact) * is_known, is_known], 1)
    look = network.looks(batch.luma, batch.levels, batch.hints)
    log_probability = network.logits(look, known).log_softmax(1)
    bins, shares = palette.soft_targets(truth)
    nats = -(log_probability.gather(1, bins) * shares).sum(1, keepdim=True)
    mean = palette.mean(log_probability.exp())
    error = torch.sqrt((mean - truth) ** 2 + 1e-6).mean(1, keepdim=True)
    asked = 1 - is_known
    part = torch.rand((n, 1, 1, 1), generator=random, device=truth.device)
    coarse = torch.lerp(truth, mean.detach(), (2 * part - 1).clamp(min=0))
    fine = torch.sqrt((network.enlarge(look, coarse) - batch.chroma) ** 2 + 1e-6).mean()
    return ((nats + MEAN_WEIGHT * error) * asked).sum() / asked.sum() + 2 * MEAN_WEIGHT * fine


def _bicubic(planes: Tensor, scale: int) -> Tensor:
    return F.interpolate(planes, scale_factor=scale, mode="bicubic", align_corners=False)


def _luma_answers(network: LumaPixelCNN, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    low, high = batch.low, batch.high
    seen = {"bicubic": (_bicubic(low[:, :1], network.scale), high)}
    if low.shape[1] > 1:
        seen["bicubic of the merge"] = (_bicubic(low[:, 1:2], network.scale), high)
    return seen | {
        "mean": (mean_luma(network, low), high),
        "temperature 0": (sample_luma(network, low, None, 0.0), high),
    }


def _raster_answers(network: RasterPixelCNN, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    bicubic = _bicubic(batch.low, network.scale)
    return {"bicubic": (bicubic, batch.high), "mean": (mean_luma(network, batch.low), batch.high)}


def _chroma_answers(network: ChromaNet, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    low, truth = batch.low, batch.high[:, 1:]
    return {
        "bicubic": (_bicubic(low, network.scale), truth),
        "chroma": (network(low, batch.high[:, :1]), truth),
    }


def _color_answers(network: ColorNet, batch: Sample) -> dict[str, tuple[Tensor, Tensor]]:
    nothing = Hints.none(batch.luma)
    told = {
        "no hints": nothing,
        "matched": Hints(batch.hints.matched, nothing.moved),
        "moved too": batch.hints,
    }
    truth = 0.5 + batch.chroma
    answers = {"grey": (torch.full_like(truth, 0.5), truth)}
    for name, hints in told.items():
        look = network.looks(batch.luma, batch.levels, hints)
        known = torch.zeros_like(hints.matched[:, :3])
        coarse = palette.mean(network.logits(look, known).softmax(1))
        answers[name] = 0.5 + network.enlarge(look, coarse), truth
    return answers | {"true cells": (0.5 + network.enlarge(look, batch.coarse), truth)}


def _sampled(network: LumaPixelCNN, low: Tensor) -> None:
    height, width = (length * network.scale for length in low.shape[2:])
    odds = network.to_cells(log_odds(uniform_noise(0, height, width)))
    for temperature in (0.0, REHEARSED):
        sample_luma(network, low, odds, temperature)


COURSES = {
    LumaPixelCNN.kind: Course(
        crops_or_shards,
        pictures_or_shards,
        _luma_network,
        luma_loss,
        _luma_answers,
        "temperature 0",
        rehearse=_sampled,
    ),
    RasterPixelCNN.kind: Course(
        crops_or_shards,
        pictures_or_shards,
        _raster_network,
        raster_loss,
        _raster_answers,
        "mean",
        rehearse=RasterPixelCNN.conditioned,
    ),
    ChromaNet.kind: Course(
        crops_or_shards,
        pictures_or_shards,
        _chroma_network,
        chroma_loss,
        _chroma_answers,
        "chroma",
        pooled=True,
    ),
    ColorNet.kind: Course(
        colours, _held_out_colours, _color_network, color_loss, _color_answers, "matched", pooled=True
    ),
}
"""Kind of network -> its course."""
