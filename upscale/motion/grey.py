"""Whether a picture is black and white."""

import cv2
import numpy as np

from upscale.planes import Planes

GREY = 4.0
"""Levels of 8 bit by which the chroma of a black-and-white film may stray: by noise of tape, say."""

AVERAGED = 8
"""Luma pixels a side over which chroma is averaged before it is judged."""


def stray(planes: Planes) -> float:
    """How far chroma strays from one colour over the picture: root mean square, in 8-bit levels.

    A film that was tinted is black and white, too, so it is the distance from the most usual colour."""
    if len(planes) == 1:
        return 0.0
    height, width = planes[0].shape[1:]
    size = max(width // AVERAGED, 1), max(height // AVERAGED, 1)
    small = np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes[1]])
    away = small - np.median(small, (1, 2), keepdims=True)
    return float(255 * np.sqrt(np.square(away).sum(0).mean()))
