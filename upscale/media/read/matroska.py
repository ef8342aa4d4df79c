"""The list of tracks in a Matroska file, which a damaged file may have twice.

FFmpeg makes a stream of every entry and tells the number of none. The packets of a track go to the first
stream with its number; the others stay empty, and without what a decoder would have found out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from av.stream import Stream

from upscale.media.cargo import is_cover

EBML, SEGMENT, TRACKS, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0x1F43B675
ENTRY, NUMBER, KIND, CODEC, PRIVATE = 0xAE, 0xD7, 0x83, 0x86, 0x63A2
"""IDs of elements (RFC 9559): the file, its tracks, and what is known of each."""

KINDS = {1: "video", 2: "audio", 17: "subtitle"}
"""Number of a TrackType -> PyAV's name of a stream's; FFmpeg makes no stream of most others."""

LONGEST_HEAD = 64 << 20
"""Bytes of fonts and the like that may come before the first cluster."""

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class TrackEntry:
    """An entry of a list of tracks."""

    number: int
    kind: int
    codec: bytes
    private: bytes
    """The headers that a decoder gets."""


class _BrokenError(Exception):
    """The file ends here, or goes on with what is no element."""


def read_entries(read: Callable[[int], bytes]) -> list[TrackEntry]:
    """The entries of all lists before the first cluster, from the beginning of a file on.

    An empty list if that is no Matroska. Reads on from where it stands, so that it may be a pipe."""
    entries: list[TrackEntry] = []
    left = LONGEST_HEAD

    def take(size: int) -> bytes:
        nonlocal left
        left -= size
        if left < 0:
            raise _BrokenError
        data = bytearray()
        while len(data) < size:
            more = read(min(size - len(data), BLOCK))
            if not more:
                raise _BrokenError
            data += more
        return bytes(data)

    try:
        if take(4) != EBML.to_bytes(4, "big"):
            return []
        take(_size(take) or 0)
        while (name := _name(take)) != CLUSTER:
            size = _size(take)
            if name == SEGMENT:
                continue
            if size is None:
                break
            data = take(size)
            if name == TRACKS:
                entries += [_entry(inside) for name, inside in _children(data) if name == ENTRY]
    except _BrokenError:
        pass
    return entries


def second_listings(entries: Sequence[TrackEntry], streams: Iterable[Stream]) -> set[int]:
    """Which of a file's streams, by index, repeat an earlier one: its number, its codec and its headers.

    An empty set too where one cannot tell which stream is made of which entry."""
    entries = [entry for entry in entries if entry.kind in KINDS and entry.codec]
    tracks = [stream for stream in streams if stream.type != "attachment" and not is_cover(stream)]
    if [KINDS[entry.kind] for entry in entries] != [stream.type for stream in tracks]:
        return set()
    return {
        stream.index
        for place, (entry, stream) in enumerate(zip(entries, tracks, strict=True))
        if entry in entries[:place]
    }


def _entry(data: bytes) -> TrackEntry:
    found = dict(_children(data))
    number, kind = (int.from_bytes(found.get(name, b""), "big") for name in (NUMBER, KIND))
    return TrackEntry(number, kind, found.get(CODEC, b"").rstrip(b"\0"), found.get(PRIVATE, b""))


def _children(data: bytes) -> list[tuple[int, bytes]]:
    """The elements in an element; those after a broken one are left out."""
    found = []
    place = 0

    def take(size: int) -> bytes:
        nonlocal place
        place += size
        if place > len(data):
            raise _BrokenError
        return data[place - size : place]

    while place < len(data):
        try:
            name, size = _name(take), _size(take)
            found.append((name, take(len(data) if size is None else size)))
        except _BrokenError:
            break
    return found


def _name(take: Callable[[int], bytes]) -> int:
    """The ID of the next element: its first byte tells by its leading zeros how many more there are."""
    first = take(1)
    if first[0] < 0x10:
        raise _BrokenError
    return int.from_bytes(first + take(8 - first[0].bit_length()), "big")


def _size(take: Callable[[int], bytes]) -> int | None:
    """How many bytes follow: written as IDs are, without the bit that ends the zeros. None: not told."""
    first = take(1)
    if first[0] == 0:
        raise _BrokenError
    more = 8 - first[0].bit_length()
    size = int.from_bytes(first + take(more), "big") & ((1 << 7 * (more + 1)) - 1)
    return None if size == (1 << 7 * (more + 1)) - 1 else size
