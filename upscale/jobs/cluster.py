"""Workers on a Ray cluster: actors that stay, take tasks, and send back what comes of them.

    here (Cluster)                          there (Actor, one for each GPU or some cores)
    give(task)               -->            Worker.work, in a thread
    events()                 -->            waits until there is something, and answers with it:
                             <--              FramesDone, TaskDone, ...
                             <--              Wanted: a block of the film, if there is no shared path to it
    supply(data)             -->
                             <--              Block, Block ... SegmentDone: a finished segment

Ray places the actors, carries the blocks through its object store, and tells of actors and machines that
are no more. Each actor has one answer on its way at a time, and at most one block of the film: that
bounds what lies in the store.
"""

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from upscale.errors import UpscaleError, UsageError
from upscale.jobs.actor import Actor, Block, Message, Wanted, identity
from upscale.jobs.crew import Crew, Hand
from upscale.jobs.queue import Queue
from upscale.jobs.work import Event, Fault, SegmentDone, Task, TaskDone
from upscale.jobs.workspace import segment_path
from upscale.media.write.packets import DamagedPacketsError, put_in_place, read_record
from upscale.sampling.options import SampleOptions

CORES = 4
"""Of the CPU, that a worker without a GPU asks for, or all that its machine has: more help one network
little."""

THREADS = 4
"""Calls that a worker answers at a time: one waits for events."""

PATIENCE = 30.0
"""Seconds after which the user is told that workers have not begun yet."""

NO_CLIENT = "Ray Client is not connected"
"""What Ray says, in a plain Exception, when a connection by ray:// is lost."""

KNOCK = 10.0
"""Seconds in which a cluster has to answer."""

FAREWELL = 3.0
"""Seconds that workers have to remove their files at the end."""


@dataclass(slots=True, eq=False)
class _Remote(Hand):
    """An actor, as it is seen from here."""

    wants: dict[str, float] = field(default_factory=dict)
    """What it asks Ray for."""
    actor: Any = None
    has_begun: bool = False
    """Whether it has said hello."""
    given: int = 0
    """Tasks so far."""
    answer: Any = None
    """The reference to what it will say next."""
    file: BinaryIO | None = None
    """The segment that it is sending."""
    failed: dict[int, Exception] = field(default_factory=dict)
    """Films of which a segment could not be kept here -> why."""


class Cluster(Crew):
    """Workers on a Ray cluster, at ``address``: ``local`` starts one on this machine for the time being,
    ``auto`` takes the one that this machine belongs to.

    ``count`` workers, or None for one on every GPU, or without any one on every CORES cores. ``tell`` is
    called with what the user should know. Raises UsageError where there is no Ray, UpscaleError where there
    is no such cluster, or none of its workers is of use."""

    def __init__(self, address: str, count: int | None, sample: SampleOptions, tell: Callable[[str], None]):
        super().__init__()
        self._address, self._count, self._tell = address, count, tell
        self._asked = sample.device, sample.precision
        self._remotes: list[_Remote] = []
        self._number = 0
        self._exits = contextlib.ExitStack()
        self._has_told = False
        self._expected: dict[str, str] | None = None
        """What every worker has to match: our versions, and the first worker's arithmetic."""
        _set_environment()
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise UsageError(
                "--cluster wants Ray, which is not installed; pip install 'upscale-pixelcnn[cluster]'"
            ) from None

    def __enter__(self) -> Self:
        # Ray prints what it wants to tell, of machines that are gone, say, where our data go.
        self._exits.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.ExitStack() as exits:
            exits.push(self.__exit__)
            self._connect()
            wants = shares([node["Resources"] for node in self._ray.nodes() if node["Alive"]], self._count)
            self._size = len(wants)
            for each in wants:
                self._remotes.append(self._start(each))
            exits.pop_all()
        return self

    def _connect(self) -> None:
        at_term = signal.getsignal(signal.SIGTERM)
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address == "local":
            options["include_dashboard"] = False
        try:
            _knock(self._address)
            self._ray.init(self._address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError, self._ray.exceptions.RayError) as error:
            said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UpscaleError(
                f"--cluster {self._address}: no Ray cluster answers there ({said});"
                " start one with `ray start --head`, set RAY_AUTH_MODE=token for one that wants a token,"
                " or take --cluster local"
            ) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_term)  # which Ray has taken

    def __exit__(self, *_: object) -> None:
        for remote in self._remotes:
            _drop(remote)
        self._dismiss(self._remotes)
        self._remotes = []
        self._ray.shutdown()
        self._exits.close()

    def hands(self) -> list[Hand]:
        return [remote for remote in self._remotes if remote.is_proven]

    def give(self, hand: Hand, task: Task) -> None:
        assert isinstance(hand, _Remote)
        source = task.job.source.absolute()
        hand.actor.give.remote(hand.given, replace(task, job=replace(task.job, source=source)))
        hand.given += 1

    def wait(self) -> Iterator[tuple[Hand, Event | None]]:
        errors = self._ray.exceptions
        by_answer = {remote.answer: remote for remote in self._remotes}
        ready, waiting = self._ray.wait(list(by_answer), num_returns=1, timeout=PATIENCE)
        if not all(remote.is_proven for remote in self._remotes) and not ready and not self._has_told:
            self._has_told = True
            self._tell(
                f"{len(self.hands())} of {len(self._remotes)} workers have begun;"
                " the cluster has no room for the others yet"
            )
        ready += self._ray.wait(waiting, num_returns=len(waiting), timeout=0)[0] if waiting else []
        for answer in ready:
            remote = by_answer[answer]
            try:
                said = self._ray.get(answer)
                if remote.is_proven:
                    for message in said:
                        yield from self._taken(remote, message)
                else:
                    self._greet(remote, *said)
                remote.answer = remote.actor.events.remote()
            except _RefusedError as error:
                self._refuse(remote, str(error))
            except errors.RayTaskError as error:
                if remote.is_proven:  # a fault of ours
                    yield remote, Fault(str(error))
                    return
                self._refuse(remote, str(error.cause or error).strip().splitlines()[-1])
            except errors.RayError:
                # Dead, or out of reach: then it is to die, so that nobody does its tasks twice.
                self._ray.kill(remote.actor)
                _drop(remote)
                yield remote, None
                self._remotes[self._remotes.index(remote)] = self._start(remote.wants)

    def run(self, queue: Queue) -> None:
        try:
            super().run(queue)
        except Exception as error:
            is_gone = isinstance(error, ConnectionError | self._ray.exceptions.RayError)
            if is_gone or NO_CLIENT in str(error):
                raise UpscaleError(
                    f"--cluster {self._address}: the cluster is gone; what is finished is kept,"
                    " and the same command goes on"
                ) from error
            raise

    def _start(self, wants: dict[str, float]) -> _Remote:
        self._number += 1
        kind = self._ray.remote(max_concurrency=THREADS, max_restarts=0, **wants)(Actor)
        actor = kind.remote(int(wants.get("num_gpus", 0)), int(wants["num_cpus"]))
        hello = actor.hello.remote(*self._asked)
        return _Remote(self._number, wants=wants, actor=actor, answer=hello)

    def _greet(self, remote: _Remote, name: str, who: dict[str, str]) -> None:
        """Take a worker on. Raises _RefusedError for one whose frames would be others."""
        remote.has_begun = True
        if self._expected is None:
            # Where we run there may be no GPU; the workers have to agree on how they compute.
            self._expected = identity("cpu", "float32") | {"arithmetic": who.get("arithmetic", "")}
        for what, ours in self._expected.items():
            if who.get(what) != ours:
                raise _RefusedError(f"{name} has {what} {who.get(what)}, and {ours} is wanted")
        remote.is_proven = True

    def _refuse(self, remote: _Remote, why: str) -> None:
        self._tell(f"a worker is not used: {why}")
        self._remotes.remove(remote)
        self._dismiss([remote])
        if not self._remotes:
            raise UpscaleError(f"--cluster {self._address}: no worker can be used: {why}")

    def _dismiss(self, remotes: list[_Remote]) -> None:
        """End workers; those that have begun remove their files first."""
        with contextlib.suppress(self._ray.exceptions.RayError, ConnectionError):
            ends = [remote.actor.end.remote() for remote in remotes if remote.has_begun]
            if ends:
                self._ray.wait(ends, num_returns=len(ends), timeout=FAREWELL)
            for remote in remotes:
                self._ray.kill(remote.actor)

    def _taken(self, remote: _Remote, message: Message) -> Iterator[tuple[Hand, Event]]:
        """What a message means for the queue; blocks are none of its business."""
        if isinstance(message, Wanted):
            remote.actor.supply.remote(_block(remote, message))
            return
        if isinstance(message, Block | SegmentDone):
            (task,) = [
                task
                for task in remote.tasks
                if task.film == message.film and message.segment in {each.number for each in task.segments}
            ]
            try:
                path = segment_path(task.folder, message.segment)
                _keep(remote, path, message)
            except (OSError, DamagedPacketsError) as error:
                _drop(remote)
                remote.failed.setdefault(message.film, error)
            if isinstance(message, Block) or message.film in remote.failed:
                return
        if isinstance(message, TaskDone):
            message = replace(message, error=remote.failed.pop(message.film, None) or message.error)
        yield remote, message


def _set_environment() -> None:
    """What Ray is to know before it is imported."""
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # no new Ray where a connection is lost
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of what it will do


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray would try for minutes, and let no Ctrl-C through."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


class _RefusedError(Exception):
    """A worker that is not to be used; the message says why."""


def shares(nodes: list[dict[str, float]], count: int | None) -> list[dict[str, float]]:
    """What each of ``count`` workers is to ask Ray for, or of as many as there is room for on ``nodes``,
    whose resources these are."""
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    cores = int(sum(node.get("CPU", 0) for node in nodes))
    if count is not None:
        if gpus:
            return [{"num_gpus": 1, "num_cpus": 1}] * count
        sizes = range(min(CORES, max(cores, 1)), 1, -1)
        fits = (size for size in sizes if sum(node.get("CPU", 0) // size for node in nodes) >= count)
        return [{"num_cpus": next(fits, 1)}] * count
    wants: list[dict[str, float]] = []
    for node in nodes:
        here, its_gpus = int(node.get("CPU", 0)), int(node.get("GPU", 0))
        if its_gpus:
            wants += [{"num_gpus": 1, "num_cpus": max(min(CORES, here // its_gpus), 1)}] * its_gpus
        elif here and not gpus:
            wants += [{"num_cpus": min(CORES, here)}] * max(here // CORES, 1)
    return wants or [{"num_cpus": 1}]


def _block(remote: _Remote, wanted: Wanted) -> bytes | None:
    source = next((task.job.source for task in remote.tasks if task.film == wanted.film), None)
    if source is None:  # its task has failed, and the reader does not know yet
        return None
    try:
        with source.open("rb") as file:
            file.seek(wanted.offset)
            return file.read(wanted.size)
    except OSError:
        return None


def _keep(remote: _Remote, path: Path, message: Block | SegmentDone) -> None:
    """Write a block of a segment, or, after the last, give the segment its name."""
    if message.film in remote.failed:
        return
    if isinstance(message, Block):
        if remote.file is None:
            remote.file = path.with_name(f"{path.name}.{remote.number}.part").open("wb")
        remote.file.write(message.data)
        return
    assert remote.file is not None
    remote.file.flush()
    read_record(Path(remote.file.name))  # whole, as it was sent
    put_in_place(remote.file, path)
    remote.file = None


def _drop(remote: _Remote) -> None:
    """A segment that is half here will not be finished."""
    if remote.file is not None:
        with contextlib.suppress(OSError):
            remote.file.close()
        Path(remote.file.name).unlink(missing_ok=True)
        remote.file = None
