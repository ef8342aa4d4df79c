"""Which models there are by name, and the weights behind them."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upscale.errors import UpscaleError, UsageError

if TYPE_CHECKING:
    from upscale.models.weights import WeightsFile

MODELS = {
    "pixelcnn": "multiscale PixelCNN on luma, chroma guided by it; the temperature is yours",
    "mean": "its mean head alone: a ConvNet that answers with the average (ignores the temperature)",
    "nearest": "no network: every pixel repeated; shows quickly what container, codec and tags will be",
}
"""Name -> what it is. The first two live in the same files of weights."""

DEFAULT_MODEL = "pixelcnn"


@dataclass(frozen=True, slots=True)
class Stage:
    """The weights for one native scale."""

    luma: "WeightsFile"
    chroma: "WeightsFile"


def stages_for(scale: float) -> list[int]:
    """The native scales to run one after the other for a ``scale`` above 1 and up to 8."""
    for chain in ([2], [4], [4, 2]):
        if scale <= math.prod(chain):
            return chain
    raise UsageError(f"a scale of {scale:g} is too large; the largest is 8")


def find_stage(scale: int) -> Stage:
    """The shipped weights for a native scale. Raises UpscaleError if they are missing or damaged."""
    from upscale.models import weights  # here, as it loads torch

    found: dict[str, WeightsFile] = {}
    for path in weights.shipped():
        described = weights.describe(path)
        if described.scale == scale:
            found[described.kind] = described
    missing = {"luma", "chroma"} - found.keys()
    if missing:
        raise UpscaleError(
            f"no {' and '.join(sorted(missing))} weights for x{scale}; install the package again"
        )
    return Stage(found["luma"], found["chroma"])


def check_model(name: str) -> None:
    """Raises UsageError, naming those that there are, for a model that there is not."""
    if name not in MODELS:
        raise UsageError(f"no model is called {name!r}; there are {', '.join(MODELS)}")
