"""Which models there are by name, and the weights behind them. Knows no torch."""

import hashlib
import importlib
import math
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import upscale
from upscale.errors import UpscaleError, UsageError

if TYPE_CHECKING:
    from upscale.models.weights import WeightsFile


@dataclass(frozen=True, slots=True)
class Family:
    """Weights that go together, and what draws with them."""

    luma: str
    """The files are ``LUMA-xSCALE-luma`` and ``CHROMA-xSCALE-chroma``."""
    chroma: str
    sampler: str
    """``module:class`` of a ``sampling.sampler.Sampler``."""
    scales: tuple[int, ...] = (2, 4)
    """That there are weights for."""

    def sampled_by(self, network: Any, temperature: float, spread: bool) -> Any:
        """A new sampler of its luma network."""
        return _found(self.sampler)(network, temperature, spread)


@dataclass(frozen=True, slots=True)
class Model:
    """One entry: what a model is for, whose weights it has, and what runs it.

    The rest its network declares: scale, planes and frames that it reads, receptive field. To add a model
    is to add an entry here; nothing else asks which one it is."""

    name: str
    what: str
    """What to take it for, in a line."""
    speed: str
    """See SPEED_OF."""
    quality: str
    """See QUALITY_OF."""
    runs: str
    """``module:class`` of what makes planes larger with it: see ``pipeline.Enlarger``."""
    families: tuple[Family, ...] = ()
    """Of the first stage, and of those after it; without a second one all have the first."""
    for_clean: tuple[Family, ...] = ()
    """Of the stages for frames that are clean, where others are better at them."""
    temperature: float | None = None
    """The default; None where there is nothing to dial."""
    denoises: bool = False
    """Whether it takes ``--denoise``."""
    has_spread: bool = False
    """Whether it can tell how far each pixel may be from the truth: takes ``--map``."""

    def open(self, *arguments: Any) -> Any:
        """A new instance of what runs it."""
        return _found(self.runs)(*arguments)

    def family(self, stage: int) -> Family:
        """The weights of a stage."""
        return self.families[min(stage, len(self.families) - 1)]

    def family_for_clean(self, stage: int) -> Family:
        """The weights of a stage for frames that are clean."""
        return self.for_clean[min(stage, len(self.for_clean) - 1)] if self.for_clean else self.family(stage)

    def stages(self, scale: float) -> list[int]:
        """The native scales to run one after the other for a ``scale`` from 1 to 8."""
        for chain in ([2], [4], [4, 2]):
            there = all(native in self.family(n).scales for n, native in enumerate(chain) if self.families)
            if there and scale <= math.prod(chain):
                return chain
        raise UsageError(f"a scale of {scale:g} is too large; the largest is 8")

    def chosen_temperature(self, asked: float | None) -> float:
        """What was asked for, or the default; 0 where there is nothing to dial."""
        if self.temperature is None:
            return 0.0
        return self.temperature if asked is None else asked


UPSCALER = "upscale.sampling.upscaler:Upscaler"

CLEAN = Family("clean", "clean", "upscale.sampling.multiscale:Multiscale")
FILM = Family("film", "film", "upscale.sampling.multiscale:Textured")
RASTER = Family("raster", "clean", "upscale.sampling.raster:Raster", scales=(4,))
MEAN = replace(CLEAN, sampler="upscale.sampling.multiscale:Mean")

MODELS = {
    model.name: model
    for model in (
        Model(
            "film",
            "video, above all old: takes grain, dirt and compression away; reads six frames on each side",
            "1.5 times the time of clean, in float32",
            "29.0 dB on films made old (Lanczos 27.5)",
            UPSCALER,
            (FILM, CLEAN),
            for_clean=(CLEAN,),
            temperature=0.4,
            denoises=True,
            has_spread=True,
        ),
        Model(
            "clean",
            "photos, and video without grain or compression; it sharpens those, too",
            "0.15 s a frame",
            "32.7 dB on clean photos (Lanczos 30.8)",
            UPSCALER,
            (CLEAN,),
            temperature=0.5,
            has_spread=True,
        ),
        Model(
            "raster",
            "comparisons: the paper's PixelCNN, one pixel after the other; x4 alone",
            "12 s a frame",
            "the best model of what is likely: 2.89 bits to code a pixel, clean 3.00",
            UPSCALER,
            (RASTER, CLEAN),
            temperature=1.0,
        ),
        Model(
            "mean",
            "comparisons: a plain ConvNet, which answers with the average of all possible pictures",
            "half the time of clean",
            "32.7 dB on clean photos, and blurred",
            UPSCALER,
            (MEAN,),
        ),
        Model(
            "nearest",
            "a quick trial of container, codec and tags: no network, every pixel repeated",
            "as fast as decoding and encoding are",
            "none",
            "upscale.sampling.nearest:Nearest",
        ),
    )
}
"""Name -> the model."""

SPEED_OF = "480x270 to 1920x1080 on two cores of an AMD EPYC with VNNI; no GPU"
"""What ``Model.speed`` is about: benchmarks/README.md tells how it was measured."""

QUALITY_OF = "PSNR of luma at x4, temperature 0; a higher temperature looks sharper and measures lower"
"""What ``Model.quality`` is about: the model cards tell how it was measured, and much more."""

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


def weights_folder() -> Path:
    """Where the shipped weights lie: in the package, or beside it in a clone, which comes first on Python's
    path in its root though the package is installed elsewhere. Raises UpscaleError if they are missing."""
    try:
        return Path(str(resources.files("upscale.weights")))
    except ModuleNotFoundError:
        beside = Path(upscale.__file__).parent.parent / "weights"
    if not beside.is_dir():
        raise UpscaleError("no weights; install the package again")
    return beside


def weights_digest(model: Model, color: bool = False) -> str:
    """Tells the weights of a model, and of the colour network with ``color``, from others by that name;
    empty where there are none."""
    digest = hashlib.blake2b(digest_size=16)
    folder = weights_folder()
    names = [COLOR] if color else []
    for family in {*model.families, *model.for_clean}:
        names += f"{family.luma}-*-luma.safetensors", f"{family.chroma}-*-chroma.safetensors"
    for name in sorted(set(names)):
        for path in sorted(folder.glob(name)):
            digest.update(path.read_bytes())
    return digest.hexdigest() if names else ""


def weights_files(model: Model, scale: float, color: bool = False) -> list[Path]:
    """The files that frames go through for a ``scale`` from 1 to 8, those of the colour network among them
    with ``color``."""
    folder = weights_folder()
    names = [Path(COLOR).stem] if color else []
    for number, native in enumerate(model.stages(scale) if model.families else []):
        for family in (model.family(number), model.family_for_clean(number)):
            names += f"{family.luma}-x{native}-luma", f"{family.chroma}-x{native}-chroma"
    return [folder / f"{name}.safetensors" for name in dict.fromkeys(names)]


def find_stage(family: Family, scale: int) -> Stage:
    """The shipped weights of a family for a native scale. Raises UpscaleError if they are missing or
    damaged."""
    from upscale.models import weights  # here, as it loads torch

    files = []
    for name, kind in ((family.luma, "luma"), (family.chroma, "chroma")):
        path = weights_folder() / f"{name}-x{scale}-{kind}.safetensors"
        if not path.exists():
            raise UpscaleError(f"no {name} weights for x{scale} ({kind}); install the package again")
        files.append(weights.describe(path))
    return Stage(*files)


def find_color() -> "WeightsFile":
    """The shipped weights of the colour network. Raises UpscaleError if they are missing or damaged."""
    from upscale.models import weights  # here, as it loads torch

    path = weights_folder() / COLOR
    if not path.exists():
        raise UpscaleError("no colour weights; install the package again")
    return weights.describe(path)


def _found(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)
