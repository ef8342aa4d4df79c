"""How often an animation plays: what GIF and APNG say of it, which FFmpeg's demuxers keep to themselves."""

from collections.abc import Callable

GIF = (b"GIF87a", b"GIF89a")
PNG = b"\x89PNG\r\n\x1a\n"

EXTENSION, APPLICATION = 0x21, 0xFF
"""Bytes that begin a block of a GIF that is no picture, and name one of an application."""

LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
"""Applications whose block tells how often the pictures come again; 0 is without end."""


LONGEST = 16 << 20
"""Bytes that are looked at: colour profiles and remarks may come first."""


def read_plays(read: Callable[[int], bytes]) -> int | None:
    """How often the animation plays whose bytes ``read`` gives from the beginning: 0 is without end; None
    for what is no animation. A GIF that says nothing plays once. ``read`` may be a pipe's."""
    left = LONGEST

    def take(size: int) -> bytes:
        """That many bytes; fewer where there are no more to look at."""
        nonlocal left
        data = b""
        while len(data) < size <= left and (more := read(size - len(data))):
            data += more
        left -= size
        return data

    begin = take(8)
    if begin[:6] in GIF:
        return _plays_of_gif(take)
    return _plays_of_png(take) if begin == PNG else None


def _plays_of_gif(take: Callable[[int], bytes]) -> int:
    flags = take(5)[2:3]  # of the screen descriptor, whose first two bytes are read
    if flags and flags[0] & 0x80:
        take(3 << (flags[0] & 7) + 1)  # the palette of all pictures
    while take(1) == bytes([EXTENSION]):
        kind = take(1)
        blocks = []
        while size := take(1)[:1].strip(b"\0"):
            blocks.append(take(size[0]))
        if kind == bytes([APPLICATION]) and len(blocks) > 1 and blocks[0] in LOOPS:
            again = int.from_bytes(blocks[1][1:3], "little")
            return again + 1 if again else 0
    return 1


def _plays_of_png(take: Callable[[int], bytes]) -> int | None:
    while len(head := take(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        data = take(int.from_bytes(head[:4], "big") + 4)  # and its checksum
        if head[4:] == b"acTL":
            return int.from_bytes(data[4:8], "big")
    return None
