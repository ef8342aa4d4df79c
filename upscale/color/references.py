"""Coloured pictures to follow."""

import io

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from upscale.color.options import Reference
from upscale.errors import UpscaleError
from upscale.media.pixels import SCALER, to_planes

COLOURLESS = 3 / 255
"""Distance of all chroma from neutral below which a picture has no colours."""


def read_reference(reference: Reference, matrix: int) -> NDArray[np.float32]:
    """Y'CbCr of a reference, [3, H, W] in [0, 1], by the film's ``matrix`` (H.273's code point).

    Raises UpscaleError if it is no picture that can be read, or has no colour, which of a frame of the film
    may be meant."""
    path = reference.path
    try:
        with av.open(io.BytesIO(reference.data), "r") as container:
            rgb = next(container.decode(video=0)).reformat(format="rgb24")
            planar = rgb.reformat(
                format="yuv444p16le",
                dst_colorspace=SCALER.get(matrix, Colorspace.ITU601),
                dst_color_range=ColorRange.JPEG,
            )
            planar.color_range = ColorRange.JPEG
    except (av.FFmpegError, StopIteration) as error:
        raise UpscaleError(f"{path}: cannot be read as a picture ({error})") from error
    luma, chroma = to_planes(planar)
    if reference.time is None and np.abs(chroma - 0.5).max() < COLOURLESS:
        raise UpscaleError(f"{path}: has no colours to follow; give a coloured picture")
    return np.concatenate([luma, chroma])
