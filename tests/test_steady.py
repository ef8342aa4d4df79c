"""Weave is taken out, and nothing else: on pictures whose place is known."""

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import Result
from conftest import contents
from numpy.typing import NDArray

from upscale.motion.runs import LONGEST_RUN, Place
from upscale.motion.steady import RADIUS, Weave, moved, steadied
from upscale.planes import Planes

Run = Callable[..., Result]

HEIGHT, WIDTH, FRAMES = 120, 160, 60


def scene(seed: int = 0) -> NDArray[np.float32]:
    """More than a frame shows, with detail everywhere."""
    random = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(random.standard_normal((240, 560)), (0, 0), s) * s for s in (1.5, 4, 10)]
    picture = sum(layers)
    return (0.5 + 0.12 * picture / picture.std()).clip(0, 1).astype(np.float32)


def filmed(path: NDArray[np.float64], seed: int = 0, person: bool = False) -> list[Planes]:
    """What a camera sees whose corner goes along a ``path`` (x, y); with a ``person`` somebody walks by."""
    world, frames = scene(seed), []
    for number, (x, y) in enumerate(path):
        wide = world.copy()
        if person:
            wide[90:, 2 * number : 2 * number + 45] = scene(9)[90:, :45]
        place = np.array([[1, 0, x + 40], [0, 1, y + 40]])
        luma = cv2.warpAffine(wide, place, (WIDTH, HEIGHT), flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP)
        small = cv2.resize(luma, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
        frames.append((luma[np.newaxis], np.stack([small, 1 - small])))
    return frames


def woven(strength: float = 2.0, frames: int = FRAMES) -> NDArray[np.float64]:
    return np.random.default_rng(1).uniform(-strength, strength, (frames, 2))


def place_of(planes: Planes, number: int, way: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a camera stands that sees that, beside the ``way`` of one that does not shake."""
    there = filmed(way[number : number + 1])[0][0][0]
    found, _ = cv2.phaseCorrelate(there[20:-20, 20:-20], planes[0][0][20:-20, 20:-20])
    return -np.array(found)


def pan(speed: float = 2.0, frames: int = FRAMES) -> NDArray[np.float64]:
    return np.stack([speed * np.arange(frames), np.zeros(frames)], axis=1)


@pytest.mark.parametrize("speed", [0.0, 2.5])
@pytest.mark.parametrize("person", [False, True])
def test_weave_goes(speed: float, person: bool) -> None:
    way, weave, found = pan(speed), woven(), Weave()
    shown = filmed(way + weave, person=person)
    answers = list(steadied(shown, found))
    left = np.array([place_of(planes, number, way) for number, planes in enumerate(answers)])
    steps = np.sqrt(np.square(np.diff(left, axis=0)).mean() / np.square(np.diff(weave, axis=0)).mean())
    assert steps < 0.1
    inner = slice(RADIUS, -RADIUS)
    assert left[inner].std() < 0.25 * weave.std()
    assert (found.pictures, found.moved) == (FRAMES, FRAMES)
    assert found.pixels == pytest.approx(np.sqrt(np.square(weave).sum(1).mean()), rel=0.15)


@pytest.mark.parametrize("kind", ["still", "pan", "faster and faster", "begins", "person"])
def test_what_does_not_weave_is_left_as_it_is(kind: str) -> None:
    way = pan(0.0 if kind in ("still", "person") else 2.0)
    if kind == "faster and faster":
        way[:, 0] = 0.04 * np.arange(FRAMES) ** 2
    if kind == "begins":
        way[:, 0] = np.maximum(0, np.arange(FRAMES) - 30) * 2.0
    random, found = np.random.default_rng(2), Weave()
    shown: list[Planes] = [
        (planes[0] + random.normal(0, 2 / 255, planes[0].shape).astype(np.float32), planes[1])
        for planes in filmed(way, person=kind == "person")
    ]
    for planes, was in zip(steadied(shown, found), shown, strict=True):
        assert planes is was
    assert found.moved == 0


def test_a_border_shows_what_other_frames_have_there() -> None:
    weave = woven()
    shown = filmed(weave)
    answers = list(steadied(shown))
    mean = np.median([planes[0][0] for planes in answers], axis=0)
    rim = np.ones((HEIGHT, WIDTH), bool)
    rim[3:-3, 3:-3] = False
    error, replicated = [], []
    for number in range(20, 40):
        (x, y), planes = weave[number], answers[number]
        alone = moved(shown[number], np.array([x, y]), [])
        error.append(np.abs(planes[0][0] - mean)[rim].mean())
        replicated.append(np.abs(alone[0][0] - mean)[rim].mean())
    assert np.mean(error) < 0.75 * np.mean(replicated)


def test_chroma_moves_with_luma() -> None:
    for planes in list(steadied(filmed(woven())))[RADIUS:-RADIUS]:
        small = cv2.resize(planes[0][0], (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
        assert np.abs(planes[1][0] - small)[4:-4, 4:-4].mean() < 0.01


def test_a_path_ends_at_a_cut() -> None:
    one, other = filmed(woven(frames=30)), filmed(woven(frames=30), seed=5)
    together = list(steadied([*one, *other]))
    apart = [planes for clip in (one, other) for planes in steadied(clip)]
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_array_equal(a[0], b[0])


def test_too_short_a_shot_and_too_small_a_picture_stay() -> None:
    tiny: list[Planes] = [(planes[0][:, :8, :8],) for planes in filmed(woven(frames=8))]
    for frames in (filmed(woven(frames=4)), tiny):
        for planes, was in zip(steadied(frames), frames, strict=True):
            assert planes is was


def test_a_piece_that_reads_beyond_its_ends_is_the_film() -> None:
    """Repeated frames too, which count once, and stay the same."""
    frames = [planes for planes in filmed(woven()) for _ in range(2)]
    whole = list(steadied(frames))
    assert all(one is other for one, other in zip(whole[::2], whole[1::2], strict=True))
    begin, end = 9 * LONGEST_RUN, 10 * LONGEST_RUN
    start = begin - 2 * RADIUS
    places = [Place(n, wanted=begin <= n < end) for n in range(start, len(frames))]
    weave = Weave()
    piece = list(steadied(frames[start:], weave, places))
    for one, other in zip(whole[begin:end], piece[begin - start : end - start], strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert weave.pictures == LONGEST_RUN // 2


@pytest.mark.parametrize("options", [("-m", "nearest"), ("-m", "nearest", "--deflicker"), ()])
def test_the_command_holds_a_film_still_in_segments_too(
    options: tuple[str, ...], upscale: Run, tmp_path: Path
) -> None:
    """With what looks at several frames after that, too."""
    source, made = tmp_path / "in.mkv", []
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", 25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray"
        for planes in filmed(woven()):
            codes = (planes[0][0] * 255).round().astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(codes, "gray")))
        container.mux(stream.encode(None))
    for number, how in enumerate((("--segment", "0"), ("--segment", "0.6"))):
        target = tmp_path / f"{number}.mkv"
        result = upscale(source, target, *options, "--codec", "ffv1", "-s", 1, "--stabilize", *how)
        assert result.exit_code == 0, result.output
        assert "; weave of 1.5 pixels taken out, 60 of 60 pictures moved" in result.stderr
        made.append(contents(target)["video"])
    assert made[0] == made[1]
