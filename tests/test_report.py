"""The page that is looked at afterwards: it tells the truth, and works in a browser without a network."""

import base64
import errno
import hashlib
import html
import json
import re
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from test_damage import spoil

from upscale import __version__
from upscale.look import plots
from upscale.look.report import embedded
from upscale.models.catalog import CLEAN, find_stage
from upscale.progress import MOST_POINTS, Pace

MakeClip = Callable[..., Path]
Run = Callable[..., Result]
FAST = ("-s", "2", "--preset", "ultrafast", "-q")

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: install Debian's chromium")


def told(page: Path) -> dict[str, Any]:
    """The summary that a page carries."""
    (text,) = re.findall(r'<script type="application/json" id="summary">(.*?)</script>', page.read_text())
    summary: dict[str, Any] = json.loads(text)
    return summary


def shown(page: Path) -> str:
    """The words of a page, without its pictures, scripts and marks."""
    text = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    """A film that is interlaced, of a variable rate, with sound, and damaged in the middle."""
    some = ffmpeg.picture("96x64", seconds=2, more="select='not(between(n,10,14))'")
    film = ffmpeg.make(
        tmp_path / "in.mkv", *some, *ffmpeg.sound(2), "-fps_mode", "vfr",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "1", "-x264-params", "tff=1", "-c:a", "flac",
    )  # fmt: skip
    return spoil(film, {20, 21})


def test_the_report_of_an_awkward_film_tells_the_truth(awkward: Path, upscale: Run, tmp_path: Path) -> None:
    page, target = tmp_path / "report.html", tmp_path / "out.mp4"
    result = upscale(awkward, target, *FAST, "-m", "clean", "--report", page, "--json")
    assert result.exit_code == 1, result.output  # something was lost
    summary = json.loads(result.stdout)
    assert summary["lost_frames"] == 2
    assert told(page) == summary
    words = shown(page)
    assert f"{summary['frames']} frames" in words
    assert "2 lost" in words
    assert "96×64 → 192×128, model clean, temperature 0.5, seed 0" in words
    for warning in summary["warnings"]:
        assert warning in words
    assert any("2 frames could not be read" in warning for warning in summary["warnings"])
    source, made = words.split("What the files hold")[1].split("result ")[:2]
    assert "yuv420p" in source
    assert "interlaced" in source
    assert "interlaced" not in made
    assert "flac, 48000 Hz" in source
    assert "aac, 48000 Hz" in made or "flac, 48000 Hz" in made
    assert "192x128" in made
    assert f"{target.stat().st_size / 1e6:.2f} MB" in made
    assert f"--report {page}" in words
    assert f"upscale {__version__}" in words
    stage = find_stage(CLEAN, 2)
    for weights in (stage.luma.path, stage.chroma.path):
        assert f"{weights.name} sha256 {hashlib.sha256(weights.read_bytes()).hexdigest()}" in words
    assert "raster" not in words


def picture_of(page: Path, kind: str, number: int = 0) -> np.ndarray:
    found = re.findall(rf'<img class="{kind}"[^>]*src="data:image/webp;base64,([^"]*)"', page.read_text())
    return cv2.imdecode(np.frombuffer(base64.b64decode(found[number]), np.uint8), cv2.IMREAD_COLOR)


def test_a_moment_is_the_same_before_and_after(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    source = make_clip(size=(96, 64), frames=30, pts=[n * n for n in range(30)], rotation=90)
    page = tmp_path / "report.html"
    options = (*FAST, "--start", "1", "--duration", "20", "-m", "clean")
    assert upscale(source, tmp_path / "out.mp4", *options, "--report", page).exit_code == 0
    assert page.read_text().count("data-moment") >= 8
    for number in range(8):
        before, after = picture_of(page, "before", number), picture_of(page, "after", number)
        assert (before.shape, after.shape) == ((96, 64, 3), (192, 128, 3))  # upright
        small = cv2.resize(after, (64, 96), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - before).mean() < 6
        spread = picture_of(page, "map", number)
        assert spread.shape == after.shape
        assert spread.std() > 5


@pytest.mark.parametrize("name", ["out.mp4", "out.ts", "out.avi", "out.gif", "seq%05d.png", "a:b.mkv"])
@pytest.mark.parametrize("part", [(), ("--start", "0.4", "--duration", "0.8")])
def test_a_frame_after_is_that_of_the_frame_before(
    name: str, part: tuple[str, ...], upscale: Run, tmp_path: Path
) -> None:
    grey = "color=black:s=64x48:r=30:d=1.5,format=gray,geq=lum='N*5'"
    source = ffmpeg.make(
        tmp_path / "in.ts", "-f", "lavfi", "-i", grey, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-qp", "1"
    )
    page = tmp_path / "report.html"
    result = upscale(source, tmp_path / name, "-m", "nearest", "-s", 2, "-q", *part, "--report", page)
    assert result.exit_code == 0, result.output
    numbers = range(page.read_text().count("<figure"))
    assert len(numbers) == 8
    for number in numbers:
        before, after = (picture_of(page, kind, number).mean() for kind in ("before", "after"))
        assert before == pytest.approx(after, abs=2.5)  # half of what a frame differs from the next


def test_a_picture_and_an_anamorphic_film_have_a_report(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.html", tmp_path / "other.html"
    still = make_clip("in.png", frames=1, codec="png", pix_fmt="rgb24")
    assert upscale(still, tmp_path / "out.png", "-s", 2, "-q", "--report", one).exit_code == 0
    assert one.read_text().count("<figure") == 1
    wide = make_clip(aspect=Fraction(2), frames=3)
    assert upscale(wide, tmp_path / "out.mp4", *FAST, "-m", "nearest", "--report", other).exit_code == 0
    assert "--shape: 256 / 96" in other.read_text()


def test_before_is_the_source_as_it_flickers(upscale: Run, tmp_path: Path) -> None:
    flicker = "testsrc2=s=64x48:r=25:d=1,eq=brightness='0.1*mod(n,2)':eval=frame"
    source = ffmpeg.make(tmp_path / "in.mkv", "-f", "lavfi", "-i", flicker, "-c:v", "ffv1")
    page = tmp_path / "report.html"
    options = ("--deflicker", "-m", "clean", *FAST)
    assert upscale(source, tmp_path / "out.mp4", *options, "--report", page).exit_code == 0
    means = [[picture_of(page, kind, n).mean() for n in range(8)] for kind in ("before", "after")]
    assert np.ptp(means[0]) > 2 * np.ptp(means[1])


def test_a_report_that_fails_leaves_the_film_and_its_summary(
    make_clip: MakeClip, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("upscale.look.report.write_whole", full)
    target, page = tmp_path / "out.mp4", tmp_path / "report.html"
    result = upscale(make_clip(), target, *FAST, "-m", "nearest", "--report", page, "--json")
    assert result.exit_code == 1
    assert "there is no report: " in result.stderr
    summary = json.loads(result.stdout)
    assert summary["frames"] == 6
    assert "No space left on device" in summary["warnings"][-1]
    assert target.exists()


def test_skipping_comes_before_the_report(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    source, page = make_clip(), tmp_path / "report.html"
    command = (source, tmp_path / "out.mp4", *FAST[:-1], "-m", "nearest", "-n", "--report", page)
    assert upscale(*command).exit_code == 0
    result = upscale(*command)
    assert result.exit_code == 0
    assert "skipped" in result.stderr


def test_a_name_cannot_break_the_page(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    source = make_clip("<script>alert('x')<!-- & .mp4", frames=2)
    page = tmp_path / "report.html"
    assert upscale(source, tmp_path / "out.mp4", *FAST, "-m", "nearest", "--report", page).exit_code == 0
    assert "<script>alert" not in page.read_text()
    assert told(page)["input"] == str(source)
    assert "uncertainty" not in shown(page)  # nearest cannot tell


def test_pictures_are_made_to_fit() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (400, 600, 3), np.uint8)
    for room in (200_000, 20_000, 1_500):
        assert len(base64.b64decode(embedded(noise, room).split(",")[1])) <= room
    flat = np.full((400, 600, 3), 90, np.uint8)
    kept = base64.b64decode(embedded(flat, 20_000).split(",")[1])
    assert cv2.imdecode(np.frombuffer(kept, np.uint8), cv2.IMREAD_COLOR).shape == (400, 600, 3)


def test_the_pace_has_few_points_however_long_it_takes() -> None:
    pace = Pace()
    for done in range(1, 20_001):
        pace.note(done)
    assert len(pace.points) <= MOST_POINTS + 1
    assert pace.points[0] == (0.0, 0)
    assert pace.points[-1][1] > 19_900
    assert [done for _, done in pace.points] == sorted({done for _, done in pace.points})


def test_plots_take_the_colour_of_the_text_and_hold_what_they_show() -> None:
    svg = plots.stages({"decode": 1.25, "model": 30.5, "color": 0.0})
    assert "currentColor" in svg
    assert plots.INK not in svg
    assert ">30.5 s<" in svg
    assert ">color<" not in svg
    assert ">frames a second<" in plots.pace([(0.0, 0), (1.0, 5), (2.0, 10)])
    assert plots.pace([(0.0, 0)]) == plots.noise([], []) == ""
    assert ">shot<" in plots.noise([1.0, 2.0], [0.5, 0.5])
    assert svg == plots.stages({"decode": 1.25, "model": 30.5, "color": 0.0})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--report", "report.json"], "ends in .html"),
        (["--report", "there.html"], "exists; use -y"),
        (["--report", "nowhere/report.html"], "no such folder"),
        (["--report", "out.html", "--format", "mp4"], "is OUTPUT itself"),
        (["--map", "page.html", "--report", "page.html"], "is --map itself"),
    ],
)
def test_a_report_that_cannot_be_is_refused_before_the_work(
    options: list[str], said: str, refused: Callable[..., str]
) -> None:
    assert said in refused("there.html", "out.html" if "--format" in options else "out.mp4", *options)


def test_a_report_without_its_extra_says_what_to_install(
    make_clip: MakeClip, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upscale.look.report.NEEDED", ("no_such_module",))
    result = upscale(make_clip(), tmp_path / "out.mp4", "--report", tmp_path / "report.html")
    assert result.exit_code == 2
    assert "pip install 'upscale-pixelcnn[report]'" in result.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_pipes_and_folders_have_no_page(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert "give INPUT and OUTPUT names" in upscale(make_clip(), "-", "--report", page).stderr
    assert "the report of a folder is JSON" in upscale(tmp_path, tmp_path / "o", "--report", page).stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=BROWSER,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield opened
        opened.close()


@in_a_browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_page_works_in_a_browser_and_asks_nobody(
    width: int, scheme: str, browser: Any, make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    page_file = tmp_path / "report.html"
    source = make_clip(size=(96, 64), frames=10)
    assert upscale(source, tmp_path / "out.mp4", *FAST, "-m", "clean", "--report", page_file).exit_code == 0
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, has_touch=width < 500
    )
    page = context.new_page()
    wrong: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    figure = page.locator("[data-moment]").first
    slider, stage = figure.locator("input"), figure.locator(".stage")

    def split() -> float:
        text: str = stage.evaluate("it => getComputedStyle(it).getPropertyValue('--at') || '50%'")
        return float(text.rstrip("%"))

    assert split() == 50
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert split() == 50.5
    box = stage.bounding_box()
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    if width < 500:
        page.touchscreen.tap(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    else:
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.up()
    assert split() == pytest.approx(20, abs=1)
    before = figure.locator(".before")
    assert "80" in before.evaluate("it => getComputedStyle(it).clipPath")
    map_ = figure.locator(".map")
    assert not map_.is_visible()
    slider.focus()
    page.keyboard.press("u")
    assert map_.is_visible()
    figure.get_by_role("button", name="uncertainty").click()
    assert not map_.is_visible()
    wide = stage.evaluate("it => it.clientWidth")
    figure.get_by_role("button", name="zoom").click()
    assert stage.evaluate("it => it.clientWidth") == pytest.approx(2 * wide, abs=2)
    assert before.evaluate("it => getComputedStyle(it).imageRendering") == "pixelated"
    loaded = "() => [...document.images].every(it => it.complete && it.naturalWidth > 0)"
    assert page.evaluate(loaded)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert not wrong
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    context.close()
