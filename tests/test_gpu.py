"""What only a GPU can show: pictures as on the CPU, in every arithmetic and tile; memory that runs out.

Skipped where there is no NVIDIA GPU; UPSCALE_TEST_DEVICE=cpu lets most of them run anywhere, to see that
they are right themselves.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from test_sampling import film_window, planes_420

from upscale.planes import Planes
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

DEVICE = os.environ.get("UPSCALE_TEST_DEVICE", "cuda")
FILM = Path(__file__).parent.parent / "examples" / "city.mp4"
LEVEL = 1 / 255

pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []
cuda = pytest.mark.skipif(DEVICE != "cuda", reason="of CUDA alone")


def enlarged(planes: Planes, scale: int, device: str = DEVICE, **options: object) -> Planes:
    height, width = planes[0].shape[1:]
    chosen = SampleOptions(device=device, **options)
    return Upscaler((height, width), (scale * height, scale * width), (2, 2), True, chosen)(planes)


def rms(one: np.ndarray, other: np.ndarray) -> float:
    """Of what differs, in 8-bit levels."""
    return float(np.sqrt(np.square(one - other).mean())) / LEVEL


@pytest.mark.parametrize("model", ["clean", "film"])
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(("precision", "limit"), [("float32", 0.1), ("float16", 1.0), ("bfloat16", 2.0)])
def test_the_picture_is_that_of_the_cpu(model: str, scale: int, precision: str, limit: float) -> None:
    planes = film_window(72, 96) if model == "film" else planes_420(72, 96)
    expected = enlarged(planes, scale, "cpu", model=model, temperature=0.0, precision="float32")
    made = enlarged(planes, scale, model=model, temperature=0.0, precision=precision)
    for one, other in zip(expected, made, strict=True):
        assert rms(one, other) < limit


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_a_sample_is_that_of_the_cpu(temperature: float) -> None:
    """The noise belongs to the place, and the numbers drawn from it differ where a float is rounded."""
    planes = planes_420(72, 96)
    expected, made = (
        enlarged(planes, 4, device, model="clean", temperature=temperature, precision="float32")
        for device in ("cpu", DEVICE)
    )
    assert rms(expected[0], made[0]) < 1.0


@pytest.mark.parametrize(("model", "temperature"), [("raster", 1.0), ("mean", None)])
def test_other_samplers_run_there(model: str, temperature: float | None) -> None:
    planes = planes_420(32, 40)
    expected, made = (
        enlarged(planes, 4, device, model=model, temperature=temperature, precision="float32")
        for device in ("cpu", DEVICE)
    )
    assert rms(expected[0], made[0]) < 6.0


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_tiles_in_batches_are_the_whole(batch: int, precision: str) -> None:
    if DEVICE == "cpu" and precision == "float16":
        pytest.skip("of GPUs alone")
    planes = planes_420(100, 150)
    whole = enlarged(planes, 4, model="clean", tile=10_000, precision=precision)
    tiled = enlarged(planes, 4, model="clean", tile=48, batch=batch, precision=precision)
    for one, other in zip(whole, tiled, strict=True):
        assert rms(one, other) < (0.01 if precision == "float32" else 0.3)


def test_frames_that_are_begun_ahead_come_in_order() -> None:
    """Their copies to the device and back have streams of their own."""
    frames = [tuple(np.roll(plane, 3 * n, axis=2) for plane in planes_420(64, 80)) for n in range(6)]
    options = SampleOptions("clean", device=DEVICE)
    model = Upscaler((64, 80), (256, 320), (2, 2), True, options)
    begun = [model.begin(planes, n) for n, planes in enumerate(frames)]
    for planes, answer in zip(frames, begun, strict=True):
        alone = Upscaler((64, 80), (256, 320), (2, 2), True, options)(planes)
        for one, other in zip(alone, answer(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-3)


@cuda
def test_where_memory_runs_out_tiles_get_smaller() -> None:
    planes = planes_420(540, 960)
    whole = enlarged(planes, 4, model="clean", tile=10_000)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(900e6 / total, 1.0))
    try:
        options = SampleOptions("clean", device=DEVICE, tile=10_000)
        model = Upscaler((540, 960), (2160, 3840), (2, 2), True, options)
        made = model(planes)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert any("not enough memory" in note for note in model.notes)
    assert rms(whole[0], made[0]) < 0.3


@pytest.mark.parametrize(
    "options", [(), ("--workers", 2), ("-m", "film"), ("--color", "auto", "--color-strength", 1)]
)
def test_a_film_goes_through(upscale: "object", tmp_path: Path, options: tuple[object, ...]) -> None:
    """Two workers share the card; a film in colour and one with its window are made there as well."""
    target = tmp_path / "out.mp4"
    chosen = ("--device", DEVICE, "-s", 2, "--duration", 1, "--segment", 0.5, "--preset", "ultrafast", "-q")
    result: Result = upscale(FILM, target, *chosen, *options)  # type: ignore[operator]
    assert result.exit_code == 0, result.stderr
    assert target.stat().st_size > 10_000
