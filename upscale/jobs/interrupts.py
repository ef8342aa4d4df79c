"""Ctrl-C while films are made: once stops after the current frame, twice stops at once."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from upscale.telling import check_ended

SOFTLY = "stopping after the current frame; press Ctrl-C again to stop at once"


class Interrupts:
    """While it is used as a context manager, and frames are being made, the first Ctrl-C waits until
    ``check`` is called.

    Does nothing outside the main thread, and where Ctrl-C means something else already."""

    def __init__(self, tell: Callable[[str], None]):
        """``tell`` is given a line when Ctrl-C has come."""
        self._tell = tell
        self._asked = self._works = False
        self._usable = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )

    def __enter__(self) -> Self:
        if self._usable:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._usable:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind is None and self._asked:  # it came when there was no other frame
            raise KeyboardInterrupt

    def check(self) -> None:
        """A frame is done: raises KeyboardInterrupt if Ctrl-C, or a signal to end, came; in any thread."""
        check_ended()
        self._works = True
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt

    def end_of_frames(self) -> None:
        """No frame is being made now: raises KeyboardInterrupt if Ctrl-C has come, or when it comes."""
        self.check()
        self._works = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if not self._works:
            raise KeyboardInterrupt
        self._asked = True
        self._tell(SOFTLY)
