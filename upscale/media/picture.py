"""Still pictures, alone or numbered, for the lab and for whoever looks at the result."""

import re
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from upscale.errors import UpscaleError
from upscale.media.info import NUMBERED, location
from upscale.media.light import as_shown, is_light
from upscale.media.pixels import to_planes

LIGHT = (".exr", ".hdr", ".pfm")
"""Of pictures of floats: see ``light``."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", *LIGHT}


def find_pictures(folder: Path) -> list[Path]:
    """The pictures directly in ``folder``, by name. Raises UpscaleError if there is none."""
    if not folder.is_dir():
        raise UpscaleError(f"{folder}: not a folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise UpscaleError(f"{folder}: no pictures in it ({', '.join(sorted(SUFFIXES))})")
    return found


def is_sequence(path: Path) -> bool:
    """Whether a name stands for numbered pictures: frame%05d.png."""
    return path.suffix.lower() in SUFFIXES and len(NUMBERED.findall(path.name)) == 1 and not path.exists()


def numbered(path: Path) -> list[Path]:
    """The pictures that there are of a sequence, in order."""
    place = NUMBERED.search(path.name)
    assert place is not None
    before, after = path.name[: place.start()], path.name[place.end() :]
    pattern = re.compile(re.escape(before) + rf"\d{{{place[1] or 1},}}" + re.escape(after))
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    found = [name for name in names if pattern.fullmatch(name)]
    return [path.parent / name for name in sorted(found, key=lambda name: (len(name), name))]


def first_number(path: Path) -> int:
    """The number of the first picture of a sequence. Raises UpscaleError if there is none."""
    found = numbered(path)
    if not found:
        raise UpscaleError(f"{path}: no such pictures")
    place = NUMBERED.search(path.name)
    assert place is not None
    return int(found[0].name[place.start() : len(found[0].name) - len(path.name) + place.end()])


def sequence_location(path: Path) -> str:
    """The name of numbered pictures as FFmpeg wants it, which looks for numbers in folders' names too."""
    return location(Path(str(path.parent).replace("%", "%%")) / path.name)


def read_picture(path: Path) -> NDArray[np.float32]:
    """Y'CbCr of a picture, [3, H, W] in [0, 1], 4:4:4; of a JPEG the very planes that it stores."""
    frame = _decoded(path)
    if not frame.format.name.endswith("444p"):
        frame = frame.reformat(
            format="yuv444p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG
        )
        frame.color_range = ColorRange.JPEG
    luma, chroma = to_planes(frame)
    return np.concatenate([luma, chroma])


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture as RGB [H, W, 3]."""
    return _decoded(path).to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def _decoded(path: Path) -> av.VideoFrame:
    try:
        with av.open(location(path)) as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration) as error:
        raise UpscaleError(f"{path}: cannot be read as a picture ({error})") from error
    return as_shown(frame) if is_light(frame.format.name) else frame


def write_picture(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write [H, W, 3] as PNG. Raises UpscaleError if it cannot be written."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    try:
        _write_png(path, frame)
    except av.FFmpegError as error:
        raise UpscaleError(f"{path}: cannot be written ({error.strerror})") from error


def _write_png(path: Path, frame: av.VideoFrame) -> None:
    with av.open(location(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "rgb24"
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def to_rgb(planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Full-range BT.601 Y'CbCr [3, H, W] (JPEG's) -> RGB [H, W, 3]."""
    luma, blue, red = planes[0], planes[1] - 0.5, planes[2] - 0.5
    rgb = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], -1)
    return np.round(rgb.clip(0, 1) * 255).astype(np.uint8)


def from_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RGB [H, W, 3] -> full-range BT.601 Y'CbCr [3, H, W], not rounded: the inverse of ``to_rgb``."""
    red, green, blue = np.moveaxis(rgb.astype(np.float32) / 255, -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([luma, 0.5 + (blue - luma) / 1.772, 0.5 + (red - luma) / 1.402])


def lanczos(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A plane [H, W] in [0, 1] resampled to ``size`` (height, width) by swscale's Lanczos, in 16 bit."""
    codes = np.round(plane.clip(0, 1) * 65535).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(codes, format="gray16le")
    resized = frame.reformat(size[1], size[0], "gray16le", interpolation="LANCZOS")
    return (resized.to_ndarray() / 65535).astype(np.float32)
