"""Data, training and measures."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import picture

from upscale.errors import UpscaleError, UsageError
from upscale.lab import bench as benching
from upscale.lab import courses, whole
from upscale.lab import train as training
from upscale.lab.bench import fsrcnn, srvgg
from upscale.lab.cli import main as lab
from upscale.lab.compare import Crop
from upscale.lab.courses import TrainOptions
from upscale.lab.dataset import (
    Batch,
    Crops,
    Loading,
    downsample,
    load_crops,
    load_pictures,
    sharpness,
    whole_pictures,
)
from upscale.lab.evaluate import Trials, _answers
from upscale.lab.metrics import psnr, ssim
from upscale.lab.pairs import paper_luma
from upscale.lab.train import Places, schedule, train
from upscale.media.picture import from_rgb, lanczos, read_picture, read_rgb, to_rgb, write_picture
from upscale.models import weights
from upscale.models.catalog import CLEAN, find_stage
from upscale.models.chroma import ChromaNet
from upscale.models.luma import LumaConfig, LumaPixelCNN
from upscale.planes import WINDOW
from upscale.sampling.multiscale import sample_luma
from upscale.sampling.options import SampleOptions


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of four small sharp pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        rgb = picture(96, 80, 3 * number)
        grain = random.integers(-20, 20, rgb.shape)
        write_picture(folder / f"{number}.png", (rgb + grain).clip(0, 255).astype(np.uint8))
    return folder


@pytest.mark.parametrize("has_bfloat16", [False, True])
def test_half_precision_is_for_what_multiplies_it(
    has_bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courses, "_multiplies_bfloat16", lambda device: has_bfloat16)
    for chosen, half in (("auto", has_bfloat16), ("bfloat16", True), ("float32", False)):
        with TrainOptions(precision=chosen).autocast:
            product = torch.eye(4) @ torch.eye(4)
        assert product.dtype == (torch.bfloat16 if half else torch.float32)


def test_a_chroma_network_has_the_layers_that_are_asked_for(pictures: Path, tmp_path: Path) -> None:
    path = run_to_the_end(pictures, "chroma", options(kind="chroma", layers=5, steps=1))
    network = weights.load(path)
    assert isinstance(network, ChromaNet)
    assert len(network.body) == 4


def options(**changed: object) -> TrainOptions:
    small = {"steps": 6, "batch": 2, "crop": 32, "channels": 4, "blocks": 1, "checkpoint_every": 3}
    return TrainOptions(**{**small, "precision": "float32", **changed})  # type: ignore[arg-type]


def state_of(path: Path) -> dict[str, torch.Tensor]:
    return weights.load(path).state_dict()


def run_to_the_end(folder: Path, name: str, chosen: TrainOptions, stop: int | None = None) -> Path:
    output = folder.parent / f"{name}.safetensors"
    for report in train(chosen, Places([folder], output, folder.parent / f"{name}.checkpoint")):
        if report.step == stop:
            break
    return output


@pytest.mark.parametrize("kind", ["luma", "raster", "chroma"])
def test_a_resumed_run_is_a_straight_one(kind: str, pictures: Path) -> None:
    straight = run_to_the_end(pictures, "straight", options(kind=kind))
    run_to_the_end(pictures, "resumed", options(kind=kind), stop=4)
    resumed = run_to_the_end(pictures, "resumed", options(kind=kind))
    for key, value in state_of(straight).items():
        torch.testing.assert_close(state_of(resumed)[key], value, rtol=0, atol=0)


def test_a_run_that_is_closed_between_two_steps_goes_on_from_there(pictures: Path) -> None:
    straight = run_to_the_end(pictures, "straight", options())
    places = Places([pictures], pictures.parent / "closed", pictures.parent / "closed.checkpoint")
    for stop in (1, 2, 5):  # checkpoints are due after 3 and 6
        run = train(options(), places)
        assert next(report.step for report in run if report.step >= stop) == stop
        run.close()
        assert training.steps_done(places.checkpoint, options()) == stop
    list(train(options(), places))
    for key, value in state_of(straight).items():
        torch.testing.assert_close(state_of(places.output)[key], value, rtol=0, atol=0)


def test_the_best_weights_at_validation_are_kept(pictures: Path) -> None:
    """Of a run that a learning rate far too high spoils in the end, an earlier step."""
    best = pictures.parent / "best.safetensors"
    places = Places([pictures], pictures.parent / "w", pictures.parent / "c", [pictures], best=best)
    chosen = options(steps=40, validate_every=4, average=0.5, learning_rate=0.3, scale=2)
    scores = {
        report.step: report.validation["temperature 0"]
        for report in train(chosen, places)
        if report.validation
    }
    told = weights.describe(best).training
    assert scores[told["steps_done"]] == max(scores.values()) == told["validation"]["temperature 0"]
    assert len(scores) == 10
    places.checkpoint.unlink()
    list(train(options(steps=1, scale=2, learning_rate=1e-9), places))
    assert weights.describe(best).training["steps_done"] == 1  # the best of another run is none of this one


def test_another_seed_is_another_run(pictures: Path) -> None:
    first, other = (run_to_the_end(pictures, f"s{seed}", options(seed=seed)) for seed in (0, 1))
    assert not torch.equal(state_of(first)["enter.weight"], state_of(other)["enter.weight"])


def test_a_checkpoint_of_other_options_is_refused(pictures: Path) -> None:
    run_to_the_end(pictures, "run", options())
    with pytest.raises(UpscaleError, match="other options"):
        run_to_the_end(pictures, "run", options(channels=8))


def test_options_that_came_later_had_their_defaults(pictures: Path) -> None:
    output = run_to_the_end(pictures, "run", options(), stop=4)
    path = output.with_suffix(".checkpoint")
    content = torch.load(path, weights_only=True)
    stored = json.loads(content["options"])
    del stored["chain_inner"]
    torch.save({**content, "options": json.dumps(stored)}, path)
    run_to_the_end(pictures, "run", options())
    assert weights.describe(output).training["steps_done"] == 6


@pytest.mark.parametrize("kind", ["luma", "raster", "chroma"])
def test_training_makes_the_loss_smaller(kind: str, pictures: Path) -> None:
    chosen = options(kind=kind, steps=60, scale=2)
    losses = [
        report.loss
        for report in train(
            chosen, Places([pictures], pictures.parent / "w", pictures.parent / "c", [pictures])
        )
    ]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_training_through_the_command(pictures: Path) -> None:
    output = pictures.parent / "net.safetensors"
    small = ["--steps", "2", "--batch", "2", "--crop", "32", "--channels", "4", "--blocks", "1"]
    arguments = ["train", "luma", str(pictures), str(output), "--validation", str(pictures), *small]
    result = CliRunner().invoke(lab, arguments)
    assert result.exit_code == 0, result.output
    assert "step 2/2" in result.stderr
    assert "temperature 0" in result.stderr
    assert weights.describe(output).training["steps_done"] == 2


def test_a_run_can_refine_the_weights_of_another(pictures: Path) -> None:
    first = run_to_the_end(pictures, "first", options())
    output = pictures.parent / "refined.safetensors"
    places = Places([pictures], output, pictures.parent / "refined.checkpoint", initial=[first])
    list(train(options(steps=1, learning_rate=1e-9), places))
    for key, value in state_of(first).items():
        torch.testing.assert_close(state_of(output)[key], value, atol=1e-6, rtol=0)
    other = run_to_the_end(pictures, "other", options(kind="chroma"))
    with pytest.raises(UpscaleError, match="none of its layers"):
        list(train(options(steps=2), Places([pictures], output, pictures.parent / "new", initial=[other])))


def test_a_film_network_begins_as_the_clean_one_on_the_merge(tmp_path: Path) -> None:
    """What it takes over answers as before, to what is merged; what is new to it says nothing yet."""
    small, grown = LumaConfig(2, channels=8, blocks=2), LumaConfig(2, 8, 2, 5, WINDOW, context=1)
    clean, film = LumaPixelCNN(small).eval(), LumaPixelCNN(grown).eval()
    path = tmp_path / "clean.safetensors"
    weights.save(path, clean, {})
    training._begin_with(film, path)
    low = torch.rand(1, len(WINDOW), 12, 14)
    low[:, WINDOW.index("damage")], low[:, WINDOW.index("keep")] = 1.0, 0.0
    merge = low[:, WINDOW.index("merge")][:, None]
    torch.testing.assert_close(sample_luma(film, low, None, 0.0), sample_luma(clean, merge, None, 0.0))


def test_a_crop_that_the_scale_does_not_divide_is_refused(pictures: Path) -> None:
    with pytest.raises(UpscaleError, match="33 is not a multiple of the scale, 4"):
        run_to_the_end(pictures, "run", options(crop=33))


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [schedule(step, 10_000) for step in range(10_000)]
    assert rates[0] < 0.01
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[-1] == pytest.approx(0.01, abs=0.001)


def test_the_likelihood_prefers_the_truth(pictures: Path) -> None:
    network = weights.load(find_stage(CLEAN, 2).luma.path)
    high = load_pictures(pictures, slice(0, 1), 64)[0][None, :, :64, :64].float() / 255
    loss, worse = (
        courses.luma_loss(
            network, Batch(downsample(high, 2), x), torch.Generator().manual_seed(0), options()
        )
        for x in (high, (high + 0.3 * torch.randn_like(high)).clamp(0, 1))
    )
    assert loss < worse


def test_errors_can_be_averaged_as_decibels_are() -> None:
    """The geometric mean: a sample ten times nearer to the truth counts as much as the other."""
    network = weights.load(find_stage(CLEAN, 2).luma.path)
    low, random = torch.full((2, 1, 16, 16), 0.5), torch.Generator()
    near, far = (torch.full((1, 1, 32, 32), 0.5 + error) for error in (0.02, 0.2))
    chosen = options(likelihood=0.0, geometric=True)
    both = courses.luma_loss(network, Batch(low, torch.cat([near, far])), random, chosen)
    each = [courses.luma_loss(network, Batch(low[:1], high), random, chosen) for high in (near, far)]
    assert float(both**2) == pytest.approx(float(each[0] * each[1]), rel=1e-4)
    plain = courses.luma_loss(network, Batch(low, torch.cat([near, far])), random, options(likelihood=0.0))
    assert plain > 1.5 * both


def test_crops_are_the_same_for_the_same_seed(pictures: Path) -> None:
    loaded = load_pictures(pictures, slice(0, 1), 32)
    crops = Crops(loaded, 4, 32, 3, seed=4)
    first, second = ([batch.high for batch in islice(crops.batches(), 3)] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.testing.assert_close(next(crops.batches(2)).high, first[2])
    assert not torch.equal(first[0], first[1])
    assert first[0].shape == (3, 1, 32, 32)
    assert next(crops.batches()).low.shape == (3, 1, 8, 8)


def test_no_source_dominates_and_large_pictures_are_shown_more() -> None:
    sizes = [(20, 20)] * 8 + [(40, 20), (20, 20)]
    pictures = [torch.zeros(1, *size, dtype=torch.uint8) for size in sizes]
    chances = Crops(pictures, 2, 16, 4, sources=["many"] * 8 + ["few"] * 2).chances()
    many, few = chances[:8].sum(), chances[8:].sum()
    assert chances.sum() == pytest.approx(1)
    assert many / few == pytest.approx((8 / 3) ** 0.75)
    assert chances[8] == pytest.approx(2 * chances[9])


def test_pictures_are_reduced_by_a_factor_that_their_name_decides(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    for name in ("one__a.png", "one__b.png", "two__c.png"):
        write_picture(tmp_path / name, noise)
    loading = Loading(slice(0, 1), 32, reduction=0.5)
    crops = load_crops([tmp_path], loading, 4, 2)
    sides = [picture.shape[1] for picture in crops.pictures]
    assert all(100 <= side <= 200 for side in sides)
    assert len(set(sides)) == 3
    assert [source.split("/")[1] for source in crops.sources] == ["one", "one", "two"]
    (tmp_path / "one__a.png").unlink()
    assert [picture.shape[1] for picture in load_crops([tmp_path], loading, 4, 2).pictures] == sides[1:]


def test_pictures_that_stay_soft_are_left_out_where_they_are_reduced(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    smooth = (127 + 100 * np.sin(x / 20) * np.cos(y / 20)).astype(np.uint8)
    write_picture(tmp_path / "soft.png", smooth[..., None].repeat(3, 2))
    assert len(load_pictures(tmp_path, slice(0, 1), 32)) == 1
    with pytest.raises(UpscaleError, match="no picture of at least 32x32"):
        load_crops([tmp_path], Loading(slice(0, 1), 32, reduction=0.9), 4, 2)
    assert len(load_crops([tmp_path], Loading(slice(0, 1), 32, reduction=0.9, soft=0.01), 4, 2)) == 1


def test_folders_of_films_are_lessons_too(make_clip: Callable[..., Path], pictures: Path) -> None:
    clip = make_clip(frames=15)
    crops = load_crops([pictures, clip.parent, clip], Loading(slice(0, 3), 16), 2, 3)
    assert len(crops) == 4 + 3 + 3  # frames 0, 7 and 14
    assert next(crops.batches()).high.shape == (3, 3, 16, 16)


def test_validation_sees_whole_pictures_as_they_are(tmp_path: Path) -> None:
    write_picture(tmp_path / "soft.png", np.full((70, 50, 3), 90, np.uint8))
    (luma,), (chroma,) = (list(whole_pictures(tmp_path, slice(0, end), 4)) for end in (1, 3))
    assert luma.high.shape == (1, 1, 68, 48)
    assert luma.low.shape == (1, 1, 17, 12)
    assert chroma.high.shape == (1, 3, 32, 24)  # halved, as JPEG stores it
    assert chroma.low.shape == (1, 2, 8, 6)


def test_soft_pictures_are_halved(tmp_path: Path) -> None:
    sharp = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8).repeat(3).reshape(64, 64, 3)
    soft = sharp.repeat(4, 0).repeat(4, 1)
    write_picture(tmp_path / "soft.png", soft)
    write_picture(tmp_path / "sharp.png", sharp)
    sizes = [tuple(loaded.shape[1:]) for loaded in load_pictures(tmp_path, slice(0, 1), 16)]
    assert sizes[0] == (64, 64)
    assert sizes[1][0] < 256
    luma = torch.from_numpy(soft[:, :, 0].astype(np.float32))
    assert sharpness(luma) < 0.7


def test_small_pictures_alone_are_an_error(pictures: Path) -> None:
    with pytest.raises(UpscaleError, match="no picture of at least 500x500"):
        load_pictures(pictures, slice(0, 1), 500)


def test_downsampling_keeps_the_mean_and_the_place() -> None:
    high = torch.rand(1, 1, 64, 64)
    low = downsample(high, 4)
    assert low.shape == (1, 1, 16, 16)
    assert float(low.mean()) == pytest.approx(float(high.mean()), abs=0.01)
    blocks = torch.nn.functional.avg_pool2d(high, 4)
    assert float(torch.corrcoef(torch.stack([low.flatten(), blocks.flatten()]))[0, 1]) > 0.85


def test_psnr_and_ssim_of_known_errors() -> None:
    truth = torch.rand(1, 1, 40, 40) * 0.5 + 0.25
    assert psnr(truth + 0.1, truth) == pytest.approx(20, abs=1e-4)
    assert ssim(truth, truth) == pytest.approx(1)
    shifted = [ssim(truth + 0.1 * noise * torch.randn_like(truth), truth) for noise in (0, 1, 3)]
    assert shifted[0] > shifted[1] > shifted[2]
    damaged = truth.clone()
    damaged[..., :4, :] = 0  # in the border that is not looked at
    assert psnr(damaged, truth) == 100


def test_lanczos_is_exact_on_flat_and_close_on_smooth_planes() -> None:
    flat = np.full((20, 30), 0.4, np.float32)
    assert lanczos(flat, (40, 60)) == pytest.approx(0.4, abs=1e-3)
    ramp = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (8, 1))
    inside = np.diff(lanczos(ramp, (16, 64))[8, 8:-8])
    assert inside == pytest.approx(1 / 62, abs=2e-3)


def test_pictures_survive_the_disk(tmp_path: Path) -> None:
    rgb = picture(48, 32)
    write_picture(tmp_path / "a.png", rgb)
    again = to_rgb(read_picture(tmp_path / "a.png"))
    assert np.abs(again.astype(int) - rgb).max() <= 2


def test_what_is_no_picture_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("no")
    with pytest.raises(UpscaleError, match="cannot be read as a picture"):
        read_picture(tmp_path / "no.png")


def evaluate(*arguments: str) -> Result:
    return CliRunner().invoke(lab, ["evaluate", *arguments])


def test_the_quality_table(pictures: Path) -> None:
    result = evaluate(str(pictures), "--scale", "2", "-t", "0", "-t", "1", "--json")
    assert result.exit_code == 0, result.output
    table = json.loads(result.stdout)
    assert table["pictures"] == 4
    samples = ["mean", "clean, temperature 0", "clean, temperature 1"]
    assert list(table["rows"]) == ["bicubic", "Lanczos", *samples]
    rows = table["rows"]
    assert rows["clean, temperature 0"]["PSNR-Y"] > rows["clean, temperature 1"]["PSNR-Y"]
    assert 0 < rows["clean, temperature 1"]["bits/px"] < 8
    assert "| Lanczos |" in evaluate(str(pictures), "--scale", "4", "-t", "0").stdout


def pair_names(large: str, small: str) -> list[tuple[str, str]]:
    return [(large.format(number), small.format(number)) for number in (1, 2)]


def write_pairs(folder: Path, names: list[tuple[str, str]], extra: int = 0) -> None:
    """Pictures and the same at a quarter; the large ones have ``extra`` rows more."""
    for number, (large, small) in enumerate(names):
        rgb = picture(64, 48 + extra, number)
        for name, content in (
            (large, rgb),
            (small, rgb[: 48 // 4 * 4].reshape(12, 4, 16, 4, 3).mean((1, 3))),
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            write_picture(folder / name, content.round().astype(np.uint8))


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (pair_names("img_{}_SRF_4_HR.png", "img_{}_SRF_4_LR.png"), ["."]),
        (pair_names("hr/{}.png", "lr/{}x4.png"), ["hr", "lr"]),
    ],
)
def test_pairs_are_measured_as_papers_do(
    names: list[tuple[str, str]], folders: list[str], tmp_path: Path
) -> None:
    write_pairs(tmp_path, names, extra=3)
    result = evaluate(*(str(tmp_path / name) for name in folders), "--pairs", "-t", "0", "--json")
    assert result.exit_code == 0, result.output
    table = json.loads(result.stdout)
    assert table["pictures"] == 2
    scores = []
    for large, small in names:  # the protocol, spelled out
        truth, low = (read_rgb(tmp_path / name) for name in (large, small))
        low_planes = torch.from_numpy(from_rgb(low))[None]
        bicubic = torch.nn.functional.interpolate(
            low_planes, size=(48, 64), mode="bicubic", antialias=True
        )[0]
        weights_of = np.array([65.481, 128.553, 24.966]) / 255
        error = (to_rgb(bicubic.numpy()).astype(float) - truth[:48].astype(float)) @ weights_of
        scores.append(10 * np.log10(255**2 / np.mean(error[4:-4, 4:-4] ** 2)))
    assert table["rows"]["bicubic"]["PSNR-Y"] == pytest.approx(np.mean(scores), abs=1e-3)
    assert table["rows"]["clean, temperature 0"]["bits/px"] > 0


def test_bicubic_beside_pairs_is_that_of_matlab() -> None:
    """Its kernel has a = -0.5: a quarter of a pixel from the centre it is 0.8671875."""
    point = torch.zeros(3, 9, 9)
    point[:, 4, 4] = 1
    trials = Trials((), 2, paper_luma, antialias=True)
    high = torch.zeros(3, 18, 18)
    name, answer, _ = next(_answers(point, high, trials, (0.0,), SampleOptions(), ()))
    assert name == "bicubic"
    assert answer[0].max() == pytest.approx(0.8671875**2, abs=1e-5)


def test_luma_of_papers_is_limited_bt601() -> None:
    rgb = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    luma = paper_luma(from_rgb(rgb)) * 255
    assert luma.flatten().tolist() == pytest.approx([16, 235, 16 + 65.481])
    assert (to_rgb(from_rgb(rgb)) == rgb).all()


@pytest.mark.parametrize(
    ("names", "arguments", "said"),
    [
        ([("a_HR.png", "a_LR.png"), ("b_HR.png", "c_LR.png")], ["."], "2 large pictures, and 1 small ones"),
        ([("a.png", "b.png")], ["."], "0 large pictures"),
        ([("hr/a.png", "lr/b.png")], ["hr", "lr"], "b.png is no pair of a.png"),
        ([("hr/a.png", "lr/a.png")], ["hr", "lr", "hr"], "pairs are in one folder"),
        ([("a_HR.png", "a_LR.png")], [".", "--scale", "2"], "which is no x2"),
        ([("a_HR.png", "a_LR.png")], [".", "--side", "8"], "leave --side out"),
    ],
)
def test_pairs_that_are_none(
    names: list[tuple[str, str]],
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_pairs(tmp_path, names)
    monkeypatch.chdir(tmp_path)
    result = evaluate(*arguments, "--pairs")
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("model", ["raster", "nearest"])
def test_a_model_that_cannot_be_measured_is_one_line(model: str, pictures: Path) -> None:
    result = evaluate(str(pictures), "--scale", "2", "--model", model)
    assert result.exit_code == 2
    assert f"{model} has no network for x2 to measure" in result.stderr


def test_a_folder_without_pictures_is_one_line(tmp_path: Path) -> None:
    result = evaluate(str(tmp_path))
    assert result.exit_code == 1
    assert "no pictures in it" in result.stderr


@pytest.mark.parametrize("text", ["0:0:1", "a:b:c:d", "0.5:0:0.6:1", "0:0:0:1", "-0.1:0:1:1"])
def test_crops_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        Crop.parse(text)


@pytest.mark.parametrize(("features", "layers", "parameters"), [(64, 32, 1_213_296), (64, 16, 621_424)])
def test_the_networks_that_we_race_have_their_published_sizes(
    features: int, layers: int, parameters: int
) -> None:
    """realesr-general-x4v3 and realesr-animevideov3, by the counts of their published weights."""
    network = srvgg(features, layers, 4)
    assert sum(part.numel() for part in network.parameters()) == parameters
    assert network(torch.zeros(1, 3, 5, 6)).shape == (1, 3, 20, 24)
    assert fsrcnn(4)(torch.zeros(1, 1, 5, 6)).shape == (1, 1, 20, 24)


def test_bench_times_networks_and_the_command(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benching, "SIZES", ((24, 32),))
    monkeypatch.setattr(benching, "PASSES", 1)
    monkeypatch.setattr(whole, "ENCODERS", (("--preset", "ultrafast"),))
    film = make_clip(frames=5)
    arguments = ["bench", "--repeats", "1", "--film", str(film)]
    told = json.loads(CliRunner().invoke(lab, [*arguments, "--json"]).stdout)
    names = {row["name"] for row in told["rows"]}
    assert {"upscale clean, temperature 0", "SRVGGNetCompact 64x32", "FSRCNN(56,12,4), luma alone"} <= names
    assert all(row["seconds"] > 0 for row in told["rows"])
    for command, model in zip(told["commands"], ("clean", "film"), strict=True):
        assert command["options"].startswith(f"--model {model}")
        assert command["seconds"] >= command["model"] > 0
        assert command["peak"] > 1 << 26
    table = CliRunner().invoke(lab, arguments).stdout
    assert f"| {film.name}, x4 |" in table
    assert "naive raster PixelCNN" in table
