"""What handing out a segment costs, with workers that sleep instead of computing.

    python benchmarks/scheduler.py --segments 10000 --workers 100 --sleep 0.5
    python benchmarks/scheduler.py --segments 10000 --workers 100 --sleep 0.5 --ray

The film of so many segments is real, and so are its index, the queue, and the files of the segments. The
workers sleep, and then hand in the same segment again and again: they are simulated, or with ``--ray``
actors of a Ray on this machine. The segments are not joined. Prints how long it takes against what the
sleep alone would, and the CPU time of this process for each segment, which is what limits how many workers
it can keep busy.
"""

import argparse
import hashlib
import heapq
import json
import math
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Self
from unittest import mock

import imageio_ffmpeg

from upscale.jobs import actor, cluster, queue
from upscale.jobs.actor import Block, Message
from upscale.jobs.cluster import Cluster
from upscale.jobs.crew import Crew, Hand
from upscale.jobs.queue import Hooks, Outcome, Queue
from upscale.jobs.work import Event, SegmentDone, Task, TaskDone
from upscale.jobs.workspace import segment_path
from upscale.media.write.packets import DIGEST, LENGTH, MAGIC
from upscale.motion.deflicker import Flicker
from upscale.pipeline import Job
from upscale.sampling.options import SampleOptions

FRAMES = 8
"""Of a segment: the fewest that there can be."""

RATE = 25


def make_film(path: Path, segments: int) -> None:
    seconds = segments * FRAMES / RATE
    picture = f"testsrc2=size=32x32:rate={RATE}:duration={seconds}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", picture]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(FRAMES), "-pix_fmt", "yuv420p"]
    subprocess.run([*command, *coded, str(path)], check=True)


class Sleepers(Crew):
    """So many workers that sleep, simulated: it is known when each wakes up."""

    def __init__(self, count: int, sleep: float, segment: bytes, record: dict[str, Any]):
        super().__init__()
        self._sleep, self._segment, self._record = sleep, segment, record
        self._hands = [Hand(number) for number in range(count)]
        self._ends: list[tuple[float, int, Task]] = []
        self._free = [0.0] * count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def hands(self) -> list[Hand]:
        return self._hands

    def give(self, hand: Hand, task: Task) -> None:
        self._free[hand.number] = max(self._free[hand.number], time.monotonic()) + self._sleep
        heapq.heappush(self._ends, (self._free[hand.number], hand.number, task))

    def wait(self) -> Iterator[tuple[Hand, Event]]:
        time.sleep(max(self._ends[0][0] - time.monotonic(), 0))
        while self._ends and self._ends[0][0] <= time.monotonic():
            _, number, task = heapq.heappop(self._ends)
            place = task.segments[0].number
            segment_path(task.folder, place).write_bytes(self._segment)
            yield self._hands[number], SegmentDone(task.film, place, self._record)
            yield self._hands[number], TaskDone(task.film)


class SleepingActor:
    """As ``cluster.Actor``: sleeps for each task."""

    def __init__(self, sleep: float, segment: bytes, record: dict[str, Any]):
        self._sleep, self._segment, self._record = sleep, segment, record
        self._tasks: dict[int, Task] = {}
        self._told: list[Message] = []
        self._changed = threading.Condition()

    def hello(self, device: str, precision: str) -> tuple[str, dict[str, str]]:
        threading.Thread(target=self._work, daemon=True).start()
        return "here", {}

    def give(self, number: int, task: Task) -> None:
        with self._changed:
            self._tasks[number] = task
            self._changed.notify_all()

    def events(self) -> list[Message]:
        with self._changed:
            self._changed.wait_for(lambda: self._told, actor.QUIET)
            told, self._told = self._told, []
            return told

    def end(self) -> None:
        pass

    def _work(self) -> None:
        number = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: number in self._tasks)  # noqa: B023
                task = self._tasks.pop(number)
            number += 1
            time.sleep(self._sleep)
            film, place = task.film, task.segments[0].number
            block = Block(film, place, self._segment)
            with self._changed:
                self._told += [block, SegmentDone(film, place, self._record), TaskDone(film)]
                self._changed.notify_all()


class SleepingCluster(Cluster):
    """A Ray on this machine with so many SleepingActors, all of which have begun."""

    def __init__(self, count: int, *what: Any):
        super().__init__("local", count, SampleOptions(), print)
        self._what = what

    def _start(self, wants: dict[str, float]) -> Any:
        self._number += 1
        kind = self._ray.remote(max_concurrency=cluster.THREADS, num_cpus=0)(SleepingActor)
        started = kind.remote(*self._what)
        return cluster._Remote(
            self._number, wants=wants, actor=started, answer=started.hello.remote("", "")
        )

    def _greet(self, remote: Any, name: str, who: dict[str, str]) -> None:
        remote.is_proven = True

    def __enter__(self) -> Self:
        super().__enter__()
        while not all(remote.is_proven for remote in self._remotes):
            list(self.wait())
        return self


def segment_file(size: int) -> tuple[bytes, dict[str, Any]]:
    """A file that counts as a segment, ``size`` bytes of nothing in it, and its record."""
    record = {
        "frames": FRAMES,
        "bytes": size,
        "noise": {"shots": [], "continues": False},
        "flicker": asdict(Flicker()),
        "reused": 0,
        "reused_tiles": 0,
        "busy": {},
        "arithmetic": "",
    }
    text = json.dumps(record).encode()
    data = MAGIC + bytes(size) + text + LENGTH.pack(len(text))
    return data + hashlib.blake2b(data, digest_size=DIGEST).digest(), record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--sleep", type=float, default=1.0, help="seconds for a segment")
    parser.add_argument("--kilobytes", type=int, default=100, help="of a segment")
    parser.add_argument("--ray", action="store_true")
    chosen = parser.parse_args()
    what = chosen.sleep, *segment_file(chosen.kilobytes << 10)
    ended: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(queue, "join", return_value=[]):
        source = Path(folder) / "in.mkv"
        make_film(source, chosen.segments)
        job = Job(
            source,
            source.with_name("out.mkv"),
            scale=2,
            segment=Fraction(FRAMES, RATE),
            sample=SampleOptions(model="nearest"),
        )
        crew = SleepingCluster(chosen.workers, *what) if chosen.ray else Sleepers(chosen.workers, *what)
        with crew:
            work = Queue(iter([job]), Hooks(ended=ended.append))
            began = time.monotonic()
            first = work.take()
            assert first is not None
            work.give_back(first)
            print(f"opening the film, with its index: {time.monotonic() - began:.1f} s")
            began, busy = time.monotonic(), time.process_time()
            crew.run(work)
            took, busy = time.monotonic() - began, time.process_time() - busy
        (outcome,) = ended
        assert outcome.error is None, outcome.error
        assert outcome.summary is not None
        count = outcome.summary.segments
    ideal = math.ceil(count / chosen.workers) * chosen.sleep
    print(f"{count} segments on {chosen.workers} workers that sleep {chosen.sleep:g} s for each:")
    print(f"{took:.1f} s, of which the sleep is {ideal:.1f} s ({took / ideal:.2f} times)")
    print(f"{1000 * busy / count:.2f} ms of this process's CPU time for a segment")


if __name__ == "__main__":
    main()
