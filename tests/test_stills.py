"""Single pictures and numbered sequences, in and out."""

from collections.abc import Callable
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from ffmpeg import X264, picture
from numpy.typing import NDArray

Run = Callable[..., Result]
FAST = ("-s", "2", "-m", "nearest", "-q")
SMOOTH = "gradients=size=64x48:c0=0x2040C0:c1=0xD0A020:seed=1"


def rgb(path: Path) -> NDArray[np.integer]:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)


@pytest.mark.parametrize(
    ("pix_fmt", "level"), [("rgb24", 1), ("gray", 1), ("rgb48be", 1), ("pal8", 1), ("gray16be", 0)]
)
def test_a_png_stays_what_it_was(pix_fmt: str, level: int, upscale: Run, tmp_path: Path) -> None:
    source = ffmpeg.make(tmp_path / "in.png", *picture(), "-frames:v", "1", "-pix_fmt", pix_fmt)
    result = upscale(source, tmp_path / "out.png", *FAST)
    assert result.exit_code == 0, result.output
    error = np.abs(rgb(tmp_path / "out.png")[::2, ::2] - rgb(source))
    assert error.max() <= level, np.unique(error, return_counts=True)
    with av.open(str(tmp_path / "out.png")) as container:
        bits = container.streams.video[0].format.components[0].bits
    assert bits == (16 if "16" in pix_fmt or "48" in pix_fmt else 8)


def test_grey_is_as_bright_in_rgb(upscale: Run, tmp_path: Path) -> None:
    grey = ffmpeg.make(
        tmp_path / "in.mkv",
        "-f",
        "lavfi",
        "-i",
        SMOOTH,
        "-pix_fmt",
        "gray",
        "-frames:v",
        "1",
        "-c:v",
        "ffv1",
    )
    result = upscale(grey, tmp_path / "out.mkv", *FAST, "--codec", "libx264rgb", "--crf", "1")
    assert result.exit_code == 0, result.output
    assert (
        np.abs(rgb(tmp_path / "out.mkv")[::2, ::2] - rgb(grey)).mean() < 1.5
    )  # 16 where the range is wrong


@pytest.mark.parametrize("pix_fmt", ["xyz12le", "xyz12be"])
@pytest.mark.parametrize("output", ["out.png", "out%d.tif", "out.mkv"])
def test_the_xyz_of_digital_cinema_keeps_its_colours(
    pix_fmt: str, output: str, upscale: Run, tmp_path: Path
) -> None:
    tagged = "setparams=color_primaries=smpte428:color_trc=smpte428"
    source = ffmpeg.make(
        tmp_path / "in.nut", "-f", "lavfi", "-i", SMOOTH, "-frames:v", "1",
        "-vf", f"format=rgb48le,format={pix_fmt},{tagged}", "-c:v", "rawvideo",
    )  # fmt: skip
    plain = ffmpeg.make(tmp_path / "plain.png", "-f", "lavfi", "-i", SMOOTH, "-frames:v", "1")
    result = upscale(source, tmp_path / output, *FAST)
    assert result.exit_code == 0, result.output
    made = next(tmp_path.glob(output.replace("%d", "*")))
    assert np.abs(rgb(made)[::2, ::2] - rgb(plain)).mean() < 1.5  # as grey it is off by dozens
    with av.open(str(made)) as container:
        frame = next(container.decode(video=0))
    assert (frame.color_primaries, frame.color_trc) in ((2, 2), (1, 13))  # unspecified, or sRGB's


def test_a_picture_of_every_chroma_layout(upscale: Run, tmp_path: Path) -> None:
    for layout in ("yuv411p", "yuv410p", "yuv440p"):  # which FFmpeg has in 8 bit only, or nearly
        film = tmp_path / f"{layout}.avi"
        ffmpeg.make(film, "-f", "lavfi", "-i", SMOOTH, "-frames:v", "1", "-pix_fmt", layout, "-c:v", "ffv1")
        result = upscale(film, tmp_path / f"{layout}.png", *FAST)
        assert result.exit_code == 0, result.output
        assert np.abs(rgb(tmp_path / f"{layout}.png")[::2, ::2] - rgb(film)).mean() < 4


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_a_jpeg_into_other_pictures(suffix: str, upscale: Run, tmp_path: Path) -> None:
    source = ffmpeg.make(tmp_path / "in.jpg", "-f", "lavfi", "-i", SMOOTH, "-frames:v", "1", "-q:v", "1")
    out = tmp_path / f"out{suffix}"
    result = upscale(source, out, *FAST)
    assert result.exit_code == 0, result.output
    assert rgb(out).shape == (96, 128, 3)
    assert np.abs(rgb(out)[::2, ::2] - rgb(source)).mean() < 2


def test_a_film_becomes_numbered_pictures_and_a_film_again(upscale: Run, tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.mp4", *picture(), *X264)
    folder = tmp_path / "100% film"
    folder.mkdir()
    result = upscale(film, folder / "frame%04d.png", *FAST)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"frame{number:04d}.png" for number in range(1, 26)]
    again = upscale(film, folder / "frame%04d.png", *FAST)
    assert again.exit_code == 1
    assert "frame0001.png: exists; use -y" in again.stderr
    assert upscale(film, folder / "frame%04d.png", *FAST, "-n").exit_code == 0
    back = upscale(folder / "frame%04d.png", tmp_path / "out.mp4", *FAST)
    assert back.exit_code == 0, back.output
    assert len(ffmpeg.frames(tmp_path / "out.mp4").times) == 25
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (256, 192)


def test_colours_of_high_definition_are_right_in_a_picture(upscale: Run, tmp_path: Path) -> None:
    """A BT.709 film into a JPEG, which is BT.601 by definition, and a PNG, which is RGB."""
    plain = "color=0xC04020:size=64x48,format=yuv444p,setparams=range=tv:colorspace=bt709"
    film = ffmpeg.make(tmp_path / "in.mkv", "-f", "lavfi", "-i", plain, "-frames:v", "1", "-c:v", "ffv1")
    with av.open(str(film)) as container:
        planes = [plane.mean() for plane in next(container.decode(video=0)).to_ndarray()]
    y, u, v = (planes[0] - 16) / 219, (planes[1] - 128) / 224, (planes[2] - 128) / 224
    wanted = np.array([y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u]) * 255  # BT.709
    for name in ("out.jpg", "out.png"):
        assert upscale(film, tmp_path / name, *FAST).exit_code == 0
        assert np.abs(rgb(tmp_path / name).mean((0, 1)) - wanted).max() < 3  # the wrong matrix is off by 12


def test_one_name_for_many_pictures_is_refused(upscale: Run, tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.mp4", *picture(), *X264)
    result = upscale(film, tmp_path / "out.png", *FAST)
    assert result.exit_code == 1
    assert "out%05d.png" in result.stderr
    assert upscale(film, tmp_path / "still.png", *FAST, "--duration", "0.04").exit_code == 0
    assert not (tmp_path / "out.png").exists()
    assert rgb(tmp_path / "still.png").shape == (96, 128, 3)


def test_interrupted_pictures_leave_nothing(
    upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = ffmpeg.make(tmp_path / "in.mp4", *picture(), *X264)
    (tmp_path / "out").mkdir()

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("upscale.media.write.writer.Writer._finish", stop)
        assert upscale(film, tmp_path / "out" / "%03d.png", *FAST, "--segment", "0").exit_code == 130
        assert list((tmp_path / "out").iterdir()) == []
        stopped = upscale(film, tmp_path / "out" / "%03d.png", *FAST)
    assert stopped.exit_code == 130
    assert "1 of 1 segments" in stopped.stderr
    assert list((tmp_path / "out").glob("*.png")) == []
    assert upscale(film, tmp_path / "out" / "%03d.png", *FAST).exit_code == 0
    assert len(list((tmp_path / "out").iterdir())) == 25


def test_a_sequence_that_begins_late_and_one_that_was_longer(upscale: Run, tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.mp4", *picture(), *X264)
    ffmpeg.make(tmp_path / "in%03d.png", "-i", film, "-start_number", "12")
    (tmp_path / "in%03d.png").unlink(missing_ok=True)
    assert upscale(tmp_path / "in%03d.png", tmp_path / "out%03d.png", *FAST).exit_code == 0
    assert len(list(tmp_path.glob("out*.png"))) == 25
    result = upscale(film, tmp_path / "out%03d.png", *FAST, "-y", "--duration", "0.4")
    assert "15 pictures of an earlier sequence still stand beside these" in result.stderr
    refused = upscale(tmp_path / "in%03d.png", tmp_path / "in%03d.png", *FAST, "-y")
    assert refused.exit_code == 2
    assert "is the source itself" in refused.stderr
