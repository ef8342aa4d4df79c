"""Fields, pulldown and black borders, as old footage has them. ffmpeg makes the clips."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray

from upscale.errors import UsageError
from upscale.media.read.crop import Crop, find_borders
from upscale.media.read.source import ReadOptions, Source

Run = Callable[..., Result]

MOVING = "testsrc2=size=128x96:rate={rate}:duration={seconds}"
BARS = "testsrc2=size=128x72:rate=25:duration=2,pad=160:96:16:12"


def fields(
    path: Path, order: str = "tff", codec: str = "mpeg2video", marked: bool = True, seconds: int = 1
) -> Path:
    """Seconds of 25 frames, woven of 50 moments."""
    weave = f"tinterlace=interleave_{'top' if order == 'tff' else 'bottom'},fieldorder={order}"
    source = ("-f", "lavfi", "-i", f"{MOVING.format(rate=50, seconds=seconds)},scroll=h=0.05,{weave}")
    flags = ("-flags", "+ildct+ilme") if marked else ()
    if not marked:
        source = (*source[:-1], source[-1] + ",setfield=prog")
    return ffmpeg.make(path, *source, "-c:v", codec, "-q:v", "2", *flags)


def lumas(path: Path, read: ReadOptions) -> tuple[list[NDArray[np.float32]], list[Fraction]]:
    with Source(path, read) as film:
        frames = list(film.frames())
        return [frame.planes[0][0] for frame in frames], [frame.pts * frame.time_base for frame in frames]


def combing(luma: NDArray[np.float32]) -> float:
    """How much lines differ from the mean of their neighbours, against those two lines away."""
    near = np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean()
    far = np.abs(luma[2:-2] - (luma[:-4] + luma[4:]) / 2).mean()
    return float(near / far)


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_fields_become_frames_where_the_stream_says_so(order: str, tmp_path: Path) -> None:
    film = fields(tmp_path / "in.mpg", order)
    woven, times = lumas(film, ReadOptions(deinterlace="off"))
    whole, same_times = lumas(film, ReadOptions())
    assert times == same_times
    assert len(whole) == 25
    assert np.mean([combing(luma) for luma in woven]) > 1.1
    assert np.mean([combing(luma) for luma in whole]) < 0.9


def test_progressive_frames_are_not_touched(tmp_path: Path) -> None:
    film = fields(tmp_path / "in.mpg", marked=False)
    for one, other in zip(
        lumas(film, ReadOptions())[0], lumas(film, ReadOptions(deinterlace="off"))[0], strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert np.mean([combing(luma) for luma in lumas(film, ReadOptions(deinterlace="on"))[0]]) < 0.9


@pytest.mark.parametrize("order", ["top", "bottom"])
def test_the_order_of_the_fields_can_be_told(order: str, tmp_path: Path) -> None:
    """In the other one what moves goes back and forth."""
    film = fields(tmp_path / "in.mpg", f"{order[0]}ff", marked=False)
    steps = {}
    for told in ("top", "bottom"):
        pictures = lumas(film, ReadOptions(deinterlace="bob", field_order=told))[0]
        assert len(pictures) == 50
        steps[told] = np.mean([np.abs(b - a).mean() for a, b in pairwise(pictures)])
    assert min(steps, key=lambda told: steps[told]) == order
    assert max(steps.values()) > 1.2 * min(steps.values())


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_combs_that_nothing_marks_are_told_once(order: str, upscale: Run, tmp_path: Path) -> None:
    film = fields(tmp_path / "in.mpg", order, marked=False, seconds=6)
    result = upscale(film, tmp_path / "out.mkv", "-s", 1, "-m", "nearest", "--segment", 3, "-q", "--strict")
    assert result.exit_code == 0, result.stderr
    hint = "try --deinterlace on" + " --field-order bottom" * (order == "bff")
    assert result.stderr.count("the picture has combs") == 1
    assert result.stderr.rstrip().endswith(hint)


@pytest.mark.parametrize("how", ["auto", "off", "on"])
def test_where_there_are_no_combs_or_they_are_known_nothing_is_said(how: str, tmp_path: Path) -> None:
    plain = ffmpeg.make(tmp_path / "in.mkv", *ffmpeg.picture(seconds=6), "-c:v", "ffv1")
    woven = fields(tmp_path / "in.mpg", marked=how == "auto", seconds=6)
    for film in (plain, woven):
        with Source(film, ReadOptions(deinterlace=how)) as source:
            assert sum(1 for _ in source.frames()) == 150
            assert source.remarks == []


def test_bob_makes_a_frame_of_every_field(tmp_path: Path, upscale: Run) -> None:
    film = fields(tmp_path / "in.mpg")
    pictures, times = lumas(film, ReadOptions(deinterlace="bob"))
    assert len(pictures) == 50
    assert all(b - a == Fraction(1, 50) for a, b in pairwise(times))
    assert np.mean([combing(luma) for luma in pictures]) < 0.9
    result = upscale(film, tmp_path / "out.mp4", "-s", 2, "-m", "nearest", "--deinterlace", "bob", "-q")
    assert result.exit_code == 0, result.output
    made = ffmpeg.frames(tmp_path / "out.mp4").times
    assert [time - made[0] for time in made] == [time - times[0] for time in times]


def test_a_single_interlaced_frame(tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "one.mpg", "-i", fields(tmp_path / "in.mpg"), "-frames:v", "1",
                       "-c:v", "mpeg2video", "-flags", "+ildct+ilme")  # fmt: skip
    assert len(lumas(film, ReadOptions())[0]) == 1


@pytest.mark.parametrize("offset", [0, 2])
def test_pulldown_is_undone(offset: int, tmp_path: Path, upscale: Run) -> None:
    moving = MOVING.format(rate="24000/1001", seconds=2)
    plain = ffmpeg.make(tmp_path / "plain.mkv", "-f", "lavfi", "-i", moving, "-c:v", "ffv1")
    telecined = ffmpeg.make(tmp_path / "in.mkv", "-f", "lavfi", "-i", f"{moving},telecine=pattern=23",
                            "-c:v", "ffv1", "-output_ts_offset", str(offset))  # fmt: skip
    result = upscale(
        telecined, tmp_path / "out.mp4", "-s", 2, "-m", "nearest", "--detelecine", "--crf", 0, "-q"
    )
    assert result.exit_code == 0, result.output
    wanted, _ = lumas(plain, ReadOptions())
    made, times = lumas(tmp_path / "out.mp4", ReadOptions())
    assert len(made) == pytest.approx(len(wanted), abs=1)
    assert times[0] == offset
    steps = [b - a for a, b in pairwise(times)]
    assert all(abs(step - Fraction(1001, 24000)) <= Fraction(1, 1000) for step in steps)
    same = [min(np.abs(one[::2, ::2] - other).mean() for other in wanted[n - 1 if n else 0 : n + 2])
            for n, one in enumerate(made[:40])]  # fmt: skip
    assert np.median(same) < 0.004


def test_black_borders_are_cut_off_and_told(tmp_path: Path, upscale: Run) -> None:
    film = ffmpeg.make(
        tmp_path / "in.mp4", "-f", "lavfi", "-i", BARS, "-c:v", "libx264", "-pix_fmt", "yuv420p"
    )
    result = upscale(film, tmp_path / "out.mp4", "-s", 2, "-m", "nearest", "--crop", "auto")
    assert result.exit_code == 0, result.output
    assert "--crop 128:72:16:12" in result.stderr
    assert "128x72 -> 256x144" in result.stderr
    made, _ = lumas(tmp_path / "out.mp4", ReadOptions())
    with Source(film) as source:
        picture = next(source.frames()).planes[0][0][12:84, 16:144]
    assert np.abs(made[0][::2, ::2] - picture).mean() < 0.02


def test_a_crop_by_hand_and_a_film_without_borders(tmp_path: Path, upscale: Run) -> None:
    moving = MOVING.format(rate=25, seconds=1)
    film = ffmpeg.make(
        tmp_path / "in.mp4", "-f", "lavfi", "-i", moving, "-c:v", "libx264", "-pix_fmt", "yuv420p"
    )
    for crop, size in (("64:48:32:24", "64x48 -> 128x96"), ("auto", "128x96 -> 256x192")):
        result = upscale(film, tmp_path / "out.mp4", "-y", "-s", 2, "-m", "nearest", "--crop", crop)
        assert size in result.stderr, result.output


def test_what_counts_as_a_border() -> None:
    luma = np.zeros((1, 60, 80), np.float32)
    assert find_borders([(luma,)], None) is None  # nothing but black
    lit = luma.copy()
    lit[:, 7:51, 10:] = 0.5
    assert find_borders([(luma,), (lit,)], (2, 2)) == Crop(70, 42, 10, 8)
    assert find_borders([(lit,), (np.full_like(lit, 0.2),)], (2, 2)) is None
    assert find_borders([], None) is None


def test_crops_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="does not fit"):
        Crop(64, 64, 10, 0).check(64, 64, None)
    with pytest.raises(UsageError, match="a multiple of 2 and 2"):
        Crop(32, 32, 1, 0).check(64, 64, (2, 2))


def test_pulldown_keeps_its_time_across_a_hole(tmp_path: Path) -> None:
    """Two seconds, a hole of two seconds, two seconds."""
    moving = MOVING.format(rate="24000/1001", seconds=4)
    hole = "telecine=pattern=23,setpts='PTS+gte(N,60)*2/TB'"
    film = ffmpeg.make(tmp_path / "in.mkv", "-f", "lavfi", "-i", f"{moving},{hole}", "-c:v", "ffv1",
                       "-fps_mode", "vfr")  # fmt: skip
    _, times = lumas(film, ReadOptions(detelecine=True))
    assert len(times) == pytest.approx(96, abs=3)
    assert float(times[-1]) == pytest.approx(6, abs=0.15)


def test_ten_bit_grey_stays_that(tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.mkv", "-f", "lavfi", "-i", MOVING.format(rate=25, seconds=0.2),
                       "-c:v", "ffv1", "-pix_fmt", "gray10le")  # fmt: skip
    with Source(film, ReadOptions(deinterlace="on")) as source:
        assert source.info.pix_fmt == "gray10le"
        assert sum(1 for _ in source.frames()) == 5
