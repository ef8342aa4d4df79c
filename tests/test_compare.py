"""``upscale-lab compare``: pictures and clips of several films at the same times."""

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import look

from upscale.errors import UpscaleError, UsageError
from upscale.lab.cli import main as lab
from upscale.lab.compare import GAP, Crop
from upscale.lab.compare_clip import PERIOD, ClipOptions, compare_clip, line_at
from upscale.lab.labels import draw_label, labels_for, short_names
from upscale.media.read.source import Source
from upscale.pipeline import Step

MakeClip = Callable[..., Path]
Grey = Callable[..., Path]

SIZE = (64, 48)
NO_LABELS = ("--label", "", "--label", "")


def compare(*arguments: object) -> Result:
    result = CliRunner().invoke(lab, ["compare", *map(str, arguments)], prog_name="upscale-lab")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def made(*arguments: object) -> None:
    result = compare(*arguments)
    assert result.exit_code == 0, result.output


@pytest.fixture
def grey(tmp_path: Path) -> Grey:
    """A factory of clips in which each frame is grey, of its own level (of RGB)."""

    def make(
        name: str,
        levels: list[int],
        times: list[int] | None = None,
        time_base: Fraction = Fraction(1, 25),
        size: tuple[int, int] = SIZE,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.time_base = stream.codec_context.time_base = time_base
            for number, level in enumerate(levels):
                rgb = np.full((size[1], size[0], 3), level, np.uint8)
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = times[number] if times else number, time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


def pictures(path: Path) -> list[np.ndarray]:
    return [frame.to_ndarray(format="rgb24").astype(int) for frame in look(path).frames]


def left_and_right(path: Path) -> list[tuple[int, int]]:
    """The levels of two inputs that are side by side."""
    found = []
    for rgb in pictures(path):
        width = (rgb.shape[1] - GAP) // 2
        found.append((round(rgb[:, : width - 4].mean()), round(rgb[:, width + GAP + 4 :].mean())))
    return found


def close(found: list[tuple[int, int]], expected: list[tuple[int, int]]) -> bool:
    return len(found) == len(expected) and bool(np.abs(np.array(found) - np.array(expected)).max() <= 4)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out.mov"])
def test_films_stand_side_by_side_at_the_times_of_the_last(
    make_clip: MakeClip, tmp_path: Path, name: str
) -> None:
    times = [0, 3, 4, 9, 11, 12]
    small, large = make_clip("small.mp4"), make_clip("large.mp4", size=(128, 96), pts=times, sound="aac")
    made(small, large, tmp_path / name, *NO_LABELS)
    clip = look(tmp_path / name)
    assert clip.pts == [Fraction(time, 25) for time in times]
    assert (clip.context.width, clip.context.height, clip.context.pix_fmt) == (
        128 + GAP + 128,
        96,
        "yuv420p",
    )
    assert clip.sound == []
    first = clip.frames[0].to_ndarray(format="rgb24").astype(int)
    assert np.abs(first[:, :128, 1] - first[:, 132:, 1]).mean() < 6  # green is the same at every size
    assert (first[:, 129:131] > 240).all()
    assert {path.name for path in tmp_path.iterdir()} == {"small.mp4", "large.mp4", name}


def test_a_part_of_odd_size_becomes_even(make_clip: MakeClip, tmp_path: Path) -> None:
    made(make_clip(), make_clip("b.mp4"), tmp_path / "out.mp4", "--as", "wipe", "--crop", "0:0:0.52:0.48")
    context = look(tmp_path / "out.mp4").context
    assert (context.width, context.height) == (34, 24)  # of 33x23


def test_a_wipe_has_the_first_film_on_the_left_of_its_line(grey: Grey, tmp_path: Path) -> None:
    first, second = grey("a.mp4", [60] * 50, size=(160, 48)), grey("b.mp4", [190] * 50, size=(160, 48))
    made(first, second, tmp_path / "out.mp4", "--as", "wipe", *NO_LABELS)
    places = []
    for number, rgb in enumerate(pictures(tmp_path / "out.mp4")):
        line = line_at(Fraction(number, 25), 160)
        left, right = rgb[:, : max(line - 6, 0)], rgb[:, line + 6 :]
        assert not left.size or np.abs(left - 60).mean() < 4
        assert not right.size or np.abs(right - 190).mean() < 4
        places.append(line)
    assert places[0] == 80
    assert max(places) == 160
    assert len(set(places)) > 25


def test_the_line_moves_from_edge_to_edge_and_back() -> None:
    places = [line_at(PERIOD * number / 100, 200) for number in range(101)]
    assert (places[0], places[25], places[50], places[75], places[100]) == (100, 200, 100, 0, 100)
    assert max(abs(a - b) for a, b in itertools.pairwise(places)) <= 5


def test_a_flicker_shows_the_films_in_turns(grey: Grey, tmp_path: Path) -> None:
    films = [grey(f"{level}.mp4", [level] * 40) for level in (40, 120, 200)]
    made(*films, tmp_path / "out.mp4", "--as", "flicker", *NO_LABELS, "--label", "")
    found = [round(rgb.mean(), -1) for rgb in pictures(tmp_path / "out.mp4")]
    assert found == [40] * 13 + [120] * 12 + [200] * 13 + [40] * 2  # half a second is 12.5 frames
    made(*films[:2], tmp_path / "quick.mp4", "--as", "flicker", "--every", "0.08", *NO_LABELS)
    found = [round(rgb.mean(), -1) for rgb in pictures(tmp_path / "quick.mp4")]
    assert found == [40, 40, 120, 120] * 10


def test_a_flicker_says_which_film_it_shows(grey: Grey, tmp_path: Path) -> None:
    films = [grey(name, [120] * 4, size=(128, 64)) for name in ("a.mp4", "b.mp4")]
    labels = ("--label", "I", "--label", "wwwwww")
    made(*films, tmp_path / "out.mp4", "--as", "flicker", "--every", "0.08", *labels)
    white = [(rgb.min(axis=-1) > 200).sum() for rgb in pictures(tmp_path / "out.mp4")]
    assert 0 < 3 * max(white[:2]) < min(white[2:])


def test_films_of_other_rates_are_matched_by_time(grey: Grey, tmp_path: Path) -> None:
    slow = grey("slow.mp4", [20, 60, 100, 140], time_base=Fraction(1, 10))
    uneven = grey(
        "uneven.mp4", [40, 80, 120, 160, 200], times=[0, 50, 210, 220, 330], time_base=Fraction(1, 1000)
    )
    made(slow, uneven, tmp_path / "out.mp4", *NO_LABELS)
    assert close(
        left_and_right(tmp_path / "out.mp4"), [(20, 40), (20, 80), (100, 120), (100, 160), (140, 200)]
    )
    assert look(tmp_path / "out.mp4").pts == [Fraction(time, 1000) for time in (0, 50, 210, 220, 330)]
    made(uneven, slow, tmp_path / "turned.mp4", *NO_LABELS)
    assert close(left_and_right(tmp_path / "turned.mp4"), [(40, 20), (80, 60), (80, 100), (160, 140)])


@pytest.mark.parametrize("names", [("a.mkv", "b.mp4"), ("a.mp4", "b.mkv"), ("a.mkv", "b.ts")])
def test_a_rounded_clock_does_not_put_frames_off_by_one(
    grey: Grey, tmp_path: Path, names: tuple[str, str]
) -> None:
    levels = [10 + 12 * number for number in range(20)]
    films = [grey(name, levels, time_base=Fraction(1001, 30000)) for name in names]
    made(*films, tmp_path / "out.mp4", *NO_LABELS)
    assert close(left_and_right(tmp_path / "out.mp4"), [(level, level) for level in levels])
    made(*films, tmp_path / "part.mp4", "--start", "0.3", "--duration", "0.2", *NO_LABELS)
    part = left_and_right(tmp_path / "part.mp4")
    assert close(part, [(level, level) for level in levels[9:15]])
    assert look(tmp_path / "part.mp4").pts[0] < Fraction(1, 25)


def test_a_film_that_begins_late_on_its_clock_is_matched_from_its_first_picture(
    grey: Grey, tmp_path: Path
) -> None:
    levels = [20, 60, 100, 140, 180]
    late = grey("late.mkv", levels, times=[50, 51, 52, 53, 54])
    for films in ((late, grey("b.mp4", levels)), (tmp_path / "b.mp4", late)):
        made(*films, tmp_path / "out.mkv", *NO_LABELS, "-y")
        assert close(left_and_right(tmp_path / "out.mkv"), [(level, level) for level in levels])
    assert look(tmp_path / "out.mkv").pts[0] == 2


def test_a_film_that_ends_earlier_keeps_its_last_frame(grey: Grey, tmp_path: Path) -> None:
    short, long = grey("short.mp4", [40, 80]), grey("long.mp4", [100, 130, 160, 190])
    made(short, long, tmp_path / "out.mp4", *NO_LABELS)
    assert close(left_and_right(tmp_path / "out.mp4"), [(40, 100), (80, 130), (80, 160), (80, 190)])
    made(long, short, tmp_path / "cut.mp4", *NO_LABELS)
    assert close(left_and_right(tmp_path / "cut.mp4"), [(100, 40), (130, 80)])


@pytest.mark.parametrize("name", ["other.mp4", "other.mkv", "other.avi", "other.ts"])
def test_a_part_begins_with_the_frame_that_is_shown_then(grey: Grey, tmp_path: Path, name: str) -> None:
    counted = name == "other.avi"  # its times are the numbers of frames
    other = grey(name, [30] * 75 + [90] if counted else [30, 90], None if counted else [0, 75])
    film = grey("film.mp4", list(range(100, 225)))
    made(other, film, tmp_path / "out.mp4", "--start", "2.9", "--duration", "0.2", *NO_LABELS)
    assert close(
        left_and_right(tmp_path / "out.mp4"), [(30, 173), (30, 174), (90, 175), (90, 176), (90, 177)]
    )
    made(other, film, tmp_path / "end.mp4", "--start", "0:04.92", *NO_LABELS)
    assert close(left_and_right(tmp_path / "end.mp4"), [(90, 223), (90, 224)])


def test_a_picture_stands_beside_a_film(make_clip: MakeClip, tmp_path: Path) -> None:
    film = make_clip()
    made(film, film, tmp_path / "still.png", "--crop", "0:0:0.5:1")
    made(tmp_path / "still.png", film, tmp_path / "out.mp4", "--start", "0.08")
    assert len(look(tmp_path / "out.mp4").frames) == 4
    result = compare(film, tmp_path / "still.png", tmp_path / "no.mp4")
    assert result.exit_code == 2
    assert "put a film last" in result.output


def test_each_film_becomes_rgb_by_its_own_matrix(make_clip: MakeClip, tmp_path: Path) -> None:
    rgb = np.full((48, 64, 3), (200, 60, 40), np.uint8)
    for name, matrix, tag in (("a.mkv", "ITU601", 6), ("b.mkv", "ITU709", 1)):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
            stream.codec_context.colorspace, stream.codec_context.color_range = tag, 1
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame = frame.reformat(format="yuv444p", dst_colorspace=matrix, dst_color_range="MPEG")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    made(tmp_path / "a.mkv", tmp_path / "b.mkv", tmp_path / "out.mp4", *NO_LABELS)
    clip = look(tmp_path / "out.mp4")
    with Source(tmp_path / "out.mp4") as source:
        assert source.info.color.matrix == 5  # BT.601, as players take a small picture
    shown = clip.frames[0].to_ndarray(format="rgb24").astype(int)
    for part in (shown[8:-8, 8:56], shown[8:-8, 76:-8]):
        assert np.abs(part.mean((0, 1)) - (200, 60, 40)).max() < 5


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_films_are_shown_upright(make_clip: MakeClip, tmp_path: Path, degrees: int) -> None:
    film = make_clip(rotation=degrees, frames=1)
    made(film, film, tmp_path / "out.png")
    ffmpeg.make(tmp_path / "true.png", "-i", film, "-frames:v", "1", "-update", "1")  # turns it by itself
    ours, true = pictures(tmp_path / "out.png")[0], pictures(tmp_path / "true.png")[0]
    height, width = true.shape[:2]
    assert ours.shape == (height, 2 * width + GAP, 3)
    assert np.abs(ours[:, :width] - true).mean() < 4


def test_the_shape_of_pixels_stays(make_clip: MakeClip, tmp_path: Path) -> None:
    small = make_clip(aspect=Fraction(16, 15))
    large = make_clip("large.mp4", size=(128, 96), aspect=Fraction(16, 15))
    made(small, large, tmp_path / "out.mp4")
    made(large, small, tmp_path / "turned.mp4")
    assert look(tmp_path / "out.mp4").aspect == look(tmp_path / "turned.mp4").aspect == Fraction(16, 15)


def test_a_png_has_labels_where_they_are_given(grey: Grey, tmp_path: Path) -> None:
    films = [grey(name, [120], size=(128, 64)) for name in ("a.mp4", "b.mp4")]
    made(*films, tmp_path / "plain.png")
    made(*films, tmp_path / "named.png", "--label", "before", "--label", "after")
    plain, named = (pictures(tmp_path / name)[0] for name in ("plain.png", "named.png"))
    changed = np.abs(named - plain).max(axis=-1) > 40
    assert changed[:32, :64].any()
    assert changed[:32, 132:196].any()
    assert not changed[32:].any()
    assert compare(*films, tmp_path / "named.png").exit_code == 1
    made(*films, tmp_path / "named.png", "-y")


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_label_is_white_and_dark_on_every_ground(level: int) -> None:
    rgb = np.full((240, 320, 3), level, np.uint8)
    draw_label(rgb, "film, temperature 0.35", right=True)
    assert (rgb > 230).sum() > 300
    assert (rgb < 25).sum() > 300
    assert (rgb[60:] == level).all()


def test_a_label_fits_into_any_picture() -> None:
    for height, width in ((1, 1), (8, 200), (48, 20), (1080, 40)):
        draw_label(np.zeros((height, width, 3), np.uint8), "a/very/long/name/of/a/film.mp4")


def test_labels_are_the_shortest_names_that_differ() -> None:
    assert short_names([Path("x/a.mp4"), Path("y/b.mp4")]) == ["a.mp4", "b.mp4"]
    assert short_names([Path("x/a.mp4"), Path("y/a.mp4"), Path("y/c.mp4")]) == [
        "x/a.mp4",
        "y/a.mp4",
        "c.mp4",
    ]
    assert short_names([Path("x/1/a.mp4"), Path("y/1/a.mp4")]) == ["x/1/a.mp4", "y/1/a.mp4"]
    assert short_names([Path("x/a.mp4"), Path("x/a.mp4")]) == ["a.mp4", "a.mp4"]  # one file twice
    with pytest.raises(UsageError, match="once for each"):
        labels_for([Path("a"), Path("b")], ["one"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("a.mp4", "none.mp4", "out.mp4"), 1, "none.mp4: no such file"),
        (("a.mp4", "text.mp4", "out.mp4"), 1, "text.mp4: cannot be read as a video"),
        (("sound.wav", "a.mp4", "out.mp4"), 1, "sound.wav: no video in it, only audio"),
        (("a.mp4", "b.mp4", "n" * 300 + ".mp4"), 1, "name too long"),
        (("a.mp4", "b.mp4", "b.mkv"), 1, "b.mkv: exists; use -y"),
        (("a.mp4", "b.mp4", "out.mp4", "--start", "60"), 1, "b.mp4: there is no frame in that part"),
        (("a.mp4", "a.mp4", "b.mp4", "out.mp4", "--as", "wipe"), 2, "take --as side or --as flicker"),
        (("a.mp4", "b.mp4"), 2, "give two inputs or more"),
        (("a.mp4", "b.mp4", "b.mp4", "-y"), 2, "is an input itself"),
        (("a.mp4", "-", "out.mp4"), 2, "name of a file"),
        (("a.mp4", "b.mp4", "out.jpg"), 2, "ends in .png"),
        (("a.mp4", "b.mp4", "none/out.mp4"), 2, "no such folder"),
        (("a.mp4", "b.mp4", "out.mp4", "--at", "1"), 2, "--at is for a PNG"),
        (("a.mp4", "b.mp4", "out.png", "--as", "wipe"), 2, "a PNG takes --at"),
        (("a.mp4", "b.mp4", "out.mp4", "--label", "one"), 2, "give --label once for each input"),
        (("a.mp4", "b.mp4", "out.png", "--label", "one"), 2, "give --label once for each input"),
        (("a.mp4", "b.mp4", "out.mp4", "--as", "flicker", "--every", "0"), 2, "--every 0"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(
    make_clip: MakeClip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    for name in ("a.mp4", "b.mp4", "b.mkv"):
        make_clip(name, frames=2)
    (tmp_path / "text.mp4").write_text("no film")
    ffmpeg.make(tmp_path / "sound.wav", *ffmpeg.sound(0.1))
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = compare(*arguments)
    assert result.exit_code == code
    assert said.lower() in result.output.lower()
    assert "Traceback" not in result.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, UpscaleError])
def test_an_interruption_leaves_what_was_there(
    make_clip: MakeClip, tmp_path: Path, error: type[BaseException]
) -> None:
    film, output = make_clip(), tmp_path / "out.mp4"
    output.write_text("an earlier one")

    def stop(step: Step) -> None:
        if step.frames == 3:
            raise error

    with pytest.raises(error):
        compare_clip([film, film], output, ClipOptions(overwrite=True), stop)
    assert output.read_text() == "an earlier one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    made(film, film, output, "-y")
    assert len(look(output).frames) == 6


@pytest.mark.parametrize("text", ["0:0:1.1:1", "0:0:0:1", "1:2", "a:b:c:d"])
def test_a_crop_lies_in_the_picture(text: str) -> None:
    with pytest.raises(UsageError):
        Crop.parse(text)
