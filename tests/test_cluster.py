"""A Ray cluster of two machines, as far as Ray knows: two raylets on loopback, started by these tests."""

import io
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ffmpeg
import psutil
import pytest
from click.testing import Result
from conftest import contents

from upscale.errors import UpscaleError
from upscale.jobs import actor, cluster
from upscale.jobs.actor import BLOCK, PREFIX, RemoteFile
from upscale.jobs.cluster import Cluster, shares
from upscale.jobs.queue import fingerprint
from upscale.jobs.work import Task
from upscale.pipeline import Job

Run = Callable[..., Result]
Options = tuple[object, ...]
LOSSLESS: Options = ("-s", 2, "--codec", "ffv1", "--json", "--segment", "0.5")
FAST: Options = (*LOSSLESS, "-m", "nearest")


@pytest.fixture(scope="module")
def client_port() -> int:
    """Where machines that are none of the cluster's reach it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def raylets(client_port: int) -> Iterator[Any]:
    """Two cores on one, which stands for the machine of the command, and a third on another."""
    testing = pytest.importorskip("ray.cluster_utils")
    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 << 20}
    health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        started = testing.Cluster(
            initialize_head=True,
            head_node_args=head | {"ray_client_server_port": client_port, "_system_config": health},
        )
        started.add_node(num_cpus=1, object_store_memory=100 << 20)
        yield started
        started.shutdown()


@pytest.fixture
def on_cluster(raylets: Any, upscale: Run) -> Callable[..., dict[str, Any]]:
    """Run the command with three workers on the two raylets: its summary."""

    def run(*arguments: object) -> dict[str, Any]:
        result = upscale(*arguments, "--cluster", raylets.address, "--workers", 3)
        assert result.exit_code == 0, result.output
        summary: dict[str, Any] = json.loads(result.stdout)
        return summary

    return run


@pytest.mark.parametrize("options", [(), ("--deinterlace", "on", "--deflicker")], ids=["film", "fields"])
def test_a_cluster_makes_the_very_same_film(
    options: Options, film: Path, upscale: Run, on_cluster: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    here, there = tmp_path / "here.mkv", tmp_path / "there.mkv"
    assert upscale(film, here, *LOSSLESS, *options).exit_code == 0
    assert on_cluster(film, there, *LOSSLESS, *options)["segments"] > 3
    assert len(contents(there)["video"]) == len(contents(film)["video"])
    assert contents(there) == contents(here)
    assert not list(tmp_path.glob(".*"))
    assert not left_behind()


def test_a_film_is_sent_where_nobody_sees_its_path(
    film: Path,
    upscale: Run,
    on_cluster: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = tmp_path / "here.mkv", tmp_path / "there.mkv"
    assert upscale(film, here, *FAST).exit_code == 0
    asked = []
    block = cluster._block
    monkeypatch.setattr(cluster, "_block", lambda *place: asked.append(place) or block(*place))
    # What lies there on the workers' machines is another file.
    monkeypatch.setattr("upscale.jobs.queue.fingerprint", lambda path: fingerprint(path) | {"sample": "?"})
    on_cluster(film, there, *FAST)
    assert contents(there) == contents(here)
    assert asked


def test_a_film_that_is_gone_half_way_fails(
    film: Path, raylets: Any, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_block", lambda *place: None)
    monkeypatch.setattr("upscale.jobs.queue.fingerprint", lambda path: fingerprint(path) | {"sample": "?"})
    result = upscale(film, tmp_path / "out.mkv", *FAST, "--cluster", raylets.address)
    assert result.exit_code == 1
    assert "cannot be read any more" in result.stderr


def test_a_client_of_the_cluster(
    film: Path, raylets: Any, client_port: int, upscale: Run, tmp_path: Path
) -> None:
    """ray://, as from a machine that is none of the cluster's."""
    here, there = tmp_path / "here.mkv", tmp_path / "there.mkv"
    assert upscale(film, here, *FAST).exit_code == 0
    result = upscale(film, there, *FAST, "--cluster", f"ray://127.0.0.1:{client_port}")
    assert result.exit_code == 0, result.output
    assert contents(there) == contents(here)


@pytest.fixture
def longer(tmp_path: Path) -> Path:
    """Six seconds: something to do for four workers, whatever happens."""
    return ffmpeg.make(tmp_path / "in.mkv", *ffmpeg.picture(seconds=6), *ffmpeg.X264B, "-g", "20")


def test_a_worker_and_a_raylet_die(
    longer: Path, raylets: Any, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First a worker process is killed, then a whole machine with the one that is on it."""
    here, there = tmp_path / "here.mkv", tmp_path / "there.mkv"
    options = (*LOSSLESS[:-1], "0.3", "-m", "clean")
    assert upscale(longer, here, *options).exit_code == 0
    second = raylets.add_node(num_cpus=1, object_store_memory=100 << 20)
    segments, working, started = tmp_path / ".there.mkv.upscale", [], []
    start = Cluster._start
    monkeypatch.setattr(Cluster, "_start", lambda self, wants: started.append(wants) or start(self, wants))

    raylet = second.all_processes["raylet"][0].process.pid

    def kill() -> None:
        until(lambda: any(worker.ppid() == raylet for worker in actors()))
        until(lambda: len(list(segments.glob("*.segment"))) >= 1)
        next(worker for worker in actors() if worker.ppid() != raylet).kill()
        until(lambda: len(list(segments.glob("*.segment"))) >= 3)
        raylets.remove_node(second, allow_graceful=False)
        working.append(not there.exists())

    killer = threading.Thread(target=kill)
    killer.start()
    result = upscale(longer, there, *options, "--cluster", raylets.address, "--workers", 4)
    killer.join()
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["frames"]  # and nothing else is there, whatever Ray has to tell
    assert working == [True]
    assert len(started) >= 4 + 2
    assert contents(there) == contents(here)


@pytest.mark.parametrize("what", ["__version__", "weights_digest"])
def test_a_worker_of_another_version_is_refused(
    what: str, film: Path, raylets: Any, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "9.9" if what == "__version__" else (lambda model, color: "other")
    monkeypatch.setattr(actor, what, other)
    result = upscale(film, tmp_path / "out.mkv", *FAST, "--cluster", raylets.address)
    assert result.exit_code == 1
    name = "upscale" if what == "__version__" else "weights"
    assert f"a worker is not used: {os.uname().nodename} has {name} " in result.stderr
    assert "no worker can be used" in result.stderr
    assert not left_behind()
    assert not list(tmp_path.glob(".*"))


def test_a_folder_goes_to_the_cluster(
    film: Path, on_cluster: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    footage = tmp_path / "footage"
    footage.mkdir()
    for number in range(3):
        (footage / f"tape {number}.mkv").write_bytes(film.read_bytes())
    report = on_cluster(footage, tmp_path / "out", *FAST)
    assert (report["done"], report["failed"]) == (3, 0)
    first, *others = (contents(Path(one["output"])) for one in report["films"])
    assert first == others[0] == others[1]


def test_ctrl_c_ends_the_workers_and_the_next_run_goes_on(
    longer: Path, raylets: Any, on_cluster: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    command = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
    options = [
        str(option) for option in (*LOSSLESS, "-m", "clean", "--threads", 1, "--cluster", raylets.address)
    ]
    process = subprocess.Popen(
        [*command, longer, target, *options],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    segments = tmp_path / ".out.mkv.upscale"
    until(lambda: len(list(segments.glob("*.segment"))) >= 2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=150)
    assert process.returncode == 130
    assert "segments of" in json.loads(out)["error"]
    until(lambda: not actors())
    assert not left_behind()
    assert not target.exists()
    assert on_cluster(longer, target, *LOSSLESS, "-m", "clean")["resumed_frames"] > 0
    assert len(contents(target)["video"]) == len(contents(longer)["video"])


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_where_no_cluster_is(address: str, film: Path, upscale: Run, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    result = upscale(film, tmp_path / "out.mkv", *FAST, "--cluster", address)
    assert result.exit_code == 1
    assert "no Ray cluster answers" in result.stderr
    assert "ray start --head" in result.stderr


def test_without_ray_it_says_what_to_install(
    film: Path, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = upscale(film, tmp_path / "out.mkv", *FAST, "--cluster", "auto")
    assert result.exit_code == 2
    assert "upscale-pixelcnn[cluster]" in result.stderr


def test_what_workers_ask_for() -> None:
    cpus, gpus = {"CPU": 16.0}, {"CPU": 12.0, "GPU": 2.0}
    assert shares([cpus, {"CPU": 2.0}], None) == [{"num_cpus": 4}] * 4 + [{"num_cpus": 2}]
    assert shares([cpus, gpus], None) == [{"num_gpus": 1, "num_cpus": 4}] * 2
    assert shares([cpus, gpus], 3) == [{"num_gpus": 1, "num_cpus": 1}] * 3
    assert shares([{"CPU": 2.0}] * 8, 4) == [{"num_cpus": 2}] * 4
    assert shares([cpus], 4) == [{"num_cpus": 4}] * 4
    assert shares([{"CPU": 2.0}, {"CPU": 1.0}], 3) == [{"num_cpus": 1}] * 3
    assert shares([], None) == [{"num_cpus": 1}]


def test_a_worker_that_ends_while_it_writes_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = SimpleNamespace(get_node_id=lambda: "here")
    monkeypatch.setitem(
        sys.modules, "ray", SimpleNamespace(get_runtime_context=lambda: context, nodes=lambda: [])
    )
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # Ctrl-C is still for pytest

    def write(worker: object, tasks: Iterable[Task], tell: object) -> None:
        (task,) = itertools.islice(tasks, 1)
        (task.folder / "first").touch()
        writing.set()
        for number in itertools.count():
            try:
                (task.folder / str(number)).touch()
            except OSError:
                stopped.set()
                return

    writing, stopped = threading.Event(), threading.Event()
    monkeypatch.setattr(actor.Worker, "work", write)
    worker = actor.Actor(0, 1)
    worker.hello("cpu", "float32")
    assert not list(tmp_path.iterdir())  # it may be killed before it has anything to do
    job = Job(Path("in.mkv"), Path("out.mkv"))
    worker.give(0, Task(7, job, (), (0, 0), (), Path("elsewhere"), {}))
    assert writing.wait(10)
    worker.end()
    assert stopped.wait(10)
    assert not list(tmp_path.iterdir())


def test_a_remote_file_reads_as_the_file_does() -> None:
    data = random.Random(3).randbytes(3 * BLOCK + 1000)
    fetched = []

    def fetch(offset: int, size: int) -> bytes:
        fetched.append((offset, size))
        return data[offset : offset + size]

    near, far = io.BytesIO(data), RemoteFile("in.mkv", len(data), fetch)
    moves = random.Random(4)
    for _ in range(200):
        place = moves.choice([(moves.randrange(len(data)), 0), (-moves.randrange(1000), 2), (10, 1)])
        assert far.seek(*place) == near.seek(*place)
        wanted = moves.choice([1, 100, 32768])
        read = far.read(wanted)
        assert near.read(len(read)) == read
        assert far.tell() == near.tell()
        assert read or near.tell() >= len(data)
    assert len(fetched) == 4
    assert fetched[0][1] <= BLOCK


def test_a_remote_file_that_cannot_be_read_says_so_once() -> None:
    def fetch(offset: int, size: int) -> bytes:
        raise UpscaleError("gone")

    file = RemoteFile("in.mkv", 1000, fetch)
    with pytest.raises(UpscaleError, match="gone"):
        file.read(10)
    assert file.read(10) == b""


def actors() -> list[psutil.Process]:
    """The processes of workers that have begun."""
    return [process for process in psutil.process_iter(["cmdline"]) if is_actor(process)]


def is_actor(process: psutil.Process) -> bool:
    return any(part.startswith("ray::Actor") for part in process.info["cmdline"] or ())


def left_behind() -> list[Path]:
    """Folders of workers that are no more."""
    return list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def until(condition: Callable[[], object], seconds: float = 150) -> None:
    """Wait for something that has to happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.05)
