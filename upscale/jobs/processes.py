"""Worker processes on this machine."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from upscale.jobs.crew import Crew, Hand, Place
from upscale.jobs.work import Event, Fault, Inbox, Task, Worker
from upscale.sampling.memory import is_out_of_memory


@dataclass(slots=True, eq=False)
class _Process(Hand):
    process: Any = None
    pipe: Connection | None = None


class Processes(Crew):
    """Worker processes on this machine: each has a GPU of its own, or its share of the cores."""

    def __init__(self, count: int):
        super().__init__()
        self._size = count
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Process] = []

    def __enter__(self) -> Self:
        self._workers = [self._start(number) for number in range(self._size)]
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
        process = self._context.Process(target=_serve, args=(theirs, number, self._size), daemon=True)
        process.start()
        theirs.close()
        return _Process(number, process=process, pipe=ours)


def _serve(pipe: Connection, number: int, count: int) -> None:
    """The life of a worker process, one of ``count``."""
    place = Place(number, count)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    lock, inbox = threading.Lock(), Inbox()

    def receive() -> None:
        """Take tasks off the pipe at once, however busy the worker is: a full pipe would stop both ends."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                inbox.put(place.settled(pipe.recv()))
        inbox.end()

    def tell(event: Event) -> None:
        with lock:
            pipe.send(event)

    threading.Thread(target=receive, daemon=True).start()
    try:
        Worker().work(inbox, tell)
    except Exception as error:
        if is_out_of_memory(error):  # as if the system had killed us: another try gets less
            os._exit(1)
        tell(Fault(traceback.format_exc()))
