"""Segments, resuming, worker processes and folders: the same film, whatever happens on the way."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import Result
from conftest import contents

from upscale.jobs.executors import Place, Processes
from upscale.jobs.folder import Folder, natural
from upscale.jobs.segments import BEGINNING, cut
from upscale.jobs.work import Task
from upscale.jobs.workspace import Workspace
from upscale.media.read.index import FilmIndex
from upscale.media.write.destination import work_folder
from upscale.media.write.packets import DamagedPacketsError, read_record

Run = Callable[..., Result]
UPSCALE = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]


@pytest.mark.parametrize("options", [(), ("--deinterlace", "on", "--deflicker")], ids=["film", "fields"])
def test_segments_and_workers_make_the_very_same_film(
    options: tuple[str, ...], film: Path, upscale: Run, tmp_path: Path
) -> None:
    made = []
    ways = (("--segment", "0"), ("--segment", "0.5"), ("--segment", "0.5", "--workers", "2"))
    for number, how in enumerate(ways):
        target = tmp_path / f"{number}.mkv"
        result = upscale(film, target, "-s", 2, "--codec", "ffv1", "--json", *options, *how)
        assert result.exit_code == 0, result.output
        assert (json.loads(result.stdout)["segments"] > 3) == bool(number)
        made.append(contents(target))
    assert len(made[0]["video"]) == len(contents(film)["video"])
    assert made[0] == made[1] == made[2]
    assert not list(tmp_path.glob(".*"))


def test_libx264_makes_the_same_segments_every_time(film: Path, upscale: Run, tmp_path: Path) -> None:
    made = []
    for number, how in enumerate(((), ("--workers", "2"), ())):
        target = tmp_path / f"{number}.mp4"
        result = upscale(film, target, "-s", 2, "-q", "-m", "clean", "--segment", "0.5", *how)
        assert result.exit_code == 0, result.output
        made.append(contents(target))
    assert made[0] == made[1] == made[2]


def test_a_run_that_is_killed_goes_on_to_the_same_film(film: Path, upscale: Run, tmp_path: Path) -> None:
    """SIGKILL at random moments, until it has come to an end."""
    options = ["-s", "2", "-q", "--segment", "0.3", "--json"]
    whole, target = tmp_path / "whole.mkv", tmp_path / "out" / "film.mkv"
    target.parent.mkdir()
    assert upscale(film, whole, *options).exit_code == 0
    moments = random.Random(5)
    kills = 0
    for _ in range(60):
        process = subprocess.Popen([*UPSCALE, str(film), str(target), *options], stdout=subprocess.PIPE)
        try:
            out, _ = process.communicate(timeout=moments.uniform(1, 2) + 0.2 * kills)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            if target.exists():  # killed when all was done
                break
            continue
        assert process.returncode == 0
        assert json.loads(out)["frames"] == len(contents(film)["video"])
        assert list(target.parent.iterdir()) == [target]
        break
    assert kills >= 1
    assert contents(target) == contents(whole)


def test_another_option_or_input_begins_anew_and_restart_does(
    film: Path, upscale: Run, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    options = ("-m", "nearest", "--segment", "0.5", "--json")

    def stopped(*more: str) -> int:
        """Frames that a run finds done, when the one before was stopped in the end."""
        with pytest.MonkeyPatch.context() as patch:

            def stop(*arguments: object) -> None:
                raise KeyboardInterrupt

            patch.setattr("upscale.media.write.writer.Writer._finish", stop)
            halted = upscale(film, target, *options, "-s", "2")
        assert halted.exit_code == 130
        assert "the same command goes on" in json.loads(halted.stdout)["error"]
        result = upscale(film, target, *options, "-y", *more)
        assert result.exit_code == 0, result.output
        target.unlink()
        return json.loads(result.stdout)["resumed_frames"]

    frames = len(contents(film)["video"])
    assert stopped("-s", "2") == frames
    assert stopped("-s", "2", "--threads", "1") == frames
    assert stopped("-s", "3") == 0
    assert stopped("-s", "2", "--restart") == 0
    os.utime(film, (1, 1))
    assert stopped("-s", "2") == frames


def test_two_runs_do_not_write_one_output(film: Path, upscale: Run, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    with Workspace(target):
        result = upscale(film, target, "-s", 2, "-m", "nearest")
        assert result.exit_code == 1
        assert "another upscale is writing it" in result.stderr
    assert upscale(film, target, "-s", 2, "-m", "nearest", "-q").exit_code == 0
    assert not work_folder(target).exists()


def test_a_segment_that_is_not_whole_does_not_count(film: Path, upscale: Run, tmp_path: Path) -> None:
    path = tmp_path / "000000.segment"
    for data in (b"", b"x" * 10, b"upscale segment 1\n" + b"x" * 100):
        path.write_bytes(data)
        with pytest.raises(DamagedPacketsError):
            read_record(path)


def test_a_worker_that_dies_costs_its_segment_alone(
    film: Path, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give, killed = Processes.give, []

    def give_and_kill(self: Processes, hand: object, task: Task) -> None:
        give(self, hand, task)
        if task.segments[0].number == 3 and len(killed) < kills:
            killed.append(task.attempt)
            time.sleep(0.5)
            hand.process.kill()  # type: ignore[attr-defined]

    monkeypatch.setattr(Processes, "give", give_and_kill)
    options = ("-s", 2, "-m", "nearest", "--segment", "0.5", "--workers", "2", "--codec", "ffv1")
    kills = 2
    assert upscale(film, tmp_path / "one.mkv", *options, "-q").exit_code == 0
    monkeypatch.setattr(Processes, "give", give)
    assert upscale(film, tmp_path / "two.mkv", *options, "-q").exit_code == 0
    assert contents(tmp_path / "one.mkv") == contents(tmp_path / "two.mkv")


def test_later_attempts_get_less_memory() -> None:
    from upscale.jobs.queue import replace
    from upscale.pipeline import Job
    from upscale.sampling.options import SampleOptions

    job = Job(Path("in"), Path("out"), sample=SampleOptions(device="cpu", memory=8 << 30))
    task = Task(0, job, None, (2, 2), "nut", (), Path())  # type: ignore[arg-type]
    memories = [Place(0, 2).settled(replace(task, attempt=n)).job.sample.memory for n in range(3)]
    assert memories == [4 << 30, 2 << 30, 1 << 30]


def test_a_full_disk_is_told_and_gone_on_from(
    film: Path, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from upscale.media.write.packets import PieceWriter

    target, options = tmp_path / "out.mkv", ("-s", 2, "-m", "nearest", "--segment", "0.5", "--json")
    finish, count = PieceWriter.finish, 0

    def full(self: PieceWriter, facts: dict) -> dict:
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(28, "No space left on device")
        return finish(self, facts)

    with monkeypatch.context() as patch:
        patch.setattr(PieceWriter, "finish", full)
        result = upscale(film, target, *options)
    assert result.exit_code == 1
    assert "the disk is full, by about" in result.stderr
    assert " 3 of 9 segments are kept" in result.stderr
    again = upscale(film, target, *options)
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["resumed_frames"] > 30


def test_segments_begin_at_their_places_and_read_far_enough_before() -> None:
    times = list(range(0, 1000, 2))  # two ticks a frame
    index = FilmIndex(times, list(range(0, 1000, 60)), True)
    segments = cut(index, BEGINNING, None, 0, 2, 100, False)
    assert len(segments) == 5
    assert segments[0].stretch.begin == BEGINNING
    assert segments[-1].stretch.end is None
    for before, segment in pairwise(segments):
        stretch = segment.stretch
        assert before.stretch.end == stretch.begin
        assert stretch.begin % 16 == 0
        assert stretch.begin - stretch.lead == 2 * (16 + 2)
        assert stretch.lead - max(key for key in index.keys if key <= stretch.lead) < 20


def test_a_folder_with_bad_films_in_it(film: Path, upscale: Run, tmp_path: Path) -> None:
    footage, restored = tmp_path / "footage", tmp_path / "restored"
    (footage / "Tante Käthe 1").mkdir(parents=True)
    names = [f"tape {number}.mkv" for number in (1, 2, 10)] + ["Tante Käthe 1/été.mkv"]
    for name in names:
        (footage / name).write_bytes(film.read_bytes())
    (footage / "empty.mp4").touch()
    (footage / "text.avi").write_text("no film")
    (footage / "notes.txt").write_text("no film, and not meant to be one")
    (footage / "half.mkv").write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    options = ("-s", 2, "-m", "nearest", "--suffix", "-x2", "--report", tmp_path / "report.json", "--json")
    result = upscale(footage, restored, *options)
    assert result.exit_code == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert json.loads(result.stdout) == report
    statuses = {Path(one["input"]).name: one["status"] for one in report["films"]}
    good = {Path(name).name: "done" for name in names}
    assert statuses == good | {"half.mkv": "done", "empty.mp4": "failed", "text.avi": "failed"}
    assert [name for name in statuses if name.startswith("tape")] == [
        "tape 1.mkv",
        "tape 2.mkv",
        "tape 10.mkv",
    ]
    assert (restored / "Tante Käthe 1" / "été-x2.mkv").exists()
    again = upscale(footage, restored, *options)
    assert again.exit_code == 1
    report = json.loads(again.stdout)
    assert (report["done"], report["skipped"], report["failed"]) == (0, 5, 2)
    assert upscale(footage, restored, *options, "-t", "0.1").exit_code == 1  # other options: they exist


def test_folders_that_cannot_be(film: Path, upscale: Run, tmp_path: Path) -> None:
    footage = tmp_path / "footage"
    footage.mkdir()
    assert "no films in it" in upscale(footage, tmp_path / "out").stderr
    (footage / "in.mkv").write_bytes(film.read_bytes())
    for target, said in ((footage, "lies in the folder"), (footage / "sub", "lies in the folder")):
        result = upscale(footage, target)
        assert result.exit_code == 2
        assert said in result.stderr
    assert "is no folder" in upscale(footage, film).stderr
    assert "no container" in upscale(footage, tmp_path / "out", "--ext", "xyz").stderr
    assert "for a folder" in upscale(film, tmp_path / "out.mkv", "--watch").stderr


def test_natural_order_and_names_that_meet(tmp_path: Path) -> None:
    assert sorted(["b10", "B2", "a", "b1"], key=natural) == ["a", "b1", "B2", "b10"]
    (tmp_path / "in").mkdir()
    for suffix in ("avi", "mpg"):
        (tmp_path / "in" / f"tape.{suffix}").touch()
    targets = [entry.target.name for entry in Folder(tmp_path / "in", tmp_path / "out").look()]
    assert targets == ["tape.mkv", "tape.mpg.mkv"]


def test_a_file_that_grows_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "tape.avi"
    path.write_bytes(b"a")
    folder = Folder(tmp_path / "in", tmp_path / "out")
    assert folder.look(settle=True) == []
    path.write_bytes(b"ab")
    assert folder.look(settle=True) == []
    assert [entry.source for entry in folder.look(settle=True)] == [path]
    assert folder.look(settle=True) == []
