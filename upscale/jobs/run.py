"""One film or a folder of them, from the options of a command to what became of each."""

import contextlib
import time
from collections.abc import Callable

from upscale.errors import DiskFullError, UpscaleError, interrupted_code
from upscale.jobs.executors import Executor
from upscale.jobs.folder import Entry, Folder
from upscale.jobs.interrupts import Interrupts
from upscale.jobs.queue import Film, Hooks, Outcome, Queue, goes_in_one
from upscale.jobs.workspace import Workspace
from upscale.media.pipe import STANDARD
from upscale.pipeline import Job, Step, Summary, check_overwriting, prepared, run
from upscale.progress import FilmProgress, FolderProgress

LOOK_EVERY = 2.0
"""Seconds between two looks at a folder that is watched."""


def run_film(
    job: Job,
    executor: Callable[[], Executor],
    style: str,
    on_frame: Callable[[int], None] = lambda frames: None,
) -> Summary:
    """Do one film. ``style`` is of its progress; ``on_frame`` is told the number of frames done after each.

    Raises UpscaleError."""
    with prepared(job) as plan:
        name = "standard input" if job.source == STANDARD else job.source.name
        expected = plan.summary.expected
        if goes_in_one(plan):
            with contextlib.ExitStack() as exits:
                if job.target != STANDARD:
                    for target in filter(None, (job.target, job.map)):
                        exits.enter_context(Workspace(target))
                    check_overwriting(job)
                shown = exits.enter_context(FilmProgress(name, expected, style))

                def update(step: Step) -> None:
                    shown.update(step)
                    on_frame(step.frames)

                summary = run(plan, update)
                summary.pace = shown.pace
                return summary
    outcomes: list[Outcome] = []
    with (
        FilmProgress(name, expected, style) as shown,
        executor() as workers,
        Interrupts(shown.say) as interrupts,
    ):

        def opened(film: Film) -> None:
            shown.resume(film.resumed)

        def progress(film: Film) -> None:
            shown.update(film.step)
            on_frame(film.done)
            interrupts.check()

        def joining(film: Film) -> None:
            interrupts.end_of_frames()
            shown.stage("joining")

        hooks = Hooks(opened, progress, joining, outcomes.append)
        _finish(Queue(iter([job]), hooks), workers)
    (outcome,) = outcomes
    if outcome.error is not None:
        raise outcome.error
    assert outcome.summary is not None
    outcome.summary.pace = shown.pace
    return outcome.summary


def run_folder(
    folder: Folder, job: Job, executor: Executor, style: str, skip_existing: bool, watch: bool
) -> None:
    """Do the films of a folder; what became of them stands in its entries.

    Goes on after one that failed. Raises UpscaleError where nothing can go on, as on a full disk."""
    entries = folder.look(settle=watch)
    with executor as workers:
        while True:
            if entries:
                _run_entries(folder, entries, job, workers, style, skip_existing)
            if not watch:
                return
            time.sleep(LOOK_EVERY)
            entries = folder.look(settle=True)


def _run_entries(
    folder: Folder, entries: list[Entry], job: Job, workers: Executor, style: str, skip_existing: bool
) -> None:
    wanted = list(folder.jobs(entries, job, skip_existing))
    by_target = {one.target: entry for entry, one in wanted}
    with (
        FolderProgress(len(wanted), sum(entry.work for entry, _ in wanted), style) as shown,
        Interrupts(shown.say) as interrupts,
    ):

        def opened(film: Film) -> None:
            folder.begin(by_target[film.job.target])
            show(film)

        def show(film: Film) -> None:
            entry = by_target[film.job.target]
            expected = film.plan.summary.expected
            shown.update(entry.source, entry.work, film.step, film.resumed, expected)

        def progress(film: Film) -> None:
            show(film)
            interrupts.check()

        def ended(outcome: Outcome) -> None:
            entry = by_target[outcome.job.target]
            folder.note(entry, outcome)
            shown.end(entry.source, entry.work, outcome.error is None)
            if isinstance(outcome.error, DiskFullError):
                raise outcome.error

        def joining(film: Film) -> None:
            interrupts.end_of_frames()

        jobs = (one for _, one in wanted)
        _finish(Queue(jobs, Hooks(opened, progress, joining, ended)), workers)


def _finish(queue: Queue, workers: Executor) -> None:
    try:
        workers.run(queue)
    except KeyboardInterrupt as stop:
        raise StoppedError(stop, queue.kept, queue.unkept) from None
    finally:
        queue.close()


class StoppedError(UpscaleError):
    """Ctrl-C, or another signal to end; what is finished is kept."""

    def __init__(self, stop: KeyboardInterrupt, kept: list[str], unkept: list[str]):
        self.exit_code = interrupted_code(stop)
        goes_on = f"; {'; '.join(kept)}, and the same command goes on" if kept else ""
        nothing = "".join(f"; {line} (a smaller --segment keeps more often)" for line in unkept)
        super().__init__(f"interrupted{stop}; an earlier output is unchanged{goes_on}{nothing}")
