"""Names for spans of work, which a profile shows. Knows no torch."""

import contextlib
from collections.abc import Callable, Iterator

Marks = Callable[[str], contextlib.AbstractContextManager[object]]

_marks: list[Marks] = [contextlib.nullcontext]
"""What marks a span, the last one. For all threads, as a profile is of the whole process."""


def span(name: str) -> contextlib.AbstractContextManager[object]:
    """A context for work of that name, in whatever thread. Costs nothing while no profile is taken."""
    return _marks[-1](name)


@contextlib.contextmanager
def marked_by(marks: Marks) -> Iterator[None]:
    """Have ``marks`` mark the spans meanwhile."""
    _marks.append(marks)
    try:
        yield
    finally:
        _marks.remove(marks)
