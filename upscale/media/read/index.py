"""Where the pictures of a film lie in time, and where one can jump: its packets, looked through once."""

import contextlib
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from upscale.media.read.clock import FileClock
from upscale.media.read.source import Source, open_film

TRIALS = 16
"""Jumps that are tried out, all over the film."""


@dataclass(frozen=True, slots=True)
class FilmIndex:
    """The times of a film's pictures, in ticks of its ``VideoInfo.time_base``, on the container's clock."""

    times: list[int]
    """Of every picture, rising; where they are not ``exact``, of when they are decoded."""
    keys: list[int]
    """Of those at which decoding can begin."""
    exact: bool
    """Whether the container tells the time of each, so that one gets the same pictures by jumping there as
    by reading on from the beginning."""


def index_film(source: Source) -> FilmIndex:
    """Look through the packets of a film; nothing is decoded, and ``source`` stays where it is.

    Where the container breaks off, so does the index."""
    times: list[int] = []
    keys: dict[int, int] = {}  # time in ticks of the stream -> bytes
    exact, last = True, None
    with open_film(source.path) as (container, video):
        clock = FileClock(video)
        steps = round(Fraction(video.time_base or 1) / source.info.time_base)
        rate = source.rate or Fraction(25)
        typical = max(round(1 / (rate * Fraction(video.time_base or 1))), 1)
        with contextlib.suppress(av.FFmpegError):
            for packet in container.demux(video):
                if not packet.size:
                    continue
                exact &= packet.pts is not None
                exact &= last is None or packet.dts is None or packet.dts > last
                last = packet.dts if packet.dts is not None else last
                clock.stamp(packet)
                at = packet.dts if packet.pts is None else packet.pts
                if at is None:  # as in a raw stream, where ``Clock`` counts too
                    at = times[-1] + typical if times else 0
                if packet.is_keyframe:
                    keys[at] = packet.size
                if not packet.is_discard:  # which an edit list hides
                    times.append(at)
        times.sort()
        exact &= len(set(times)) == len(times)
        exact = exact and all(
            _lands_well(container, video, keys, place) for place in times[:: max(len(times) // TRIALS, 1)]
        )
    return FilmIndex([at * steps for at in times], [at * steps for at in sorted(keys)], exact)


def _lands_well(container: InputContainer, video: VideoStream, keys: dict[int, int], place: int) -> bool:
    """Whether a jump to a picture finds a key frame that the whole film has too, at the same time.

    Program streams stamp but some of their packets, and after a jump a demuxer may guess."""
    try:
        container.seek(place, stream=video)
        for packet in container.demux(video):
            if packet.is_keyframe and packet.size:
                return packet.pts is not None and keys.get(packet.pts) == packet.size
    except av.FFmpegError:
        return False
    return True  # behind the last key frame, as some do: ``Source`` goes back further
