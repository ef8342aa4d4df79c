"""Restores old footage with a PixelCNN.

``film`` restores a film, ``Model`` enlarges pictures in memory: see docs/api.md. What they need is loaded
when they are first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upscale.api import film
    from upscale.errors import UpscaleError, UsageError
    from upscale.pictures import Model
    from upscale.pipeline import Summary

__version__ = "0.1.0"

__all__ = ["Model", "Summary", "UpscaleError", "UsageError", "film"]

_PLACES = {
    "Model": "upscale.pictures",
    "Summary": "upscale.pipeline",
    "UpscaleError": "upscale.errors",
    "UsageError": "upscale.errors",
    "film": "upscale.api",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'upscale' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)
