"""Damaged films: what can be read is kept, at its time; what cannot is counted and told."""

import io
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from ffmpeg import X264B, picture, sound
from test_awkward import lag, samples

from upscale.media.read.matroska import read_entries
from upscale.media.read.source import Source

Run = Callable[..., Result]
FAST = ("-s", "2", "-m", "nearest", "--preset", "ultrafast")


def spoil(path: Path, packets: set[int]) -> Path:
    """The same file with garbage in some packets of its picture."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for number, packet in enumerate(container.demux(video=0)):
            if number in packets:
                place = data.index(bytes(packet))
                data[place : place + packet.size] = bytes([0x5A]) * packet.size
    spoilt = path.with_stem("spoilt")
    spoilt.write_bytes(data)
    return spoilt


@pytest.mark.parametrize(
    "codec", [("mjpeg",), ("ffv1", "-slicecrc", "1"), ("libx264", "-g", "1", "-preset", "ultrafast")]
)
def test_a_lost_frame_repeats_its_neighbour(codec: tuple[str, ...], tmp_path: Path, upscale: Run) -> None:
    film = ffmpeg.make(tmp_path / "in.mkv", *picture(), *sound(), "-c:v", *codec, "-pix_fmt", "yuvj420p")
    hurt = spoil(film, {7, 8, 15})
    with Source(hurt) as source:
        frames = list(source.frames())
        assert source.losses.frames == 3
    assert [frame.pts for frame in frames] == [n * 40 for n in range(25)]
    repeated = [n for n, (one, other) in enumerate(pairwise(frames), 1) if one.planes is other.planes]
    assert repeated == [7, 8, 15]
    result = upscale(hurt, tmp_path / "out.mp4", *FAST, "-q")
    assert result.exit_code == 1
    assert "3 frames could not be read" in result.stderr
    assert "25 frames were written" in result.stderr
    assert ffmpeg.frames(tmp_path / "out.mp4").times == [Fraction(n, 25) for n in range(25)]
    assert abs(lag(samples(hurt, 0), samples(tmp_path / "out.mp4", 0))) < Fraction(1, 1000)


def test_strict_makes_damage_an_error(tmp_path: Path, upscale: Run) -> None:
    hurt = spoil(ffmpeg.make(tmp_path / "in.mkv", *picture(), "-c:v", "mjpeg"), {3})
    result = upscale(hurt, tmp_path / "out.mp4", *FAST, "--strict")
    assert result.exit_code == 1
    assert "--strict forbids" in result.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_strict_refuses_before_the_work_what_would_be_converted(tmp_path: Path, upscale: Run) -> None:
    film = ffmpeg.make(tmp_path / "in.mov", *picture(), *sound(), *X264B, "-c:a", "pcm_s16le")
    result = upscale(film, tmp_path / "out.mp4", *FAST, "--strict", "--progress", "json")
    assert result.exit_code == 1
    assert "sound 1 was converted" in result.stderr
    assert '"frames"' not in result.stderr
    assert upscale(film, tmp_path / "out.mov", *FAST, "--strict").exit_code == 0


def test_flipped_bits_in_the_middle_keep_the_clock(tmp_path: Path, upscale: Run) -> None:
    film = ffmpeg.make(tmp_path / "in.ts", *picture("160x120", seconds=4), *sound(4), *X264B, "-g", "10")
    data = bytearray(film.read_bytes())
    random = np.random.default_rng(3)
    for place in random.integers(len(data) // 3, len(data) * 2 // 3, 200):
        data[place] ^= 1 << random.integers(8)
    hurt = tmp_path / "hurt.ts"
    hurt.write_bytes(data)
    result = upscale(hurt, tmp_path / "out.mp4", *FAST, "-q")
    assert result.exit_code in (0, 1)
    made, whole = ffmpeg.frames(tmp_path / "out.mp4").times, ffmpeg.frames(film).times
    assert all(a < b for a, b in pairwise(made))
    kept = {time - made[0] for time in made} & {time - whole[0] for time in whole}
    assert len(made) >= len(kept) >= 85


def test_closed_captions_go_with_their_frames(tmp_path: Path, upscale: Run) -> None:
    film = with_captions(
        ffmpeg.make(tmp_path / "in.h264", *picture(), *X264B, "-bf", "0", "-x264-params", "aud=1")
    )
    result = upscale(film, tmp_path / "out.mkv", *FAST, "-q")
    assert result.exit_code == 0, result.output
    captions = []
    for path in (film, tmp_path / "out.mkv"):
        with av.open(str(path)) as container:
            found = [frame.side_data.get("A53_CC") for frame in container.decode(video=0)]
            captions.append([bytes(one) if one else b"" for one in found])
    assert captions[0] == captions[1]
    assert len(set(captions[0])) == 25


def with_captions(path: Path) -> Path:
    """An H.264 stream with a closed caption (ATSC A/53 part 4) in each of its pictures."""
    delimiter = b"\x00\x00\x00\x01\x09"  # begins every picture
    pictures = path.read_bytes().split(delimiter)[1:]
    data = b""
    for number, one in enumerate(pictures):
        triplet = bytes([0xFC, 0x80 | 0x41 + number, 0x80 | 0x20])
        payload = b"\xb5\x00\x31GA94\x03" + bytes([0x40 | 1, 0xFF]) + triplet + b"\xff"
        message = bytes([4, len(payload)]) + payload + b"\x80"
        head, rest = one[:1], one[1:]
        data += delimiter + head + b"\x00\x00\x00\x01\x06" + message + rest
    captioned = path.with_stem("captioned")
    captioned.write_bytes(data)
    return captioned


def test_damaged_films_of_every_kind_end_well() -> None:
    """The benchmark, with a part of its films: it fails if one crashes, hangs or leaves half a film."""
    script = Path(__file__).parent.parent / "benchmarks" / "damaged.py"
    done = subprocess.run([sys.executable, script, "--variants", "4"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counted = [int(count) for line in done.stdout.splitlines()[2:] for count in line.split("|")[2:-1]]
    assert sum(counted) == 20


def test_films_that_were_joined_go_on_with_their_sound(tmp_path: Path, upscale: Run) -> None:
    """Picture and sound jump back together, and go on together."""
    one = ffmpeg.make(tmp_path / "one.ts", *picture(seconds=2), *sound(2), *X264B, "-c:a", "mp2")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() * 2)
    result = upscale(joined, tmp_path / "out.mp4", *FAST, "-q")
    assert result.exit_code == 0, result.output
    picture_times, sound_times = (stream.times for stream in ffmpeg.packets(tmp_path / "out.mp4"))
    assert len(picture_times) == 100
    assert picture_times[-1] - picture_times[0] == Fraction(99, 25)
    assert sound_times[-1] - sound_times[0] == pytest.approx(4, abs=0.1)


def test_what_is_damaged_outside_a_part_is_not_lost_to_it(tmp_path: Path, upscale: Run) -> None:
    hurt = spoil(ffmpeg.make(tmp_path / "in.mkv", *picture(seconds=2), "-c:v", "mjpeg"), {5, 48})
    result = upscale(hurt, tmp_path / "out.mp4", *FAST, "-q", "--start", "1", "--duration", "0.4")
    assert result.exit_code == 0, result.output
    assert len(ffmpeg.frames(tmp_path / "out.mp4").times) == 10


def with_more_tracks(path: Path, change: Callable[[bytes], bytes] = bytes) -> Path:
    """A Matroska file with its list of tracks once more before the first cluster, changed or as it is."""
    data = path.read_bytes()
    segment, cluster = data.index(bytes.fromhex("18538067")), data.index(bytes.fromhex("1f43b675"))
    tracks = data.rindex(bytes.fromhex("1654ae6b"), 0, cluster)  # the seek head has its ID, too
    more = 8 - data[tracks + 4].bit_length()
    size = int.from_bytes(data[tracks + 4 : tracks + 5 + more], "big") & (1 << 7 * (more + 1)) - 1
    listed = data[tracks : tracks + 5 + more + size]
    unknown = bytes.fromhex("01ffffffffffffff")  # the segment's size
    longer = path.with_stem("longer")
    longer.write_bytes(
        data[: segment + 4] + unknown + data[segment + 12 : cluster] + change(listed) + data[cluster:]
    )
    return longer


def renumbered(listed: bytes) -> bytes:
    """Tracks that there are no packets of."""
    for number in range(1, 5):
        listed = listed.replace(bytes([0xD7, 0x81, number]), bytes([0xD7, 0x81, number + 8]))
    return listed


def without_size(listed: bytes) -> bytes:
    """The same, and nobody knows how large their picture is."""
    for element in (b"\xb0\x81\x40", b"\xba\x81\x30"):  # width and height become a void
        listed = listed.replace(element, b"\xec" + element[1:])
    return renumbered(listed)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A film with two pictures that are alike, sound, subtitles and a font."""
    (tmp_path / "lines.srt").write_text("1\n00:00:00,200 --> 00:00:00,500\nOne\n")
    (tmp_path / "font.ttf").write_bytes(bytes(999))
    return ffmpeg.make(
        tmp_path / "in.mkv", *picture(), *picture(), *sound(), "-i", "lines.srt", *X264B, "-c:a", "aac",
        "-fflags", "+bitexact",
        "-attach", "font.ttf", "-metadata:s:t:0", "mimetype=application/x-truetype-font",
        *(part for number in range(4) for part in ("-map", number)),
    )  # fmt: skip


@pytest.mark.parametrize("segment", ["0", "0.3"])
def test_tracks_that_are_listed_twice_are_written_once(
    segment: str, whole: Path, tmp_path: Path, upscale: Run
) -> None:
    twice = with_more_tracks(whole)
    with av.open(str(twice)) as container:
        assert len(container.streams) == 9
    out = tmp_path / "out.mkv"
    refused = upscale(twice, out, *FAST, "-q", "--segment", segment, "--strict")
    assert refused.exit_code == 1
    assert "--strict forbids: the file lists its tracks twice" in refused.stderr
    result = upscale(twice, out, *FAST, "-q", "--segment", segment)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("the file lists its tracks twice; the second list (streams 4, 5, 6, 7)") == 1
    assert_once(out)
    assert upscale(whole, tmp_path / "sound.mkv", *FAST, "--strict").exit_code == 0
    assert_once(tmp_path / "sound.mkv")


def assert_once(path: Path) -> None:
    kinds = ["video", "video", "audio", "subtitle"]
    assert [(one.kind, bool(one.times)) for one in ffmpeg.packets(path)[:4]] == [
        (kind, True) for kind in kinds
    ]
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == [*kinds, "attachment"]
        assert container.streams.video[0].width == 128
    assert len(ffmpeg.frames(path).times) == 25


def test_tracks_that_a_pipe_lists_twice(whole: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from upscale.cli import main; main()",
        "-",
        tmp_path / "out.mkv",
        *FAST,
        "-q",
    ]
    for film, says in ((whole, b""), (with_more_tracks(whole), b"the file lists its tracks twice")):
        done = subprocess.run([*command, "-y"], input=film.read_bytes(), capture_output=True)
        assert done.returncode == 0, done.stderr
        assert says in done.stderr
        assert bool(says) == bool(done.stderr)
        assert_once(tmp_path / "out.mkv")


def test_other_tracks_stay_though_they_are_empty(whole: Path, tmp_path: Path, upscale: Run) -> None:
    result = upscale(with_more_tracks(whole, renumbered), tmp_path / "out.mkv", *FAST, "-q")
    assert result.exit_code == 0, result.output
    assert not result.stderr
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert len(container.streams) == 9


def test_a_track_of_which_nothing_is_known_is_left_out(whole: Path, tmp_path: Path, upscale: Run) -> None:
    result = upscale(with_more_tracks(whole, without_size), tmp_path / "out.mkv", *FAST, "-q")
    assert result.exit_code == 0, result.output
    for stream in (4, 5):
        assert f"video {stream} was left out: there is no picture in it" in result.stderr
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.index for stream in container.streams.video] == [0, 1]


def test_any_damage_to_a_list_of_tracks_ends_well(whole: Path) -> None:
    data = with_more_tracks(whole).read_bytes()[:2000]
    entries = read_entries(io.BytesIO(data).read)
    assert [entry.kind for entry in entries[:4]] == [1, 1, 2, 17]
    random = np.random.default_rng(5)
    for _ in range(300):
        hurt = bytearray(data[: random.integers(len(data))] if random.random() < 0.3 else data)
        for place in random.integers(len(hurt) or 1, size=min(4, len(hurt))):
            hurt[place] = random.integers(256)
        assert len(read_entries(io.BytesIO(hurt).read)) < 100
    assert read_entries(io.BytesIO(b"GIF89a").read) == read_entries(io.BytesIO(b"").read) == []
