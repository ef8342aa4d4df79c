"""The encoded pictures of a piece of a film, in a file of their own, until the pieces are joined.

    magic | packet packet ... | record (JSON) | its length | digest of all before

A packet is the number of its track, its times, its flags and its data, as the encoder gave them: no
container is asked to keep what it has no place for. The digest at the end makes sure that a file is whole.
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from av.packet import Packet
from av.video.frame import VideoFrame

from upscale.errors import UpscaleError
from upscale.media.frame import Frame
from upscale.media.write.encoder import Encoder
from upscale.media.write.encoding import Encoding

MAGIC = b"upscale segment 4\n"

HEAD = struct.Struct("<BqqqBI")
"""Of a packet: track; pts, dts and duration in ticks of the encoder; flags, bytes of data."""

KEY = 1
"""The flag of a key frame."""

NO_TIME = -(1 << 63)

LENGTH = struct.Struct("<Q")

DIGEST = 32
"""Bytes."""

BLOCK = 1 << 20


class DamagedPacketsError(Exception):
    """A file of packets that is not whole, or not one."""


@dataclass(frozen=True, slots=True)
class Track:
    """One of the streams of pictures that are made of a film's frames."""

    encoder: Encoder
    container: str
    """FFmpeg's name of the muxer that they will be joined in: some want the encoder's headers apart."""
    view: Callable[[Frame], Frame]
    """What it shows of a frame; a worker in another process is sent it."""


Pictures = tuple[VideoFrame, ...]
"""What is made of one frame: a picture for each track."""


class PieceWriter:
    """Encodes the frames of one piece into ``path``, which gets there whole or not at all."""

    def __init__(self, path: Path, tracks: Sequence[Track], size: tuple[int, int]):
        """``size`` is (width, height) of the pictures."""
        self._path, self._tracks = path, tracks
        self._beside = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._contexts = [track.encoder.open_for(track.container, size) for track in tracks]
        self._encodings = [
            Encoding(track.encoder, context, size)
            for track, context in zip(tracks, self._contexts, strict=True)
        ]
        self._times: list[list[int]] = [[] for _ in tracks]
        self._digest = hashlib.blake2b(digest_size=DIGEST)
        self._file: BinaryIO = self._beside.open("wb")
        self._bytes = 0
        self._put(MAGIC)

    @property
    def frames(self) -> int:
        """How many were written so far."""
        return self._encodings[0].given

    def pictures(self, frame: Frame) -> Pictures:
        """What the tracks show of a frame: see ``Encoding.picture``."""
        return tuple(
            encoding.picture(track.view(frame))
            for encoding, track in zip(self._encodings, self._tracks, strict=True)
        )

    def write(self, pictures: Pictures) -> None:
        """Encode what ``pictures`` made of the next frame."""
        for number, picture in enumerate(pictures):
            self._put_packets(number, self._encodings[number].encode(picture))
            assert picture.pts is not None
            assert picture.time_base is not None
            tick = self._contexts[number].time_base
            self._times[number].append(round(picture.pts * picture.time_base / tick))

    def finish(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Write what the encoder still holds and the record, which is answered: ``facts`` and the piece's
        own figures. Raises UpscaleError if the times of the packets are not those of the frames."""
        for number, encoding in enumerate(self._encodings):
            self._put_packets(number, encoding.finish())
        lost = [note for encoding in self._encodings for note in encoding.notes]
        record = facts | {
            "notes": facts.get("notes", []) + lost,
            "frames": self.frames,
            "first": min(self._times[0], default=None),
            "last": max(self._times[0], default=None),
            "bytes": self._bytes,
            "tracks": [
                {"moved": encoding.moved, "headers": (context.extradata or b"").hex()}
                for encoding, context in zip(self._encodings, self._contexts, strict=True)
            ],
        }
        text = json.dumps(record).encode()
        self._put(text + LENGTH.pack(len(text)))
        self._file.write(self._digest.digest())
        self._file.flush()
        for number, times in enumerate(self._times):
            found = (packet.pts for packet in packets(self._beside, number) if packet.pts is not None)
            if sorted(found) != times:
                raise UpscaleError(f"{self._path.name}: the encoder has moved frames; take another --codec")
        put_in_place(self._file, self._path)
        return record

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):  # on a full disk, what is still buffered finds no room
            self._file.close()
        self._beside.unlink(missing_ok=True)

    def _put_packets(self, track: int, made: list[Packet]) -> None:
        for packet in made:
            flags = KEY * packet.is_keyframe
            times = (NO_TIME if time is None else time for time in (packet.pts, packet.dts))
            self._put(HEAD.pack(track, *times, packet.duration or 0, flags, packet.size))
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


def packets(path: Path, track: int = 0) -> Iterator[Packet]:
    """The packets of a track of a file that ``read_record`` knows to be whole, in the order of decoding;
    without a stream or a time base."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size - DIGEST - LENGTH.size
        file.seek(size)
        (length,) = LENGTH.unpack(file.read(LENGTH.size))
        file.seek(len(MAGIC))
        while file.tell() < size - length:
            owner, pts, dts, duration, flags, count = HEAD.unpack(file.read(HEAD.size))
            if owner != track:
                file.seek(count, os.SEEK_CUR)
                continue
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
