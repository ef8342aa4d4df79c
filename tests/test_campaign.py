"""Campaigns: training that can be killed, watched and harvested."""

import functools
import multiprocessing
import multiprocessing.process
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import picture

from upscale.errors import UpscaleError
from upscale.lab import cards, shards
from upscale.lab.campaign import journal
from upscale.lab.campaign.harvest import harvest
from upscale.lab.campaign.journal import Entry, Journal
from upscale.lab.campaign.plan import Campaign
from upscale.lab.campaign.run import is_running, run
from upscale.lab.campaign.status import Curve, curves, expected
from upscale.lab.campaign.tasks import Training
from upscale.lab.cli import main as lab
from upscale.media.picture import write_picture
from upscale.models import weights

KILLS = 10

TINY = """
calibration = "$PICTURES"

[training]
lessons = ["$PICTURES"]
validation = ["$PICTURES"]
kind = "luma"
scale = 2
batch = 2
crop = 32
channels = 4
blocks = 1
checkpoint_every = 5

[[stage]]
name = "first"
steps = {steps}
validate_every = 20

[[stage]]
name = "second"
initial = ["first"]
ships = "tiny"
steps = {steps}
learning_rate = 1e-3
checkpoint_every = 7
validate_every = 30
"""


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        grain = np.random.default_rng(number).integers(-20, 20, (80, 96, 3))
        write_picture(
            folder / f"{number}.png", (picture(96, 80, number) + grain).clip(0, 255).astype(np.uint8)
        )
    monkeypatch.setenv("PICTURES", str(folder))
    return folder


def plan(folder: Path, steps: int = 12, text: str = TINY) -> Path:
    path = folder / "tiny.toml"
    path.write_text(text.format(steps=steps))
    return path


def campaign(*arguments: object) -> Result:
    return CliRunner().invoke(lab, ["campaign", *map(str, arguments)])


def started(file: Path, place: Path) -> subprocess.Popen[str]:
    script = "from upscale.lab.cli import main; main(prog_name='upscale-lab')"
    command = [sys.executable, "-c", script, "campaign", "run", str(file), "--place", str(place)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.fixture(autouse=True)
def _unkind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests' own process keeps its priority, threads and signals."""
    monkeypatch.setattr("upscale.lab.campaign.run.yield_to_others", lambda: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_campaign_that_is_killed_ends_with_the_same_weights(pictures: Path, tmp_path: Path) -> None:
    """Bit for bit, after ten SIGKILLs at random moments while it trains, as if there had been none."""
    file, straight, killed = plan(tmp_path, 150), tmp_path / "straight", tmp_path / "killed"
    context = multiprocessing.get_context("forkserver")
    # Once and not twelve times; the second is what PyTorch imports for its first optimizer.
    context.set_forkserver_preload(["upscale.lab.campaign.run", "torch._dynamo"])

    def started(place: Path) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=run_quietly, args=(file, place))
        process.start()
        return process

    def ended(process: multiprocessing.process.BaseProcess) -> int | None:
        process.join()
        return process.exitcode

    assert ended(started(straight)) == 0
    moments = random.Random(2)
    for _ in range(KILLS):
        before = steps(killed)
        process = started(killed)
        while process.is_alive() and steps(killed) == before:  # until it has gone on
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.08))
        process.kill()
        assert ended(process) == -signal.SIGKILL  # it was not done yet
    assert ended(started(killed)) == 0
    for name in ("first", "first.best", "second", "second.best"):
        ours, theirs = (place / "tiny" / f"{name}.safetensors" for place in (straight, killed))
        assert weights.describe(ours).training == weights.describe(theirs).training
        state = weights.load(theirs).state_dict()
        for key, value in weights.load(ours).state_dict().items():
            assert torch.equal(state[key], value), (name, key)


def run_quietly(file: Path, place: Path) -> None:
    run([Campaign.read(file, place)], 1, lambda line: None)


def steps(place: Path) -> tuple[int, ...]:
    """When each checkpoint was written."""
    files = [place / "tiny" / f"{name}.checkpoint" for name in ("first", "second")]
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


def test_a_signal_stops_after_the_step_and_nothing_is_lost(pictures: Path, tmp_path: Path) -> None:
    text = TINY.replace("checkpoint_every = 5", "checkpoint_every = 1000000")
    file = plan(tmp_path, 100_000, text)
    process = started(file, tmp_path)
    assert process.stderr is not None
    line = process.stderr.readline()  # the first validation
    assert "tiny first  step 20/100000  loss " in line
    process.terminate()
    told = process.communicate()[1]
    assert process.returncode == 130
    assert "stopping after the current step" in told
    entries = journal.read(tmp_path / "tiny")
    assert Campaign.read(file, tmp_path).stages[0].done() == entries[-1].step >= 20


def test_a_campaign_yields_to_whatever_else_runs(pictures: Path, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    process = started(plan(tmp_path, 100_000), tmp_path)
    assert process.stderr is not None
    process.stderr.readline()
    try:
        running = psutil.Process(process.pid)
        assert running.nice() == 19
        if hasattr(psutil, "IOPRIO_CLASS_IDLE"):
            assert running.ionice().ioclass == psutil.IOPRIO_CLASS_IDLE
        assert is_running(Campaign.read(tmp_path / "tiny.toml", tmp_path))
        second = campaign("run", tmp_path / "tiny.toml", "--place", tmp_path)
        assert second.exit_code == 1
        assert "another campaign runs in" in second.stderr
        assert "tiny: running" in campaign("status", tmp_path / "tiny.toml", "--place", tmp_path).stdout
    finally:
        process.kill()
        process.communicate()
    assert not is_running(Campaign.read(tmp_path / "tiny.toml", tmp_path))  # a dead process holds no lock


def test_a_place_that_cannot_be_written_is_one_line(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = campaign("run", plan(tmp_path), "--place", tmp_path / "file" / "in it")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("Not a directory")
    told = campaign("status", tmp_path / "tiny.toml", "--place", tmp_path, "--plot", tmp_path / "plot.png")
    assert told.exit_code == 1
    assert "two validations" in told.stderr


def test_the_status_needs_no_data(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PICTURES")
    told = campaign("status", plan(tmp_path), "--place", tmp_path)
    assert told.exit_code == 0, told.output
    assert "first: step 0/12" in told.stdout


def test_from_the_file_to_shipped_weights(pictures: Path, tmp_path: Path) -> None:
    file, shipping = plan(tmp_path), tmp_path / "weights"
    shipping.mkdir()
    (shipping / "tiny.md").write_text(
        f"# tiny\n\n<!-- $ upscale-lab describe {shipping}/tiny.safetensors -->\nold\n<!-- end -->\nrest\n"
    )
    early = campaign("harvest", file, "--place", tmp_path, "--weights", shipping)
    assert early.exit_code == 0
    assert "no weights to ship in" in early.stderr
    file.write_text(file.read_text().replace("validate_every = 30", "validate_every = 6"))
    ran = campaign("run", file, "--place", tmp_path)
    assert ran.exit_code == 0, ran.output
    assert "tiny second  step 12/12" in ran.stderr
    again = campaign("run", file, "--place", tmp_path)
    assert (again.exit_code, again.stderr) == (0, "")  # nothing is left to do
    told = campaign("status", file, "--place", tmp_path, "--plot", tmp_path / "plot.png")
    assert told.exit_code == 0, told.output
    assert "tiny: not running" in told.stdout
    assert "second: step 12/12, loss " in told.stdout
    assert "hours of work" in told.stdout
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    first = campaign("harvest", file, "--place", tmp_path, "--weights", shipping)
    assert "the first of its name" in first.stderr
    shipped = weights.load(shipping / "tiny.safetensors")
    assert all(bool(block.ranges[:2].all()) for chain in shipped.residual_blocks for block in chain)
    card = (shipping / "tiny.md").read_text()
    assert "steps_done" in card
    assert "old" not in card
    assert card.endswith("rest\n")
    content = (shipping / "tiny.safetensors").read_bytes()
    second = campaign("harvest", file, "--place", tmp_path, "--weights", shipping)
    assert "+0.000 dB, no better; nothing is changed" in second.stderr
    assert (shipping / "tiny.safetensors").read_bytes() == content


FILM = """
calibration = "shards"

[training]
lessons = ["shards"]
validation = ["shards"]
kind = "luma"
batch = 2
crop = 32
channels = 4
blocks = 1
steps = 2

[[stage]]
name = "shards"
task = "shards"
photos = ["$PICTURES"]
steps = 1

[[stage]]
name = "x4"

[[stage]]
name = "x2"
scale = 2

[[stage]]
name = "judge"
task = "judge"
weights = ["x4", "x2"]
ships = ["tiny-x4", "tiny-x2"]
lessons = "shards"
validation = "shards"
steps = 2
"""


def test_on_another_machine_a_campaign_goes_on_from_what_ships(pictures: Path, tmp_path: Path) -> None:
    text = TINY.replace('name = "first"', 'name = "first"\nships = "tiny"')
    file, shipped = plan(tmp_path, text=text), tmp_path / "shipped"
    shipped.mkdir()
    here, there = tmp_path / "here", tmp_path / "there"
    whole = campaign("run", file, "--place", here, "--weights", shipped)
    assert whole.exit_code == 0, whole.output
    (here / "tiny" / "first.best.safetensors").rename(shipped / "tiny.safetensors")
    rest = campaign("run", file, "--place", there, "--since", "second", "--weights", shipped)
    assert rest.exit_code == 0, rest.output
    assert not list((there / "tiny").glob("first*"))
    one, other = (
        weights.load(place / "tiny" / "second.safetensors").state_dict() for place in (here, there)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    lost = campaign("run", file, "--place", there, "--since", "third", "--weights", shipped)
    assert (lost.exit_code, "there are first, second" in lost.stderr) == (2, True)


def test_a_campaign_may_take_what_another_one_made(pictures: Path, tmp_path: Path) -> None:
    text = TINY.replace('lessons = ["$PICTURES"]', 'lessons = ["$UPSCALE_CAMPAIGNS/other/shards"]')
    place = tmp_path / "place"
    first = Campaign.read(plan(tmp_path, text=text), place).stages[0]
    assert isinstance(first, Training)
    assert first.places.lessons == (place / "other" / "shards",)


def test_a_campaign_makes_its_own_shards_and_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, shipping = tmp_path / "photos", tmp_path / "weights"
    folder.mkdir()
    shipping.mkdir()
    write_picture(folder / "0.png", picture(640, 600))
    monkeypatch.setenv("PICTURES", str(folder))
    monkeypatch.setattr(shards, "make_shards", functools.partial(shards.make_shards, count=3))
    plans = Campaign.read(plan(tmp_path, text=FILM), tmp_path)
    assert run([plans], 1, lambda line: None)
    assert [stage.done() for stage in plans.stages] == [1, 2, 2, 2]
    for scale in (4, 2):
        (shipping / f"tiny-x{scale}.md").write_text("# no figures\n")
    verdicts = list(harvest(plans, shipping, lambda line: None))
    assert sorted(verdict.name for verdict in verdicts) == ["tiny-x2", "tiny-x4"]
    judged = [weights.load(shipping / f"tiny-x{scale}.safetensors").state_dict() for scale in (4, 2)]
    alone = weights.load(plans.stages[1].result).state_dict()
    for name in (key for key in alone if key.startswith("judge.")):
        assert torch.equal(judged[0][name], judged[1][name])
    assert any(not torch.equal(judged[0][name], alone[name]) for name in alone if name.startswith("judge."))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[[stage]]", "[[stages]]"), "unknown key 'stages'"),
        (('name = "first"', ""), "needs a name"),
        (('name = "first"', 'name = "second"'), "two stages are called 'second'"),
        (('kind = "luma"', 'kind = "gan"'), "no network is of the kind 'gan'"),
        (("batch = 2", "bach = 2"), "bach"),
        (("$PICTURES", "$NOWHERE"), "not set in the environment"),
        (('validation = ["$PICTURES"]', ""), "lessons and validation are needed"),
        (('name = "first"', 'name = "first"\ntask = "sing"'), "no task is called 'sing'"),
        (('calibration = "$PICTURES"', "calibration = 3"), "3 should be a text"),
        (("[training]", "[[training]]"), "[training] is one table"),
        (("batch = 2", "batch = 0"), "batch = 0 is too small"),
        (('name = "first"', 'name = ".."'), "needs a name"),
        (('name = "first"', 'name = "first"\ntask = "judge"'), "stage 'first': lessons is needed"),
        (
            ('name = "first"', 'name = "first"\ntask = "shards"\nphotos = ["$PICTURES"]\nwithout = "a*"'),
            "'a*' should be a list",
        ),
        (('name = "first"', 'name = "first"\ntask = "shards"'), "photos are needed"),
        (("steps = 12", "steps = "), "not TOML"),
        (("steps = 12", 'steps = "many"'), "steps = 'many' should be of the type int"),
        (('lessons = ["$PICTURES"]', 'lessons = "$PICTURES"'), "should be a list"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_line(
    change: tuple[str, str], said: str, pictures: Path, tmp_path: Path
) -> None:
    file = plan(tmp_path, text=TINY.replace("{steps}", "12").replace(*change))
    result = campaign("run", file, "--place", tmp_path)
    assert result.exit_code == 2
    assert said in result.stderr
    assert str(file) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_campaigns_of_this_repository_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PHOTOS", "CLIPS", "FONTS"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    root = Path(__file__).parent.parent
    files = sorted((root / "training").glob("*.toml"))
    assert files
    shipped = set()
    for file in files:
        for stage in Campaign.read(file).stages:
            shipped |= {candidate.name for candidate in stage.candidates}
    assert {f"{name}.safetensors" for name in shipped} == {
        path.name for path in (root / "weights").glob("*.safetensors")
    }


def test_a_journal_outlives_lines_that_were_cut_short(tmp_path: Path) -> None:
    def entry(step: int, loss: float) -> Entry:
        return Entry("a", step, 9, 0.0, loss)

    first = Journal(tmp_path)
    first.note(entry(1, 1.0))
    first.note(entry(2, 2.0))
    first.close()
    path = tmp_path / journal.FILE
    path.write_text(path.read_text()[:-9])  # a kill in the middle of a line
    second = Journal(tmp_path)
    second.note(entry(2, 2.5))
    second.note(entry(3, 3.0))
    second.close()
    assert [each.loss for each in journal.read(tmp_path)] == [1.0, 2.5, 3.0]
    third = Journal(tmp_path)
    third.note(entry(2, 7.0))  # done again
    third.close()
    assert [each.loss for each in journal.read(tmp_path)] == [1.0, 3.0, 7.0]


def test_time_without_work_does_not_count(pictures: Path, tmp_path: Path) -> None:
    plans = Campaign.read(plan(tmp_path), tmp_path)
    times = [0.0, 360.0, 90_000.0, 90_360.0]
    entries = [
        Entry("second", n, 12, at, validation={"temperature 0": n}, score=float(n))
        for n, at in enumerate(times)
    ]
    (curve,) = curves(plans, entries)
    assert curve.name == "tiny"
    assert curve.hours == pytest.approx([0, 0.1, 0.1, 0.2])


def test_what_is_to_be_expected_goes_on_as_it_went() -> None:
    hours = [0.1 * number for number in range(1, 30)]
    curve = Curve("a", hours, [33 - 0.4 * hour**-0.5 for hour in hours])
    assert expected(curve, 30.0) == pytest.approx(33 - 0.4 * 30**-0.5, abs=0.01)
    assert expected(Curve("a", hours[:3], curve.scores[:3]), 30.0) is None
    still = Curve("a", hours, [32.0] * len(hours))
    assert expected(still, 30.0) == pytest.approx(32.0)


def test_a_card_says_how_its_figures_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOS", "my photos")
    card = tmp_path / "card.md"
    text = "a\n<!-- $ upscale-lab evaluate '$PHOTOS/v' --scale 4 -->\nold\n<!-- end -->\nb\n"
    card.write_text(text)
    asked: list[list[str]] = []

    def printed(arguments: list[str]) -> str:
        asked.append(arguments)
        return "new \\1\n"

    assert cards.refresh(card, printed) == 1
    assert asked == [["upscale-lab", "evaluate", "my photos/v", "--scale", "4"]]
    assert card.read_text() == text.replace("old", "new \\1")

    def failing(arguments: list[str]) -> str:
        raise UpscaleError("no")

    with pytest.raises(UpscaleError):
        cards.refresh(card, failing)
    assert "new" in card.read_text()
    card.write_text("<!-- $ upscale-lab describe nothing.safetensors -->\n<!-- end -->\n")
    with pytest.raises(UpscaleError, match=r"describe nothing.safetensors failed"):
        cards.refresh(card)
    card.write_text("<!-- $ python -c 'print(6 * 7)' -->\n<!-- end -->\n")
    result = CliRunner().invoke(lab, ["figures", str(card)])
    assert (result.exit_code, result.stderr) == (0, "1 commands\n")
    assert "\n42\n" in card.read_text()
    card.write_text("<!-- $ rm -r / -->\n<!-- end -->\n")
    with pytest.raises(UpscaleError, match=r"begins with upscale-lab or python"):
        cards.refresh(card)
