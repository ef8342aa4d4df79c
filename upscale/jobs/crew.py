"""Several workers that share the tasks of a queue: which has which, and who gets those of a dead one."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from upscale.errors import UpscaleError
from upscale.jobs.queue import Queue
from upscale.jobs.work import Event, Task, TaskDone
from upscale.sampling.memory import PROGRAM, SHARE, available

AT_ONCE = 2
"""Tasks that a worker has: the one that it is at, and the next, so that it need not wait."""

STARTS = 3
"""How often in a row every worker may end before it has done anything."""


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
                    if self._starts >= STARTS * max(self._size, 1):
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
