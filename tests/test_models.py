"""The order, the distribution, the networks and their files."""

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from upscale.errors import UpscaleError
from upscale.models import catalog, weights
from upscale.models.catalog import MODELS, find_stage
from upscale.models.chroma import ChromaConfig, ChromaNet
from upscale.models.judge import STEPS, Judge, damage, error_of
from upscale.models.layers import bicubic_cells, upsampling_kernel
from upscale.models.luma import LumaConfig, LumaPixelCNN
from upscale.models.mixture import Mixture, log_odds
from upscale.models.order import cell_order, raster_index
from upscale.planes import REACH, WINDOW


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_order_visits_every_pixel_of_a_cell_once(scale: int) -> None:
    assert sorted(raster_index(scale)) == list(range(scale**2))


def test_the_order_of_x4_is_the_one_drawn() -> None:
    drawn = [[0, 4, 2, 4], [4, 3, 4, 3], [2, 4, 1, 4], [4, 3, 4, 3]]
    for number, step in enumerate(cell_order(4)):
        assert all(drawn[y][x] == number for y, x in step)


@pytest.mark.parametrize("scale", [0, 1, 3, 6])
def test_the_order_wants_a_power_of_two(scale: int) -> None:
    with pytest.raises(ValueError, match="2, 4, 8"):
        cell_order(scale)


def shaped(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


@pytest.fixture
def mixture() -> Mixture:
    """One pixel with two modes."""
    return Mixture(shaped(0.8), shaped(0.05), shaped(0.2), shaped(-3.0))


def spread(mixture: Mixture, count: int) -> Mixture:
    """The same pixel ``count`` times over, in a row."""
    parts = (mixture.balance, mixture.centre, mixture.reach, mixture.log_scale)
    return Mixture(*(part.expand(1, 1, 1, count) for part in parts))


def below(mixture: Mixture, value: torch.Tensor) -> torch.Tensor:
    """The probability of what lies below, in double precision, as the definition has it."""
    balance, centre, reach, log_scale = (
        part.double() for part in (mixture.balance, mixture.centre, mixture.reach, mixture.log_scale)
    )
    low, high = (((value - centre + side * reach) / log_scale.exp()).sigmoid() for side in (1, -1))
    return torch.lerp(low, high, balance.sigmoid())


def test_the_density_integrates_to_one(mixture: Mixture) -> None:
    values = torch.linspace(-3, 3, 60_001)
    density = spread(mixture, len(values)).log_density(values.view(1, 1, 1, -1)).exp()
    assert float(torch.trapezoid(density.flatten(), values)) == pytest.approx(1, abs=1e-3)


def test_the_masses_of_all_levels_sum_to_one(mixture: Mixture) -> None:
    levels = torch.arange(-1000, 1001) / 255
    mass = spread(mixture, len(levels)).log_mass(levels.view(1, 1, 1, -1)).exp()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-3)


def test_samples_follow_the_distribution(mixture: Mixture) -> None:
    uniform = (torch.arange(100_000) + 0.5) / 100_000  # every quantile once
    samples = spread(mixture, len(uniform)).sample(log_odds(uniform.view(1, 1, 1, -1)), 1.0).flatten()
    for threshold in (-0.25, -0.1, 0.0, 0.05, 0.1, 0.4):
        expected = float(below(mixture, torch.tensor(threshold)))
        assert float((samples < threshold).float().mean()) == pytest.approx(expected, abs=2e-3)


def test_the_quantile_is_exact_and_moves_as_little_as_the_parameters() -> None:
    random = torch.Generator().manual_seed(0)
    balance, centre, reach, width = (torch.randn((1, 1, 1, 20_000), generator=random) for _ in range(4))
    mixture = Mixture(2 * balance, 0.03 * centre, 0.03 * reach.abs(), (width - 4).clamp(-6.5, 0))
    uniform = torch.rand((1, 1, 1, 20_000), generator=random).clamp(0.001, 0.999)
    value = mixture.sample(log_odds(uniform), 1.0)
    assert float((below(mixture, value) - uniform).abs().max()) < 1e-4
    nudged = Mixture(mixture.balance + 1e-4, mixture.centre + 1e-5, mixture.reach, mixture.log_scale)
    moved = (nudged.sample(log_odds(uniform), 1.0) - value).abs()
    assert float(moved.quantile(0.999)) < 1e-4


@pytest.mark.parametrize("reach", [0.0, 0.5, 100.0])
def test_components_near_and_far(reach: float) -> None:
    """As far apart as no exponential holds, or in one place: a quantile lies in one of the two."""
    mixture = Mixture(shaped(0.0), shaped(0.0), shaped(reach), shaped(-6.5))
    for uniform, side in ((0.25, -1), (0.75, 1)):
        sample = float(mixture.sample(log_odds(shaped(uniform)), 1.0))
        assert sample == pytest.approx(side * reach, abs=0.002)


def test_temperature_narrows_a_sample_down_to_the_mean(mixture: Mixture) -> None:
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    many = spread(mixture, len(uniform))
    widths = [
        float(many.sample(log_odds(uniform.view(1, 1, 1, -1)), t).std()) for t in (1.0, 0.3, 0.1, 0.0)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(0, abs=1e-6)


def test_a_certain_component_gives_no_nan() -> None:
    for balance in (-200.0, 0.0, 200.0):
        certain = Mixture(shaped(balance), shaped(0.0), shaped(0.3), shaped(-6.5))
        for uniform in (1e-7, 0.5, 1 - 1e-7):
            for temperature in (1e-3, 0.3, 1.0):
                assert torch.isfinite(certain.sample(log_odds(shaped(uniform)), temperature)).all()


@pytest.mark.parametrize("scale", [2, 4])
def test_the_base_is_bicubic(scale: int) -> None:
    low = torch.rand(1, 1, 9, 11)
    cells = F.conv2d(F.pad(low, (2, 2, 2, 2), mode="replicate"), upsampling_kernel(scale))
    expected = F.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
    torch.testing.assert_close(F.pixel_shuffle(cells, scale), expected)


def test_half_precision_does_not_bend_the_base() -> None:
    flat = torch.full((1, 1, 9, 9), 0.7)
    with torch.autocast("cpu", torch.bfloat16):
        cells = bicubic_cells(flat, upsampling_kernel(4))
    torch.testing.assert_close(cells, torch.full((1, 16, 9, 9), 0.7))


@pytest.mark.parametrize("scale", [2, 4])
def test_cells_and_pictures_are_the_same_pixels(scale: int) -> None:
    network = LumaPixelCNN(LumaConfig(scale, channels=4, blocks=1))
    picture = torch.rand(2, 1, 4 * scale, 6 * scale)
    cells = network.to_cells(picture)
    torch.testing.assert_close(network.to_picture(cells), picture)
    for channel, (y, x) in enumerate(position for step in network.steps for position in step):
        torch.testing.assert_close(cells[:, channel], picture[:, 0, y::scale, x::scale])


@pytest.mark.parametrize("scale", [2, 4])
def test_no_step_knows_the_pixels_that_come_after_it(scale: int) -> None:
    network = LumaPixelCNN(LumaConfig(scale, channels=8, blocks=1)).eval()
    _, features = network.condition(torch.rand(1, 1, 6, 6))
    residuals = torch.randn(1, scale**2, 6, 6) * 0.1
    for part, before in network.mixtures(features, residuals):
        changed = residuals.clone()
        changed[:, part.start :] += 1
        after = next(m for p, m in network.mixtures(features, changed) if p == part)
        torch.testing.assert_close(after.centre, before.centre)
        torch.testing.assert_close(after.balance, before.balance)


def test_every_step_knows_the_pixels_that_came_before_it() -> None:
    network = LumaPixelCNN(LumaConfig(4, channels=8, blocks=1)).eval()
    _, features = network.condition(torch.rand(1, 1, 6, 6))
    residuals = torch.randn(1, 16, 6, 6) * 0.1
    plain = list(network.mixtures(features, residuals))
    shifted = list(network.mixtures(features, residuals + 0.1))
    for (_, before), (_, after) in zip(plain[1:], shifted[1:], strict=True):
        assert not torch.allclose(before.centre, after.centre)


FILM = {"channels": 4, "blocks": 1, "frames": 5, "planes": WINDOW, "context": 2, "context_channels": 6}


@pytest.mark.parametrize("seen", [{"channels": 4, "blocks": 2}, FILM], ids=["luma", "window"])
@pytest.mark.parametrize("scale", [2, 4])
def test_nothing_beyond_the_receptive_field_matters(scale: int, seen: dict[str, object]) -> None:
    network = LumaPixelCNN(LumaConfig(scale, **seen)).eval()
    reach = network.receptive_field
    assert reach % network.grid == 0
    low = torch.rand(1, network.planes, 2, 2 * reach + 4)
    changed = low.clone()
    changed[..., -1] += 1
    centre = slice(0, reach + 1)  # farther than the reach from the pixel that changed
    for before, after in zip(_answer(network, low), _answer(network, changed), strict=True):
        torch.testing.assert_close(before[..., centre], after[..., centre])
        assert not torch.allclose(before, after)


@pytest.mark.parametrize("size", [(7, 9), (8, 9), (1, 1)])
def test_context_takes_odd_sizes(size: tuple[int, int]) -> None:
    network = LumaPixelCNN(LumaConfig(2, **FILM)).eval()
    mean, features = network.condition(torch.rand(1, len(WINDOW), *size))
    assert mean.shape == (1, 4, *size)
    assert features.shape == (1, 4, *size)


def test_the_mean_begins_from_the_merge_where_there_is_damage() -> None:
    network = LumaPixelCNN(LumaConfig(2, **FILM)).eval()
    low = torch.zeros(1, len(WINDOW), 1, 3)
    low[:, WINDOW.index("centre")], low[:, WINDOW.index("merge")] = 0.25, 0.75
    low[0, WINDOW.index("damage"), 0, 1:] = 0.5  # the first place is clean,
    low[0, WINDOW.index("keep"), 0, 2] = 1  # and at the last all is to stay
    torch.testing.assert_close(network._plain(low)[0, 0, 0], torch.tensor([0.25, 0.75, 0.25]))


def test_a_judgement_is_the_mean_over_the_frame_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge()
    window = torch.rand(2, 5, 80, 64)
    whole = judge.of_frame(window)
    torch.testing.assert_close(whole, judge(window), rtol=0, atol=0.5001 / STEPS)
    assert (whole * STEPS == (whole * STEPS).round()).all()
    monkeypatch.setattr("upscale.models.judge.ROWS", 32)  # only what lies across a border differs a little
    torch.testing.assert_close(whole, judge.of_frame(window), rtol=0, atol=2.0001 / STEPS)


def test_damage_tells_the_error() -> None:
    clean = torch.full((3, 1, 8, 8), 0.5)
    errors = torch.tensor([0.0, 1.0, 15.0])
    told = damage(clean + errors.view(-1, 1, 1, 1) / 255, clean)
    torch.testing.assert_close(told, torch.tensor([0, 0.25, 1]))
    torch.testing.assert_close(error_of(told), errors)


def test_nothing_beyond_the_receptive_field_of_chroma_matters() -> None:
    network = ChromaNet(ChromaConfig(2, channels=4)).eval()
    reach = network.receptive_field
    chroma, guide = torch.rand(1, 2, 1, 2 * reach + 3), torch.rand(1, 1, 2, 2 * (2 * reach + 3))
    changed, changed_guide = chroma.clone(), guide.clone()
    changed[..., -1] += 1
    changed_guide[..., -2:] += 1
    before, after = network(chroma, guide), network(changed, changed_guide)
    far = slice(0, 2 * (reach + 1))
    torch.testing.assert_close(before[..., far], after[..., far])


def _answer(network: LumaPixelCNN, low: torch.Tensor) -> tuple[torch.Tensor, ...]:
    mean, features = network.condition(low)
    residuals = torch.zeros_like(mean)
    means = [mixture.mean() for _, mixture in network.mixtures(features, residuals)]
    return mean, torch.cat(means, 1)


@pytest.mark.parametrize(
    "network",
    [
        LumaPixelCNN(LumaConfig(2, channels=4, blocks=1)),
        LumaPixelCNN(LumaConfig(4, **FILM)),
        ChromaNet(ChromaConfig(4, channels=4)),
    ],
    ids=["luma", "window", "chroma"],
)
def test_weights_come_back_as_they_went(network: weights.Network, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    weights.save(path, network, {"steps": 3})
    again = weights.load(path)
    assert again.config == network.config
    assert weights.describe(path).training == {"steps": 3}
    for key, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    weights.save(path, again, {})
    for key, value in again.state_dict().items():
        assert torch.equal(weights.load(path).state_dict()[key], value)  # nothing more is lost


def damaged_files(tmp_path: Path) -> dict[str, Path]:
    good = tmp_path / "good.safetensors"
    weights.save(good, ChromaNet(ChromaConfig(2, channels=4)), {})
    content = good.read_bytes()
    paths = {
        name: tmp_path / f"{name}.safetensors" for name in ("short", "text", "foreign", "unknown", "misfit")
    }
    paths["short"].write_bytes(content[: len(content) // 2])
    paths["text"].write_text("not weights at all")
    save_file({"x": torch.zeros(3)}, paths["foreign"])
    marks = {"format": weights.FORMAT, "training": "{}"}
    save_file({"x": torch.zeros(3)}, paths["unknown"], {**marks, "kind": "gan", "config": '{"scale": 2}'})
    config = json.dumps({"scale": 2})
    save_file({"x": torch.zeros(3)}, paths["misfit"], {**marks, "kind": "luma", "config": config})
    return paths | {"missing": tmp_path / "missing.safetensors"}


@pytest.mark.parametrize("name", ["short", "text", "foreign", "unknown", "misfit", "missing"])
def test_bad_weights_are_a_clear_error(name: str, tmp_path: Path) -> None:
    path = damaged_files(tmp_path)[name]
    with pytest.raises(UpscaleError, match=name):
        weights.load(path)


@pytest.mark.parametrize(
    ("family", "scale"),
    [
        (family, scale)
        for family in (catalog.CLEAN, catalog.FILM, catalog.RASTER)
        for scale in family.scales
    ],
)
def test_shipped_weights_load_and_say_what_they_are(family: catalog.Family, scale: int) -> None:
    stage = find_stage(family, scale)
    for described in (stage.luma, stage.chroma):
        network = weights.load(described.path)
        assert network.scale == scale
        reads_a_window = (family, network.kind) == (catalog.FILM, "luma")
        assert network.frames == (2 * REACH + 1 if reads_a_window else 1)
        card = described.path.with_suffix(".md").read_text()
        assert hashlib.sha256(described.path.read_bytes()).hexdigest() in card


@pytest.mark.parametrize(
    ("scale", "stages"), [(1.01, [2]), (2, [2]), (2.1, [4]), (4, [4]), (4.5, [4, 2]), (8, [4, 2])]
)
def test_other_scales_run_the_next_larger(scale: float, stages: list[int]) -> None:
    assert MODELS["film"].stages(scale) == stages
    assert MODELS["raster"].stages(scale) == [4, *stages[1:]]  # has no network for x2


def test_a_narrow_mixture_beats_a_wide_one_where_it_is_right() -> None:
    nothing, value = shaped(0.0), shaped(0.1)
    bits = [
        -float(Mixture(nothing, value, nothing, shaped(scale)).log_mass(value)) / math.log(2)
        for scale in (-6.0, -3.0)
    ]
    assert bits[0] < 1.5 < 4 < bits[1]


def test_the_mass_of_a_level_far_out_in_a_tail_is_exact() -> None:
    narrow, level = Mixture(shaped(0.0), shaped(0.0), shaped(0.01), shaped(-6.0)), 1 / 255
    value = torch.tensor([[[[0.12]]]], dtype=torch.float64)
    exact = below(narrow, value + level / 2) - below(narrow, value - level / 2)
    assert float(narrow.log_mass(value.float()).exp()) == pytest.approx(float(exact), rel=1e-4)
