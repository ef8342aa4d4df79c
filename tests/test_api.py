"""The Python API: what docs/api.md shows, and that it is the command's equal."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from conftest import contents, picture

import upscale
from upscale.api import Options
from upscale.cli import main
from upscale.media.read.source import Source

MakeClip = Callable[..., Path]
Run = Callable[..., Result]
ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "api.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_document_run(
    number: int, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(sound="aac")
    monkeypatch.chdir(tmp_path)
    luma = picture(64, 48)[None, ..., 0].astype(np.float32) / 255
    names = {"photo": picture(60, 44), "luma": luma, "chroma": np.full((2, 24, 32), 0.5, np.float32)}
    exec(compile(EXAMPLES[number], f"{DOCUMENT.name}, example {number + 1}", "exec"), names)


def test_the_package_is_light_until_something_is_asked_of_it() -> None:
    code = "import upscale, sys; assert not {'torch', 'av', 'numpy', 'click'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'movie'"):
        _ = upscale.movie  # type: ignore[attr-defined]
    for name in upscale.__all__:
        assert getattr(upscale, name).__doc__


def test_a_film_is_the_commands(make_clip: MakeClip, upscale_command: Run, tmp_path: Path) -> None:
    source = make_clip(frames=10, sound="aac")
    done: list[int] = []
    summary = upscale.film(
        source,
        str(tmp_path / "api.mkv"),
        scale=2,
        model="clean",
        temperature=0.3,
        codec_options={"g": "3"},
        start=0.08,
        duration="0.2",
        on_frame=done.append,
    )
    part = ("--start", "0.08", "--duration", "0.2")
    options = ("-s", 2, "-m", "clean", "-t", 0.3, "--codec-option", "g=3", *part)
    assert upscale_command(source, tmp_path / "command.mkv", *options).exit_code == 0
    assert contents(tmp_path / "api.mkv") == contents(tmp_path / "command.mkv")
    assert summary.frames == 5
    assert done == [1, 2, 3, 4, 5]
    assert summary.job.start == Fraction(2, 25)


@pytest.fixture
def upscale_command(upscale: Run) -> Run:
    """``upscale`` is the package here."""
    return upscale


def test_films_know_the_commands_options() -> None:
    elsewhere = {
        "source", "target", "preview", "at", "export_keys", "report", "suffix", "ext", "watch",
        "skip_existing", "progress", "quiet", "as_json", "dry_run", "debug", "list_models", "version",
        "workers", "cluster",
    }  # fmt: skip
    known = {parameter.name for parameter in main.params} - elsewhere
    assert set(Options.__annotations__) == known
    named = set(re.findall(r"`(\w+)`", DOCUMENT.read_text()))
    assert known | {"workers", "cluster"} <= named


def test_what_goes_wrong_is_one_kind_of_error(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip()
    with pytest.raises(upscale.UpscaleError, match="no such file"):
        upscale.film("none.mp4", tmp_path / "out.mp4")
    with pytest.raises(upscale.UsageError, match="out of range"):
        upscale.film(source, tmp_path / "out.mp4", scale=9)
    with pytest.raises(upscale.UsageError, match="is not a time"):
        upscale.film(source, tmp_path / "out.mp4", start="soon")
    with pytest.raises(TypeError, match="no option is called 'sharpness'"):
        upscale.film(source, tmp_path / "out.mp4", sharpness=3)  # type: ignore[call-arg]
    wrong = {
        "grain": "Moving", "deinterlace": "Bob", "color": "Auto", "precision": "half", "temperature": 5.0,
        "denoise": 3, "dirt": "lots", "crf": 99, "batch": 0, "segment": -1, "threads": -1, "seed": -1,
        "scale": "large", "start": float("nan"),
    }  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises(upscale.UsageError, match=name):
            upscale.film(source, tmp_path / "out.mp4", **{name: value})  # type: ignore[arg-type]
    with pytest.raises(upscale.UsageError, match="temperature"):
        upscale.Model.load("clean-x2", temperature=2)
    with pytest.raises(upscale.UsageError, match="clean sees one"):
        upscale.Model.load("clean-x2", dirt=0.5)
    upscale.Model.load("clean-x2", dirt="off")
    with pytest.raises(upscale.UsageError, match="write MODEL-xSCALE"):
        upscale.Model.load("film")
    with pytest.raises(upscale.UsageError, match="out of range"):
        upscale.Model.load("film-x9")
    with pytest.raises(upscale.UsageError, match="there are film, clean"):
        upscale.Model.load("sharp-x2")
    with pytest.raises(upscale.UsageError, match="does not tell how sure"):
        upscale.Model.load("mean-x2").uncertainty(picture(32, 32))


CALL = 'upscale.film("in.mkv", "out.mkv", scale=2, model="nearest", segment=0.1, workers=2)'
GUARDED = f"import upscale\nif __name__ == '__main__':\n    {CALL}\n"
POOL = f"""
import multiprocessing, upscale
def film(number):
    {CALL}
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.map(film, [0])
"""


@pytest.mark.parametrize(
    ("program", "has_file", "said"),
    [
        (f"import upscale\n{CALL}\n", True, '`if __name__ == "__main__":`'),
        (f"import upscale\n{CALL}\n", False, "want the program in a file"),
        (f"import os, upscale\nos.remove(__file__)\n{CALL}\n", True, "want the program in a file"),
        (GUARDED, False, "want the program in a file"),
        (POOL, True, "a daemonic process"),
        (f"import os, upscale\nif __name__ == '__main__':\n    os.mkdir('gone'); os.chdir('gone')\n"
         f"    os.rmdir('../gone'); {CALL}\n", True, "the folder that this runs in is gone"),
        (GUARDED, True, ""),
    ],
    ids=["unguarded", "standard input", "deleted", "guarded standard input", "pool", "folder", "guarded"],
)  # fmt: skip
def test_programs_that_may_have_workers_and_those_that_may_not(
    program: str, has_file: bool, said: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    make_clip("in.mkv", frames=6, codec="mpeg4")
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "program.py" if has_file else "-"]
    done = subprocess.run(
        command, input="" if has_file else program, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == bool(said)
    assert "memory" not in done.stderr
    last = done.stderr.splitlines()[-1:] or [""]
    assert said in last[0]
    assert last[0].startswith("upscale.errors.") == bool(said)
    assert (tmp_path / "out.mkv").exists() == (not said)
    assert "bootstrapping" not in done.stderr  # of Python's own traceback, in each worker


def test_ctrl_c_stays_a_keyboard_interrupt(make_clip: MakeClip, tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale.film(make_clip(), tmp_path / "out.mp4", model="nearest", on_frame=stop)
    assert not (tmp_path / "out.mp4").exists()


def test_pictures_come_back_as_what_they_were() -> None:
    # In int8 the last bit of a float may turn a code over, and move the answer by two levels.
    model = upscale.Model.load("clean-x2", temperature=0, precision="float32")
    rgb = picture(48, 40)
    bytes_ = model(rgb)
    floats = model(rgb.astype(np.float32) / 255)
    assert bytes_.shape == floats.shape == (80, 96, 3)
    assert (bytes_.dtype, floats.dtype) == (np.uint8, np.float32)
    assert np.abs(bytes_ / 255 - floats).max() < 1.5 / 255
    grey = model(rgb[..., 1])
    assert (grey.shape, grey.dtype) == ((80, 96), np.uint8)
    small = grey.reshape(40, 2, 48, 2).mean((1, 3))
    assert np.abs(small - rgb[..., 1]).mean() < 3
    for wrong in (rgb[..., :2], rgb.astype(np.int32), rgb[None], rgb[:0], [1, 2]):
        with pytest.raises(upscale.UsageError, match="a picture is an array, RGB"):
            model(wrong)
    luma = np.full((1, 8, 8), 0.5, np.float32)
    with pytest.raises(upscale.UsageError, match="does not go with luma"):
        model((luma, np.zeros((2, 3, 8), np.float32)))
    with pytest.raises(upscale.UsageError, match="planes are a tuple"):
        model(([1],))


@pytest.mark.parametrize("shape", [(1, 1, 3), (9, 1, 3), (1, 7, 3), (2, 2)])
def test_the_smallest_pictures_are_enlarged_too(shape: tuple[int, ...]) -> None:
    larger = upscale.Model.load("film-x4")(np.full(shape, 100, np.uint8))
    assert larger.shape == (4 * shape[0], 4 * shape[1], *shape[2:])


def test_an_answer_does_not_change_with_the_callers_arrays() -> None:
    model = upscale.Model.load("clean-x2", temperature=0)
    luma = np.full((1, 16, 16), 0.2, np.float32)
    first = model((luma,))
    assert first[0].mean() == pytest.approx(0.2, abs=0.01)
    first[0][:] = 0
    assert model((luma,))[0].mean() == pytest.approx(0.2, abs=0.01)
    luma[:] = 0.9
    assert model((luma,))[0].mean() == pytest.approx(0.9, abs=0.01)


def test_nothing_happens_to_pixels_that_no_network_touches() -> None:
    rgb = picture(48, 40)
    model = upscale.Model.load("nearest-x1")
    np.testing.assert_array_equal(model(rgb), rgb)


@pytest.mark.parametrize("model", ["clean", "film"])
def test_frames_are_those_of_the_film(model: str, make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("in.mkv", frames=7, codec="ffv1")
    upscale.film(source, tmp_path / "out.mkv", scale=2, model=model, codec="ffv1", device="cpu")
    with Source(source) as film:
        given = [frame.planes for frame in film.frames()]
    with Source(tmp_path / "out.mkv") as film:
        made = [frame.planes for frame in film.frames()]
    answers = list(upscale.Model.load(f"{model}-x2").frames(iter(given)))
    assert len(answers) == 7
    for one, other in zip(answers, made, strict=True):
        for plane, stored in zip(one, other, strict=True):
            assert np.abs(plane - stored).max() < 0.6 / 219  # rounded to codes


def test_frames_come_as_they_go_and_have_one_size() -> None:
    taken: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(12):
            taken.append(number)
            yield picture(32, 24, number)

    answers = upscale.Model.load("film-x2", temperature=0).frames(frames())
    next(answers)
    assert len(taken) < 12
    rgb = picture(32, 24)
    for other in (picture(24, 32), rgb / np.float32(255), rgb[..., 0]):
        for model in ("nearest-x2", "film-x2"):
            with pytest.raises(upscale.UsageError, match="of one size, kind and dtype"):
                list(upscale.Model.load(model).frames(iter([rgb, other, rgb, rgb])))
    assert list(upscale.Model.load("nearest-x2").frames([])) == []


def test_python_dash_m_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "upscale", "--version", "--debug"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"upscale {upscale.__version__}\n")
    assert f"torch {torch.__version__}" in done.stdout
    assert re.search(r"^FFmpeg \d", done.stdout, re.MULTILINE)
    assert re.search(r"^device (cpu|cuda|mps)", done.stdout, re.MULTILINE)
