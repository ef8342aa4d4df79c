"""How right the time of arrival is, that the bar of a folder shows: what it said, against what it was.

    python benchmarks/arrival.py --films 160x120:60 320x240:20 96x64:120 -- -s 2 -m clean

Makes a folder of such films (size:seconds), runs the command with ``--progress json``, and prints for every
half minute how long the program said that it would still take, and how long it took.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memory import make_clip

EVERY = 30
"""Seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--films", nargs="+", default=["160x120:60", "320x240:20", "96x64:120"])
    parser.add_argument("options", nargs="*", help="more options for upscale, after --")
    chosen = parser.parse_args()
    said: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        footage = Path(folder) / "footage"
        footage.mkdir()
        for number, film in enumerate(chosen.films):
            size, seconds = film.split(":")
            make_clip(footage / f"{number} {size}.mkv", size, int(seconds))
            (footage / f"{number} {size}.srt").unlink()
        command = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
        command += [str(footage), str(Path(folder) / "restored"), "--progress", "json", *chosen.options]
        began = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            now, told = time.monotonic() - began, json.loads(line)
            if told["type"] == "progress" and told["left"] is not None and now >= EVERY * (len(said) + 1):
                said.append((now, told["left"]))
        if process.wait():
            sys.exit("the command failed")
        took = time.monotonic() - began
    print("| after, s | it said, s | it took, s | ratio |\n| --- | --- | --- | --- |")
    for now, left in said:
        print(f"| {now:.0f} | {left:.0f} | {took - now:.0f} | {left / (took - now):.2f} |")
    print(f"\n{took:.0f} s in all")


if __name__ == "__main__":
    main()
