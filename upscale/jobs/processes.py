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
from multiprocessing.spawn import get_preparation_data
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from upscale.errors import UsageError
from upscale.jobs.crew import Crew, Hand, Place
from upscale.jobs.work import Event, Fault, Inbox, Task, Worker
from upscale.sampling.memory import is_out_of_memory

BEGUN = "begun"
"""What a worker sends first."""

NAME = "upscale-worker-"
"""Of the processes, before their number."""

UNGUARDED = 70
"""Exit code of a process that was to be a worker, and would have started workers of its own."""

RUN_AGAIN = (
    "each of them imports the program that has started it: have that in a file, and put what it does under"
    ' `if __name__ == "__main__":`, or take one worker'
)


@dataclass(slots=True, eq=False)
class _Process(Hand):
    process: Any = None
    pipe: Connection | None = None
    has_begun: bool = False
    """Whether it has said so."""


class Processes(Crew):
    """Worker processes on this machine: each has a GPU of its own, or its share of the cores."""

    def __init__(self, count: int):
        """Raises UsageError where Python allows no worker processes."""
        super().__init__()
        process = multiprocessing.current_process()
        if process.name.startswith(NAME) and getattr(process, "_inheriting", False):
            # A worker that imports the program which has started it: Python would print a long traceback.
            os._exit(UNGUARDED)
        if process.daemon:
            raise UsageError(
                "a daemonic process, as those of multiprocessing.Pool, may have no worker processes;"
                " take one worker there"
            )
        program = get_preparation_data(process.name).get("init_main_from_path")
        if program is not None and not Path(program).exists():
            raise UsageError(f"several workers want the program in a file, to run it too; {RUN_AGAIN}")
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
                event = worker.pipe.recv()
                if event == BEGUN:
                    worker.has_begun = True
                else:
                    yield worker, event
            except (EOFError, OSError):
                worker.process.join()
                if not worker.has_begun and worker.process.exitcode > 0:  # no signal has killed it
                    raise UsageError(f"worker processes cannot begin; {RUN_AGAIN}") from None
                yield worker, None
                self._workers[worker.number] = self._start(worker.number)

    def _start(self, number: int) -> _Process:
        ours, theirs = self._context.Pipe()
        # A daemon, as multiprocessing has them, ends with us, but for a SIGKILL: see ``_serve``.
        process = self._context.Process(
            target=_serve, name=f"{NAME}{number}", args=(theirs, number, self._size), daemon=True
        )
        process.start()
        theirs.close()
        return _Process(number, process=process, pipe=ours)


def _serve(pipe: Connection, number: int, count: int) -> None:
    """The life of a worker process, one of ``count``."""
    pipe.send(BEGUN)
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
