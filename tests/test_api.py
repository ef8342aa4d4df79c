"""The Python API: what docs/api.md shows, and that it is the command's equal."""

import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
        "workers", "cluster", "profile",
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
    wrong = [rgb.astype(dtype) for dtype in (np.int32, np.uint16, ">u2", np.int64, bool, complex, object)]
    for other in (*wrong, rgb[..., :2], rgb[None], rgb[:0], rgb[0, 0], [1, 2], rgb.tolist(), None, "photo"):
        for ask in (model, model.uncertainty, lambda picture: list(model.frames([picture]))):
            with pytest.raises(upscale.UsageError, match="a picture is an array, RGB"):
                ask(other)
    luma = np.full((1, 8, 8), 0.5, np.float32)
    with pytest.raises(upscale.UsageError, match="does not go with luma"):
        model((luma, np.zeros((2, 3, 8), np.float32)))
    for planes in (([1],), (), (luma[0],), (luma, luma, luma), (luma.astype(np.uint8),), (luma[:, :0],)):
        with pytest.raises(upscale.UsageError, match="planes are a tuple"):
            model(planes)


@pytest.mark.parametrize("dtype", ["f2", ">f2", "f4", ">f4", "f8", ">f8", "longdouble"])
@pytest.mark.parametrize("shape", [(24, 32, 3), (24, 32)])
def test_floats_of_every_size_are_computed_alike(dtype: str, shape: tuple[int, ...]) -> None:
    model = upscale.Model.load("clean-x2", temperature=0, precision="float32")
    values = np.random.default_rng(0).random(shape).astype(np.float16)  # what all of them can hold
    larger = model(values.astype(dtype))
    assert larger.dtype == np.dtype(dtype)
    assert larger.shape == (48, 64, *shape[2:])
    rounding = 2e-3 if np.dtype(dtype).itemsize == 2 else 1e-4
    np.testing.assert_allclose(larger.astype("f8"), model(values.astype("f8")), atol=rounding)
    sure = model.uncertainty(values.astype("f8"))
    np.testing.assert_allclose(model.uncertainty(values.astype(dtype)), sure, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_it_does_not_matter_how_an_array_lies_in_memory(dtype: type, channels: tuple[int, ...]) -> None:
    model = upscale.Model.load("nearest-x2")
    values = np.random.default_rng(0).random((12, 10, *channels)) * (255 if dtype == np.uint8 else 1)
    values = values.astype(dtype)
    larger = model(values)
    frozen = values.copy()
    frozen.flags.writeable = False
    wide = values.repeat(2, 1)
    for other in (frozen, np.asfortranarray(values), wide[:, ::2], values[::-1].copy()[::-1]):
        np.testing.assert_array_equal(model(other), larger)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (1, 8, 8)])
def test_what_no_picture_holds_is_told(shape: tuple[int, ...]) -> None:
    model = upscale.Model.load("clean-x2")
    for value, says in (
        (np.nan, "NaN or infinity"), (np.inf, "NaN or infinity"), (-np.inf, "NaN or infinity"),
        (1e300, "NaN or infinity"), (255, "from 0 to 1, and this one from 0 to 255"), (-1, "from -1 to 0"),
    ):  # fmt: skip
        values = np.zeros(shape)
        values.flat[7] = value
        picture = (values,) if shape[0] == 1 else values
        for ask in (model, model.uncertainty):
            with pytest.raises(upscale.UsageError, match=says):
                ask(picture)


@pytest.mark.parametrize("name", ["film-x4", "clean-x2", "clean-x1.5", "mean-x1", "nearest-x3"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_the_smallest_pictures_are_enlarged_too(name: str, dtype: type) -> None:
    model = upscale.Model.load(name)
    value = 100 if dtype == np.uint8 else 0.4
    for shape in ((1, 1, 3), (9, 1, 3), (1, 7, 3), (1, 1), (1, 7), (9, 1), (2, 2)):
        larger = model(np.full(shape, value, dtype))
        assert larger.dtype == dtype
        assert larger.shape == (round(model.scale * shape[0]), round(model.scale * shape[1]), *shape[2:])
        assert np.abs(larger.astype("f4") - value).max() < 0.1 * value


@pytest.mark.parametrize(
    ("luma", "chroma", "larger"),
    [
        ((1, 9, 1), (2, 5, 1), (2, 9, 1)),  # 4:2:0
        ((1, 1, 9), (2, 1, 5), (2, 1, 9)),
        ((1, 9, 1), (2, 9, 1), (2, 18, 2)),  # 4:4:4
        ((1, 9, 6), (2, 9, 3), (2, 18, 6)),  # 4:2:2
    ],
)
def test_planes_of_a_narrow_picture(luma: tuple, chroma: tuple, larger: tuple) -> None:
    planes = np.full(luma, 0.4, np.float32), np.full(chroma, 0.6, np.float32)
    made = upscale.Model.load("clean-x2")(planes)
    assert [plane.shape for plane in made] == [(1, 2 * luma[1], 2 * luma[2]), larger]
    assert upscale.Model.load("clean-x2").uncertainty(planes).shape == made[0].shape[1:]


def test_an_answer_does_not_change_with_the_callers_arrays() -> None:
    model = upscale.Model.load("clean-x2", temperature=0)
    luma = np.full((1, 16, 16), 0.2, np.float32)
    first = model((luma,))
    assert first[0].mean() == pytest.approx(0.2, abs=0.01)
    first[0][:] = 0
    assert model((luma,))[0].mean() == pytest.approx(0.2, abs=0.01)
    luma[:] = 0.9
    assert model((luma,))[0].mean() == pytest.approx(0.9, abs=0.01)


Asked = Callable[[upscale.Model, np.ndarray], np.ndarray]
ASKED: dict[str, Asked] = {
    "picture": lambda model, rgb: model(rgb),
    "grey": lambda model, rgb: model(rgb[..., 0]),
    "frames": lambda model, rgb: np.stack(list(model.frames([rgb, rgb[::-1], rgb]))),
    "uncertainty": lambda model, rgb: model.uncertainty(rgb),
}


@pytest.mark.parametrize(
    ("name", "options"),
    [("clean-x2", {}), ("clean-x4", {"tile": 16, "temperature": 1.0}), ("film-x2", {})],
)
def test_threads_may_share_a_model(name: str, options: dict) -> None:
    model = upscale.Model.load(name, **options)
    asked = [
        (ask, np.random.default_rng(seed).integers(0, 255, (32, 24, 3), dtype=np.uint8))
        for ask in ASKED.values()
        for seed in range(3)
    ]
    wanted = [ask(model, rgb) for ask, rgb in asked]
    with ThreadPoolExecutor(4) as pool:
        given = pool.map(lambda one: one[0](model, one[1]), asked * 3)
        for answer, right in zip(given, wanted * 3, strict=True):
            np.testing.assert_array_equal(answer, right)


def test_films_may_be_made_in_several_threads(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(frames=10, sound="aac")

    def made(name: str) -> dict:
        upscale.film(source, tmp_path / name, scale=2, model="clean", segment=0.2)
        return contents(tmp_path / name)

    alone = made("alone.mkv")
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(made, ["a.mkv", "b.mkv", "c.mkv"])) == [alone] * 3


def test_a_model_goes_to_other_processes() -> None:
    model = upscale.Model.load("clean-x2", temperature=0.8, seed=3)
    larger = model(picture(16, 16))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model))(picture(16, 16)), larger)


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
    assert re.search(r"^device \w+( in pairs)? on (cpu|cuda|mps)", done.stdout, re.MULTILINE)
