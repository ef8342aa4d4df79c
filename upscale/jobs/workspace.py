"""What is done of a film so far: a hidden folder beside the output, locked while someone works in it."""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from upscale.errors import UpscaleError
from upscale.media.picture import is_sequence, numbered
from upscale.media.write.destination import work_folder
from upscale.media.write.packets import DamagedPacketsError, read_record, sync_folder

MANIFEST, LOCK, SUFFIX = "manifest.json", "lock", ".segment"

SAMPLE = 1 << 20
"""Bytes at the beginning and at the end of a file that its fingerprint covers."""


class Workspace:
    """The finished segments of one output. Use it as a context manager: meanwhile nobody else writes it.

    At the end the folder goes, unless there are segments in it that a later run can go on from. The lock is
    the system's: it does not outlive the process. Raises UpscaleError where another one has it.
    """

    def __init__(self, target: Path):
        self._target = target
        self.path = work_folder(target)
        # Taken in the thread that reads, and released in another.
        self._lock = FileLock(self.path / LOCK, timeout=0, thread_local=False)

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise UpscaleError(
                f"{self._target}: another upscale is writing it; wait for it, or choose another name"
            ) from None
        except OSError as error:
            raise UpscaleError(f"{self._target}: cannot be written ({error.strerror})") from error
        for left in self.path.iterdir():  # of a run that was killed
            if left.name not in (MANIFEST, LOCK) and left.suffix != SUFFIX:
                _remove(left)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not any(self.path.glob(f"*{SUFFIX}")):
            self.clear()
        self._lock.release()

    def begin(self, identity: dict[str, Any], restart: bool) -> dict[int, dict[str, Any]]:
        """Make this the folder of a job: the records of its segments that an earlier run has finished.

        ``identity`` is all that the frames depend on; the segments of another job, and all of them with
        ``restart``, are thrown away."""
        manifest = self.path / MANIFEST
        text = json.dumps(identity, sort_keys=True, indent=1, default=str)
        try:
            is_same = not restart and manifest.read_text() == text
        except (OSError, ValueError):
            is_same = False
        records: dict[int, dict[str, Any]] = {}
        for path in sorted(self.path.glob(f"*{SUFFIX}")):
            try:
                if not is_same:
                    raise DamagedPacketsError
                records[int(path.stem)] = read_record(path)
            except (DamagedPacketsError, ValueError):
                path.unlink()
        if not is_same:
            beside = manifest.with_suffix(".part")
            with beside.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(manifest)
            sync_folder(self.path)
        return records

    def clear(self) -> None:
        """Nothing in it is needed any more."""
        shutil.rmtree(self.path, ignore_errors=True)


def clear_left_behind(target: Path) -> None:
    """Remove the folder of a run that was killed when the output was whole."""
    if work_folder(target).exists():
        with contextlib.suppress(UpscaleError), Workspace(target) as workspace:
            workspace.clear()


def segment_path(folder: Path, number: int) -> Path:
    """Where a finished segment lies."""
    return folder / f"{number:06}{SUFFIX}"


def fingerprint(source: Path) -> dict[str, Any]:
    """What tells a file from another, or from itself before it was changed: size, time of the last change,
    and the beginning and the end. Of numbered pictures, of all of them together."""
    digest = hashlib.blake2b(digest_size=16)
    size = changed = 0
    for path in numbered(source) if is_sequence(source) else [source]:
        status = path.stat()
        size, changed = size + status.st_size, max(changed, status.st_mtime_ns)
        with path.open("rb") as file:
            digest.update(file.read(SAMPLE))
            file.seek(max(status.st_size - SAMPLE, 0))
            digest.update(file.read(SAMPLE))
    return {"bytes": size, "changed": changed, "sample": digest.hexdigest()}


def is_like(known: object, now: dict[str, Any]) -> bool:
    """Whether two fingerprints are the same, but perhaps for the time: a copy, or a file that was touched.
    Between the parts that they cover, the files may differ: see ``content_of``."""
    return isinstance(known, dict) and all(known.get(key) == now[key] for key in ("bytes", "sample"))


def content_of(path: Path) -> str:
    """The hash of all of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
