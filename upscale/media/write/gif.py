"""What GIF asks for: a palette for every frame, and packets that can be joined."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.packet import Packet
from av.video.frame import VideoFrame

OPTIONS = {"gifflags": "0", "global_palette": "0"}
"""Of FFmpeg's encoder: every packet is a whole picture, with its palette. By default it writes what differs
from the frame before by comparing indices, and gets that wrong where the first frame's palette comes back
after another one; and it refers to the palette of the first frame, which other segments do not have."""

SIGNATURE = b"GIF89a"
HEADER = 13
"""Bytes of the signature and the screen descriptor, which the encoder puts before its first picture."""


def paletted(picture: VideoFrame) -> VideoFrame:
    """An RGB picture in the 256 colours that suit it best, dithered; at its own time.

    By FFmpeg's palettegen (median cut) and paletteuse (Sierra's error diffusion). It depends on this
    picture alone: so memory does not grow with the film, and segments fit together. Raises FFmpegError."""
    graph = Graph()
    size = f"{picture.width}x{picture.height}"
    source = graph.add("buffer", video_size=size, pix_fmt=picture.format.name, time_base="1")
    split = graph.add("split")
    palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=sierra2_4a")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(use, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    graph.push(picture)
    graph.push(None)
    made = graph.vpull()
    assert isinstance(made, av.VideoFrame)
    made.pts, made.time_base, made.duration = picture.pts, picture.time_base, picture.duration
    return made


def joined(packets: Iterable[Packet]) -> Iterator[Packet]:
    """The packets of segments that were encoded one by one, with the header of the first alone."""
    for number, packet in enumerate(packets):
        data = bytes(packet)
        if number == 0 or not data.startswith(SIGNATURE):
            yield packet
            continue
        rest = Packet(data[HEADER:])
        rest.pts, rest.dts, rest.duration = packet.pts, packet.dts, packet.duration
        yield rest


def nearest_aspect(aspect: Fraction) -> Fraction:
    """The shape of pixels that GIF has a number for."""
    return Fraction(min(max(round(aspect * 64), 16), 270), 64)


def loops(plays: int) -> str:
    """What FFmpeg's muxer is told of pictures that are to come so often: how often they come again."""
    return str(min(plays, 65536) - 1 or -1)
