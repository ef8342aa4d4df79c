"""What travels beside the picture, sound and subtitles and fonts: copied, converted or left out."""

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Protocol

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import AttachmentStream, DataStream, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from upscale.media.cargo import is_cover, lasting
from upscale.media.write.sound import LATE, OPEN, ConvertedSound, holds_sound
from upscale.media.write.subtitles import ConvertedSubtitles, holds_subtitles

WITH_CHAPTERS = {"mp4", "mov", "matroska", "webm", "nut"}
WITH_ATTACHMENTS = {"matroska"}
WITH_COVER = {"mp4", "mov", "matroska"}
WITH_DATA = {"mpegts"}
"""Containers that have a place for them."""

COVER_CODECS = {"mp4": {"mjpeg", "png", "bmp"}, "mov": {"mjpeg", "png", "bmp"}}
"""Where only some will do."""

UNLISTED = {"mpegts": {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"}}
"""Decoders of the pictures that a container holds without telling."""


NEEDS_PICTURE = {"mxf"}
"""Muxers that take no stream of sound alone, so they cannot be asked about one."""


class Track(Protocol):
    """One of the tracks of the output beside the picture."""

    @property
    def stream(self) -> Stream:
        """Where the packets go."""

    packets_lost: int
    """Packets of the source that could not be read."""

    def pass_on(self, packet: Packet) -> Iterable[Packet]:
        """The packets to write for one packet of the source, on its clock."""

    def end(self) -> Iterable[Packet]:
        """The packets to write when the source has no more."""


class CopiedTrack:
    """The source's packets, bit for bit."""

    packets_lost = 0

    def __init__(self, container: OutputContainer, source: Stream):
        self.stream = container.add_stream_from_template(source, opaque=True)
        # Two lines of subtitles may be shown at once.
        is_strict = Flags.ts_nonstrict not in Flags(container.format.flags)
        is_strict &= source.type in ("audio", "video")
        self._apart = int(is_strict)
        """Ticks that the muxer wants between two packets, which may share one of the source's."""
        self._last: int | None = None

    def pass_on(self, packet: Packet) -> Iterable[Packet]:
        tick = self.stream.time_base
        if packet.dts is not None and tick:
            at = round(packet.dts * packet.time_base / tick)
            if self._last is not None and at < self._last + self._apart:
                shown = at if packet.pts is None else round(packet.pts * packet.time_base / tick)
                lasts = round((packet.duration or 0) * packet.time_base / tick)
                at = self._last + self._apart
                packet.time_base = tick
                packet.dts, packet.pts, packet.duration = at, max(at, shown), lasts
            self._last = at
        packet.stream = self.stream
        return [packet]

    def end(self) -> Iterable[Packet]:
        return []


def add_tracks(
    container: OutputContainer, streams: Sequence[Stream], notes: list[str], begins: Fraction | None = None
) -> dict[int, Track]:
    """Give the output a track for each of the source's ``streams``: index of the stream -> its track.

    What is converted or left out goes to ``notes``, a line each. ``begins`` is when all tracks have to
    begin, in seconds of the source's clock, if the container cannot say when each does.
    """
    tracks: dict[int, Track] = {}
    for source in streams:
        try:
            track = _add_track(container, source, begins)
        except (av.FFmpegError, ValueError) as error:
            notes.append(f"{_name(source)} was left out: {getattr(error, 'strerror', None) or error}")
            continue
        track.stream.metadata.update(lasting(source.metadata))
        track.stream.disposition = source.disposition
        tracks[source.index] = track
        if isinstance(track, ConvertedSound | ConvertedSubtitles):
            what = f"{_name(source)} was converted from {source.codec_context.name} to {track.codec}"
            notes.append(what + (track.remark if isinstance(track, ConvertedSound) else ""))
    return tracks


def _add_track(container: OutputContainer, source: Stream, begins: Fraction | None) -> Track:
    """Raises ValueError or FFmpegError where the container cannot hold it in any form."""
    holder = container.format.name
    if isinstance(source, AttachmentStream):
        _require(holder in WITH_ATTACHMENTS, f"{holder} has no attachments")
        return CopiedTrack(container, source)
    if isinstance(source, DataStream):
        _require(holder in WITH_DATA, f"{holder} has no place for it")
        return CopiedTrack(container, source)
    _require(source.codec_context is not None, "its codec is unknown")
    if isinstance(source, AudioStream):
        _require(bool(source.rate and source.channels), "there is no sound in it")
        late = 0 if begins is None else (source.start_time or 0) * Fraction(source.time_base or 1) - begins
        copied = late <= LATE and holds_sound(container, source) and _refusal(container, source) is None
        return CopiedTrack(container, source) if copied else ConvertedSound(container, source, begins)
    if isinstance(source, SubtitleStream):
        copied = holds_subtitles(container, source) and _refusal(container, source) is None
        return CopiedTrack(container, source) if copied else ConvertedSubtitles(container, source)
    codec = source.codec_context.name
    if isinstance(source, VideoStream):
        _require(bool(source.width and source.height), "there is no picture in it")
    if is_cover(source):
        fits = holder in WITH_COVER and codec in COVER_CODECS.get(holder, {codec})
        _require(fits, f"{holder} holds no {codec} as cover art")
    else:
        listed = UNLISTED.get(holder, container.supported_codecs)
        _require(codec in listed or holder in OPEN, f"{holder} holds no {codec}")
    why = _refusal(container, source)
    _require(why is None, f"{holder} holds no {codec} ({why})")
    return CopiedTrack(container, source)


def _refusal(container: OutputContainer, source: Stream) -> str | None:
    """Why the container's muxer does not take a stream as it is; None if it does.

    What FFmpeg lists and what its muxers take differ, so it is asked, with a header that goes to memory."""
    holder = container.format.name
    if holder in NEEDS_PICTURE:
        return None
    try:
        with av.open(io.BytesIO(), "w", format=holder) as trial:
            trial.add_stream_from_template(source, opaque=True)
            trial.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def _name(stream: Stream) -> str:
    kinds = {"audio": "sound", "subtitle": "subtitles", "data": "data stream", "attachment": "attachment"}
    kind = "cover art" if is_cover(stream) else kinds.get(stream.type, stream.type)
    name = stream.metadata.get("filename") or stream.language
    return f"{kind} {stream.index}" + (f" ({name})" if name and name != "und" else "")
