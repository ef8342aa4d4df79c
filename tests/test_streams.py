"""Which of several streams is the picture."""

import struct
from collections.abc import Callable
from pathlib import Path

import ffmpeg
import pytest
from click.testing import Result
from conftest import contents

from upscale.media.read.source import Source

Run = Callable[..., Result]
PLAIN = ("-m", "nearest", "-s", 2, "-q")


def red(seconds: float) -> tuple[str, ...]:
    return "-f", "lavfi", "-i", f"color=red:s=320x240:d={seconds}"


def size(path: Path) -> tuple[int, int]:
    with Source(path) as source:
        return source.info.width, source.info.height


@pytest.mark.parametrize(
    ("name", "seconds", "options"),
    [
        ("still.mp4", 0.04, ("-c:v:0", "mjpeg", "-c:v:1", "libx264")),
        ("still.mkv", 0.04, ("-c:v:0", "mjpeg", "-c:v:1", "libx264")),
        ("default.mkv", 1, ("-c:v", "libx264", "-disposition:v:0", 0, "-disposition:v:1", "default")),
        ("longer.mp4", 0.2, ("-c:v", "libx264", "-disposition:v", "default")),
    ],
)
def test_the_film_is_what_a_player_shows(
    name: str, seconds: float, options: tuple[object, ...], upscale: Run, tmp_path: Path
) -> None:
    """And what else there is goes along as it is."""
    film = ffmpeg.make(
        tmp_path / name, *red(seconds), *ffmpeg.picture(seconds=1), "-map", "0:v", "-map", "1:v", *options
    )
    assert size(film) == (64, 48)
    target = tmp_path / "out.mkv"
    result = upscale(film, target, *PLAIN, "--segment", "0.4")
    assert result.exit_code == 0
    assert "stream 1 (64x48) was taken for the film, and not stream 0 (320x240)" in result.stderr
    assert len(contents(target)["video"]) == len(contents(film)["video"])
    assert size(target) == (128, 96)


def test_of_equals_the_first_is_the_film(upscale: Run, tmp_path: Path) -> None:
    film = ffmpeg.make(
        tmp_path / "angles.mkv",
        *ffmpeg.picture(),
        *ffmpeg.picture(),
        "-map",
        0,
        "-map",
        1,
        "-c:v",
        "libx264",
    )
    result = upscale(film, tmp_path / "out.mkv", *PLAIN, "--strict")
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_mask_of_an_avif_is_not_the_picture(tmp_path: Path) -> None:
    """Wherever it is listed."""
    mask = ("-f", "lavfi", "-i", "testsrc=s=64x48,format=gray")
    for order in ((0, 1), (1, 0)):
        film = ffmpeg.make(
            tmp_path / "alpha.avif",
            *(*ffmpeg.picture(), *mask, "-map", 0, "-map", 1, "-frames:v", 1),
            *("-c:v", "libaom-av1", "-cpu-used", 8, "-still-picture", 1),
        )
        if order == (1, 0):
            data = film.read_bytes()
            film.write_bytes(data.replace(b"pitm\0\0\0\0\0\1", b"pitm\0\0\0\0\0\2"))
        with Source(film) as source:
            assert (source.info.pixels.subsampling is None) == (order == (1, 0))


def test_a_picture_of_tiles_is_refused(upscale: Run, tmp_path: Path) -> None:
    """As every photo of an iPhone is; one tile of it would be a picture, too."""
    made = grid_of_tiles(tmp_path, 4)
    result = upscale(made, tmp_path / "out.png", *PLAIN)
    assert result.exit_code == 1
    assert (
        "a picture of 4 tiles, which are not put together here; convert it to PNG or JPEG" in result.stderr
    )


def box(kind: bytes, *parts: bytes, version: int | None = None) -> bytes:
    body = b"".join(parts) if version is None else struct.pack(">I", version) + b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def grid_of_tiles(folder: Path, count: int) -> Path:
    """A HEIC whose picture is tiles of 64x64 in two columns (ISO/IEC 23008-12, 6.6.2.3.1)."""
    tile = ffmpeg.make(
        folder / "tile.mp4",
        *(*ffmpeg.picture("64x64"), "-frames:v", 1, "-pix_fmt", "yuv420p", "-tag:v", "hvc1"),
        *("-c:v", "libx265", "-x265-params", "log-level=none"),
    ).read_bytes()
    at = tile.index(b"hvcC") - 4
    header = tile[at : at + struct.unpack_from(">I", tile, at)[0]]
    at = tile.index(b"mdat") - 4
    data = tile[at + 8 : at + struct.unpack_from(">I", tile, at)[0]]
    whole, tiles = count + 1, range(1, count + 1)
    grid = struct.pack(">BBBBHH", 0, 0, count // 2 - 1, 1, 128, 32 * count)
    entries = [box(b"infe", struct.pack(">HH4sx", each, 0, b"hvc1"), version=2 << 24 | 1) for each in tiles]
    entries.append(box(b"infe", struct.pack(">HH4sx", whole, 0, b"grid"), version=2 << 24))
    shapes = [
        box(b"ispe", struct.pack(">II", *shape), version=0) for shape in ((64, 64), (128, 32 * count))
    ]
    links = [struct.pack(">HBBB", each, 2, 0x81, 2) for each in tiles] + [struct.pack(">HBB", whole, 1, 3)]

    def meta(begin: int) -> bytes:
        places = [
            struct.pack(">HHHHII", each, 0, 0, 1, begin + (each - 1) * len(data), len(data))
            for each in tiles
        ]
        places.append(struct.pack(">HHHHII", whole, 1, 0, 1, 0, len(grid)))
        return box(
            b"meta",
            box(b"hdlr", struct.pack(">I4s13x", 0, b"pict"), version=0),
            box(b"pitm", struct.pack(">H", whole), version=0),
            box(b"iloc", struct.pack(">BBH", 0x44, 0, whole), *places, version=1 << 24),
            box(b"iinf", struct.pack(">H", whole), *entries, version=0),
            box(b"iref", box(b"dimg", struct.pack(f">HH{count}H", whole, count, *tiles)), version=0),
            box(
                b"iprp",
                box(b"ipco", header, *shapes),
                box(b"ipma", struct.pack(">I", whole), *links, version=0),
            ),
            box(b"idat", grid),
            version=0,
        )

    kind = box(b"ftyp", b"heic", struct.pack(">I", 0), b"mif1heic")
    path = folder / "grid.heic"
    path.write_bytes(kind + meta(len(kind) + len(meta(0)) + 8) + box(b"mdat", data * count))
    return path
