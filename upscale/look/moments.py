"""Moments of a film that stand for all of it: some of every shot, as the models are to see them."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.errors import UpscaleError, UsageError
from upscale.media.frame import Frame
from upscale.media.info import VideoInfo
from upscale.media.part import Part
from upscale.media.read.source import Source
from upscale.motion.shots import is_cut, thumbnail
from upscale.pipeline import Job, find_key, follows_keys, key_at, reader
from upscale.planes import Box, Planes

CANDIDATES = 2
"""Frames that are looked at for each moment that is chosen."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame with the planes that a model wants to see."""

    frame: Frame
    time: Fraction
    """Seconds from the beginning of the film."""


def find_moments(job: Job, info: VideoInfo, count: int, at: Sequence[Fraction] = ()) -> list[int]:
    """The pts of ``count`` frames, spread over the film and its shots, or of those shown ``at`` some times
    (in seconds from the beginning of the film).

    Only a few frames are read, so shots are told apart as far as those tell. Raises UsageError for a time
    that is not in the film, and UpscaleError if no frame could be read."""
    if at:
        return [_frame_at(job, info, time).pts for time in at]
    begin, length = _extent(job, info)
    wanted = CANDIDATES * count if length else 1
    shots: list[list[int]] = []
    before: NDArray[np.float32] | None = None
    last: int | None = None
    for number in range(wanted):
        frame = _shown(job, info, begin + length * (number + Fraction(1, 2)) / wanted)
        if frame is None or frame.pts == last:
            continue
        small = thumbnail(frame.planes[0][0])
        if before is None or is_cut(before, small):
            shots.append([])
        shots[-1].append(frame.pts)
        before, last = small, frame.pts
    if not shots:
        first = _shown(job, info, begin)
        if first is None:
            raise UpscaleError(f"{job.source}: no frame of it could be read")
        return [first.pts]
    return spread_over(shots, count)


def moments(job: Job, info: VideoInfo, window: int, places: Sequence[int]) -> Iterator[Moment]:
    """The frames at those pts, as a model of that ``window`` is to see them."""
    shift = Part.of(info.start, job.start, job.duration).shift
    opened = functools.partial(Source, job.source, job.read)
    for pts in places:
        shot = None
        if follows_keys(job, window) and not info.is_picture:
            shot = find_key(job, info, opened, window, pts, jump=True)
        key = key_at(job, info, opened, window, pts, True, shot)
        if key is not None:
            frame = Frame(key.planes, key.pts, 0, info.time_base, key=key)
            yield Moment(frame, key.pts * info.time_base + shift - info.start)


def first_time(job: Job, info: VideoInfo) -> Fraction:
    """When the first frame of the part that is made is shown, in seconds on the clock of its frames."""
    frame = _shown(job, info, job.start or Fraction(0)) if job.start else None
    if frame is None:
        with Source(job.source, job.read) as source:
            return source.begins or Fraction(0)
    return frame.pts * info.time_base


def most_detailed(luma: NDArray[np.float32], width: int, height: int) -> Box:
    """The part of that size, or all there is, of a picture [H, W] whose contours are the strongest."""
    width, height = min(width, luma.shape[1]), min(height, luma.shape[0])
    smooth = cv2.GaussianBlur(luma, (0, 0), 1.0)  # grain is no detail
    down, across = (cv2.Sobel(smooth, cv2.CV_32F, x, 1 - x, ksize=1) for x in (0, 1))
    sums = cv2.integral(np.abs(down) + np.abs(across))
    inside = (
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    )
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return Box(int(top) // 4 * 4, int(left) // 4 * 4, height, width)


def cut_out(planes: Planes, box: Box, subsampling: tuple[int, int] | None) -> Planes:
    """The box of a frame's own planes, [1, h, w] and chroma."""
    across, down = subsampling or (1, 1)
    parts = [planes[0][:1, box.top : box.top + box.height, box.left : box.left + box.width]]
    if len(planes) > 1:
        bottom, right = -(-(box.top + box.height) // down), -(-(box.left + box.width) // across)
        parts.append(planes[1][:, box.top // down : bottom, box.left // across : right])
    return tuple(parts)


def _extent(job: Job, info: VideoInfo) -> tuple[Fraction, Fraction]:
    """Where the part that is made begins, in seconds from the beginning of the film, and how long it is; 0
    where that is not known."""
    begin = job.start or Fraction(0)
    if info.duration is None or info.is_picture:
        return begin, job.duration or Fraction(0)
    length = max(info.duration - begin, Fraction(0))
    return begin, length if job.duration is None else min(length, job.duration)


def _frame_at(job: Job, info: VideoInfo, time: Fraction) -> Frame:
    frame = _shown(job, info, time)
    if frame is None:
        length = "" if info.duration is None else f"; it is {float(info.duration):g} s long"
        raise UsageError(f"{job.source}: there is no frame at {float(time):g} s{length}")
    return frame


def _shown(job: Job, info: VideoInfo, time: Fraction) -> Frame | None:
    """The first frame at or after that time, without what is worked out of its neighbours."""
    shift = Part.of(info.start, job.start, job.duration).shift
    pts = round((info.start + time - shift) / info.time_base)
    frames = reader(job, functools.partial(Source, job.source, job.read), jump=not info.is_picture)(pts)
    return next((replace(frame, extras=None) for frame in frames if frame.pts >= pts), None)


def spread_over(shots: list[list[int]], count: int) -> list[int]:
    """``count`` places, or all there are: of every shot in turn, more of those that are longer."""
    if len(shots) > count:
        shots = [shots[number * len(shots) // count] for number in range(count)]
    chosen = [1] * len(shots)

    def room(number: int) -> float:
        """The longer a shot is for each frame that it has, the more it wants another."""
        has_more = len(shots[number]) > chosen[number]
        return len(shots[number]) / (chosen[number] + 1) if has_more else 0.0

    while sum(chosen) < min(count, sum(map(len, shots))):
        chosen[max(range(len(shots)), key=room)] += 1
    return [
        shot[(2 * number + 1) * len(shot) // (2 * many)]
        for shot, many in zip(shots, chosen, strict=True)
        for number in range(many)
    ]
