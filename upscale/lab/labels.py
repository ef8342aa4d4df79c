"""The names of what is compared: short ones, and how they are written on a picture."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.errors import UsageError

FONT = cv2.FONT_HERSHEY_SIMPLEX

MARGIN = 6
"""Pixels between a label and the edges of the picture."""

LINES = 480
"""Rows of a picture on which the font has its own size, with capitals of 22 pixels."""

SMALLEST, LARGEST = 0.4, 1.5
"""Size of the font, in its own."""

HAS_ALL_SCRIPTS = int(cv2.__version__.split(".")[0]) >= 5
"""Whether OpenCV's font has more letters than those of ASCII."""


def labels_for(paths: Sequence[Path], given: Sequence[str]) -> list[str]:
    """A label for each input: those that were ``given``, or the files' names. Raises UsageError."""
    if not given:
        return short_names(paths)
    if len(given) != len(paths):
        raise UsageError(f"{len(given)} labels for {len(paths)} inputs; give --label once for each input")
    return list(given)


def short_names(paths: Sequence[Path]) -> list[str]:
    """The end of every path, as short as it can be to differ from that of every other file."""
    files = [path.absolute().parts[1:] for path in paths]

    def shortest(parts: tuple[str, ...]) -> str:
        others = [other for other in files if other != parts]
        for length in range(1, len(parts)):
            if all(other[-length:] != parts[-length:] for other in others):
                return "/".join(parts[-length:])
        return "/".join(parts)

    return [shortest(parts) for parts in files]


def draw_label(rgb: NDArray[np.uint8], text: str, right: bool = False) -> None:
    """Write ``text`` into the upper left corner of a picture [H, W, 3], or the right one: white with a dark
    outline. A text that is too long for the picture loses its beginning."""
    text = text if HAS_ALL_SCRIPTS else _in_ascii(text)
    if not text:
        return
    height, width = rgb.shape[:2]
    room = max(width - 2 * MARGIN, 1)
    size = min(max(height / LINES, SMALLEST), LARGEST)
    size = max(size * min(1, room / _width(text, size)), SMALLEST)
    shown, cut = text, 0
    while _width(shown, size) > room and cut < len(text) - 1:
        cut += 1
        shown = f"..{text[cut:]}"
    (wide, high), below = cv2.getTextSize(shown, FONT, size, _stroke(size))
    place = (max(MARGIN, width - MARGIN - wide) if right else MARGIN, MARGIN + high)
    corner = rgb[: place[1] + below + MARGIN]
    letters = np.zeros(corner.shape[:2], np.uint8)
    cv2.putText(letters, shown, place, FONT, size, 255, _stroke(size), cv2.LINE_AA)
    reach = 2 * _stroke(size) + 3
    outline = cv2.dilate(letters, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    dark, light = (mask[..., np.newaxis].astype(np.float32) / 255 for mask in (outline, letters))
    corner[:] = np.round(corner * (1 - dark) * (1 - light) + 255 * light)


def _stroke(size: float) -> int:
    """Width in pixels of a line of the font; the outline around it is as wide, and a pixel more."""
    return max(1, round(2 * size))


def _width(text: str, size: float) -> int:
    return int(cv2.getTextSize(text, FONT, size, _stroke(size))[0][0])


def _in_ascii(text: str) -> str:
    """The text without its accents; letters of other scripts become ``?``."""
    letters = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return bare.encode("ascii", "replace").decode()
