"""What segments cost, and what a second worker brings: the same film in each way, in turns.

    python benchmarks/segments.py --size 160x120 --seconds 60 --rounds 3 -- -s 2 -m clean

Prints the median of each way's wall time, the start of the program included, and its ratio to one go.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memory import make_clip

WAYS = {
    "in one go": ("--segment", "0"),
    "in segments": (),
    "in segments, 2 workers": ("--workers", "2"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="160x120")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("options", nargs="*", help="more options for upscale, after --")
    chosen = parser.parse_args()
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.mkv", Path(folder) / "out.mkv"
        make_clip(source, chosen.size, chosen.seconds)
        command = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
        for _ in range(chosen.rounds):
            for way, options in WAYS.items():
                began = time.monotonic()
                subprocess.run(
                    [*command, str(source), str(target), "-y", "-q", *options, *chosen.options], check=True
                )
                times[way].append(time.monotonic() - began)
    base = statistics.median(times["in one go"])
    print("| way | s | against one go |\n| --- | --- | --- |")
    for way, each in times.items():
        median = statistics.median(each)
        print(f"| {way} | {median:.1f} | {median / base:.3f} |")


if __name__ == "__main__":
    main()
