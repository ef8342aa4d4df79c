"""A worker in a process of Ray's, and what it and ``cluster.Cluster`` say to each other."""

import contextlib
import functools
import os
import queue
import shutil
import signal
import socket
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from upscale import __version__
from upscale.errors import UpscaleError
from upscale.jobs.crew import Place
from upscale.jobs.work import Event, Fault, FramesDone, Inbox, SegmentDone, Task, TaskDone, Worker
from upscale.jobs.workspace import LOCK, fingerprint, segment_path
from upscale.media.picture import is_sequence
from upscale.media.read.source import FilmFile
from upscale.models.catalog import MODELS, weights_digest
from upscale.sampling.memory import is_out_of_memory

BLOCK = 4 << 20
"""Bytes of a film, or of a segment, that travel at once."""

CACHED = 4
"""Blocks of a film that a worker keeps: demuxers jump about between pictures and an index."""

GATHER = 0.5
"""Seconds for which a worker adds up encoded frames before it tells of them."""

QUIET = 10.0
"""Seconds after which a worker answers although there is nothing to tell."""

PREFIX = "upscale-worker-"
"""Of the folders for segments that are not sent yet, in the system's folder for temporary files."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A worker wants bytes of a film, and waits for them."""

    film: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Block:
    """The next bytes of the segment whose SegmentDone follows."""

    film: int
    segment: int
    data: bytes


Message = Event | Wanted | Block


def identity(device: str, precision: str) -> dict[str, str]:
    """All that the frames of a worker depend on, but for its tasks: what it is called, and what it is here.

    Raises UsageError if it cannot compute on that device in that precision."""
    import av
    import cv2
    import torch

    from upscale.sampling.upscaler import arithmetic_of, choose_device, choose_precision

    chosen = choose_device(device)
    digests = [weights_digest(model, color=True)[:8] for model in MODELS.values()]
    return {
        "upscale": __version__,
        "weights": " ".join(digests),
        "PyAV": av.__version__,
        "PyTorch": torch.__version__,
        "OpenCV": cv2.__version__,
        "arithmetic": arithmetic_of(choose_precision(precision, chosen), chosen),
    }


class Actor:
    """A worker, in a process of Ray's. ``Cluster`` calls its methods, which Ray runs in THREADS, in no
    certain order."""

    def __init__(self, gpus: int, cores: int):
        """``gpus`` and ``cores`` are what Ray has set aside for it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
        self._gpus, self._cores = gpus, cores
        self._place = Place(0, 1)
        self._tasks: dict[int, Task] = {}
        """By their number, those that came too early."""
        self._next = 0
        self._inbox = Inbox()
        self._folder: Path | None = None
        self._blocks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outbox: deque[Iterator[Message]] = deque()
        self._frames: dict[tuple[int, int], FramesDone] = {}
        """(film, segment) -> frames encoded, and not told of yet."""
        self._changed = threading.Condition()
        self._here: dict[str, bool] = {}
        """Films -> whether this machine sees them by their path."""

    def hello(self, device: str, precision: str) -> tuple[str, dict[str, str]]:
        """The name of this machine and the ``identity``; from now on it takes tasks."""
        who = identity(device, precision)
        import ray

        here = ray.get_runtime_context().get_node_id()
        nodes: list[dict[str, Any]] = ray.nodes()
        node: dict[str, float] = next((each["Resources"] for each in nodes if each["NodeID"] == here), {})
        share = node.get("GPU", 1) // self._gpus if self._gpus else node.get("CPU", 1) // self._cores
        self._place = Place(0, max(int(share), 1), self._cores)
        _clear_left_behind()
        threading.Thread(target=self._work, daemon=True).start()
        return socket.gethostname(), who

    def give(self, number: int, task: Task) -> None:
        """Something to do, when all that has a lower number is done; the first is 0."""
        with self._changed:
            self._tasks[number] = task
            while (due := self._tasks.pop(self._next, None)) is not None:
                self._next += 1
                due = self._place.settled(due)
                folder = self._make_folder() / str(due.film)
                folder.mkdir(exist_ok=True)
                self._inbox.put(replace(due, folder=folder))

    def supply(self, data: bytes | None) -> None:
        """What was Wanted; None if it cannot be read any more."""
        self._blocks.put(data)

    def events(self) -> list[Message]:
        """What there is to tell, after waiting for it; one Block at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._outbox or self._frames, QUIET)
            self._changed.wait_for(lambda: self._outbox, GATHER if self._frames else 0)
            told: list[Message] = [*self._frames.values()]
            self._frames.clear()
        while self._outbox:
            for message in self._outbox[0]:
                told.append(message)
                if isinstance(message, Block):
                    return told
            self._outbox.popleft()
        return told

    def end(self) -> None:
        """Remove what is on this machine's disk."""
        with self._changed:
            if self._folder is None:
                return
            # Under another name first, so that a task that still runs cannot put a file there meanwhile.
            gone = self._folder.rename(self._folder.with_name(f".{self._folder.name}"))
        shutil.rmtree(gone, ignore_errors=True)

    def _make_folder(self) -> Path:
        """For segments; with the first task, as a worker may be killed before it was asked for anything."""
        if self._folder is None:
            new = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
            self._lock = FileLock(new / LOCK, thread_local=False)
            self._lock.acquire()
            # Only now by the name that other workers, which clear up as they begin, look for.
            self._folder = new.rename(new.with_name(new.name[1:]))
        return self._folder

    def _work(self) -> None:
        try:
            Worker(self._reach).work(self._inbox, self._tell)
        except Exception as error:
            if is_out_of_memory(error):  # as if the system had killed us: another try gets less
                os._exit(1)
            self._tell(Fault(traceback.format_exc()))

    def _tell(self, event: Event) -> None:
        if isinstance(event, TaskDone) and isinstance(event.error, OSError):
            # Of this machine's disk, not of the one that the film goes to.
            where = f"a worker on {socket.gethostname()} has failed"
            event = replace(event, error=UpscaleError(f"{where} ({event.error.strerror or event.error})"))
        with self._changed:
            if isinstance(event, FramesDone):
                place = event.film, event.segment
                before = self._frames.get(place)
                self._frames[place] = replace(event, frames=event.frames + (before.frames if before else 0))
            else:
                self._outbox.append(self._messages(event))
            self._changed.notify_all()

    def _messages(self, event: Event) -> Iterator[Message]:
        """An event as it is sent: a segment goes before the news of it."""
        if isinstance(event, SegmentDone):
            assert self._folder is not None  # it came with the task
            path = segment_path(self._folder / str(event.film), event.segment)
            with path.open("rb") as file:
                while data := file.read(BLOCK):
                    yield Block(event.film, event.segment, data)
            path.unlink()
        yield event

    def _reach(self, task: Task) -> FilmFile | None:
        path, known = task.job.source, repr((task.job.source, task.fingerprint))
        if known not in self._here:
            try:
                self._here[known] = fingerprint(path) == task.fingerprint
            except (OSError, ValueError):
                self._here[known] = False
        if self._here[known]:
            return None
        if is_sequence(path):
            raise UpscaleError(f"{path}: numbered pictures have to lie in a folder that all workers see")
        fetch = functools.partial(self._fetch, task.film)
        return RemoteFile(str(path), task.fingerprint["bytes"], fetch)

    def _fetch(self, film: int, offset: int, size: int) -> bytes:
        with self._changed:
            self._outbox.append(iter([Wanted(film, offset, size)]))
            self._changed.notify_all()
        data = self._blocks.get()
        if data is None:
            raise UpscaleError("the film cannot be read any more where the command runs")
        return data


class RemoteFile:
    """A film on another machine, as a file object for PyAV: what is read is fetched, block after block."""

    def __init__(self, name: str, size: int, fetch: Callable[[int, int], bytes]):
        """``fetch`` answers with the bytes at an offset, of a given count."""
        self.name = name
        self._size, self._fetch = size, fetch
        self._position = 0
        self._blocks: dict[int, bytes] = {}
        """The latest ones, the oldest first."""
        self._failed = False

    def read(self, size: int) -> bytes:
        """As of a file; may answer with less than ``size`` bytes. Raises what ``fetch`` does, once: PyAV
        reads on, and would drop what is raised again."""
        if self._failed or self._position >= self._size:
            return b""
        number, inside = divmod(self._position, BLOCK)
        if number not in self._blocks:
            try:
                offset = number * BLOCK
                self._blocks[number] = self._fetch(offset, min(BLOCK, self._size - offset))
            except UpscaleError:
                self._failed = True
                raise
            if len(self._blocks) > CACHED:
                del self._blocks[next(iter(self._blocks))]
        data = self._blocks[number][inside : inside + size]
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """As of a file."""
        return self._position


def _clear_left_behind() -> None:
    """Remove the folders of workers on this machine that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(Timeout, OSError), FileLock(folder / LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
