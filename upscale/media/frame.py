"""One picture of a film, on its way from what reads to what writes."""

from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame

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
    """Where it carries something that an encoder may write."""
    key: Key | None = None
    """Of its shot, where something follows that."""
