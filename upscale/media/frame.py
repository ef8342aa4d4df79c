"""One picture of a film, on its way from what reads to what writes."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from upscale.planes import Planes


@dataclass(frozen=True, slots=True)
class Extras:
    """A decoded frame, for what it carries besides its samples."""

    frame: VideoFrame
    kinds: frozenset[str]
    """See ``side_data.Inspector.kinds``."""


@dataclass(frozen=True, slots=True)
class Key:
    """The first frame of a shot, which the others follow."""

    planes: Planes
    """As the model is to see it."""
    pts: int

    @property
    def is_clean(self) -> bool:
        """Whether it was found clean, and is to be seen as it came: see ``motion.window.windowed``."""
        return len(self.planes[0]) == 1


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture and its place in time, in ticks of ``time_base`` seconds."""

    planes: Planes
    pts: int
    duration: int
    """In ticks; 0 where the stream does not say."""
    time_base: Fraction
    extras: Extras | None = None
    """Where it carries something that an encoder may write, or light brighter than white."""
    key: Key | None = None
    """Of its shot, where something follows that."""


def samples(plane: VideoPlane, dtype: np.dtype, numbers: int = 1) -> NDArray:
    """The samples of a plane, a writable view [h, w * numbers] without the padding at the ends of lines.

    Some decoders, PFM's among them, give the last line first: their lines have a size below 0."""
    lines = np.frombuffer(memoryview(plane), dtype).reshape(-1, abs(plane.line_size) // dtype.itemsize)
    lines = lines[: plane.height, : plane.width * numbers]
    return lines[::-1] if plane.line_size < 0 else lines
