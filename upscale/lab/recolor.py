"""Quality of colours: films and photos in colour made grey, coloured again, and measured against the truth.

film -> luma alone -> each method, told the first frame -> chroma -> measures, frame by frame
photo -> luma alone -> automatic colours, by temperature
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from upscale.color.colorist import Colorist
from upscale.color.features import Backbone
from upscale.color.looks import Colors, View, resized, working_size
from upscale.color.matching import attend, move
from upscale.color.options import ColorOptions, Reference
from upscale.color.references import COLOURLESS
from upscale.lab.perceptual import Distance, distances
from upscale.media.frame import Frame, Key
from upscale.media.info import Color, VideoInfo
from upscale.media.picture import find_pictures, read_picture, to_rgb
from upscale.media.pixels import PixelFormat
from upscale.media.read.source import Source
from upscale.models.color import FINE
from upscale.motion.flow import find_flow, grid, matchable
from upscale.sampling.options import SampleOptions

LARGEST = 640
"""Columns that a film is made small to, at most."""

HISTOGRAM = 32
"""Bins a side of the histograms of chroma."""

GAPS = (1, 2, 4)
"""Frames between the histograms that CDC compares: Liu et al., "Temporally Consistent Video Colorization"
(2021), https://arxiv.org/abs/2110.04562."""

TRUSTED = 0.5
"""Trust in the flow above which a place counts for the warping error."""

LOOKED_AT = 25
"""Every so many frames the perceptual distance is measured, which takes long."""

SHEET = 144
"""Columns of each picture on a sheet of photos."""

AUTOMATIC = "ours, automatic"

WITHOUT_TRUTH = ("colourfulness", "CDC", "warping", "of luma")
"""What can be measured of a film that never had colours."""

TEMPERATURES = (0.0, 0.2, 0.5, 1.0)
"""What photos are coloured at."""

Chroma = NDArray[np.float32]
"""[2, h, w] around 0."""

Method = Callable[[NDArray[np.float32], int], Chroma]
"""Luma [H, W] and the number of the frame -> its chroma, at half the size of luma."""


@dataclass(slots=True)
class Colored:
    """One film, or one folder of photos, and what each method made of it: method -> measure -> value."""

    name: str
    rows: dict[str, dict[str, float]] = field(default_factory=dict)


def evaluate_films(
    films: Sequence[Path], frames: int, temperature: float, perceptual: Sequence[str], sample: SampleOptions
) -> Iterator[Colored]:
    """Measure all methods on films, one after the other; the reference is the first frame.

    A wrong reference is the first frame of the film before. Of a film that is grey itself only what needs
    no truth is measured, of automatic colours."""
    distance = distances(tuple(perceptual))
    clips = {path: _read(path, frames) for path in films}
    for number, (path, clip) in enumerate(clips.items()):
        stranger = clips[films[number - 1]][0]
        result = Colored(path.name)
        methods = _methods(clip[0], stranger, temperature, sample)
        is_grey = max(float(np.abs(planes[1:]).max()) for planes in clip) < COLOURLESS
        if is_grey:
            methods = {AUTOMATIC: methods[AUTOMATIC]}
        else:
            result.rows["truth"] = measured(clip, [planes[1:] for planes in clip], distance)
        for name, method in methods.items():
            answers = [method(planes[0], place) for place, planes in enumerate(clip)]
            answers = [
                np.stack([resized(plane, clip[0].shape[1:]) for plane in answer]) for answer in answers
            ]
            measures = measured(clip, answers, {} if is_grey else distance)
            if is_grey:
                measures = {name: measures[name] for name in WITHOUT_TRUTH}
            result.rows[name] = measures
            yield result


def evaluate_photos(
    folders: Sequence[Path], temperatures: Sequence[float], sample: SampleOptions
) -> Iterator[Colored]:
    """Measure automatic colours of photos by temperature, seed 0; all folders together."""
    photos = [_small(read_picture(path)) for folder in folders for path in find_pictures(folder)]
    result = Colored(", ".join(folder.name for folder in folders))
    backbone = Backbone(sees_colors=True)
    truth = [planes[1:] for planes in photos]
    true_features = _pooled(photos, truth, backbone)

    def note(name: str, answers: list[Chroma]) -> None:
        measures = _compared(photos, answers)
        measures["Fréchet"] = frechet(_pooled(photos, answers, backbone), true_features)
        result.rows[name] = measures

    note("truth", truth)
    note("grey", [np.zeros_like(chroma) for chroma in truth])
    for temperature in temperatures:
        answers = []
        for planes in photos:
            colorist = _colorist(planes, ColorOptions("auto", color_temperature=temperature), sample)
            chroma = _one(colorist, planes[0])
            answers.append(np.stack([resized(plane, planes.shape[1:]) for plane in chroma]))
        note(f"temperature {temperature:g}", answers)
        yield result


def photo_sheet(folders: Sequence[Path], count: int, sample: SampleOptions) -> NDArray[np.uint8]:
    """``count`` photos, RGB [H, W, 3]: each grey, at temperature 0, at 0.5 by two seeds, and as it was."""
    paths = [path for folder in folders for path in find_pictures(folder)]
    chosen = [paths[int(place * len(paths) / count)] for place in range(min(count, len(paths)))]
    rows = []
    for path in chosen:
        planes = _small(read_picture(path))
        cells = [_rgb(planes[0], np.zeros_like(planes[1:]))]
        for temperature, seed in ((0.0, 0), (0.5, 0), (0.5, 1)):
            options = ColorOptions("auto", color_seed=seed, color_temperature=temperature)
            chroma = _one(_colorist(planes, options, sample), planes[0])
            cells.append(_rgb(planes[0], np.stack([resized(plane, planes.shape[1:]) for plane in chroma])))
        cells.append(_rgb(planes[0], planes[1:]))
        rows.append(np.concatenate([_thumbnail(cell) for cell in cells], 1))
    half = -(-len(rows) // 2)
    rows += [np.full_like(rows[0], 255)] * (2 * half - len(rows))
    gap = np.full((rows[0].shape[0], SHEET // 8, 3), 255, np.uint8)
    return np.concatenate(
        [np.concatenate([one, gap, other], 1) for one, other in zip(rows[:half], rows[half:], strict=True)]
    )


def _thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a picture, SHEET pixels wide and three quarters of that high."""
    height, width = rgb.shape[:2]
    wide, high = min(width, height * 4 // 3), min(height, width * 3 // 4)
    top, left = (height - high) // 2, (width - wide) // 2
    middle = rgb[top : top + high, left : left + wide]
    return np.asarray(cv2.resize(middle, (SHEET, SHEET * 3 // 4), interpolation=cv2.INTER_AREA), np.uint8)


def _methods(
    first: NDArray[np.float32], stranger: NDArray[np.float32], temperature: float, sample: SampleOptions
) -> dict[str, Method]:
    """By name; all but the automatic one are told the ``first`` frame, [3, H, W]."""
    height, width = first.shape[1:]
    size = working_size(height, width)
    backbone = Backbone()
    known = Colors.of(first + np.array([0, 0.5, 0.5], np.float32)[:, None, None], backbone, size)
    mean = first[1:].mean((1, 2))
    half = height // 2, width // 2

    def grey(luma: NDArray[np.float32], number: int) -> Chroma:
        return np.zeros((2, *half), np.float32)

    def copied_mean(luma: NDArray[np.float32], number: int) -> Chroma:
        return np.broadcast_to(mean[:, None, None], (2, *half)).astype(np.float32)

    def attention(luma: NDArray[np.float32], number: int) -> Chroma:
        found = attend(View.of(luma, backbone, size).descriptors, [known.colored])[0, :2].numpy()
        return np.stack([cv2.resize(plane, half[::-1], interpolation=cv2.INTER_LINEAR) for plane in found])

    def flow(luma: NDArray[np.float32], number: int) -> Chroma:
        there = find_flow(matchable(resized(luma, size)), known.matchable)
        places = cv2.resize(grid(*size) + there, (size[1] // FINE, size[0] // FINE))
        places = (places + 0.5) / FINE - 0.5
        moved = [
            cv2.remap(plane, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for plane in known.chroma
        ]
        return np.stack([resized(plane, half) for plane in moved])

    def ours(
        options: ColorOptions, reference: NDArray[np.float32] | None = None, pts: int | None = None
    ) -> Method:
        colorist = _colorist(first, options, sample)
        if reference is not None:
            colorist.follow(reference + np.array([0, 0.5, 0.5], np.float32)[:, None, None], pts, pts)
        key = Key((first[:1],), 0)

        def method(luma: NDArray[np.float32], number: int) -> Chroma:
            return _colored(colorist, luma, number, key)

        return method

    told = ColorOptions("reference", (Reference(Path()),), color_temperature=temperature)
    auto = ColorOptions("auto", color_temperature=temperature)
    return {
        "grey": grey,
        "mean of the reference": copied_mean,
        "attention alone": attention,
        "flow alone": flow,
        "ours, by reference": ours(told, first, 0),
        AUTOMATIC: ours(auto),
        "ours, a wrong reference": ours(told, stranger),
    }


def _colorist(planes: NDArray[np.float32], options: ColorOptions, sample: SampleOptions) -> Colorist:
    """For pictures like ``planes`` [3, H, W], whose chroma is to come at half their size, amid luma."""
    _, height, width = planes.shape
    return Colorist(_info(height, width), replace(options, references=()), sample.device, sample.precision)


def _one(colorist: Colorist, luma: NDArray[np.float32]) -> Chroma:
    """A single picture, as its own key frame."""
    return _colored(colorist, luma, 0, Key((luma[None],), 0))


def _colored(colorist: Colorist, luma: NDArray[np.float32], number: int, key: Key) -> Chroma:
    frame = Frame((luma[None],), number, 1, Fraction(1, 25), key=key)
    return colorist(frame).planes[1] - np.float32(0.5)


def _info(height: int, width: int) -> VideoInfo:
    return VideoInfo(
        path=Path(),
        container="",
        width=width,
        height=height,
        pixels=PixelFormat(8, True, (2, 2)),
        pix_fmt="gray",
        is_rgb=False,
        has_alpha=False,
        color=Color(5, 2, 2),
        sample_aspect_ratio=None,
        time_base=Fraction(1, 25),
        average_rate=Fraction(25),
        steady_rate=Fraction(25),
        start=Fraction(0),
        duration=None,
        declared_frames=0,
        chroma_left=False,
    )


def measured(
    truth: Sequence[NDArray[np.float32]], answers: Sequence[Chroma], distance: dict[str, Distance]
) -> dict[str, float]:
    """What is measured of a film: of single frames, and of how they follow each other.

    The first frame, which was told, counts for the latter alone."""
    measures = _compared(truth[1:], answers[1:])
    histograms = [histogram(answer) for answer in answers]
    measures["CDC"] = float(
        np.mean(
            [
                divergence(one, other)
                for gap in GAPS
                for one, other in zip(histograms, histograms[gap:], strict=False)
            ]
        )
    )
    errors = [
        warping_error(*frames, *chroma)
        for frames, chroma in zip(pairwise(truth), pairwise(answers), strict=True)
    ]
    chroma, luma = np.mean(errors, 0)
    measures["warping"], measures["of luma"] = float(chroma), float(luma)
    for name, between in distance.items():
        places = range(LOOKED_AT, len(truth), LOOKED_AT)
        each = [between(_rgb(truth[i][0], answers[i]), _rgb(truth[i][0], truth[i][1:])) for i in places]
        measures[name] = float(np.mean(each))
    return measures


def _compared(truth: Sequence[NDArray[np.float32]], answers: Sequence[Chroma]) -> dict[str, float]:
    """PSNR of all together, colourfulness, and how much histograms of chroma overlap."""
    errors = [
        float(np.square(answer - planes[1:]).mean()) for planes, answer in zip(truth, answers, strict=True)
    ]
    overlap = [
        float(np.minimum(histogram(answer), histogram(planes[1:])).sum())
        for planes, answer in zip(truth, answers, strict=True)
    ]
    colourful = [
        colourfulness(_rgb(planes[0], answer)) for planes, answer in zip(truth, answers, strict=True)
    ]
    return {
        "PSNR": -10 * math.log10(max(float(np.mean(errors)), 1e-10)),
        "colourfulness": float(np.mean(colourful)),
        "overlap": float(np.mean(overlap)),
    }


def colourfulness(rgb: NDArray[np.uint8]) -> float:
    """Of a picture [H, W, 3], as people see it: Hasler and Süsstrunk, "Measuring colourfulness in natural
    images" (2003). 0 is grey; 33 moderately, 59 quite colourful."""
    red, green, blue = rgb.astype(np.float32).transpose(2, 0, 1)
    across, along = red - green, (red + green) / 2 - blue
    return float(np.hypot(across.std(), along.std()) + 0.3 * np.hypot(across.mean(), along.mean()))


def histogram(chroma: Chroma) -> NDArray[np.float64]:
    """Joint, over Cb and Cr from -0.25 to 0.25, with what lies beyond in the outermost bins; sums to 1."""
    inside = chroma.reshape(2, -1).clip(-0.2499, 0.2499)
    edges = np.linspace(-0.25, 0.25, HISTOGRAM + 1)
    counts, _, _ = np.histogram2d(inside[0], inside[1], bins=(edges, edges))
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def divergence(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The Jensen-Shannon divergence of two histograms, in nats: 0 for the same, log 2 for disjoint ones."""
    middle = (one + other) / 2

    def towards(part: NDArray[np.float64]) -> float:
        seen = part > 0
        return float((part[seen] * np.log(part[seen] / middle[seen])).sum())

    return (towards(one) + towards(other)) / 2


def warping_error(
    before: NDArray[np.float32], after: NDArray[np.float32], then: Chroma, now: Chroma
) -> tuple[float, float]:
    """How much chroma, and luma, change along the flow from a frame to the next: mean distance in 8-bit
    levels, where the flow can be trusted. ``before`` and ``after`` are the true planes."""
    seen, key = matchable(after[0]), matchable(before[0])
    height, width = seen.shape
    trust = move(seen, key, np.zeros((2, height // FINE, width // FINE), np.float32))[2]
    trusted = resized(trust, (height, width)) > TRUSTED
    places = grid(height, width) + find_flow(seen, key)
    moved = [
        cv2.remap(plane, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for plane in (*then, before[0])
    ]
    if not trusted.any():
        return 0.0, 0.0
    chroma = np.hypot(moved[0] - now[0], moved[1] - now[1])[trusted]
    return 255 * float(chroma.mean()), 255 * float(np.abs(moved[2] - after[0])[trusted].mean())


def frechet(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """A distance like FID between features [pictures, C] of two sets, with covariances taken as diagonal:
    there are too few pictures for more. Comparable within one table only."""
    means = np.square(one.mean(0) - other.mean(0)).sum()
    return float(means + np.square(one.std(0) - other.std(0)).sum())


def _pooled(
    photos: Sequence[NDArray[np.float32]], answers: Sequence[Chroma], backbone: Backbone
) -> NDArray[np.float64]:
    """Features of coloured pictures, the mean over each, [pictures, C]."""
    rows = []
    for planes, chroma in zip(photos, answers, strict=True):
        rgb = torch.from_numpy(_rgb(planes[0], chroma)).permute(2, 0, 1)[None].float() / 255
        size = working_size(*planes.shape[1:])
        rgb = torch.nn.functional.interpolate(rgb, size=size, mode="bilinear", antialias=True)
        levels = backbone(rgb).levels
        rows.append(torch.cat([level.mean((2, 3)) for level in levels[2:]], 1)[0].double().numpy())
    return np.stack(rows)


def _read(path: Path, frames: int) -> list[NDArray[np.float32]]:
    """The first frames of a film, [3, H, W] with chroma around 0, its sides even and of one size."""
    clip = []
    with Source(path) as source:
        for frame in islice(source.frames(), frames):
            luma, size = frame.planes[0], frame.planes[0].shape[1:]
            neutral = np.full((2, *size), 0.5, np.float32)
            chroma = frame.planes[1] if len(frame.planes) > 1 else neutral
            whole = np.stack([luma[0], *(resized(plane, size) for plane in chroma)])
            clip.append(_small(whole))
    return clip


def _small(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """[3, H, W] with chroma around 0, LARGEST columns at most, and even sides."""
    _, height, width = picture.shape
    factor = min(1.0, LARGEST / max(height, width))
    size = round(height * factor / 2) * 2, round(width * factor / 2) * 2
    return np.stack(
        [resized(plane - np.float32(0.5 * (place > 0)), size) for place, plane in enumerate(picture)]
    )


def _rgb(luma: NDArray[np.float32], chroma: Chroma) -> NDArray[np.uint8]:
    return to_rgb(np.stack([luma, *(chroma + np.float32(0.5))]))


def markdown(results: Sequence[Colored]) -> str:
    """A table for each film, and one with their means."""
    tables = [*results]
    comparable = [result for result in results if "truth" in result.rows]
    if len(comparable) > 1:
        means = Colored("mean")
        for method, measures in comparable[0].rows.items():
            means.rows[method] = {
                name: float(np.mean([result.rows[method][name] for result in comparable]))
                for name in measures
            }
        tables.append(means)
    lines = []
    for table in tables:
        names = list(next(iter(table.rows.values())))
        lines += [f"| {table.name} | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
        for method, measures in table.rows.items():
            cells = [_shown(name, measures[name]) for name in names]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _shown(name: str, value: float) -> str:
    if name == "PSNR" and value > 90:
        return ""
    return f"{value:.4f}" if name in ("CDC", "Fréchet") else f"{value:.2f}"
