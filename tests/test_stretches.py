"""Pieces of a film, read by themselves: the very frames of the whole."""

import hashlib
from pathlib import Path

import ffmpeg
import numpy as np
import pytest
from ffmpeg import X264, X264B, picture
from test_motion import pan

from upscale.media.frame import Frame
from upscale.media.part import Stretch
from upscale.media.read.index import index_film
from upscale.media.read.source import ReadOptions, Source
from upscale.motion.deflicker import Flicker, deflickered
from upscale.motion.findings import Findings
from upscale.motion.runs import LONGEST_RUN, Place
from upscale.motion.window import windowed
from upscale.planes import REACH

P = picture(seconds=2)
CUT = ("-g", "12", "-bf", "2")
CLIPS = {
    "open GOPs": ("in.mp4", (*P, *X264B, "-x264-params", "open-gop=1:keyint=12")),
    "intra refresh": ("in.mp4", (*P, *X264B, "-x264-params", "intra-refresh=1:keyint=12")),
    "a transport stream": ("in.ts", (*P, *X264B, "-g", "12")),
    "HEVC": ("in.mkv", (*P, "-c:v", "libx265", "-x265-params", "log-level=error:keyint=12:open-gop=1")),
    "MPEG-2 in a program stream": ("in.mpg", (*P, "-c:v", "mpeg2video", *CUT, "-q:v", "2")),
    "MPEG-4 in an AVI": ("in.avi", (*P, "-c:v", "mpeg4", "-g", "12")),
    "B-frames in an AVI": ("in.avi", (*P, "-c:v", "mpeg4", *CUT)),
    "ffv1": ("in.mkv", (*P, "-c:v", "ffv1", "-g", "8")),
    "VP8 with hidden frames": (
        "in.webm",
        (*P, "-c:v", "libvpx", "-g", "12", "-auto-alt-ref", "1", "-lag-in-frames", "9"),
    ),
    "an edit list": ("in.mp4", ("-ss", "0.3", "-i", "whole.mp4", "-c", "copy")),
    "variable rate": (
        "in.mkv",
        (*picture(seconds=2, more="setpts=N*N*0.003/TB"), "-fps_mode", "vfr", *X264B, "-g", "12"),
    ),
    "a raw stream": ("in.h264", (*P, *X264, "-g", "12")),
    "interlaced": (
        "in.mkv",
        (*picture(seconds=4, more="interlace"), *X264B, "-g", "12", "-flags", "+ilme+ildct"),
    ),
}


def seen(frame: Frame) -> tuple[int, str]:
    return frame.pts, hashlib.md5(b"".join(plane.tobytes() for plane in frame.planes)).hexdigest()


@pytest.mark.parametrize("how", ["auto", "bob"])
@pytest.mark.parametrize("name", CLIPS)
def test_a_piece_of_a_film_has_the_frames_of_the_film(name: str, how: str, tmp_path: Path) -> None:
    ffmpeg.make(tmp_path / "whole.mp4", *P, *X264B, "-g", "20")
    file, arguments = CLIPS[name]
    path = ffmpeg.make(tmp_path / file, *arguments)
    with Source(path, ReadOptions(how)) as source:
        index = index_film(source)
        whole = [seen(frame) for frame in source.frames()]
    times = [pts for pts, _ in whole]
    assert index.exact or name in ("a raw stream", "MPEG-2 in a program stream")
    if index.exact and how == "auto":
        assert index.times == times
    for place in range(5, len(times) - 4, 9):
        stretch = Stretch(times[place - 4], times[place], times[place + 3], index.exact)
        with Source(path, ReadOptions(how)) as source:
            read = []
            for frame in source.frames(stretch=stretch):
                if frame.pts >= times[place + 4]:
                    break
                read.append(seen(frame))
            assert source.losses.frames == 0
        assert [pts for pts, _ in read][: read.index(whole[place])] == times[place - 4 : place]
        assert read[-4:] == whole[place : place + 4]


def test_a_program_stream_whose_times_are_guessed_is_not_jumped_in(tmp_path: Path) -> None:
    """Twelve frames a second, where MPEG-2 knows no such rate."""
    coded = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", *CUT, "-q:v", "2")
    path = ffmpeg.make(tmp_path / "in.mpg", *picture(seconds=4, more="interlace"), *coded)
    with Source(path) as source:
        assert not index_film(source).exact


def test_context_is_not_worked_on_and_changes_nothing() -> None:
    """Repeated frames too, however the pieces lie."""
    frames = [planes for planes in pan(30, sigma=5 / 255) for _ in range(3)]
    whole_found, found, flicker = Findings(), Findings(), Flicker()
    whole = list(windowed(frames, whole_found))
    begin, end = 7 * LONGEST_RUN, 9 * LONGEST_RUN
    lead = begin - REACH * LONGEST_RUN
    parts = []
    for first, last in ((0, begin), (begin, end), (end, len(frames))):
        start = max(first - REACH * LONGEST_RUN, 0)
        piece = Findings()
        places = [Place(number, None, first <= number < last) for number in range(start, len(frames))]
        answers = windowed(frames[start:], piece, places=places)
        for number, planes in zip(range(start, last), answers, strict=False):
            if number < first:
                assert planes is frames[number]
            else:
                parts.append(planes)
        piece.noise.close()
        found.append(piece)
    assert len(parts) == len(whole)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    noise, whole_noise = found.noise, whole_found.noise
    assert len(noise.shots) == len(whole_noise.shots) == 1
    assert noise.shots[0].pictures == whole_noise.shots[0].pictures
    assert noise.luma == pytest.approx(whole_noise.luma, rel=0.02)
    list(
        deflickered(
            frames[lead:], flicker, places=[Place(n, None, n >= begin) for n in range(lead, len(frames))]
        )
    )
    assert flicker.frames == len(frames) - begin
