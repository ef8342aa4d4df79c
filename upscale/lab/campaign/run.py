"""Doing what campaigns say, beside other work: at the lowest priority, until all of it is done."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import cv2
import torch
from filelock import FileLock, Timeout

from upscale.errors import UpscaleError
from upscale.lab.campaign.journal import Entry, Journal
from upscale.lab.campaign.plan import Campaign
from upscale.lab.campaign.tasks import Task
from upscale.lab.train import Progress

LOWEST = 19
"""Of the priorities that a scheduler knows ("nice")."""

EVERY = 60.0
"""Seconds between two lines in the log."""

LOCK = "running.lock"

PATIENCE = 2.0
"""Seconds to wait for a lock: who asks whether a campaign runs holds it for a moment."""


def run(campaigns: Sequence[Campaign], threads: int, tell: Callable[[str], None]) -> bool:
    """Do one campaign after the other, each from where it stands; ``tell`` is given the lines of the log.

    Whether all of it is done: False if a signal stopped it. Raises UpscaleError where another one runs in
    the same place, which a process that has died does not."""
    yield_to_others()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    stop = Stop(tell)
    for campaign in campaigns:
        campaign.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as locks:
        for place in {campaign.folder.parent for campaign in campaigns}:
            locks.enter_context(alone(place))
        return all(_is_done(campaign, stop, tell) for campaign in campaigns)


def _is_done(campaign: Campaign, stop: "Stop", tell: Callable[[str], None]) -> bool:
    """Whether all of it is, after doing as much as there is until ``stop``."""
    # The lock of its own folder tells that it is this one that runs.
    with alone(campaign.folder), contextlib.closing(Journal(campaign.folder)) as journal:
        for stage in campaign.stages:
            for entry in _entries(stage, stop):
                journal.note(entry)
                tell(entry.line(campaign.name))
            if stop.asked:
                return False
    return True


def _entries(stage: Task, stop: "Stop") -> Iterator[Entry]:
    """Do the rest of a stage, or as much as there is until ``stop``: what the journal should say."""
    done, steps = stage.done(), stage.steps
    if done >= steps:
        return
    losses: list[float] = []
    since = 0.0  # the first step, as what comes before it is loading
    # Closing it writes a checkpoint.
    with contextlib.closing(stage.work()) as work:  # type: ignore[type-var]
        for report in work:
            if report.loss is not None:
                losses.append(report.loss)
            is_last = report.step >= steps or stop.asked
            now = time.monotonic()
            if not since:
                since, done = now, report.step
            if is_last or report.validation or now - since >= EVERY:
                yield _entry(stage, report, losses, (now - since) / max(report.step - done, 1))
                losses, since, done = [], time.monotonic(), report.step
            if stop.asked:
                return


def _entry(stage: Task, report: Progress, losses: list[float], seconds: float) -> Entry:
    return Entry(
        stage.name,
        report.step,
        stage.steps,
        round(time.time(), 3),
        sum(losses) / len(losses) if losses else None,
        round(seconds, 4),
        report.validation,
        stage.score(report.validation) if report.validation else None,
    )


class Stop:
    """SIGINT (Ctrl-C) and SIGTERM: the first one stops after the current step, the second one at once."""

    def __init__(self, tell: Callable[[str], None]):
        self.asked = False
        self._tell = tell
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's children hear no SIGINT
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._tell("stopping after the current step; once more stops at once")


def yield_to_others() -> None:
    """Take the lowest priority for processors, and for disks where the system has one."""
    import psutil

    if hasattr(os, "nice"):
        os.nice(LOWEST)
    if hasattr(psutil, "IOPRIO_CLASS_IDLE"):  # Linux
        with contextlib.suppress(psutil.Error, OSError):
            psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``. The system releases it, too, when the process dies."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise UpscaleError(f"another campaign runs in {folder}; stop it first, or wait") from None
    try:
        yield
    finally:
        lock.release()


def is_running(campaign: Campaign) -> bool:
    """Whether it runs now, in any process."""
    if not (campaign.folder / LOCK).exists():
        return False
    lock = FileLock(campaign.folder / LOCK)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
