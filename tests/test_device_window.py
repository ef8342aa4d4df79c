"""The window on a device answers as the one on the CPU does: the code of GPUs, run wherever tests run."""

import gc
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from test_motion import colored, error, grainy, inside, pan, shifted, stained, texture

from upscale.motion.device import DeviceWindow
from upscale.motion.flow import find_flow, matchable
from upscale.motion.inverse_search import find_flows
from upscale.motion.window import Seen, gather, windowed
from upscale.planes import Planes

FILM = Path(__file__).parent.parent / "examples" / "city.mp4"
CENTRE, MERGE, MEDIAN, SPREAD, WEIGHT = range(5)
LEVEL = 1 / 255


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def both(frames: list[Planes], device: torch.device, at: int, dirt: float = 0.0) -> tuple[tuple, tuple]:
    """What OpenCV's window and the device's answer for the frame ``at``."""
    seen = [Seen.of(planes) for planes in frames]
    others = [(number - at, one) for number, one in enumerate(seen) if number != at]
    return gather(seen[at], others, dirt), DeviceWindow(device)(seen[at], others, dirt)


def film(frames: int) -> list[Planes]:
    """The example, planes of 4:2:0."""
    found: list[Planes] = []
    with av.open(str(FILM)) as container:
        for frame in container.decode(video=0):
            codes = frame.to_ndarray(format="yuv420p").astype(np.float32) / 255
            height, width = frame.height, frame.width
            luma, chroma = codes[:height], codes[height:].reshape(2, height // 2, width // 2)
            found.append((luma[None], chroma))
            if len(found) == frames:
                break
    return found


def rms(one: np.ndarray, other: np.ndarray) -> float:
    """Of what differs, in 8-bit levels."""
    return float(np.sqrt(np.square(one - other).mean())) / LEVEL


@pytest.mark.parametrize(("x", "y"), [(3.4, -2.0), (-17.0, 9.5), (0.0, 0.0)])
def test_a_shift_is_found(device: torch.device, x: float, y: float) -> None:
    picture = texture(height=240, width=320)
    one, other = (
        torch.from_numpy(matchable(p))[None].float().to(device) for p in (picture, shifted(picture, x, y))
    )
    flow = find_flows(one, other, 1, 16)[0].cpu().numpy()
    within = (slice(None), slice(30, -30), slice(30, -30))
    expected = find_flow(matchable(picture), matchable(shifted(picture, x, y)), "quick").transpose(2, 0, 1)
    away = np.linalg.norm((flow - expected)[within], axis=0)
    assert np.median(away) < 0.1
    assert np.quantile(away, 0.95) < 0.5


def test_a_flow_that_is_refined_is_closer_to_that_of_the_cpu(device: torch.device) -> None:
    one, other = (matchable(planes[0][0]) for planes in (film(13)[6], film(13)[8]))
    expected = find_flow(one, other, "fine").transpose(2, 0, 1)
    pair = [torch.from_numpy(picture)[None].float().to(device) for picture in (one, other)]
    plain, refined = (
        np.median(np.linalg.norm(find_flows(*pair, 1, 16, refine)[0].cpu().numpy() - expected, axis=0))
        for refine in (False, True)
    )
    assert refined < 0.05
    assert refined < 0.7 * plain


@pytest.mark.parametrize("at", [0, 6, 12])
def test_real_film_has_the_same_merge(device: torch.device, at: int) -> None:
    """At a film's ends too, where the window is shorter. (The larger the picture, the more alike they are:
    here it is 320x180.)"""
    ((luma, chroma), _), ((own_luma, own_chroma), _) = both(film(13), device, at)
    np.testing.assert_array_equal(own_luma[CENTRE], luma[CENTRE])
    assert rms(own_luma[MERGE], luma[MERGE]) < 0.4
    assert rms(own_chroma, chroma) < 0.1
    assert rms(own_luma[MEDIAN], luma[MEDIAN]) < 1.2
    assert rms(own_luma[SPREAD], luma[SPREAD]) < 1
    assert np.abs(own_luma[WEIGHT] - luma[WEIGHT]).mean() < 0.03


def test_grain_goes_as_far_as_on_the_cpu(device: torch.device) -> None:
    truth = pan(13)[6][0][0]
    frames = pan(13, sigma=8 / 255)
    ((luma,), _), ((own,), _) = both(frames, device, 6)
    assert error(own[MERGE], truth) < 1.04 * error(luma[MERGE], truth)
    assert error(own[MEDIAN], truth) < 1.04 * error(luma[MEDIAN], truth)


def test_brightness_that_changes_is_made_up_for(device: torch.device) -> None:
    frames = [
        (planes[0] * (1 - 0.04 * (number % 3)),) for number, planes in enumerate(pan(13, sigma=2 / 255))
    ]
    ((luma,), _), ((own,), _) = both(frames, device, 6)
    assert rms(inside(own[MERGE]), inside(luma[MERGE])) < 0.5


def test_dirt_goes_there_too(device: torch.device) -> None:
    frames = stained(pan(9, sigma=2 / 255))
    stain = frames[4][0][0]
    ((cleaned,), share), ((own,), own_share) = both(frames, device, 4, dirt=0.5)
    assert share
    assert own_share == pytest.approx(share, rel=0.15)
    clean = pan(9, sigma=2 / 255)[4][0][0]
    assert error(own[CENTRE], clean) < 1.02 * error(cleaned[CENTRE], clean) < 0.9 * error(stain, clean)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(8, 200), (16, 16), (17, 33), (40, 25)])
def test_short_and_small_films_have_windows_too(
    device: torch.device, frames: int, size: tuple[int, int]
) -> None:
    clip = colored([(grainy(texture(1, *size), seed)[None],) for seed in range(frames)])
    for at in range(frames):
        ((luma, chroma), _), ((own, own_chroma), _) = both(clip, device, at)
        assert own.shape == luma.shape
        assert own_chroma.shape == chroma.shape
        assert np.isfinite(own).all()
        if frames == 1 or min(size) < 16:
            np.testing.assert_array_equal(own, luma)


def test_a_film_goes_through_it_and_leaves_nothing_there(device: torch.device) -> None:
    frames = pan(16, sigma=4 / 255)
    there = DeviceWindow(device)
    answers = list(windowed(iter(frames), gather=there))
    expected = list(windowed(iter(frames)))
    assert len(answers) == len(expected)
    for (own,), (luma,) in zip(answers, expected, strict=True):
        assert rms(inside(own[MERGE]), inside(luma[MERGE])) < 1.0
    gc.collect()
    assert not there._sent


def test_what_it_answers_depends_on_nothing_before_it(device: torch.device) -> None:
    """A film cut into segments is the same film."""
    frames = [Seen.of(planes) for planes in pan(9, sigma=4 / 255)]
    others = [(number - 4, one) for number, one in enumerate(frames) if number != 4]
    used = DeviceWindow(device)
    used(frames[0], [(1, frames[1])])
    (one,), _ = used(frames[4], others)
    (other,), _ = DeviceWindow(device)(frames[4], others)
    np.testing.assert_array_equal(one, other)


def test_memory_that_runs_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from upscale.errors import UpscaleError

    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    monkeypatch.setattr("upscale.motion.device.find_flows", full)
    frames = [Seen.of(planes) for planes in pan(2)]
    with pytest.raises(UpscaleError, match=r"not enough memory on the device.*--device cpu"):
        DeviceWindow(torch.device("cpu"))(frames[0], [(1, frames[1])])
