"""What is built is whole: a wheel and an sdist that work outside of the repository."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from upscale import __version__

MakeClip = Callable[..., Path]
ROOT = Path(__file__).parent.parent
LARGEST = 10_000_000
"""Bytes."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``python -m build`` makes: an sdist of the files that git knows, and a wheel of the sdist."""
    if not (ROOT / ".git").exists():
        pytest.skip("no clone: what is to be built is what git knows")
    folder = tmp_path_factory.mktemp("built")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / "repo" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "repo" / name)
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(folder / "repo"),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


def test_the_wheel_holds_all_that_is_needed_and_is_small(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.stat().st_size < LARGEST
    names = set(zipfile.ZipFile(wheel).namelist())
    weights = {
        f"upscale/weights/{path.name}" for path in (ROOT / "weights").glob("*.*") if path.suffix != ".pyc"
    }
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "upscale").rglob("*.py")}
    assert weights | modules | {"upscale/look/report.html.jinja", "upscale/py.typed"} <= names
    assert any(name.endswith("man1/upscale.1") for name in names)
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)


def test_the_sdist_can_be_tested_and_read(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    assert sdist.stat().st_size < LARGEST
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = (
        "Makefile",
        "constraints.txt",
        "CITATION.cff",
        "CHANGELOG.md",
        "docs/api.md",
        "tests/conftest.py",
        "training/clean-x4.toml",
    )
    assert set(wanted) <= names
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("*.py")} <= names


def test_the_wheel_works_outside_of_the_repository(
    built: Path, make_clip: MakeClip, tmp_path: Path
) -> None:
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "place"
    zipfile.ZipFile(wheel).extractall(place)  # what an installer does with a wheel of Python alone
    source = make_clip(frames=3)
    environment = {**os.environ, "PYTHONPATH": str(place)}
    # -P: not the folder where it starts, and so not the repository.
    script = "import upscale.cli as cli; print(cli.__file__); cli.main(prog_name='upscale')"
    run = [sys.executable, "-P", "-c", script]
    options = [str(source), str(tmp_path / "out.mp4"), "-s", "2", "-m", "clean", "--json"]
    done = subprocess.run([*run, *options], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, _, summary = done.stdout.partition("\n")
    assert Path(where).is_relative_to(place)
    assert json.loads(summary)["frames"] == 3
    done = subprocess.run(
        [*run, "--version"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == f"upscale {__version__}"


def test_the_weights_of_a_clone_are_found_though_the_package_is_installed_elsewhere(tmp_path: Path) -> None:
    """In the root of a clone its own modules come first, and the weights lie beside them."""
    for name in ("upscale", "weights"):
        (tmp_path / name).symlink_to(ROOT / name)
    script = (
        "import sys\n"
        "sys.meta_path = [one for one in sys.meta_path if 'editable' not in repr(one)]\n"
        "import upscale.models.catalog as catalog\n"
        "print(catalog.find_stage(catalog.MODELS['clean'].families[0], 2).luma.path)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "weights")


def test_the_citation_names_the_version() -> None:
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
