"""The raster PixelCNN: what a pixel may depend on, three samplers that agree, patches without seams."""

import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from click.testing import Result
from conftest import contents
from torch import Tensor

from upscale.models.raster import (
    LEVELS,
    LOWEST,
    PAPER,
    CodeConv,
    RasterConfig,
    RasterPixelCNN,
    cross_entropy,
    level_of,
)
from upscale.sampling.noise import uniform_noise
from upscale.sampling.raster import Raster, draw, sample_cached, sample_naive, sample_wavefront
from upscale.sampling.tiles import Cut, Tiles

SMALL = RasterConfig(4, 8, 1, layers=2, features=8, hidden=16)
WIDE = RasterConfig(4, 8, 1, layers=1, features=8, hidden=16, kernel=5, first=5)


def built(config: RasterConfig) -> RasterPixelCNN:
    torch.manual_seed(2)
    network = RasterPixelCNN(config).eval().requires_grad_(False)
    network.to_logits.weight *= 20  # so that an untrained prior has something to say
    return network


@pytest.fixture(scope="module")
def network() -> RasterPixelCNN:
    return built(SMALL)


def some_codes(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(-127, 128, (n, SMALL.features, height, width), generator=random).float()


def test_both_configurations_can_be_built() -> None:
    ours, papers = RasterPixelCNN(RasterConfig(4)), RasterPixelCNN(PAPER)
    assert (ours.reach, papers.reach) == (8, 43)
    assert (
        sum(block.second.weight.shape[0] == 32 for chain in papers.residual_blocks for block in chain) == 18
    )
    assert papers.to_logits.weight.shape == (LEVELS, 1024 + 64, 1, 1)
    mean, codes = papers.conditioned(torch.rand(1, 1, 8, 8))
    assert (mean.shape, codes.shape) == ((1, 1, 32, 32), (1, 64, 32, 32))
    assert papers.logits(papers.hidden(torch.zeros_like(mean)), codes).shape == (1, 32, 32, LEVELS)
    with pytest.raises(ValueError, match="2 doublings do not make x2"):
        RasterPixelCNN(RasterConfig(2))


@pytest.mark.parametrize("config", [SMALL, WIDE, RasterConfig(4)])
@pytest.mark.parametrize("place", [(11, 10), (0, 3), (5, 0), (4, 19), (0, 0)])
def test_a_pixel_depends_on_those_before_it_and_on_all_of_them(
    config: RasterConfig, place: tuple[int, int]
) -> None:
    """By gradient: neither itself nor a later one, and within its reach every one before: no blind spot."""
    network, (y, x) = built(config), place
    levels = torch.randint(-9, 10, (4, 1, 14, 20)).float().requires_grad_()
    network.hidden(levels)[:, :, y, x].sum().backward()
    assert levels.grad is not None
    seen = levels.grad.abs().amax((0, 1)) > 0
    rows, columns = torch.meshgrid(torch.arange(14), torch.arange(20), indexing="ij")
    before = (rows < y) | ((rows == y) & (columns < x))
    near = (rows >= y - network.reach) & ((columns - x).abs() <= network.reach)
    assert torch.equal(seen, before & near)


def test_what_comes_later_changes_no_bit(network: RasterPixelCNN) -> None:
    levels = torch.randint(-20, 20, (1, 1, 9, 12)).float()
    later = levels.flatten().clone()
    later[4 * 12 + 7 :] = torch.randint(-20, 20, (len(later) - 55,)).float()
    one, other = (network.hidden(x)[0].flatten(1)[:, :56] for x in (levels, later.view_as(levels)))
    assert torch.equal(one, other)


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
def test_three_samplers_draw_the_same_picture(network: RasterPixelCNN, temperature: float) -> None:
    codes, uniform = some_codes(100, 9, 10), torch.rand(100, 1, 9, 10)
    naive, cached, wavefront = (
        sample(network, codes, uniform, temperature)
        for sample in (sample_naive, sample_cached, sample_wavefront)
    )
    assert torch.equal(naive, cached)
    assert torch.equal(naive, wavefront)
    assert temperature == 0 or len(naive.unique()) > 30


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (3, 40), (12, 5)])
@pytest.mark.parametrize("config", [SMALL, WIDE])
def test_pictures_of_any_shape(config: RasterConfig, size: tuple[int, int]) -> None:
    network, codes, uniform = built(config), some_codes(2, *size), torch.rand(1, 1, *size)
    naive = sample_naive(network, codes, uniform, 1.0)
    for slope in (0, network.reach + 4, 50):
        assert torch.equal(naive, sample_wavefront(network, codes, uniform, 1.0, slope))
    assert torch.equal(naive, sample_cached(network, codes, uniform, 1.0))


def test_rows_do_not_follow_too_closely(network: RasterPixelCNN) -> None:
    with pytest.raises(ValueError, match="rows that follow each other by 5 columns"):
        sample_wavefront(network, some_codes(1, 8, 8), None, 0.0, slope=network.reach)
    with pytest.raises(ValueError, match="needs uniform numbers"):
        sample_wavefront(network, some_codes(1, 8, 8), None, 0.5)


def test_neither_batch_nor_order_matters(network: RasterPixelCNN) -> None:
    codes, uniform = some_codes(40, 16, 16), torch.rand(40, 1, 16, 16)
    together = sample_wavefront(network, codes, uniform, 0.8)
    alone = [sample_wavefront(network, codes[i : i + 1], uniform[i : i + 1], 0.8) for i in range(40)]
    assert torch.equal(together, torch.cat(alone))
    order = torch.randperm(40)
    assert torch.equal(together[order], sample_wavefront(network, codes[order], uniform[order], 0.8))


def test_bytes_and_floats_add_up_to_the_same(network: RasterPixelCNN) -> None:
    codes, uniform = some_codes(30, 16, 16), torch.rand(30, 1, 16, 16)
    bytes_, floats = (sample_wavefront(network, codes, uniform, 1.0, int8=int8) for int8 in (True, False))
    assert torch.equal(bytes_, floats)


def test_no_sum_of_codes_is_too_large_for_a_float() -> None:
    """Whole numbers up to 2**24 are exact in float32: in whatever order they are added."""
    for conv in RasterPixelCNN(RasterConfig(4)).modules():
        if isinstance(conv, CodeConv):
            assert int(conv.mask.sum()) * 127 * 127 < 2**24


def test_the_quantile_draws_what_the_softmax_says() -> None:
    logits = torch.randn(1, LEVELS).mul(2)
    uniform = (torch.arange(100_000) + 0.5) / 100_000
    levels = draw(logits.expand(100_000, -1), uniform, 0.7)
    shares = torch.bincount(levels - LOWEST, minlength=LEVELS) / 100_000
    torch.testing.assert_close(shares, (logits[0] / 0.7).softmax(0), atol=2e-5, rtol=0)
    assert torch.equal(levels, levels.sort().values)  # a little more noise, a little more light


def test_temperature_goes_from_the_softmax_to_its_mode() -> None:
    """The paper's tau is 1 / temperature."""
    logits = torch.randn(1, LEVELS).mul(2)
    mode = logits.argmax().item() + LOWEST
    uniform = torch.rand(5000)
    shares = [
        (draw(logits.expand(5000, -1), uniform, temperature) == mode).float().mean().item()
        for temperature in (1.0, 0.5, 0.2, 0.01, 0.0)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.5
    assert shares[-1] == 1
    assert draw(logits, torch.tensor([1.0]), 1.0) <= LOWEST + LEVELS - 1


@pytest.mark.parametrize(("mean", "mass"), [(128 / 255, 1.0), (0.9, None), (0.1, None)])
def test_the_code_length_is_honest(
    network: RasterPixelCNN, mean: float, mass: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probabilities of all 256 levels of a pixel add up to 1, or to less where the mean is not in the
    middle: what lies beyond black and white is not used. The last logit stands for many levels."""
    codes = some_codes(1, 1, 1)
    monkeypatch.setattr(network, "conditioned", lambda low: (torch.full((1, 1, 1, 1), mean), codes))
    pixel = (torch.arange(256) / 255).view(-1, 1, 1, 1)
    total = sum(math.exp(-float(network.nats(torch.empty(0), level[None]))) for level in pixel)
    classes = torch.arange(LEVELS) + LOWEST + level_of(torch.tensor(mean))
    inside = (classes <= 255) & (classes >= 0)
    inside[0] = inside[-1] = True  # in part
    logits = network.logits(network.hidden(torch.zeros(1, 1, 1, 1)), codes)
    expected = logits.softmax(3)[0, 0, 0][inside].sum()
    assert total == pytest.approx(float(expected), abs=1e-4)
    assert mass is None or total == pytest.approx(mass, abs=1e-4)


def test_the_code_length_is_that_of_what_is_sampled(network: RasterPixelCNN) -> None:
    """At temperature 1 the mean code length of many samples is the entropy of the first pixel."""
    codes = some_codes(1, 1, 1).expand(20_000, -1, -1, -1)
    uniform = (torch.arange(20_000) + 0.5).div(20_000).view(-1, 1, 1, 1)
    levels = sample_wavefront(network, codes, uniform, 1.0).float()
    logits = network.logits(network.hidden(torch.zeros_like(levels)), codes)
    probabilities = logits[0, 0, 0].softmax(0)
    entropy = -(probabilities * probabilities.log()).sum()
    assert float(cross_entropy(logits, levels).mean()) == pytest.approx(float(entropy), rel=0.01)


def drawn(
    network: RasterPixelCNN, low: Tensor, temperature: float, batch: int = 256, side: int = 8
) -> Tensor:
    """The frame as the upscaler has it drawn, in batches of that many patches."""
    sampler = Raster(network, temperature)
    noise = sampler.laid_out(uniform_noise(0, *(4 * length for length in low.shape[2:])))

    def tiled(name: str, run: object, inputs: list[tuple[Tensor, int]], cut: Cut) -> Tensor:
        tile = side if cut.is_exact else 0
        return Tiles(cut, (tile, tile), batch).run(run, inputs)  # type: ignore[arg-type]

    with torch.inference_mode():
        return sampler(low, noise, tiled)


def test_the_frame_is_the_same_in_batches_of_any_size(network: RasterPixelCNN) -> None:
    low = torch.rand(1, 1, 21, 30)
    whole = drawn(network, low, 0.9)
    assert whole.shape == (1, 1, 84, 120)
    assert torch.equal(whole, drawn(network, low, 0.9, batch=1))
    assert torch.equal(whole, drawn(network, low, 0.9, batch=5))


def test_a_patch_draws_what_its_neighbour_draws_in_its_margin(network: RasterPixelCNN) -> None:
    """With the noise of the place most pixels are those of a frame sampled in one go."""
    low = torch.nn.functional.interpolate(torch.rand(1, 1, 5, 6), scale_factor=8, mode="bicubic")
    patches, whole = (drawn(network, low, 1.0, side=side) for side in (8, 0))
    assert float((patches == whole).float().mean()) > 0.8


def test_the_command_makes_a_film_with_it(
    make_clip: Callable[..., Path], upscale: Callable[..., Result], tmp_path: Path
) -> None:
    clip, first, again = make_clip(size=(24, 16), frames=4), tmp_path / "a.mkv", tmp_path / "b.mkv"
    for target, options in ((first, ()), (again, ("--segment", "0"))):
        result = upscale(clip, target, "--model", "raster", "--codec", "ffv1", "--device", "cpu", *options)
        assert result.exit_code == 0, result.stderr
    assert [at for at, _ in contents(first)["video"]] == [Fraction(n, 25) for n in range(4)]
    assert contents(first) == contents(again)
    assert "raster\n" in upscale("--list-models").stdout


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_other_scales_have_the_next_larger_or_another_network_after_it(
    scale: int, make_clip: Callable[..., Path], upscale: Callable[..., Result], tmp_path: Path
) -> None:
    target = tmp_path / "out.png"
    result = upscale(
        make_clip(size=(16, 12), frames=1), tmp_path / "out%d.png", "--model", "raster", "--scale", scale
    )
    assert result.exit_code == 0, result.stderr
    assert not target.exists()
    assert len(list(tmp_path.glob("out*.png"))) == 1


def test_an_interruption_in_the_middle_of_a_frame(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    """A frame of half a million pixels takes many seconds; nothing is left of it."""
    source, target = make_clip(size=(320, 240), frames=1), tmp_path / "out" / "film.mkv"
    target.parent.mkdir()
    command = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
    process = subprocess.Popen(
        [*command, str(source), str(target), "--model", "raster"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not list(target.parent.iterdir())
