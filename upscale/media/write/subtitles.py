"""Text subtitles, from the form of one container to that of another."""

from collections.abc import Iterable
from fractions import Fraction

import av
from av.container import OutputContainer
from av.packet import Packet
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

TEXT_CODECS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "srt", "webm": "webvtt"}
"""Container -> the encoder of the text that its players show."""

HELD = {
    "mp4": {"mov_text", "dvdsub"},
    "mov": {"mov_text"},
    "matroska": {"srt", "subrip", "ass", "ssa", "text", "webvtt", "dvdsub", "dvbsub", "pgssub"},
    "webm": {"webvtt"},
    "mpegts": {"dvbsub", "libzvbi_teletextdec", "dvb_teletext"},
    "nut": {"dvdsub", "dvbsub", "ass", "ssa", "srt", "subrip", "text"},
}
"""Container -> the decoders of what it takes as it is."""


class ConvertedSubtitles:
    """A source's text in the codec of the container; fonts and places of a styled script may be lost."""

    def __init__(self, container: OutputContainer, source: SubtitleStream):
        """Raises FFmpegError or ValueError if that cannot be: pictures do not become text."""
        holder = container.format.name
        name = source.codec_context.name
        if holder not in TEXT_CODECS:
            raise ValueError(f"{holder} holds no {name}")
        self._decoder = source.codec_context
        self._decoder.open(strict=False)
        # A decoder of text writes down the styles that its lines refer to; one of pictures has none.
        header = self._decoder.subtitle_header
        if header is None:
            raise ValueError(f"{holder} holds no {name}, and its pictures cannot become text")
        self.codec = TEXT_CODECS[holder]
        stream = container.add_stream(self.codec)
        assert isinstance(stream, SubtitleStream)
        self.stream = stream
        self._encoder: SubtitleCodecContext = stream.codec_context
        self._encoder.subtitle_header = header
        self._encoder.time_base = stream.time_base = Fraction(source.time_base or 1)
        self.packets_lost = 0

    def pass_on(self, packet: Packet) -> Iterable[Packet]:
        try:
            decoded = self._decoder.decode2(packet)
        except av.FFmpegError:
            self.packets_lost += 1
            return []
        made = []
        for line in decoded.rects if decoded is not None else ():
            if not isinstance(line, AssSubtitle):
                continue
            milliseconds = round((packet.duration or 0) * packet.time_base * 1000)
            text = SubtitleSet.create(line.ass, start=0, end=milliseconds)
            coded = self._encoder.encode_subtitle(text)
            coded.stream, coded.time_base = self.stream, packet.time_base
            coded.pts = coded.dts = packet.pts
            coded.duration = packet.duration
            made.append(coded)
        return made

    def end(self) -> Iterable[Packet]:
        return []


def holds_subtitles(container: OutputContainer, source: SubtitleStream) -> bool:
    """Whether the container takes the source's packets as they are, and players find them there."""
    return source.codec_context.name in HELD.get(container.format.name, ())
