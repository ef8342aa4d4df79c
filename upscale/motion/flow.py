"""Optical flow between the frames of a shot, and one frame seen from the place of another.

Frames are matched by DIS (Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search",
2016, https://arxiv.org/abs/1603.03590), as OpenCV has it, after a blur and at one mean and contrast, so
that neither grain nor flickering exposure leads it astray."""

import threading
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
"""[H, W] float32."""

LEVELS = 255.0
"""8-bit levels in the luma range."""

SMALLEST = 16
"""Pixels of the shorter side below which there is nothing to match."""

EXPOSURE_BOX = 31
"""Side in pixels of the box whose mean brightness a neighbour takes over."""

TOLERANCE = 3.0
"""Difference in 8-bit levels, smoothed, at which a neighbour's weight has fallen to 0.6."""

SMOOTHING = 1.5
"""Sigma in pixels of the blur of that difference: grain averages out, a wrong match does not."""

_each_thread = threading.local()


@dataclass(frozen=True, slots=True)
class Flow:
    """Where each pixel of one frame is in a later one and the other way round, [H, W, 2] float32 pixels (x,
    y)."""

    forward: NDArray[np.float32]
    backward: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Aligned:
    """A neighbour seen from the centre's place."""

    luma: Plane
    """[H, W] in [0, 1], at the centre's local brightness; the centre's own where the neighbour does not
    reach."""
    weight: Plane
    """[H, W] from 0 (occluded, outside, mismatched) to 1 (the same)."""
    map: NDArray[np.float32]
    """[H, W, 2] float32: the place (x, y) in the neighbour of every pixel."""


def matchable(luma: Plane) -> NDArray[np.uint8]:
    """Luma [H, W] as the flow sees it: blurred by sigma 1, 8 bit, mean 128 and standard deviation 50."""
    blurred = cv2.GaussianBlur(luma, (0, 0), 1.0)
    mean, deviation = cv2.meanStdDev(blurred)
    gain = 50 / (float(deviation[0, 0]) + 1e-3 / LEVELS)
    return cv2.convertScaleAbs(np.maximum(blurred * gain + (128 - float(mean[0, 0]) * gain), 0))


def find_flow(earlier: NDArray[np.uint8], later: NDArray[np.uint8]) -> Flow:
    """The flow between two ``matchable`` pictures of one size, both ways."""
    if not hasattr(_each_thread, "dis"):  # its buffers are not to be shared
        _each_thread.dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis = _each_thread.dis
    return Flow(dis.calc(earlier, later, None), dis.calc(later, earlier, None))


def align(
    centre: Plane, neighbour: Plane, there: NDArray[np.float32], back: NDArray[np.float32]
) -> Aligned:
    """The ``neighbour`` warped onto the ``centre``, brought to its exposure, and how far it can be trusted.

    ``there`` is the flow from the centre to the neighbour, ``back`` the other way. The weight is
    exp(-e²/2·TOLERANCE²)·exp(-d²): e the smoothed difference in 8-bit levels, d the pixels by which going
    there and back misses the start.
    """
    height, width = centre.shape
    places = grid(height, width) + there
    warped = cv2.remap(neighbour, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    returned = cv2.remap(back, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    returned += there
    miss = np.einsum("ijk,ijk->ij", returned, returned)
    warped += cv2.blur(centre - warped, (EXPOSURE_BOX, EXPOSURE_BOX))
    error = cv2.GaussianBlur(warped - centre, (0, 0), SMOOTHING)
    error *= LEVELS / TOLERANCE
    weight = np.exp(-(error * error * 0.5 + miss))
    x, y = places[..., 0], places[..., 1]
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    weight[outside] = 0
    np.copyto(warped, centre, where=outside)
    return Aligned(warped, weight, places)


@lru_cache(maxsize=4)
def grid(height: int, width: int) -> NDArray[np.float32]:
    """The place (x, y) of every pixel, [height, width, 2] float32; not to be changed."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)
