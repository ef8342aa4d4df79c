"""How to sample. Knows no torch, so that options can be checked before it loads."""

from dataclasses import dataclass

PRECISIONS = ("auto", "float32", "bfloat16", "float16", "int8")
"""Of the convolutions."""


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """How to sample; the defaults are the command's."""

    model: str = "pixelcnn"
    temperature: float = 0.5
    seed: int = 0
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
