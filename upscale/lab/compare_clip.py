"""A clip that compares films: side by side, with a line that moves between two, or in turns.

films -> the frames shown at each time of the last film -> one picture of each -> one picture -> Writer
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from upscale.errors import UpscaleError, UsageError
from upscale.lab.compare import WHOLE, Crop, View, beside, check_output
from upscale.lab.labels import draw_label, labels_for
from upscale.look.timing import Shown, timed
from upscale.media.frame import Frame
from upscale.media.hdr import NO_HDR
from upscale.media.info import VideoInfo
from upscale.media.pipe import is_piped
from upscale.media.pixels import PixelFormat, guessed_matrix
from upscale.media.read.source import Source
from upscale.media.rgb import Rgb, is_turned
from upscale.media.write.destination import destination
from upscale.media.write.encoder import EXACT, EncodeOptions, Encoder, default_codec, settle
from upscale.media.write.writer import Writer
from upscale.pipeline import Step

PERIOD = Fraction(4)
"""Seconds in which the line of a wipe moves across the picture and back."""

LINES_ACROSS = 400
"""How many half widths of that line fit into the picture."""

PIXELS = PixelFormat(8, False, (2, 2))
"""Of the clip: every player knows it."""


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """How films are compared."""

    crop: Crop = WHOLE
    interpolation: str = "BICUBIC"
    labels: tuple[str, ...] = ()
    """One for each input; none for the names of the files."""
    layout: str = "side"
    """``side``, ``wipe`` or ``flicker``."""
    every: Fraction = Fraction(1, 2)
    """Seconds for which ``flicker`` shows each input."""
    start: Fraction | None = None
    duration: Fraction | None = None
    """In seconds from the first picture of each film; None for the whole film."""
    overwrite: bool = False


def compare_clip(
    inputs: Sequence[Path],
    output: Path,
    options: ClipOptions,
    on_frame: Callable[[Step], None] = lambda step: None,
) -> list[str]:
    """Write a clip without sound that shows the ``inputs`` at the same times, those of the last one.

    ``on_frame`` is told how far it is after each frame. Answers with what there is to tell of it.
    Raises UpscaleError or UsageError.
    """
    _check(inputs, options)
    check_output(inputs, output, options.overwrite)
    target = destination(output)
    labels = labels_for(inputs, options.labels)
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(Source(path)) for path in inputs]
        view = View.of([source.info for source in sources], options.crop, options.interpolation)
        frames = _frames(sources, view, labels, options)
        first = next(frames, None)
        if first is None:
            raise UpscaleError(f"{inputs[-1]}: there is no frame in that part of it")
        height, width = first[1].shape[:2]
        info = _described(sources[-1].info, view, width, height)
        codec = default_codec(target.container, output.suffix)
        encoder = settle(info, EncodeOptions(), codec, target.container)
        encoder.check((width, height))
        with Writer(target, info, (width, height), encoder) as writer:
            for number, (frame, rgb) in enumerate(itertools.chain([first], frames), 1):
                writer.write(_picture(rgb, frame, encoder))
                on_frame(Step(number, float(frame.pts * frame.time_base), ""))
        lost = [
            f"{source.path} is damaged: {source.losses.frames or 'some'} frames could not be read"
            for source in sources
            if source.losses.frames or source.losses.reasons
        ]
        return [*encoder.notes, *writer.notes, *lost]


def line_at(time: Fraction, width: int) -> int:
    """The column of a wipe's line, ``time`` seconds after the first frame: from the middle to the right,
    then to the left and back."""
    phase = (time / PERIOD + Fraction(1, 4)) % 1
    return round(width * (1 - abs(1 - 2 * phase)))


def turn_at(time: Fraction, every: Fraction, count: int) -> int:
    """Which of ``count`` inputs a flicker shows ``time`` seconds after the first frame."""
    return math.floor(time / every) % count


def _check(inputs: Sequence[Path], options: ClipOptions) -> None:
    """What is wrong whatever the films are."""
    if len(inputs) < 2:
        raise UsageError("one film alone cannot be compared; give two inputs or more, then OUTPUT")
    if any(map(is_piped, inputs)):
        raise UsageError("a pipe cannot be compared; give every input the name of a file")
    if options.layout == "wipe" and len(inputs) > 2:
        raise UsageError(f"a wipe shows two films, not {len(inputs)}; take --as side or --as flicker")
    if options.every <= 0:
        raise UsageError("--every 0 shows nothing; give it a time such as 0.5")


def _frames(
    sources: Sequence[Source], view: View, labels: Sequence[str], options: ClipOptions
) -> Iterator[tuple[Frame, Rgb]]:
    """The frames of the last film, without their planes, each with the picture of the clip at its time."""

    def showing(number: int) -> Callable[[Frame], Rgb]:
        def show(frame: Frame) -> Rgb:
            rgb = view.show(frame.planes, sources[number].info)
            draw_label(rgb, labels[number], right=options.layout == "wipe" and number == 1)
            return rgb

        return show

    show_last = showing(len(sources) - 1)
    others: list[Shown] = []
    since = Fraction(0)
    for at, frame in timed(sources[-1], options.start, options.duration):
        if not others:
            since = at
            others = [Shown(source, at, showing(number)) for number, source in enumerate(sources[:-1])]
        shown = [functools.partial(other.at, at) for other in others]
        shown.append(functools.partial(show_last, frame))
        yield replace(frame, planes=()), _even(_composed(shown, at - since, options))


def _composed(shown: Sequence[Callable[[], Rgb]], time: Fraction, options: ClipOptions) -> Rgb:
    """A picture of the clip, ``time`` seconds after its first; ``shown`` gives that of each input."""
    if options.layout == "flicker":
        return shown[turn_at(time, options.every, len(shown))]()
    pictures = [picture() for picture in shown]
    if options.layout == "side":
        return beside(pictures)
    left, right = pictures
    line = line_at(time, left.shape[1])
    wiped = np.concatenate([left[:, :line], right[:, line:]], axis=1)
    half = max(1, left.shape[1] // LINES_ACROSS)
    wiped[:, max(line - half - 1, 0) : line + half + 1] = 0
    wiped[:, max(line - half, 0) : line + half] = 255
    return wiped


def _even(rgb: Rgb) -> Rgb:
    """With its last row and column twice where their number is odd, as subsampled chroma wants it."""
    height, width = rgb.shape[:2]
    if height % 2 == width % 2 == 0:
        return rgb
    return np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _described(info: VideoInfo, view: View, width: int, height: int) -> VideoInfo:
    """The record of a clip of that size with the clock of the film ``info``. Its pixels have another shape
    than the film's only where the view stretches them."""
    aspect = info.sample_aspect_ratio
    if aspect is not None:
        shape = Fraction(info.width, info.height) * aspect
        aspect = (1 / shape if is_turned(info) else shape) / Fraction(view.width, view.height)
        aspect = aspect.limit_denominator(1000)
    return replace(
        info,
        width=width,
        height=height,
        pixels=PIXELS,
        pix_fmt=PIXELS.name,
        is_rgb=False,
        has_alpha=False,
        color=replace(info.color, matrix=int(guessed_matrix(width, height))),
        sample_aspect_ratio=aspect,
        display_matrix=None,
        hdr=NO_HDR,
    )


def _picture(rgb: Rgb, frame: Frame, encoder: Encoder) -> VideoFrame:
    """What is encoded of a picture, at the time of ``frame``."""
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    if encoder.has_palette:
        picture = picture.reformat(format="bgra")
    else:
        picture = picture.reformat(
            format=encoder.pix_fmt,
            dst_colorspace=Colorspace(encoder.matrix),
            dst_color_range=ColorRange.MPEG,
            interpolation=EXACT,
        )
    picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
    return picture
