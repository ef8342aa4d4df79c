"""Quality on clips: degraded by a preset, restored by the command's own path, and measured against the
truth.

    clip -> a clean size -> truth -> degrade -> old.mkv -> each method -> restored.mkv -> measures

Every method reads the same file and writes a lossless one, which is what is measured.
"""

import itertools
import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from upscale.errors import UpscaleError, UsageError
from upscale.lab.degrade import CLEAN, FRAME_RATE, PRESETS, Preset, degraded, draw
from upscale.lab.metrics import psnr, ssim
from upscale.lab.perceptual import Distance, distances
from upscale.lab.scenes import Stock, scene
from upscale.media.frame import Frame
from upscale.media.info import VideoInfo
from upscale.media.picture import SUFFIXES, lanczos, read_picture, to_rgb
from upscale.media.read.source import Source
from upscale.media.write.destination import destination
from upscale.media.write.encoder import EncodeOptions, settle
from upscale.media.write.writer import Writer
from upscale.motion.flow import find_flow, matchable
from upscale.motion.window import windowed
from upscale.pipeline import Job, prepared, run
from upscale.planes import WINDOW, Planes
from upscale.sampling.options import SampleOptions
from upscale.sampling.upscaler import Upscaler

LARGEST = 540
"""Lines of the truth at most."""

CLEANER = 0.75
"""Clips are made this much smaller first, to be rid of what their own encoder did."""

STILL = 1.5 / 255
"""Change of the blurred truth from one frame to the next below which a place stands still."""

NLM_STRENGTH = 5.0
"""Filter strength of OpenCV's non-local means, in 8-bit levels, in the untrained chain that we compare
with."""

PHOTO_SIDE, PHOTO_FRAMES = 640, 50
"""Size of the clip that a photo becomes, and its length where that is not said."""

PERCEPTUAL_FRAMES = 2
"""Frames of a clip that the perceptual distance sees; it takes seconds for each."""

SEEDS_APART = 1000

LOSSLESS = EncodeOptions(codec="ffv1")

Plane = NDArray[np.float32]

Method = Callable[[Path, Path, int], None]
"""(old film, restored film, scale): writes the second."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One clip through one preset by one method; the measures by name."""

    clip: str
    preset: str
    method: str
    measures: dict[str, float]


@dataclass(slots=True)
class Results:
    """All trials so far."""

    scale: int
    trials: list[Trial] = field(default_factory=list)

    def mean(self, method: str, measure: str, **where: str) -> float:
        """The mean over the trials of a method (of one clip, or preset); NaN where it was never
        measured."""
        values = [
            trial.measures[measure]
            for trial in self.trials
            if trial.method == method
            and measure in trial.measures
            and all(getattr(trial, name) == value for name, value in where.items())
        ]
        return sum(values) / len(values) if values else math.nan


def evaluate_clips(
    clips: Iterable[Path],
    presets: Iterable[str],
    scale: int,
    frames: int,
    temperatures: tuple[float, ...],
    perceptual: tuple[str, ...],
    sample: SampleOptions,
    seed: int = 0,
) -> Iterator[Results]:
    """Measure every clip, or photo in motion, through every preset (and ``clean``, which is made small and
    nothing else).

    PSNR and SSIM are of luma, VMAF by libvmaf; flicker is the mean change in 8-bit levels, beyond that of
    the blurred truth, where that stands still; tOF the mean error of the optical flow in pixels (Chu et
    al., "TecoGAN", 2020, https://arxiv.org/abs/1811.09393). Yields after each trial. Raises UpscaleError.
    """
    measures = distances(perceptual)
    results = Results(scale)
    methods = all_methods(temperatures, sample)
    for number, (clip, name) in enumerate(itertools.product(clips, presets)):
        preset = find_preset(name)
        which = seed * SEEDS_APART + number  # another recipe for every clip
        with tempfile.TemporaryDirectory() as folder:
            old, true = Path(folder) / "old.mkv", Path(folder) / "true.mkv"
            degrade_clip(clip, old, preset, scale, which, truth=true, frames=frames, clean_size=True)
            for method, restore in methods.items():
                restored = Path(folder) / "restored.mkv"
                restore(old, restored, scale)
                trial = Trial(clip.stem, name, method, measured(restored, true, measures))
                results.trials.append(trial)
                yield results


def find_preset(name: str) -> Preset:
    """Raises UsageError for a preset that there is not."""
    known = PRESETS | {"clean": CLEAN}
    if name not in known:
        raise UsageError(f"no preset is called {name!r}; there are {', '.join(known)}")
    return known[name]


def degrade_clip(
    clip: Path,
    old: Path,
    preset: Preset,
    scale: int,
    seed: int,
    truth: Path | None = None,
    frames: int | None = None,
    clean_size: bool = False,
    overwrite: bool = False,
) -> None:
    """Make an old film of a new one, or of a photo in motion: lossless, ``scale`` times smaller, every
    frame at its time, without sound.

    ``truth`` is where to put what a restoration should come to. Raises UpscaleError.
    """
    for path in (old, truth):
        if path is not None and path.exists() and not overwrite:
            raise UpscaleError(f"{path}: exists; use -y to overwrite it")
    recipe = draw(preset, np.random.default_rng(seed))
    with Source(clip) as source:
        shown: Iterable[Frame] = itertools.islice(source.frames(), frames)
        if clip.suffix.lower() in SUFFIXES:
            shown = _in_motion(clip, frames or PHOTO_FRAMES, seed)
        times: list[Frame] = []

        def pictures() -> Iterator[Planes]:
            for frame in shown:
                times.append(replace(frame, planes=(), extras=None))
                yield _sized(frame.planes, source.info, scale, clean_size)

        aged = degraded(pictures(), recipe, scale, seed)
        first = next(aged)
        writers = [_lossless(old, source.info, first.picture)]
        if truth is not None:
            writers.append(_lossless(truth, source.info, first.truth))
        with writers[0], writers[-1]:
            for number, one in enumerate(itertools.chain([first], aged)):
                for writer, planes in zip(writers, (one.picture, one.truth), strict=False):
                    writer.write(writer.picture(replace(times[number], planes=planes)))


def _in_motion(photo: Path, frames: int, seed: int) -> Iterator[Frame]:
    """A photo under a moving camera, as a clip of so many ``frames``."""
    picture = np.round(read_picture(photo) * 255).clip(0, 255).astype(np.uint8)
    side = min(PHOTO_SIDE, *picture.shape[1:])
    clip = scene(Stock([picture]), side, frames, np.random.default_rng(seed))
    return (Frame(planes, number, 1, Fraction(1, FRAME_RATE)) for number, planes in enumerate(clip))


def _sized(planes: Planes, info: VideoInfo, scale: int, clean: bool) -> Planes:
    """Cut to a multiple of what degrading asks for; before that, if it is to be clean, made smaller."""
    luma, chroma = planes[0][0], planes[1] if len(planes) > 1 else None
    height, width = luma.shape
    if clean:
        ratio = min(CLEANER, LARGEST / height)
        height, width = round(height * ratio), round(width * ratio)
        luma = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)
    if chroma is not None:
        chroma = np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in chroma])
    step = 2 * scale
    if min(height, width) < 8 * step:
        raise UpscaleError(f"{info.path}: {info.width}x{info.height} is too small to be made smaller")
    luma = luma[np.newaxis, : height // step * step, : width // step * step]
    return (luma,) if chroma is None else (luma, chroma[:, : luma.shape[1], : luma.shape[2]])


def _lossless(path: Path, info: VideoInfo, planes: Planes) -> Writer:
    height, width = planes[0].shape[1:]
    layout = None
    if len(planes) > 1:
        layout = (width // planes[1].shape[2], height // planes[1].shape[1])
    pixels = replace(info.pixels, bits=8, full_range=False, subsampling=layout)
    info = replace(info, width=width, height=height, pixels=pixels, is_rgb=False)
    container = destination(path)
    return Writer(container, info, (width, height), settle(info, LOSSLESS, "ffv1", container.container))


def all_methods(temperatures: tuple[float, ...], sample: SampleOptions) -> dict[str, Method]:
    """What is compared, by name: what people have, what needs no training, and ours."""
    methods: dict[str, Method] = {"Lanczos": _lanczos}
    if shutil.which(_ffmpeg() or ""):
        methods["hqdn3d + Lanczos"] = _hqdn3d
    methods["clean model"] = _command(replace(sample, model="clean", temperature=0.0))
    methods["merge + NLM + clean model"] = _untrained
    methods["film, one frame"] = _one_frame
    for temperature in temperatures:
        chosen = replace(sample, model="film", temperature=temperature)
        methods[f"film, temperature {temperature:g}"] = _command(chosen)
    return methods


def _command(sample: SampleOptions) -> Method:
    """What the command does."""

    def restore(old: Path, restored: Path, scale: int) -> None:
        job = Job(old, restored, float(scale), overwrite=True, sample=sample, encode=LOSSLESS)
        with prepared(job) as plan:
            run(plan)

    return restore


def _each(
    old: Path, restored: Path, scale: int, stage: Callable[[Iterator[Planes], VideoInfo], Iterator[Planes]]
) -> None:
    """Take every frame through a stage that makes it larger, and write it at its time."""
    restored.unlink(missing_ok=True)
    with Source(old) as source:
        frames = list(source.frames())
        answers = stage((frame.planes for frame in frames), source.info)
        first = next(answers)
        with _lossless(restored, source.info, first) as writer:
            for frame, planes in zip(frames, itertools.chain([first], answers), strict=True):
                writer.write(writer.picture(replace(frame, planes=planes, extras=None)))


def _lanczos(old: Path, restored: Path, scale: int) -> None:
    def enlarge(pictures: Iterator[Planes], info: VideoInfo) -> Iterator[Planes]:
        for planes in pictures:
            yield tuple(
                np.stack([lanczos(p, (p.shape[0] * scale, p.shape[1] * scale)) for p in plane])
                for plane in planes
            )

    _each(old, restored, scale, enlarge)


def _hqdn3d(old: Path, restored: Path, scale: int) -> None:
    chain = f"hqdn3d,scale=iw*{scale}:ih*{scale}:flags=lanczos"
    command = [_ffmpeg() or "", "-y", "-v", "error", "-i", f"file:{old}", "-vf", chain, "-c:v", "ffv1"]
    done = subprocess.run([*command, f"file:{restored}"], capture_output=True, text=True)
    if done.returncode:
        raise UpscaleError(f"ffmpeg failed: {done.stderr.strip()}")


def _untrained(old: Path, restored: Path, scale: int) -> None:
    """Neighbours merged, non-local means (Buades, Coll, Morel 2005), the clean model at temperature 0."""

    def enlarge(pictures: Iterator[Planes], info: VideoInfo) -> Iterator[Planes]:
        model = _model("clean", info, scale)
        for planes in windowed(pictures):
            merge = np.round(planes[0][WINDOW.index("merge")].clip(0, 1) * 255).astype(np.uint8)
            calm = cv2.fastNlMeansDenoising(merge, None, NLM_STRENGTH, 7, 21)
            yield model((np.float32(1 / 255) * calm[np.newaxis], *planes[1:]))

    _each(old, restored, scale, enlarge)


def _one_frame(old: Path, restored: Path, scale: int) -> None:
    """The film model, when a frame's neighbours are kept from it."""

    def enlarge(pictures: Iterator[Planes], info: VideoInfo) -> Iterator[Planes]:
        model = _model("film", info, scale)
        for planes in windowed(pictures, radius=0):
            yield model(planes)

    _each(old, restored, scale, enlarge)


def _model(name: str, info: VideoInfo, scale: int) -> Upscaler:
    size, target = (info.height, info.width), (info.height * scale, info.width * scale)
    options = SampleOptions(model=name, temperature=0.0)
    return Upscaler(size, target, info.pixels.subsampling, info.chroma_left, options)


def measured(restored: Path, truth: Path, perceptual: dict[str, Distance]) -> dict[str, float]:
    """All measures of a restored film against the truth."""
    pairs = list(zip(_films(restored), _films(truth), strict=True))
    values: dict[str, list[float]] = {"PSNR-Y": [], "SSIM": []}
    for answer, true in pairs:
        one, other = (torch.from_numpy(planes[0][None].clip(0, 1)) for planes in (answer, true))
        values["PSNR-Y"].append(psnr(one, other))
        values["SSIM"].append(ssim(one, other))
    for (before, true_before), (after, true_after) in itertools.pairwise(pairs):
        moved = cv2.blur(true_after[0][0] - true_before[0][0], (5, 5))
        still = (np.abs(moved) < STILL)[4:-4, 4:-4]
        if still.mean() > 0.02:
            change = np.abs(after[0][0] - before[0][0] - moved)[4:-4, 4:-4]
            values.setdefault("flicker", []).append(float(change[still].mean()) * 255)
        seen, known = (
            find_flow(matchable(a[0][0]), matchable(b[0][0]))
            for a, b in ((before, after), (true_before, true_after))
        )
        values.setdefault("tOF", []).append(float(np.abs(seen - known).sum(2).mean()))
    for number in range(0, len(pairs), max(len(pairs) // PERCEPTUAL_FRAMES, 1)) if perceptual else ():
        pictures = [_rgb(planes) for planes in pairs[number]]
        for name, distance in perceptual.items():
            values.setdefault(name, []).append(distance(pictures[0], pictures[1]))
    means = {name: sum(each) / len(each) for name, each in values.items()}
    vmaf = _vmaf(restored, truth)
    return means if vmaf is None else {**means, "VMAF": vmaf}


def _films(path: Path) -> list[Planes]:
    with Source(path) as source:
        return [frame.planes for frame in source.frames()]


def _rgb(planes: Planes) -> NDArray[np.uint8]:
    """The middle of a picture, grey where it has no colours."""
    luma = planes[0][0]
    height, width = luma.shape
    chroma = np.full((2, height, width), 0.5, np.float32)
    if len(planes) > 1:
        chroma = np.stack(
            [cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in planes[1]]
        )
    top, left = max(height - 384, 0) // 2, max(width - 384, 0) // 2
    return to_rgb(np.concatenate([luma[None], chroma])[:, top : top + 384, left : left + 384])


def _ffmpeg() -> str | None:
    """FFmpeg's own command, with libvmaf in it; None where the extra is not installed."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        return None
    return str(get_ffmpeg_exe())


def _vmaf(restored: Path, truth: Path) -> float | None:
    """VMAF of luma, by Netflix's default model (https://github.com/Netflix/vmaf)."""
    command = _ffmpeg()
    if command is None:
        return None
    log = restored.with_suffix(".json")
    chain = f"[0:v]format=yuv420p[a];[1:v]format=yuv420p[b];[a][b]libvmaf=log_fmt=json:log_path={log.name}"
    arguments = ["-v", "error", "-i", str(restored), "-i", str(truth), "-lavfi", chain, "-f", "null", "-"]
    done = subprocess.run([command, *arguments], cwd=log.parent, capture_output=True, text=True)
    if done.returncode:
        raise UpscaleError(f"libvmaf failed: {done.stderr.strip()}")
    return float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])


ORDER = {
    "PSNR-Y": ".2f",
    "SSIM": ".4f",
    "VMAF": ".1f",
    "ST-LPIPS": ".3f",
    "SSIMULACRA2": ".1f",
    "flicker": ".2f",
    "tOF": ".3f",
}
"""The measures in the order of a table, and how each is written."""


def markdown(results: Results) -> str:
    """The means over all clips and presets, then PSNR-Y by preset, then by clip."""
    methods = list(dict.fromkeys(trial.method for trial in results.trials))
    names = [name for name in ORDER if any(name in trial.measures for trial in results.trials)]
    clips, presets = (
        list(dict.fromkeys(getattr(t, what) for t in results.trials)) for what in ("clip", "preset")
    )
    tables = [
        _table(
            f"x{results.scale}, {len(clips)} clips, {len(presets)} presets",
            {m: {name: f"{results.mean(m, name):{ORDER[name]}}" for name in names} for m in methods},
        )
    ]
    for what, values in (("preset", presets), ("clip", clips)):
        rows = {m: {v: f"{results.mean(m, 'PSNR-Y', **{what: v}):.2f}" for v in values} for m in methods}
        tables.append(_table(f"PSNR-Y by {what}", rows))
    return "\n\n".join(tables)


def _table(title: str, rows: dict[str, dict[str, str]]) -> str:
    columns = list(next(iter(rows.values())))
    lines = [f"| {title} | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    return "\n".join(
        [*lines, *(f"| {name} | " + " | ".join(row.values()) + " |" for name, row in rows.items())]
    )
