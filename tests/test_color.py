"""Colours: the palette, the order, hints, key frames, references, and whole films in colour."""

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import look
from numpy.typing import NDArray
from test_motion import shifted, texture
from test_pipes import UPSCALE

from upscale.color import film as films
from upscale.color.colorist import Colorist
from upscale.color.film import GREY, stray, with_colors
from upscale.color.looks import working_size
from upscale.color.matching import blended, move
from upscale.color.options import ColorOptions, Reference, name_of_time, time_in_name
from upscale.errors import UpscaleError, UsageError
from upscale.keys import Keys, find_shot
from upscale.lab.cli import main as lab
from upscale.lab.recolor import colourfulness, divergence, histogram, warping_error
from upscale.media.frame import Frame, Key
from upscale.media.info import VideoInfo
from upscale.media.picture import read_picture, write_picture
from upscale.media.read.source import Source
from upscale.models import palette, weights
from upscale.models.color import FINE, ColorConfig, ColorNet, Hints, color_order
from upscale.motion.flow import matchable
from upscale.pipeline import Job, may_jump, reader
from upscale.planes import Planes
from upscale.sampling.colors import noise_by_likeness, sample_colors

Run = Callable[..., Result]

SIZE = (96, 128)
"""Rows and columns of the test films."""


def scene(seed: int, number: int = 0) -> NDArray[np.float32]:
    """A textured picture that pans, Y'CbCr [3, H, W]: its colours follow its brightness, each scene in its
    own way."""
    luma = shifted(texture(seed, *SIZE), 1.2 * number)
    blue = 0.5 + 0.25 * np.sin(5 * luma + seed)
    red = 0.5 + 0.25 * np.cos(5 * luma + 2 * seed)
    return np.stack([luma, cv2.GaussianBlur(blue, (0, 0), 2), cv2.GaussianBlur(red, (0, 0), 2)]).astype(
        np.float32
    )


def grey_film(
    path: Path, shots: int = 2, frames: int = 8, pix_fmt: str = "gray", codec: str = "ffv1"
) -> Path:
    """Shots of ``frames`` frames each, grey; lossless unless another ``codec`` is asked for."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = SIZE
        stream.pix_fmt = pix_fmt
        for number in range(shots * frames):
            luma = scene(number // frames, number % frames)[0]
            frame = av.VideoFrame.from_ndarray(np.round(luma * 255).astype(np.uint8), format="gray")
            frame = frame.reformat(format=pix_fmt)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    return grey_film(tmp_path / "grey.mkv")


def as_rgb(planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """As a player shows them, full range BT.601."""
    luma, blue, red = planes[0], planes[1] - 0.5, planes[2] - 0.5
    rgb = np.stack([luma + 1.402 * red, luma - 0.344 * blue - 0.714 * red, luma + 1.772 * blue], -1)
    return np.round(rgb.clip(0, 1) * 255).astype(np.uint8)


def chroma_of(path: Path) -> NDArray[np.float32]:
    """All chroma of a film, [frames, 2, h, w] around 0.5."""
    with Source(path) as source:
        return np.stack([frame.planes[1] for frame in source.frames()])


# The palette and the order


def test_soft_targets_have_the_colour_as_their_mean() -> None:
    chroma = torch.rand(2, 2, 5, 7) - 0.5
    bins, shares = palette.soft_targets(chroma)
    probability = torch.zeros(2, palette.BINS, 5, 7).scatter_add(1, bins, shares)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 5, 7))
    torch.testing.assert_close(palette.mean(probability), chroma, atol=1e-5, rtol=0)


def test_the_quantile_draws_what_the_distribution_says() -> None:
    """Two colours, one of them three times as likely: so often it is drawn, and never what lies between."""
    first, second = torch.tensor([-0.3, 0.3]), torch.tensor([0.3, -0.3])
    probability = torch.zeros(1, palette.BINS, 1, 1)
    for colour, share in ((first, 0.75), (second, 0.25)):
        bins, shares = palette.soft_targets(colour.view(1, 2, 1, 1))
        probability.scatter_add_(1, bins, shares * share)
    uniform = torch.rand(4000, 2, 1, 1)
    drawn = torch.cat([palette.quantile(probability, each[None])[0, :, 0, 0][None] for each in uniform])
    near = (drawn - first).norm(dim=1) < 0.12
    far = (drawn - second).norm(dim=1) < 0.12
    assert near.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert (near | far).float().mean() > 0.98


def test_a_sample_moves_no_more_than_its_distribution_does() -> None:
    logits = torch.randn(1, palette.BINS, 8, 8)
    uniform = torch.rand(1, 2, 8, 8)
    before = palette.quantile(logits.softmax(1), uniform)
    after = palette.quantile((logits + 1e-5 * torch.randn_like(logits)).softmax(1), uniform)
    assert (before - after).abs().max() < 1e-2


def test_black_and_white_have_no_colour_and_grey_keeps_its_own() -> None:
    luma = torch.tensor([0.0, 1.0, 0.5]).view(1, 1, 1, 3)
    chroma = torch.full((1, 2, 1, 3), 0.1)
    possible = palette.possible(chroma, luma)
    assert possible[..., :2].abs().max() < 1e-6
    torch.testing.assert_close(possible[..., 2], chroma[..., 2])


@pytest.mark.parametrize("size", [(32, 56), (4, 4), (7, 30)])
def test_every_cell_has_its_step(size: tuple[int, int]) -> None:
    steps = color_order(*size)
    assert torch.stack(steps).sum(0).eq(1).all()
    assert len(steps) <= 9


def test_what_comes_later_does_not_change_what_was_sampled_before() -> None:
    """Each step is told of those before it alone: another draw in the last step leaves all others."""
    network = ColorNet(ColorConfig(16, 16, 16, 8)).eval()
    luma = torch.rand(1, 1, 64, 64)
    levels = tuple(
        torch.rand(1, channels, 64 // stride, 64 // stride)
        for channels, stride in ((24, 4), (40, 8), (112, 16), (320, 32))
    )
    with torch.no_grad():
        seen = network.looks(luma, levels, Hints.none(luma))
        known = torch.zeros(1, 3, 8, 8)
        order = color_order(8, 8)
        for step in order[:-1]:
            known[:, 2] = known[:, 2].masked_fill(step, 1)
        before = network.logits(seen, known)
        changed = known.clone()
        changed[:, :2] = torch.where(known[:, 2:] > 0, 0.2, 0.0)
        assert not torch.equal(network.logits(seen, changed), before)  # it looks at what is known
        first, second = torch.rand(1, 2, 8, 8), torch.rand(1, 2, 8, 8)
        one, other = (sample_colors(network, seen, uniform, 1.0) for uniform in (first, second))
        again = sample_colors(network, seen, first, 1.0)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_cells_that_look_alike_are_drawn_alike() -> None:
    """Two things, left and right, and each draws its own number; another seed draws others."""
    descriptors = torch.zeros(1, 20, 32, 32)
    descriptors[:, :10, :, :16], descriptors[:, 10:, :, 16:] = 0.3, 0.3
    noise = noise_by_likeness(0, descriptors)
    left, right = noise[..., 2:10], noise[..., 22:30]
    assert left.std((2, 3)).max() < 0.01
    assert right.std((2, 3)).max() < 0.01
    drawn = torch.cat([noise_by_likeness(seed, descriptors)[..., 4, [4, 28]] for seed in range(100)])
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.08)
    assert np.corrcoef(drawn[..., 0].flatten(), drawn[..., 1].flatten())[0, 1] < 0.2
    assert torch.equal(noise_by_likeness(0, descriptors), noise)
    assert not torch.equal(noise_by_likeness(1, descriptors), noise)


# Flow and several keys


def test_colours_move_along_the_flow_and_are_not_trusted_where_there_is_none() -> None:
    key, later = scene(1), scene(1, 6)
    chroma = np.stack([plane[::FINE, ::FINE] - 0.5 for plane in key[1:]])
    moved = move(matchable(later[0]), matchable(key[0]), chroma)
    truth = np.stack([plane[::FINE, ::FINE] - 0.5 for plane in later[1:]])
    inside = np.s_[8:-8, 12:-12]
    trust = moved[2][inside]
    error = np.abs(moved[:2] - truth)[:, 8:-8, 12:-12]
    assert trust.mean() > 0.7
    assert error[:, trust > 0.5].mean() < 0.02
    stranger = move(matchable(scene(5)[0]), matchable(key[0]), chroma)
    assert stranger[2].mean() < 0.25


def test_the_nearest_of_several_keys_counts_most() -> None:
    one = np.ones((3, 4, 4), np.float32)
    other = np.ones((3, 4, 4), np.float32)
    other[:2] = -1
    assert blended([one, other], [0, 100])[0].mean() > 0.9
    assert blended([one, other], [100, 0])[0].mean() < -0.9
    np.testing.assert_allclose(blended([one, other], [5, 5])[2], 1)


# Shots and key frames


def shots_of(lengths: list[int]) -> list[Planes]:
    return [(scene(shot, number)[:1],) for shot, length in enumerate(lengths) for number in range(length)]


def as_frames(pictures: list[Planes], since: int = 0) -> Iterator[Frame]:
    for number, planes in enumerate(pictures[since:], since):
        yield Frame(planes, number, 1, Fraction(1, 25))


def test_every_frame_gets_the_first_one_of_its_shot() -> None:
    keys = Keys()
    marked = list(keys.marked(keys.watched(as_frames(shots_of([5, 1, 7])))))
    starts = [frame.key.pts for frame in marked if frame.key is not None]
    assert starts == [0] * 5 + [5] + [6] * 7
    assert all(frame.key.planes is marked[frame.key.pts].planes for frame in marked if frame.key)


@pytest.mark.parametrize("time", [0, 3, 4, 5, 9, 300, 699])
def test_a_shots_beginning_is_found_from_behind(time: int) -> None:
    """As who reads from the beginning sees it, also where a shot is longer than one look back."""
    pictures = shots_of([4, 1]) + [pictures for pictures in shots_of([0, 0, 1]) for _ in range(695)]

    def read(begin: int | None) -> Iterator[Frame]:
        return as_frames(pictures, max(begin or 0, 0))

    keys = Keys()
    marked = list(keys.marked(keys.watched(as_frames(pictures))))
    assert marked[time].key is not None
    assert find_shot(read, time, 1) == (marked[time].key.pts, time)
    assert find_shot(read, 5000, 1) is None


def test_a_shots_beginning_is_found_in_a_real_film_whatever_was_looked_for_before(tmp_path: Path) -> None:
    """By jumping to key pictures of the codec, back to the film's beginning, and backwards."""
    path = grey_film(tmp_path / "long.mp4", 2, 330, "yuv420p", "libx264")
    job = Job(path, tmp_path / "out.mkv")
    with Source(path) as source:
        tick = round(1 / 25 / source.info.time_base)
        assert may_jump(job, source)
    read = reader(job, lambda: Source(path), jump=True)
    for frame in (600, 300, 10, 329, 330, 659):
        assert find_shot(read, frame * tick, tick) == (frame // 330 * 330 * tick, frame * tick)


def test_names_of_key_frames_tell_their_time() -> None:
    for time in (Fraction(0), Fraction("83.48"), Fraction("3723.005"), Fraction(1, 3)):
        name = name_of_time(time)
        told = time_in_name(Path(f"{name}.png"))
        assert told is not None
        assert 0 <= time - told < Fraction(1, 1000)
    assert name_of_time(Fraction("3723.005")) == "1h02m03.005s"
    assert time_in_name(Path("grandma.png")) is None


# References


def test_references_are_files_times_and_folders(tmp_path: Path) -> None:
    picture = tmp_path / "0h00m02.500s.png"
    write_picture(picture, as_rgb(scene(0)))
    (named,) = Reference.parse(str(picture))
    assert named.time == Fraction("2.5")
    (timed,) = Reference.parse(f"1:02={picture}")
    assert (timed.path, timed.time) == (picture, 62)
    (found,) = Reference.parse(str(tmp_path))
    assert found == named
    assert named.read().data == picture.read_bytes()
    with pytest.raises(UpscaleError, match=r"no\.png: No such file"):
        Reference(tmp_path / "no.png").read()
    with pytest.raises(UsageError, match="'noon' is not a time"):
        Reference.parse("noon=there.png")


def test_a_key_frame_takes_the_colours_of_its_reference_and_the_shot_keeps_them() -> None:
    """The reference is a frame of the shot; what follows is measured against the truth."""
    truth = [scene(3, number) for number in range(9)]
    colorist = Colorist(info_of_film(), ColorOptions("reference"), "cpu", "float32")
    colorist.follow(truth[0], 0, 0)
    key = Key((truth[0][:1],), 0)
    errors, greys = [], []
    for number, planes in enumerate(truth):
        answer = colorist(Frame((planes[:1],), number, 1, Fraction(1, 25), key=key)).planes[1]
        true = np.stack(
            [cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for plane in planes[1:]]
        )
        errors.append(float(np.square(answer - true).mean()))
        greys.append(float(np.square(true - 0.5).mean()))
    assert max(errors) < 0.2 * min(greys)


def info_of_film(path: Path | None = None) -> VideoInfo:
    if path is not None:
        with Source(path) as source:
            return source.info
    from upscale.lab.recolor import _info

    return with_colors(_info(*SIZE))


# Whether a film is black and white


def test_tape_noise_and_a_tint_are_no_colour_and_a_flag_is() -> None:
    random = np.random.default_rng(0)
    luma = texture(0, *SIZE)[None]
    noise = random.normal(0, 5 / 255, (2, *SIZE)).astype(np.float32)
    tinted = np.stack([np.full(SIZE, 0.45), np.full(SIZE, 0.56)]).astype(np.float32)
    assert stray((luma,)) == 0
    assert stray((luma, tinted + noise)) < GREY
    flag = tinted.copy()
    flag[:, 40:70, 40:90] += 0.2
    assert stray((luma, flag)) > GREY


# The command


def test_a_grey_film_comes_out_in_colour(grey: Path, tmp_path: Path, upscale: Run) -> None:
    result = upscale(grey, tmp_path / "out.mkv", "--color", "auto", "--scale", 1, "-m", "nearest")
    assert result.exit_code == 0, result.output
    assert "taken as black and white: its colour varies by 0.0 levels" in result.stderr
    clip = look(tmp_path / "out.mkv")
    assert {frame.format.name for frame in clip.frames} <= {"yuv420p", "yuvj420p"}
    assert len(clip.frames) == 16


def test_ten_bit_grey_becomes_ten_bit_colour(tmp_path: Path, upscale: Run) -> None:
    film = grey_film(tmp_path / "deep.mkv", 1, 2, "gray10le")
    assert upscale(film, tmp_path / "out.mkv", "--color", "auto", "--scale", 2).exit_code == 0
    frame = look(tmp_path / "out.mkv").frames[0]
    assert (frame.format.name, frame.width) == ("yuv420p10le", 2 * SIZE[1])


@pytest.mark.parametrize("pix_fmt", ["gray", "rgb24"])
def test_a_picture_is_coloured_too(pix_fmt: str, tmp_path: Path, upscale: Run) -> None:
    photo, target = tmp_path / "photo.png", tmp_path / "out.png"
    grey_film(photo, 1, 1, pix_fmt, "png")
    assert upscale(photo, target, "--color", "auto", "--scale", 1).exit_code == 0
    assert stray((read_picture(target)[:1], read_picture(target)[1:])) > 0.5


def test_a_pipe_is_coloured_too(grey: Path) -> None:
    """It cannot be looked through, so its first frame tells that it is grey."""
    options = ["--color", "auto", "-m", "nearest", "--scale", "1"]
    with grey.open("rb") as film:
        done = subprocess.run([*UPSCALE, "-", "-", *options], stdin=film, capture_output=True)
    assert done.returncode == 0, done.stderr
    with av.open(io.BytesIO(done.stdout)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 16
    assert "420p" in frames[0].format.name


@pytest.mark.parametrize("model", ["nearest", "film"])
def test_in_segments_it_is_the_same_film(model: str, tmp_path: Path, upscale: Run) -> None:
    """A segment begins in the middle of a shot, whose key frame lies before it."""
    film = grey_film(tmp_path / "long.mkv", 2, 20)
    options = ["--color", "auto", "--color-temperature", 1, "--scale", 1, "-m", model, "--codec", "ffv1"]
    one, many = tmp_path / "one.mkv", tmp_path / "many.mkv"
    for target, segment in ((one, 0), (many, 0.4)):
        result = upscale(film, target, *options, "--segment", segment, "--json")
        assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["segments"] > 2
    for a, b in zip(look(one).frames, look(many).frames, strict=True):
        assert np.array_equal(a.to_ndarray(), b.to_ndarray())


def test_the_same_seed_gives_the_same_film_with_one_thread_or_two(
    grey: Path, tmp_path: Path, upscale: Run
) -> None:
    options = ["--color", "auto", "--scale", 1, "-m", "nearest", "--codec", "ffv1", "--duration", 0.2]
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert upscale(grey, tmp_path / f"{threads}.mkv", *options).exit_code == 0
    finally:
        torch.set_num_threads(before)
    one, two = chroma_of(tmp_path / "1.mkv"), chroma_of(tmp_path / "2.mkv")
    # In float32, of CPUs without bfloat16, threads sum in another order: a code may be the next one.
    apart = np.abs(one - two) * 255
    assert apart.max() < 1.5
    assert (apart > 0).mean() < 1e-3
    other = ["--color-seed", 1, "--color-temperature", 1]
    assert upscale(grey, tmp_path / "other.mkv", *options, *other).exit_code == 0
    assert not np.array_equal(chroma_of(tmp_path / "1.mkv"), chroma_of(tmp_path / "other.mkv"))


def test_film_in_colour_is_refused_unless_it_is_to_be_refreshed(
    make_clip: Callable[..., Path], tmp_path: Path, upscale: Run
) -> None:
    clip, target = make_clip(size=(128, 96)), tmp_path / "out.mkv"
    options = ["--color", "auto", "--scale", 1, "-m", "nearest", "--codec", "ffv1"]
    result = upscale(clip, target, *options)
    assert result.exit_code == 1
    assert "is in colour, which varies by" in result.stderr
    assert not target.exists()
    own = chroma_of(clip)
    for strength in (0, 0.5):
        assert upscale(clip, target, *options, "--color-strength", strength, "-y").exit_code == 0
        away = np.abs(chroma_of(target) - own).mean()
        assert (away < 1e-3) == (strength == 0)


def test_saturation_nought_is_grey(grey: Path, tmp_path: Path, upscale: Run) -> None:
    target = tmp_path / "out.mkv"
    options = ["--color", "auto", "--scale", 1, "-m", "nearest", "--codec", "ffv1", "--saturation", 0]
    assert upscale(grey, target, *options).exit_code == 0
    assert np.abs(chroma_of(target) - 0.5).max() < 1e-6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--saturation", "2"], "add --color auto"),
        (["--color", "reference"], "needs something to follow"),
        (["--reference", "nowhere.png"], "nowhere.png: No such file"),
        (["--color", "auto", "--reference", "PICTURE"], "--reference is for --color reference"),
        (["--reference", "GREY"], "has no colours to follow"),
        (["--reference", "99=PICTURE"], "the film has no frame at 99 s"),
        (["--reference", "FILM"], "a reference is a picture"),
        (["--export-keys", "keys"], "--export-keys writes coloured frames"),
        (["--color", "auto", "--preview", "sheet.jpg"], "the sheet is a PNG"),
    ],
)
def test_wrong_usage_is_told_before_the_work(
    options: list[str], said: str, grey: Path, tmp_path: Path, upscale: Run
) -> None:
    picture, pale = tmp_path / "picture.png", tmp_path / "pale.png"
    write_picture(picture, as_rgb(scene(0)))
    write_picture(pale, np.repeat(as_rgb(scene(0))[..., :1], 3, 2))
    for name, path in (("PICTURE", picture), ("GREY", pale), ("FILM", grey)):
        options = [option.replace(name, str(path)) for option in options]
    result = upscale(grey, tmp_path / "out.mkv", *options)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert not (tmp_path / "out.mkv").exists()


def test_without_the_extra_the_command_says_what_to_install(
    grey: Path, tmp_path: Path, upscale: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "PACKAGES", ("no_such_package_of_features",))
    result = upscale(grey, tmp_path / "out.mkv", "--color", "auto")
    assert result.exit_code == 2
    assert "pip install 'upscale-pixelcnn[color]'" in result.stderr


def test_a_preview_and_exported_keys_need_no_output_and_keys_serve_as_references(
    grey: Path, tmp_path: Path, upscale: Run
) -> None:
    sheet, keys = tmp_path / "sheet.png", tmp_path / "keys"
    options = ["--color", "auto", "-m", "nearest"]
    result = upscale(grey, *options, "--preview", sheet, "--export-keys", keys)
    assert result.exit_code == 0, result.output
    assert f"{sheet}: 2 shots" in result.stderr
    assert [path.name for path in sorted(keys.iterdir())] == ["0h00m00.000s.png", "0h00m00.320s.png"]
    assert read_picture(sheet).shape[0] == 3
    assert "exists; use -y" in upscale(grey, *options, "--preview", sheet).stderr
    # Painted green by a person, the first shot comes out green; the second one as if nobody had been asked.
    planes = read_picture(keys / "0h00m00.000s.png")
    planes[1], planes[2] = 0.35, 0.35
    write_picture(keys / "0h00m00.000s.png", as_rgb(planes))
    target = tmp_path / "out.mkv"
    told = ["--reference", keys, "-m", "nearest", "--scale", 1, "--codec", "ffv1"]
    assert upscale(grey, target, *told).exit_code == 0
    chroma = chroma_of(target) - 0.5
    assert chroma[:8].mean() < -0.08
    assert abs(chroma[8:].mean()) < 0.05


def test_a_part_of_a_film_takes_the_references_of_that_part(
    grey: Path, tmp_path: Path, upscale: Run
) -> None:
    """The first shot's green is not the second one's, which the part begins in."""
    green = scene(0)
    green[1:] = 0.35
    write_picture(tmp_path / "green.png", as_rgb(green))
    target, told = tmp_path / "out.mkv", f"0.1={tmp_path / 'green.png'}"
    options = ["-m", "nearest", "--scale", 1, "--codec", "ffv1", "--duration", 0.2]
    result = upscale(grey, target, "--reference", told, *options, "--start", 0.4)
    assert result.exit_code == 0, result.output
    assert "references outside the part that is made: 1, left out" in result.stderr
    assert abs(chroma_of(target).mean() - 0.5) < 0.05
    assert upscale(grey, target, "--reference", told, *options, "--start", 0.04, "-y").exit_code == 0
    assert chroma_of(target).mean() - 0.5 < -0.08


def test_another_reference_begins_anew(grey: Path, tmp_path: Path) -> None:
    """What a film was made of names the reference's content, whatever it is called."""
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    write_picture(first, as_rgb(scene(0)))
    write_picture(second, as_rgb(scene(0)))
    one, same = (
        ColorOptions("reference", (Reference(path).read(),)).identity() for path in (first, second)
    )
    assert one == same
    write_picture(second, as_rgb(scene(1)))
    assert ColorOptions("reference", (Reference(second).read(),)).identity() != one


def test_a_reference_of_something_else_is_left_alone_and_that_is_told(
    grey: Path, tmp_path: Path, upscale: Run
) -> None:
    """The film is then the one that ``--color auto`` makes."""
    stranger = tmp_path / "stranger.png"
    flat = np.full((3, 240, 320), 0.5, np.float32)
    flat[0, 60:180, 80:240], flat[2] = 0.7, 0.7
    write_picture(stranger, as_rgb(flat))
    options = ["--scale", 1, "-m", "nearest", "--codec", "ffv1"]
    result = upscale(grey, tmp_path / "told.mkv", "--reference", stranger, *options)
    assert "2 shots are like no reference" in result.stderr
    assert upscale(grey, tmp_path / "auto.mkv", "--color", "auto", *options).exit_code == 0
    assert np.array_equal(chroma_of(tmp_path / "told.mkv"), chroma_of(tmp_path / "auto.mkv"))


# The lab


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        write_picture(folder / f"{number}.png", as_rgb(scene(number)))
    return folder


def test_the_color_network_is_trained_from_photos_and_its_file_is_small(
    photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "color.safetensors"
    arguments = ["train", "color", photos, output, "--validation", photos, "--steps", 1, "--batch", 2]
    result = CliRunner().invoke(lab, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert "no hints" in result.stderr
    told = weights.describe(output)
    assert (told.kind, told.scale, told.training["pictures"]) == ("color", 1, 2)
    assert output.stat().st_size < 1.2 * sum(value.numel() for value in weights.load(output).parameters())


def test_wrong_usage_of_the_lab_is_a_line_and_no_traceback(photos: Path, tmp_path: Path) -> None:
    grey = grey_film(tmp_path / "grey.mkv", 1, 2)
    for arguments, said in (
        (["train", "color", photos, "out", "--also", grey], "teaches no colours"),
        (["train", "luma", photos, "out", "--also", tmp_path / "no"], "no: no such file"),
        (["evaluate", photos, "--sheet", "x.jpg"], "add --color"),
        (["evaluate", "--color", photos, "--sheet", tmp_path / "no" / "x.jpg"], "no such folder"),
    ):
        result = CliRunner().invoke(lab, [str(argument) for argument in arguments])
        assert result.exit_code in (1, 2)
        assert said in result.stderr
        assert result.exc_info is not None
        assert result.exc_info[0] is SystemExit


def test_kernels_that_are_stored_in_bytes_come_back_nearly_as_they_were(tmp_path: Path) -> None:
    network = ColorNet(ColorConfig(16, 16, 16, 8))
    weights.save(tmp_path / "w.safetensors", network, {})
    for name, value in weights.load(tmp_path / "w.safetensors").state_dict().items():
        before = network.state_dict()[name]
        assert (value - before).abs().max() <= before.abs().max() / 254 + 1e-7


def test_colours_of_films_and_photos_are_measured(photos: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv444p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(as_rgb(scene(0, number)), format="rgb24")
            frame = frame.reformat(format="yuv444p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    grey = grey_film(tmp_path / "grey.mkv", 1, 6)
    arguments = ["evaluate", "--color", str(film), str(grey), "--frames", "6", "--json"]
    result = CliRunner().invoke(lab, arguments)
    assert result.exit_code == 0, result.output
    coloured, never = json.loads(result.stdout)
    rows = coloured["rows"]
    assert rows["ours, by reference"]["PSNR"] > rows["mean of the reference"]["PSNR"] + 3
    assert rows["truth"]["overlap"] == pytest.approx(1)
    assert list(never["rows"]) == ["ours, automatic"]
    result = CliRunner().invoke(lab, ["evaluate", "--color", str(photos), "-t", "0"])
    assert "| temperature 0 |" in result.stdout
    sheet = tmp_path / "sheet.jpg"
    assert (
        CliRunner().invoke(lab, ["evaluate", "--color", str(photos), "--sheet", str(sheet)]).exit_code == 0
    )
    assert read_picture(sheet).shape[2] > 1000


def test_the_measures_of_colour_know_what_they_measure() -> None:
    colours = scene(0)
    chroma = colours[1:] - 0.5
    assert colourfulness(as_rgb(colours)) > 10
    assert colourfulness(np.repeat(as_rgb(colours)[..., :1], 3, 2)) == pytest.approx(0, abs=1e-4)
    one, other = histogram(chroma), histogram(-chroma)
    assert divergence(one, one) == 0
    assert 0.1 < divergence(one, other) <= np.log(2) + 1e-9
    planes = np.concatenate([colours[:1], chroma])
    later = scene(0, 2)
    later = np.concatenate([later[:1], later[1:] - 0.5])
    still, luma = warping_error(planes, later, planes[1:], later[1:])
    flickering, _ = warping_error(planes, later, planes[1:], later[1:] + 0.05)
    assert still < 5 < 15 < flickering
    assert luma < 5


def test_pictures_are_looked_at_in_about_one_size() -> None:
    for height, width in ((270, 480), (1080, 1920), (576, 720), (360, 640)):
        high, wide = working_size(height, width)
        assert high % 32 == wide % 32 == 0
        assert 0.8 < high * wide / (448 * 256) < 1.25
        assert abs(wide / high / (width / height) - 1) < 0.12
    assert working_size(48, 64) == (96, 128)
