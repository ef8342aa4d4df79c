"""Times that files tell carelessly: repeated, stepping back, of decoding alone, cut by an edit list."""

import json
import struct
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import ffmpeg
import pytest
from click.testing import Result
from conftest import contents

from upscale.media.read.clock import FileClock
from upscale.media.read.source import Source

Run = Callable[..., Result]
PLAIN = ("-m", "nearest", "-s", 2)

LINES = """1
00:00:00,500 --> 00:00:02,000
one

2
00:00:00,500 --> 00:00:02,000
two at the same time

3
00:00:01,000 --> 00:00:01,500
three

4
00:00:03,000 --> 00:00:03,500
four
"""


@pytest.mark.parametrize("codec", ["srt", "ass", "webvtt"])
def test_lines_that_are_shown_at_once_move_no_others(codec: str, upscale: Run, tmp_path: Path) -> None:
    (tmp_path / "lines.srt").write_text(LINES)
    film = ffmpeg.make(
        tmp_path / "in.mkv",
        *ffmpeg.picture(seconds=4),
        *("-i", tmp_path / "lines.srt", "-map", 0, "-map", 1, *ffmpeg.X264, "-c:s", codec),
    )
    assert upscale(film, tmp_path / "out.mkv", *PLAIN).exit_code == 0
    assert contents(tmp_path / "out.mkv")["subtitle"] == contents(film)["subtitle"]
    assert len(contents(film)["subtitle"]) == 4


@pytest.mark.parametrize("codec", ["srt", "ass"])
@pytest.mark.parametrize("name", ["out.mp4", "out.mov"])
def test_lines_that_are_shown_at_once_share_a_packet_where_there_is_one(
    codec: str, name: str, upscale: Run, tmp_path: Path
) -> None:
    (tmp_path / "lines.srt").write_text(LINES)
    film = ffmpeg.make(
        tmp_path / "in.mkv",
        *ffmpeg.picture(seconds=4),
        *("-i", tmp_path / "lines.srt", "-map", 0, "-map", 1, *ffmpeg.X264, "-c:s", codec),
    )
    assert upscale(film, tmp_path / name, *PLAIN, "-q", "--segment", 1).exit_code == 0
    command = [ffmpeg.FFMPEG, "-v", "error", "-i", tmp_path / name, "-map", "0:s", "-f", "srt", "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    shown = [block.splitlines()[1:] for block in text.strip().split("\n\n")]
    assert [(lines[0], *lines[1:]) for lines in shown] == [
        ("00:00:00,500 --> 00:00:01,000", "one", "two at the same time"),
        ("00:00:01,000 --> 00:00:01,500", "one", "two at the same time", "three"),
        ("00:00:01,500 --> 00:00:02,000", "one", "two at the same time"),
        ("00:00:03,000 --> 00:00:03,500", "four"),
    ]


class Tape:
    """The packets of a film with sound, whose times a test changes, through a FileClock."""

    def __init__(self, path: Path):
        made = ffmpeg.make(path, *ffmpeg.picture(seconds=2), *ffmpeg.sound(2), *ffmpeg.X264, "-c:a", "mp2")
        self._container = av.open(made)
        self._clock = FileClock(self._container.streams.video[0])
        self.packets = [packet for packet in self._container.demux() if packet.size]

    def again(self) -> Iterator[av.Packet]:
        """The same packets once more, as from a tape that was joined."""
        with av.open(self._container.name) as container:
            for packet in container.demux():
                if packet.size:
                    packet.stream = self._container.streams[packet.stream_index]
                    yield packet

    def times(self, packets: list[av.Packet]) -> tuple[list[Fraction], list[Fraction]]:
        """Of the picture and of the sound, in seconds, as the clock gives them."""
        ready = [each for packet in packets for each in self._clock.stamp(packet)] + self._clock.end()
        assert len(ready) == len(packets)
        kinds: dict[str, list[Fraction]] = {"video": [], "audio": []}
        for packet in ready:
            assert packet.dts is not None
            kinds[packet.stream.type].append(packet.dts * Fraction(packet.time_base))
        return kinds["video"], kinds["audio"]


def own(packets: list[av.Packet], kind: str) -> list[Fraction]:
    return [packet.dts * Fraction(packet.time_base) for packet in packets if packet.stream.type == kind]


@pytest.mark.parametrize("back", [Fraction(0), Fraction(1, 20), Fraction(3, 10), Fraction(5)])
def test_sound_that_steps_back_for_a_while_is_in_time_again(back: Fraction, tmp_path: Path) -> None:
    """By less than a clock jumps, and by more."""
    tape = Tape(tmp_path / "in.ts")
    sound = [packet for packet in tape.packets if packet.stream.type == "audio"]
    expected_picture, expected = own(tape.packets, "video"), own(tape.packets, "audio")
    for packet in sound[20:25]:
        moved = sound[19].dts if not back else packet.dts - round(back / packet.time_base)
        packet.pts = packet.dts = moved
    pictures, sounds = tape.times(tape.packets)
    assert pictures == expected_picture
    assert sounds[:20] + sounds[25:] == expected[:20] + expected[25:]
    assert all(a <= b for a, b in pairwise(sounds))


@pytest.mark.parametrize("early", [0, 8])
def test_joined_tapes_keep_picture_and_sound_together(early: int, tmp_path: Path) -> None:
    """Also where sound of the second is stored before the last pictures of the first."""
    tape = Tape(tmp_path / "in.ts")
    first, second = tape.packets, list(tape.again())
    lasts = own(first, "video")[-1] + Fraction(1, 25) - own(first, "video")[0]
    tail = [packet for packet in first if packet.stream.type == "video"][-early:] if early else []
    sound = [packet for packet in second if packet.stream.type == "audio"][:early]
    order = [packet for packet in first if packet not in tail] + sound + tail
    order += [packet for packet in second if packet not in sound]
    expected = own(first, "audio") + [at + lasts for at in own(second, "audio")]
    pictures, sounds = tape.times(order)
    assert [b - a for a, b in pairwise(pictures)] == [Fraction(1, 25)] * 99
    assert [round(at * 1000) for at in sounds] == [round(at * 1000) for at in expected]


@pytest.mark.parametrize(("start", "duration"), [(1.0, 0.4), (1.6, 0.8), (4.8, 1.0), (5.2, 0.4)])
@pytest.mark.parametrize("segment", [0, 0.4])
def test_a_part_of_joined_tapes(
    start: float, duration: float, segment: float, upscale: Run, tmp_path: Path
) -> None:
    """Before the joints, across one, and behind several."""
    tape = ffmpeg.make(
        tmp_path / "tape.ts", *ffmpeg.picture(seconds=2), *ffmpeg.sound(2), *ffmpeg.X264B, "-c:a", "mp2"
    )
    joined = tmp_path / "joined.ts"
    joined.write_bytes(tape.read_bytes() * 3)
    lossless = ("-m", "nearest", "-s", 1, "--codec", "ffv1", "-q", "--segment", segment)
    assert upscale(joined, tmp_path / "all.mkv", *lossless).exit_code == 0
    part = ("--start", start, "--duration", duration)
    result = upscale(joined, tmp_path / "part.mkv", *lossless, *part)
    assert result.exit_code == 0, result.stderr
    first, last = round(start * 25), round((start + duration) * 25)
    expected = ffmpeg.frames(tmp_path / "all.mkv").sums[first:last]
    assert ffmpeg.frames(tmp_path / "part.mkv").sums == expected
    assert heard(tmp_path / "part.mkv") == pytest.approx(duration, abs=0.1)


def careless(source: Path, target: Path) -> Path:
    """The same film with the times of decoding in place of those of showing."""
    with av.open(source) as film, av.open(target, "w") as made:
        stream = made.add_stream_from_template(film.streams.video[0])
        for number, packet in enumerate(packet for packet in film.demux() if packet.size):
            packet.pts = packet.dts = number * 40
            packet.stream = stream
            made.mux(packet)
    return target


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("libx264", "in.mp4"),
        ("libx264", "in.flv"),
        ("libx264", "in.mkv"),
        ("libx265", "in.mp4"),
        ("mpeg2video", "in.mkv"),
        ("mpeg4", "in.mp4"),
        ("mpeg4", "in.nut"),
    ],
)
@pytest.mark.parametrize("segment", [0, 0.4])
def test_times_of_decoding_alone(
    codec: str, name: str, segment: float, upscale: Run, tmp_path: Path
) -> None:
    quiet = ("-x265-params", "log-level=none") if codec == "libx265" else ()
    whole = ffmpeg.make(
        tmp_path / "whole.mkv", *ffmpeg.picture(seconds=2), "-c:v", codec, "-bf", 2, "-g", 12, *quiet
    )
    film = careless(whole, tmp_path / name)
    target = tmp_path / "out.mkv"
    result = upscale(film, target, "-m", "nearest", "-s", 1, "--codec", "ffv1", "--segment", segment, "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    expected = ffmpeg.frames(whole)
    assert ffmpeg.frames(target).sums == expected.sums
    assert ffmpeg.frames(target).times == expected.times


@pytest.mark.parametrize(("codec", "name"), [("mpeg2video", "in.mkv"), ("mpeg4", "in.mp4")])
def test_a_part_with_times_of_decoding_alone(codec: str, name: str, upscale: Run, tmp_path: Path) -> None:
    """Where reading begins amid the film, in an open group of pictures."""
    inputs = (*ffmpeg.picture(seconds=3), "-c:v", codec, "-bf", 2, "-g", 12)
    film = careless(ffmpeg.make(tmp_path / "whole.mkv", *inputs), tmp_path / name)
    lossless = ("-m", "nearest", "-s", 1, "--codec", "ffv1", "-q")
    assert upscale(film, tmp_path / "all.mkv", *lossless).exit_code == 0
    result = upscale(film, tmp_path / "part.mkv", *lossless, "--start", "1.2", "--duration", "1.2")
    assert (result.exit_code, result.stderr) == (0, "")
    assert ffmpeg.frames(tmp_path / "part.mkv").sums == ffmpeg.frames(tmp_path / "all.mkv").sums[30:60]


def boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an mp4 between two places: kind, place, size."""
    while begin < end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        yield kind, begin, size
        begin += size


def child(data: bytes, at: int, *path: bytes) -> int:
    """The place of a box inside the one at ``at``."""
    for kind in path:
        (size,) = struct.unpack_from(">I", data, at)
        at = next(place for name, place, _ in boxes(data, at + 8, at + size) if name == kind)
    return at


def cut(path: Path, *shown: tuple[float, float]) -> None:
    """Let the edit lists of a film show only some spans of it, (begin, end) in seconds, as trims do. What
    begins at -1 is empty, and lasts so many seconds."""
    data = path.read_bytes()
    (moov,) = (at for kind, at, _ in boxes(data, 0, len(data)) if kind == b"moov")
    (size,) = struct.unpack_from(">I", data, moov)
    assert moov + size == len(data)
    (scale,) = struct.unpack_from(">I", data, child(data, moov, b"mvhd") + 20)
    made = b""
    for kind, at, length in boxes(data, moov + 8, len(data)):
        body = data[at + 8 : at + length]
        if kind == b"trak":
            (own,) = struct.unpack_from(">I", data, child(data, at, b"mdia", b"mdhd") + 20)
            edits = b"".join(
                struct.pack(">IiI", int(end * scale), -1, 1 << 16)
                if begin < 0
                else struct.pack(">IiI", int((end - begin) * scale), int(begin * own), 1 << 16)
                for begin, end in shown
            )
            listed = struct.pack(">I4sII", 16 + len(edits), b"elst", 0, len(shown)) + edits
            inner = [data[p : p + n] for name, p, n in boxes(data, at + 8, at + length) if name != b"edts"]
            inner.insert(1, struct.pack(">I4s", 8 + len(listed), b"edts") + listed)
            body = b"".join(inner)
        made += struct.pack(">I4s", 8 + len(body), kind) + body
    path.write_bytes(data[:moov] + struct.pack(">I4s", 8 + len(made), b"moov") + made)


@pytest.mark.parametrize(
    ("codecs", "shown"),
    [
        (("mpeg4", "-g", 1, "-bf", 0, "-c:a", "pcm_s16le"), [(0, 0.52), (1, 1.52)]),
        (("libx264", "-g", 10, "-bf", 2, "-c:a", "pcm_s16le"), [(0, 0.4), (1.2, 1.6)]),
        (("libx264", "-g", 10, "-bf", 0, "-c:a", "aac"), [(0, 0.4), (1.2, 1.6)]),
        (("libx264", "-g", 10, "-bf", 2, "-c:a", "pcm_s16le"), [(0.8, 1.6)]),
        (("libx264", "-g", 25, "-bf", 2, "-c:a", "aac"), [(0, 0.52), (1.28, 1.88)]),
        (("libx264", "-g", 250, "-bf", 2, "-c:a", "aac"), [(0, 0.52), (1.28, 1.88)]),
        (("mpeg4", "-g", 12, "-bf", 0, "-c:a", "pcm_s16le"), [(0.2, 0.6), (1.32, 1.88)]),
    ],
)
def test_what_an_edit_list_cuts_out_is_neither_lost_nor_heard(
    codecs: tuple[object, ...], shown: list[tuple[float, float]], upscale: Run, tmp_path: Path
) -> None:
    """Wherever it cuts: what is hidden before a key frame, and behind one, moves nothing."""
    film = ffmpeg.make(
        tmp_path / "in.mov",
        *ffmpeg.picture(seconds=2),
        *ffmpeg.sound(2),
        *("-pix_fmt", "yuv420p", "-c:v", *codecs),
    )
    cut(film, *shown)
    expected = ffmpeg.frames(film)
    assert len(expected.times) < 32
    for name, options in (("out.mkv", ()), ("out.mov", ()), ("parts.mkv", ("--segment", 0.3))):
        lossless = ("--codec", "ffv1") if name.endswith("mkv") else ()
        result = upscale(film, tmp_path / name, "-m", "nearest", "-s", 1, "-q", *options, *lossless)
        assert (result.exit_code, result.stderr) == (0, "")
        made = ffmpeg.frames(tmp_path / name)
        apart = [float(a - b) for a, b in zip(made.times, expected.times, strict=True)]
        assert max(apart) - min(apart) < 0.002
        assert not lossless or made.sums == expected.sums
        assert heard(tmp_path / name) == pytest.approx(sum(end - begin for begin, end in shown), abs=0.1)


@pytest.mark.parametrize("begin", [0.2, 0.92])
def test_an_empty_edit_before_a_trim_is_no_damage(begin: float, upscale: Run, tmp_path: Path) -> None:
    film = ffmpeg.make(
        tmp_path / "in.mov",
        *ffmpeg.picture(seconds=2),
        *("-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", 25, "-bf", 2),
    )
    cut(film, (-1, 0.52), (begin, 1.8))
    expected = ffmpeg.frames(film)
    for segment in (0, 0.3):
        result = upscale(film, tmp_path / "out.mkv", *PLAIN, "-q", "-y", "--segment", segment)
        assert (result.exit_code, result.stderr) == (0, "")
        assert len(ffmpeg.frames(tmp_path / "out.mkv").times) == len(expected.times) < 46


def heard(path: Path) -> float:
    """Seconds of sound in a film."""
    command = [
        ffmpeg.FFMPEG,
        "-v",
        "error",
        "-i",
        path,
        "-map",
        "0:a",
        "-ac",
        "1",
        "-ar",
        "8000",
        "-f",
        "s8",
        "-",
    ]
    return len(subprocess.run(command, check=True, capture_output=True).stdout) / 8000


CLOCKED = ("-enc_time_base", "1/1000", "-fps_mode", "passthrough")


@pytest.fixture(params=["pal.dv", "ntsc.dv", "ms.avi", "reordered.avi", "uneven.avi", "slow.mp4"])
def clocked(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Fraction]:
    """A film of two seconds whose header takes its clock for its rate, or seems to; and its rate."""
    name = request.param
    tape = ("-ar", 48000, "-ac", 2, "-c:v", "dvvideo", "-c:a", "pcm_s16le")
    uneven = ("select='mod(n,3)',settb=1/1000", Fraction(50, 3))
    rate, size, more, options = {
        "pal.dv": (Fraction(25), "720x576", "", (*tape, "-pix_fmt", "yuv420p")),
        "ntsc.dv": (Fraction(30000, 1001), "720x480", "", (*tape, "-pix_fmt", "yuv411p")),
        "ms.avi": (Fraction(25), "64x48", "", ("-c:v", "mpeg4", *CLOCKED)),
        "reordered.avi": (Fraction(25), "64x48", "", ("-c:v", "libx264", "-bf", 2, *CLOCKED)),
        "uneven.avi": (uneven[1], "64x48", uneven[0], ("-c:v", "mpeg4", *CLOCKED)),
        "slow.mp4": (Fraction(240), "64x48", "", ("-c:v", "mpeg4")),
    }[name]
    shown = str(25 if name == "uneven.avi" else rate)
    inputs = (*ffmpeg.picture(size, shown, 2, more), *ffmpeg.sound(2))
    return ffmpeg.make(tmp_path / name, *inputs, *options), rate


def test_a_clock_is_no_rate(clocked: tuple[Path, Fraction], upscale: Run, tmp_path: Path) -> None:
    film, rate = clocked
    with Source(film) as source:
        assert source.info.average_rate is not None
        assert float(source.info.average_rate) == pytest.approx(rate, rel=0.03)
        expected = source.info.expected_frames
    frames = len(ffmpeg.frames(film).times)
    assert expected == pytest.approx(frames, abs=2)
    for name in ("out.mkv", "out.mp4", "out.avi"):
        options = ("--codec", "mpeg4") if name == "out.avi" else ()
        result = upscale(
            film, tmp_path / name, "-m", "nearest", "-s", 1, "--json", "--segment", 1, *options
        )
        assert result.exit_code == 0, result.stderr
        assert "damaged" not in result.stderr
        report = json.loads(result.stdout)
        assert (report["frames"], report["segments"]) == (frames, 2)
        assert len(ffmpeg.frames(tmp_path / name).times) == frames
    apart = [
        abs(a - b)
        for a, b in zip(ffmpeg.frames(film).times, ffmpeg.frames(tmp_path / "out.mkv").times, strict=True)
    ]
    guessed = Fraction(1, 25) if film.name == "reordered.avi" else 0  # by FFmpeg: an AVI knows no pts
    assert max(apart) - min(apart) <= Fraction(1, 500) + guessed
