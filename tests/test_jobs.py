"""Segments, resuming, worker processes and folders: the same film, whatever happens on the way."""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from conftest import contents

from upscale import __version__ as upscale_version
from upscale.jobs.crew import Crew, Hand, Place
from upscale.jobs.folder import FINISHED, Folder, natural
from upscale.jobs.interrupts import SOFTLY, Interrupts
from upscale.jobs.journal import append, open_journal
from upscale.jobs.processes import Processes
from upscale.jobs.queue import ATTEMPTS, Queue, asked_of
from upscale.jobs.segments import BEGINNING, cut
from upscale.jobs.work import Event, Inbox, Task, TaskDone, Worker
from upscale.jobs.workspace import SAMPLE, Workspace
from upscale.media.read.index import FilmIndex
from upscale.media.write.destination import work_folder
from upscale.media.write.packets import DamagedPacketsError, PieceWriter, read_record
from upscale.motion.runs import Context
from upscale.pipeline import Job, Limit, Stages
from upscale.planes import REACH
from upscale.sampling.options import SampleOptions

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


def write_shots(path: Path, sigmas: tuple[float, ...], frames: int) -> Path:
    """Shots that pan over soft blobs of colour, with that much noise in each, in 8-bit levels."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for sigma in sigmas:
            wide = cv2.GaussianBlur(random.normal(128, 600, (3, 4 * 48, 4 * 200)).T, (0, 0), 8)
            wide = np.clip(wide, 30, 225).transpose(1, 0, 2).astype(np.float32)
            for number in range(frames):
                move = np.array([[4, 0, 2.7 * number], [0, 4, 0]], np.float32)
                shown = cv2.warpAffine(wide, move, (64, 48), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_AREA)
                shown += random.normal(0, sigma, shown.shape)
                planes = np.clip(shown.round(), 0, 255).astype(np.uint8)
                small = [cv2.resize(planes[..., k], (32, 24), interpolation=cv2.INTER_AREA) for k in (1, 2)]
                flat = np.concatenate([planes[..., 0].ravel(), *(plane.ravel() for plane in small)])
                frame = av.VideoFrame.from_ndarray(flat.reshape(72, 64), "yuv420p")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_clean_shots_come_out_as_the_model_clean_makes_them(upscale: Run, tmp_path: Path) -> None:
    """However the film is cut into segments: these begin in the middle of shots."""
    source, made = write_shots(tmp_path / "in.mkv", (4.0, 0.0, 4.0), 24), []
    options = ("-s", 2, "--codec", "ffv1", "--json", "-t", "0.3")
    ways = (("--segment", "0"), ("--segment", "0.6"), ("--segment", "0.6", "--workers", "2"))
    for number, how in enumerate((*ways, ("-m", "clean"), ("--denoise", "1"))):
        target = tmp_path / f"{number}.mkv"
        result = upscale(source, target, *options, *how)
        assert result.exit_code == 0, result.output
        made.append((json.loads(result.stdout)["clean"], contents(target)["video"]))
    (found, whole), *pieces, (none, clean), (unasked, denoised) = made
    assert [one for _, one in pieces] == [whole, whole]
    assert found == {"pictures": 72, "clean": 24}
    assert [one for one, _ in pieces] == [found, found]
    assert whole[24:48] == clean[24:48]
    assert none is unasked is None
    assert denoised[:24] == whole[:24]
    assert not {at for at, one in enumerate(denoised) if one == whole[at]} & set(range(24, 48))


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
            out, _ = process.communicate(timeout=moments.uniform(0.3, 1) + 0.5 * kills)
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


def test_segments_of_two_precisions_are_told_of(film: Path, upscale: Run, tmp_path: Path) -> None:
    """As when a run goes on on another machine, where ``auto`` is another one."""
    target, options = tmp_path / "out.mkv", ("-s", 2, "-m", "clean", "--segment", "0.5", "--json")
    finish = PieceWriter.finish
    kinds = iter(["int8 on cpu", *["float32 on cpu"] * 100])
    with pytest.MonkeyPatch.context() as patch:

        def another(self: PieceWriter, facts: dict[str, Any]) -> dict[str, Any]:
            return finish(self, facts | {"arithmetic": next(kinds)})

        patch.setattr(PieceWriter, "finish", another)
        result = upscale(film, target, *options)
    assert result.exit_code == 0
    said = "segments were computed in float32 on cpu and in int8 on cpu: the last bits may differ"
    assert json.loads(result.stdout)["warnings"] == [said]


def test_what_a_kill_at_the_very_end_leaves_is_cleared(film: Path, upscale: Run, tmp_path: Path) -> None:
    """The film stands, and its folder of segments still does; the next run of the folder removes it."""
    footage, restored = tmp_path / "footage", tmp_path / "restored"
    footage.mkdir()
    film.rename(footage / "in.mkv")
    target = restored / "in.mkv"
    options = ("-s", 2, "-m", "nearest", "--segment", "0.5", "--json")
    with pytest.MonkeyPatch.context() as patch:

        def die(self: Workspace) -> None:
            raise KeyboardInterrupt

        patch.setattr(Workspace, "clear", die)
        assert upscale(footage, restored, *options).exit_code == 130
    assert work_folder(target).exists()
    result = upscale(footage, restored, *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["skipped"] == 1
    assert not work_folder(target).exists()


@pytest.mark.parametrize(("workers", "told"), [(1, False), (2, True)])
def test_workers_that_have_nothing_to_share_are_told_of(
    workers: int, told: bool, film: Path, upscale: Run, tmp_path: Path
) -> None:
    options = ("-s", 2, "-m", "nearest", "--segment", 0, "--workers", workers)
    result = upscale(film, tmp_path / "out.mkv", *options)
    assert result.exit_code == 0
    assert ("no segments to share" in result.stderr) == told


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
    job = Job(Path("in"), Path("out"), sample=SampleOptions(device="cpu", memory=8 << 30))
    task = Task(0, job, (), (2, 2), (), Path(), {})
    memories = [Place(0, 2).settled(replace(task, attempt=n)).job.sample.memory for n in range(3)]
    assert memories == [4 << 30, 2 << 30, 1 << 30]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 140 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=140k", "tmpfs", str(path)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is for root on Linux")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_told_and_gone_on_from(
    workers: int, film: Path, upscale: Run, small_disk: Path
) -> None:
    target = small_disk / "out.mkv"
    options = ("-s", 3, "-m", "nearest", "--segment", "0.5", "--codec", "ffv1", "--json")
    options += ("--workers", workers)
    result = upscale(film, target, *options)
    assert result.exit_code == 1
    said = re.search(r"full, by about ([\d.]+) MB; (\d) of \d segments are kept", result.stderr)
    assert said, result.stderr
    assert not target.exists()
    size = round(float(said[1]) * 1e6 * 1.1 + 140e3)
    subprocess.run(["mount", "-o", f"remount,size={size}", str(small_disk)], check=True)
    again = upscale(film, target, *options)
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["resumed_frames"] > 0
    assert [path.name for path in small_disk.iterdir()] == ["out.mkv"]
    assert len(contents(target)["video"]) == len(contents(film)["video"])


def test_a_disk_that_is_too_full_to_join_ends_a_folder(
    film: Path, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for the segments, and none for the film beside them: nor will there be for the next."""
    footage = tmp_path / "footage"
    footage.mkdir()
    for name in ("1.mkv", "2.mkv", "3.mkv", "4.mkv"):
        shutil.copy(film, footage / name)

    def no_room(path: Path) -> Any:
        return type("Usage", (), {"free": 0})

    monkeypatch.setattr(shutil, "disk_usage", no_room)
    report = tmp_path / "report.json"
    result = upscale(footage, tmp_path / "out", "-s", 2, "-m", "nearest", "--report", report)
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr
    told = [one["status"] for one in json.loads(report.read_text())["films"]]
    assert told[0] == "failed"
    assert told[-1] is None


def test_segments_begin_at_their_places_and_read_far_enough_before() -> None:
    times = list(range(0, 1000, 2))  # two ticks a frame
    index = FilmIndex(times, list(range(0, 1000, 60)), True)
    segments = cut(index, BEGINNING, None, 0, 2, 100, Context(2, REACH))
    assert len(segments) == 5
    assert segments[0].stretch.begin == BEGINNING
    assert segments[-1].stretch.end is None
    for before, segment in pairwise(segments):
        stretch = segment.stretch
        assert before.stretch.end == stretch.begin
        assert stretch.begin % 16 == 0
        assert stretch.begin - stretch.lead == REACH * 16 + 2 * 2
        assert stretch.lead - max(key for key in index.keys if key <= stretch.lead) < 20


@pytest.fixture
def shelf(film: Path, tmp_path: Path) -> Path:
    """30 films in folders with spaces and letters of other alphabets; 6 are bad, each in its way."""
    footage = tmp_path / "footage"
    folders = ("", "Tante Käthe 1", "Tante Käthe 1/夏 1961", "reel #2 (80%)")
    short = ffmpeg.make(tmp_path / "short.mp4", *ffmpeg.picture(seconds=0.4), *ffmpeg.X264)
    for number in range(24):
        path = footage / folders[number % 4] / f"tape {number}{(film, short)[number % 2].suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((film, short)[number % 2].read_bytes())
    whole = film.read_bytes()
    (footage / "empty.mp4").touch()
    (footage / "text.avi").write_text("no film")
    (footage / "no index.mp4").write_bytes(short.read_bytes()[:3000])
    ffmpeg.make(footage / "sound.mkv", *ffmpeg.sound())
    (footage / "header.mkv").write_bytes(whole[:900] + bytes(100_000))
    (footage / "half.mkv").write_bytes(whole[: len(whole) // 2])
    (footage / "notes.txt").write_text("no film, and not meant to be one")
    return footage


def test_a_folder_of_30_films_6_of_them_bad(shelf: Path, upscale: Run, tmp_path: Path) -> None:
    restored = tmp_path / "restored"
    options = ("-s", 2, "-m", "nearest", "--suffix", "-x2", "--report", tmp_path / "report.json", "--json")
    result = upscale(shelf, restored, *options)
    assert result.exit_code == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert json.loads(result.stdout) == report
    films = {Path(one["input"]).name: one for one in report["films"]}
    assert len(report["films"]) == len(films) == 30
    bad = {
        "empty.mp4": "cannot be read",
        "text.avi": "cannot be read",
        "no index.mp4": "cannot be read",
        "sound.mkv": "no video in it, only audio",
        "header.mkv": "cannot be read",
    }
    assert {name for name, one in films.items() if one["status"] == "failed"} == bad.keys()
    assert all(said in films[name]["reason"] for name, said in bad.items())
    assert films["half.mkv"]["status"] == "done"
    assert "is damaged" in films["half.mkv"]["reason"]
    for name, one in films.items():
        if one["status"] == "failed":
            assert not Path(one["output"]).exists()
            continue
        source, target = Path(one["input"]), Path(one["output"])
        assert target == restored / source.relative_to(shelf).with_name(f"{source.stem}-x2{source.suffix}")
        assert one["output_bytes"] == target.stat().st_size
        if name != "half.mkv":
            assert one["frames"] == len(contents(source)["video"]) == len(contents(target)["video"])
            assert contents(source).get("audio") == contents(target).get("audio")
    above = [name for name, one in films.items() if Path(one["input"]).parent == shelf]
    assert above[-7:-1] == [f"tape {number}.mkv" for number in range(0, 24, 4)]

    times = {path: path.stat().st_mtime_ns for path in restored.rglob("*.m*")}
    assert len(times) == 25
    again = upscale(shelf, restored, *options)
    assert again.exit_code == 1
    report = json.loads(again.stdout)
    assert (report["done"], report["skipped"], report["failed"]) == (0, 25, 5)
    assert {path: path.stat().st_mtime_ns for path in restored.rglob("*.m*")} == times
    assert not [path for path in restored.rglob(".*") if path.name != FINISHED]

    other = upscale(shelf, restored, *options, "-t", "0.1", "--scale", 3)
    assert other.exit_code == 1
    assert json.loads(other.stdout)["failed"] == 30  # they exist, and are not what is asked for
    assert "use -y to overwrite" in json.loads(other.stdout)["films"][-2]["reason"]


def test_a_strict_run_that_fails_keeps_what_it_has_computed(
    film: Path, upscale: Run, tmp_path: Path
) -> None:
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    target, options = tmp_path / "out.mkv", ("-s", 2, "-m", "nearest", "--segment", "0.5", "--json")
    strict = upscale(film, target, *options, "--strict")
    assert strict.exit_code == 1
    assert "--strict forbids" in strict.stderr
    again = json.loads(upscale(film, target, *options).stdout)
    assert again["resumed_frames"] == again["frames"] > 0


def test_a_fault_in_a_worker_ends_it_though_it_waits_for_tasks(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Task] = []

    class Taking(Queue):
        def take(self) -> Task | None:
            task = super().take()
            taken.append(task)
            return task

    def fail(*arguments: object) -> None:
        raise RuntimeError("a fault")

    options = SampleOptions(model="nearest")
    queue = Taking(iter([Job(film, tmp_path / "out.mkv", 2, segment=Fraction(1, 2), sample=options)]))
    queue.take()
    monkeypatch.setattr(PieceWriter, "write", fail)
    inbox = Inbox()
    inbox.put(taken[0])
    with pytest.raises(RuntimeError, match="a fault"):
        Worker().work(inbox, lambda event: None)
    queue.close()


class Counting(Crew):
    """Workers that crash on one task, which they read ahead while they are at another."""

    def __init__(self, bad: int):
        super().__init__()
        self._size, self._bad = 1, bad
        self._hand = Hand(0)
        self.done: list[int] = []

    def hands(self) -> list[Hand]:
        return [self._hand]

    def give(self, hand: Hand, task: Task) -> None:
        """They see what they are given."""

    def wait(self) -> Iterator[tuple[Hand, Event | None]]:
        tasks = self._hand.tasks
        if any(task.film == self._bad for task in tasks):
            yield self._hand, None
            return
        self.done.append(tasks[0].film)
        yield self._hand, TaskDone(tasks[0].film)


def test_a_task_that_crashes_workers_is_not_laid_on_the_one_before_it() -> None:
    class Tasks:
        def __init__(self) -> None:
            job = Job(Path("in"), Path("out"))
            args = ((), (2, 2), (), Path(), {})
            self.left = [Task(film, job, *args) for film in range(4)]
            self.failed: list[int] = []

        def take(self) -> Task | None:
            return self.left.pop(0) if self.left else None

        def give_back(self, task: Task) -> None:
            self.left.insert(0, task)

        def died(self, task: Task) -> None:
            if task.attempt + 1 >= ATTEMPTS:
                self.failed.append(task.film)
            else:
                self.left.insert(0, replace(task, attempt=task.attempt + 1))

        def tell(self, event: Event) -> None:
            """Nothing to keep."""

    crew, tasks = Counting(bad=2), Tasks()
    crew.run(tasks)  # type: ignore[arg-type]
    assert tasks.failed == [2]
    assert crew.done == [0, 1, 3]


def test_what_is_no_film_of_a_folder(film: Path, upscale: Run, tmp_path: Path) -> None:
    """FFmpeg makes pictures of letters, if it is asked to."""
    footage = tmp_path / "footage"
    footage.mkdir()
    film.rename(footage / "film.mkv")
    (footage / "film.nfo").write_text("a film of 1931\n" * 50)
    result = upscale(footage, tmp_path / "out", "-s", 2, "-m", "nearest", "--json", "--segment", 0)
    assert result.exit_code == 0, result.output
    (one,) = json.loads(result.stdout)["films"]
    assert (Path(one["output"]).name, one["frames"]) == (
        "film.mkv",
        len(contents(footage / "film.mkv")["video"]),
    )


def test_a_film_that_grows_while_it_is_read_is_not_finished(
    film: Path, upscale: Run, tmp_path: Path
) -> None:
    footage, restored = tmp_path / "footage", tmp_path / "restored"
    footage.mkdir()
    whole, source = film.read_bytes(), footage / "film.mkv"
    source.write_bytes(whole[: len(whole) // 2])
    options = ("-s", 2, "-m", "nearest", "--json")
    finish = PieceWriter.finish
    with pytest.MonkeyPatch.context() as patch:

        def grow(self: PieceWriter, facts: dict[str, Any]) -> dict[str, Any]:
            source.write_bytes(whole)
            return finish(self, facts)

        patch.setattr(PieceWriter, "finish", grow)
        upscale(footage, restored, *options)
    assert (restored / "film.mkv").exists()
    again = upscale(footage, restored, *options)
    assert again.exit_code == 1
    assert "use -y to overwrite" in json.loads(again.stdout)["films"][0]["reason"]


@pytest.mark.parametrize(
    "hurt",
    [
        lambda lines: lines[0] + lines[1][:60],
        lambda lines: lines[0] + lines[1][:60] + lines[2],  # as earlier versions went on
        lambda lines: lines[0] + bytes(200),
        lambda lines: b"\xff\xfe\n" + lines[0] + b'[1]\n{"output": []}\n{}\n' + lines[1][:-1],
        lambda lines: b"",
    ],
    ids=["torn", "glued", "zeros", "no text", "empty"],
)
def test_the_list_of_finished_films_heals(
    hurt: Callable[[list[bytes]], bytes], film: Path, upscale: Run, tmp_path: Path
) -> None:
    footage, restored = tmp_path / "footage", tmp_path / "restored"
    footage.mkdir()
    for number in (1, 2, 3):
        shutil.copy(film, footage / f"{number}.mkv")
    command = (footage, restored, "-s", 2, "-m", "nearest", "--json", "--segment", 0)
    assert upscale(*command).exit_code == 0
    journal = restored / FINISHED
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(hurt(lines))
    left = journal.read_bytes()
    unnoted = [json.loads(line)["output"] for line in lines if line.strip() not in left]
    for name in unnoted:
        (restored / name).unlink()
    report = json.loads(upscale(*command).stdout)
    assert (report["done"], report["skipped"], report["failed"]) == (len(unnoted), 3 - len(unnoted), 0)
    report = json.loads(upscale(*command).stdout)
    assert (report["done"], report["skipped"], report["failed"]) == (0, 3, 0)


def test_a_shelf_stays_finished_when_dates_or_the_program_change(
    film: Path, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footage, restored = tmp_path / "footage", tmp_path / "restored"
    footage.mkdir()
    for name in ("1.mkv", "2.mkv"):
        shutil.copy(film, footage / name)
    command = (footage, restored, "-s", 2, "-m", "nearest", "--json", "--segment", 0)

    def run(*options: object) -> tuple[list[str], list[str], int]:
        result = upscale(*command, *options)
        films = json.loads(result.stdout)["films"]
        return [one["status"] for one in films], [one["reason"] or "" for one in films], result.exit_code

    plain = "an earlier run has finished it"
    assert run() == (["done"] * 2, [""] * 2, 0)
    assert run() == (["skipped"] * 2, [plain] * 2, 0)
    os.utime(footage / "1.mkv")
    dated = f"{plain}; the input has another date, and the same content"
    assert run() == (["skipped"] * 2, [dated, plain], 0)
    assert run() == (["skipped"] * 2, [plain] * 2, 0)  # it was told
    for path in restored.glob("*.mkv"):  # as a copy to another disk has them
        os.utime(path, (1, 1))
    assert run() == (["skipped"] * 2, [plain] * 2, 0)
    with monkeypatch.context() as patch:
        patch.setattr("upscale.jobs.folder.weights_digest", lambda *model: "others")
        assert run() == (["skipped"] * 2, [f"{plain}; by other weights (--restart makes it anew)"] * 2, 0)
    monkeypatch.setattr("upscale.jobs.folder.__version__", "99.0")
    old = f"{plain}; by version {upscale_version} (--restart makes it anew)"
    assert run() == (["skipped"] * 2, [old] * 2, 0)
    assert run("--restart") == (["done"] * 2, [""] * 2, 0)
    assert run() == (["skipped"] * 2, [plain] * 2, 0)
    statuses, reasons, code = run("--seed", 1)
    assert (statuses, code) == (["failed"] * 2, 1)
    assert "use -y to overwrite" in reasons[0]
    assert run("--seed", 1, "--restart")[0] == ["failed"] * 2  # that is not what is asked for


def test_a_film_whose_middle_has_changed_is_not_taken_for_finished(
    film: Path, upscale: Run, tmp_path: Path
) -> None:
    source, restored = tmp_path / "footage" / "film.mkv", tmp_path / "restored"
    source.parent.mkdir()
    whole = film.read_bytes() + bytes(3 * SAMPLE)
    source.write_bytes(whole)
    command = (source.parent, restored, "-s", 2, "-m", "nearest", "--json", "--segment", 0)
    upscale(*command)
    middle = len(whole) // 2
    source.write_bytes(whole[:middle] + b"x" + whole[middle + 1 :])
    os.utime(source, (1, 1))
    assert json.loads(upscale(*command).stdout)["failed"] == 1
    source.write_bytes(whole)
    assert json.loads(upscale(*command).stdout)["skipped"] == 1
    (restored / "film.mkv").write_bytes((restored / "film.mkv").read_bytes()[:-1])
    assert json.loads(upscale(*command).stdout)["failed"] == 1


def test_only_options_that_were_asked_for_are_compared_between_versions() -> None:
    job = Job(Path("in"), Path("out"))
    assert asked_of(job) == {}
    asked = replace(job, scale=2.0, overwrite=True, sample=SampleOptions(seed=3, threads=2))
    assert asked_of(asked) == {"scale": 2.0, "sample": {"seed": 3}}
    assert asked_of(replace(job, segment=Fraction(1, 2))) == {"segment": "1/2"}


def test_names_of_outputs_stay_when_films_arrive(film: Path, upscale: Run, tmp_path: Path) -> None:
    footage, restored = tmp_path / "footage", tmp_path / "restored"
    footage.mkdir()
    options = ("-s", 2, "-m", "nearest", "--json")
    shutil.copy(film, footage / "tape.mpg")
    assert upscale(footage, restored, *options).exit_code == 0
    shutil.copy(film, footage / "tape.avi")
    report = json.loads(upscale(footage, restored, *options).stdout)
    outputs = {
        Path(one["input"]).name: (Path(one["output"]).name, one["status"]) for one in report["films"]
    }
    assert outputs == {"tape.avi": ("tape.avi.mkv", "done"), "tape.mpg": ("tape.mkv", "skipped")}


def test_an_interrupted_folder_says_which_film_was_at_work(
    film: Path, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footage, report = tmp_path / "footage", tmp_path / "report.json"
    footage.mkdir()
    for name in ("1.mkv", "2.mkv", "3.mkv"):
        shutil.copy(film, footage / name)

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("upscale.media.write.writer.Writer._finish", stop)
    result = upscale(footage, tmp_path / "out", "-s", 2, "-m", "nearest", "--report", report)
    assert result.exit_code == 130
    # While the first is joined, the second is read.
    told = [one["status"] for one in json.loads(report.read_text())["films"]]
    assert told == ["interrupted", "interrupted", None]
    assert "interrupted" in result.stderr
    assert "not begun" in result.stderr


@pytest.mark.parametrize("suffix", ["json", "html"])
def test_a_report_that_cannot_be_written_is_told_before_the_work(
    suffix: str, film: Path, upscale: Run, tmp_path: Path
) -> None:
    """Of a folder as of a film."""
    footage, report = tmp_path / "footage", tmp_path / f"report.{suffix}"
    footage.mkdir()
    film.rename(footage / "in.mkv")
    (tmp_path / f".report.{suffix}.part").mkdir()
    source = footage if suffix == "json" else footage / "in.mkv"
    result = upscale(source, tmp_path / "out.mkv", "-s", 2, "-m", "nearest", "--report", report)
    assert result.exit_code == 1
    assert f"report.{suffix}: cannot be written" in result.stderr
    assert not (tmp_path / "out.mkv").exists()


def test_a_report_that_fails_in_the_end_is_told_and_the_films_stay(
    film: Path, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footage = tmp_path / "footage"
    footage.mkdir()
    film.rename(footage / "in.mkv")

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("upscale.media.write.whole.write_whole", full)
    report = tmp_path / "report.json"
    result = upscale(footage, tmp_path / "out", "-s", 2, "-m", "nearest", "--report", report, "--json")
    assert result.exit_code == 1
    assert "report.json: cannot be written (No space left on device)" in result.stderr
    assert json.loads(result.stdout)["done"] == 1
    assert (tmp_path / "out" / "in.mkv").exists()


def test_a_folder_replaces_no_file_but_its_own_report(film: Path, upscale: Run, tmp_path: Path) -> None:
    footage, mine = tmp_path / "footage", tmp_path / "mine.json"
    footage.mkdir()
    film.rename(footage / "in.mkv")
    (footage / "notes.json").write_bytes(b"mine")
    mine.write_text('{"input": "elsewhere", "films": []}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    command = (footage, tmp_path / "out", "-s", 2, "-m", "nearest", "--report")
    refusals = [
        (footage / "in.mkv", ["-y"], 2, "ends in .json"),
        (footage / "notes.json", ["-y"], 2, "lies in the folder that is read"),
        (tmp_path / "out" / FINISHED, ["-y"], 2, "ends in .json"),
        (mine, [], 1, "exists; use -y to overwrite it"),
        (tmp_path / "none" / "report.json", [], 2, "no such folder"),
        ("-", [], 2, "ends in .json"),
    ]
    for report, options, code, said in refusals:
        result = upscale(*command, report, *options)
        assert result.exit_code == code, result.output
        assert said in result.stderr
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert upscale(*command, mine, "-y").exit_code == 0
    assert json.loads(mine.read_text())["done"] == 1
    assert upscale(*command, mine).exit_code == 0  # as a schedule has it, every night
    assert json.loads(mine.read_text())["skipped"] == 1


def test_the_films_of_a_folder_never_replace_what_is_read(film: Path, upscale: Run, tmp_path: Path) -> None:
    """Where the folder that is read lies in the one that is written, or a link leads there."""
    footage = tmp_path / "all" / "in"
    for path in (footage / "a.mkv", footage / "in" / "a.mkv"):
        path.parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(film, path)
    before = {path: path.read_bytes() for path in footage.rglob("*.mkv")}
    options = ("-s", 2, "-m", "nearest", "-y", "--json")
    result = upscale(footage, tmp_path / "all", *options)
    assert result.exit_code == 1
    assert [one["status"] for one in json.loads(result.stdout)["films"]] == ["done", "failed"]
    assert "lies in the folder that is read" in json.loads(result.stdout)["films"][1]["reason"]
    (tmp_path / "out" / "in").mkdir(parents=True)
    (tmp_path / "out" / "a.mkv").symlink_to(footage / "a.mkv")
    result = upscale(footage, tmp_path / "out", *options)
    assert [one["status"] for one in json.loads(result.stdout)["films"]] == ["failed", "done"]
    assert {path: path.read_bytes() for path in footage.rglob("*.mkv")} == before


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
    assert "not a pipe" in upscale(footage, "-").stderr
    wrong = upscale(footage, tmp_path / "out", "-m", "nonsense")
    assert wrong.exit_code == 2
    assert not (tmp_path / "out").exists()
    assert "for a folder" in upscale(film, tmp_path / "out.mkv", "--watch").stderr


def test_natural_order_and_names_that_meet(tmp_path: Path) -> None:
    assert sorted(["b10", "B2", "a", "b1"], key=natural) == ["a", "b1", "B2", "b10"]
    (tmp_path / "in").mkdir()
    for suffix in ("avi", "mpg"):
        (tmp_path / "in" / f"tape.{suffix}").touch()
    targets = [entry.target.name for entry in Folder(tmp_path / "in", tmp_path / "out").look()]
    assert targets == ["tape.mkv", "tape.mpg.mkv"]


def test_names_that_differ_by_case_or_form_do_not_meet(tmp_path: Path) -> None:
    """Where the outputs go, letters may have no case: also of folders, and of what was made earlier."""
    names = ["a/1.mpg", "A/1.avi", "Tape.avi", "tape.mpg", "TAPE.AVI", "tape.avi", "caf\u00e9.vob"]
    names += ["cafe\u0301.avi", "stra\u00dfe.avi", "STRASSE.vob", "tape.avi.mkv"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    if len(list((tmp_path / "in").rglob("*.*"))) < len(names):
        pytest.skip("letters have no case here")
    folder = Folder(tmp_path / "in", tmp_path / "out")
    first = {entry.source: entry.target for entry in folder.look()}
    assert len(first) == len(names)
    meeting = {unicodedata.normalize("NFD", str(target).casefold()) for target in first.values()}
    assert len(meeting) == len(names)
    later = Folder(tmp_path / "in", tmp_path / "out").look()
    assert {entry.source: entry.target for entry in later} == first
    for path in first:  # a film that is found anew keeps its name
        path.write_bytes(b"x")
    assert {entry.source: entry.target for entry in folder.look()} == first
    assert len(folder.entries) == len(names)


def test_a_film_keeps_the_name_that_it_has_on_the_list(tmp_path: Path) -> None:
    for name in ("in/Tape.avi", "in/tape.mpg", "out"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("Tape.avi", "tape.mpg"):
        (tmp_path / "in" / name).rmdir()
        (tmp_path / "in" / name).touch()
    with open_journal(tmp_path / "out" / FINISHED) as file:
        append(file, {"output": "Tape.mkv", "input": "Tape.avi"})
        append(file, {"output": "tape.mkv", "input": "tape.mpg"})
        append(file, {"output": "other.mkv"})
    entries = Folder(tmp_path / "in", tmp_path / "out").look()
    assert sorted(entry.target.name for entry in entries) == ["Tape.mkv", "tape.mkv"]


def test_a_look_at_a_folder_compares_no_film_with_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By counting comparisons of paths, not by a clock."""
    counts = []
    for films in (50, 100):
        footage = tmp_path / str(films)
        footage.mkdir()
        for number in range(films):
            (footage / f"{number}.avi").touch()
        folder, compared = Folder(footage, tmp_path / "out"), [0]

        def count(self: Path, compared: list[int] = compared, own: Any = Path.__hash__) -> int:
            compared[0] += 1
            return own(self)

        with monkeypatch.context() as patch:
            patch.setattr(type(footage), "__hash__", count)
            assert len(folder.look()) == films
            for path in folder._seen:
                path.write_bytes(b"x")
            assert len(folder.look()) == films
        counts.append(compared[0])
    assert counts[1] < 2.5 * counts[0]


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


def test_ctrl_c_finishes_the_frame_and_says_how_to_go_on(film: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "upscale", str(film), str(target), "-m", "clean", "-s", "2"]
    options = ["--segment", "1", "--preset", "ultrafast", "--progress", "json"]
    process = subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    told: list[dict[str, Any]] = []
    for line in process.stderr:
        told.append(json.loads(line))
        if told[-1].get("frames") == 40:
            process.send_signal(signal.SIGINT)
            break
    told += [json.loads(line) for line in process.stderr]
    assert process.wait(timeout=60) == 130
    assert {"type": "warning", "message": SOFTLY} in told
    after = [one["frames"] for one in told if one["type"] == "progress" and one["frames"] > 40]
    assert len(after) < 25  # the current frame, and what was told meanwhile
    assert re.search(r"[12] of 3 segments of .* are kept", told[-1]["message"])
    assert "the same command goes on" in told[-1]["message"]
    assert not target.exists()
    again = subprocess.run([*command, *options[:-2], "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["resumed_frames"] >= 20


@pytest.fixture
def _ctrl_c_is_heard() -> Iterator[None]:
    """A shell that runs the tests in the background has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_is_heard")
def test_the_first_ctrl_c_waits_for_the_frame_at_hand_and_the_second_does_not() -> None:
    said: list[str] = []
    with Interrupts(said.append) as interrupts:
        interrupts.check()
        signal.raise_signal(signal.SIGINT)
        assert said == [SOFTLY]
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with Interrupts(said.append), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # no frame is being made
    assert len(said) == 1
    with Interrupts(said.append) as interrupts:
        interrupts.check()
        interrupts.end_of_frames()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    late = Interrupts(said.append)
    late.__enter__()
    late.check()
    signal.raise_signal(signal.SIGINT)  # and no frame comes after it
    with pytest.raises(KeyboardInterrupt):
        late.__exit__(None, None, None)


def test_what_limits_is_the_thread_that_was_at_work_most(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("upscale.pipeline.time.monotonic", lambda: clock[0])
    stages = Stages()
    limit = Limit(stages)
    stages.busy |= {"decode": 0.3, "align": 0.4, "model": 0.6}
    assert limit.find() == ""
    clock[0] = 2.5
    assert limit.find() == "decode"
    stages.busy["encode"] += 2.0
    assert limit.find() == "decode"  # not asked again so soon
    clock[0] = 5.0
    assert limit.find() == "encode"


def test_the_bar_shows_the_stage_the_time_in_the_film_and_what_limits(
    film: Path, tmp_path: Path, upscale: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upscale.pipeline.LIMIT_OVER", 0.0)
    monkeypatch.setenv("COLUMNS", "200")
    options = ("-m", "nearest", "-s", 2)
    shown = [
        upscale(film, tmp_path / f"{n}.mp4", *options, "--segment", n, "--progress", "bar").stderr
        for n in (0, 1)
    ]  # the last that a bar showed
    assert re.search(r"at 0:00:02, limit: (decode|model|encode)", shown[0])
    assert re.search(r"75/7\d +frames .* joining", shown[1])
    lines = upscale(film, tmp_path / "out.mp4", *options, "--progress", "json").stderr.splitlines()
    steps = [told for told in map(json.loads, lines) if told["type"] == "progress"]
    assert steps[-1]["time"] == 2.96
    assert {told["limit"] for told in steps} <= {"decode", "model", "encode", None}
