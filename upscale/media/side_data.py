"""What a decoded frame carries besides its samples: captions, rotation, HDR, colour profile.

PyAV lists all of a frame's side data at once. That raises for a kind that it has no name for (EXIF, say),
and crashes later for a colour profile with a name, which it frees twice. So FFmpeg's filter ``sidedata``
takes these away first, from a second reference to the frame. It also tells whether they are there.
"""

import struct
from collections.abc import Mapping

import av
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

EXIF = 31
"""FFmpeg's number of EXIF, AV_FRAME_DATA_EXIF of libavutil 60. PyAV has no name for it."""

ICC = 15
"""The same of ICC_PROFILE, which PyAV cannot hold where it has a name."""

NUMBERS = range(64)
"""Twice as many kinds as FFmpeg has."""

READABLE = {kind.value for kind in Type} - {ICC}
"""Numbers of the kinds that PyAV can list."""

PROFILE, CAMERA, ROTATION = "ICC profile", "EXIF", "DISPLAYMATRIX"

CAPTIONS = frozenset({"A53_CC", "AFD", "S12M_TIMECODE"})
"""Side data of single frames that encoders write again: closed captions, active format, time code."""

WRITTEN = CAPTIONS | {PROFILE, CAMERA, ROTATION}
"""Kinds that some encoder writes."""

HIDDEN: dict[str, int] = {PROFILE: ICC, CAMERA: EXIF}
"""Kinds that are looked for, and not read."""


class Inspector:
    """Reads the side data of frames."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[int, int, str, int | None], Graph] = {}

    def readable(self, frame: VideoFrame) -> Mapping[str, bytes]:
        """What PyAV can read: its name of each kind -> the bytes of FFmpeg's structure."""
        shown = self._pass(frame, None)
        assert shown is not None
        return {data.type.name: bytes(data) for data in shown.side_data if isinstance(data, SideData)}

    def kinds(self, frame: VideoFrame) -> frozenset[str]:
        """The kinds of all that it carries, those of HIDDEN among them."""
        hidden = {name for name, number in HIDDEN.items() if self._pass(frame, number) is not None}
        return frozenset(self.readable(frame).keys() | hidden)

    def _pass(self, frame: VideoFrame, number: int | None) -> VideoFrame | None:
        """The frame if it carries side data of that number; without a number, what PyAV can read of it."""
        shape = frame.width, frame.height, frame.format.name, number
        if shape not in self._graphs:
            self._graphs = {known: graph for known, graph in self._graphs.items() if known[:3] == shape[:3]}
            self._graphs[shape] = _graph(*shape)
        graph = self._graphs[shape]
        graph.push(frame)
        try:
            made = graph.vpull()
        except av.BlockingIOError:
            return None
        assert isinstance(made, VideoFrame)
        return made


def _graph(width: int, height: int, pix_fmt: str, number: int | None) -> Graph:
    graph = Graph()
    if number is None:
        filters = [f"mode=delete:type={kind}" for kind in NUMBERS if kind not in READABLE]
    else:
        filters = [f"mode=select:type={number}"]
    source = graph.add("buffer", video_size=f"{width}x{height}", pix_fmt=pix_fmt, time_base="1")
    chain = [graph.add("sidedata", options) for options in filters]
    graph.link_nodes(source, *chain, graph.add("buffersink")).configure()
    return graph


def display_matrix(data: Mapping[str, bytes]) -> tuple[int, ...] | None:
    """Rotation and mirroring for the player, as FFmpeg's nine integers."""
    return struct.unpack("=9i", data[ROTATION]) if ROTATION in data else None
