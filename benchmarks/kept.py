"""What the command keeps of a clip: frames, their times, sound. Judged by decoding both with PyAV alone.

    python benchmarks/kept.py city.mpg chaplin.mp4 --scale 2 4
    python benchmarks/kept.py goldengate.mp4 --scale 2 4 --duration 1

Leaves the outputs in --output (a folder), and prints a row for each.
"""

import argparse
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av


def look(path: Path) -> tuple[list[Fraction], list[tuple[Fraction, bytes]], str]:
    """Times of all frames in seconds, times and contents of all sound packets, and the size in words."""
    frames, sound = [], []
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        for packet in container.demux():
            if packet.stream is video:
                frames += [frame.pts * Fraction(frame.time_base) for frame in packet.decode()]
            elif packet.stream.type == "audio" and packet.size:
                sound.append((packet.pts * Fraction(packet.time_base), bytes(packet)))
        return frames, sound, f"{video.width}x{video.height}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--scale", nargs="+", default=["2", "4"])
    parser.add_argument("--output", type=Path, default=Path("kept"))
    chosen, options = parser.parse_known_args()
    options = [option for option in options if option != "--"]
    chosen.output.mkdir(exist_ok=True)
    print("| clip | output | frames in, out | largest difference in pts | sound packets in, out | s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for clip in chosen.clips:
        times, sound, size = look(clip)
        for scale in chosen.scale:
            target = chosen.output / f"{clip.stem}-x{scale}.mp4"
            command = [sys.executable, "-c", "from upscale.cli import main; main(prog_name='upscale')"]
            began = time.monotonic()
            subprocess.run(
                [*command, str(clip), str(target), "-y", "-q", "--scale", scale, *options], check=True
            )
            seconds = time.monotonic() - began
            new_times, new_sound, new_size = look(target)
            if "--duration" in options:  # of a part, that begins at zero
                times = [moment - times[0] for moment in times[: len(new_times)]]
            worst = max(abs(a - b) for a, b in zip(times, new_times, strict=False))
            before, after = [content for _, content in sound], [content for _, content in new_sound]
            part = "--duration" in options and set(after) <= set(before)
            same = "the same bytes" if part or before == after else "different"
            heard = f"{len(sound)}, {len(new_sound)}, {same}" if sound else "none"
            frames = f"{len(times)}, {len(new_times)}"
            row = [f"{clip.name} {size}", new_size, frames, f"{float(worst):g} s", heard, f"{seconds:.0f}"]
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
