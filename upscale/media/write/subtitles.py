"""Text subtitles, from the form of one container to that of another."""

from collections.abc import Iterator
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


ONE_AT_A_TIME = {"mov_text"}
"""Encoders of text whose tracks hold one packet for each moment: two lines at once have to share one."""

FIELDS = 8
"""Commas before the text in a line of ASS."""


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
        self._shown: list[tuple[Fraction, str]] = []
        """The lines on the screen, and when each goes, in seconds."""
        self._at = Fraction(0)
        """Up to when the screen was written, in seconds."""
        self.packets_lost = 0

    def pass_on(self, packet: Packet) -> Iterator[Packet]:
        try:
            decoded = self._decoder.decode2(packet)
        except av.FFmpegError:
            self.packets_lost += 1
            return
        if decoded is None or packet.pts is None:
            return
        lines = [
            line.ass.decode(errors="replace") for line in decoded.rects if isinstance(line, AssSubtitle)
        ]
        begin, lasts = packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base
        if self.codec not in ONE_AT_A_TIME:
            for line in lines:
                yield self._coded(line, begin, begin + lasts)
            return
        yield from self._shown_until(begin)
        self._at = max(self._at, begin)
        self._shown += [(begin + lasts, line) for line in lines]

    def end(self) -> Iterator[Packet]:
        yield from self._shown_until(max((until for until, _ in self._shown), default=self._at))

    def _shown_until(self, end: Fraction) -> Iterator[Packet]:
        """What is on the screen up to a time, in seconds: one packet from one change to the next, with all
        the lines."""
        while self._shown and self._at < end:
            until = min(end, *(last for last, _ in self._shown))
            if until > self._at:
                first = self._shown[0][1].split(",", FIELDS)
                texts = [line.split(",", FIELDS)[-1] for _, line in self._shown]
                yield self._coded(",".join([*first[:-1], "\\N".join(texts)]), self._at, until)
            self._at = max(self._at, until)
            self._shown = [(last, line) for last, line in self._shown if last > self._at]

    def _coded(self, line: str, begin: Fraction, end: Fraction) -> Packet:
        """A line of ASS, shown from a time to another, in seconds."""
        text = SubtitleSet.create(line.encode(), start=0, end=round((end - begin) * 1000))
        coded = self._encoder.encode_subtitle(text)
        tick = self._encoder.time_base
        coded.stream, coded.time_base = self.stream, tick
        coded.pts = coded.dts = round(begin / tick)
        coded.duration = round((end - begin) / tick)
        return coded


def holds_subtitles(container: OutputContainer, source: SubtitleStream) -> bool:
    """Whether the container takes the source's packets as they are, and players find them there."""
    return source.codec_context.name in HELD.get(container.format.name, ())
