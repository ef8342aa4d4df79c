"""Pictures of floats, in linear light: OpenEXR, Radiance HDR and PFM, in and out."""

from collections.abc import Callable
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray

from upscale.media.light import as_light, as_shown, from_light, light_of

Run = Callable[..., Result]
FAST = ("-m", "nearest", "-q")


def sky(width: int = 32, height: int = 24) -> NDArray[np.float32]:
    """A dark slope in three colours, with a lamp and a sun, RGB [H, W, 3]."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    light = np.stack([x / width, y / height, (x + y) / (width + height)], -1) ** 2
    light[4:8, 4:10] = 3.5, 2.5, 0.5
    light[14:20, 20:28] = 60
    return light


def write(path: Path, *pictures: NDArray[np.float32], pix_fmt: str | None = None) -> Path:
    """By FFmpeg's own encoders, with no work of ours."""
    frames = [
        av.VideoFrame.from_ndarray(one, format="grayf32le" if one.ndim == 2 else "gbrpf32le")
        for one in pictures
    ]
    options = {} if "%" in path.name else {"update": "1"}
    with av.open(f"file:{path}", "w", format="image2", options=options) as container:
        stream = container.add_stream({".exr": "exr", ".hdr": "hdr", ".pfm": "pfm"}[path.suffix], rate=25)
        stream.width, stream.height, stream.pix_fmt = (
            frames[0].width,
            frames[0].height,
            pix_fmt or frames[0].format.name,
        )
        for number, frame in enumerate(frames):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path: Path) -> NDArray[np.float32]:
    with av.open(f"file:{path}") as container:
        return light_of(next(container.decode(video=0)))


@pytest.mark.parametrize("suffix", [".exr", ".hdr", ".pfm"])
@pytest.mark.parametrize("output", [".exr", ".hdr", ".pfm"])
def test_light_of_any_brightness_comes_back(suffix: str, output: str, upscale: Run, tmp_path: Path) -> None:
    source = write(tmp_path / f"in{suffix}", sky())
    result = upscale(source, tmp_path / f"out{output}", *FAST, "-s", "1")
    assert result.exit_code == 0, result.output
    assert not result.stderr
    rough = 0.02 if ".hdr" in (suffix, output) else 2e-3  # a Radiance picture has 8 bits for a number
    np.testing.assert_allclose(read(tmp_path / f"out{output}"), sky(), rtol=rough, atol=2 * rough)


@pytest.mark.parametrize("suffix", [".exr", ".pfm"])
def test_grey_light_stays_grey(suffix: str, upscale: Run, tmp_path: Path) -> None:
    grey = sky()[..., 0]
    source = write(tmp_path / f"in{suffix}", grey)
    assert upscale(source, tmp_path / f"out{suffix}", *FAST, "-s", "1").exit_code == 0
    np.testing.assert_allclose(read(tmp_path / f"out{suffix}"), grey, rtol=2e-3, atol=1e-4)
    assert upscale(source, tmp_path / "out.hdr", *FAST, "-s", "1").exit_code == 0  # which knows no grey
    np.testing.assert_allclose(read(tmp_path / "out.hdr")[..., 1], grey, rtol=0.02, atol=0.01)


def test_a_sequence_is_enlarged_with_what_is_brighter_than_white(upscale: Run, tmp_path: Path) -> None:
    films = [sky() * np.float32(factor) for factor in (0.5, 1, 2)]
    write(tmp_path / "frame_%04d.exr", *films)
    result = upscale(
        tmp_path / "frame_%04d.exr", tmp_path / "out_%04d.exr", "-m", "film", "-s", "2", "-q", "-t", "0"
    )
    assert result.exit_code == 0, result.output
    made = [read(path) for path in sorted(tmp_path.glob("out_*.exr"))]
    assert len(made) == 3
    for light, truth in zip(made, films, strict=True):
        assert light.shape == (48, 64, 3)
        sun = light[32:36, 46:50].mean()
        assert sun == pytest.approx(truth[16, 24].mean(), rel=0.05)
        assert abs(light[:6].mean() - truth[:3].mean()) < 0.05


@pytest.mark.parametrize("name", ["out.png", "out.tif", "out.mkv"])
def test_a_screen_shows_light_by_its_curve(name: str, upscale: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "in.exr", sky())
    result = upscale(source, tmp_path / name, *FAST, "-s", "1")
    assert result.exit_code == 0, result.output
    assert "brighter than white, where there is any, was cut off" in result.stderr
    cut = sky().clip(0, 1)
    wanted = np.where(cut <= 0.0031308, cut * 12.92, 1.055 * cut ** (1 / 2.4) - 0.055)
    with av.open(str(tmp_path / name)) as container:
        frame = next(container.decode(video=0))
    assert frame.color_trc in (13, 2)  # sRGB, or what has no place for it
    rgb = frame.to_ndarray(format="rgb48le") / 65535
    assert np.abs(rgb - wanted)[:12].mean() < 0.02
    assert upscale(source, tmp_path / f"strict-{name}", *FAST, "-s", "1", "--strict").exit_code == 1


def test_a_screens_picture_becomes_light(upscale: Run, tmp_path: Path) -> None:
    plain = "color=0xC04020:size=32x24,format=rgb24"
    source = ffmpeg.make(tmp_path / "in.png", "-f", "lavfi", "-i", plain, "-frames:v", "1")
    assert upscale(source, tmp_path / "out.exr", *FAST, "-s", "2").exit_code == 0
    with av.open(str(source)) as container:
        code = next(container.decode(video=0)).to_ndarray(format="rgb24")[0, 0] / 255
    assert code[0] - code[2] > 0.5
    wanted = ((code + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(read(tmp_path / "out.exr").mean((0, 1)), wanted, atol=5e-3)


def test_a_crop_takes_the_brightness_along(upscale: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "in.exr", sky())
    assert upscale(source, tmp_path / "out.exr", *FAST, "-s", "1", "--crop", "16:12:14:10").exit_code == 0
    np.testing.assert_allclose(read(tmp_path / "out.exr"), sky()[10:22, 14:30], rtol=2e-3, atol=4e-3)


def test_numbers_that_are_none_do_no_harm(upscale: Run, tmp_path: Path) -> None:
    light = sky()
    light[0, 0], light[0, 5], light[5, 0], light[9, 9] = np.nan, np.inf, -np.inf, -2
    source = write(tmp_path / "in.pfm", light)
    assert upscale(source, tmp_path / "out.exr", "-m", "clean", "-s", "2", "-q").exit_code == 0
    made = read(tmp_path / "out.exr")
    assert made.min() >= 0
    assert np.abs(made[40:, :20] - light[20:, :10].repeat(2, 0).repeat(2, 1)).mean() < 0.05


@pytest.mark.parametrize("pix_fmt", ["gbrpf32le", "gbrapf32le", "grayf32le"])
@pytest.mark.parametrize("kind", ["half", "float"])
def test_exr_of_every_kind_is_read(pix_fmt: str, kind: str, upscale: Run, tmp_path: Path) -> None:
    """PyAV has no arrays of half floats; an alpha plane is left behind, and told."""
    light = sky()[..., 0] if pix_fmt.startswith("gray") else sky()
    path = write(tmp_path / "plain.exr", light)
    ffmpeg.make(tmp_path / "in.exr", "-i", path, "-pix_fmt", pix_fmt, "-c:v", "exr", "-format", kind)
    result = upscale(tmp_path / "in.exr", tmp_path / "out.exr", *FAST, "-s", "1")
    assert result.exit_code == 0, result.output
    assert ("alpha" in result.stderr) == ("gbra" in pix_fmt)
    made = read(tmp_path / "out.exr")
    np.testing.assert_allclose(made[..., 0], read(tmp_path / "in.exr")[..., 0], rtol=2e-3, atol=1e-3)
    assert made.shape == light.shape


def test_pq_is_not_taken_for_light(make_clip: Callable[..., Path], upscale: Run, tmp_path: Path) -> None:
    source = make_clip("in.mkv", color=(1, 9, 9, 16), pix_fmt="yuv420p10le", codec="libx265")
    result = upscale(source, tmp_path / "out%d.exr", *FAST)
    assert result.exit_code == 2
    assert "PQ and HLG are not made into" in result.stderr


def test_the_curve_and_its_inverse_are_exact_to_half_a_code() -> None:
    light = np.linspace(0, 1, 3000, dtype=np.float32).reshape(10, 100, 3)
    frame = from_light(light)
    np.testing.assert_allclose(light_of(as_light(as_shown(frame))), light, atol=1.2e-5 * 2.3)
