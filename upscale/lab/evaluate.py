"""Quality on pictures: our models against bicubic and Lanczos, in the same run."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from upscale.errors import UsageError
from upscale.lab.dataset import cropped, downsample
from upscale.lab.metrics import BORDER, psnr, ssim
from upscale.lab.pairs import find_pairs, paper_luma
from upscale.lab.perceptual import Distance, distances
from upscale.media.picture import find_pictures, lanczos, read_picture, to_rgb
from upscale.models.catalog import find_model
from upscale.motion.window import windowed
from upscale.planes import Planes
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

PERCEPTUAL_SIDE = 512
"""Side of the middle part that the perceptual distances see; they take seconds for every megapixel."""

TEMPERATURES = (0.0, 0.3, 0.5, 0.7, 1.0)

MODELS = ("mean", "clean")
"""That are measured unasked."""


@dataclass(slots=True)
class Table:
    """Rows of means over the pictures: method -> measure -> value."""

    scale: int
    pictures: int = 0
    rows: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def measures(self) -> list[str]:
        """All the measures that any row has, in the order in which they came."""
        return list(dict.fromkeys(measure for row in self.rows.values() for measure in row))


@dataclass(frozen=True, slots=True)
class Trials:
    """Pictures to measure on, and how."""

    pictures: Iterable[tuple[Tensor, Tensor]]
    """Small and large ones, full-range Y'CbCr [3, H, W] in [0, 1]."""
    scale: int
    luma: Callable[[NDArray[np.float32]], Tensor]
    """What is compared of a picture, [1, 1, H, W]."""
    border: int = BORDER
    """Pixels on each side that are not."""
    antialias: bool = False
    """Of the bicubic that is compared with. Of PyTorch's two, this one has the parameter a = -0.5 of
    MATLAB's, and the other -0.75, as OpenCV has it; to enlarge, they are the same otherwise."""

    @classmethod
    def made_small(cls, folder: Path, scale: int, side: int = 0) -> Self:
        """The clean track: every picture of ``folder``, or its middle ``side`` pixels."""

        def pictures() -> Iterator[tuple[Tensor, Tensor]]:
            for path in find_pictures(folder):
                picture = read_picture(path)
                high = cropped(torch.from_numpy(middle(picture, side) if side else picture), scale)
                yield downsample(high[None], scale)[0], high

        return cls(pictures(), scale, rounded_luma)

    @classmethod
    def of_pairs(cls, folders: Sequence[Path], scale: int) -> Self:
        """What others have made small, by the papers' protocol: see ``pairs``."""
        found = find_pairs(folders)
        return cls((pair.read(scale) for pair in found), scale, paper_luma, scale, antialias=True)


def rounded_luma(planes: NDArray[np.float32]) -> Tensor:
    """Of Y'CbCr [3, H, W], rounded to 8 bit: [1, 1, H, W]."""
    return torch.from_numpy((np.round(planes[:1].clip(0, 1) * 255) / 255).astype(np.float32))[None]


def evaluate(
    trials: Trials,
    temperatures: tuple[float, ...],
    perceptual: tuple[str, ...],
    sample: SampleOptions,
    models: tuple[str, ...] = MODELS,
) -> Iterator[Table]:
    """Measure ``models`` on pictures; yields the table so far after each.

    PSNR and SSIM are of luma; bits per pixel are what a PixelCNN would need to code the
    true luma given the small picture, whatever the temperature: they stand at the last; the perceptual
    distances see the middle of the picture in RGB. Raises UpscaleError where the folder holds no pictures,
    the extra for the distances is missing, or there is no such model.
    """
    scale = trials.scale
    for model in map(find_model, models):
        if not model.families or model.stages(scale) != [scale]:
            raise UsageError(f"{model.name} has no network for x{scale} to measure")
    measures = distances(perceptual)
    sums: dict[str, dict[str, float]] = {}
    table = Table(scale)
    for low, high in trials.pictures:
        for name, answer, chosen in _answers(low, high, trials, temperatures, sample, models):
            measured = _measured(answer, high, trials, measures)
            if chosen is not None and chosen.temperature == temperatures[-1]:
                measured["bits/px"] = bits_per_pixel(low, high, scale, chosen)
            row = sums.setdefault(name, {})
            for measure, value in measured.items():
                row[measure] = row.get(measure, 0.0) + value
        table.pictures += 1
        table.rows = {
            name: {measure: total / table.pictures for measure, total in row.items()}
            for name, row in sums.items()
        }
        yield table


def bits_per_pixel(low: Tensor, high: Tensor, scale: int, sample: SampleOptions) -> float:
    """-log2 p(high luma | what the network reads) by a PixelCNN, over the number of output pixels; pictures
    are [3, H, W]. Luma is rounded to 8 bit."""
    upscaler = Upscaler.for_pictures(low.shape[1:], scale, sample)
    network = upscaler.stages[0].luma
    planes: Planes = (low[:1].numpy(),)
    if upscaler.window:
        (planes,) = windowed([planes])
    with torch.inference_mode():
        read = network.told(torch.from_numpy(planes[0])[None].to(upscaler.device), 0.0)
        nats = float(network.nats(read, high[None, :1].to(upscaler.device).mul(255).round().div(255)))
    return nats / math.log(2) / high[0].numel()


def _answers(
    low: Tensor,
    high: Tensor,
    trials: Trials,
    temperatures: tuple[float, ...],
    sample: SampleOptions,
    models: tuple[str, ...],
) -> Iterator[tuple[str, NDArray[np.float32], SampleOptions | None]]:
    """Name, picture [3, H, W], and how it was sampled, if it was at a temperature."""
    size, scale = tuple(high.shape[1:]), trials.scale
    bicubic = F.interpolate(low[None], size=size, mode="bicubic", antialias=trials.antialias)[0]
    yield "bicubic", bicubic.numpy(), None
    yield "Lanczos", np.stack([lanczos(plane, (size[0], size[1])) for plane in low.numpy()]), None
    for model in models:
        if find_model(model).temperature is None:
            yield model, _enlarged(low, scale, replace(sample, model=model)), None
            continue
        for temperature in temperatures:
            chosen = replace(sample, model=model, temperature=temperature)
            yield f"{model}, temperature {temperature:g}", _enlarged(low, scale, chosen), chosen


def _enlarged(low: Tensor, scale: int, chosen: SampleOptions) -> NDArray[np.float32]:
    upscaler = Upscaler.for_pictures(low.shape[1:], scale, chosen)
    planes: Planes = (low[:1].numpy(), low[1:].numpy())
    if upscaler.window:
        (planes,) = windowed([planes])
    return np.concatenate(upscaler(planes))


def _measured(
    answer: NDArray[np.float32], high: Tensor, trials: Trials, measures: dict[str, Distance]
) -> dict[str, float]:
    luma, truth = trials.luma(answer), trials.luma(high.numpy())
    values = {
        name: measure(luma, truth, trials.border) for name, measure in (("PSNR-Y", psnr), ("SSIM", ssim))
    }
    if measures:
        rounded = (np.round(answer.clip(0, 1) * 255) / 255).astype(np.float32)
        pictures = to_rgb(middle(rounded)), to_rgb(middle(high.numpy()))
        values |= {name: measure(*pictures) for name, measure in measures.items()}
    return values


def middle(picture: NDArray[np.float32], side: int = PERCEPTUAL_SIDE) -> NDArray[np.float32]:
    """The middle ``side`` pixels of [3, H, W], or all there are."""
    _, height, width = picture.shape
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return picture[:, top : top + side, left : left + side]


def markdown(table: Table) -> str:
    """The table as a model card has it."""
    lines = [
        f"| x{table.scale}, {table.pictures} pictures | " + " | ".join(table.measures) + " |",
        "| --- |" + " --- |" * len(table.measures),
    ]
    for name, row in table.rows.items():
        cells = (
            f"{row[measure]:{DIGITS[measure]}}" if measure in row else "" for measure in table.measures
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


DIGITS = {"PSNR-Y": ".2f", "SSIM": ".4f", "ST-LPIPS": ".3f", "SSIMULACRA2": ".1f", "bits/px": ".3f"}
"""How each measure is written in a table."""
