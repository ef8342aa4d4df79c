"""Several workers that share the tasks of a queue: which has which, and who gets those of a dead one."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from upscale.errors import UpscaleError
from upscale.jobs.queue import Queue
from upscale.jobs.work import Event, Task, TaskDone
from upscale.sampling.memory import room

AT_ONCE = 2
"""Tasks that a worker has: the one that it is at, and the next, so that it need not wait."""

STARTS = 3
"""Worker deaths in a row, without a sign of life, after which we give up; times the number of workers."""


@dataclass(slots=True, eq=False)
class Hand:
    """What the command knows of one worker: its tasks, and whether it has sent anything yet."""

    number: int
    tasks: list[Task] = field(default_factory=list)
    """Those that it has been given and not ended yet, in order."""
    is_proven: bool = False
    """Whether it has sent anything."""


class Crew(ABC):
    """Several workers that take tasks and send events: what processes and a cluster have in common."""

    def __init__(self) -> None:
        self._size = 0
        """Workers that there are to be."""
        self._starts = 0
        """Of them, those in a row that have ended before they had done anything."""

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
                    self._fill(hand, queue)
            if not any(hand.tasks for hand in self.hands()):
                if (task := queue.take()) is None:
                    return
                queue.give_back(task)
            for hand, event in self.wait():
                if event is None:
                    self._bury(hand, queue)
                    continue
                hand.is_proven = True
                self._starts = 0
                queue.tell(event)
                if isinstance(event, TaskDone):
                    hand.tasks.pop(0)

    def _fill(self, hand: Hand, queue: Queue) -> None:
        """Give a worker one more task. One that has crashed a worker is given to a worker alone: a worker
        reads ahead, so that it may have been the task after it."""
        if len(hand.tasks) >= AT_ONCE or any(task.attempt for task in hand.tasks):
            return
        task = queue.take()
        if task is None:
            return
        if task.attempt and hand.tasks:
            queue.give_back(task)
            return
        hand.tasks.append(task)
        self.give(hand, task)

    def _bury(self, hand: Hand, queue: Queue) -> None:
        """What becomes of the tasks of a worker that is no more."""
        # The first is the one that it was at; the others were waiting.
        for task in reversed(hand.tasks[1:]):
            queue.give_back(task)
        for task in hand.tasks[:1]:
            queue.died(task)
        hand.tasks.clear()
        self._starts = 0 if hand.is_proven else self._starts + 1
        if self._starts >= STARTS * max(self._size, 1):
            raise UpscaleError(
                "workers crash as they start, perhaps for lack of memory; try --workers 1 to see the error"
            )


@dataclass(frozen=True, slots=True)
class Place:
    """One of several workers that share a machine."""

    number: int
    count: int
    cores: int | None = None
    """Of the CPU, for this worker; None for an equal share."""
    room: int | None = field(default_factory=room)
    """Bytes that all of them may take. Measured once: networks are kept while nothing of this changes."""

    def settled(self, task: Task) -> Task:
        """The task with this worker's threads, GPU and memory, which halves each time that the task has
        crashed a worker."""
        sample = task.job.sample
        memory = self.room if sample.memory is None else sample.memory
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
