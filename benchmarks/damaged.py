"""What becomes of damaged films: cut short, bits flipped, the head of one on the body of another.

    python benchmarks/damaged.py --variants 40

Makes five small clips, damages each in that many ways (the same ones every time), and upscales every one
without a network, in a process of its own. Prints how each kind ended, and fails if one crashed, hung,
showed a traceback, or left anything but a whole film under the final name. Needs the extra ``test``, for
its ffmpeg.
"""

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
UPSCALE = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
PATIENCE = 60  # seconds, for a clip of two

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=2,noise=alls=10:allf=t:all_seed=1")
SOUND = ("-f", "lavfi", "-i", "sine=duration=2")
CLIPS = {
    "film.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-movflags", "faststart"),
    "film.mkv": ("-c:v", "libx265", "-x265-params", "log-level=error", "-c:a", "libopus"),
    "film.avi": ("-c:v", "mpeg4", "-c:a", "mp3"),
    "film.ts": ("-c:v", "mpeg2video", "-bf", "2", "-flags", "+ildct+ilme", "-c:a", "mp2"),
    "film.mov": ("-c:v", "prores_ks", "-c:a", "pcm_s16le"),
}
KINDS = ("cut short", "bits flipped", "bits of the head flipped", "another's head")


def damage(data: bytes, other: bytes, kind: str, random: np.random.Generator) -> bytes:
    """``data`` in a worse state; ``other`` is a film of another kind."""
    if kind == "cut short":
        return data[: random.integers(1, len(data))]
    if kind == "another's head":
        length = int(random.integers(16, 4096))
        return other[:length] + data[length:]
    spoilt = bytearray(data)
    end = len(data) if kind == "bits flipped" else min(len(data), 4096)
    for place in random.integers(0, end, random.integers(1, 200)):
        spoilt[place] ^= 1 << random.integers(8)
    return bytes(spoilt)


def outcome(film: Path, target: Path) -> str:
    """Upscale a film, and say how that ended; what must not be begins with "!"."""
    command = [
        *UPSCALE,
        str(film),
        str(target),
        "-s",
        "2",
        "-m",
        "nearest",
        "--preset",
        "ultrafast",
        "--json",
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "!hung"
    said = done.stderr.decode(errors="replace")
    left = [path.name for path in target.parent.iterdir() if path != film]
    if done.returncode < 0:
        return f"!crashed with signal {-done.returncode}"
    if "Traceback" in said:
        return "!traceback"
    if not done.stdout or "error" in json.loads(done.stdout):
        return f"!left {left[0]}" if left else "refused with a message"
    if left != [target.name]:
        return f"!left {left}"
    with av.open(str(target)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    if frames != json.loads(done.stdout)["frames"]:
        return "!a film of another length than was said"
    return "whole" if done.returncode == 0 else "what could be read, and a message"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=Path, help="a folder for the films that ended as they must not")
    parser.add_argument("--variants", type=int, default=40, help="of each of the five clips")
    chosen = parser.parse_args()
    variants = chosen.variants
    counts: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        clips = []
        for name, coded in CLIPS.items():
            path = Path(folder) / name
            quiet = ("-hide_banner", "-loglevel", "error", "-y")
            subprocess.run([FFMPEG, *quiet, *PICTURE, *SOUND, *coded, str(path)], check=True)
            clips.append((path.suffix, path.read_bytes()))
        for number, (suffix, data) in enumerate(clips):
            other = clips[(number + 1) % len(clips)][1]
            for variant in range(variants):
                kind = KINDS[variant % len(KINDS)]
                place = Path(folder) / f"{number}-{variant}"
                place.mkdir()
                film = place / f"hurt{suffix}"
                random = np.random.default_rng([number, variant])
                film.write_bytes(damage(data, other, kind, random))
                ended = outcome(film, place / "out.mkv")
                counts[kind][ended] += 1
                if ended.startswith("!"):
                    print(f"{suffix} {variant}: {kind}: {ended}", file=sys.stderr)
                    if chosen.keep:
                        film.rename(chosen.keep / f"{number}-{variant}{suffix}")
    endings = sorted({ending for counter in counts.values() for ending in counter})
    print(f"| damage | {' | '.join(endings)} |\n| --- |{' --- |' * len(endings)}")
    for kind, counter in counts.items():
        print(f"| {kind} | {' | '.join(str(counter[ending]) for ending in endings)} |")
    if any(ending.startswith("!") for ending in endings):
        sys.exit(1)


if __name__ == "__main__":
    main()
