"""Pictures as eyes see them: RGB by the film's own matrix, and upright."""

import numpy as np
from numpy.typing import NDArray

from upscale.media.info import VideoInfo
from upscale.media.pixels import from_planes
from upscale.planes import Planes

Rgb = NDArray[np.uint8]
"""A picture [H, W, 3]."""


def to_rgb(planes: Planes, info: VideoInfo) -> Rgb:
    """Planes of the film that ``info`` describes, of any size, as they lie in it."""
    frame = from_planes(planes, info.pixels)
    frame.colorspace = info.color.matrix
    return np.asarray(frame.reformat(format="rgb24").to_ndarray(), np.uint8)


def is_turned(info: VideoInfo) -> bool:
    """Whether players turn the picture by a quarter, so that its width becomes its height."""
    matrix = info.display_matrix
    return matrix is not None and abs(matrix[1]) > abs(matrix[0])


def upright(rgb: Rgb, info: VideoInfo) -> Rgb:
    """The picture turned, or mirrored, as the film tells players to.

    FFmpeg's matrix takes (x, y) to (a x + c y, b x + d y); all of a, b, c and d stand in the first two
    columns of its first two rows.
    """
    if info.display_matrix is None:
        return rgb
    a, b, _, c, d = info.display_matrix[:5]
    across, down = (c, b) if is_turned(info) else (a, d)
    if is_turned(info):
        rgb = rgb.swapaxes(0, 1)
    return rgb[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
