"""Which models there are by name, and the weights behind them. Knows no torch."""

import hashlib
import importlib
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upscale.errors import UpscaleError, UsageError

if TYPE_CHECKING:
    from upscale.models.weights import WeightsFile


@dataclass(frozen=True, slots=True)
class Model:
    """One entry: what a model is for, whose weights it has, and what runs it.

    The rest its network declares: scale, planes and frames that it reads, receptive field. To add a model
    is to add an entry here; nothing else asks which one it is."""

    name: str
    what: str
    """For whom it is, in a line."""
    runs: str
    """``module:class`` of what makes planes larger with it: see ``pipeline.Enlarger``."""
    weights: tuple[str, ...] = ()
    """Families of weights: of the first stage, and of those after it; without a second one all have the
    first."""
    sampler: str = ""
    """``module:function`` that draws a picture from its luma network, for what runs networks."""
    temperature: float | None = None
    """The default; None where there is nothing to dial."""
    denoises: bool = False
    """Whether it takes ``--denoise``."""

    def open(self, *arguments: Any) -> Any:
        """A new instance of what runs it."""
        return _found(self.runs)(*arguments)

    def draw(self) -> Any:
        """Its sampler: see ``multiscale.sample_luma`` for the arguments."""
        return _found(self.sampler)

    def family(self, stage: int) -> str:
        """The weights of a stage."""
        return self.weights[min(stage, len(self.weights) - 1)]

    def chosen_temperature(self, asked: float | None) -> float:
        """What was asked for, or the default; 0 where there is nothing to dial."""
        if self.temperature is None:
            return 0.0
        return self.temperature if asked is None else asked


UPSCALER = "upscale.sampling.upscaler:Upscaler"
MULTISCALE = "upscale.sampling.multiscale:"

MODELS = {
    model.name: model
    for model in (
        Model(
            "film",
            "for video, old footage above all: reads five frames, takes grain, dirt and compression away",
            UPSCALER,
            ("film", "clean"),
            MULTISCALE + "sample_luma",
            temperature=0.35,
            denoises=True,
        ),
        Model(
            "clean",
            "for pictures and for clean video: multiscale PixelCNN on luma, chroma guided by it",
            UPSCALER,
            ("clean",),
            MULTISCALE + "sample_luma",
            temperature=0.5,
        ),
        Model(
            "mean",
            "the mean head of clean, to compare: a ConvNet that answers with the average; no temperature",
            UPSCALER,
            ("clean",),
            MULTISCALE + "mean_luma",
        ),
        Model(
            "nearest",
            "no network, every pixel repeated: shows quickly what container, codec and tags will be",
            "upscale.sampling.nearest:Nearest",
        ),
    )
}
"""Name -> the model."""

COLOR = "color.safetensors"
"""The weights of the colour network, which all models share."""

FOR_VIDEO, FOR_PICTURES = "film", "clean"
"""The models that are taken unasked."""


def find_model(name: str | None, picture: bool = True) -> Model:
    """The model of that name, or without one what suits a ``picture`` or a video.

    Raises UsageError, naming those that there are, for a model that there is not.
    """
    if name is None:
        name = FOR_PICTURES if picture else FOR_VIDEO
    if name not in MODELS:
        raise UsageError(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name]


@dataclass(frozen=True, slots=True)
class Stage:
    """The weights for one native scale."""

    luma: "WeightsFile"
    chroma: "WeightsFile"


def stages_for(scale: float) -> list[int]:
    """The native scales to run one after the other for a ``scale`` from 1 to 8."""
    for chain in ([2], [4], [4, 2]):
        if scale <= math.prod(chain):
            return chain
    raise UsageError(f"a scale of {scale:g} is too large; the largest is 8")


def weights_digest(model: Model, color: bool = False) -> str:
    """Tells the weights of a model, and of the colour network with ``color``, from others by that name;
    empty where there are none."""
    digest = hashlib.blake2b(digest_size=16)
    folder = Path(str(resources.files("upscale.weights")))
    names = [f"{family}-*.safetensors" for family in model.weights] + ([COLOR] if color else [])
    for name in names:
        for path in sorted(folder.glob(name)):
            digest.update(path.read_bytes())
    return digest.hexdigest() if names else ""


def find_stage(family: str, scale: int) -> Stage:
    """The shipped weights of a family for a native scale. Raises UpscaleError if they are missing or
    damaged."""
    from upscale.models import weights  # here, as it loads torch

    files = []
    for kind in ("luma", "chroma"):
        path = Path(str(resources.files("upscale.weights"))) / f"{family}-x{scale}-{kind}.safetensors"
        if not path.exists():
            raise UpscaleError(f"no {family} weights for x{scale} ({kind}); install the package again")
        files.append(weights.describe(path))
    return Stage(*files)


def find_color() -> "WeightsFile":
    """The shipped weights of the colour network. Raises UpscaleError if they are missing or damaged."""
    from upscale.models import weights  # here, as it loads torch

    path = Path(str(resources.files("upscale.weights"))) / COLOR
    if not path.exists():
        raise UpscaleError("no colour weights; install the package again")
    return weights.describe(path)


def _found(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)
