"""What a film holds besides its picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from av.stream import Disposition, Stream

if TYPE_CHECKING:
    from av.container.core import Chapter

OF_THE_OLD_STREAM = {"encoder", "duration", "bps", "number_of_frames", "number_of_bytes", "vendor_id"}
"""Tags that describe the stream as it was encoded (mkvmerge's statistics among them), not the film."""


@dataclass(frozen=True, slots=True)
class Cargo:
    """All that a film holds besides its picture."""

    streams: Sequence[Stream] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Of the film."""
    picture_metadata: Mapping[str, str] = field(default_factory=dict)
    """Of its picture's stream: language, time code."""
    disposition: Disposition | None = None
    """Of its picture's stream."""
    chapters: Sequence["Chapter"] = ()


NOTHING = Cargo()


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is a still, such as the cover of a disc, and not a film."""
    return stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)


def lasting(metadata: Mapping[str, str]) -> dict[str, str]:
    """The tags of a stream that stay true when it is encoded anew."""
    return {
        key: text
        for key, text in metadata.items()
        if key.lower().split("-")[0] not in OF_THE_OLD_STREAM and not key.startswith("_STATISTICS")
    }
