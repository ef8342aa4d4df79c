"""Awkward clips, one a row: made by ffmpeg, upscaled without a network, judged by ffmpeg and by PyAV.

Every row compares the times of all frames, the streams, how sound and picture lie to each other at the
beginning and at the end, and, where the encoder loses nothing, the picture itself.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
from click.testing import Result
from ffmpeg import FFV1, RATE, X264, X264B, picture, sound
from numpy.typing import NDArray

Run = Callable[..., Result]

MILLISECOND = Fraction(1, 1000)
LOSSLESS = ("--crf", "0", "--preset", "ultrafast")
ARCHIVE = ("--codec", "ffv1")


@dataclass
class Row:
    """A clip and what must come of it."""

    name: str
    source: str
    """Name of the clip."""
    make: tuple[str, ...]
    """ffmpeg's arguments."""
    target: str
    options: tuple[str, ...] = LOSSLESS
    streams: str = "h264"
    """Codecs of the output, in order."""
    says: str = ""
    """Part of a warning; without it there must be none."""
    off_by: Fraction = Fraction(0)
    """By how much the coarser of the two clocks may move a frame."""
    relative: bool = False
    """Whether the output's clock begins elsewhere: at 1.4 s in a transport stream, at 0 in an AVI."""
    level: int = 0
    """How far the codes of the picture may be off; -1 where the encoder loses more."""
    tags: tuple[int, int, int, int] | None = None
    """Range, matrix, primaries and transfer of the output."""


def clocks() -> list[Row]:
    ms = MILLISECOND / 2
    return [
        Row("25 frames a second", "in.mp4", (*picture(), *X264), "out.mp4"),
        Row("29.97", "in.mp4", (*picture(rate="30000/1001"), *X264B), "out.mp4"),
        Row("23.976 into Matroska", "in.mp4", (*picture(rate="24000/1001"), *X264B), "out.mkv", off_by=ms),
        Row("23.976 from Matroska", "in.mkv", (*picture(rate="24000/1001"), *X264B), "out.mp4"),
        Row("59.94 in a transport stream", "in.ts", (*picture(rate="60000/1001"), *X264B), "out.ts"),
        Row("variable rate", "in.mp4", (*picture(more="select='lt(n,4)+not(mod(n,5))'"), "-fps_mode", "vfr", *X264B), "out.mp4"),
        Row("variable rate in Matroska", "in.mkv", (*picture(more="setpts=N*N*0.003/TB"), "-fps_mode", "vfr", *X264B), "out.mkv"),
        Row("odd ticks", "in.mov", (*picture(rate="15"), *X264, "-video_track_timescale", "600"), "out.mov"),
        Row("starts at five seconds", "in.mp4", (*picture(), *sound(), *X264B, "-output_ts_offset", "5"), "out.mp4", streams="h264 aac"),
        Row("starts at five seconds, Matroska", "in.mkv", (*picture(), *sound(), *X264B, "-c:a", "aac", "-output_ts_offset", "5"), "out.mkv", streams="h264 aac"),
        Row("an edit list that hides frames", "in.mp4", ("-ss", "0.5", "-i", "whole.mp4", "-c", "copy"), "out.mp4", streams="h264 aac"),
        Row("a clock that wraps", "in.ts", (*picture(), *sound(), *X264, "-c:a", "mp2", "-output_ts_offset", "95443.1"), "out.mp4", streams="h264 mp3", relative=True),
        Row("no pts at all", "in.h264", (*picture(), *X264), "out.mp4"),
        Row("MPEG-2 with B-frames in a program stream", "in.mpg", (*picture(), "-c:v", "mpeg2video", "-bf", "2", "-q:v", "2"), "out.mp4"),
        Row("an AVI with sound", "in.avi", (*picture(seconds=2), *sound(2), "-c:v", "mpeg4", "-c:a", "mp3"), "out.mkv", streams="h264 mp3", off_by=ms),
        Row("23.976 into GIF", "in.mp4", (*picture(rate="24000/1001"), *X264B), "out.gif", (), "gif", says="256 in each frame", off_by=Fraction(1, 200), level=-1),
        Row("variable rate into GIF", "in.mkv", (*picture(more="setpts=N*N*0.003/TB"), "-fps_mode", "vfr", *X264B), "out.gif", (), "gif", says="256 in each frame", off_by=Fraction(1, 200), level=-1),
        Row("into an AVI", "in.mp4", (*picture(seconds=2), *sound(2), *X264B), "out.avi", ("--codec", "mpeg4"), "mpeg4 aac", relative=True, level=-1),
        Row("one frame", "in.mp4", (*picture(), *X264, "-frames:v", "1"), "out.mp4"),
        Row("sound that comes late", "in.mp4", (*picture(seconds=2), "-itsoffset", "0.337", *sound(1.5), *X264B), "out.mp4", streams="h264 aac"),
        Row("sound that comes early", "in.mkv", ("-itsoffset", "0.25", *picture(seconds=2), *sound(2), *X264B, "-c:a", "flac"), "out.mp4", streams="h264 flac"),
        Row("sound longer than the picture", "in.mov", (*picture(), *sound(3), *X264), "out.mp4", streams="h264 aac"),
        Row("29.97 with 44.1 kHz, from a transport stream", "in.ts", (*picture(rate="30000/1001", seconds=2), *sound(2, 44100), *X264B, "-c:a", "aac"), "out.mp4", streams="h264 aac"),
    ]  # fmt: skip


def companions() -> list[Row]:
    three = (*picture(), *sound(), *sound(), *sound(), *X264, "-map", "0", "-map", "1", "-map", "2", "-map", "3",
             "-metadata:s:a:0", "language=fra", "-metadata:s:a:1", "language=deu", "-metadata:s:a:2", "language=eng",
             "-disposition:a:0", "0", "-disposition:a:1", "default", "-disposition:a:2", "comment")  # fmt: skip
    texts = (
        *picture(),
        "-i",
        "lines.srt",
        *X264,
        "-map",
        "0",
        "-map",
        "1",
        "-metadata:s:s:0",
        "language=fra",
    )
    fonts = (*picture(), "-i", "lines.srt", *X264, "-c:s", "ass", "-attach", "font.ttf",
             "-metadata:s:t:0", "mimetype=application/x-truetype-font", "-map", "0", "-map", "1")  # fmt: skip
    cover = (*picture(), "-i", "cover.png", *X264, "-map", "0", "-map", "1", "-c:v:1", "mjpeg", "-disposition:v:1", "attached_pic")  # fmt: skip
    parts = (*picture(seconds=2), "-i", "chapters.txt", *X264, "-map", "0", "-map_metadata", "1")
    return [
        Row("three tracks of sound", "in.mkv", (*three, "-c:a", "aac"), "out.mkv", streams="h264 aac aac aac"),
        Row("three tracks of sound, mp4", "in.mkv", (*three, "-c:a", "aac"), "out.mp4", streams="h264 aac aac aac"),
        Row("PCM into mp4", "in.mov", (*picture(seconds=2), *sound(2), *X264, "-c:a", "pcm_s16le"), "out.mp4", streams="h264 alac", says="from pcm_s16le to alac"),
        Row("FLAC into mov", "in.mkv", (*picture(seconds=2), *sound(2), *X264, "-c:a", "flac"), "out.mov", streams="h264 alac", says="from flac to alac"),
        Row("WavPack into mp4", "in.mkv", (*picture(seconds=2), *sound(2), *X264, "-c:a", "wavpack"), "out.mp4", streams="h264 alac", says="from wavpack to alac"),
        Row("24 bit into mp4", "in.mov", (*picture(seconds=2), *sound(2), *X264, "-c:a", "pcm_s24le"), "out.mp4", streams="h264 alac", says="from pcm_s24le to alac"),
        Row("TrueHD stays in mkv", "in.mkv", (*picture(seconds=2), *sound(2), *X264, "-c:a", "truehd", "-strict", "-2"), "out.mkv", streams="h264 truehd"),
        Row("TrueHD into mp4", "in.mkv", (*picture(seconds=2), *sound(2), *X264, "-c:a", "truehd", "-strict", "-2"), "out.mp4", streams="h264 alac", says="from truehd to alac"),
        Row("Opus into mov", "in.mkv", (*picture(seconds=2), *sound(2), *X264, "-c:a", "libopus"), "out.mov", streams="h264 aac", says="from opus to aac", level=-1),
        Row("PCM stays in mov", "in.mov", (*picture(), *sound(), *X264, "-c:a", "pcm_s24le"), "out.mov", streams="h264 pcm_s24le"),
        Row("AC-3 into a transport stream", "in.mkv", (*picture(), *sound(), *X264, "-c:a", "ac3"), "out.ts", streams="h264 ac3", relative=True),
        Row("AC-3 out of a transport stream", "in.ts", (*picture(), *sound(), *X264, "-c:a", "ac3"), "out.mp4", streams="h264 ac3"),
        Row("AAC into WebM", "in.mp4", (*picture(seconds=2), *sound(2), *X264), "out.webm", (), "vp9 opus", says="from aac to opus", level=-1, off_by=MILLISECOND / 2),
        Row("Opus out of WebM", "in.webm", (*picture(), *sound(), "-c:v", "libvpx", "-c:a", "libopus"), "out.mp4", streams="h264 opus"),
        Row("Vorbis with a gap", "in.mkv", (*picture(seconds=2), *sound(2), *X264, "-c:a", "libvorbis", "-bsf:a", "noise=drop='between(n,30,40)'"), "out.webm", (), "vp9 vorbis", level=-1),
        Row("FLAC with a gap, converted", "in.mkv", (*picture(seconds=2), *sound(2), *X264, "-c:a", "flac", "-bsf:a", "noise=drop='between(n,8,10)'"), "out.ts", streams="h264 aac", says="from flac to aac", relative=True),
        Row("SubRip into mp4", "in.mkv", (*texts, "-c:s", "srt"), "out.mp4", streams="h264 mov_text", says="from srt to mov_text"),
        Row("mp4's text into Matroska", "in.mp4", (*texts, "-c:s", "mov_text"), "out.mkv", streams="h264 subrip", says="from mov_text to srt", off_by=MILLISECOND / 2),
        Row("styled subtitles and their font", "in.mkv", fonts, "out.mkv", streams="h264 ass ttf"),
        Row("styled subtitles into mp4", "in.mkv", fonts, "out.mp4", streams="h264 mov_text", says="attachment 2 (font.ttf) was left out"),
        Row("WebVTT", "in.webm", (*picture(), "-i", "lines.srt", "-c:v", "libvpx", "-c:s", "webvtt", "-map", "0", "-map", "1"), "out.webm", (), "vp9 webvtt", level=-1),
        Row("picture subtitles", "in.mkv", (*picture(), "-i", "signs.sup", *X264, "-c:s", "copy", "-map", "0", "-map", "1"), "out.mkv", streams="h264 hdmv_pgs_subtitle"),
        Row("picture subtitles that mp4 cannot hold", "in.mkv", (*picture(), "-i", "signs.sup", *X264, "-c:s", "copy", "-map", "0", "-map", "1"), "out.mp4", says="its pictures cannot become text"),
        Row("cover art", "in.mp4", cover, "out.mp4", streams="h264 mjpeg"),
        Row("cover art into Matroska", "in.mp4", cover, "out.mkv", streams="h264 mjpeg", off_by=MILLISECOND / 2),
        Row("chapters and tags", "in.mkv", parts, "out.mp4", streams="h264 bin_data"),
        Row("chapters and tags out of mp4", "in.mp4", (*parts, "-movflags", "use_metadata_tags"), "out.mkv"),
        Row("chapters into a transport stream", "in.mkv", parts, "out.ts", says="2 chapters were left out", relative=True),
        Row("time code", "in.mov", (*picture(), *X264, "-timecode", "01:02:03:04"), "out.mov", streams="h264 none"),
    ]  # fmt: skip


def pictures() -> list[Row]:
    hdr = ("-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-x265-params",
           "log-level=error:colorprim=9:transfer=16:colormatrix=9:hdr10=1:max-cll=1000,400:"
           "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)")  # fmt: skip
    ntsc = "setparams=range=tv:colorspace=smpte170m:color_primaries=smpte170m:color_trc=smpte170m"
    rows = [
        Row(f"{pix_fmt}, untouched", "in.mkv", (*picture("50x38"), "-pix_fmt", pix_fmt, *FFV1), "out.mkv", ARCHIVE, "ffv1")
        for pix_fmt in ("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "gray", "yuv420p10le", "yuv422p10le",
                        "yuv444p12le", "gray10le", "yuv420p16le", "bgr0")
    ]  # fmt: skip
    return [
        *rows,
        Row("ProRes", "in.mov", (*picture("128x96"), "-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"), "out.mkv", ARCHIVE, "ffv1"),
        Row("DV", "in.avi", (*picture("720x576", seconds=0.2, more="setsar=16/15"), "-pix_fmt", "yuv420p", "-c:v", "dvvideo"), "out.mkv", (*ARCHIVE, "--deinterlace", "off"), "ffv1", says="the shape of the pixels, 16/15, was left out", off_by=MILLISECOND),
        Row("packed 4:2:2", "in.avi", (*picture(), "-c:v", "rawvideo", "-pix_fmt", "uyvy422"), "out.mkv", ARCHIVE, "ffv1", off_by=MILLISECOND),
        Row("semi-planar", "in.nut", (*picture(), "-c:v", "rawvideo", "-pix_fmt", "nv12"), "out.mkv", ARCHIVE, "ffv1", off_by=MILLISECOND),
        Row("JPEG's range", "in.avi", (*picture(), "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"), "out.mkv", ARCHIVE, "ffv1", tags=(2, 5, 2, 2), off_by=MILLISECOND),
        Row("full range", "in.mp4", (*picture(), *X264, "-color_range", "pc", "-colorspace", "bt709"), "out.mp4", tags=(2, 1, 2, 2)),
        Row("the tags of NTSC", "in.mp4", (*picture(more=ntsc), *X264), "out.mp4", tags=(1, 6, 6, 6)),
        Row("HDR10 with x265", "in.mkv", (*picture("128x96", seconds=0.4), *hdr), "out.mkv", ("--codec", "libx265", "--preset", "ultrafast"), "hevc", tags=(1, 9, 9, 16), level=-1),
        Row("HDR10 with x264", "in.mp4", (*picture("128x96", seconds=0.4), *hdr), "out.mp4", ("--preset", "ultrafast"), "h264", tags=(1, 9, 9, 16), level=-1),
        Row("HDR10 with SVT-AV1", "in.mp4", (*picture("128x96", seconds=0.4), *hdr), "out.mp4", ("--codec", "libsvtav1", "--preset", "12"), "av1", tags=(1, 9, 9, 16), level=-1),
        Row("HDR10 into ffv1", "in.mp4", (*picture("128x96", seconds=0.4), *hdr), "out.mkv", ARCHIVE, "ffv1", says="HDR10 metadata was left out", off_by=MILLISECOND),
        Row("a palette", "in.gif", (*picture(rate="10"),), "out.mp4", says="became Y'CbCr", level=-1),
        Row("RGB into Y'CbCr", "in.mkv", (*picture(), "-c:v", "libx264rgb", "-crf", "0"), "out.mp4", says="became Y'CbCr", level=-1),
        Row("RGB stays RGB", "in.mkv", (*picture(), "-c:v", "libx264rgb", "-crf", "0"), "out.mkv", ("--codec", "libx264rgb", "--crf", "0"), "h264"),
        Row("alpha", "in.mov", (*picture(), "-vf", "format=argb", "-c:v", "qtrle"), "out.mp4", says="alpha plane of", level=-1),
        Row("pixels that are not square", "in.mp4", (*picture(more="setsar=16/15"), *X264), "out.mp4"),
        Row("pixels that are not square, AVI to Matroska", "in.avi", (*picture(more="setsar=12/11"), "-c:v", "mpeg4"), "out.mkv", off_by=MILLISECOND),
        Row("pixels that are not square, to VP9", "in.mp4", (*picture(more="setsar=16/15"), *X264), "out.webm", (), "vp9", says="the shape of the pixels, 16/15, was left out", level=-1, off_by=MILLISECOND),
        Row("pixels that are not square, to GIF", "in.mp4", (*picture(more="setsar=16/15"), *X264), "out.gif", (), "gif", says="the shape of the pixels, 16/15, became 17/16", level=-1),
        Row("an odd size", "in.mkv", (*picture(more="scale=51:39"), *FFV1, "-pix_fmt", "yuv420p"), "out.mp4"),
        Row("16 by 16", "in.mp4", (*picture("16x16"), *X264), "out.mp4"),
        Row("large", "in.mp4", (*picture("3840x2160", seconds=0.1), *X264), "out.mp4", (*LOSSLESS, "-s", "1.0667"), level=-1),
    ]  # fmt: skip


ROWS = [*clocks(), *companions(), *pictures()]

SUBRIP = (
    "1\n00:00:00,200 --> 00:00:00,500\nHello <i>there</i>\n\n2\n00:00:00,600 --> 00:00:00,900\nTwo\nlines\n"
)
CHAPTERS = """;FFMETADATA1
title=Film
maker=Uncle Otto
[CHAPTER]
TIMEBASE=1/1000
START=0
END=1000
title=One
[CHAPTER]
TIMEBASE=1/1000
START=1000
END=2000
title=Two
"""


@pytest.fixture
def props(tmp_path: Path) -> Path:
    """The files that clips are made of, in the folder of the test."""
    (tmp_path / "lines.srt").write_text(SUBRIP)
    (tmp_path / "chapters.txt").write_text(CHAPTERS)
    (tmp_path / "font.ttf").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "signs.sup").write_bytes(presentation_graphics())
    ffmpeg.make(tmp_path / "whole.mp4", *picture(seconds=2), *sound(2), *X264B)
    ffmpeg.make(tmp_path / "cover.png", *picture("32x32"), "-frames:v", "1")
    return tmp_path


def presentation_graphics() -> bytes:
    """A Blu-ray subtitle: a square of 8x8, shown at 0.2 s and taken away at 0.6 s."""

    def segment(kind: int, at: int, data: bytes) -> bytes:
        return (
            b"PG" + at.to_bytes(4, "big") + bytes(4) + bytes([kind]) + len(data).to_bytes(2, "big") + data
        )

    def composition(at: int, number: int, state: int, objects: bytes) -> bytes:
        head = bytes([0, 64, 0, 48, 0x10, 0, number, state, 0, 0, len(objects) // 8])
        return segment(0x16, at, head + objects)

    window = segment(0x17, 18000, bytes([1, 0, 0, 4, 0, 4, 0, 8, 0, 8]))
    palette = segment(0x14, 18000, bytes([0, 0, 1, 235, 128, 128, 255]))
    line = bytes([0x00, 0x88, 0x01, 0x00, 0x00])  # eight pixels of colour 1, end of line
    data = (8).to_bytes(2, "big") * 2 + line * 8
    thing = segment(0x15, 18000, bytes([0, 0, 0, 0xC0]) + len(data).to_bytes(3, "big") + data)
    shown = composition(18000, 0, 0x80, bytes([0, 0, 0, 0, 0, 4, 0, 4]))
    away = composition(54000, 1, 0, b"") + segment(0x17, 54000, bytes([1, 0, 0, 4, 0, 4, 0, 8, 0, 8]))
    return shown + window + palette + thing + segment(0x80, 18000, b"") + away + segment(0x80, 54000, b"")


@pytest.mark.parametrize("segment", ["0", "0.3"], ids=["in one go", "in segments"])
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_all_but_the_sharpness_is_as_it_was(row: Row, segment: str, props: Path, upscale: Run) -> None:
    source, target = ffmpeg.make(props / row.source, *row.make), props / row.target
    scale = () if "-s" in row.options else ("-s", "2")
    result = upscale(source, target, "-m", "nearest", "-q", *scale, "--segment", segment, *row.options)
    assert result.exit_code == 0, result.output
    assert row.says in result.stderr
    assert row.says or not result.stderr

    before, after = ffmpeg.frames(source), ffmpeg.frames(target)
    assert_same_times(before.times, after.times, row)
    assert [frame.pts * frame.time_base for frame in decoded(target)] == after.times
    assert " ".join(stream.codec for stream in streams(target)) == row.streams
    assert_same_companions(
        source, target, after.times[0] - before.times[0] if row.relative else Fraction(0)
    )
    assert_same_look(source, target, row)
    if row.level >= 0:
        assert_same_picture(source, target, row.level)


def assert_same_times(before: list[Fraction], after: list[Fraction], row: Row) -> None:
    assert len(before) == len(after) > 0
    start = (before[0], after[0]) if row.relative or row.source.endswith((".h264", ".ts")) else (0, 0)
    worst = max(abs((b - start[1]) - (a - start[0])) for a, b in zip(before, after, strict=True))
    assert worst <= row.off_by


def streams(path: Path) -> list[ffmpeg.Stream]:
    with av.open(str(path)) as container:
        codecs = {stream.index: stream for stream in container.streams}
    listed = [line for line in ffmpeg.header(path).splitlines() if line.lstrip().startswith("Stream #0:")]
    assert len(listed) == len(codecs)
    return [
        ffmpeg.Stream(line.split(": ")[1], line.split(": ")[2].split()[0].rstrip(",")) for line in listed
    ]


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(container.streams.video[0]))


def assert_same_companions(source: Path, target: Path, moved: Fraction) -> None:
    """Sound in step with the picture; languages, flags, subtitles, chapters and tags as they were."""
    with av.open(str(source)) as before, av.open(str(target)) as after:
        pairs = list(zip(before.streams.audio, after.streams.audio, strict=True))
        for one, other in pairs:
            assert one.language in (other.language, None, "und")
            if source.suffix == target.suffix == ".mkv":
                assert one.disposition == other.disposition
        count = len(pairs)
        if target.suffix in (".mkv", ".mp4"):
            assert [c["metadata"] for c in before.chapters()] == [c["metadata"] for c in after.chapters()]
            for key, text in before.metadata.items():
                if key.lower() in ("title", "maker"):
                    assert {k.lower(): v for k, v in after.metadata.items()}[key.lower()] == text
        lines = [texts(container) for container in (before, after)]
        if after.streams.subtitles and before.streams.subtitles[0].name != "pgssub":
            assert lines[0] == lines[1]
            assert len(lines[0]) == 2
    for number in range(count):
        heard, now = samples(source, number), samples(target, number)
        half = int(np.flatnonzero(heard).mean())  # of the time in which there is something to hear
        for part in (slice(None, half), slice(half, None)):
            shift = lag(heard[part], now[part]) - moved
            assert abs(shift) < MILLISECOND, f"track {number} is off by {float(shift)} s"


def texts(container: av.container.InputContainer) -> list[tuple[float, str]]:
    """The lines of the first text track, without styles, and when they are shown."""
    found = []
    for stream in container.streams.subtitles[:1]:
        for packet in container.demux(stream):
            drawn = stream.codec_context.decode2(packet) if packet.size else None
            for rect in drawn.rects if drawn else ():
                if rect.type != b"bitmap":
                    words = rect.dialogue.decode().replace("{\\i1}", "").replace("{\\i0}", "").strip()
                    found.append((round(float(packet.pts * packet.time_base), 2), words))
    return found


def samples(path: Path, number: int) -> NDArray[np.float32]:
    """The sound of a track from a second before zero to nine seconds after, each sample in its place."""
    places = np.zeros(10 * RATE, np.float32)
    with av.open(str(path)) as container:
        stream = container.streams.audio[number]
        first = container.start_time / av.time_base if container.start_time > 5 * av.time_base else 0
        resampler = av.AudioResampler("fltp", "mono", RATE)
        at = None
        for frame in container.decode(stream):
            place = round((float(frame.pts * frame.time_base) - first + 1) * RATE)
            wave = np.concatenate([part.to_ndarray()[0] for part in resampler.resample(frame)] or [[]])
            at = place if at is None or abs(place - at) > RATE // 50 else at
            places[max(at, 0) : at + len(wave)] = wave[max(-at, 0) :]
            at += len(wave)
    return places


def lag(one: NDArray[np.float32], other: NDArray[np.float32]) -> Fraction:
    """Seconds by which the other sound comes later, from the peak of their correlation."""
    size = 2 * len(one)
    product = np.fft.irfft(np.fft.rfft(other, size) * np.conj(np.fft.rfft(one, size)), size)
    place = int(np.argmax(product))
    return Fraction(place - size if place > size // 2 else place, RATE)


def assert_same_look(source: Path, target: Path, row: Row) -> None:
    """Colour tags, the shape of pixels, HDR10."""
    first, now = decoded(source)[0], decoded(target)[0]
    with av.open(str(source)) as before, av.open(str(target)) as after:
        one, other = before.streams.video[0], after.streams.video[0]
        told = "the shape of the pixels" in row.says
        assert told or (one.sample_aspect_ratio or 1) == (other.sample_aspect_ratio or 1)
        assert one.metadata.get("timecode") == other.metadata.get("timecode")
    known, shown = described(source), described(target)
    assert told or shown["aspect"] == known["aspect"]
    if not row.says and row.level >= 0:
        assert known["colour"] <= shown["colour"]
    with av.open(str(target)) as after:
        other = after.streams.video[0]
        if row.tags:
            context = other.codec_context
            assert (now.color_range, now.colorspace, now.color_primaries, now.color_trc) == row.tags
            assert (context.color_range, context.colorspace) == row.tags[:2]
    if "HDR10" in row.name and not row.says:
        for kind in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"):
            numbers = [np.frombuffer(bytes(frame.side_data.get(kind)), np.int32) for frame in (first, now)]
            if kind.startswith("M"):
                numbers = [values[:20:2] / values[1:20:2] for values in numbers]
            np.testing.assert_allclose(*numbers, rtol=1e-3)


def described(path: Path) -> dict[str, set]:
    """The shape of pixels and the names of colour tags, in the words of ffmpeg."""
    line = next(line for line in ffmpeg.header(path).splitlines() if "Video: " in line)
    shapes = {Fraction(int(x), int(y)) for x, y in re.findall(r"SAR (\d+):(\d+)", line)}
    words = set(re.findall(r"\w+", " ".join(re.findall(r"\(([^)]*)\)", line.split("Video: ")[1]))))
    names = {"tv", "pc", "bt709", "bt470bg", "smpte170m", "bt2020nc", "bt2020", "smpte2084", "gbr"}
    return {"aspect": shapes or {Fraction(1)}, "colour": words & names}


def assert_same_picture(source: Path, target: Path, level: int) -> None:
    """Every other pixel of what was made is the source's."""
    for one, other in zip(decoded(source), decoded(target), strict=True):
        fmt = other.format.name
        if fmt in ("bgr0", "gbrp"):
            fmt = "rgb24"
        before, after = one.reformat(format=fmt).planes, other.reformat(format=fmt).planes
        for a, b in zip(before, after, strict=True):
            wide = np.dtype("<u2") if fmt.endswith("le") else np.dtype("u1")
            step = 3 if fmt == "rgb24" else 1
            small, large = (
                np.frombuffer(memoryview(plane), wide)
                .reshape(plane.height, -1)[:, : plane.width * step]
                .reshape(plane.height, plane.width, step)
                for plane in (a, b)
            )
            error = np.abs(large[: 2 * a.height : 2, : 2 * a.width : 2].astype(int) - small)
            assert error.max() <= level, np.unique(error, return_counts=True)


def test_there_are_more_than_forty_of_them() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) > 40
