"""How well the window restores by itself: its planes against the clean picture, at the input's own size.

    clip -> smaller -> grain, exposure, an encoder -> window -> merge, against the clean small frame
                    -> grain, specks and hairs      -> window -> centre, likewise
                    -> as it is, or made old        -> is it clean?

No network takes part, so that alignment, the look for dirt and the judgement are measured alone.
"""

import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from upscale.errors import UpscaleError
from upscale.lab.dataset import FILMS
from upscale.lab.degrade import CLEAN, MEASURED, Preset, degraded, draw, draw_hair, draw_speck
from upscale.media.read.source import Source
from upscale.motion.dirt import AUTO
from upscale.motion.findings import Findings
from upscale.motion.window import NEAR, Seen, judge, windowed
from upscale.planes import WINDOW, Planes


def _grainy(grain: float, crf: float) -> Preset:
    # Of x264's presets, ultrafast alone lets grain through, as the high bit rates of discs and scans do;
    # what the others make of it is alike in all frames, and no neighbour knows better.
    encoder = ("libx264:ultrafast", crf, crf)
    return Preset(("area",), flicker=(0.012, 0.012), grain=(grain, grain), encoders=(encoder,))


STRENGTHS = {"light": _grainy(3, 20), "middle": _grainy(6, 24), "heavy": _grainy(12, 30)}
"""How clips are made old."""

CONDITIONS = (
    {
        "made small alone": CLEAN,
        "and through x264 at crf 12 to 18": Preset(encoders=(("libx264:medium", 12, 18),)),
        "and through x264 at crf 26 to 31": Preset(encoders=(("libx264:medium", 26, 31),)),
        "with grain of 1": Preset(grain=(1, 1)),
    }
    | STRENGTHS
    | MEASURED
)
"""As what clips are judged."""

GRAINY = Preset(("area",), grain=(3, 3))
"""What specks and hairs are drawn on."""

SPECKS_FOR, HAIRS = 4000, 1
"""Pixels of a frame for each speck, and hairs of every frame."""

STAINED = 12 / 255
"""Difference from the clean frame from which a place counts as dirty."""

LINES = 100
"""Clips are made 4 times smaller, or 2 times where less than this many lines would be left."""

BORDER = 8
"""Pixels on each side that are not measured."""

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trial:
    """One clip at one strength."""

    clip: str
    strength: str
    psnr: dict[str, float]
    """Plane of the window -> dB, the mean over the frames."""
    milliseconds: float
    """For a frame's window."""
    pixels: int
    """Of a frame."""

    @property
    def gain(self) -> float:
        """Of the merge over the frame, in dB."""
        return self.psnr["merge"] - self.psnr["centre"]


@dataclass(frozen=True, slots=True)
class Cleaning:
    """One clip with specks and hairs, and the same without."""

    clip: str
    left: float
    """Share of the dirt, pixels weighed by how dirty they were, that is left."""
    lost: float
    """What the clip without dirt loses by being looked at, in dB of PSNR, above 0."""
    taken: float
    """Share of its pixels that are taken for dirt."""


@dataclass(slots=True)
class Results:
    """All trials so far."""

    trials: list[Trial] = field(default_factory=list)
    cleanings: list[Cleaning] = field(default_factory=list)
    judged: dict[str, list[bool]] = field(default_factory=dict)
    """Of ``CONDITIONS``: for each clip whether it is found clean."""

    def of(self, strength: str) -> list[Trial]:
        """Those at one strength; all for an empty one."""
        return [trial for trial in self.trials if strength in ("", trial.strength)]


def clips_in(paths: Iterable[Path]) -> list[Path]:
    """The films among ``paths``, and those in the folders among them.

    Raises UpscaleError for a folder without any."""
    found = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in FILMS)
        if not inside:
            raise UpscaleError(f"{path}: no films in it")
        found += inside
    return found


def evaluate_window(clips: Iterable[Path], frames: int, seed: int = 0) -> Iterator[Results]:
    """Measure the window on the first ``frames`` of every clip, at every strength and with dirt; yields
    after each trial.

    PSNR is of luma, without the mean difference of a frame, as nobody asked for another exposure. Raises
    UpscaleError."""
    results = Results()
    for number, clip in enumerate(clips):
        scale, colored = _pictures(clip, frames)
        for condition, preset in CONDITIONS.items():
            seed_of = (seed, number)
            recipe = draw(preset, np.random.default_rng(seed_of))
            seen = [Seen.of(one.picture) for one in degraded(colored[: 1 + NEAR], recipe, scale, seed_of)]
            results.judged.setdefault(condition, []).append(judge(seen[0], list(enumerate(seen))[1:]))
        shown: list[Planes] = [planes[:1] for planes in colored]
        for strength, preset in STRENGTHS.items():
            which = (seed, number)
            recipe = draw(preset, np.random.default_rng(which))
            aged = list(degraded(shown, recipe, scale, which))
            found = _measured([one.picture for one in aged], [one.small[0][0] for one in aged])
            results.trials.append(Trial(clip.stem, strength, *found, aged[0].small[0][0].size))
            yield results
        if len(shown) <= 2 * NEAR:  # no frame has two neighbours on each side
            continue
        random = np.random.default_rng(which)
        aged = list(degraded(shown, draw(GRAINY, random), scale, which))
        found_dirt = _cleaned([one.picture for one in aged], [one.small[0][0] for one in aged], random)
        results.cleanings.append(Cleaning(clip.stem, *found_dirt))


def _pictures(clip: Path, frames: int) -> tuple[int, list[Planes]]:
    """How much smaller a clip is to be made, and its frames, cut to what that divides."""
    with Source(clip) as source:
        info = source.info
        scale = 4 if min(info.width, info.height) >= 4 * LINES else 2
        step = 2 * scale
        height, width = info.height // step * step, info.width // step * step
        if min(height, width) < 16 * scale:
            raise UpscaleError(f"{clip}: {info.width}x{info.height} is too small to be made smaller")
        across, down = info.pixels.subsampling or (1, 1)
        parts = ((height, width), (height // down, width // across))
        films = itertools.islice(source.frames(), frames)
        return scale, [
            tuple(plane[:, :high, :wide] for plane, (high, wide) in zip(frame.planes, parts, strict=False))
            for frame in films
        ]


def _measured(pictures: Sequence[Planes], clean: Sequence[Plane]) -> tuple[dict[str, float], float]:
    """PSNR of what the window makes of a clip, by plane, and how many milliseconds a frame of it took."""
    began = time.perf_counter()
    windows = [planes[0] for planes in windowed(pictures)]
    taken = (time.perf_counter() - began) / len(windows) * 1e3
    psnr = {
        name: fmean(
            _psnr(planes[WINDOW.index(name)], true) for planes, true in zip(windows, clean, strict=True)
        )
        for name in ("centre", "merge")
    }
    return psnr, taken


def _cleaned(
    pictures: Sequence[Planes], clean: Sequence[Plane], random: np.random.Generator
) -> tuple[float, float, float]:
    """What a ``Cleaning`` tells, of the frames that have two neighbours on each side."""
    inner = slice(NEAR, len(pictures) - NEAR)
    dirty = [(_stained(planes[0][0], random)[np.newaxis],) for planes in pictures]
    before = after = 0.0
    for old, planes, true in list(zip(dirty, windowed(dirty, dirt=AUTO), clean, strict=True))[inner]:
        stained = np.abs(old[0][0] - true) > STAINED
        before += float(np.abs(old[0][0] - true)[stained].sum())
        after += float(np.abs(planes[0][0] - true)[stained].sum())
    found = Findings()
    answers = [planes[0][0] for planes in windowed(pictures, dirt=AUTO, found=found)]
    psnr = [
        fmean(_psnr(one, true) for one, true in list(zip(shown, clean, strict=True))[inner])
        for shown in ([planes[0][0] for planes in pictures], answers)
    ]
    return after / max(before, 1e-9), psnr[0] - psnr[1], found.dirt.share


def _stained(luma: Plane, random: np.random.Generator) -> Plane:
    stained = luma.copy()
    for _ in range(max(luma.size // SPECKS_FOR, 1)):
        draw_speck(stained, random)
    for _ in range(HAIRS):
        draw_hair(stained, random)
    return stained


def _psnr(answer: Plane, true: Plane) -> float:
    error = (answer - true)[BORDER:-BORDER, BORDER:-BORDER]
    return -10 * math.log10(float(np.square(error - error.mean()).mean(dtype=np.float64)) + 1e-12)


def _left(one: Cleaning) -> float:
    return one.left


def _lost(one: Cleaning) -> float:
    return one.lost


def _dirt_table(cleanings: Sequence[Cleaning]) -> list[str]:
    if not cleanings:
        return []
    worst_left, worst_lost = (max(cleanings, key=key) for key in (_left, _lost))
    left, lost = (fmean(map(key, cleanings)) for key in (_left, _lost))
    return [
        "",
        "| dirt | mean | worst | of |",
        "| --- | --- | --- | --- |",
        f"| left | {left:.0%} | {worst_left.left:.0%} | {worst_left.clip} |",
        f"| lost without any, dB | {lost:.2f} | {worst_lost.lost:.2f} | {worst_lost.clip} |",
        f"| pixels taken for it without any | {fmean(one.taken for one in cleanings):.3%} | | |",
    ]


def markdown(results: Results) -> str:
    """Means by strength, and by clip."""
    lines = [
        f"| {len({trial.clip for trial in results.trials})} clips | frame, dB | merge, dB | gain | least "
        "| of | ms a megapixel |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for strength in (*STRENGTHS, ""):
        trials = results.of(strength)
        if not trials:
            continue
        worst = min(trials, key=lambda trial: trial.gain)
        frame, merge = (fmean(trial.psnr[name] for trial in trials) for name in ("centre", "merge"))
        pace = sum(trial.milliseconds for trial in trials) / sum(trial.pixels for trial in trials) * 1e6
        lines.append(
            f"| {strength or 'all'} | {frame:.2f} | {merge:.2f} | {merge - frame:+.2f} | {worst.gain:+.2f} "
            f"| {worst.clip} | {pace:.0f} |"
        )
    lines += _dirt_table(results.cleanings)
    lines += ["", "| found clean | clips |", "| --- | --- |"]
    lines += [f"| {name} | {fmean(told):.0%} |" for name, told in results.judged.items()]
    names = " | ".join(STRENGTHS)
    lines += ["", f"| gain of the merge, dB | {names} |", "| --- |" + " --- |" * len(STRENGTHS)]
    for clip in dict.fromkeys(trial.clip for trial in results.trials):
        gains = {trial.strength: trial.gain for trial in results.trials if trial.clip == clip}
        lines.append(f"| {clip} | " + " | ".join(f"{gains[name]:+.2f}" for name in gains) + " |")
    return "\n".join(lines)
