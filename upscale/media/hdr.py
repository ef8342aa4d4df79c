"""HDR10's static metadata: the display that a film was graded on, and how bright it gets."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Mastering:
    """The mastering display (SMPTE ST 2086)."""

    primaries: tuple[tuple[Fraction, Fraction], ...]
    """CIE x and y of red, green, blue and white."""
    luminance: tuple[Fraction, Fraction]
    """Of black and of white, in candelas per square metre."""


@dataclass(frozen=True, slots=True)
class HdrMetadata:
    """What a stream says of its HDR; None for what it leaves open."""

    mastering: Mastering | None = None
    light_level: tuple[int, int] | None = None
    """Brightest pixel, and brightest frame on average, in candelas per square metre (CTA-861.3)."""

    @property
    def is_empty(self) -> bool:
        return self.mastering is None and self.light_level is None


NO_HDR = HdrMetadata()


def read_hdr(data: Mapping[str, bytes]) -> HdrMetadata:
    """What a decoded frame carries: see ``side_data.Inspector.readable``."""
    mastering = data.get("MASTERING_DISPLAY_METADATA")
    light = data.get("CONTENT_LIGHT_LEVEL")
    return HdrMetadata(
        _mastering(mastering) if mastering is not None else None,
        struct.unpack_from("=2I", light) if light is not None else None,
    )


def _mastering(data: bytes) -> Mastering | None:
    """From FFmpeg's AVMasteringDisplayMetadata: ten rationals, and whether they are set."""
    numbers = struct.unpack_from("=22i", data)
    has_primaries, has_luminance = numbers[20:]
    if not (has_primaries and has_luminance) or not all(numbers[1:20:2]):
        return None
    values = [Fraction(*numbers[index : index + 2]) for index in range(0, 20, 2)]
    points = tuple((values[index], values[index + 1]) for index in range(0, 8, 2))
    return Mastering(points, (values[8], values[9]))


def encoder_parameters(codec: str, hdr: HdrMetadata) -> tuple[str, str] | None:
    """The option of an encoder that writes ``hdr`` into its stream, and its value; None if it cannot."""
    if codec not in _WRITERS:
        return None
    option, mastering_name, light_name, separator = _WRITERS[codec]
    said = []
    if hdr.mastering:
        # SVT-AV1 takes plain numbers; the others steps of 0.00002, and of 0.0001 candela.
        plain = codec == "libsvtav1"
        point, level = (1, 1) if plain else (50000, 10000)

        def number(value: Fraction, unit: int) -> str:
            return f"{float(value):.6g}" if plain else str(round(value * unit))

        red, green, blue, white = (
            f"({number(x, point)},{number(y, point)})" for x, y in hdr.mastering.primaries
        )
        dark, bright = (number(value, level) for value in hdr.mastering.luminance)
        said.append(f"{mastering_name}=G{green}B{blue}R{red}WP{white}L({bright},{dark})")
    if hdr.light_level:
        said.append(f"{light_name}={hdr.light_level[0]},{hdr.light_level[1]}")
    return option, separator.join(said)


_WRITERS = {
    "libx264": ("x264-params", "mastering-display", "cll", ":"),
    "libx265": ("x265-params", "master-display", "max-cll", ":"),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", ":"),
}
"""Encoder -> its option, the names of the two parameters in it, and what stands between them."""
