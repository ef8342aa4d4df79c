"""Telling never stops doing: what becomes of a command whose standard error or output takes no more."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import look

from upscale.errors import EndedError
from upscale.jobs.interrupts import Interrupts
from upscale.telling import ended_by_signals

MakeClip = Callable[..., Path]
UPSCALE = [sys.executable, "-m", "upscale"]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


def gone() -> int:
    """The end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


def full() -> int:
    return os.open(FULL, os.O_WRONLY)


def command(source: Path, target: Path, *options: object) -> list[str]:
    return [*UPSCALE, str(source), str(target), "-s", "2", "-m", "nearest", *map(str, options)]


@pytest.mark.parametrize("style", ["json", "bar", "none"])
@pytest.mark.parametrize("stream", [gone, pytest.param(full, marks=needs_full), None])
def test_nobody_who_listens_changes_nothing(
    style: str, stream: Callable[[], int] | None, make_clip: MakeClip, tmp_path: Path
) -> None:
    """No reader, no room, or no standard error at all; of a film, and of a folder with one that fails."""
    source, target = make_clip("in/film.mkv"), tmp_path / "out.mkv"
    (source.parent / "text.mkv").write_text("no film")
    codes = []
    for one, other in ((source, target), (source.parent, tmp_path / "out")):
        stderr = None if stream is None else stream()
        close = None if stream is not None else (lambda: os.close(2))
        line = command(one, other, "--progress", style)
        codes.append(subprocess.run(line, stderr=stderr, preexec_fn=close).returncode)
        if stderr is not None:
            os.close(stderr)
    assert codes == [0, 1]
    assert len(look(target).frames) == len(look(tmp_path / "out" / "film.mkv").frames) == 6


@needs_full
@pytest.mark.parametrize(
    "options", [["--json"], ["--json", "--dry-run"], ["--version"], ["--list-models"], ["-h"]]
)
def test_data_that_finds_no_room_is_an_error_in_a_line(
    options: list[str], make_clip: MakeClip, tmp_path: Path
) -> None:
    line = command(make_clip(), tmp_path / "out.mkv", "-q", *options)
    with FULL.open("w") as stdout:
        done = subprocess.run(line, stdout=stdout, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "upscale: standard output: cannot be written (No space left on device)\n"
    assert (tmp_path / "out.mkv").exists() == (options == ["--json"])


@needs_full
def test_an_error_that_cannot_be_written_to_standard_output_keeps_its_exit_code(tmp_path: Path) -> None:
    line = command(tmp_path / "none.mkv", tmp_path / "out.mkv", "--json", "--progress", "json", "-s", "99")
    with FULL.open("w") as stdout:
        done = subprocess.run(line, stdout=stdout, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "no such file" in json.loads(done.stderr)["message"]


def test_a_summary_without_a_reader_ends_quietly_when_the_film_is_made(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    stdout = gone()
    line = command(make_clip(), tmp_path / "out.mkv", "--json")
    done = subprocess.run(line, stdout=stdout, stderr=subprocess.PIPE)
    os.close(stdout)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
    assert len(look(tmp_path / "out.mkv").frames) == 6


def test_a_pipe_that_is_closed_is_told(make_clip: MakeClip) -> None:
    line = command(make_clip(), Path("-"))
    done = subprocess.run(line, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: os.close(1))
    assert done.returncode == 2
    assert "is closed" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_ctrl_c_does(
    number: signal.Signals, make_clip: MakeClip, tmp_path: Path
) -> None:
    source, target = make_clip(frames=600, options={"g": "5"}), tmp_path / "out.mkv"
    line = [*UPSCALE, str(source), str(target), "-s", "2", "-m", "clean", "--segment", "0.2"]
    # Tests that run under nohup have it ignored.
    default = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731
    options = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": default}
    with subprocess.Popen([*line, "--progress", "json"], **options) as process:
        assert process.stderr is not None
        while json.loads(process.stderr.readline())["frames"] < 20:
            pass
        process.send_signal(number)
        said = process.stderr.read().splitlines()
        last = json.loads(said[-1])
    assert process.returncode == 128 + number, said[-3:]
    assert last.get("exit_code") == 128 + number, said[-3:]
    assert last["type"] == "error"
    assert last["message"].startswith(f"interrupted by {number.name}; an earlier output is unchanged")
    assert "segments of" in last["message"]
    assert not target.exists()


def test_what_nohup_has_ignored_stays_ignored(make_clip: MakeClip, tmp_path: Path) -> None:
    line = command(make_clip(frames=600), tmp_path / "out.mkv", "--progress", "json")
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with subprocess.Popen(line, stderr=subprocess.PIPE, preexec_fn=ignore) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGHUP)
        process.stderr.read()
    assert process.returncode == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_ignores_ends_it_at_the_next_frame() -> None:
    """An error in a destructor is printed, and forgotten."""

    class Forgetful:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # other tests may have left theirs
    try:
        with ended_by_signals():
            Forgetful()
            with pytest.raises(EndedError):
                Interrupts(lambda said: None).check()
        with ended_by_signals():
            Interrupts(lambda said: None).check()
    finally:
        signal.signal(signal.SIGTERM, before)
