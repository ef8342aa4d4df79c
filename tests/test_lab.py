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
from upscale.lab.dataset import Batch, Crops, downsample, load_pictures, sharpness
from upscale.lab.metrics import psnr, ssim
from upscale.lab.train import schedule, train
from upscale.media.picture import lanczos, read_picture, to_rgb, write_picture
from upscale.models import weights
from upscale.models.catalog import CLEAN, find_stage
from upscale.models.luma import LumaConfig, LumaPixelCNN
from upscale.planes import WINDOW
from upscale.sampling.multiscale import sample_luma


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


def options(**changed: object) -> TrainOptions:
    small = {"steps": 6, "batch": 2, "crop": 32, "channels": 4, "blocks": 1, "checkpoint_every": 3}
    return TrainOptions(**{**small, "precision": "float32", **changed})  # type: ignore[arg-type]


def state_of(path: Path) -> dict[str, torch.Tensor]:
    return weights.load(path).state_dict()


def run_to_the_end(folder: Path, name: str, chosen: TrainOptions, stop: int | None = None) -> Path:
    output = folder.parent / f"{name}.safetensors"
    for report in train(chosen, [folder], [], output, folder.parent / f"{name}.checkpoint"):
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


def test_another_seed_is_another_run(pictures: Path) -> None:
    first, other = (run_to_the_end(pictures, f"s{seed}", options(seed=seed)) for seed in (0, 1))
    assert not torch.equal(state_of(first)["enter.weight"], state_of(other)["enter.weight"])


def test_a_checkpoint_of_other_options_is_refused(pictures: Path) -> None:
    run_to_the_end(pictures, "run", options())
    with pytest.raises(UpscaleError, match="other options"):
        run_to_the_end(pictures, "run", options(channels=8))


@pytest.mark.parametrize("kind", ["luma", "raster", "chroma"])
def test_training_makes_the_loss_smaller(kind: str, pictures: Path) -> None:
    chosen = options(kind=kind, steps=60, scale=2)
    losses = [
        report.loss
        for report in train(chosen, [pictures], [pictures], pictures.parent / "w", pictures.parent / "c")
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
    arguments = ([pictures], [], output, pictures.parent / "refined.checkpoint")
    list(train(options(steps=1, learning_rate=1e-9), *arguments, initial=[first]))
    for key, value in state_of(first).items():
        torch.testing.assert_close(state_of(output)[key], value, atol=1e-6, rtol=0)
    other = run_to_the_end(pictures, "other", options(kind="chroma"))
    with pytest.raises(UpscaleError, match="none of its layers"):
        list(train(options(steps=2), *arguments[:3], pictures.parent / "new.checkpoint", initial=[other]))


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
