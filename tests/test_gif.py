"""Animated GIFs, in and out: their palettes, their clock, and all that they do not hold."""

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from ffmpeg import FFV1, X264, picture, sound
from numpy.typing import NDArray

Run = Callable[..., Result]
FAST = ("-s", "2", "-m", "nearest", "-q")

HEADER = b"GIF89a"
LOOP_FOREVER = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


def shown(path: Path, **size: int) -> list[NDArray[np.integer]]:
    """All frames as RGB."""
    with av.open(str(path)) as container:
        return [
            frame.reformat(**size).to_ndarray(format="rgb24").astype(int)
            for frame in container.decode(video=0)
        ]


def delays(path: Path) -> list[tuple[int, int]]:
    """When each frame comes, and for how long, in hundredths of a second."""
    with av.open(str(path)) as container:
        assert container.streams.video[0].time_base == Fraction(1, 100)
        return [(frame.pts, frame.duration) for frame in container.decode(video=0)]


def psnr(frames: Sequence[NDArray[np.integer]], truth: Sequence[NDArray[np.integer]]) -> float:
    return float(
        10 * np.log10(255**2 / np.mean([(a - b) ** 2 for a, b in zip(frames, truth, strict=True)]))
    )


def test_every_frame_has_the_palette_that_suits_it(upscale: Run, tmp_path: Path) -> None:
    """Gradients that change their colours, against the fixed 256 that FFmpeg takes by itself."""
    film = ffmpeg.make(
        tmp_path / "in.mkv", "-f", "lavfi", "-i", "gradients=size=64x48:rate=5:duration=1:speed=0.2:seed=4",
        "-pix_fmt", "bgr0", *FFV1,
    )  # fmt: skip
    fixed = ffmpeg.make(tmp_path / "fixed.gif", "-i", film, "-pix_fmt", "bgr8")
    result = upscale(film, tmp_path / "out.gif", *FAST)
    assert result.exit_code == 0, result.output
    truth = shown(film)
    assert len(truth) == 5
    made = [frame[::2, ::2] for frame in shown(tmp_path / "out.gif")]
    assert psnr(made, truth) > max(38, psnr(shown(fixed), truth) + 12)


def test_greys_stay_what_they_are(upscale: Run, tmp_path: Path) -> None:
    """A film in grey loses nothing, and one of greys in colour has room for all of them."""
    for pix_fmt, says in (("gray", ""), ("yuv420p", "256 in each frame")):
        film = ffmpeg.make(
            tmp_path / f"{pix_fmt}.mkv", *picture(more="hue=s=0"), "-pix_fmt", pix_fmt, *FFV1
        )
        result = upscale(film, tmp_path / f"{pix_fmt}.gif", *FAST)
        assert result.exit_code == 0, result.output
        assert says in result.stderr
        assert bool(result.stderr) == bool(says)
        made = [frame[::2, ::2] for frame in shown(tmp_path / f"{pix_fmt}.gif")]
        assert max(np.abs(a - b).max() for a, b in zip(made, shown(film), strict=True)) <= 1


def test_a_palette_may_come_back(upscale: Run, tmp_path: Path) -> None:
    """FFmpeg's encoder, as it is set up by default, takes the third frame for nearly the second."""
    stripes = np.arange(32 * 32).reshape(32, 32) % 3
    other = stripes.copy()
    other[8, 8] = (other[8, 8] + 1) % 3
    red, grey = np.array([[40, 0, 0], [120, 0, 0], [250, 0, 0]]), np.array([[9] * 3, [99] * 3, [200] * 3])
    wanted = [red[stripes], grey[stripes], red[other], grey[other], red[stripes]]
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        for rgb in wanted:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())
    assert upscale(tmp_path / "in.mkv", tmp_path / "out.gif", *FAST).exit_code == 0
    for frame, truth in zip(shown(tmp_path / "out.gif"), wanted, strict=True):
        assert np.abs(frame[::2, ::2] - truth).max() <= 1


@pytest.mark.parametrize("rate", ["25", "30000/1001", "120"])
def test_segments_join_to_the_same_gif(rate: str, upscale: Run, tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.nut", *picture("32x24", rate), *FFV1, "-pix_fmt", "yuv420p")
    whole, joined = tmp_path / "whole.gif", tmp_path / "joined.gif"
    results = [
        upscale(film, whole, *FAST, "--segment", "0"),
        upscale(film, joined, *FAST, "--segment", "0.3", "--json"),
    ]
    assert [result.exit_code for result in results] == [0, 0]
    assert json.loads(results[1].stdout)["segments"] > 1
    data = joined.read_bytes()
    assert data == whole.read_bytes()
    assert data.startswith(HEADER)
    assert data.count(HEADER) == data.count(LOOP_FOREVER) == 1
    told = "times were moved: gif only counts hundredths of a second"
    assert [told in result.stderr for result in results] == [rate == "120"] * 2
    times = [pts for pts, _ in delays(joined)]
    if rate == "120":
        assert times == list(range(120))  # as fast as a GIF can be
    else:
        assert times == [round(at * 100) for at in ffmpeg.frames(film).times]


def test_the_last_frame_lasts_as_long_as_it_did(upscale: Run, tmp_path: Path) -> None:
    source = ffmpeg.make(tmp_path / "in.gif", *picture(rate="20", seconds=0.2), "-final_delay", "77")
    assert delays(source) == [(0, 5), (5, 5), (10, 5), (15, 77)]
    for segment in ("0", "0.1"):
        assert upscale(source, tmp_path / "out.gif", *FAST, "-y", "--segment", segment).exit_code == 0
        assert delays(tmp_path / "out.gif") == delays(source)


def test_what_a_gif_does_not_hold_is_told(upscale: Run, tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.mp4", *picture(), *sound(), *X264, "-metadata", "title=Film")
    target = tmp_path / "out.gif"
    refused = upscale(film, target, *FAST, "--strict")
    assert refused.exit_code == 1
    assert "256 in each frame: gif holds no more, which --strict forbids" in refused.stderr
    assert not target.exists()
    told = upscale(film, target, *FAST)
    assert told.exit_code == 0, told.output
    for what in (
        "256 in each frame",
        "sound 1 was left out: gif takes no sound",
        "tags were left out: title",
    ):
        assert what in told.stderr
    assert len(delays(target)) == 25


def test_what_is_asked_of_the_encoder_is_done_or_refused(upscale: Run, tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.mp4", *picture(), *X264)
    target = tmp_path / "out.gif"
    for options, code, says in (
        (("--pix-fmt", "rgb8"), 2, "gif cannot write 'rgb8'; it can write gray, pal8"),
        (("--codec-option", "global_palette=1"), 2, "global_palette cannot be set"),
        (("--codec", "libx264"), 1, "does not support 'libx264'"),
        (("--pix-fmt", "gray"), 0, "the colour of yuv420p became coarser"),
    ):
        result = upscale(film, target, *FAST, *options)
        assert result.exit_code == code
        assert says in result.stderr
        assert target.exists() == (code == 0)
    assert all(np.ptp(frame, axis=2).max() == 0 for frame in shown(target))


def test_a_transparent_gif(upscale: Run, tmp_path: Path) -> None:
    half = "format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(gt(X,32),0,255)'"
    drawn = f"{half},split[a][b];[a]palettegen[p];[b][p]paletteuse"
    source = ffmpeg.make(tmp_path / "in.gif", *picture(rate="10"), "-vf", drawn)
    with av.open(str(source)) as container:
        assert next(container.decode(video=0)).to_ndarray(format="rgba")[..., 3].min() == 0
    for name in ("out.mp4", "out.gif"):
        result = upscale(source, tmp_path / name, *FAST)
        assert result.exit_code == 0, result.output
        assert "the alpha plane of bgra was left out" in result.stderr
        assert len(shown(tmp_path / name)) == 10
    solid = [frame[::2, :64:2] for frame in shown(tmp_path / "out.gif")]
    assert psnr(solid, [frame[:, :32] for frame in shown(source)]) > 30


def plays(path: Path) -> int:
    """How often a GIF plays, as browsers have it; 0 is without end."""
    data = path.read_bytes()
    place = data.find(b"NETSCAPE2.0")
    if place < 0:
        return 1
    again = int.from_bytes(data[place + 13 : place + 15], "little")
    return again + 1 if again else 0


@pytest.mark.parametrize(("loop", "times"), [(-1, 1), (0, 0), (2, 3), (700, 701), (65535, 65536)])
@pytest.mark.parametrize("segment", ["0", "0.3"])
def test_a_gif_plays_as_often_as_its_source(
    loop: int, times: int, segment: str, upscale: Run, tmp_path: Path
) -> None:
    source = ffmpeg.make(tmp_path / "in.gif", *picture("32x24", "10"), "-loop", str(loop))
    assert plays(source) == times
    assert upscale(source, tmp_path / "out.gif", *FAST, "--segment", segment).exit_code == 0
    assert plays(tmp_path / "out.gif") == times


def test_a_loop_count_may_come_after_other_blocks(upscale: Run, tmp_path: Path) -> None:
    source = ffmpeg.make(tmp_path / "in.gif", *picture("32x24", "10"), "-loop", "4")
    data = source.read_bytes()
    at = data.index(b"\x21\xff\x0bNETSCAPE2.0")
    remark = b"\x21\xfe" + b"\xff" + b"x" * 255 + b"\x01y\x00"
    other = b"\x21\xff\x0bXMP DataXMP\x03\x01\x63\x00\x00"
    source.write_bytes(data[:at] + remark + other + data[at:])
    assert upscale(source, tmp_path / "out.gif", *FAST).exit_code == 0
    assert plays(tmp_path / "out.gif") == 5


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_animated_png_becomes_a_gif_that_plays_as_often(
    count: int, upscale: Run, tmp_path: Path
) -> None:
    source = ffmpeg.make(tmp_path / "in.apng", *picture("32x24", "10"), "-plays", str(count), "-f", "apng")
    assert upscale(source, tmp_path / "out.gif", *FAST).exit_code == 0
    assert plays(tmp_path / "out.gif") == count


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_animated_png_is_written_too(count: int, upscale: Run, tmp_path: Path) -> None:
    source = ffmpeg.make(tmp_path / "in.apng", *picture("32x24", "10"), "-plays", str(count), "-f", "apng")
    result = upscale(source, tmp_path / "out.apng", *FAST, "--segment", "0.3")
    assert result.exit_code == 0, result.output
    for frame, given in zip(shown(tmp_path / "out.apng"), shown(source), strict=True):
        assert np.abs(frame[::2, ::2] - given).max() <= 1
    data = (tmp_path / "out.apng").read_bytes()
    at = data.index(b"acTL")
    assert int.from_bytes(data[at + 8 : at + 12], "big") == count
