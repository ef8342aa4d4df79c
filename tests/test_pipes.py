"""Standard input and output, with real processes and real pipes."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg
import pytest
from click.testing import Result
from ffmpeg import X264, picture, sound
from test_awkward import lag, samples

Run = Callable[..., Result]

UPSCALE = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
FAST = ["-s", "2", "-m", "nearest", "-q"]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return ffmpeg.make(tmp_path / "in.nut", *picture(), *sound(), *X264, "-bf", "2", "-c:a", "aac")


def run(film: Path, *options: str, source: str = "-") -> subprocess.CompletedProcess[bytes]:
    """Upscale a file through pipes."""
    return subprocess.run(
        [*UPSCALE, source, "-", *FAST, *options], input=film.read_bytes(), capture_output=True
    )


@pytest.mark.parametrize("container", ["nut", "matroska", "mpegts", "avi", "yuv4mpegpipe", "mpeg"])
def test_containers_that_are_read_from_a_pipe(container: str, tmp_path: Path) -> None:
    codec = {"avi": "mpeg4", "yuv4mpegpipe": "rawvideo", "mpeg": "mpeg2video"}.get(container, "libx264")
    heard = () if container == "yuv4mpegpipe" else sound()
    film = ffmpeg.make(
        tmp_path / "in", *picture(), *heard, "-c:v", codec, "-pix_fmt", "yuv420p", "-f", container
    )
    done = run(film)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out.nut"
    out.write_bytes(done.stdout)
    assert len(ffmpeg.frames(out).times) == 25
    assert len(ffmpeg.packets(out)) == 1 + bool(heard)


@pytest.mark.parametrize(
    ("container", "codecs"),
    [("nut", ["h264", "aac"]), ("matroska", ["h264", "aac"]), ("mpegts", ["h264", "aac"]),
     ("mp4", ["h264", "aac"]), ("yuv4mpegpipe", ["rawvideo"])],
)  # fmt: skip
def test_containers_that_are_written_to_a_pipe(
    container: str, codecs: list[str], film: Path, tmp_path: Path
) -> None:
    done = run(film, "--format", container)
    assert done.returncode == 0, done.stderr
    if container == "yuv4mpegpipe":
        assert b"sound 1 was left out" in done.stderr
    else:
        assert done.stderr == b""
    out = tmp_path / "out"
    out.write_bytes(done.stdout)
    assert [stream.codec for stream in ffmpeg.packets(out)] == codecs
    before, after = ffmpeg.frames(film).times, ffmpeg.frames(out).times
    tolerance = Fraction(1, 2000) if container == "matroska" else 0
    moved = after[0] - before[0]
    assert all(abs(b - a - moved) <= tolerance for a, b in zip(before, after, strict=True))
    if len(codecs) == 2:
        assert abs(lag(samples(film, 0), samples(out, 0)) - moved) < Fraction(1, 1000)


def test_a_gif_through_pipes_plays_as_often(tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.gif", *picture(), "-loop", "2")
    done = run(film, "--format", "gif")
    assert done.returncode == 0, done.stderr
    assert b"NETSCAPE2.0\x03\x01\x02\x00" in done.stdout


def test_ten_bit_through_y4m(tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.y4m", *picture(), "-pix_fmt", "yuv422p10le", "-strict", "-1")
    done = run(film, "--format", "yuv4mpegpipe")
    assert done.returncode == 0, done.stderr
    (tmp_path / "out.y4m").write_bytes(done.stdout)
    with av.open(str(tmp_path / "out.y4m")) as container:
        assert container.streams.video[0].pix_fmt == "yuv422p10le"


def test_a_chain_of_two(film: Path) -> None:
    chain = [*UPSCALE, "-", "-", *FAST]
    with film.open("rb") as source:
        first = subprocess.Popen(chain, stdin=source, stdout=subprocess.PIPE)
        second = subprocess.Popen(chain, stdin=first.stdout, stdout=subprocess.PIPE)
        judge = subprocess.run(
            [ffmpeg.FFMPEG, "-i", "-", "-f", "framecrc", "-"],
            stdin=second.stdout,
            capture_output=True,
            text=True,
        )
    assert (first.wait(), second.wait()) == (0, 0)
    assert "256x192" in judge.stderr
    assert sum(line.startswith("0,") for line in judge.stdout.splitlines()) == 25


def test_a_reader_that_has_had_enough_ends_it_quietly(tmp_path: Path) -> None:
    film = ffmpeg.make(tmp_path / "in.nut", *picture("160x120", seconds=20), *X264)
    with film.open("rb") as source:
        process = subprocess.Popen(
            [*UPSCALE, "-", "-", *FAST, "--codec", "rawvideo"],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert len(process.stdout.read(10000)) == 10000
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 128 + signal.SIGPIPE


def test_an_mp4_that_is_no_stream(tmp_path: Path) -> None:
    done = run(ffmpeg.make(tmp_path / "in.mp4", *picture(), *X264))
    assert done.returncode == 1
    assert b"give the file's name" in done.stderr


def test_an_animated_png_is_no_stream(film: Path, tmp_path: Path) -> None:
    """FFmpeg's demuxer goes back in those that begin with more than their size, as ours do."""
    made = tmp_path / "in.apng"
    subprocess.run([*UPSCALE, film, made, *FAST], check=True)
    done = run(made)
    assert done.returncode == 1
    assert b"give the file's name" in done.stderr


def test_ctrl_c_while_nothing_comes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*UPSCALE, "-", str(tmp_path / "out.mp4"), *FAST],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert process.stderr is not None
    assert b"interrupted" in process.stderr.read()
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_into_a_file_and_a_file_into_a_pipe(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    done = subprocess.run(
        [*UPSCALE, "-", str(out), *FAST, "--json"], input=film.read_bytes(), capture_output=True, check=True
    )
    assert json.loads(done.stdout)["frames"] == 25
    assert len(ffmpeg.frames(out).times) == 25
    assert run(film, source=str(film)).stdout == run(film).stdout


def test_a_part_of_what_comes_through_a_pipe(film: Path, tmp_path: Path) -> None:
    done = run(film, "--start", "0.4", "--duration", "0.2")
    assert done.returncode == 0, done.stderr
    (tmp_path / "out.nut").write_bytes(done.stdout)
    assert ffmpeg.frames(tmp_path / "out.nut").times[0] < Fraction(1, 10)
    assert len(ffmpeg.frames(tmp_path / "out.nut").times) == 5


def test_nothing_and_nonsense_through_a_pipe() -> None:
    for data in (b"", b"no film at all" * 1000):
        done = subprocess.run([*UPSCALE, "-", "-", *FAST], input=data, capture_output=True)
        assert done.returncode == 1
        assert done.stdout == b""
        assert b"upscale: -: " in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_what_cannot_be_done_with_a_pipe(film: Path) -> None:
    done = run(film, "--crop", "auto")
    assert done.returncode == 2
    assert b"give the crop as WIDTH:HEIGHT:X:Y" in done.stderr


@pytest.mark.parametrize("kind", ["fifo", "substitution", "/dev/stdin", "/dev/stdin of a file"])
def test_a_pipe_that_has_a_name_is_a_pipe(kind: str, film: Path, tmp_path: Path) -> None:
    """It is read once, from its beginning to its end; a file on standard input stays a file."""
    pipe, target = tmp_path / "pipe", tmp_path / "out.mkv"
    command = [
        *UPSCALE,
        {"fifo": str(pipe), "substitution": "<(cat in.nut)"}.get(kind, "/dev/stdin"),
        str(target),
        *FAST,
    ]
    if kind == "substitution":
        line = " ".join(part if part.startswith("<") else shlex.quote(part) for part in command)
        command = ["bash", "-c", line]
    if kind == "fifo":
        os.mkfifo(pipe)
        threading.Timer(0.5, lambda: pipe.write_bytes(film.read_bytes())).start()
    with film.open("rb") as opened:
        feed: dict[str, Any] = {
            "/dev/stdin": {"input": film.read_bytes()},
            "/dev/stdin of a file": {"stdin": opened},
        }
        done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=60, **feed.get(kind, {}))
    assert done.returncode == 0, done.stderr
    assert len(ffmpeg.frames(target).times) == 25
    assert len(ffmpeg.packets(target)) == 2


def test_what_cannot_be_done_with_a_pipe_that_has_a_name(upscale: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for options in (("--preview", tmp_path / "sheet.png"), ("--report", tmp_path / "page.html")):
        outputs = () if "--preview" in options else (tmp_path / "out.mkv",)
        assert upscale(pipe, *outputs, *options).exit_code == 2


def test_ctrl_c_while_nobody_writes_into_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [*UPSCALE, pipe, tmp_path / "out.mkv", *FAST],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
