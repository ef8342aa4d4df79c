"""Where the time goes: a trace of the first frames of a film, by PyTorch's own profiler."""

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from upscale.errors import UpscaleError, UsageError
from upscale.media.write.place import check_small
from upscale.media.write.whole import part_of
from upscale.pipeline import Job, Summary
from upscale.spans import marked_by

FIRST, LAST = 2, 26
"""Frames between which operations are recorded: before, memory is taken and kernels are chosen; a trace of
many more is too large to be looked at."""

KINDS = {
    "8-bit convolutions": r"onednn::qconv",
    "convolutions": r"conv",
    "matrix products": r"::(_?addmm|_?mm|_?bmm|_int_mm|linear)",
    "rounding to 8 bits": r"::quantize",
    "resampling": r"::(upsample|avg_pool|grid_sample|pixel_)",
    "copies": r"::(copy_|cat|clone|contiguous|stack|index|fill_|zero_)|Memcpy|Memset",
}
"""Kind of layer -> the names of operations that belong to it; the first that fits."""

OTHERS = "other arithmetic"


def check_profile(trace: Path, job: Job) -> None:
    """All that is cheap to check before a film is made. Raises UsageError or UpscaleError."""
    if trace.suffix.lower() != ".json":
        raise UsageError(f"{trace}: a profile is a Chrome trace; give it a name that ends in .json")
    others = {"OUTPUT": job.target} | ({"--map": job.map} if job.map is not None else {})
    check_small(trace, job.overwrite, job.sources, others)


class Profile:
    """A trace that is being taken. Its spans are the stages of ``pipeline.STAGES``; in them are the
    operations of PyTorch, of all threads."""

    def __init__(self) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it tells of itself on standard error
        from torch._C._profiler import _ExperimentalConfig
        from torch.profiler import profile

        self._profiler: Any = profile(experimental_config=_ExperimentalConfig(profile_all_threads=True))
        self._thread = threading.get_ident()
        self._frames = 0
        self._runs = self._has_run = False

    def count(self) -> None:
        """One more frame was made; from any thread."""
        self._frames += 1

    @contextlib.contextmanager
    def mark(self, name: str) -> Iterator[None]:
        """A span of work. A profiler is to be begun and ended by one and the same thread: ours."""
        from torch.profiler import record_function

        if threading.get_ident() == self._thread:
            if not self._has_run and self._frames >= FIRST:
                self._profiler.start()
                self._runs = self._has_run = True
            elif self._frames >= LAST:
                self.stop()
        with record_function(name):
            yield

    def stop(self) -> None:
        """No more operations are recorded."""
        if self._runs:
            self._runs = False
            self._profiler.stop()

    def write(self, trace: Path) -> None:
        """Write it, for Perfetto or chrome://tracing. Raises UpscaleError."""
        if not self._has_run:
            raise UpscaleError(f"{trace}: too few frames were made; a profile begins after {FIRST}")
        partial = part_of(trace).with_suffix(".json")
        try:
            self._profiler.export_chrome_trace(str(partial))
            partial.replace(trace)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise UpscaleError(f"{trace}: cannot be written ({error})") from error

    def shares(self) -> dict[str, float]:
        """Kind of layer -> its share of the networks' time, from 0 to 1, the largest first."""
        seconds: dict[str, float] = {}
        for event in self._profiler.key_averages() if self._has_run else ():
            if "::" in event.key or event.self_device_time_total:
                took = event.self_device_time_total or event.self_cpu_time_total
                kind = next((k for k, names in KINDS.items() if re.search(names, event.key)), OTHERS)
                seconds[kind] = seconds.get(kind, 0.0) + took
        whole = sum(seconds.values()) or 1.0
        ordered = sorted(seconds.items(), key=lambda item: -item[1])
        return {kind: took / whole for kind, took in ordered}


def profiled(trace: Path, work: Callable[[Callable[[int], None]], Summary]) -> Summary:
    """Do the work, which is given what to call after each frame, and write a profile of it to ``trace``.

    The film is made: a profile that cannot be written is a warning of its summary."""
    profile = Profile()
    with marked_by(profile.mark):
        try:
            summary = work(lambda _: profile.count())
        finally:
            profile.stop()
    try:
        profile.write(trace)
        summary.layers = profile.shares()
    except UpscaleError as error:
        summary.warnings.append(f"there is no profile: {error}")
    return summary
