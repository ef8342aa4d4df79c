"""How to colour. Knows neither torch nor PyAV, so that options can be checked before they load."""

import hashlib
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from upscale.errors import UpscaleError, UsageError
from upscale.times import parse_time

COLORS = ("off", "auto", "reference")
"""No colour; colours that are sampled; colours of references, sampled where those say nothing."""

DEFAULT_TEMPERATURE = 0.2

TIME_NAME = re.compile(r"(?:(\d+)h)?(\d+)m(\d+(?:\.\d+)?)s$")
"""The name of a key frame that was exported: 1h02m03.480s.png."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A coloured picture to follow."""

    path: Path
    time: Fraction | None = None
    """In seconds from the beginning of the film, for a picture of the film itself; None for one that serves
    every shot that it is like."""
    data: bytes = field(default=b"", repr=False)
    """The file, once it was read: workers may be on other machines."""
    pts: int | None = None
    shot: int | None = None
    """The place of ``time`` in the film, in its ticks, and that of the first frame of the shot that it lies
    in; once they were looked for."""

    @classmethod
    def parse(cls, text: str) -> list["Reference"]:
        """``IMAGE``, ``TIME=IMAGE``, or a folder of images whose names are times. Raises UsageError."""
        from upscale.media.picture import find_pictures  # here, as it loads PyAV

        time, equals, name = text.partition("=")
        if equals and Path(name).suffix and not Path(text).exists():
            try:
                return [cls(Path(name), parse_time(time))]
            except ValueError:
                raise UsageError(
                    f"{time!r} is not a time; write --reference TIME=IMAGE, or IMAGE alone"
                ) from None
        path = Path(text)
        if path.is_dir():
            return [cls(picture, time_in_name(picture)) for picture in find_pictures(path)]
        return [cls(path, time_in_name(path))]

    def read(self) -> "Reference":
        """With its ``data``. Raises UpscaleError if there is no such picture."""
        from upscale.media.picture import SUFFIXES  # here, as it loads PyAV

        if self.path.suffix.lower() not in SUFFIXES and self.path.exists():
            known = ", ".join(sorted(SUFFIXES))
            raise UsageError(
                f"{self.path}: a reference is a picture ({known}); save a frame of the film first"
            )
        try:
            return replace(self, data=self.path.read_bytes())
        except OSError as error:
            raise UpscaleError(f"{self.path}: {error.strerror}") from error

    def identity(self) -> list[Any]:
        """All that frames depend on."""
        return [str(self.time), self.shot, hashlib.blake2b(self.data, digest_size=16).hexdigest()]


@dataclass(frozen=True, slots=True)
class ColorOptions:
    """How to colour; the defaults are the command's."""

    color: str = "off"
    """See COLORS."""
    references: tuple[Reference, ...] = ()
    color_seed: int = 0
    color_temperature: float = DEFAULT_TEMPERATURE
    """0 is the annealed mean of what the colours could be, 1 a full sample."""
    color_strength: float | None = None
    """How much of the colours is new, from 0 to 1; None for a film that has none of its own."""
    saturation: float = 1.0
    """Factor of the new colours."""

    @property
    def wanted(self) -> bool:
        """Whether there is anything to colour."""
        return self.color != "off"

    def check(self) -> None:
        """Raises UsageError for options that contradict each other."""
        if not self.wanted and replace(self, references=()) != ColorOptions():
            raise UsageError("--color-… and --saturation say how to colour; add --color auto")
        if self.color == "reference" and not self.references:
            raise UsageError("--color reference needs something to follow; give --reference IMAGE")
        if self.references and self.color != "reference":
            raise UsageError(f"--reference is for --color reference, not for --color {self.color}")

    def identity(self) -> dict[str, Any]:
        """All that frames depend on, for a record."""
        return {
            "color": self.color,
            "references": [reference.identity() for reference in self.references],
            "seed": self.color_seed,
            "temperature": self.color_temperature,
            "strength": self.color_strength,
            "saturation": self.saturation,
        }


def time_in_name(path: Path) -> Fraction | None:
    """The time that the name of an exported key frame tells, in seconds."""
    found = TIME_NAME.search(path.stem)
    if found is None:
        return None
    hours, minutes, seconds = found.groups()
    return (int(hours or 0) * 60 + int(minutes)) * 60 + Fraction(seconds)


def name_of_time(time: Fraction) -> str:
    """The name of a key frame at ``time`` seconds, without a suffix: see ``time_in_name``."""
    milliseconds = int(time * 1000)  # never later than the frame
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m{rest / 1000:06.3f}s"
