"""What goes in comes out: frames, clocks, sound, tags. Judged by PyAV alone."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import look

from upscale.errors import UpscaleError, UsageError
from upscale.media.pixels import PixelFormat
from upscale.media.source import Source
from upscale.media.writer import EncodeOptions, Writer, check_output, output_format

MakeClip = Callable[..., Path]
LOSSLESS = EncodeOptions(crf=0, preset="ultrafast")


def pass_through(source: Path, target: Path, encode: EncodeOptions = LOSSLESS, **part: Fraction) -> Writer:
    """Read and write the frames as they are."""
    with Source(source) as film:
        info = film.info
        with Writer(target, info, (info.width, info.height), encode, film.sound, film.metadata) as writer:
            for frame in film.frames(aside=writer.copy, **part):
                writer.write(frame)
    return writer


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
    made, name = output_format(source, EncodeOptions(codec=codec))
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
        assert film.info.converted_from in ("gbrp", "rgb24")
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


def test_sound_that_the_container_cannot_hold_is_converted(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("in.avi", codec="mpeg4", sound="pcm_u8", sound_rate=11024, frames=50)
    writer = pass_through(source, tmp_path / "out.mp4")
    assert writer.notes == ["sound 1 was converted from pcm_u8 to aac"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        audio = container.streams.audio[0]
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio)])
        assert len(heard) / audio.codec_context.sample_rate == pytest.approx(2.0, abs=0.2)
    assert 0.5 < np.abs(heard).max() < 1.1


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
    assert (
        look(tmp_path / "out.mp4").pts
        == [Fraction(n, 25) for n in range(13)][: len(look(tmp_path / "out.mp4").pts)]
    )
    assert len(look(tmp_path / "out.mp4").pts) in (12, 13)


def test_cover_art_is_not_the_film(tmp_path: Path) -> None:
    path = tmp_path / "song.mkv"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=44100, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 44100
        container.mux(audio.encode(tone))
        container.mux(audio.encode())
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
        with Source(source) as film, Writer(target, film.info, (64, 48), LOSSLESS) as writer:
            for number, frame in enumerate(film.frames()):
                if number == 3:
                    assert target.read_bytes() == b"earlier work"
                    raise StopHereError
                writer.write(frame)

    with pytest.raises(StopHereError):
        fail_half_way()
    assert target.read_bytes() == b"earlier work"
    assert list(target.parent.iterdir()) == [target]


def test_a_frame_that_the_encoder_swallows_is_an_error(make_clip: MakeClip, tmp_path: Path) -> None:
    source, target = make_clip(), tmp_path / "out.mp4"

    def lose_one() -> None:
        with Source(source) as film, Writer(target, film.info, (64, 48), LOSSLESS) as writer:
            for frame in film.frames():
                writer.write(frame)
            writer.frames_given += 1

    with pytest.raises(UpscaleError, match="took 7 frames and gave 6"):
        lose_one()
    assert not target.exists()


def test_a_change_of_size_is_an_error(make_clip: MakeClip, tmp_path: Path) -> None:
    source, target = make_clip(), tmp_path / "out.mp4"
    with Source(source) as film:
        frame = next(film.frames())
        small = replace(frame, planes=tuple(plane[:, :16, :16] for plane in frame.planes))
        with (
            pytest.raises(UpscaleError, match="changes size, to 16x16"),
            Writer(target, film.info, (64, 48), LOSSLESS) as writer,
        ):
            writer.write(small)


def test_outputs_that_cannot_work_are_refused_early(tmp_path: Path) -> None:
    plain = EncodeOptions()
    for path, encode, message in (
        (tmp_path, plain, "is a folder"),
        (tmp_path / "no" / "out.mp4", plain, "no such folder"),
        (tmp_path / "out.xyz", plain, "no container is called '.xyz'"),
        (tmp_path / "out.mp4", EncodeOptions(codec="nope"), "no encoder is called 'nope'"),
        (tmp_path / "out.mp4", EncodeOptions(codec="aac"), "aac encodes audio"),
        (tmp_path / "out.mp4", EncodeOptions(pix_fmt="pal8"), "cannot write pal8"),
    ):
        with pytest.raises(UsageError, match=message):
            check_output(path, encode)


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.9])
def test_a_file_cut_short_says_what_is_lost(keep: float, make_clip: MakeClip, tmp_path: Path) -> None:
    cut = tmp_path / "cut.avi"
    source = make_clip("whole.avi", codec="mpeg4", frames=50, size=(320, 240))
    cut.write_bytes(source.read_bytes()[: int(source.stat().st_size * keep)])
    with Source(cut) as film:
        frames = sum(1 for _ in film.frames())
        assert 0 < frames < 50
        assert film.losses.frames == 50 - frames


def test_frames_that_an_avi_repeats_are_not_lost(make_clip: MakeClip) -> None:
    with Source(make_clip("in.avi", codec="mpeg4", pts=[0, 1, 5, 6, 20, 21])) as film:
        assert film.info.declared_frames == 22
        assert sum(1 for _ in film.frames()) == 6
        assert film.losses.frames == 0
