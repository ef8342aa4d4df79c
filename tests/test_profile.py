"""--profile: where the time goes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from upscale.look.profile import FIRST, LAST
from upscale.spans import marked_by, span

MakeClip = Callable[..., Path]
Run = Callable[..., Result]
FAST = ("-s", 2, "--preset", "ultrafast")


def test_a_profile_shows_stages_and_operations_of_some_frames(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.json"
    source = make_clip(frames=LAST + 4)
    result = upscale(source, tmp_path / "out.mp4", *FAST, "-m", "clean", "--profile", trace, "--json")
    assert result.exit_code == 0
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event.get("ph") == "X"]
    spans = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert {"decode", "model", "pack", "encode"} <= set(spans)
    assert LAST - FIRST - 3 <= spans.count("pack") <= LAST - FIRST + 3  # not the whole film
    threads = {
        name: {event["tid"] for event in events if event["name"] == name} for name in ("decode", "pack")
    }
    assert not threads["decode"] & threads["pack"]
    convolutions = [event for event in events if "conv" in event["name"]]
    models = [event for event in events if event["name"] == "model"]
    assert convolutions
    assert all(
        any(
            0 <= event["ts"] - model["ts"] <= model["dur"] and event["tid"] == model["tid"]
            for model in models
        )
        for event in convolutions
    )
    shares = json.loads(result.stdout)["layer_shares"]
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    assert max(shares, key=shares.get).endswith("convolutions")


def test_without_a_profile_the_summary_has_no_shares(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    result = upscale(make_clip(), tmp_path / "out.mp4", *FAST, "-m", "nearest", "--json")
    assert json.loads(result.stdout)["layer_shares"] is None


def test_a_film_that_is_too_short_has_no_profile_but_is_made(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.json"
    result = upscale(make_clip(frames=1), tmp_path / "out.mp4", *FAST, "-m", "nearest", "--profile", trace)
    assert result.exit_code == 0
    assert "there is no profile: " in result.stderr
    assert "too few frames were made" in result.stderr
    assert (tmp_path / "out.mp4").exists()
    assert not trace.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--profile", "trace.txt"], "ends in .json"),
        (["--profile", "there.json"], "exists; use -y"),
        (["--profile", "trace.json", "--workers", 2], "one film in one process"),
        (["--profile", "out.mp4"], "ends in .json"),
        (["--profile", "trace.json", "--preview", "sheet.png"], "make no film"),
    ],
)
def test_a_profile_that_cannot_be_is_refused_before_the_work(
    make_clip: MakeClip,
    upscale: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[object],
    said: str,
) -> None:
    source = make_clip()
    monkeypatch.chdir(tmp_path)
    Path("there.json").write_text("mine")
    result = upscale(source, "out.mp4", *options)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert not Path("out.mp4").exists()
    assert Path("there.json").read_text() == "mine"


def test_spans_are_marked_by_the_last_that_asked_and_by_none_after_it() -> None:
    seen: list[str] = []

    class Mark:
        def __init__(self, name: str):
            self._name = name

        def __enter__(self) -> None:
            seen.append(self._name)

        def __exit__(self, *_: object) -> None:
            seen.append(f"/{self._name}")

    with marked_by(Mark), span("model"):
        pass
    with span("later"):
        pass
    assert seen == ["model", "/model"]
