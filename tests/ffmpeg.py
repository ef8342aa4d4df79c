"""An ffmpeg that is not PyAV's: it makes awkward clips, and judges what came of them."""

import re
import subprocess
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()

RATE = 48000
"""Samples a second at which sounds are compared."""

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
X264B = ("-c:v", "libx264", "-preset", "medium", "-bf", "3", "-pix_fmt", "yuv420p")
FFV1 = ("-c:v", "ffv1")


def picture(size: str = "64x48", rate: str = "25", seconds: float = 1, more: str = "") -> tuple[str, ...]:
    """A moving picture with noise, so that every frame differs from every other."""
    noise = "noise=alls=24:allf=t:all_seed=7" + (f",{more}" if more else "")
    return "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds},{noise}"


def sound(seconds: float = 1, rate: int = RATE) -> tuple[str, ...]:
    """A sweep, so that a shift in time shows."""
    sweep = f"aevalsrc=0.5*sin(2*PI*(200*t+700*t*t)):s={rate}:d={seconds}"
    return "-f", "lavfi", "-i", sweep


def make(path: Path, *arguments: object) -> Path:
    """Run ffmpeg with ``arguments`` to write ``path``."""
    command = [
        FFMPEG,
        "-hide_banner",
        "-loglevel",
        "error",
        "-nostdin",
        "-y",
        *map(str, arguments),
        str(path),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=path.parent)
    return path


@dataclass
class Stream:
    """What framecrc says of one stream: times of its packets or frames in seconds, and their checksums."""

    kind: str
    codec: str
    times: list[Fraction] = field(default_factory=list)
    sums: list[str] = field(default_factory=list)


def streams(path: Path, *options: str) -> list[Stream]:
    """The streams of a file as ffmpeg reads them: with ``-c copy`` packets, without it frames."""
    command = [FFMPEG, "-nostdin", "-loglevel", "error", "-copyts", "-i", str(path), *options]
    text = subprocess.run(
        [*command, "-f", "framecrc", "-"], check=True, capture_output=True, text=True
    ).stdout
    ticks: dict[int, Fraction] = {}
    found: dict[int, Stream] = {}
    for line in text.splitlines():
        if match := re.match(r"#tb (\d+): (\S+)", line):
            ticks[int(match[1])] = Fraction(match[2])
        elif match := re.match(r"#media_type (\d+): (\w+)", line):
            found[int(match[1])] = Stream(match[2], "")
        elif match := re.match(r"#codec_id (\d+): (\w+)", line):
            found[int(match[1])].codec = match[2]
        elif not line.startswith("#"):
            index, _, pts, _, _, checksum, *_ = (part.strip() for part in line.split(","))
            found[int(index)].times.append(int(pts) * ticks[int(index)])
            found[int(index)].sums.append(checksum)
    for stream in found.values():
        order = sorted(range(len(stream.times)), key=stream.times.__getitem__)
        stream.times = [stream.times[place] for place in order]
        stream.sums = [stream.sums[place] for place in order]
    return list(found.values())


def packets(path: Path) -> list[Stream]:
    return streams(path, "-map", "0", "-c", "copy")


def frames(path: Path) -> Stream:
    """The frames of the picture."""
    return streams(path, "-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "demux")[0]


def header(path: Path) -> str:
    """How ffmpeg describes a file."""
    return subprocess.run([FFMPEG, "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr
