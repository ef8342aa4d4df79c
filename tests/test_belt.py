"""Three stages at a time: in order, bounded, and stopped together."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from upscale import pipeline
from upscale.belt import overlap
from upscale.media.read.source import Source
from upscale.planes import Planes


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

    def each(items: Iterator[int]) -> Iterator[int]:
        return (transform(item) for item in items)

    overlap(produce, each, consume, lambda item: item % 2 == 0, release)


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


class Ahead:
    """A model as on a GPU: the answer to a frame is waited for when the next one was begun."""

    ahead, window, reused, reused_tiles, notes, arithmetic = 1, 0, 0, 0, (), ""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.begun = 0

    def begin(self, planes: Planes, time: int = 0) -> Callable[[], Planes]:
        number, self.begun = self.begun, self.begun + 1
        self.events.append(("begin", number))
        larger = tuple(plane.repeat(2, 1).repeat(2, 2) for plane in planes)

        def answer() -> Planes:
            self.events.append(("answer", number))
            return larger

        return answer


def test_a_frame_is_begun_before_the_one_before_is_waited_for(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Ahead()
    monkeypatch.setattr(pipeline, "open_networks", lambda *arguments: pipeline.Networks(model))
    job = pipeline.Job(make_clip(frames=5, sound="aac"), tmp_path / "out.mkv", scale=2)
    with pipeline.prepared(job) as plan:
        assert pipeline.run(plan).frames == 5
    assert model.events[:3] == [("begin", 0), ("begin", 1), ("answer", 0)]
    assert [number for what, number in model.events if what == "answer"] == list(range(5))
    with Source(tmp_path / "out.mkv") as film:
        assert film.info.width == 128
        assert len(list(film.frames())) == 5
