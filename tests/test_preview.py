"""The sheet that is looked at before a film is made: which moments, which part of them, which settings."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from upscale.look.moments import find_moments, moments, most_detailed, spread_over
from upscale.look.preview import Choice, choices
from upscale.look.sheet import GAP, LINE
from upscale.media.read.source import Source
from upscale.models.catalog import MODELS
from upscale.pipeline import Job
from upscale.planes import REACH, Box
from upscale.sampling.options import SampleOptions
from upscale.times import name_time, parse_time

MakeClip = Callable[..., Path]
Run = Callable[..., Result]


@given(st.integers(0, 10**7))
def test_times_are_named_as_they_are_read(hundredths: int) -> None:
    time = Fraction(hundredths, 100)
    assert parse_time(name_time(time)) == time


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 8))
def test_moments_are_of_as_many_shots_as_there_are_and_all_different(
    lengths: list[int], count: int
) -> None:
    shots = [[100 * shot + n for n in range(length)] for shot, length in enumerate(lengths)]
    chosen = spread_over(shots, count)
    assert len(chosen) == len(set(chosen)) == min(count, sum(lengths))
    assert chosen == sorted(chosen)
    assert len({pts // 100 for pts in chosen}) == min(count, len(lengths))


def test_the_most_detailed_part_is_found_and_fits() -> None:
    luma = np.full((90, 120), 0.4, np.float32)
    luma[40:70:3, 60:100] = 0.8
    box = most_detailed(luma, 40, 30)
    assert (box.top, box.left) == pytest.approx((40, 60), abs=4)
    assert most_detailed(luma, 400, 300) == Box(0, 0, 90, 120)
    assert most_detailed(luma[:1, :1], 40, 30) == Box(0, 0, 1, 1)


def test_moments_come_from_every_shot_and_are_the_frames_of_their_times(film: Path) -> None:
    job = Job(film, Path("out.mp4"))
    with Source(film) as source:
        info = source.info
        known = {frame.pts: frame.planes for frame in source.frames()}
    places = find_moments(job, info, 6)
    assert len(places) == 6
    assert max(places) * info.time_base > 2
    for moment in moments(job, info, 0, places):
        assert moment.time == moment.frame.pts * info.time_base
        for one, other in zip(moment.frame.planes, known[moment.frame.pts], strict=True):
            np.testing.assert_array_equal(one, other)
    (at,) = moments(job, info, 0, find_moments(job, info, 6, (Fraction(3, 2),)))
    assert at.time == Fraction(38, 25)  # the first frame from there on


def test_moments_of_a_part_lie_in_it(film: Path) -> None:
    job = Job(film, Path("out.mp4"), start=Fraction(1), duration=Fraction(1))
    with Source(film) as source:
        info = source.info
    found = list(moments(job, info, 0, find_moments(job, info, 4)))
    assert len(found) == 4
    assert all(1 <= moment.time < 2 for moment in found)


def write_film(path: Path, sigmas: list[float], times: int = 1) -> Path:
    """A pan over coloured blobs, with that much noise in each frame, in 8-bit levels; each of them
    so many times."""
    random = np.random.default_rng(0)
    wide = cv2.GaussianBlur(random.normal(128, 700, (300, 900, 3)), (0, 0), 8).clip(30, 225)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", 25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv444p"
        for number, sigma in enumerate(sigmas):
            place = np.array([[4, 0, 2.7 * number], [0, 4, 0]])
            shown = cv2.warpAffine(wide, place, (96, 64), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_AREA)
            codes = (shown + random.normal(0, sigma, shown.shape)).clip(0, 255).round().astype(np.uint8)
            for _ in range(times):
                frame = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(codes.transpose(2, 0, 1)), "yuv444p"
                )
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def seen_planes(path: Path, places: list[int], **options: float) -> list[int]:
    """How many planes of luma a model of that window sees of the frames of those numbers."""
    job = Job(path, path, sample=SampleOptions(model="film", **options))  # type: ignore[arg-type]
    with Source(path) as source:
        info = source.info
    pts = [round(place / 25 / info.time_base) for place in places]
    return [len(moment.frame.planes[0]) for moment in moments(job, info, REACH, pts)]


def test_moments_in_repeated_frames_have_windows_too(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mkv", [4.0] * 20, times=2)
    assert seen_planes(film, [9, 10, 13, 20], denoise=1.0) == [5] * 4
    assert seen_planes(film, [9, 10]) == [5] * 2


def test_moments_are_judged_by_the_beginning_of_their_shot(tmp_path: Path) -> None:
    assert seen_planes(write_film(tmp_path / "a.mkv", [4.0] * 4 + [0.0] * 30), [2, 20, 30]) == [5] * 3
    assert seen_planes(write_film(tmp_path / "b.mkv", [0.0] * 14 + [4.0] * 20), [2, 20, 30]) == [1] * 3
    assert seen_planes(tmp_path / "b.mkv", [2, 20], denoise=1.0) == [5] * 2


def test_what_there_is_to_choose_depends_on_the_model() -> None:
    def chosen(model: str, **options: float) -> list[Choice]:
        sample = SampleOptions(**({"temperature": 0.35} | options))  # type: ignore[arg-type]
        return choices(MODELS[model], Job(Path("in.mp4"), Path("out.mp4"), sample=sample))

    assert [choice.option for choice in chosen("film")] == [
        *(f"--temperature {t}" for t in ("0", "0.3", "0.5", "0.7")),
        *(f"--denoise {d}" for d in ("0", "auto", "1")),
        *(f"--dirt {d}" for d in ("0", "1")),
    ]
    assert [choice.option for choice in chosen("mean")] == ["--model mean"]
    assert len(chosen("clean", temperature=0.5)) == 4
    assert chosen("raster", temperature=1.0)[-1].option == "--temperature 1"
    assert all(choice.job.sample.denoise == 1 for choice in chosen("film", denoise=1.0)[:4])


def cells(sheet: Path, columns: int, width: int) -> list[np.ndarray]:
    with av.open(str(sheet)) as container:
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert rgb.shape[1] == columns * (width + GAP)
    top = 2 * LINE + GAP
    return [rgb[top : top + width, n * (width + GAP) : n * (width + GAP) + width] for n in range(columns)]


def test_a_sheet_shows_what_the_film_would_be(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    source = make_clip(size=(64, 64), codec="ffv1", name="in.mkv")
    sheet, out = tmp_path / "sheet.png", tmp_path / "out.mkv"
    result = upscale(source, "-m", "clean", "-s", 4, "--preview", sheet, "--at", "0.08")
    assert result.exit_code == 0, result.output
    assert "1 moment\n" in result.stderr
    assert not out.exists()
    details = cells(sheet, 5, 256)
    options = (
        "-m",
        "clean",
        "-s",
        4,
        "-t",
        0.5,
        "--codec",
        "ffv1",
        "-q",
        "--start",
        "0.08",
        "--duration",
        "0.04",
    )
    assert upscale(source, out, *options).exit_code == 0
    with av.open(str(out)) as container:
        film = next(container.decode(video=0)).to_ndarray(format="rgb24")
    apart = [np.abs(film.astype(int)[:240] - cell[:240]).mean() for cell in details]
    assert np.argmin(apart) == 3  # bicubic, 0, 0.3, 0.5, 0.7
    assert apart[3] < 0.5
    assert apart[0] > 2


def test_a_sheet_of_a_picture_and_of_an_odd_scale(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    source = make_clip("in.png", size=(128, 96), frames=1, codec="png", pix_fmt="rgb24")
    for scale in (1, 3):
        sheet = tmp_path / f"{scale}.png"
        assert upscale(source, "-m", "mean", "-s", scale, "--preview", sheet, "-q").exit_code == 0
        assert len(cells(sheet, 2, min(128 * scale, 320 // scale // 4 * 4 * scale))) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preview", "sheet.jpg"], "ends in .png"),
        (["--preview", "nowhere/sheet.png"], "no such folder"),
        (["--preview", "there.png"], "exists; use -y"),
        (["--preview", "sheet.png", "--at", "99"], "there is no frame at 99 s; it is 0.24 s long"),
        (["out.mp4", "--at", "0.1"], "--at needs --preview SHEET"),
        (["--preview", "sheet.png", "-s", "9"], "out of range"),
    ],
)
def test_a_sheet_that_cannot_be_is_told_in_a_line(
    options: list[str], said: str, refused: Callable[..., str]
) -> None:
    assert said in refused("there.png", *options)


def test_a_sheet_or_a_film_never_replaces_what_is_read(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    source = make_clip("in.png", frames=1, codec="png", pix_fmt="rgb24")
    painted = tmp_path / "0m00s.png"
    painted.write_bytes(source.read_bytes())
    for number in (1, 2):
        (tmp_path / f"shot{number}.png").write_bytes(source.read_bytes())
    reference = ("--color", "reference", "--reference", painted)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments, said in (
        ((source, "--preview", source), "is the source itself"),
        ((tmp_path / "shot%d.png", "--preview", tmp_path / "shot2.png"), "is the source itself"),
        ((source, painted, *reference), "is the source itself"),
        ((source, "--export-keys", tmp_path, *reference), "0m00s.png, which is read, lies in it"),
    ):
        result = upscale(*arguments, "-y", "-s", 2)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_neither_a_pipe_nor_a_folder_has_a_sheet(upscale: Run, tmp_path: Path) -> None:
    assert "can be read only once" in upscale("-", "--preview", tmp_path / "a.png").stderr
    assert "one film at a time" in upscale(tmp_path, "--preview", tmp_path / "a.png").stderr


def test_the_shots_of_a_film_that_jumps_about_are_told_apart(tmp_path: Path) -> None:
    colours = "color=red:d=2:r=25:s=64x64[a];mandelbrot=r=25:s=64x64,trim=duration=2[b];[a][b]concat"
    source = ffmpeg.make(tmp_path / "in.mkv", "-f", "lavfi", "-i", colours, "-t", "4", *ffmpeg.X264B)
    job = Job(source, Path("out.mp4"))
    with Source(source) as opened:
        places = find_moments(job, opened.info, 2)
        halves = [int(pts * opened.info.time_base >= 2) for pts in places]
    assert halves == [0, 1]
