"""Sound that the muxer refuses, whose layout an encoder does not know, or that pauses for hours."""

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np
import psutil
import pytest
from click.testing import Result

from upscale.media.write.writer import Writer

Run = Callable[..., Result]
PLAIN = ("-m", "nearest", "-s", 1)


def channels(path: Path) -> int:
    with av.open(path) as container:
        return container.streams.audio[0].channels


def surround(path: Path, layout: str, *codec: object) -> Path:
    """A film with another sine in each channel."""
    names = {
        "5.1(side)": "FL FR FC LFE SL SR",
        "5.0(side)": "FL FR FC SL SR",
        "7.1": "FL FR FC LFE BL BR SL SR",
    }
    tones = "|".join(f"0.2*sin(2*PI*{200 + 100 * n}*t)" for n, _ in enumerate(names[layout].split()))
    sound = ("-f", "lavfi", "-i", f"aevalsrc={tones}:c={layout}:s=48000:d=1")
    return ffmpeg.make(path, *ffmpeg.picture(), *sound, *ffmpeg.X264, "-c:a", *codec)


@pytest.mark.parametrize(
    ("layout", "codec", "name", "count"),
    [
        ("5.1(side)", "ac3", "out.webm", 6),
        ("5.1(side)", "ac3", "out.mxf", 6),
        ("5.1(side)", "flac", "out.ts", 6),
        ("5.0(side)", "flac", "out.mov", 5),
        ("7.1", "flac", "out.mov", 8),
        ("7.1", "pcm_s16le", "out.mp4", 8),
        ("5.1(side)", "pcm_s24le", "out.ts", 6),
    ],
)
def test_no_channel_is_lost_untold(
    layout: str, codec: str, name: str, count: int, upscale: Run, tmp_path: Path
) -> None:
    film = surround(tmp_path / "in.mkv", layout, codec)
    options = ("--codec", "libvpx-vp9") if name.endswith("webm") else ()
    options = ("--codec", "mpeg2video") if name.endswith("mxf") else options
    result = upscale(film, tmp_path / name, *PLAIN, *options, "-q")
    assert result.exit_code == 0, result.stderr
    assert channels(tmp_path / name) == count
    assert "channels became" not in result.stderr


@pytest.mark.parametrize(
    ("layout", "codec", "name"),
    [
        ("5.1(side)", "flac", "out.mov"),
        ("7.1", "flac", "out.mov"),
        ("7.1", "pcm_s24le", "out.mp4"),
        ("5.1(side)", "pcm_s16le", "out.mp4"),
    ],
)
def test_without_losses_it_stays_so_in_all_channels(
    layout: str, codec: str, name: str, upscale: Run, tmp_path: Path
) -> None:
    film = surround(tmp_path / "in.mkv", layout, codec)
    assert upscale(film, tmp_path / name, *PLAIN, "-q").exit_code == 0
    heard = [samples(path) for path in (film, tmp_path / name)]
    assert heard[0] == heard[1]
    assert len(heard[0]) > 100_000


def samples(path: Path) -> bytes:
    """All channels of the sound, in 32 bit."""
    command = [ffmpeg.FFMPEG, "-v", "error", "-i", path, "-map", "0:a", "-f", "s32le", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_channels_that_are_mixed_are_told(upscale: Run, tmp_path: Path) -> None:
    film = surround(tmp_path / "in.mkv", "7.1", "libopus")
    result = upscale(film, tmp_path / "out.avi", *PLAIN, "--codec", "mpeg4", "-q")
    assert result.exit_code == 0, result.stderr
    assert channels(tmp_path / "out.avi") == 2
    assert "from opus to mp3; its 8 channels became 2" in result.stderr


@pytest.mark.parametrize(
    ("name", "codec", "late"),
    [
        ("in.ts", "aac", 0.0),
        ("in.ts", "mp2", 0.0),
        ("in.mp4", "aac", 0.7),
        ("in.mov", "pcm_s16le", 0.7),
        ("in.ts", "mp2", 0.7),
        ("in.mkv", "flac", 0.0),
        ("in.mkv", "libvorbis", 0.0),
    ],
)
@pytest.mark.parametrize("segment", [0, 0.4])
def test_sound_stays_with_its_picture_in_an_avi(
    name: str, codec: str, late: float, segment: float, upscale: Run, tmp_path: Path
) -> None:
    """Where all tracks begin at 0: what comes later begins with silence."""
    inputs = (*ffmpeg.picture(seconds=2), "-itsoffset", str(late), *ffmpeg.sound(1))
    film = ffmpeg.make(tmp_path / name, *inputs, *ffmpeg.X264B, "-c:a", codec)
    target = tmp_path / "out.avi"
    result = upscale(film, target, *PLAIN, "--codec", "mpeg4", "-q", "--segment", segment)
    assert result.exit_code == 0, result.stderr
    times = ffmpeg.frames(target).times
    assert (len(times), times[0]) == (50, 0)
    heard = np.frombuffer(samples(target), np.int32)
    begins = np.flatnonzero(np.abs(heard) > 1 << 24)[0] / ffmpeg.RATE
    assert begins == pytest.approx(late, abs=0.06)
    sound = ffmpeg.packets(target)[1].times
    assert sound[-1] == pytest.approx(late + 1, abs=0.1)


def paused(film: Path, hours: int, rate: int = 8000) -> Path:
    """A film of 20 frames, a pause after ten."""
    with av.open(film, "w") as container:
        picture = container.add_stream("mjpeg", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
        picture.time_base = picture.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("pcm_s16le", rate=rate, layout="stereo")
        for base in (0, hours * 3600):
            for number in range(10):
                frame = av.VideoFrame(64, 48, "yuvj420p")
                frame.pts, frame.time_base = base * 1000 + number * 100, Fraction(1, 1000)
                container.mux(picture.encode(frame))
                samples = np.full((1, rate // 5), 1000, np.int16)
                heard = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
                heard.sample_rate, heard.pts = rate, frame.pts * rate // 1000
                heard.time_base = Fraction(1, rate)
                container.mux(sound.encode(heard))
        container.mux(picture.encode())
        container.mux(sound.encode())
    return film


@pytest.mark.parametrize(("hours", "rate"), [(2, 8000), (30, 8000), (30, 48000)])
def test_a_pause_of_hours_takes_no_memory(hours: int, rate: int, upscale: Run, tmp_path: Path) -> None:
    """Silence fills it, a second at a time, where it is short enough. (48,000 a second for 30 hours are
    more than 32 bits count.)"""
    film = paused(tmp_path / "in.mkv", hours, rate)
    before = psutil.Process().memory_info().rss
    result = upscale(film, tmp_path / "out.mp4", *PLAIN)
    assert result.exit_code == 0, result.stderr
    assert psutil.Process().memory_info().rss - before < 100 << 20  # as float it would be 460 MB
    assert f"there is no picture for {hours - 1:d}:59:59" in result.stderr
    picture_of, sound_of = ffmpeg.packets(tmp_path / "out.mp4")
    assert len(picture_of.times) == 20
    assert float(picture_of.times[10]) == pytest.approx(hours * 3600, abs=0.01)
    assert float(sound_of.times[-1]) == pytest.approx(hours * 3600 + 1, abs=1)


@pytest.mark.parametrize("segment", [0, 0.4])
def test_a_pause_that_an_avi_cannot_hold_is_named(segment: float, upscale: Run, tmp_path: Path) -> None:
    """It counts frames, and would have to count those that are not there."""
    film, target = paused(tmp_path / "in.mkv", 2), tmp_path / "out.avi"
    result = upscale(film, target, *PLAIN, "--codec", "mpeg4", "-q", "--segment", segment)
    assert result.exit_code == 1
    assert "the film pauses for 1:59:59" in result.stderr
    assert "avi cannot hold, as it counts frames; write .mkv or .mp4" in result.stderr
    assert not target.exists()


@pytest.mark.parametrize(
    ("codec", "name", "told"),
    [
        ("pcm_f32le", "out.mp4", "its 32 bits of floats a sample became 24"),
        ("pcm_s32le", "out.mp4", "its 32 bits a sample became 24"),
        ("pcm_f64le", "out.mkv", None),
        ("pcm_s24le", "out.mp4", None),
    ],
)
def test_bits_of_sound_that_are_lost_are_told(
    codec: str, name: str, told: str | None, upscale: Run, tmp_path: Path
) -> None:
    film = ffmpeg.make(tmp_path / "in.mkv", *ffmpeg.picture(), *ffmpeg.sound(), *ffmpeg.X264, "-c:a", codec)
    result = upscale(film, tmp_path / name, *PLAIN)
    assert result.exit_code == 0, result.stderr
    assert (told in result.stderr) if told else ("a sample became" not in result.stderr)
    refused = upscale(film, tmp_path / f"strict-{name}", *PLAIN, "--strict")
    assert refused.exit_code == (0 if name == "out.mkv" else 1)


def test_packets_that_the_muxer_refuses_do_not_end_the_film(
    upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = ffmpeg.make(
        tmp_path / "in.mkv", *ffmpeg.picture(), *ffmpeg.sound(), *ffmpeg.X264, "-c:a", "flac"
    )
    given: list[int] = []
    mux = Writer._mux_beside

    def refuse_some(writer: Writer, packets: list[av.Packet]) -> None:
        given.append(len(given))
        if given[-1] in (3, 4):
            raise av.ArgumentError(22, "Invalid argument")
        mux(writer, packets)

    monkeypatch.setattr(Writer, "_mux_beside", refuse_some)
    result = upscale(film, tmp_path / "out.mkv", *PLAIN, "-q")
    assert result.exit_code == 1
    assert "2 packets of stream 1 were refused by matroska" in result.stderr
    assert len(ffmpeg.frames(tmp_path / "out.mkv").times) == 25
