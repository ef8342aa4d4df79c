"""Clips made on the fly, and a look at what came out of the program."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np
import pytest
from click.testing import CliRunner, Result

from upscale.cli import main
from upscale.sampling.process import leave_cores_to_encoders

RATE = Fraction(25)
SUBRIP = "1\n00:00:00,200 --> 00:00:01,500\nOne\n\n2\n00:00:02,600 --> 00:00:02,900\nTwo\n"

leave_cores_to_encoders()  # as the command does; here no test has imported PyTorch yet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of GPUs are skipped where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    import torch

    if marked and not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU here"))


@pytest.fixture(autouse=True)
def _same_torch_random_numbers() -> None:
    import torch

    torch.manual_seed(0)


def picture(width: int, height: int, number: int = 0) -> np.ndarray:
    """A moving test picture, RGB [H, W, 3]: gradients, a hard edge and a disc."""
    y, x = np.mgrid[:height, :width]
    red = 40 + 170 * x / width
    green = 40 + 170 * y / height
    blue = np.where((x + 2 * number) % 24 < 12, 200, 60)
    disc = (x - width / 2 - number) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2
    rgb = np.stack([np.where(disc, 220, red), green, blue], -1)
    return rgb.astype(np.uint8)


@dataclass
class Clip:
    """What a decoder says of a file, by PyAV alone."""

    pts: list[Fraction]
    """Seconds."""
    frames: list[av.VideoFrame]
    sound: list[bytes]
    sound_pts: list[Fraction]
    metadata: dict[str, str]
    context: Any
    aspect: Fraction | None
    languages: list[str]


def look(path: Path) -> Clip:
    """Decode all of a file."""
    pts, frames, sound, sound_pts = [], [], [], []
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        for packet in container.demux():
            if packet.stream is video:
                for frame in packet.decode():
                    pts.append(frame.pts * Fraction(frame.time_base))
                    frames.append(frame)
            elif packet.size:
                sound.append(bytes(packet))
                sound_pts.append(packet.pts * Fraction(packet.time_base))
        languages = [stream.language for stream in container.streams.audio]
        aspect = video.sample_aspect_ratio
        return Clip(
            pts, frames, sound, sound_pts, container.metadata, video.codec_context, aspect, languages
        )


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """A factory of small clips; see the keywords."""

    def make(
        name: str = "in.mp4",
        size: tuple[int, int] = (64, 48),
        frames: int = 6,
        pix_fmt: str = "yuv420p",
        codec: str = "libx264",
        pts: list[int] | None = None,
        time_base: Fraction = 1 / RATE,
        sound: str | None = None,
        sound_rate: int = 44100,
        aspect: Fraction | None = None,
        color: tuple[int, int, int, int] | None = None,
        metadata: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        rotation: int | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with av.open(str(path), "w") as container:
            video = container.add_stream(codec, rate=RATE, options=options or {})
            video.width, video.height, video.pix_fmt = *size, pix_fmt
            video.time_base = video.codec_context.time_base = time_base
            if aspect:
                video.codec_context.sample_aspect_ratio = aspect
            if color:
                context = video.codec_context
                context.color_range, context.colorspace, context.color_primaries, context.color_trc = color
            if rotation:
                video.set_display_rotation(rotation)
            audio = None
            if sound:
                audio = container.add_stream(sound, rate=sound_rate, layout="stereo")
                audio.metadata["language"] = "fra"
            container.metadata.update(metadata or {})
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(picture(*size, number), format="rgb24")
                frame = frame.reformat(format=pix_fmt)
                frame.pts = pts[number] if pts else number * round(1 / (RATE * time_base))
                frame.time_base = time_base
                container.mux(video.encode(frame))
            container.mux(video.encode())
            if audio:
                length = round(sound_rate * frames / RATE)
                wave = np.sin(np.arange(length) * 0.05)[None].repeat(2, 0).astype(np.float32)
                tone = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
                tone.sample_rate, tone.pts = sound_rate, 0
                container.mux(audio.encode(tone))
                container.mux(audio.encode())
        return path

    return make


@pytest.fixture
def upscale() -> Callable[..., Result]:
    """Run the command as a user does; its answer carries the exit code, stdout and stderr."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="upscale")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def refused(
    make_clip: Callable[..., Path],
    upscale: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., str]:
    """Run the command on in.mp4 in a folder where one more file stands: what it says as it refuses, when
    it has made and changed nothing."""

    def run(there: str, *arguments: object) -> str:
        source = make_clip()
        (tmp_path / there).write_bytes(b"mine")
        monkeypatch.chdir(tmp_path)
        result = upscale(source.name, *arguments)
        assert result.exit_code in (1, 2)
        assert {path.name for path in tmp_path.iterdir()} == {source.name, there}
        assert (tmp_path / there).read_bytes() == b"mine"
        return result.stderr

    return run


@pytest.fixture(scope="session")
def three_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``film`` is a copy of. It is small, as what the networks do with it takes most of the time."""
    folder = tmp_path_factory.mktemp("film")
    (folder / "lines.srt").write_text(SUBRIP)
    still = "loop=loop=20:size=1:start=30"
    return ffmpeg.make(
        folder / "in.mkv", *ffmpeg.picture("32x24", seconds=3, more=still), *ffmpeg.sound(3),
        "-i", "lines.srt", "-t", "3",
        *ffmpeg.X264B, "-g", "20", "-c:a", "aac", "-map", "0", "-map", "1", "-map", "2",
    )  # fmt: skip


@pytest.fixture
def film(three_shots: Path, tmp_path: Path) -> Path:
    """Three seconds in three shots, a still one in the middle, with sound and subtitles."""
    return Path(shutil.copy(three_shots, tmp_path))


def contents(path: Path) -> dict[str, list[tuple[Fraction, str]]]:
    """Of each kind of stream, the times and the hashes of all decoded frames, or of packets beside."""
    found: dict[str, list[tuple[Fraction, str]]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.stream.type == "video":
                for frame in packet.decode():
                    data = frame.to_ndarray().tobytes()
                    at = frame.pts * frame.time_base
                    found.setdefault("video", []).append((at, hashlib.md5(data).hexdigest()))
            elif packet.size:
                digest = hashlib.md5(bytes(packet)).hexdigest()
                found.setdefault(packet.stream.type, []).append((packet.pts * packet.time_base, digest))
    return found
