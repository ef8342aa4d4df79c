"""How much memory there is, and the tile that fits into it."""

import math
import os
import re
from itertools import product

from upscale.errors import UsageError

SHARE = 0.5
"""Of the memory that is free, what we take unasked: encoders, caches and other programs want some too."""

PROGRAM = 350 << 20
"""Bytes that Python, PyTorch and the networks take before the first frame."""

BYTES_PER_INPUT_PIXEL = 1000
"""What a network holds at its widest, for each pixel of a tile's window."""

BYTES_PER_OUTPUT_PIXEL = 64
"""Frames in flight, the noise, and what a light encoder holds; one that looks ahead wants 40 more."""

BYTES_PER_ALIGNED_PIXEL = 80
"""Pictures and what is aligned with them, for each input pixel and each frame on a side of a window."""

LARGEST_WINDOW = 950_000
"""Pixels of a tile's window on a CPU, to which larger ones bring nothing: 720p, or a third of 1080p."""

SMALLEST_TILE = 64


def parse_size(text: str) -> int:
    """Bytes of ``2G``, ``800M``, ``1.5GiB`` or a plain number. Raises UsageError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"{text!r} is no amount of memory; write 2G, or 800M")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def available() -> int | None:
    """Bytes that new programs may have without swapping; None where the system does not tell."""
    try:
        with open("/proc/meminfo") as file:  # noqa: PTH123
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


NO_MEMORY = (
    "out of memory",  # CUDA, MPS
    "outofmemory",  # OpenCV
    "t allocate memory",  # PyTorch on a CPU; the system
    "failed to allocate",
    "insufficient memory",
    "not enough memory",
    "alloc failed",  # cuBLAS, cuDNN
    "allocation failed",
    "unable to find an engine",  # cuDNN, where no algorithm has room for what it needs
    "valid cudnn algorithm",
)
"""Parts of what libraries say, in small letters and without underscores, where there is no memory left."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is the way of Python or of a library to say that there is no memory left."""
    said = str(error).lower().replace("_", " ")
    return isinstance(error, MemoryError) or any(words in said for words in NO_MEMORY)


def room() -> int | None:
    """Bytes that we take of what is free now, the program included; None where the system does not tell."""
    free = available()
    return None if free is None else PROGRAM + int((free - PROGRAM) * SHARE)


def choose_tile(
    size: tuple[int, int],
    scale: int,
    halo: int,
    memory: int | None,
    largest: int | None = None,
    window: int = 0,
) -> tuple[int, int]:
    """Height and width of the tiles, in input pixels, for frames of ``size`` (height, width).

    ``memory`` is the bytes that all of it may take; None looks how much there is. ``largest`` is the most
    pixels of a tile's window, halo included, that is of any use. ``window`` is frames on each side that are
    aligned. Of the tiles that fit, those that have the fewest pixels to compute, halos included."""
    height, width = size
    pixels = height * width if largest is None else largest
    if memory is None:
        memory = room()
    if memory is not None:
        left = memory - PROGRAM - height * width * scale**2 * BYTES_PER_OUTPUT_PIXEL
        left -= height * width * window * BYTES_PER_ALIGNED_PIXEL
        pixels = min(pixels, left // BYTES_PER_INPUT_PIXEL)
    best, least = (SMALLEST_TILE, SMALLEST_TILE), math.inf
    for rows, columns in product(_counts(height), _counts(width)):
        tile = math.ceil(height / rows), math.ceil(width / columns)
        window = min(tile[0] + 2 * halo, height) * min(tile[1] + 2 * halo, width)
        if window <= pixels and rows * columns * window < least:
            best, least = tile, rows * columns * window
    return best


def _counts(length: int) -> range:
    """Into how many tiles a length may be cut."""
    return range(1, max(length // SMALLEST_TILE, 1) + 1)
