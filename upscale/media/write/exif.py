"""EXIF in pictures, which tells players how to turn them. FFmpeg writes it for PNG alone, and a rotation
only where there was EXIF before."""

import struct
import zlib
from fractions import Fraction

import av
from av.packet import Packet
from av.video.frame import VideoFrame

from upscale.media.side_data import CAMERA, ROTATION, Inspector, display_matrix

FORMATS = {"png", "mjpeg"}
"""Encoders of pictures that it can be added to."""

ORIENTATIONS: dict[tuple[int, ...], int] = {
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
"""Signs of a, b, c and d of FFmpeg's display matrix (see ``rgb.upright``) -> EXIF's number of it."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"

HEADER = len(SIGNATURE) + 25
"""Bytes of a PNG before what may follow its header."""

LONGEST = 0xFFFF - 2 - 6
"""Bytes of EXIF that a JPEG's segment has room for."""

JFIF = b"\xff\xe0"
"""The marker of the segment that has to stay a JPEG's first."""


def block(picture: VideoFrame, inspector: Inspector) -> bytes | None:
    """The EXIF of a picture with the side data of its source, as TIFF; None where it needs none. Of what is
    too long for a JPEG only the rotation is left."""
    kinds = inspector.kinds(picture)
    if CAMERA in kinds:
        whole = _of_camera(picture)
        if whole is None or len(whole) <= LONGEST:
            return whole
    if ROTATION not in kinds:
        return None
    matrix = display_matrix(inspector.readable(picture))
    assert matrix is not None
    orientation = ORIENTATIONS.get(
        tuple((value > 0) - (value < 0) for value in (*matrix[:2], *matrix[3:5]))
    )
    if orientation is None:  # upright, or turned by an angle that EXIF has no number for
        return None
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def _of_camera(picture: VideoFrame) -> bytes | None:
    """As FFmpeg makes it for PNG, the rotation in it."""
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "gray"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"compression_level": "0"}
    packets = [*encoder.encode(picture.reformat(format="gray")), *encoder.encode(None)]
    return _chunk(b"".join(map(bytes, packets)))


def _chunk(png: bytes) -> bytes | None:
    """The EXIF in a PNG."""
    at = len(SIGNATURE)
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        if kind == b"eXIf":
            return png[at + 8 : at + 8 + size]
        at += size + 12
    return None


def added(packet: Packet, exif: bytes | None) -> Packet:
    """A JPEG or PNG with a block of EXIF, where there is one, and none yet."""
    data = bytes(packet)
    if exif is None:
        return packet
    if data.startswith(SIGNATURE):
        if _chunk(data) is not None:
            return packet
        check = zlib.crc32(b"eXIf" + exif)
        at, part = HEADER, struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", check)
    else:
        body = b"Exif\0\0" + exif
        part = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        at = 2
        if data[at : at + 2] == JFIF:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    made = Packet(data[:at] + part + data[at:])
    made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
    made.is_keyframe = packet.is_keyframe
    if packet.time_base is not None:
        made.time_base = packet.time_base
    return made
