"""The map of how far each pixel may be from the truth: what it says, and where it is written."""

import itertools
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import contents, look, picture
from test_damage import spoil

from upscale.lab.certainty import measure_certainty
from upscale.lab.cli import main as lab
from upscale.media.frame import Frame
from upscale.media.picture import write_picture
from upscale.media.pixels import PixelFormat
from upscale.models.mixture import NUMBERS, Mixture
from upscale.sampling.map import BRIGHTEST, DARKEST, MapView, brightness, scale_for
from upscale.sampling.multiscale import spread_between
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

MakeClip = Callable[..., Path]
Run = Callable[..., Result]
EXAMPLE = Path(__file__).parent.parent / "examples" / "city.mp4"
FAST = ("--preset", "ultrafast", "-q")


def test_the_deviation_is_that_of_what_the_mixture_draws() -> None:
    mixture = Mixture.from_output((torch.randn(1, NUMBERS * 16, 1, 1) * 2).expand(-1, -1, -1, 20000))
    uniform = torch.linspace(0.5e-4, 1 - 0.5e-4, 20000).view(1, 1, 1, -1)
    drawn = mixture.sample(uniform.logit(), 1.0)
    torch.testing.assert_close(mixture.deviation()[..., 0], drawn.std(3), rtol=0.01, atol=1e-4)


def test_the_spread_of_a_cell_is_found_at_its_first_pixel_and_runs_on_to_the_next() -> None:
    first = torch.tensor([[[[0.0, 4.0], [8.0, 4.0]]]])
    between = spread_between(first, 4)
    assert between.shape == (1, 1, 8, 8)
    torch.testing.assert_close(between[..., ::4, ::4], first)
    assert between[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    assert between[0, 0, :, 0].tolist() == [0, 2, 4, 6, 8, 8, 8, 8]


def frame_of(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    luma = np.where(x < width // 2, 0.5, 0.5 + 0.3 * np.sin(x * 2.3 + y * 1.7)).astype(np.float32)
    return luma[None], np.full((2, height // 2, width // 2), 0.5, np.float32)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_spread_leaves_the_picture_as_it_is_and_is_larger_where_there_is_detail(scale: int) -> None:
    planes = frame_of(40, 48)
    options = SampleOptions(model="clean", temperature=0.5, precision="float32")
    size = 40 * scale, 48 * scale
    plain = Upscaler((40, 48), size, (2, 2), True, options)(planes)
    both = Upscaler((40, 48), size, (2, 2), True, SampleOptions(**{**vars_of(options), "spread": True}))(
        planes
    )
    assert both[0].shape == (2, *size)
    np.testing.assert_array_equal(both[0][:1], plain[0])
    np.testing.assert_array_equal(both[1], plain[1])
    spread = both[0][1]
    flat, busy = spread[:, : 12 * scale], spread[:, 32 * scale :]
    assert np.median(busy) > np.median(flat) + 2  # four times as far from the truth


def vars_of(options: SampleOptions) -> dict[str, object]:
    return {name: getattr(options, name) for name in SampleOptions.__dataclass_fields__}


def test_the_spread_does_not_depend_on_tiles_temperature_or_seed() -> None:
    planes = frame_of(64, 80)
    given = {"model": "clean", "spread": True, "precision": "float32"}
    answers = [
        Upscaler((64, 80), (256, 320), (2, 2), True, SampleOptions(**given, **more))(planes)[0][1]  # type: ignore[arg-type]
        for more in ({}, {"tile": 32}, {"temperature": 0.0}, {"seed": 9})
    ]
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], atol=1e-3)


def test_brightness_doubles_in_equal_steps_and_ends_in_black_and_white() -> None:
    spread = np.array([[DARKEST - 3, DARKEST, 2.0, BRIGHTEST, BRIGHTEST + 3]], np.float32)
    np.testing.assert_allclose(brightness(spread), [[0, 0, 0.5, 1, 1]])


def test_the_scale_in_the_corner_runs_from_black_to_white_and_leaves_small_maps_alone() -> None:
    legend = scale_for(480, 640)
    assert legend.max() == 1
    middle = legend[legend.shape[0] // 2]
    inside = middle[middle > 0]
    assert (np.diff(inside) >= 0).all()
    assert inside[-1] == 1
    assert scale_for(60, 80).size == 0


def test_a_map_has_neutral_chroma_and_the_time_of_its_frame() -> None:
    spread = np.full((64, 64), 2.0, np.float32)
    luma = np.stack([np.zeros_like(spread), spread])
    frame = Frame((luma, np.zeros((2, 32, 32), np.float32)), 7, 2, Fraction(1, 25))
    seen = MapView(PixelFormat(8, False, (2, 2)))(frame)
    assert (seen.pts, seen.duration) == (7, 2)
    np.testing.assert_array_equal(seen.planes[0], np.full((1, 64, 64), 0.5, np.float32))
    assert (seen.planes[1] == 0.5).all()
    with pytest.raises(ValueError, match="has no spread"):
        MapView(PixelFormat(8, False, (2, 2)))(Frame((luma[:1],), 7, 2, Fraction(1, 25)))


@pytest.mark.parametrize("segment", ["0", "0.2"])
def test_a_map_is_a_second_film_of_the_same_clock_and_leaves_the_first_one_as_it_is(
    segment: str, make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    pts = [0, 1, 2, 3, 5, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20]
    source = make_clip(frames=16, pts=pts, sound="aac", rotation=90)
    plain, target, beside = (tmp_path / name for name in ("plain.mp4", "out.mp4", "map.mkv"))
    options = ("-m", "clean", "-s", 2, "--segment", segment, *FAST)
    assert upscale(source, plain, *options).exit_code == 0
    result = upscale(source, target, *options, "--map", beside, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["map"] == str(beside)
    assert contents(target) == contents(plain)
    film, shown = look(target), look(beside)
    assert shown.pts == film.pts
    assert not shown.sound
    assert (shown.context.width, shown.context.height) == (128, 96)
    assert shown.frames[0].rotation == film.frames[0].rotation
    assert not list(tmp_path.glob(".*.upscale"))


def test_a_map_in_segments_is_the_map_in_one_go(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    source = make_clip(frames=16)
    maps = []
    for segment in ("0", "0.2"):
        target = tmp_path / f"{segment}.mp4"
        map_ = target.with_suffix(".png.mkv")
        options = ("-m", "clean", "-s", 2, "--segment", segment, *FAST, "--map", map_)
        assert upscale(source, target, *options).exit_code == 0
        maps.append([frame.to_ndarray().astype(int) for frame in look(map_).frames])
    assert len(maps[0]) == len(maps[1]) == 16
    for one, other in zip(*maps, strict=True):
        assert np.abs(one - other).mean() < 1.5  # encoded anew at every segment


def test_a_picture_has_a_map_that_is_a_picture(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    source = make_clip("in.png", frames=1, codec="png", pix_fmt="rgb24")
    beside = tmp_path / "map.png"
    result = upscale(source, tmp_path / "out.png", "-q", "--map", beside)
    assert result.exit_code == 0, result.output
    (frame,) = look(beside).frames
    assert (frame.width, frame.height, frame.format.name) == (256, 192, "gray")


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the example film is in the repository alone")
def test_the_error_grows_with_the_spread_that_is_stated(tmp_path: Path) -> None:
    with av.open(str(EXAMPLE)) as film:
        for number, frame in enumerate(itertools.islice(film.decode(video=0), 0, 6, 2)):
            write_picture(tmp_path / f"{number}.png", frame.to_ndarray(format="rgb24"))
    sample = SampleOptions(model="clean", temperature=0.0)
    *_, found = measure_certainty((tmp_path,), 4, sample)
    assert found.pictures == 3
    spreads, errors = np.array(found.bins()).T
    assert (np.diff(spreads) > 0).all()
    assert np.corrcoef(np.log(spreads), np.log(errors))[0, 1] > 0.97
    assert errors[-1] > 4 * errors[0]
    assert (errors / spreads > 0.5).all()
    assert (errors / spreads < 2).all()
    assert 0.45 < found.inside(0.5) < 0.65
    assert 0.85 < found.inside(0.9) < 0.95


def test_certainty_is_measured_by_the_command(tmp_path: Path) -> None:
    write_picture(tmp_path / "one.png", picture(96, 64))
    result = CliRunner().invoke(lab, ["certainty", str(tmp_path), "--scale", "2", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["pictures"] == 1
    assert len(told["bins"]) == 10
    result = CliRunner().invoke(lab, ["certainty", str(tmp_path), "-m", "mean"])
    assert result.exit_code == 2
    assert "does not tell how sure it is" in result.stderr


@pytest.mark.parametrize("segment", ["0", "0.2"])
def test_a_film_that_fails_at_its_end_leaves_no_map(
    segment: str, make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    hurt = spoil(make_clip("in.mkv", frames=12, codec="mjpeg", pix_fmt="yuvj420p"), {5})
    options = ("-m", "clean", "-s", 2, "--segment", segment, *FAST, "--map", tmp_path / "map.mkv")
    assert upscale(hurt, tmp_path / "out.mkv", *options, "--strict").exit_code == 1
    assert not (tmp_path / "map.mkv").exists()
    assert upscale(hurt, tmp_path / "out.mkv", *options).exit_code == 1  # made, and a frame was lost
    assert (tmp_path / "map.mkv").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-m", "mean", "--map", "map.mp4"], "film and clean, not mean"),
        (["--map", "out.mp4"], "is OUTPUT itself"),
        (["--map", "map.png"], "map.mp4 or map%05d.png"),
        (["--map", "nowhere/map.mp4"], "no such folder"),
        (["--map", "there.mp4"], "exists; use -y"),
        (["--map", "in.mp4"], "is the source itself"),
    ],
)
def test_a_map_that_cannot_be_is_refused_before_the_work(
    options: list[str], said: str, refused: Callable[..., str]
) -> None:
    assert said in refused("there.mp4", "out.mp4", *options)
