"""A belt between two threads: few frames at a time, in order, with the packets that travel between them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class StoppedBeltError(Exception):
    """Another thread has failed, or was interrupted; nothing to tell of this one."""


class Belt(Generic[Item]):
    """Hands items from one thread to another. ``is_large`` says which of them count against ``limit``."""

    def __init__(self, limit: int, is_large: Callable[[Item], bool]):
        self._limit, self._is_large = limit, is_large
        self._items: deque[Item] = deque()
        self._large = 0
        self._ended = self._stopped = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> None:
        """Lay an item on, when there is room for it. Raises StoppedBeltError."""
        large = self._is_large(item)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not large or self._large < self._limit)
            if self._stopped:
                raise StoppedBeltError
            self._items.append(item)
            self._large += large
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Stop both ends: put() and iteration raise StoppedBeltError from now on."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        """The items as they come, to the last. Raises StoppedBeltError."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._items or self._ended)
                if self._stopped:
                    raise StoppedBeltError
                if not self._items:
                    return
                item = self._items.popleft()
                self._large -= self._is_large(item)
                self._changed.notify_all()
            yield item


def overlap(
    produce: Callable[[Callable[[Item], None]], None],
    transform: Callable[[Iterator[Item]], Iterator[Result]],
    consume: Callable[[Result], None],
    is_large: Callable[[Item | Result], bool],
    release: Callable[[], None],
    limit: int = 2,
) -> None:
    """Produce, transform and consume at the same time: the first and the last in threads of their own.

    ``produce`` is given what to call with each item. Whatever goes wrong in one of the three, Ctrl-C among
    it, stops the others and is raised here, when they have ended; ``release`` is called then, and has to
    unblock threads that wait for something outside.
    """
    raw: Belt[Item] = Belt(limit, is_large)
    done: Belt[Result] = Belt(limit, is_large)
    failures: list[BaseException] = []

    def stop() -> None:
        raw.stop()
        done.stop()

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except StoppedBeltError:
            pass
        except BaseException as error:
            failures.append(error)
            stop()

    def read() -> None:
        produce(raw.put)
        raw.end()

    def write() -> None:
        for item in done:
            consume(item)

    threads = [threading.Thread(target=guarded, args=(work,), name=work.__name__) for work in (read, write)]
    for thread in threads:
        thread.start()
    try:
        for result in transform(iter(raw)):
            done.put(result)
        done.end()
        for thread in threads:
            thread.join()
    except StoppedBeltError:
        pass
    finally:
        if any(thread.is_alive() for thread in threads):
            stop()
            release()
            for thread in threads:
                thread.join()
    if failures:
        raise failures[0]
