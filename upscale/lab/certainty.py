"""Does the map tell the truth? The spread that a model states, against the errors that it makes."""

import itertools
import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from upscale.errors import UpscaleError, UsageError
from upscale.lab.clips import degrade_clip, find_preset
from upscale.lab.dataset import cropped, downsample
from upscale.lab.degrade import MEASURED
from upscale.lab.evaluate import middle
from upscale.media.picture import find_pictures, read_picture
from upscale.media.read.source import Source
from upscale.models.catalog import find_model
from upscale.motion.dirt import AUTO
from upscale.motion.window import windowed
from upscale.planes import SPREAD, Planes
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

BINS = 10

INSIDE = {0.5: math.log(3), 0.9: math.log(19)}
"""Share of a logistic distribution -> how far from its mean that share reaches, in scales."""

SCALES_TO_DEVIATION = math.sqrt(3) / math.pi
"""Scale of a logistic distribution whose standard deviation is 1."""

EVERY = 7
"""One pixel in so many is used: neighbours are correlated, and memory stays bounded."""

Example = tuple[Planes, NDArray[np.float32], tuple[int, int] | None]
"""What the upscaler is given, the true luma [H, W], and the layout of the chroma."""


@dataclass(slots=True)
class Certainty:
    """Spreads and errors in 8-bit levels, of pixels as they came."""

    spreads: list[NDArray[np.float32]] = field(default_factory=list)
    errors: list[NDArray[np.float32]] = field(default_factory=list)
    pictures: int = 0

    def add(self, luma: NDArray[np.float32], truth: NDArray[np.float32]) -> None:
        """One answer: luma [2, H, W] with its spread, and what it was to be, [H, W]."""
        self.spreads.append(np.exp2(luma[SPREAD].ravel()[::EVERY]))
        self.errors.append(255 * np.abs(luma[0].clip(0, 1) - truth).ravel()[::EVERY])
        self.pictures += 1

    def bins(self) -> list[tuple[float, float]]:
        """By growing spread, a tenth of the pixels each: RMS of the spread, and of the error."""
        spread, error = np.concatenate(self.spreads), np.concatenate(self.errors)
        parts = np.array_split(np.argsort(spread, kind="stable"), BINS)
        return [(_rms(spread[part]), _rms(error[part])) for part in parts]

    def inside(self, share: float) -> float:
        """How much of the truth lies in the interval around the answer that is to hold that ``share``."""
        spread, error = np.concatenate(self.spreads), np.concatenate(self.errors)
        return float((error <= INSIDE[share] * SCALES_TO_DEVIATION * spread).mean())

    def as_dict(self) -> dict[str, object]:
        """For a script."""
        bins = [{"spread": spread, "error": error} for spread, error in self.bins()]
        return {"pictures": self.pictures, "bins": bins, "inside": {s: self.inside(s) for s in INSIDE}}


def measure_certainty(
    inputs: tuple[Path, ...],
    scale: int,
    sample: SampleOptions,
    side: int = 0,
    presets: tuple[str, ...] = (),
    frames: int = 12,
    seed: int = 0,
) -> Iterator[Certainty]:
    """Measure a model on a folder of pictures made small, or on clips made old; yields what is known after
    each frame. Errors are of the answer at ``sample.temperature``.

    Raises UsageError for a model that states no spread."""
    model = find_model(sample.model)
    if not model.has_spread:
        raise UsageError(f"{model.name} does not tell how sure it is")
    if len(inputs) > 1 and any(path.is_dir() for path in inputs):
        raise UsageError("give one folder of pictures, or clips")
    if inputs[0].is_dir():
        examples = _of_pictures(inputs[0], scale, side)
    else:
        examples = _of_clips(inputs, presets or tuple(MEASURED), scale, frames, seed)
    found = Certainty()
    upscaler: Upscaler | None = None
    for planes, truth, layout in examples:
        size = planes[0].shape[1], planes[0].shape[2]
        if upscaler is None or upscaler.target != truth.shape or upscaler.subsampling != layout:
            target = truth.shape[0], truth.shape[1]
            upscaler = Upscaler(size, target, layout, True, replace(sample, spread=True))
        if upscaler.window and len(planes[0]) == 1:
            (planes,) = windowed([planes])
        found.add(upscaler(planes)[0], truth)
        yield found
    if not found.pictures:
        raise UpscaleError(f"{inputs[0]}: nothing in it to measure")


def _of_pictures(folder: Path, scale: int, side: int) -> Iterator[Example]:
    for path in find_pictures(folder):
        picture = read_picture(path)[:1]
        high = cropped(torch.from_numpy(middle(picture, side) if side else picture), scale)
        yield (downsample(high[None], scale)[0].numpy(),), high[0].numpy(), None


def _of_clips(
    clips: Iterable[Path], presets: tuple[str, ...], scale: int, frames: int, seed: int
) -> Iterator[Example]:
    for number, (clip, name) in enumerate(itertools.product(clips, presets)):
        with tempfile.TemporaryDirectory() as folder:
            old, true = Path(folder) / "old.mkv", Path(folder) / "true.mkv"
            which = find_preset(name), scale, seed + number  # another recipe for every clip
            degrade_clip(clip, old, *which, truth=true, frames=frames, clean_size=True)
            with Source(old) as source, Source(true) as truth:
                shown = windowed((frame.planes[:1] for frame in source.frames()), dirt=AUTO)
                for planes, known in zip(shown, truth.frames(), strict=True):
                    yield planes, known.planes[0][0], None


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def markdown(found: Certainty, scale: int, model: str) -> str:
    """The tables as a model card has them."""
    bins = found.bins()
    rows = [
        f"| {model} x{scale}, {found.pictures} pictures, by tenths of the pixels |"
        + "".join(f" {number} |" for number in range(1, len(bins) + 1)),
        "| --- |" + " --- |" * len(bins),
        "| stated spread, levels |" + "".join(f" {spread:.1f} |" for spread, _ in bins),
        "| error (RMS), levels |" + "".join(f" {error:.1f} |" for _, error in bins),
    ]
    shares = (
        f"{found.inside(share):.1%} lie in the interval that is to hold {share:.0%}" for share in INSIDE
    )
    return "\n".join([*rows, "", f"Of the true pixels {', '.join(shares)}."])
