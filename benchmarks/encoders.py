"""What an encoder costs and what it leaves of the picture: ms of a core and kB a frame, and SSIMULACRA2.

    upscale city.mpg made.mkv --height 1080 --duration 0.8 -m clean --codec ffv1     # a film that we made
    python benchmarks/encoders.py made.mkv libx264,crf=16,preset=faster libx264,crf=16

An encoder without a preset is told what ``upscale`` tells it. Needs the extra ``perceptual``.
"""

import argparse
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from upscale.lab.perceptual import distances
from upscale.media.write.encoder import DEFAULT_OPTIONS

COMPARED = (4, 11, 17)
"""Frames that are looked at."""


def frames_of(path: Path) -> list[VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def encode(frames: list[VideoFrame], codec: str, options: dict[str, str], path: Path) -> tuple[float, int]:
    """Core seconds and bytes of all frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = (
            frames[0].width,
            frames[0].height,
            frames[0].format.name,
        )
        size, began = 0, time.process_time()
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            frame.pict_type = 0
            for packet in stream.encode(frame):
                size += packet.size
                container.mux(packet)
        for packet in stream.encode():
            size += packet.size
            container.mux(packet)
        return time.process_time() - began, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("encoders", nargs="+", metavar="CODEC[,OPTION=VALUE ...]")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    ssimulacra2 = distances(("SSIMULACRA2",))["SSIMULACRA2"]
    frames = frames_of(chosen.film)
    truth = [frames[number].to_ndarray(format="rgb24") for number in COMPARED]
    times: dict[str, list[float]] = {text: [] for text in chosen.encoders}
    told: dict[str, tuple[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(chosen.rounds):
            for text in chosen.encoders:
                codec, *pairs = text.split(",")
                options = dict(pair.split("=", 1) for pair in pairs)
                if "preset" not in options:
                    options = DEFAULT_OPTIONS.get(codec, {}) | options
                path = Path(folder) / "made.mkv"
                seconds, size = encode(frames, codec, options, path)
                times[text].append(seconds)
                if not round_:
                    made = frames_of(path)
                    pictures = [made[number].to_ndarray(format="rgb24") for number in COMPARED]
                    quality = np.mean([ssimulacra2(*pair) for pair in zip(pictures, truth, strict=True)])
                    told[text] = size, float(quality)
    print("| encoder | core ms | kB | SSIMULACRA2 |\n| --- | --- | --- | --- |")
    for text, (size, quality) in told.items():
        core = 1000 * float(np.median(times[text])) / len(frames)
        print(f"| {text} | {core:.0f} | {size / len(frames) / 1000:.0f} | {quality:.2f} |")


if __name__ == "__main__":
    main()
