"""What frames carry besides their samples: EXIF, colour profiles, kinds without a name; and matrices."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from conftest import contents

from upscale.media.picture import read_rgb
from upscale.media.read.source import Source

Run = Callable[..., Result]
PLAIN = ("-m", "nearest", "-s", 2, "-q")
TURNED = 6
"""EXIF's number for a picture that is to be turned by 90 degrees."""

PROFILE = struct.pack(">I4sI12s12x4s88xI", 132, b"lcms", 0x04200000, b"mntrRGB XYZ ", b"acsp", 0)


def exif(orientation: int) -> bytes:
    """The smallest block of it."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment at its beginning."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + jpeg[2:]


def with_exif(jpeg: bytes, orientation: int = TURNED) -> bytes:
    return with_segment(jpeg, 0xE1, b"Exif\0\0" + exif(orientation))


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:33] + chunk + png[33:]


def still(path: Path, *options: object) -> bytes:
    return ffmpeg.make(path, *ffmpeg.picture(), "-frames:v", 1, *options).read_bytes()


def rotation(path: Path) -> tuple[int, ...] | None:
    """What a player is told, in the signs alone: FFmpeg reckons it from an angle in some files."""
    with Source(path) as source:
        matrix = source.info.display_matrix
    return None if matrix is None else tuple(int(np.sign(value)) for value in matrix)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """As every phone writes it."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(with_exif(still(path, "-pix_fmt", "yuvj420p")))
    return path


@pytest.fixture
def camera(tmp_path: Path) -> Callable[[int], Path]:
    """Motion JPEG of ten frames, with EXIF from one of them on."""

    def make(since: int) -> Path:
        plain = ffmpeg.make(
            tmp_path / "plain.avi", *ffmpeg.picture(seconds=0.4), "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"
        )
        path = tmp_path / f"since{since}.avi"
        with av.open(plain) as source, av.open(path, "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for number, packet in enumerate(packet for packet in source.demux() if packet.size):
                data = bytes(packet)
                made = av.Packet(with_exif(data) if number >= since else data)
                made.pts = made.dts = number
                made.time_base, made.stream, made.is_keyframe = Fraction(1, 25), stream, True
                target.mux(made)
        return path

    return make


@pytest.mark.parametrize("name", ["out.jpg", "out.png", "out.tif"])
def test_a_photo_of_a_phone_stays_upright(name: str, photo: Path, upscale: Run, tmp_path: Path) -> None:
    result = upscale(photo, tmp_path / name, *PLAIN)
    assert result.exit_code == 0, result.stderr
    assert rotation(tmp_path / name) == rotation(photo) is not None
    assert "rotation" not in result.stderr


def test_exif_that_is_too_long_for_a_jpeg_leaves_the_rotation(upscale: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.jpg"
    maker = struct.pack("<HHII", 0x10F, 2, 90_000, 38)
    block = b"II*\0" + struct.pack("<IH", 8, 2) + maker + struct.pack("<HHII", 0x112, 3, 1, TURNED)
    source.write_bytes(with_chunk(still(source), b"eXIf", block + bytes(4) + b"a" * 90_000))
    assert upscale(source, target, *PLAIN).exit_code == 0
    assert rotation(target) == rotation(source) is not None


def test_where_it_cannot_stay_upright_it_says_so(photo: Path, upscale: Run, tmp_path: Path) -> None:
    result = upscale(photo, tmp_path / "out.webp", *PLAIN)
    assert "the rotation was left out" in result.stderr
    assert "the EXIF of the picture was left out: libwebp does not write it" in result.stderr
    assert upscale(photo, tmp_path / "strict.webp", *PLAIN, "--strict").exit_code == 1
    assert not (tmp_path / "strict.webp").exists()


def test_a_turned_film_becomes_turned_photos(
    make_clip: Callable[..., Path], upscale: Run, tmp_path: Path
) -> None:
    film = ffmpeg.make(
        tmp_path / "turned.mp4", "-display_rotation", 90, "-i", make_clip("plain.mp4"), "-c", "copy"
    )
    for suffix in ("jpg", "png", "tif"):
        assert upscale(film, tmp_path / f"%02d.{suffix}", *PLAIN).exit_code == 0
        assert rotation(tmp_path / f"01.{suffix}") == rotation(film) is not None


@pytest.mark.parametrize("since", [0, 6])
def test_frames_with_exif_are_a_film_as_others(
    since: int, camera: Callable[[int], Path], upscale: Run, tmp_path: Path
) -> None:
    film, target = camera(since), tmp_path / "out.mkv"
    result = upscale(film, target, *PLAIN, "--segment", "0.2")
    assert result.exit_code == 0, result.stderr
    assert len(contents(target)["video"]) == 10
    assert result.stderr.count("EXIF of the picture was left out") == 1
    assert upscale(film, tmp_path / "%02d.jpg", *PLAIN).exit_code == 0
    turned = [rotation(tmp_path / f"{number:02d}.jpg") is not None for number in range(1, 11)]
    assert turned == [number >= since for number in range(10)]


def test_numbered_photos(photo: Path, upscale: Run, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"shot{number}.jpg").write_bytes(photo.read_bytes())
    assert upscale(tmp_path / "shot%d.jpg", tmp_path / "out.mkv", *PLAIN).exit_code == 0
    assert len(contents(tmp_path / "out.mkv")["video"]) == 3


@pytest.mark.parametrize("name", ["profile.png", "profile.jpg"])
def test_a_colour_profile_is_kept(name: str, tmp_path: Path) -> None:
    plain = still(tmp_path / name)
    source = tmp_path / name
    source.write_bytes(
        with_chunk(plain, b"iCCP", b"named\0\0" + zlib.compress(PROFILE))
        if name.endswith("png")
        else with_segment(plain, 0xE2, b"ICC_PROFILE\0\1\1" + PROFILE)
    )
    for target in (tmp_path / "out.png", tmp_path / "out.jpg"):
        # In a process of its own: PyAV would crash it at its end.
        assert "ICC" not in in_its_own_process(source, target)
        assert profile(target) == PROFILE
    told = in_its_own_process(source, tmp_path / "out.bmp")
    assert "the ICC profile of the picture was left out: bmp does not write it" in told


def in_its_own_process(source: Path, target: Path) -> str:
    """What a run says on standard error."""
    command = [sys.executable, "-m", "upscale", source, target, *map(str, PLAIN)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    return done.stderr


def profile(path: Path) -> bytes | None:
    """The colour profile in a PNG, or in a JPEG."""
    data = path.read_bytes()
    if path.suffix == ".jpg":
        at = data.find(b"ICC_PROFILE\0\1\1")
        return data[at + 14 : at + 14 + len(PROFILE)] if at >= 0 else None
    at = data.find(b"iCCP") + 4
    return zlib.decompress(data[data.index(b"\0", at) + 2 :]) if at >= 4 else None


@pytest.mark.parametrize("matrix", ["bt709", "bt470bg", "smpte170m", "smpte240m", "fcc", "bt2020nc"])
def test_every_matrix_becomes_rgb(matrix: str, upscale: Run, tmp_path: Path) -> None:
    """The colours are those that FFmpeg makes of the same film."""
    film = ffmpeg.make(
        tmp_path / "film.mkv",
        *ffmpeg.picture(seconds=0.2, more=f"setparams=colorspace={matrix}:range=tv"),
        *("-pix_fmt", "yuv444p", "-c:v", "ffv1"),
    )
    for name, options in (
        ("%02d.png", ()),
        ("out.gif", ()),
        ("rgb.mkv", ("--codec", "libx264rgb", "--crf", 0)),
        ("444.mkv", ("--codec", "libx264", "--pix-fmt", "yuv444p10le")),
    ):
        result = upscale(film, tmp_path / name, "-m", "nearest", "-s", 1, *options)
        assert result.exit_code == 0, result.stderr
    expected = ffmpeg.make(
        tmp_path / "expected.png", "-i", film, "-frames:v", 1, "-sws_flags", "accurate_rnd"
    )
    apart = read_rgb(tmp_path / "01.png").astype(int) - read_rgb(expected)
    assert np.abs(apart).max() <= 2


def test_grey_has_no_matrix(upscale: Run, tmp_path: Path) -> None:
    still(tmp_path / "in.png", "-pix_fmt", "gray")
    result = upscale(tmp_path / "in.png", tmp_path / "out.jpg", *PLAIN, "--strict")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("matrix", [8, 10, 14])
def test_a_matrix_that_ffmpeg_cannot_convert_is_told(matrix: int, upscale: Run, tmp_path: Path) -> None:
    """YCgCo, BT.2020 with constant luminance, ICtCp."""
    tag = ("-bsf:v", f"h264_metadata=matrix_coefficients={matrix}")
    film = ffmpeg.make(tmp_path / "film.mkv", *ffmpeg.picture(seconds=0.2), *ffmpeg.X264, *tag)
    result = upscale(film, tmp_path / "out.mkv", "-m", "nearest", "-s", 1)
    assert (result.exit_code, result.stderr.count("not exact")) == (0, 0)
    result = upscale(film, tmp_path / "%02d.png", "-m", "nearest", "-s", 1)
    assert result.exit_code == 0
    assert "colours are not exact" in result.stderr
