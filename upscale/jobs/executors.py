"""Who computes the tasks of a queue: this process, several beside it, or a cluster."""

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from upscale.checks import check_here
from upscale.errors import UpscaleError
from upscale.jobs.queue import Queue
from upscale.jobs.work import Worker
from upscale.sampling.memory import is_out_of_memory
from upscale.sampling.options import SampleOptions


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
        try:
            self._worker.work(queue.tasks(), queue.tell)
        except Exception as error:
            if is_out_of_memory(error):
                raise UpscaleError("there is too little memory; try --memory 1G, or less") from error
            raise


def executor(
    workers: int | None, cluster: str | None, sample: SampleOptions, tell: Callable[[str], None]
) -> Executor:
    """One for so many ``workers``: processes here, or actors on the ``cluster`` at that address, which has
    as many as it has room for where None are asked for. ``tell`` is called with what the user should know
    of them. Raises UsageError or UpscaleError where there can be none."""
    if cluster is not None or (workers or 1) > 1:
        check_here()
    if cluster is not None:
        from upscale.jobs.cluster import Cluster

        return Cluster(cluster, workers, sample, tell)
    if workers is not None and workers > 1:
        from upscale.jobs.processes import Processes

        return Processes(workers)
    return Serial()
