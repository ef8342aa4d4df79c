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

LARGEST_GAIN = 3.0
"""Exposures that differ by more than this are not matched: so much a photographer's flash makes."""

EFFORTS = {
    "rough": (cv2.DISOPTICAL_FLOW_PRESET_FAST, 2),
    "quick": (cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, 1),
    "fine": (cv2.DISOPTICAL_FLOW_PRESET_FAST, 1),
}
"""Name -> DIS's preset and its finest scale: 2 is a quarter of the size, 1 half of it.
Fast refines the flow that ultrafast finds. A frame of 480x270 takes 3, 6 and 11 ms of a core."""

MOST_KINDS = 3
"""Efforts and sizes for which a thread keeps buffers: as many as a film needs."""

_each_thread = threading.local()


@dataclass(frozen=True, slots=True)
class Aligned:
    """A neighbour seen from the centre's place."""

    luma: Plane
    """[H, W] in [0, 1], at the centre's local brightness; the centre's own where the neighbour does not
    reach."""
    inside: NDArray[np.bool_]
    """[H, W]: whether it does."""
    map: NDArray[np.float32]
    """[H, W, 2] float32: the place (x, y) in the neighbour of every pixel."""


def matchable(luma: Plane) -> NDArray[np.uint8]:
    """Luma [H, W] as the flow sees it: blurred by sigma 1, 8 bit, mean 128 and standard deviation 50."""
    blurred = cv2.GaussianBlur(luma, (0, 0), 1.0)
    mean, deviation = cv2.meanStdDev(blurred)
    gain = 50 / (float(deviation[0, 0]) + 1e-3 / LEVELS)
    return cv2.convertScaleAbs(np.maximum(blurred * gain + (128 - float(mean[0, 0]) * gain), 0))


def find_flow(
    one: NDArray[np.uint8], other: NDArray[np.uint8], effort: str = "rough"
) -> NDArray[np.float32]:
    """Where each pixel of one ``matchable`` picture is in another of its size: [H, W, 2] float32 pixels (x,
    y), to be added to its own place. ``effort`` is one of EFFORTS."""
    if not hasattr(_each_thread, "dis"):  # its buffers are not to be shared
        _each_thread.dis = {}
    known = _each_thread.dis
    # One for each size: for a picture that is too small for its scales it chooses others, and keeps them.
    kind = effort, one.shape
    if kind not in known:
        if len(known) >= MOST_KINDS:
            known.clear()
        preset, finest = EFFORTS[effort]
        known[kind] = dis = cv2.DISOpticalFlow.create(preset)
        dis.setFinestScale(finest)
    flow: NDArray[np.float32] = known[kind].calc(one, other, None)
    return flow


def align(centre: Plane, neighbour: Plane, there: NDArray[np.float32]) -> Aligned:
    """The ``neighbour`` warped onto the ``centre`` and brought to its exposure: by one gain for the frame,
    and by the mean brightness around each pixel.

    ``there`` is the flow from the centre to the neighbour."""
    height, width = centre.shape
    places = grid(height, width) + there
    warped = cv2.remap(neighbour, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.inRange(places, (0, 0), (width - 1, height - 1))
    _, contrast = cv2.meanStdDev(centre, mask=inside)
    _, own = cv2.meanStdDev(warped, mask=inside)
    gain = float(contrast[0, 0]) / max(float(own[0, 0]), 1e-3 / LEVELS)
    if 1 / LARGEST_GAIN < gain < LARGEST_GAIN:
        warped *= np.float32(gain)
    warped += cv2.blur(centre - warped, (EXPOSURE_BOX, EXPOSURE_BOX))
    is_inside = inside.astype(np.bool_)
    np.copyto(warped, centre, where=~is_inside)
    return Aligned(warped, is_inside, places)


@lru_cache(maxsize=4)
def grid(height: int, width: int) -> NDArray[np.float32]:
    """The place (x, y) of every pixel, [height, width, 2] float32; not to be changed."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)
