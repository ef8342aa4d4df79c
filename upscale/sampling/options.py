"""How to sample. Knows no torch, so that options can be checked before it loads."""

from dataclasses import dataclass

PRECISIONS = ("auto", "float32", "bfloat16", "float16", "int8")
"""Of the convolutions."""


GRAIN = ("still", "moving")
"""The noise that pixels are sampled with: one for the whole film, or another for every frame."""


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """How to sample; the defaults are the command's."""

    model: str | None = None
    """A name of ``catalog.MODELS``; None takes what suits the input."""
    temperature: float | None = None
    """None takes the model's."""
    denoise: float | None = None
    """How much of grain and compression noise goes, from 0 to 1; None leaves it to the model, for all of
    it."""
    grain: str = "still"
    """See GRAIN."""
    seed: int = 0
    spread: bool = False
    """Whether luma comes with a second plane: see ``planes.SPREAD``."""
    device: str = "auto"
    precision: str = "auto"
    tile: int = 0
    """Side of a tile in input pixels; 0 is chosen by the memory."""
    memory: int | None = None
    """Bytes that all of it may take; None looks how much there is."""
    batch: int = 1
    """Tiles that go through a network at once."""
    threads: int = 0
    """Of the CPU, for all networks of the process; 0 leaves them as they are, which is a thread a core."""
