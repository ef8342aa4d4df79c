"""Planes keep what the stream says: depth, range, layout."""

import av
import av.filter
import numpy as np
import pytest
from av.video.reformatter import ColorRange
from hypothesis import given
from hypothesis import strategies as st

from upscale.media.pixels import PixelFormat, describe, from_planes, planar_name, to_planes

FORMATS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuvj420p",
    "gray",
    "yuv420p10le",
    "yuv422p12le",
    "gray10le",
    "yuv440p",
]


def noise_frame(name: str, width: int, height: int) -> av.VideoFrame:
    """Every code that the format has, footroom and headroom too."""
    frame = av.VideoFrame(width, height, name)
    bits = frame.format.components[0].bits
    random = np.random.default_rng(0)
    for plane in frame.planes:
        samples = np.frombuffer(plane, "<u2" if bits > 8 else "u1")
        samples[:] = random.integers(0, 1 << bits, samples.shape)
    return frame


def samples_of(frame: av.VideoFrame) -> list[np.ndarray]:
    depth = 2 if frame.format.components[0].bits > 8 else 1
    return [
        np.frombuffer(plane, f"<u{depth}").reshape(-1, plane.line_size // depth)[:, : plane.width]
        for plane in frame.planes
    ]


@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("name", FORMATS)
def test_every_code_survives_the_way_to_floats_and_back(name: str, color_range: ColorRange) -> None:
    frame = noise_frame(name, 37, 23)
    frame.color_range = color_range
    again = from_planes(to_planes(frame), describe(name, color_range))
    for before, after in zip(samples_of(frame), samples_of(again), strict=True):
        np.testing.assert_array_equal(before, after)


@given(bits=st.integers(8, 14), full=st.booleans(), code=st.integers(0, 2**14 - 1), chroma=st.booleans())
def test_a_code_is_its_own_nearest(bits: int, full: bool, code: int, chroma: bool) -> None:
    pixels = PixelFormat(bits, full, (2, 2))
    codes = np.array([code % (1 << bits)], pixels.dtype)
    assert pixels.to_codes(pixels.to_float(codes, chroma), chroma) == codes


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_nominal_black_white_and_neutral(bits: int) -> None:
    unit = 1 << (bits - 8)
    limited, full = PixelFormat(bits, False, (2, 2)), PixelFormat(bits, True, (2, 2))
    assert limited.to_float(np.array([16 * unit, 235 * unit]), False) == pytest.approx([0, 1])
    assert full.to_float(np.array([0, (1 << bits) - 1]), False) == pytest.approx([0, 1])
    for pixels in (limited, full):
        assert pixels.to_float(np.array([128 * unit]), True) == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("name", "planar"),
    [
        ("nv12", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("yuyv422", "yuv422p"),
        ("yuv420p10be", "yuv420p10le"),
        ("rgb24", "yuv444p"),
        ("gbrp10le", "yuv444p10le"),
        ("pal8", "yuv444p"),
        ("xyz12le", "yuv444p12le"),
        ("xyz12be", "yuv444p12le"),
        ("ya8", "gray"),
        ("gray16be", "gray16le"),
        ("gbrpf32le", "yuv444p16le"),
        ("grayf16le", "gray16le"),
        ("yuva420p", "yuva420p"),
    ],
)
def test_other_formats_have_a_planar_one_of_their_depth(name: str, planar: str) -> None:
    assert planar_name(name) == planar
    assert planar_name(planar) == planar


def test_lines_may_come_from_the_last_to_the_first() -> None:
    frame = noise_frame("yuv420p", 16, 8)
    graph = av.filter.Graph()
    source = graph.add("buffer", video_size="16x8", pix_fmt="yuv420p", time_base="1")
    flip, sink = graph.add("vflip"), graph.add("buffersink")
    source.link_to(flip)
    flip.link_to(sink)
    graph.configure()
    graph.push(frame)
    flipped = graph.vpull()
    assert flipped.planes[0].line_size < 0
    for plane, other in zip(to_planes(frame), to_planes(flipped), strict=True):
        np.testing.assert_array_equal(plane, other[:, ::-1])


def test_alpha_is_left_behind() -> None:
    planes = to_planes(noise_frame("yuva420p", 16, 16))
    assert [plane.shape for plane in planes] == [(1, 16, 16), (2, 8, 8)]


def test_semiplanar_chroma_is_not_resampled() -> None:
    frame = noise_frame("yuv420p", 32, 16)
    chroma = to_planes(frame)[1]
    np.testing.assert_array_equal(to_planes(frame.reformat(format="nv12"))[1], chroma)


def test_planes_of_the_wrong_shape_are_refused() -> None:
    luma, chroma = np.zeros((1, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    with pytest.raises(ValueError, match=r"wants chroma \[2, 4, 4\]"):
        from_planes((luma, chroma), PixelFormat(8, False, (2, 2)))
