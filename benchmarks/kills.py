"""A run that is killed at random moments, and gone on with each time, against one that nobody disturbs.

    python benchmarks/kills.py --kills 20 --seed 1 -- -s 2 --deinterlace on --deflicker --codec ffv1

Makes a film with sound and subtitles, kills the command with SIGKILL, worker processes and all, ``--kills``
times at moments drawn with ``--seed``, lets it end, and compares: the hash and the pts of every decoded
frame, and the packets of sound and subtitles.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import av
from memory import make_clip

COMMAND = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]


def contents(path: Path) -> dict[str, list[tuple[object, str]]]:
    """Of each kind of stream, the times and the hashes of all decoded frames, or of packets."""
    found = defaultdict(list)
    with av.open(str(path)) as container:
        for packet in container.demux():
            name = f"{packet.stream.type} {packet.stream_index}"
            if packet.stream.type == "video":
                for frame in packet.decode():
                    digest = hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()
                    found[name].append((frame.pts * frame.time_base, digest))
            elif packet.size:
                found[name].append(
                    (packet.pts * packet.time_base, hashlib.sha256(bytes(packet)).hexdigest())
                )
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="160x120")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--segment", default="1")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("options", nargs="*", help="more options for upscale, after --")
    chosen = parser.parse_args()
    moments = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        source, straight, target = (Path(folder) / name for name in ("in.mkv", "straight.mkv", "out.mkv"))
        make_clip(source, chosen.size, chosen.seconds)
        options = ["-q", *chosen.options]
        began = time.monotonic()
        subprocess.run([*COMMAND, str(source), str(straight), "--segment", "0", *options], check=True)
        took = time.monotonic() - began
        command = [*COMMAND, str(source), str(target), "--segment", chosen.segment, *options]
        kept = []
        for _ in range(chosen.kills):
            process = subprocess.Popen(command, start_new_session=True)
            try:
                process.wait(moments.uniform(0.5, 3 * took / chosen.kills))
                sys.exit(f"it ended after {len(kept)} kills; take a longer film")
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            kept.append(len(list(target.parent.glob(".out.mkv.upscale/*.segment"))))
        subprocess.run(command, check=True)
        print(f"segments kept after each of {len(kept)} kills: {kept}")
        one, other = contents(straight), contents(target)
        for name in sorted(one.keys() | other.keys()):
            same = "the same" if one.get(name) == other.get(name) else "DIFFERENT"
            print(f"{name}: {len(one.get(name, []))} of {len(other.get(name, []))}, {same}")
        left = sorted(path.name for path in target.parent.iterdir() if path.name.startswith("."))
        print(f"left behind: {left or 'nothing'}")
        if one != other or left:
            sys.exit(1)


if __name__ == "__main__":
    main()
