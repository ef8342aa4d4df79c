"""Containers and encoders by the name of OUTPUT: what each holds, and whose clock counts what."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from ffmpeg import X264, picture, sound

Run = Callable[..., Result]
FAST = ("-s", "2", "-m", "nearest", "-q")


def film(path: Path, rate: str = "25", heard: bool = True) -> Path:
    voice = sound(1, 44100) if heard else ()
    return ffmpeg.make(path, *picture("64x48", rate), *voice, *X264, *(("-c:a", "aac") if heard else ()))


def steps(path: Path) -> list[Fraction]:
    """Seconds from the first frame to each."""
    times = ffmpeg.frames(path).times
    return [time - times[0] for time in times]


@pytest.mark.parametrize(
    ("suffix", "codec", "voice"),
    [
        (".mts", "h264", "aac"),
        (".m2t", "h264", "aac"),
        (".wmv", "wmv2", "aac"),
        (".asf", "wmv2", "aac"),
        (".mxf", "h264", "pcm_s16le"),
        (".264", "h264", None),
        (".h265", "hevc", None),
        (".m2v", "mpeg2video", None),
        (".m1v", "mpeg1video", None),
        (".mpeg", "h264", "mp2"),
    ],
)
@pytest.mark.parametrize("segment", ["0", "0.4"])
def test_names_of_films(
    suffix: str, codec: str, voice: str | None, segment: str, upscale: Run, tmp_path: Path
) -> None:
    source, out = film(tmp_path / "in.mp4"), tmp_path / f"out{suffix}"
    result = upscale(source, out, *FAST, "--segment", segment)
    assert result.exit_code == 0, result.output
    streams = ffmpeg.packets(out)
    assert [stream.codec for stream in streams] == [codec, voice] if voice else [codec]
    assert ("takes no sound" in result.stderr) == (voice is None)
    with av.open(str(out)) as container:
        made = [
            frame.to_ndarray(format="gray")[::2, ::2].astype(int) for frame in container.decode(video=0)
        ]
    with av.open(str(source)) as container:
        given = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]
    assert len(made) == len(given) == 25
    assert max(np.abs(a - b).mean() for a, b in zip(made, given, strict=True)) < 8
    if voice:  # what has no sound beside it has no clock of its own either
        assert max(abs(a - b) for a, b in zip(steps(out), steps(source), strict=True)) <= Fraction(1, 900)


def test_what_cannot_be_written_says_what_can(upscale: Run, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", "10")
    for name, says in (
        ("out.ogv", "write .webm or .mkv"),
        ("out.mxf", "10 frames a second; take .mov or .mkv (23.976, 24, 25,"),
        ("out.m1v", "10 frames a second; take .mov or .mkv (23.976, 24, 25,"),
    ):
        result = upscale(source, tmp_path / name, *FAST)
        assert result.exit_code == 2
        assert says in result.stderr
        assert not (tmp_path / name).exists()


UNEVEN = "setpts='(N*3003+mod(N*N\\,7)*200)/90000/TB'"


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video", "mpeg1video", "wmv2", "libx264"])
@pytest.mark.parametrize(
    ("rate", "ticks"),
    [("7", 1), ("10", 1), ("30000/1001", 1), ("60", 1), ("24000/1001", 1), ("uneven", 200)],
)
def test_every_clock_can_count_the_film(
    codec: str, rate: str, ticks: int, upscale: Run, tmp_path: Path
) -> None:
    """From a clock of 90000 ticks a second, which MPEG-4 cannot count."""
    uneven = rate == "uneven"
    made = picture(
        "64x48",
        "30000/1001" if uneven else rate,
        1,
        f"settb=1/90000,{UNEVEN}" if uneven else "settb=1/90000",
    )
    source = ffmpeg.make(
        tmp_path / "in.mp4", *made, *X264, "-fps_mode", "passthrough", "-enc_time_base", "1:90000",
        "-video_track_timescale", "90000",
    )  # fmt: skip
    out = tmp_path / ("out.wmv" if codec == "wmv2" else "out.mkv")
    result = upscale(source, out, *FAST, "--codec", codec)
    assert result.exit_code == 0, result.output
    before, after = steps(source), steps(out)
    assert len(before) == len(after)
    most = max(abs(a - b) for a, b in zip(after, before, strict=True))
    # Matroska and ASF count milliseconds; MPEG-1 and -2 frames, which do not fit an uneven film.
    if uneven and codec.endswith("video"):
        assert "times were moved: mpeg" in result.stderr
        assert most < Fraction(1, 30)
    else:
        limit = Fraction(1, 100) if rate == "7" and codec.endswith("video") else Fraction(1, 900)
        assert most <= limit
        assert ("times were moved" in result.stderr) == (limit > Fraction(1, 900))
