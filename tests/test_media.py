"""What goes in comes out: frames, clocks, sound, tags. Judged by PyAV alone."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from conftest import look

from upscale.errors import UpscaleError, UsageError
from upscale.media.pixels import PixelFormat
from upscale.media.read import source as source_module
from upscale.media.read.source import ReadOptions, Source
from upscale.media.write.destination import destination
from upscale.media.write.encoder import (
    DEFAULT_OPTIONS,
    EncodeOptions,
    check_encoder,
    default_codec,
    output_format,
    settle,
)
from upscale.media.write.sound import ConvertedSound
from upscale.media.write.writer import Writer

MakeClip = Callable[..., Path]
LOSSLESS = EncodeOptions(crf=0, preset="ultrafast")
AUTOMATIC = ReadOptions()


def pass_through(source: Path, target: Path, encode: EncodeOptions = LOSSLESS, **part: Fraction) -> Writer:
    """Read and write the frames as they are."""
    with Source(source, AUTOMATIC) as film, writer_for(film, target, encode, **part) as writer:
        for frame in film.frames(aside=writer.copy, **part):
            writer.write(writer.picture(frame))
    return writer


def writer_for(film: Source, target: Path, encode: EncodeOptions = LOSSLESS, **part: Fraction) -> Writer:
    """A writer for the film's frames as they are."""
    to = destination(target)
    encoder = settle(
        film.info, encode, encode.codec or default_codec(to.container, target.suffix), to.container
    )
    chapters = film.part(part.get("start"), part.get("duration")).chapters(film.cargo.chapters)
    return Writer(to, film.info, (film.info.width, film.info.height), encoder, film.cargo, chapters)


@pytest.mark.parametrize(
    "clip",
    [
        {},
        {"options": {"bf": "3"}, "frames": 12},
        {"pts": [0, 1, 5, 6, 20, 21]},
        {"pts": [7, 8, 9, 10, 11, 12]},
        {"pts": [0, 1001, 2002, 3003, 4004, 5005], "time_base": Fraction(1, 30000)},
        {"name": "in.mkv", "pts": [0, 33, 67, 100, 133, 167], "time_base": Fraction(1, 1000)},
        {"name": "in.avi", "codec": "mpeg4"},
        {"name": "in.ts", "options": {"bf": "2"}, "frames": 12},
        {"name": "in.mpg", "codec": "mpeg2video", "frames": 12},
    ],
    ids=["plain", "b-frames", "variable", "late", "ntsc", "matroska", "avi", "mpegts", "mpeg-ps"],
)
def test_every_frame_keeps_its_time(clip: dict, make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(**clip)
    target = tmp_path / "out.mp4"
    pass_through(source, target)
    assert look(target).pts == look(source).pts
    assert len(look(target).pts) == clip.get("frames", 6)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "gray12le"])
def test_a_picture_that_is_not_touched_is_the_same_to_the_bit(
    pix_fmt: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("in.mkv", pix_fmt=pix_fmt, codec="ffv1", size=(50, 38))
    pass_through(source, tmp_path / "out.mkv", EncodeOptions(codec="ffv1"))
    before, after = look(source), look(tmp_path / "out.mkv")
    assert after.context.pix_fmt == pix_fmt
    for one, other in zip(before.frames, after.frames, strict=True):
        np.testing.assert_array_equal(one.to_ndarray(), other.to_ndarray())


@pytest.mark.parametrize(
    ("source", "codec", "expected"),
    [
        (PixelFormat(12, False, (2, 2)), "libx264", "yuv420p10le"),
        (PixelFormat(12, False, (2, 2)), "libx265", "yuv420p12le"),
        (PixelFormat(8, False, (4, 1)), "libx264", "yuv422p"),
        (PixelFormat(8, False, None), "libsvtav1", "yuv420p"),
        (PixelFormat(10, False, (2, 1)), "prores_ks", "yuv422p10le"),
        (PixelFormat(8, True, (2, 2)), "libx264", "yuv420p"),
    ],
)
def test_what_the_encoder_cannot_do_becomes_the_nearest(
    source: PixelFormat, codec: str, expected: str
) -> None:
    made, name = output_format(source, codec)
    assert name == expected
    assert made.full_range == source.full_range


@pytest.mark.parametrize("color", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 5, 6, 6), (1, 9, 9, 16)])
def test_colour_tags_stay(color: tuple[int, ...], make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(color=color, pix_fmt="yuv420p10le")
    pass_through(source, tmp_path / "out.mp4")
    context = look(tmp_path / "out.mp4").context
    tags = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
    assert tags == color


def test_rgb_is_converted_once_with_its_matrix(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("in.mkv", pix_fmt="rgb24", codec="libx264rgb", options={"crf": "0"})
    with Source(source) as film:
        assert film.info.is_rgb
        assert film.info.pixels == PixelFormat(8, False, (1, 1))
    pass_through(source, tmp_path / "out.mp4")
    before, after = look(source), look(tmp_path / "out.mp4")
    assert after.context.colorspace in (5, 6)  # BT.601, as the clip is small
    error = np.abs(
        before.frames[0].to_ndarray(format="rgb24").astype(int) - after.frames[0].to_ndarray(format="rgb24")
    )
    assert error.mean() < 1.5


def test_sample_aspect_ratio_stays(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(aspect=Fraction(16, 15))
    pass_through(source, tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").aspect == Fraction(16, 15)


def test_sound_and_metadata_go_through_untouched(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(sound="aac", frames=50, metadata={"title": "Film", "comment": "1952"})
    writer = pass_through(source, tmp_path / "out.mp4")
    before, after = look(source), look(tmp_path / "out.mp4")
    assert after.sound == before.sound
    assert after.sound_pts == before.sound_pts
    assert after.languages == ["fra"]
    assert (after.metadata["title"], after.metadata["comment"]) == ("Film", "1952")
    assert writer.notes == []


@pytest.mark.parametrize(
    ("name", "codec", "rate", "target"),
    [
        ("in.avi", "pcm_u8", 11024, "out.mp4"),
        ("in.avi", "pcm_s16le", 44100, "out.mp4"),
        ("in.mkv", "flac", 48000, "out.ts"),
        ("in.mkv", "aac", 44100, "out.webm"),
    ],
)
def test_sound_that_the_container_cannot_hold_is_converted(
    name: str, codec: str, rate: int, target: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    video = {"codec": "libvpx-vp9"} if target.endswith("webm") else {"codec": "mpeg4"}
    source = make_clip(name, codec="mpeg4", sound=codec, sound_rate=rate, frames=50)
    writer = pass_through(source, tmp_path / target, EncodeOptions(**video))
    assert f"was converted from {codec} to " in writer.notes[0]
    with av.open(str(tmp_path / target)) as container:
        audio = container.streams.audio[0]
        heard = np.concatenate([frame.to_ndarray().T.reshape(-1, 1) for frame in container.decode(audio)])
        seconds = len(heard) / (audio.codec_context.sample_rate * audio.codec_context.layout.nb_channels)
        assert seconds == pytest.approx(2.0, abs=0.2)
    assert np.abs(heard).max() > 0.5


@pytest.mark.parametrize(
    ("name", "codec", "target"),
    [("in.mp4", "aac", "out.ts"), ("in.mkv", "libopus", "out.mkv"), ("in.mkv", "pcm_s16le", "out.mkv"),
     ("in.mov", "pcm_s16le", "out.mov"), ("in.mkv", "mp2", "out.mp4"), ("in.ts", "mp2", "out.nut")],
)  # fmt: skip
def test_sound_that_the_container_can_hold_is_copied(
    name: str, codec: str, target: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip(name, sound=codec, sound_rate=48000, frames=50)
    assert pass_through(source, tmp_path / target).notes == []
    before, after = look(source).sound, look(tmp_path / target).sound
    assert sum(map(len, before)) > 1000
    if target.endswith(".ts"):  # the same AAC frames, each with a header of its own
        assert all(one in b"".join(after) for one in before)
    else:
        assert b"".join(before) == b"".join(after)


def test_sound_that_cannot_be_read_is_told(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip("in.mkv", sound="flac", sound_rate=48000, frames=50)
    whole = ConvertedSound.pass_on

    def spoilt(self: ConvertedSound, packet: av.Packet) -> list[av.Packet]:
        first = packet.pts == 0
        return whole(self, _garbage_like(packet) if first else packet)

    monkeypatch.setattr(ConvertedSound, "pass_on", spoilt)
    writer = pass_through(source, tmp_path / "out.ts")
    assert writer.damage == ["1 packets of stream 1 could not be read"]


def _garbage_like(packet: av.Packet) -> av.Packet:
    garbage = av.Packet(bytes(64))
    garbage.pts, garbage.dts, garbage.time_base = packet.pts, packet.dts, packet.time_base
    return garbage


def test_a_part_begins_at_zero_and_has_the_sound_of_its_place(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(sound="aac", frames=75)
    with Source(source) as film:
        assert sum(1 for _ in film.frames(start=Fraction(1), duration=Fraction(1))) == 25
        assert film.losses.reasons == []
    pass_through(source, tmp_path / "out.mp4", start=Fraction(1), duration=Fraction(1))
    before, after = look(source), look(tmp_path / "out.mp4")
    assert after.pts == before.pts[:25]
    first = before.sound.index(after.sound[0])
    assert abs(before.sound_pts[first] - 1 - after.sound_pts[0]) < Fraction(1, 1000)
    assert after.sound == before.sound[first : first + len(after.sound)]
    assert after.sound_pts[-1] > Fraction(9, 10)


def test_a_part_of_a_stream_without_an_index(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("in.mpg", codec="mpeg2video", frames=75)
    pass_through(source, tmp_path / "out.mp4", start=Fraction(2), duration=Fraction(1, 2))
    assert look(tmp_path / "out.mp4").pts == [Fraction(n, 25) for n in range(13)]


def test_cover_art_is_not_the_film(make_clip: MakeClip, tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=44100, layout="mono")
        cover = container.add_stream("png", rate=1)
        cover.width = cover.height = 16
        cover.pix_fmt = "rgb24"
        cover.disposition = Disposition.attached_pic
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 44100
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")))
        container.mux(audio.encode(tone))
        container.mux(audio.encode())
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(UpscaleError, match="no video in it, only audio"):
        Source(path)


def test_nothing_appears_under_the_final_name_before_the_end(make_clip: MakeClip, tmp_path: Path) -> None:
    target = tmp_path / "out" / "film.mp4"
    target.parent.mkdir()
    target.write_bytes(b"earlier work")
    source = make_clip()

    class StopHereError(Exception):
        pass

    def fail_half_way() -> None:
        with Source(source) as film, writer_for(film, target) as writer:
            for number, frame in enumerate(film.frames()):
                if number == 3:
                    assert target.read_bytes() == b"earlier work"
                    raise StopHereError
                writer.write(writer.picture(frame))

    with pytest.raises(StopHereError):
        fail_half_way()
    assert target.read_bytes() == b"earlier work"
    assert list(target.parent.iterdir()) == [target]


def test_a_frame_that_the_encoder_swallows_is_an_error(make_clip: MakeClip, tmp_path: Path) -> None:
    source, target = make_clip(), tmp_path / "out.mp4"

    def lose_one() -> None:
        with Source(source) as film, writer_for(film, target) as writer:
            for frame in film.frames():
                writer.write(writer.picture(frame))
            writer._encoding.given += 1

    with pytest.raises(UpscaleError, match="took 7 frames and gave 6"):
        lose_one()
    assert not target.exists()


def concatenated(first: Path, second: Path) -> Path:
    """Two transport streams one after the other, as tape captures are joined."""
    joined = first.with_name("joined.ts")
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    return joined


def test_a_picture_that_changes_its_size_is_fitted_into_the_first(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    joined = concatenated(make_clip("a.ts"), make_clip("b.ts", size=(96, 64), pts=[50, 51, 52, 53, 54, 55]))
    with Source(joined) as film:
        frames = list(film.frames())
        assert len(frames) == 12
        assert {frame.planes[0].shape for frame in frames} == {(1, 48, 64)}
        assert any("changes from 64x48 to 96x64" in note for note in film.notes)
    picture = frames[-1].planes[0][0]
    assert picture[:2].max() < 0.01  # 96x64 is wider than 64x48: bars above and below
    assert picture[24].max() > 0.5


def test_a_clock_that_jumps_back_goes_on(make_clip: MakeClip, tmp_path: Path) -> None:
    joined = concatenated(make_clip("a.ts"), make_clip("b.ts"))
    pass_through(joined, tmp_path / "out.mp4")
    pts = look(tmp_path / "out.mp4").pts
    assert len(pts) == 12
    assert all(b - a == Fraction(1, 25) for a, b in pairwise(pts))


def test_reordered_frames_in_an_avi_have_rising_times(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("in.avi", frames=46, options={"bf": "3", "b-pyramid": "normal"})
    pass_through(source, tmp_path / "out.mp4")
    pts = look(tmp_path / "out.mp4").pts
    assert len(pts) == 46
    assert all(a < b for a, b in pairwise(pts))


def test_frames_that_an_edit_list_hides_are_not_lost(make_clip: MakeClip) -> None:
    source = make_clip(frames=50, pts=list(range(-20, 30)), options={"bf": "0"})
    with Source(source) as film:
        assert film.info.declared_frames == 50
        assert sum(1 for _ in film.frames()) == 30
        assert film.losses.frames == 0


def test_a_part_from_zero_is_the_whole(make_clip: MakeClip) -> None:
    """The container's start is rounded to microseconds; the first frame's pts is not."""
    source = make_clip(
        "in.ts",
        frames=12,
        pts=[3003 * n + 3003 for n in range(12)],
        time_base=Fraction(1, 90000),
    )
    with Source(source) as film:
        assert sum(1 for _ in film.frames(start=Fraction(0))) == 12
    with Source(source) as film:
        assert sum(1 for _ in film.frames(duration=Fraction(5 * 3003, 90000))) == 5


@pytest.mark.parametrize("threads", [1, 16])
def test_a_part_ends_where_it_should_however_many_threads_decode(
    threads: int, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = source_module._video_stream

    def with_threads(*arguments: object) -> av.VideoStream:
        stream = found(*arguments)
        stream.codec_context.thread_count = threads
        return stream

    monkeypatch.setattr(source_module, "_video_stream", with_threads)
    with Source(make_clip(frames=100, options={"bf": "0"})) as film:
        assert sum(1 for _ in film.frames(duration=Fraction(2))) == 50


def test_names_with_colons_are_files(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip().rename(tmp_path / "12:30.mp4")
    pass_through(source, tmp_path / "13:00.mp4")
    assert len(look(tmp_path / "13:00.mp4").pts) == 6


def test_a_preset_that_is_asked_for_is_all_that_x264_is_told(make_clip: MakeClip) -> None:
    """Ours is a handful of options, each of which gives way to the user's."""
    with Source(make_clip()) as source:

        def told(**options: Any) -> dict[str, str]:
            encoder = settle(source.info, EncodeOptions(**options), "libx264", "mp4")
            return {name: text for name, text in encoder.options.items() if name != "x264-params"}

        assert told() == DEFAULT_OPTIONS["libx264"] | {"crf": "16"}
        assert told(preset="faster") == {"preset": "faster", "crf": "16"}
        assert told(codec_options=(("trellis", "2"),))["trellis"] == "2"


def test_what_x264_is_told_by_default_is_what_it_does(make_clip: MakeClip, tmp_path: Path) -> None:
    """It notes its settings in its first packet."""
    pass_through(make_clip(), tmp_path / "out.mp4", EncodeOptions())
    with av.open(str(tmp_path / "out.mp4")) as container:
        said = bytes(next(container.demux(video=0))).decode("latin-1")
    for setting in (
        "subme=2 ",
        "trellis=1 ",
        "mbtree=1 ",
        "rc_lookahead=10 ",
        "chroma_qp_offset=-3 ",
        "ref=1 ",
    ):
        assert setting in said


def test_an_avi_counts_its_frames(make_clip: MakeClip, tmp_path: Path) -> None:
    pass_through(make_clip(frames=12), tmp_path / "out.avi", EncodeOptions(preset="medium"))
    with av.open(str(tmp_path / "out.avi")) as container:
        video = container.streams.video[0]
        assert (video.average_rate, video.frames) == (25, 12)
        assert [packet.dts for packet in container.demux(video) if packet.size] == list(range(12))


def test_an_untagged_picture_is_tagged_with_what_its_size_implied(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    pass_through(make_clip(), tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").context.colorspace in (5, 6)


def test_targets_that_cannot_work_are_refused_early(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "out.mp4", "no such folder"),
        (tmp_path / "out.xyz", "no container is called '.xyz'"),
    ):
        with pytest.raises(UsageError, match=message):
            destination(path)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (EncodeOptions(codec="nope"), "no encoder is called 'nope'"),
        (EncodeOptions(codec="aac"), "aac encodes audio"),
        (EncodeOptions(codec="xbm"), "xbm writes only monow"),
        (EncodeOptions(codec="libx264", pix_fmt="pal8"), "cannot write 'pal8'"),
        (EncodeOptions(codec="mpeg4", crf=20), "mpeg4 knows no crf"),
        (EncodeOptions(codec="ffv1", preset="slow"), "ffv1 knows no option 'preset'"),
        (EncodeOptions(codec="libx264", codec_options=(("tun", "film"),)), "did you mean 'tune'?"),
    ],
)
def test_encoders_that_cannot_work_are_refused_early(encode: EncodeOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_encoder(encode, encode.codec or "")


def test_a_disk_that_fills_up_is_an_error(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The muxer fails in the middle of the film, as on a full disk."""

    def full(self: Writer, packets: list) -> None:
        with self._reporting("cannot be written"):
            raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "add", full)
    with pytest.raises(UpscaleError, match=r"cannot be written .*No space left"):
        pass_through(make_clip(), tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.9])
@pytest.mark.parametrize(
    ("name", "sound"), [("whole.avi", None), ("whole.mkv", "aac"), ("fast.mp4", "aac")]
)
def test_a_file_cut_short_says_what_is_lost(
    name: str, sound: str | None, keep: float, make_clip: MakeClip, tmp_path: Path
) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    source = make_clip(name, codec=codec, frames=100, size=(320, 240), sound=sound)
    if name == "fast.mp4":  # its index comes first, and survives the cut
        source = index_first(source)
    with Source(source) as film:
        assert sum(1 for _ in film.frames()) == 100
        assert film.losses.frames == 0
    cut = source.with_stem("cut")
    cut.write_bytes(source.read_bytes()[: int(source.stat().st_size * keep)])
    with Source(cut) as film:
        pictures = {
            id(frame.planes): frame.planes for frame in film.frames()
        }  # a stand-in shares its planes
        assert 0 < len(pictures) < 100
        # Up to three B-frames come after the frame that is shown behind them: cut among them, the film
        # seems to reach as far as that one, and they are not missed.
        assert film.losses.frames == pytest.approx(100 - len(pictures), abs=3)


def index_first(path: Path) -> Path:
    target = path.with_stem("index-first")
    with av.open(str(path)) as source, av.open(str(target), "w", options={"movflags": "faststart"}) as copy:
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    return target


def test_frames_that_an_avi_repeats_are_not_lost(make_clip: MakeClip) -> None:
    with Source(make_clip("in.avi", codec="mpeg4", pts=[0, 1, 5, 6, 20, 21])) as film:
        assert film.info.declared_frames == 22
        assert sum(1 for _ in film.frames()) == 6
        assert film.losses.frames == 0
