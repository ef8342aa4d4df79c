"""Peak memory of the whole command, and whether it grows with the length of the film.

    python benchmarks/memory.py --size 480x270 --scale 4 --seconds 1 8
    python benchmarks/memory.py --size 320x240 --scale 2 --seconds 60 600 -- -m nearest --preset ultrafast

Makes a clip of each length, with three tracks of sound and a line of subtitles a second, runs the command
on it in a process of its own, and prints that process's peak resident set: decoder, networks and encoder.
Needs the extra ``test``, for its ffmpeg.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio_ffmpeg


def make_clip(path: Path, size: str, seconds: int) -> None:
    lines = path.with_suffix(".srt")
    times = (f"{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}" for n in range(seconds))
    lines.write_text("".join(f"{n}\n{t},100 --> {t},900\nLine {n}\n\n" for n, t in enumerate(times, 1)))
    picture = f"testsrc2=size={size}:rate=25:duration={seconds},noise=alls=12:allf=t:all_seed=1"
    sound = ("-f", "lavfi", "-i", f"sine=duration={seconds}")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", picture, *sound]
    maps = [option for stream in ("0", "1", "1", "1", "2") for option in ("-map", stream)]
    coded = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-c:s", "srt")
    subprocess.run([*command, "-i", str(lines), *maps, *coded, str(path)], check=True)


def peak_of(command: list[str]) -> float:
    """MB of the largest resident set that the command had."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_maxrss / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="480x270")
    parser.add_argument("--scale", default="4")
    parser.add_argument("--seconds", type=int, nargs="+", default=[1, 8])
    parser.add_argument("options", nargs="*", help="more options for upscale, after --")
    chosen = parser.parse_args()
    print("| seconds, at 25 frames each | peak MB |\n| --- | --- |")
    for seconds in chosen.seconds:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.mkv", Path(folder) / "out.mkv"
            make_clip(source, chosen.size, seconds)
            run = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
            peak = peak_of([*run, str(source), str(target), "-q", "--scale", chosen.scale, *chosen.options])
        print(f"| {seconds} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
