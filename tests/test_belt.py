"""Three stages at a time: in order, bounded, and stopped together."""

import threading
import time
from collections.abc import Callable

import pytest

from upscale.belt import overlap


class StopHereError(Exception):
    pass


def run(
    count: int = 50,
    transform: Callable[[int], int] = lambda item: item,
    consume: Callable[[int], None] = lambda item: None,
    before: Callable[[int], None] = lambda item: None,
    release: Callable[[], None] = lambda: None,
) -> None:
    def produce(put: Callable[[int], None]) -> None:
        for item in range(count):
            before(item)
            put(item)

    overlap(produce, transform, consume, lambda item: item % 2 == 0, release)


def test_items_come_out_in_order() -> None:
    seen: list[int] = []
    run(transform=lambda item: item * 10, consume=seen.append)
    assert seen == [item * 10 for item in range(50)]


def test_no_more_large_items_wait_than_may() -> None:
    """Two on each belt, one in each hand; small ones travel along."""
    made, used, most = 0, 0, 0

    def before(item: int) -> None:
        nonlocal made, most
        made += item % 2 == 0
        most = max(most, made - used)

    def consume(item: int) -> None:
        nonlocal used
        time.sleep(0.002)
        used += item % 2 == 0

    run(100, before=before, consume=consume)
    assert 2 < most <= 7


@pytest.mark.parametrize("where", ["before", "transform", "consume"])
@pytest.mark.parametrize("error", [StopHereError, KeyboardInterrupt])
def test_a_failure_anywhere_stops_all_of_it(where: str, error: type[BaseException]) -> None:
    threads = threading.active_count()

    def fail(item: int) -> int:
        if item == 7:
            raise error
        return item

    with pytest.raises(error):
        run(**{where: fail})
    assert threading.active_count() == threads


def test_whoever_waits_outside_is_let_go() -> None:
    """The producer waits for something that never comes, as a pipe may; a failure elsewhere releases it."""
    gate = threading.Event()

    def before(item: int) -> None:
        if item == 3:
            gate.wait(30)

    def fail(item: int) -> int:
        raise StopHereError

    began = time.monotonic()
    with pytest.raises(StopHereError):
        run(before=before, transform=fail, release=gate.set)
    assert time.monotonic() - began < 10
