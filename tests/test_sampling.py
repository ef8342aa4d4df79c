"""Noise, tiles, siting, and the samplers that use them."""

import errno
import os
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from upscale.errors import UpscaleError, UsageError
from upscale.models import int8, weights
from upscale.models.catalog import FILM, find_model, find_stage
from upscale.models.judge import error_of
from upscale.models.luma import LumaConfig, LumaPixelCNN
from upscale.models.mixture import Mixture, log_odds
from upscale.motion.window import windowed
from upscale.planes import WINDOW, Box
from upscale.sampling.chroma import luma_at_chroma, resite, siting_shift
from upscale.sampling.memory import choose_tile, is_out_of_memory, parse_size
from upscale.sampling.multiscale import SIGNAL, mean_luma, sample_luma, textured, variation
from upscale.sampling.noise import uniform_noise
from upscale.sampling.options import SampleOptions
from upscale.sampling.tiles import Cut, Halo, Tiles, spans
from upscale.sampling.upscaler import Upscaler, arithmetic_of, choose_device, choose_precision


def test_noise_belongs_to_a_place() -> None:
    large = uniform_noise(7, 40, 60)
    torch.testing.assert_close(uniform_noise(7, 25, 33), large[..., :25, :33], rtol=0, atol=0)


def test_noise_is_the_same_on_every_machine() -> None:
    expected = [[0.45853439, 0.30356804, 0.72946250], [0.21369353, 0.07515118, 0.28593680]]
    assert uniform_noise(1, 2, 3)[0, 0].numpy() == pytest.approx(np.array(expected), abs=1e-7)


def test_noise_differs_by_seed_and_stream_and_is_uniform() -> None:
    first, other, third = (uniform_noise(*a) for a in ((0, 64, 512), (1, 64, 512), (0, 64, 512, 1)))
    assert not torch.equal(first, other)
    assert not torch.equal(first, third)
    assert 0 < first.min() < first.max() < 1
    assert torch.histc(first, 16, 0, 1) / first.numel() == pytest.approx(np.full(16, 1 / 16), abs=0.006)
    rows = first[0, 0]
    assert float(torch.corrcoef(rows)[0, 1:].abs().max()) < 0.2


@given(
    length=st.integers(1, 200),
    tile=st.integers(0, 70),
    halo=st.integers(0, 20),
    after=st.integers(0, 20),
    grid=st.sampled_from([1, 2]),
)
def test_tiles_cover_every_pixel_once_with_its_halo(
    length: int, tile: int, halo: int, after: int, grid: int
) -> None:
    halo, after = halo * grid, after * grid
    window, tiles = spans(length, tile, (halo, after), grid)
    assert [t for span in tiles for t in range(span.start, span.stop)] == list(range(length))
    assert all(span.window % grid == 0 for span in tiles)
    lengths = [span.stop - span.start for span in tiles]
    assert max(lengths) <= max(tile, grid) or len(tiles) == 1
    if grid > 1:
        for span in tiles:
            assert 0 <= span.window <= max(span.start - halo, 0)
            assert min(span.stop + after, length) <= span.window + window <= length
        return
    assert max(lengths[:-1], default=0) - lengths[-1] < len(tiles)  # no window for a sliver
    for span in tiles:
        assert 0 <= span.window <= max(span.start - halo, 0)
        assert min(span.stop + after, length) <= span.window + window <= length


@settings(deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    tile=st.integers(0, 16),
    batch=st.integers(1, 5),
    scale=st.sampled_from([1, 2, 4]),
)
def test_split_and_put_together_is_the_whole(
    height: int, width: int, tile: int, batch: int, scale: int
) -> None:
    low = torch.rand(1, 1, height, width)
    high = torch.rand(1, 1, height * scale, width * scale)

    def network(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        enlarged = F.interpolate(a, scale_factor=scale, mode="nearest")
        blurred = F.avg_pool2d(b, 2 * scale + 1, 1, scale)  # reaches one input pixel
        return torch.cat([enlarged, blurred], 1)

    tiled = Tiles(Cut(scale, Halo.all_around(1)), (tile, tile), batch).run(
        network, [(low, 1), (high, scale)]
    )
    torch.testing.assert_close(tiled, network(low, high))


@pytest.fixture(scope="module")
def network() -> LumaPixelCNN:
    torch.manual_seed(1)
    return LumaPixelCNN(LumaConfig(4, channels=8, blocks=2)).eval()


def test_the_sample_is_what_the_likelihood_is_about(network: LumaPixelCNN) -> None:
    """The sampler, run step by step, draws each pixel from the mixture that training scores it with."""
    low, odds = torch.rand(1, 1, 8, 8), network.to_cells(log_odds(uniform_noise(0, 32, 32)))
    with torch.inference_mode():
        picture = sample_luma(network, low, odds, 0.8)
        mean, features = network.condition(low)
        residuals = network.to_cells(picture) - mean
        for part, mixture in network.mixtures(features, residuals):
            drawn = mixture.sample(odds[:, part], 0.8)
            drawn = (mean[:, part] + drawn).clamp(*SIGNAL) - mean[:, part]
            torch.testing.assert_close(drawn, residuals[:, part], atol=1e-5, rtol=0)


def test_edges_are_drawn_colder_than_texture() -> None:
    wide = Mixture(*(torch.full((1, 1, 8, 8), value) for value in (0.0, 0.0, 0.0, -3.5)))
    odds = log_odds(torch.rand(1, 1, 8, 8))
    nothing, edge = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.3)
    for temperature in (0.3, 0.6):
        cut = odds.clamp(-2 / (1 - temperature), 2 / (1 - temperature))
        flat = textured(wide, odds, temperature, nothing)
        torch.testing.assert_close(flat, wide.sample(cut, temperature))
        assert textured(wide, odds, temperature, edge).abs().mean() < 0.5 * flat.abs().mean()
    honest = textured(wide, odds, 0.9999, edge)
    torch.testing.assert_close(honest, wide.sample(odds, 1.0), atol=2e-3, rtol=0)


def test_variation_is_that_of_the_cells_around() -> None:
    mean = torch.rand(2, 4, 6, 7)
    found = variation(mean)
    torch.testing.assert_close(found[0, 0, 3, 3], mean[0, :, 2:5, 2:5].std(correction=0))
    assert found.shape == (2, 1, 6, 7)
    assert not variation(torch.full((1, 16, 5, 5), 0.25)).any()


def test_a_steady_sample_is_an_honest_one_at_temperature_1(network: LumaPixelCNN) -> None:
    low, odds = torch.rand(1, 1, 8, 8), network.to_cells(log_odds(uniform_noise(0, 32, 32)))
    with torch.inference_mode():
        for temperature, same in ((1.0, True), (0.7, False)):
            plain, steady = (
                sample_luma(network, low, odds, temperature, steady=steady) for steady in (False, True)
            )
            assert torch.equal(plain, steady) == same


@pytest.mark.parametrize("scale", [2, 4])
def test_no_input_sends_the_sampler_out_of_range(scale: int) -> None:
    """Each step reads the steps before it; pictures unlike any photo must not make that run away."""
    checker = (np.indices((48, 64)).sum(0) % 2).astype(np.float32)
    grain = np.random.default_rng(0).random((48, 64), np.float32)
    for luma in (checker, grain, np.round(grain), grain * 0.25 + 0.4):
        for temperature in (0.0, 0.5, 1.0):
            planes = (luma[None],)
            large = upscaler(planes, scale, temperature=temperature)(planes)[0]
            assert np.isfinite(large).all()
            assert SIGNAL[0] - 1e-5 <= large.min() <= large.max() <= SIGNAL[1] + 1e-5


def test_batch_one_equals_batch_eight(network: LumaPixelCNN) -> None:
    low, odds = torch.rand(8, 1, 8, 8), network.to_cells(log_odds(uniform_noise(0, 32, 32)))
    with torch.inference_mode():
        together = sample_luma(network, low, odds, 0.7)
        alone = torch.cat([sample_luma(network, one[None], odds, 0.7) for one in low])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_a_temperature_wants_noise(network: LumaPixelCNN) -> None:
    with pytest.raises(ValueError, match="uniform numbers"):
        sample_luma(network, torch.rand(1, 1, 4, 4), None, 0.5)


def test_the_mean_model_is_the_mean_head_alone(network: LumaPixelCNN) -> None:
    low = torch.rand(1, 1, 4, 4)
    mean, _ = network.condition(low)
    torch.testing.assert_close(mean_luma(network, low), network.to_picture(mean).clamp(*SIGNAL))


def planes_420(height: int = 60, width: int = 84) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    smooth = F.interpolate(
        torch.from_numpy(random.random((1, 3, height // 4, width // 4), np.float32)),
        size=(height, width),
        mode="bicubic",
    )
    return smooth[0, :1].numpy(), F.avg_pool2d(smooth[:, 1:], 2)[0].numpy()


def upscaler(planes: tuple[np.ndarray, ...], scale: float = 4, **options: object) -> Upscaler:
    height, width = planes[0].shape[1:]
    target = (round(height * scale / 2) * 2, round(width * scale / 2) * 2)
    subsampling = None
    if len(planes) == 2:
        subsampling = (-(-width // planes[1].shape[2]), -(-height // planes[1].shape[1]))
    return Upscaler((height, width), target, subsampling, True, SampleOptions(**options))


def film_window(height: int, width: int, frames: int = 3) -> tuple[np.ndarray, ...]:
    """The middle window of a grainy pan."""
    random = np.random.default_rng(1)
    wide = planes_420(height + 4, width + 8)
    clip = []
    for number in range(frames):
        luma = wide[0][:, 2 : 2 + height, 2 * number : 2 * number + width]
        grain = random.normal(0, 0.02, luma.shape)
        clip.append(((luma + grain).astype(np.float32), wide[1][:, : -(-height // 2), : -(-width // 2)]))
    return list(windowed(clip))[frames // 2]


@pytest.mark.parametrize("model", ["clean", "film"])
@pytest.mark.parametrize("scale", [2, 4])
def test_tiled_equals_whole(model: str, scale: int) -> None:
    planes = planes_420(132, 146) if model == "clean" else film_window(123, 139)
    whole = upscaler(planes, scale, tile=10_000, model=model)(planes)
    for tile, batch in ((64, 1), (23, 3), (101, 2)):
        tiled = upscaler(planes, scale, tile=tile, batch=batch, model=model)(planes)
        for a, b in zip(whole, tiled, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_film_enlarges_what_is_clean_as_clean_does(scale: int) -> None:
    planes = planes_420()
    film, clean = (upscaler(planes, scale, model=name, temperature=0.5) for name in ("film", "clean"))
    window = film_window(60, 84)
    before = film(window)
    for one, other in zip(film(planes), clean(planes), strict=True):
        np.testing.assert_array_equal(one, other)
    assert film.reused == film.reused_tiles == 0
    for one, other in zip(film(window), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("model", "scale"), [("clean", 2), ("film", 4), ("film", 8), ("nearest", 3)])
@pytest.mark.parametrize("box", [Box(52, 48, 20, 30), Box(0, 100, 36, 42)])
def test_a_detail_is_that_part_of_the_whole_answer(model: str, scale: int, box: Box) -> None:
    planes = planes_420(124, 142) if model != "film" else film_window(124, 142)
    opened = find_model(model).open(
        (124, 142), (124 * scale, 142 * scale), (2, 2), True, SampleOptions(model=model, temperature=0.5)
    )
    whole, part = opened.begin(planes)(), opened.detail(planes, box)
    top, left, height, width = (scale * length for length in box)
    luma = whole[0][:, top : top + height, left : left + width]
    np.testing.assert_allclose(part[0], luma, atol=1e-4, rtol=0)
    chroma = whole[1][:, top // 2 : -(-(top + height) // 2), left // 2 : -(-(left + width) // 2)]
    np.testing.assert_allclose(part[1], chroma, atol=1e-4)


@pytest.mark.parametrize("model", ["clean", "film"])
def test_one_thread_equals_two(model: str) -> None:
    planes = planes_420() if model == "clean" else film_window(61, 83)
    threads = torch.get_num_threads()
    try:
        answers = []
        for count in (1, 2):
            torch.set_num_threads(count)
            answers.append(upscaler(planes, temperature=0.7, model=model)(planes))
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(*answers, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=0)


def test_the_same_seed_is_the_same_picture_and_another_is_not() -> None:
    planes = planes_420()
    first, again, other = (upscaler(planes, seed=seed, temperature=1.0)(planes) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[0], again[0])
    assert np.abs(first[0] - other[0]).max() > 0.005


def test_a_still_picture_stays_still() -> None:
    planes = planes_420()
    shared = upscaler(planes, temperature=1.0)
    np.testing.assert_array_equal(shared(planes)[0], shared(planes)[0])


def test_grain_moves_where_it_is_to() -> None:
    planes = planes_420()
    moving = upscaler(planes, temperature=1.0, grain="moving")
    first, second, again = (moving(planes, time)[0] for time in (0, 512, 0))
    assert np.abs(first - second).max() > 0.005
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, upscaler(planes, temperature=1.0)(planes, 512)[0])
    assert moving.reused == 0


def test_what_is_to_be_kept_stays() -> None:
    """Grain that nothing is to go of is still there; asked for, or left to the model, most of it goes."""
    random = np.random.default_rng(4)
    slope = np.linspace(0.3, 0.6, 96, dtype=np.float32) * np.ones((1, 64, 1), np.float32)
    grainy = [(slope + random.normal(0, 0.02, slope.shape).astype(np.float32),) for _ in range(3)]
    planes = list(windowed(grainy))[1]

    def roughness(**options: object) -> float:
        large = upscaler(planes, 4, temperature=0.0, model="film", **options)(planes)[0]
        return float(np.abs(np.diff(large[:, ::4, ::4], axis=2)).mean())

    kept, half, gone, unasked = (roughness(denoise=share) for share in (0.0, 0.5, 1.0, None))
    assert gone < half < kept
    assert gone == unasked
    assert gone < 0.6 * kept


@pytest.mark.parametrize("scale", [2, 4])
def test_the_judge_tells_how_grainy_a_film_is(scale: int) -> None:
    network = weights.load(find_stage(FILM, scale).luma.path)
    assert isinstance(network, LumaPixelCNN)
    random = np.random.default_rng(3)
    slope = np.linspace(0.3, 0.6, 128, dtype=np.float32) * np.ones((1, 96, 1), np.float32)
    judged = []
    for levels in (0, 3, 10):
        grainy = [
            (slope + random.normal(0, levels / 255, slope.shape).astype(np.float32),) for _ in range(5)
        ]
        window = torch.from_numpy(list(windowed(grainy))[2][0])[None]
        judged.append(float(error_of(network.told(window, 0.0)[0, WINDOW.index("damage"), 0, 0])))
    assert judged[0] < 1 < 2 < judged[1] < judged[2] < 15


def test_a_window_may_be_short_or_missing() -> None:
    for frames in (1, 2, 3):
        planes = film_window(40, 52, frames)
        answer = upscaler(planes, 4, model="film")(planes)
        assert answer[0].shape == (1, 160, 208)
        assert np.isfinite(answer[0]).all()


def test_temperature_moves_away_from_the_mean_step_by_step() -> None:
    planes = planes_420()
    faithful = upscaler(planes, temperature=0.0)(planes)[0]
    distances = [
        float(np.square(upscaler(planes, temperature=t)(planes)[0] - faithful).mean())
        for t in (0, 0.3, 0.7, 1)
    ]
    assert all(a < b for a, b in pairwise(distances))


@pytest.mark.parametrize("scale", [1.5, 2, 3, 4, 6, 8])
def test_any_scale_keeps_the_picture_in_its_place(scale: float) -> None:
    """Made small again, it is the picture it came from; a pixel's shift would show."""
    ramp = torch.linspace(0, 6, 84).sin() * torch.linspace(0, 5, 60).cos()[:, None] * 0.4 + 0.5
    planes = (ramp[None].numpy(),)
    large = upscaler(planes, scale, temperature=0.0)(planes)[0]
    back = F.interpolate(torch.from_numpy(large)[None], size=(60, 84), mode="area")[0].numpy()
    error = np.abs(back - planes[0])[:, 4:-4, 4:-4].mean()
    assert error < 0.005
    assert np.abs(np.roll(back, 1, 2) - planes[0])[:, 4:-4, 4:-4].mean() > 2 * error


@pytest.mark.parametrize("layout", [(1, 1), (2, 1), (2, 2), (4, 1), (1, 2)])
@pytest.mark.parametrize("size", [(16, 16), (33, 47)])
def test_every_chroma_layout_and_odd_sizes(layout: tuple[int, int], size: tuple[int, int]) -> None:
    across, down = layout
    height, width = size
    luma = np.full((1, height, width), 0.5, np.float32)
    chroma = np.full((2, -(-height // down), -(-width // across)), 0.25, np.float32)
    target = (height * 2, width * 2)
    large = Upscaler(size, target, layout, True, SampleOptions(temperature=0.0))((luma, chroma))
    assert large[0].shape == (1, *target)
    assert large[1].shape == (2, -(-target[0] // down), -(-target[1] // across))
    assert large[1] == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("scale", [2.0, 4.0])
def test_chroma_stays_where_luma_is(scale: float, left: bool) -> None:
    """A ramp that is sampled at its own siting, moved, and scaled is the same ramp on the finer grid."""
    positions = 2 * torch.arange(64.0) + (0.5 if left else 1.0)  # in luma pixels
    moved = resite(positions.view(1, 1, 1, -1), siting_shift(scale, 2, left))
    fine = F.interpolate(moved, scale_factor=(1, scale), mode="bilinear").flatten()
    expected = (2 * torch.arange(64 * scale) + 0.5) / scale
    inside = slice(int(8 * scale), int(-8 * scale))
    torch.testing.assert_close(fine[inside], expected[inside], atol=1e-3, rtol=0)


def test_full_resolution_chroma_has_no_siting() -> None:
    assert siting_shift(4, 1, left=True) == 0


@pytest.mark.parametrize("across", [1, 2, 4])
def test_the_guide_lies_where_chroma_lies(across: int) -> None:
    ramp = torch.arange(40.0).view(1, 1, 1, -1).expand(1, 1, 8, -1)
    guide = luma_at_chroma(ramp, (across, 2), (4, 40 // across))
    assert guide.shape == (1, 1, 4, 40 // across)
    torch.testing.assert_close(guide[0, 0, 0, 2:-2], ramp[0, 0, 0, ::across][2:-2])


def test_unknown_devices_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"'tpu'.*there is cpu"):
        choose_device("tpu")
    fastest = "int8" if int8.int8_sums() else "float32"
    assert choose_precision("auto", torch.device("cpu")) == fastest
    assert choose_precision("auto", torch.device("cuda")) == "float16"


def test_half_precision_is_close_to_float32() -> None:
    planes = planes_420()
    exact, half = (upscaler(planes, temperature=0.0, precision=p)(planes) for p in ("float32", "bfloat16"))
    assert np.abs(exact[0] - half[0]).mean() < 0.01


def test_a_frame_like_the_one_before_costs_nothing() -> None:
    planes = planes_420()
    model = upscaler(planes)
    first = model(planes)
    again = model(tuple(plane.copy() for plane in planes))
    assert model.reused == 1
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    changed = (planes[0] + np.float32(1 / 255), planes[1])
    assert not np.array_equal(model(changed)[0], first[0])
    assert model.reused == 1


@pytest.mark.parametrize("place", [(2, 3), (30, 41)])
def test_only_the_tiles_that_change_are_computed(place: tuple[int, int]) -> None:
    """A network that adds up a 3x3 neighbourhood; a change in one pixel, in a corner or in the middle."""

    def network(low: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(low, 3, 1, 1, divisor_override=1)

    low = torch.rand(1, 1, 40, 50)
    tiles = Tiles(Cut(1, Halo.all_around(1)), (10, 10), 4)
    tiles.run(network, [(low, 1)])
    assert tiles.computed == 20
    first = tiles.run(network, [(low.clone(), 1)])
    assert tiles.computed == 20
    touched = low.clone()
    touched[0, 0, place[0], place[1]] += 1
    second = tiles.run(network, [(touched, 1)])
    assert 20 < tiles.computed <= 24
    assert tiles.computed + tiles.reused == 3 * 20
    torch.testing.assert_close(second, network(touched))
    torch.testing.assert_close(first, network(low))  # what was handed out before is left alone


def test_tiles_get_smaller_until_they_fit() -> None:
    sizes = []

    def network(low: torch.Tensor) -> torch.Tensor:
        sizes.append(low.shape[3])
        if low.shape[3] > 20:
            raise torch.cuda.OutOfMemoryError
        return low

    tiles = Tiles(Cut(1, Halo.all_around(2)), (0, 0))
    low = torch.rand(1, 1, 40, 50)
    while True:
        try:
            answer = tiles.run(network, [(low, 1)])
            break
        except torch.cuda.OutOfMemoryError:
            assert tiles.halve()
    torch.testing.assert_close(answer, low)
    assert sizes[0] == 50
    assert max(sizes[2:]) <= 20
    while tiles.halve():
        pass
    assert not tiles.halve()


OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB)."),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_a_device_without_memory_gets_smaller_tiles(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the device's libraries say."""
    luma = np.random.default_rng(0).random((1, 40, 64), np.float32)

    def opened() -> Any:
        return find_model("clean").open((40, 64), (80, 128), None, True, SampleOptions(device="cpu"))

    whole = opened().begin((luma,))()
    run, failures, upscaler, real = Tiles.run, [1], opened(), torch.device("cpu")
    device: Any = real

    def full(self: Tiles, *arguments: Any) -> torch.Tensor:
        if failures[0]:
            failures[0] -= 1
            upscaler.device = device
            raise error
        return run(self, *arguments)

    monkeypatch.setattr(Tiles, "run", full)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: setattr(upscaler, "device", real))
    with pytest.raises(type(error)):  # a CPU has no memory of its own: the program is to end, or a worker
        upscaler.begin((luma,))()
    failures[0], device, upscaler = 1, SimpleNamespace(type="mps"), opened()
    (larger,) = upscaler.begin((luma,))()
    assert np.abs(larger - whole[0]).max() < 0.02
    assert upscaler.device == real  # the cache was emptied
    assert upscaler.notes == {"there was not enough memory on the device: tiles were made smaller"}
    failures[0] = 1000
    with pytest.raises(UpscaleError, match="not enough memory on the device"):
        upscaler.begin((luma + 0.01,))()


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        *((error, True) for error in OUT_OF_MEMORY),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("(-4:Insufficient memory) Failed to allocate 9 bytes in 'OutOfMemoryError'"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("no room"), False),
    ],
)
def test_what_libraries_say_where_there_is_no_memory(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


@pytest.mark.parametrize(
    ("size", "memory", "largest", "tile"),
    [
        ((270, 480), 2 << 30, None, (270, 480)),
        ((1080, 1920), 64 << 30, None, (1080, 1920)),
        ((1080, 1920), 64 << 30, 950_000, (1080, 640)),
        ((1080, 1920), 1 << 30, None, (64, 64)),
        ((40, 5000), 64 << 30, 100_000, (40, 1667)),
        ((10, 10), 1 << 20, None, (64, 64)),
    ],
)
def test_the_tile_is_what_fits(
    size: tuple[int, int], memory: int, largest: int | None, tile: tuple[int, int]
) -> None:
    assert choose_tile(size, 4, 24, memory, largest) == tile


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    memory=st.integers(1 << 30, 4 << 30),
    halo=st.integers(0, 30),
)
def test_more_memory_never_means_more_to_compute(height: int, width: int, memory: int, halo: int) -> None:
    def computed(memory: int) -> int:
        tile = choose_tile((height, width), 2, halo, memory)
        (high, rows), (wide, columns) = (
            spans(length, side, (halo, halo)) for length, side in zip((height, width), tile, strict=True)
        )
        return high * len(rows) * wide * len(columns)

    assert computed(2 * memory) <= computed(memory)


@pytest.mark.parametrize(("text", "amount"), [("2G", 2 << 30), ("800M", 800 << 20), ("1.5GiB", 3 << 29)])
def test_amounts_of_memory(text: str, amount: int) -> None:
    assert parse_size(text) == amount
    with pytest.raises(UsageError, match="write 2G"):
        parse_size(text + "?")


@pytest.mark.skipif(not int8.int8_sums(), reason="this CPU or PyTorch has no such convolutions")
@pytest.mark.filterwarnings("ignore:torch.quantize")
@pytest.mark.parametrize("model", ["clean", "film"])
@pytest.mark.parametrize("scale", [2, 4])
def test_int8_is_close_to_float32(model: str, scale: int) -> None:
    """On the shipped weights, within a level on average."""
    planes = planes_420(96, 96) if model == "clean" else film_window(96, 96)
    exact, coarse = (
        upscaler(planes, scale, temperature=0.0, precision=p, model=model)(planes)
        for p in ("float32", "int8")
    )
    error = np.abs(exact[0] - coarse[0])
    assert error.mean() < 1 / 255
    assert np.sqrt((error**2).mean()) < 1.5 / 255


@pytest.mark.skipif(not int8.int8_sums(), reason="this CPU or PyTorch has no such convolutions")
@pytest.mark.filterwarnings("ignore:torch.quantize")
@pytest.mark.parametrize("step", [0, 3])
def test_a_block_in_integers_is_the_block_within_a_rounding(step: int) -> None:
    """Borders too, where zeros are padded: they are not the code 0."""
    torch.manual_seed(step)
    block = LumaPixelCNN(LumaConfig(4, channels=16, blocks=1)).chain[step]
    x = torch.randn(2, 16, 9, 11).contiguous(memory_format=torch.channels_last)
    known = torch.randn(2, block.known.in_channels, 9, 11) if block.known is not None else None
    with torch.inference_mode():
        inner = block.first(x) if known is None else block.first(x) + block.known(known)
        widest = [x.abs().max(), inner.relu().max(), known.abs().max() if known is not None else 0]
        block.ranges.copy_(torch.tensor(widest))
        change = block(x.clone(), known) - x
        made = int8.Int8Block(block, int8.int8_sums())(x.clone(), known) - x
    assert float((made - change).abs().max()) < 0.05 * float(change.abs().max())


@pytest.mark.skipif(not int8.int8_sums(), reason="this CPU or PyTorch has no such convolutions")
@pytest.mark.filterwarnings("ignore:torch.quantize")
@pytest.mark.parametrize("inputs", [16, 33])
@pytest.mark.parametrize("codes", ["any", "largest"])
def test_sums_of_products_are_exact(inputs: int, codes: str) -> None:
    """Also where two of them are added up in 16 bits, and the features are as large as they can be."""
    torch.manual_seed(inputs)
    weight, bias = torch.randn(24, inputs, 3, 3), torch.randn(24)
    weight[:, 5:7, 1, 1] = 5.0  # two neighbours, the largest by far
    conv = int8.Int8Conv(weight, bias, 0.5, 100, int8.int8_sums())
    size = 2, inputs, 9, 11
    features = torch.full(size, 255) if codes == "largest" else torch.randint(0, 256, size)
    features = features.to(torch.uint8).contiguous(memory_format=torch.channels_last)
    scale = conv._weight_scale[:, None, None, None]
    steps = (weight / scale).round().double()
    expected = F.conv2d((features.double() - 100) * 0.5, steps * scale, bias.double(), padding=1)
    torch.testing.assert_close(conv.plain(features).double(), expected, rtol=1e-6, atol=1e-4)


def test_where_pairs_of_products_meet_in_16_bits_weights_have_fewer_steps() -> None:
    """No two of an output channel make more than 32,767, and none is coarser than it has to be."""
    torch.manual_seed(0)
    weight = torch.randn(24, 32, 3, 3)
    wide, pairs = (
        weight / int8.Int8Conv(weight, torch.zeros(24), 0.5, 0, sums)._weight_scale[:, None, None, None]
        for sums in (int8.WIDE, int8.PAIRS)
    )
    assert wide.round().abs().amax() == 127
    two = pairs.round().abs().flatten(1).topk(2).values.sum(1)
    assert ((two > 125) & (two * 255 <= 32767)).all()


@pytest.mark.skipif(int8.int8_sums() != int8.WIDE, reason="this CPU adds products up in pairs anyway")
def test_int8_without_vnni_is_found_out() -> None:
    """oneDNN is told to do without; only trying shows it."""
    asks = "from upscale.models.int8 import int8_sums; print(int8_sums())"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", asks], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(int8.PAIRS)


@pytest.mark.parametrize(
    ("sums", "words"), [(int8.WIDE, "int8 on cpu"), (int8.PAIRS, "int8 in pairs on cpu")]
)
def test_the_two_kinds_of_int8_have_names_of_their_own(
    monkeypatch: pytest.MonkeyPatch, sums: int, words: str
) -> None:
    """Their answers differ: workers of both kinds make no film together."""
    monkeypatch.setattr("upscale.sampling.upscaler.int8_sums", lambda: sums)
    assert arithmetic_of(choose_precision("auto", torch.device("cpu")), torch.device("cpu")) == words


def test_int8_asks_for_a_cpu_and_for_calibration() -> None:
    with pytest.raises(UsageError, match="int8 is for CPUs"):
        choose_precision("int8", torch.device("cuda"))
    assert not int8.calibrated(LumaPixelCNN(LumaConfig(2, channels=8, blocks=1)))


def test_observing_notes_the_largest_values() -> None:
    torch.manual_seed(0)
    network = LumaPixelCNN(LumaConfig(2, channels=8, blocks=1)).eval()
    with torch.inference_mode(), int8.observing(network):
        sample_luma(network, torch.rand(1, 1, 12, 12), None, 0.0)
    assert int8.calibrated(network)
    assert not network.trunk[0]._forward_pre_hooks


def test_a_range_leaves_out_what_is_rare_and_large() -> None:
    spread = int8.Spread()
    assert spread.best_range(127) == 0
    torch.manual_seed(0)
    features = torch.cat([torch.randn(100_000), torch.tensor([20.0, 0.0])])
    spread.note(features)
    chosen = spread.best_range(127)

    def error(limit: float) -> float:
        step = limit / 127
        apart = ((features / step).round().clamp(-127, 127) * step - features).square()
        return float(torch.where(features.abs() > limit, int8.CUT * apart, apart).mean())

    assert error(chosen) < error(float(features.abs().max()))
    assert all(error(chosen) < 1.03 * error(chosen * factor) for factor in (0.8, 1.25))
