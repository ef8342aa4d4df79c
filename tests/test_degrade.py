"""Old footage made out of new, scenes in motion, and the samples that networks learn from."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import look
from safetensors.numpy import save_file
from test_motion import pan, texture

from upscale.errors import UpscaleError
from upscale.lab.cli import main as lab
from upscale.lab.dataset import downsample
from upscale.lab.degrade import CLEAN, PRESETS, Recipe, degraded, draw, grain_field
from upscale.lab.judging import teach_judge
from upscale.lab.scenes import Library, Sources, Stock, scene
from upscale.lab.shards import FINE, SIDE, Shard, Shards, sample, write_shard
from upscale.media.picture import write_picture
from upscale.models import weights
from upscale.models.luma import LumaConfig, LumaPixelCNN
from upscale.planes import WINDOW, Planes

NOTHING = draw(CLEAN, np.random.default_rng(0))


def clip(frames: int = 6) -> list[Planes]:
    """A pan with colours: luma [1, 160, 192], chroma [2, 80, 96]."""
    colours = np.stack([texture(3, 80, 96), texture(4, 80, 96)])
    return [(planes[0][:, :, :192], colours) for planes in pan(frames)]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_preset_gives_every_frame_at_its_size(preset: str, seed: int) -> None:
    recipe = draw(PRESETS[preset], np.random.default_rng(seed))
    aged = list(degraded(clip(), recipe, 2, seed))
    assert len(aged) == 6
    for one in aged:
        assert one.picture[0].shape == one.small[0].shape == (1, 80, 96)
        assert one.truth[0].shape == (1, 160, 192)
        assert len(one.picture) == len(one.truth) == (1 if recipe.grey else 2)
        assert np.abs(one.picture[0] - one.small[0]).mean() * 255 > 0.3


def test_the_same_seed_is_the_same_film() -> None:
    recipe = draw(PRESETS["film16"], np.random.default_rng(4))
    one, same, other = (list(degraded(clip(), recipe, 2, seed)) for seed in (7, 7, 8))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a.picture[0], b.picture[0])
    assert any((a.picture[0] != b.picture[0]).any() for a, b in zip(one, other, strict=True))
    assert draw(PRESETS["vhs"], np.random.default_rng(1)) == draw(PRESETS["vhs"], np.random.default_rng(1))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_nothing_done_is_the_clean_track(scale: int) -> None:
    frames = [(texture(height=168, width=192)[None],)]
    (one,) = degraded(frames, NOTHING, scale, 0)
    clean = downsample(torch.from_numpy(frames[0][0])[None], scale)[0].numpy()
    edge = slice(8, -8)
    assert np.abs(one.picture[0] - clean)[:, edge, edge].max() * 255 < 2.1
    np.testing.assert_array_equal(one.truth[0], frames[0][0])


@pytest.mark.parametrize("kernel", ["area", "bicubic", "bilinear", "lanczos", "sharp"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_no_kernel_moves_the_picture(kernel: str, scale: int) -> None:
    y, x = np.mgrid[:96, :96].astype(np.float32)
    ramp = (0.2 + 0.003 * x + 0.002 * y)[None]
    (one,) = degraded([(ramp,)], replace(NOTHING, kernel=kernel), scale, 0)
    expected = ramp[0].reshape(96 // scale, scale, 96 // scale, scale).mean((1, 3))
    edge = slice(6, -6)
    assert np.abs(one.small[0][0] - expected)[edge, edge].max() < 1e-3


def test_the_truth_goes_where_the_gate_and_the_lamp_put_it() -> None:
    recipe = replace(NOTHING, weave=0.8, flicker=0.05, fade=0.2)
    for one in degraded([(texture()[None, :, :192],)] * 4, recipe, 2, 3):
        small = downsample(torch.from_numpy(one.truth[0])[None], 2)[0].numpy()
        assert np.abs(one.picture[0] - small)[:, 8:-8, 8:-8].max() * 255 < 3


def test_grain_is_as_strong_as_asked_and_its_neighbours_are_alike() -> None:
    fine, coarse = (grain_field(128, clumps, np.random.default_rng(0)) for clumps in (0.0, 0.8))
    for field in (fine, coarse):
        assert (field.mean(), field.std()) == pytest.approx((0, 1), abs=1e-4)
    assert abs((fine * np.roll(fine, 1, 1)).mean()) < 0.03
    assert (coarse * np.roll(coarse, 1, 1)).mean() > 0.15
    flat = np.full((1, 128, 128), 0.5, np.float32)
    (one,) = degraded([(flat,)], replace(NOTHING, grain=6.0), 1, 0)
    assert (one.picture[0] - flat).std() * 255 == pytest.approx(6, rel=0.05)


@pytest.mark.parametrize("what", ["dust", "hairs", "scratches", "dropouts"])
def test_dirt_is_there_and_changes_from_frame_to_frame(what: str) -> None:
    flat = [(np.full((1, 200, 200), 0.5, np.float32),)] * 3
    amount = {"dust": 80.0, "hairs": 4.0, "scratches": 10.0, "dropouts": 20.0}[what]
    pictures = [one.picture[0] for one in degraded(flat, replace(NOTHING, **{what: amount}), 1, 1)]
    for picture in pictures:
        assert np.abs(picture - 0.5).max() > 0.1
        assert np.median(np.abs(picture - 0.5)) < 0.01
    assert (pictures[0] != pictures[1]).any()


def test_blended_fields_show_the_frame_and_the_next() -> None:
    frames = [(np.full((1, 32, 32), level, np.float32),) for level in (0.2, 0.6, 0.6)]
    pictures = [one.picture[0] for one in degraded(frames, replace(NOTHING, interlaced=True), 1, 0)]
    assert len(pictures) == 3
    assert pictures[0].mean() == pytest.approx(0.4, abs=0.01)
    assert pictures[1].mean() == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("encoder", ["libx264", "mpeg2video", "mpeg4", "mjpeg"])
def test_a_worse_quality_is_worse_and_every_frame_is_there(encoder: str) -> None:
    def loss(quality: float) -> float:
        recipe: Recipe = replace(NOTHING, encoder=encoder, quality=quality)
        aged = list(degraded(clip(16), recipe, 1, 0))
        assert len(aged) == 16
        return float(np.mean([np.square(one.picture[0] - one.small[0]).mean() for one in aged]))

    best, worst = (10, 40) if encoder == "libx264" else (2, 25)
    assert loss(best) < 0.5 * loss(worst)


@pytest.fixture(scope="module")
def stock() -> Stock:
    random = np.random.default_rng(0)
    pictures = [
        (np.stack([texture(3 * n + k, 400, 420) for k in range(3)]) * 255).astype(np.uint8)
        for n in range(3)
    ]
    moving = [random.integers(0, 255, (3, 300, 310), np.uint8) for _ in range(9)]
    return Stock(pictures, pictures[:1], [], [moving])


def test_scenes_move_and_are_the_same_for_the_same_seed(stock: Stock) -> None:
    clips = [scene(stock, 96, 7, np.random.default_rng((0, seed))) for seed in range(12)]
    for frames in clips:
        assert [planes[0].shape for planes in frames] == [(1, 96, 96)] * 7
        assert frames[0][1].shape == (2, 96, 96)
        assert all(0 <= plane.min() <= plane.max() <= 1 for planes in frames for plane in planes)
    still = [all((frames[0][0] == planes[0]).all() for planes in frames) for frames in clips]
    assert 0 < sum(still) < 12 or not all(still)
    again = scene(stock, 96, 7, np.random.default_rng((0, 3)))
    for one, same in zip(clips[3], again, strict=True):
        np.testing.assert_array_equal(one[0], same[0])


def test_a_sample_is_a_window_and_its_truth(stock: Stock) -> None:
    for seed in range(6):
        one = sample(stock, 4, np.random.default_rng(seed))
        assert one["planes"].shape == (5, SIDE, SIDE)
        assert one["truth"].shape == (1, 4 * SIDE, 4 * SIDE)
        assert one["chroma"].shape == (2, SIDE // 2, SIDE // 2)
        truth = torch.from_numpy(one["truth"]).float()[None] / 255
        small = downsample(truth, 4)[0, 0].numpy()
        # However old it looks, it is the truth that it shows.
        assert np.corrcoef(one["small"].ravel().astype(float), small.ravel())[0, 1] > 0.8


def test_a_shard_is_read_as_it_was_made(stock: Stock, tmp_path: Path) -> None:
    path = tmp_path / "7.safetensors"
    write_shard(stock, path, 7, count=3)
    file = Shard(path)
    assert len(file) == 3
    for number in range(3):
        made = sample(stock, 4, np.random.default_rng((7, number)))
        for name, array in made.items():
            read = file.read(name, number).numpy()
            if array.dtype == np.uint8:
                np.testing.assert_array_equal(np.round(read * 255).astype(np.uint8), array)
            else:
                np.testing.assert_allclose(read, array, atol=0.6 / FINE)
    raw = sum(
        array.astype(np.float16 if array.dtype == np.float32 else array.dtype).nbytes
        for array in made.values()
    )
    assert path.stat().st_size < 3 * raw


def test_a_library_deals_by_number(tmp_path: Path, make_clip: Callable[..., Path]) -> None:
    photos, more, films = (tmp_path / name for name in ("photos", "more", "films"))
    for folder in (photos, more, films):
        folder.mkdir()
    for number in range(3):
        write_picture(
            photos / f"{number}.png", (np.stack([texture(number, 80, 90)] * 3, 2) * 255).astype(np.uint8)
        )
    write_picture(more / "small.png", np.zeros((40, 90, 3), np.uint8))
    make_clip("films/a.mkv", size=(128, 96), frames=3)
    make_clip("films/b.mkv", size=(128, 96), frames=3)
    make_clip("films/small.mkv", size=(128, 48), frames=3)
    library = Library(Sources((photos, more), clips=(films,), without=("b*",)), 64)
    first, again, other = library.deal(1), library.deal(1), library.deal(2)
    assert [picture.shape for picture in first.pictures] == [(3, 80, 90)] * 3
    assert [len(clip) for clip in first.clips] == [3]
    for one, same in zip(first.pictures, again.pictures, strict=True):
        np.testing.assert_array_equal(one, same)
    assert any((one != another).any() for one, another in zip(first.pictures, other.pictures, strict=True))
    with pytest.raises(UpscaleError, match="none of 1 photos has 64 pixels"):
        Library(Sources((more,)), 64).deal(0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UpscaleError, match="no films in it"):
        Library(Sources((photos,), clips=(tmp_path / "empty",)), 64)


def test_a_copy_of_a_copy_has_lost_more() -> None:
    once: Recipe = replace(NOTHING, encoder="mpeg4", quality=6)
    twice = replace(once, first=("mpeg4", 6.0, 1.5))

    def loss(recipe: Recipe) -> float:
        aged = list(degraded(clip(6), recipe, 1, 0))
        assert [one.picture[0].shape for one in aged] == [clip(1)[0][0].shape] * 6
        return float(np.mean([np.square(one.picture[0] - one.small[0]).mean() for one in aged]))

    assert loss(twice) > 1.2 * loss(once)


def test_sharpened_pictures_have_more_contrast() -> None:
    soft, sharp = (
        np.std(next(degraded(clip(1), replace(NOTHING, sharpened=share), 1, 0)).picture[0])
        for share in (0, 0.8)
    )
    assert sharp > 1.02 * soft


def test_shards_teach_luma_and_chroma_at_every_scale(stock: Stock, tmp_path: Path) -> None:
    write_shard(stock, tmp_path / "0.safetensors", 0, count=4)
    for kind, planes, colours in (("luma", len(WINDOW), 1), ("chroma", 2, 3)):
        for scale in (2, 4):
            shards = Shards(tmp_path, kind, scale, 16 * scale, 3)
            assert len(shards) == 4
            batch = next(shards.batches())
            assert batch.low.shape == (3, planes, 16, 16)
            assert batch.high.shape == (3, colours, 16 * scale, 16 * scale)
            torch.testing.assert_close(next(shards.batches()).low, batch.low)
            assert len(list(shards.held_out())) == 4


def test_what_is_to_be_kept_is_in_the_answer(stock: Stock, tmp_path: Path) -> None:
    write_shard(stock, tmp_path / "0.safetensors", 0, count=4)
    shards = Shards(tmp_path, "luma", 4, 4 * SIDE, 8)
    keep = WINDOW.index("keep")
    batches = [next(shards.batches(number)) for number in range(6)]
    kept = [low[keep, 0, 0] for batch in batches for low in batch.low]
    assert 0 < sum(float(share) > 0 for share in kept) < len(kept)


def test_what_networks_are_told_of_damage_is_nearly_true(stock: Stock, tmp_path: Path) -> None:
    write_shard(stock, tmp_path / "0.safetensors", 0, count=8)
    shards, place = Shards(tmp_path, "luma", 4, 4 * SIDE, 8), WINDOW.index("damage")
    told = [float(batch.low[0, place].mean()) for batch in shards.held_out()]
    file = Shard(tmp_path / "0.safetensors")
    for number, one in enumerate(told):
        seen, small = (file.read(name, number) for name in ("planes", "small"))
        error = float((seen[0] - small).square().mean().sqrt()) * 255
        assert 2 ** (4 * one) - 1 == pytest.approx(min(error, 15), rel=0.01)
    taught = [float(low[place].mean()) for n in range(20) for low in next(shards.batches(n)).low]
    apart = [min(abs(one - true) for true in told) for one in taught]
    assert 0.002 < np.mean(apart) < 0.06


def test_a_judge_is_taught_for_several_networks(stock: Stock, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    write_shard(stock, shards / "0.safetensors", 0, count=12)
    files = [tmp_path / f"film-x{scale}.safetensors" for scale in (4, 2)]
    for path, scale in zip(files, (4, 2), strict=True):
        weights.save(path, LumaPixelCNN(LumaConfig(scale, 4, 1, 5, WINDOW)), {"scenes": 12})
    verdicts = list(teach_judge(files, shards, shards, 120))
    assert [verdict.step for verdict in verdicts] == [*range(1, 121)]
    last = verdicts[-1].held_out
    assert last is not None
    assert last < 0.8 * np.mean([verdict.taught for verdict in verdicts[:3]])
    states = [weights.load(path).state_dict() for path in files]
    judges = [{k: v for k, v in state.items() if k.startswith("judge.")} for state in states]
    assert judges[0]
    for name, value in judges[0].items():
        torch.testing.assert_close(judges[1][name], value, rtol=0, atol=0)
    assert weights.describe(files[1]).training == {"scenes": 12}


def test_clean_weights_have_no_judge(tmp_path: Path) -> None:
    path = tmp_path / "clean.safetensors"
    weights.save(path, LumaPixelCNN(LumaConfig(2, 4, 1)), {})
    with pytest.raises(UpscaleError, match="have a judge"):
        list(teach_judge([path], tmp_path, tmp_path, 1))


def test_a_folder_without_shards_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UpscaleError, match="upscale-lab shards"):
        Shards(tmp_path, "luma", 4, 64, 2)


def test_a_shard_of_another_layout_is_one_line(tmp_path: Path) -> None:
    save_file({"planes": np.zeros((1, 5, SIDE, SIDE), np.float16)}, tmp_path / "0.safetensors")
    with pytest.raises(UpscaleError, match=r"0\.safetensors: not a shard, or one of an older version"):
        Shards(tmp_path, "luma", 4, 64, 2)


def test_the_command_makes_old_footage(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    source, old, truth = make_clip(size=(128, 96)), tmp_path / "old.mkv", tmp_path / "truth.mkv"
    arguments = ["degrade", str(source), str(old), "--preset", "vhs", "--seed", "3", "--scale", "2"]
    result = CliRunner().invoke(lab, [*arguments, "--truth", str(truth)])
    assert result.exit_code == 0, result.output
    made, true = look(old), look(truth)
    assert (made.frames[0].width, made.frames[0].height) == (64, 48)
    assert (true.frames[0].width, true.frames[0].height) == (128, 96)
    assert made.pts == true.pts == look(source).pts
    again = CliRunner().invoke(lab, arguments)
    assert again.exit_code == 1
    assert "exists" in again.output


def test_a_photo_becomes_a_film_of_it(tmp_path: Path) -> None:
    photo, old, truth = (tmp_path / name for name in ("photo.png", "old.mkv", "truth.mkv"))
    write_picture(photo, np.random.default_rng(0).integers(0, 255, (160, 192, 3), np.uint8))
    arguments = ["degrade", str(photo), str(old), "--scale", "2", "--frames", "5", "--truth", str(truth)]
    assert CliRunner().invoke(lab, [*arguments, "--seed", "4"]).exit_code == 0
    frames = look(truth).frames
    assert len(frames) == len(look(old).frames) == 5
    assert not np.array_equal(frames[0].to_ndarray(), frames[4].to_ndarray())


def test_the_window_is_measured_without_networks(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for name, speed in (("still", 0), ("pan", 4)):
        frames = []
        for number in range(5):
            luma = texture(height=260, width=500)[:240, speed * number : speed * number + 480]
            frames.append(np.round(16 + 219 * luma).astype(np.uint8))
        with av.open(str(clips / f"{name}.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 480, 240, "yuv420p"
            for luma in frames:
                planes = np.concatenate([luma, np.full((120, 480), 128, np.uint8)])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
            container.mux(stream.encode())
    run = CliRunner().invoke(lab, ["evaluate", "--window", str(clips), "--frames", "5", "--json"])
    assert run.exit_code == 0, run.output
    trials = json.loads(run.stdout)["trials"]
    assert [(trial["clip"], trial["strength"]) for trial in trials] == [
        (clip, strength) for clip in ("pan", "still") for strength in ("light", "middle", "heavy")
    ]
    gains = [trial["psnr"]["merge"] - trial["psnr"]["centre"] for trial in trials]
    assert min(gains) > 0.2
    assert np.mean(gains) > 0.7
    assert all(trial["milliseconds"] > 0 for trial in trials)
    by_strength = [trial["psnr"]["centre"] for trial in trials[:3]]
    assert by_strength == sorted(by_strength, reverse=True)
    table = CliRunner().invoke(lab, ["evaluate", "--window", str(clips / "pan.mkv"), "--frames", "3"])
    assert "| 1 clips | frame, dB |" in table.stdout
    assert "| pan | +" in table.stdout
    assert "| dirt |" not in table.stdout
    cleanings = json.loads(run.stdout)["cleanings"]
    assert [one["clip"] for one in cleanings] == ["pan", "still"]
    assert all(one["left"] < 0.6 and one["lost"] < 0.1 and one["taken"] < 0.001 for one in cleanings)
    whole = CliRunner().invoke(lab, ["evaluate", "--window", str(clips), "--frames", "5"])
    assert "| left | " in whole.stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no films in it" in CliRunner().invoke(lab, ["evaluate", "--window", str(empty)]).stderr
