"""Who computes the tasks of a queue: this process, or several beside it. The results are the same."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Protocol, Self

from upscale.errors import UpscaleError
from upscale.jobs.queue import Queue
from upscale.jobs.work import Event, Fault, Task, TaskDone, Worker
from upscale.sampling.memory import PROGRAM, SHARE, available
from upscale.sampling.options import SampleOptions

AT_ONCE = 2
"""Tasks that a worker has: the one that it is at, and the next, so that it need not wait."""

STARTS = 3
"""Workers in a row that may end before they have done anything."""


class Executor(Protocol):
    """Does what a queue has. Use it as a context manager, for one queue after the other."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, queue: Queue) -> None:
        """Do all tasks of the queue, and tell it what comes of them."""


class Serial:
    """All in this process."""

    def __init__(self) -> None:
        self._worker = Worker()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to end."""

    def run(self, queue: Queue) -> None:
        self._worker.work(queue.tasks(), queue.tell)


@dataclass(slots=True)
class Hand:
    """One of several workers, from outside."""

    number: int
    tasks: list[Task] = field(default_factory=list)
    """Those that it has been given and not ended yet, in order."""
    is_proven: bool = False
    """Whether it has done anything."""


class Crew(ABC):
    """Several workers that take tasks and send events: what processes and a cluster have in common."""

    def __init__(self) -> None:
        self._starts = 0

    @abstractmethod
    def hands(self) -> list[Hand]:
        """The workers that are there to be given tasks."""

    @abstractmethod
    def give(self, hand: Hand, task: Task) -> None:
        """Send a task to a worker."""

    @abstractmethod
    def wait(self) -> Iterator[tuple[Hand, Event | None]]:
        """What workers have sent, after waiting for it; None of one that is no more."""

    def run(self, queue: Queue) -> None:
        """Keep the workers busy until the queue is empty and all is done."""
        while True:
            for _ in range(AT_ONCE):
                for hand in self.hands():
                    if len(hand.tasks) < AT_ONCE and (task := queue.take()) is not None:
                        hand.tasks.append(task)
                        self.give(hand, task)
            if not any(hand.tasks for hand in self.hands()):
                if (task := queue.take()) is None:
                    return
                queue.give_back(task)
            for hand, event in self.wait():
                if event is None:
                    self._starts = 0 if hand.is_proven else self._starts + 1
                    if self._starts >= STARTS:
                        raise UpscaleError("workers end before they have done anything; try --workers 1")
                    # The first is the one that it was at; the others were waiting.
                    for task in reversed(hand.tasks[1:]):
                        queue.give_back(task)
                    for task in hand.tasks[:1]:
                        queue.died(task)
                    hand.tasks.clear()
                    continue
                hand.is_proven = True
                queue.tell(event)
                if isinstance(event, TaskDone):
                    hand.tasks.pop(0)


@dataclass(slots=True)
class _Process(Hand):
    process: Any = None
    pipe: Connection | None = None


class Processes(Crew):
    """Worker processes on this machine: each has a GPU of its own, or its share of the cores."""

    def __init__(self, count: int):
        super().__init__()
        self._count = count
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Process] = []

    def __enter__(self) -> Self:
        self._workers = [self._start(number) for number in range(self._count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
        self._workers = []

    def hands(self) -> list[Hand]:
        return list(self._workers)

    def give(self, hand: Hand, task: Task) -> None:
        assert isinstance(hand, _Process)
        assert hand.pipe is not None
        with contextlib.suppress(OSError):  # it has died, and ``wait`` will tell
            hand.pipe.send(task)

    def wait(self) -> Iterator[tuple[Hand, Event | None]]:
        by_pipe = {worker.pipe: worker for worker in self._workers}
        for pipe in wait([pipe for pipe in by_pipe if pipe is not None]):
            worker = by_pipe[pipe]  # type: ignore[index]
            assert worker.pipe is not None
            try:
                yield worker, worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                yield worker, None
                self._workers[worker.number] = self._start(worker.number)

    def _start(self, number: int) -> _Process:
        ours, theirs = self._context.Pipe()
        # A daemon, as multiprocessing has them, ends with us, but for a SIGKILL: see ``_serve``.
        process = self._context.Process(
            target=_serve, args=(theirs, Place(number, self._count)), daemon=True
        )
        process.start()
        theirs.close()
        return _Process(number, process=process, pipe=ours)


@dataclass(frozen=True, slots=True)
class Place:
    """One of several workers that share a machine."""

    number: int
    count: int
    cores: int | None = None
    """Of the CPU, for this worker; None for an equal share."""

    def settled(self, task: Task) -> Task:
        """The task with this worker's share of the machine, less of the memory after each worker that it
        has ended."""
        sample = task.job.sample
        memory = sample.memory
        if memory is None and (free := available()) is not None:
            memory = PROGRAM + int((free - PROGRAM) * SHARE)
        if memory is not None:
            memory = memory // self.count // 2**task.attempt
        threads = sample.threads or self.cores or max((os.cpu_count() or 1) // self.count, 1)
        sample = replace(sample, memory=memory, threads=threads, device=self._device(sample.device))
        return replace(task, job=replace(task.job, sample=sample))

    def _device(self, asked: str) -> str:
        """A GPU of its own, where there are several."""
        if asked not in ("auto", "cuda"):
            return asked
        import torch

        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return f"cuda:{self.number % gpus}" if gpus else asked


def _serve(pipe: Connection, place: Place) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    lock = threading.Lock()

    def tasks() -> Iterator[Task]:
        while True:
            try:
                yield place.settled(pipe.recv())
            except EOFError:
                return

    def tell(event: Event) -> None:
        with lock:
            pipe.send(event)

    try:
        Worker().work(tasks(), tell)
    except Exception:  # a fault of ours, which another try would not mend
        tell(Fault(traceback.format_exc()))


def executor(
    workers: int | None, cluster: str | None, sample: SampleOptions, tell: Callable[[str], None]
) -> Executor:
    """One for so many ``workers``: processes here, or actors on the ``cluster`` at that address, which has
    as many as it has room for where None are asked for. ``tell`` is called with what the user should know
    of them."""
    if cluster is not None:
        from upscale.jobs.cluster import Cluster

        return Cluster(cluster, workers, sample, tell)
    return Processes(workers) if workers is not None and workers > 1 else Serial()
