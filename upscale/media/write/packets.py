"""The encoded pictures of a piece of a film, in a file of their own, until the pieces are joined.

    magic | packet packet ... | record (JSON) | its length | digest of all before

A packet is its times, its flags and its data, as the encoder gave them: no container is asked to keep what
it has no place for. The digest at the end makes sure that a file is whole.
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from av.packet import Packet
from av.video.frame import VideoFrame

from upscale.errors import UpscaleError
from upscale.media.frame import Frame
from upscale.media.write.encoder import Encoder
from upscale.media.write.encoding import Encoding

MAGIC = b"upscale segment 2\n"

HEAD = struct.Struct("<qqqBI")
"""Of a packet: pts, dts and duration in ticks of the encoder, flags, bytes of data."""

KEY = 1
"""The flag of a key frame."""

NO_TIME = -(1 << 63)

LENGTH = struct.Struct("<Q")

DIGEST = 32
"""Bytes."""

BLOCK = 1 << 20


class DamagedPacketsError(Exception):
    """A file of packets that is not whole, or not one."""


class PieceWriter:
    """Encodes the frames of one piece into ``path``, which gets there whole or not at all."""

    def __init__(self, path: Path, encoder: Encoder, size: tuple[int, int], container: str):
        """``size`` is (width, height) of the pictures, ``container`` FFmpeg's name of the muxer that they
        will be joined in: some want the encoder's headers apart."""
        self._path = path
        self._beside = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._context = encoder.open_for(container, size)
        self._encoding = Encoding(encoder, self._context, size)
        self._times: list[int] = []
        self._digest = hashlib.blake2b(digest_size=DIGEST)
        self._file: BinaryIO = self._beside.open("wb")
        self._bytes = 0
        self._put(MAGIC)

    @property
    def frames(self) -> int:
        """How many were written so far."""
        return self._encoding.given

    def picture(self, frame: Frame) -> VideoFrame:
        """See ``Encoding.picture``."""
        return self._encoding.picture(frame)

    def write(self, picture: VideoFrame) -> None:
        """Encode the next picture."""
        self._put_packets(self._encoding.encode(picture))
        assert picture.pts is not None
        assert picture.time_base is not None
        self._times.append(round(picture.pts * picture.time_base / self._context.time_base))

    def finish(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Write what the encoder still holds and the record, which is answered: ``facts`` and the piece's
        own figures. Raises UpscaleError if the times of the packets are not those of the frames."""
        self._put_packets(self._encoding.finish())
        record = facts | {
            "frames": self._encoding.given,
            "moved": self._encoding.moved,
            "first": min(self._times, default=None),
            "last": max(self._times, default=None),
            "bytes": self._bytes,
            "headers": (self._context.extradata or b"").hex(),
        }
        text = json.dumps(record).encode()
        self._put(text + LENGTH.pack(len(text)))
        self._file.write(self._digest.digest())
        self._file.flush()
        found = sorted(packet.pts for packet in packets(self._beside) if packet.pts is not None)
        if found != self._times:
            raise UpscaleError(f"{self._path.name}: the encoder has moved frames; take another --codec")
        put_in_place(self._file, self._path)
        return record

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):  # on a full disk, what is still buffered finds no room
            self._file.close()
        self._beside.unlink(missing_ok=True)

    def _put_packets(self, made: list[Packet]) -> None:
        for packet in made:
            flags = KEY * packet.is_keyframe
            times = (NO_TIME if time is None else time for time in (packet.pts, packet.dts))
            self._put(HEAD.pack(*times, packet.duration or 0, flags, packet.size))
            self._put(bytes(packet))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)


def read_record(path: Path) -> dict[str, Any]:
    """What ``PieceWriter.finish`` wrote, all bytes of the file checked. Raises DamagedPacketsError."""
    digest = hashlib.blake2b(digest_size=DIGEST)
    try:
        with path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size - DIGEST
            tail = b""
            while left > 0:
                block = file.read(min(left, BLOCK))
                digest.update(block)
                tail = (tail + block)[-BLOCK:]
                left -= len(block)
            if file.read() != digest.digest():
                raise DamagedPacketsError(f"{path}: is not whole")
            (length,) = LENGTH.unpack(tail[-LENGTH.size :])
            file.seek(-DIGEST - LENGTH.size - length, os.SEEK_END)
            record: dict[str, Any] = json.loads(file.read(length))
            return record
    except (OSError, ValueError, struct.error) as error:
        raise DamagedPacketsError(f"{path}: cannot be read ({error})") from error


def packets(path: Path) -> Iterator[Packet]:
    """The packets of a file that ``read_record`` knows to be whole, in the order of decoding; without a
    stream or a time base."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size - DIGEST - LENGTH.size
        file.seek(size)
        (length,) = LENGTH.unpack(file.read(LENGTH.size))
        file.seek(len(MAGIC))
        while file.tell() < size - length:
            pts, dts, duration, flags, count = HEAD.unpack(file.read(HEAD.size))
            packet = Packet(file.read(count))
            packet.pts, packet.dts = (None if time == NO_TIME else time for time in (pts, dts))
            packet.duration = duration
            packet.is_keyframe = bool(flags & KEY)
            yield packet


def put_in_place(file: BinaryIO, path: Path) -> None:
    """Close a file that is written, and give it its final name, so that both survive a power cut."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    Path(file.name).replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder survive a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError:  # nor does every network's file system
        pass
    finally:
        os.close(descriptor)
