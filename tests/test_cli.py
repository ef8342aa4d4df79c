"""What a person meets: options, messages, exit codes, and a film from end to end."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import contents, look
from test_motion import pan

from upscale import __version__, cli
from upscale.lab.cli import main as lab

MakeClip = Callable[..., Path]
Run = Callable[..., Result]
FAST = ("--preset", "ultrafast", "-q")
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_film_comes_out_larger_with_everything_else_as_it_was(
    scale: int, make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    source = make_clip(
        sound="aac", pts=[0, 1, 5, 6, 20, 21], metadata={"title": "Film"}, aspect=Fraction(16, 15)
    )
    target = tmp_path / "out.mp4"
    result = upscale(source, target, "--scale", scale, *FAST)
    assert result.exit_code == 0, result.output
    before, after = look(source), look(target)
    assert (after.context.width, after.context.height) == (64 * scale, 48 * scale)
    assert after.pts == before.pts
    assert after.sound == before.sound
    assert after.aspect == before.aspect
    assert after.metadata["title"] == "Film"
    for one, other in zip(before.frames, after.frames, strict=True):
        small = other.reformat(64, 48, "yuv420p", interpolation="AREA")
        assert np.abs(small.to_ndarray().astype(int) - one.to_ndarray()).mean() < 4


def test_the_same_command_twice_makes_the_same_film(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    source = make_clip()
    films = []
    for name in ("one.mp4", "two.mp4"):
        assert upscale(source, tmp_path / name, "-s", 2, "-t", 1, *FAST).exit_code == 0
        films.append([frame.to_ndarray() for frame in look(tmp_path / name).frames])
    np.testing.assert_array_equal(*films)


def test_grey_ten_bit_and_full_range_films(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    for pix_fmt, codec in (
        ("gray", "ffv1"),
        ("yuv420p10le", "ffv1"),
        ("yuvj422p", "mjpeg"),
        ("rgb24", "png"),
    ):
        source = make_clip(
            f"{pix_fmt}.{'mov' if codec == 'png' else 'mkv'}", pix_fmt=pix_fmt, codec=codec, frames=2
        )
        target = tmp_path / f"{pix_fmt}-out.mkv"
        assert upscale(source, target, "-s", 2, *FAST).exit_code == 0
        assert len(look(target).frames) == 2
    assert look(tmp_path / "yuv420p10le-out.mkv").context.pix_fmt == "yuv420p10le"
    assert look(tmp_path / "yuvj422p-out.mkv").context.color_range == 2


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_film_that_was_filmed_upright_stays_upright(
    name: str, make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    assert upscale(make_clip(rotation=90), tmp_path / name, "-s", 2, *FAST).exit_code == 0
    assert look(tmp_path / name).frames[0].rotation == 90


def test_a_height_instead_of_a_scale(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    assert upscale(make_clip(), tmp_path / "out.mp4", "--height", 90, *FAST).exit_code == 0
    context = look(tmp_path / "out.mp4").context
    assert (context.width, context.height) == (120, 90)


def test_the_encoder_is_the_users_choice(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    result = upscale(make_clip(), target, "-s", 2, "--codec", "ffv1", "--pix-fmt", "yuv444p10le", "-q")
    assert result.exit_code == 0, result.output
    assert look(target).context.codec.name == "ffv1"
    assert look(target).context.pix_fmt == "yuv444p10le"


def test_the_summary_is_json_on_stdout_and_nothing_else(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    result = upscale(
        make_clip(), tmp_path / "out.mp4", "-s", 2, "--json", "--seed", 3, "--progress", "json"
    )
    summary = json.loads(result.stdout)
    assert summary["frames"] == 6
    assert summary["lost_frames"] == 0
    assert summary["output_size"] == [128, 96]
    assert summary["seed"] == 3
    reports = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    done = [report["frames"] for report in reports if report["type"] == "progress"]
    assert done == [1, 2, 3, 4, 5, 6]
    assert reports[-1]["type"] == "result"
    assert reports[-1]["frames"] == 6


def test_a_dry_run_writes_nothing(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    result = upscale(make_clip(), tmp_path / "out.mp4", "--dry-run")
    assert result.exit_code == 0
    assert "64x48 -> 256x192, 6 frames" in result.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_the_list_of_models_says_which_to_take_for_what(upscale: Run) -> None:
    result = upscale("--list-models")
    assert result.exit_code == 0
    said = result.stdout
    for name in ("film (default for video)", "clean (default for pictures)", "raster", "mean", "nearest"):
        assert re.search(rf"^{re.escape(name)}\n +for .*\n +speed .*\n +quality .*", said, re.MULTILINE), (
            name
        )
    assert "29.0 dB on films made old (Lanczos 27.5)" in said
    assert "dB" in said.splitlines()[3]
    assert not re.search(r"kMAC|trained on|safetensors", said)


def bad_inputs(make_clip: MakeClip, folder: Path) -> dict[str, tuple[tuple[object, ...], int, str]]:
    """Name -> arguments, exit code, and what the message has to say."""
    good, out = make_clip(), folder / "out.mp4"
    text = folder / "text.mp4"
    text.write_text("this is not a film")
    empty = folder / "empty.mp4"
    empty.touch()
    sound = folder / "sound.mp4"
    with av.open(str(sound), "w") as container:
        audio = container.add_stream("aac", rate=44100, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 44100
        container.mux(audio.encode(tone) + audio.encode())
    existing = folder / "existing.mp4"
    existing.write_bytes(b"earlier work")
    return {
        "missing": ((folder / "no.mp4", out), 1, "no such file"),
        "text": ((text, out), 1, "cannot be read as a video"),
        "empty": ((empty, out), 1, "cannot be read as a video"),
        "sound only": ((sound, out), 1, "no video in it, only audio"),
        "a folder": ((folder, out), 2, "lies in the folder that is read"),
        "existing": ((good, existing), 1, "use -y to overwrite"),
        "itself": ((good, good, "-y"), 2, "is the source itself"),
        "into a folder": ((good, folder), 2, "is a folder"),
        "no such folder": ((good, folder / "no" / "out.mp4"), 2, "no such folder"),
        "container": ((good, folder / "out.xyz"), 2, "no container is called"),
        "codec": ((good, out, "--codec", "nope"), 2, "no encoder is called 'nope'"),
        "misfit": ((good, folder / "out.webm", "--codec", "libx264"), 1, "does not support 'libx264'"),
        "pixel format": ((good, out, "--pix-fmt", "pal8"), 2, "cannot write 'pal8'"),
        "scale 0": ((good, out, "--scale", "0"), 2, "a scale of 0 is out of range"),
        "scale 9": ((good, out, "--scale", "9"), 2, "a scale of 9 is out of range"),
        "not a scale": ((good, out, "--scale", "nan"), 2, "scale"),
        "seed": ((good, out, "--seed", "9" * 20), 2, "--seed"),
        "crf": ((good, out, "--codec", "mpeg4", "--crf", "20"), 2, "mpeg4 knows no crf"),
        "preset": ((good, out, "--preset", "warp"), 2, "here: Error setting preset"),
        "height": ((good, out, "--height", "20"), 2, "a height of 20 is out of range"),
        "model": ((good, out, "--model", "gan"), 2, "no model is called 'gan'"),
        "device": ((good, out, "--device", "tpu"), 2, "no device 'tpu'"),
        "time": ((good, out, "--start", "soon"), 2, "not a time"),
        "after the end": ((good, out, "--start", "1:00"), 1, "--start has to be earlier"),
        "temperature": ((good, out, "--temperature", "2"), 2, "--temperature"),
        "crop": ((good, out, "--crop", "half"), 2, "write auto, off, or WIDTH:HEIGHT:X:Y"),
        "crop too large": ((good, out, "--crop", "64:48:2:0"), 2, "does not fit into 64x48"),
        "codec option": ((good, out, "--codec-option", "tune"), 2, "write KEY=VALUE"),
        "unknown codec option": ((good, out, "--codec-option", "tun=film"), 2, "did you mean 'tune'"),
        "format": ((good, out, "--format", "vhs"), 2, "no container is called 'vhs'"),
        "json and a pipe": ((good, "-", "--json"), 2, "--json cannot be there too"),
        "strict": ((good, out, "--strict", "--codec", "huffyuv", "--pix-fmt", "rgb24"), 1, "mp4"),
        "contradiction": ((good, out, "-y", "-n"), 2, "contradict"),
    }


BAD = (
    "missing, text, empty, sound only, a folder, existing, itself, into a folder, no such folder, "
    "container, codec, misfit, pixel format, scale 0, scale 9, not a scale, seed, crf, preset, height, "
    "model, device, time, after the end, temperature, crop, crop too large, codec option, "
    "unknown codec option, format, json and a pipe, strict, contradiction"
).split(", ")


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(name: str, make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    cases = bad_inputs(make_clip, tmp_path)
    assert list(cases) == BAD
    arguments, code, message = cases[name]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = upscale(*arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    said = [line for line in result.stderr.splitlines() if line and not line.startswith(("Usage:", "Try "))]
    assert len(said) == 1, said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_unwritable_folder(
    make_clip: MakeClip, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Said by the system rather than by a mode, as root may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    result = upscale(make_clip(), tmp_path / "out.mp4")
    assert result.exit_code == 1
    assert "cannot be written to" in result.stderr


def test_a_disk_that_refuses(make_clip: MakeClip, upscale: Run) -> None:
    """The system may refuse what it seemed to allow; /proc takes no files, not even root's."""
    result = upscale(make_clip(), "/proc/out.mp4")
    assert result.exit_code == 1
    assert "/proc/out.mp4: cannot be written" in result.stderr


def test_debug_shows_the_traceback(upscale: Run, tmp_path: Path) -> None:
    result = upscale(tmp_path / "no.mp4", tmp_path / "out.mp4", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_existing_outputs_are_overwritten_or_skipped_on_demand(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"earlier work")
    assert upscale(make_clip(), target, "-n").exit_code == 0
    assert target.read_bytes() == b"earlier work"
    assert upscale(make_clip(), target, "-y", "-s", 2, *FAST).exit_code == 0
    assert len(look(target).frames) == 6


def test_half_a_file_gives_its_half_and_says_so(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    whole = make_clip("whole.avi", codec="mpeg4", frames=30, size=(160, 120))
    half = tmp_path / "half.avi"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    result = upscale(half, tmp_path / "out.mp4", "-s", 2, "--json", *FAST)
    assert result.exit_code == 1
    frames = len(look(tmp_path / "out.mp4").frames)
    assert 0 < frames < 30
    assert f"is damaged: {30 - frames} frames could not be read" in result.stderr
    assert f"{frames} frames were written" in result.stderr
    assert json.loads(result.stdout)["lost_frames"] == 30 - frames


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_leaves_nothing_half_done(
    number: signal.Signals, code: int, make_clip: MakeClip, tmp_path: Path
) -> None:
    source, target = make_clip(frames=2000), tmp_path / "out" / "film.mp4"
    target.parent.mkdir()
    target.write_bytes(b"earlier work")
    command = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
    process = subprocess.Popen(
        [*command, str(source), str(target), "-y", "--progress", "json"],
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("{")  # the first frame is done
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in said
    assert target.read_bytes() == b"earlier work"
    assert list(target.parent.iterdir()) == [target]


def test_help_answers_without_loading_what_is_heavy() -> None:
    """What makes --help quick, without a stopwatch."""
    script = (
        "import sys; from upscale.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'av', 'numpy', 'rich') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_the_readme_and_the_command_know_the_same_options() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme[readme.index("## Options") :]
    documented = set(re.findall(r"`(--[a-z-]+)", table[: table.index("\n## ", 5)]))
    real = {
        option
        for parameter in cli.main.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }
    assert documented == real | {"--help"}


def test_times_are_seconds_or_clocks() -> None:
    convert = cli.Time().convert
    assert convert("12.5", None, None) == Fraction(25, 2)
    assert convert("1:02:03.5", None, None) == Fraction(7447, 2)


def test_the_lab_compares_two_films(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    source, large, picture = make_clip(), tmp_path / "large.mp4", tmp_path / "compare.png"
    assert upscale(source, large, "-s", 2, *FAST).exit_code == 0
    arguments = ["compare", str(source), str(large), str(picture), "--at", "0.1", "--crop", "0:0:0.5:1"]
    lab.main(arguments, standalone_mode=False)
    with av.open(str(picture)) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (64 + 4 + 64, 96)
    rgb = frame.to_ndarray(format="rgb24").astype(int)
    assert np.abs(rgb[:, :64] - rgb[:, 68:]).mean() < 12
    assert (rgb[:, 64:68] == 255).all()


def test_names_that_no_file_can_have(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    source = make_clip()
    assert upscale(source, tmp_path / ("n" * 245 + ".mp4"), "-s", 2, "-m", "nearest", *FAST).exit_code == 0
    for arguments in ((source, tmp_path / ("n" * 300 + ".mp4")), ("n" * 300, tmp_path / "out.mp4")):
        result = upscale(*arguments, "-m", "nearest")
        assert result.exit_code == 1
        assert "name too long" in result.stderr.lower()


@pytest.mark.parametrize("where", ["out.mp4", "/there/out.mp4"])
def test_a_working_folder_that_is_gone_is_told(where: str, make_clip: MakeClip, tmp_path: Path) -> None:
    """Unless nothing is to be found from it."""
    target = Path(where.replace("/there", str(tmp_path)))
    gone = tmp_path / "gone"
    gone.mkdir()
    clip = make_clip()
    for source in (clip, clip.parent):  # a folder may not become a file, but that is not it
        script = "import os, sys; os.rmdir(os.getcwd()); from upscale.cli import main; main()"
        line = [sys.executable, "-c", script, str(source), str(target), "-s", "2", "-m", "nearest"]
        gone.mkdir(exist_ok=True)
        done = subprocess.run([*line, *FAST], capture_output=True, text=True, cwd=gone)
        assert "Traceback" not in done.stderr
        assert "None:" not in done.stderr
        assert ("the folder that this runs in is gone" in done.stderr) == (not target.is_absolute())
    assert target.exists() == target.is_absolute()


def test_what_is_no_file_is_not_replaced(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mkv")
    result = upscale(make_clip(), tmp_path / "pipe.mkv", "-y", "-m", "nearest")
    assert result.exit_code == 2
    assert "is no file" in result.stderr
    assert (tmp_path / "pipe.mkv").is_fifo()


def test_what_a_link_points_to_is_written(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(tmp_path / "film.mp4")
    assert upscale(make_clip(), tmp_path / "link.mp4", "-s", 2, "-m", "nearest", *FAST).exit_code == 0
    assert (tmp_path / "link.mp4").is_symlink()
    assert len(look(tmp_path / "film.mp4").frames) == 6


def test_rotation_and_tags_that_a_container_has_no_place_for(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    source = make_clip(rotation=90, metadata={"title": "Film"})
    result = upscale(source, tmp_path / "out.ts", "-s", 2, "-m", "nearest", *FAST)
    assert result.exit_code == 0, result.output
    assert "the rotation was left out" in result.stderr
    assert "tags were left out: title" in result.stderr
    assert upscale(source, tmp_path / "no.ts", "-m", "nearest", *FAST, "--strict").exit_code == 1
    assert not (tmp_path / "no.ts").exists()


def test_video_is_restored_as_film_and_pictures_as_clean(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    film = upscale(make_clip(frames=7), tmp_path / "out.mkv", "-s", 2, "--json", *FAST)
    told = json.loads(film.stdout)
    assert (film.exit_code, told["model"], told["frames"]) == (0, "film", 7)
    assert len(told["noise_levels"]["luma"]) == len(told["noise_levels"]["chroma"]) == 1
    assert told["busy_seconds"]["align"] > 0
    assert upscale(tmp_path / "out.mkv", tmp_path / "out.png", "--duration", "0.02").exit_code == 0
    picture = upscale(tmp_path / "out.png", tmp_path / "large.png", "-s", 2, "--json")
    assert (picture.exit_code, json.loads(picture.stdout)["model"]) == (0, "clean")


@pytest.mark.parametrize("model", ["film", "clean", "nearest"])
def test_a_scale_of_one_restores_and_does_not_enlarge(
    model: str, make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    result = upscale(make_clip(frames=3), tmp_path / "out.mkv", "-s", 1, "-m", model, *FAST)
    assert result.exit_code == 0, result.output
    out = look(tmp_path / "out.mkv")
    assert (out.frames[0].width, out.frames[0].height, len(out.frames)) == (64, 48, 3)


def test_denoising_and_flicker_are_reported(make_clip: MakeClip, upscale: Run, tmp_path: Path) -> None:
    source = make_clip(frames=4)
    result = upscale(source, tmp_path / "a.mkv", "-s", 2, "--deflicker", "--denoise", "0.5")
    assert result.exit_code == 0, result.output
    assert "; noise " in result.stderr
    assert "8-bit levels, 1 shot)" in result.stderr
    assert "; flicker " in result.stderr


def speckled(path: Path) -> Path:
    """A film of a pan in grey, whose frames all have a white speck, each at another place."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 200, 160, "gray"
        for number, planes in enumerate(pan(12, sigma=2 / 255)):
            luma = np.round(16 + 219 * planes[0][0].clip(0, 1)).astype(np.uint8)
            cv2.circle(luma, (50 + 37 * number % 100, 40 + 23 * number % 80), 3, 230, -1, cv2.LINE_AA)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(luma, format="gray")))
        container.mux(stream.encode())
    return path


def test_dirt_goes_unless_it_is_to_stay(upscale: Run, tmp_path: Path) -> None:
    source = speckled(tmp_path / "in.mkv")
    options = ("-s", 1, "-t", 0, "--codec", "ffv1", "--json")
    found, bright = {}, {}
    for dirt in ("auto", "off"):
        out = tmp_path / f"{dirt}.mkv"
        result = upscale(source, out, *options, "--dirt", dirt)
        assert result.exit_code == 0, result.output
        found[dirt] = json.loads(result.stdout)["dirt"]
        lumas = [frame.to_ndarray(format="gray").astype(int) for frame in look(out).frames]
        bright[dirt] = [
            luma[40 + 23 * n % 80, 50 + 37 * n % 100] for n, luma in enumerate(lumas) if 2 <= n < 10
        ]
    assert found["off"] is None
    assert (found["auto"]["pictures"], found["auto"]["dirty"]) == (8, 8)
    assert 0.0005 < found["auto"]["share"] < 0.01
    assert np.mean(bright["off"]) > np.mean(bright["auto"]) + 40
    said = upscale(source, tmp_path / "said.mkv", *options[:-1])
    assert "; dirt removed from 8 of 8 pictures, 0." in said.stderr
    whole = upscale(source, tmp_path / "whole.mkv", *options[:-1], "--segment", 0)
    assert "; dirt removed from 8 of 8 pictures, 0." in whole.stderr
    assert contents(tmp_path / "said.mkv") == contents(tmp_path / "whole.mkv")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-m", "clean", "--denoise", "0.5"), "clean leaves noise as it is"),
        (("--denoise", "2"), "neither auto nor a number from 0 to 1"),
        (("--denoise", "off"), "neither auto nor a number from 0 to 1"),
        (("-m", "clean", "--dirt", "0.5"), "clean sees one"),
        (("--dirt", "some"), "neither auto nor off nor a number from 0 to 1"),
        (("--grain", "wild"), "moving"),
        (("-m", "pixelcnn"), "film, clean, raster, mean, nearest"),
    ],
)
def test_what_a_model_does_not_do_is_refused(
    options: tuple[str, ...], said: str, make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    result = upscale(make_clip(), tmp_path / "out.mkv", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("options", [("-s", "1.001"), ("--height", "49")])
def test_what_would_stay_as_it_is_is_refused(
    options: tuple[str, ...], make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    result = upscale(make_clip(), tmp_path / "out.mp4", *options, "-m", "nearest")
    assert result.exit_code == 2
    assert "enlarge it more" in result.stderr


def test_a_variable_rate_in_a_container_that_counts_frames(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    source = make_clip(pts=[0, 10, 20, 30, 90, 150], time_base=Fraction(1, 600))
    result = upscale(source, tmp_path / "out.avi", "-s", 2, "-m", "nearest", "--codec", "mpeg4", "-q")
    assert result.exit_code == 0, result.output
    assert len(look(tmp_path / "out.avi").frames) == 6
    assert "times were moved" in result.stderr or look(tmp_path / "out.avi").pts == look(source).pts


def test_the_man_page_is_that_of_these_options() -> None:
    """`make man` writes it; the first line has the date."""
    from click_man.core import generate_man_page

    page = (ROOT / "docs" / "upscale.1").read_text()
    made = generate_man_page(click.Context(cli.main, info_name="upscale"), version=__version__)
    assert page.splitlines()[1:] == made.splitlines()[1:]
    assert f'"{__version__}"' in page.splitlines()[0]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("--clu", {"--cluster"}),
        ("--model ", {"clean", "film", "mean", "nearest", "raster"}),
        ("--progress j", {"json"}),
    ],
)
def test_a_shell_completes_options_and_models(typed: str, completed: set[str]) -> None:
    words = f"upscale {typed}".split(" ")
    asked = {"_UPSCALE_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words)}
    asked["COMP_CWORD"] = str(len(words) - 1)
    result = CliRunner().invoke(cli.main, prog_name="upscale", env=asked)
    assert {line.partition(",")[2] for line in result.stdout.splitlines()} == completed


@pytest.mark.parametrize(
    ("name", "options", "made"),
    [
        ("tape.avi", (), "tape-x2.mp4"),
        ("tape.mkv", (), "tape-x2.mkv"),
        ("TAPE.MOV", (), "TAPE-x2.mov"),
        ("a.b.mp4", ("--height", 96), "a.b-96p.mp4"),
    ],
)
def test_without_output_it_goes_beside_input(
    name: str, options: tuple[object, ...], made: str, make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    source = make_clip(name)
    result = upscale(source, "-s", 2, "-m", "nearest", *options)
    assert result.exit_code == 0, result.stderr
    assert f"OUTPUT is {tmp_path / made}" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {name, made}
    again = upscale(source, "-s", 2, "-m", "nearest", *options)
    assert again.exit_code == 1
    assert "exists; use -y" in again.stderr


def test_without_output_a_folder_goes_beside_the_folder(
    make_clip: MakeClip, upscale: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip("footage/in.mp4")
    monkeypatch.chdir(clip.parent)
    assert upscale(".", "-s", 2, "-m", "nearest", "-q").exit_code == 0
    assert (tmp_path / "footage-x2" / "in.mp4").exists()
    assert [path.name for path in clip.parent.iterdir()] == ["in.mp4"]


def test_without_output_a_picture_stays_a_picture(upscale: Run, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.png"), np.zeros((20, 30, 3), np.uint8))
    assert upscale(tmp_path / "still.png", "-s", 2, "-m", "nearest").exit_code == 0
    assert (tmp_path / "still-x2.png").exists()


@pytest.mark.parametrize("source", ["-", "frame%03d.png"])
def test_what_has_no_name_to_begin_with_asks_for_output(source: str, upscale: Run) -> None:
    result = upscale(source)
    assert result.exit_code == 2
    assert "give OUTPUT a name as well" in result.stderr


@pytest.mark.parametrize("name", ["no.mp4", f"{'x' * 300}.mp4", f"{'x' * 300}%03d.png"])
def test_without_output_what_is_not_there_is_one_line(name: str, upscale: Run) -> None:
    result = upscale(name)
    assert result.exit_code == 1
    assert re.search("no such file|File name too long", result.stderr)


def test_the_command_alone_shows_examples(upscale: Run) -> None:
    result = upscale()
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) <= 6
    assert "upscale tape.avi " in result.stdout
    assert "--help" in result.stdout


def test_scripting_md_knows_the_keys_of_all_objects(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "scripting.md").read_text()))
    (tmp_path / "films").mkdir()
    clip = make_clip("films/in.mkv")
    told = []
    for source, target in ((clip, "out.mkv"), (clip.parent, "restored"), (tmp_path / "none.mkv", "no.mkv")):
        result = upscale(source, tmp_path / target, "-s", 2, "-m", "nearest", "--progress", "json")
        told += [json.loads(line) for line in result.stderr.splitlines()]
    assert {one["type"] for one in told} == {"progress", "result", "error"}
    films = [film for one in told for film in one.get("films", [])]
    assert {key for one in [*told, *films] for key in one} <= documented


def test_what_a_part_is_expected_to_hold_is_what_it_holds(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    part = ("--start", "0.2", "--duration", "0.2")
    result = upscale(
        make_clip(frames=12), tmp_path / "out.mp4", *part, "-s", 2, "-m", "nearest", "--json", "-q"
    )
    summary = json.loads(result.stdout)
    assert summary["expected_frames"] == summary["frames"] == 5


def test_a_skipped_film_has_no_map_and_that_is_told(
    make_clip: MakeClip, upscale: Run, tmp_path: Path
) -> None:
    (tmp_path / "out.mp4").touch()
    result = upscale(make_clip(), tmp_path / "out.mp4", "-n", "--map", tmp_path / "map.mp4")
    assert result.exit_code == 0
    assert "exists; skipped; no map was made" in result.stderr
