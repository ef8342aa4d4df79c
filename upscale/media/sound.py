"""Sound, on its way past the picture: copied where the container can hold it, else converted."""

from typing import Protocol

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

UNORDERED = {"1 channels": "mono", "2 channels": "stereo"}
"""Layouts of sources that only count their channels, and what they mean: encoders ask for a name."""


class Track(Protocol):
    """One sound track of the output."""

    def pass_on(self, packet: Packet) -> list[Packet]:
        """The packets to write for one packet of the source, on its clock."""

    def end(self) -> list[Packet]:
        """The packets to write when the source has no more."""


class CopiedTrack:
    """The source's packets, bit for bit."""

    def __init__(self, container: OutputContainer, source: AudioStream):
        self._stream = container.add_stream_from_template(source)
        self._stream.metadata.update(source.metadata)

    def pass_on(self, packet: Packet) -> list[Packet]:
        packet.stream = self._stream
        return [packet]

    def end(self) -> list[Packet]:
        return []


class ConvertedTrack:
    """The same sound in the codec that the container prefers."""

    def __init__(self, container: OutputContainer, source: AudioStream):
        codec = av.Codec(container.default_audio_codec, "w")
        rate = source.codec_context.sample_rate
        if codec.audio_rates and rate not in codec.audio_rates:
            rate = min(codec.audio_rates, key=lambda other: (other < rate, abs(other - rate)))
        self._decoder = source.codec_context
        layout = UNORDERED.get(source.codec_context.layout.name, source.codec_context.layout.name)
        stream = container.add_stream(codec.name, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        self._stream = stream
        self._stream.metadata.update(source.metadata)
        self._resampler = AudioResampler(self._stream.format, self._stream.layout, rate)

    @property
    def codec(self) -> str:
        return self._stream.codec_context.name

    def pass_on(self, packet: Packet) -> list[Packet]:
        packets: list[Packet] = []
        for frame in self._decoder.decode(packet):
            frame.pts, frame.time_base = packet.pts, packet.time_base
            for resampled in self._resampler.resample(frame):
                packets += self._stream.encode(resampled)
        return packets

    def end(self) -> list[Packet]:
        packets: list[Packet] = []
        for resampled in self._resampler.resample(None):
            packets += self._stream.encode(resampled)
        return packets + self._stream.encode()


def add_track(container: OutputContainer, source: AudioStream) -> CopiedTrack | ConvertedTrack:
    """Give the output a track for ``source``. Raises ValueError where the container takes no sound."""
    if source.codec_context.name in container.supported_codecs:
        return CopiedTrack(container, source)
    if not container.default_audio_codec or container.default_audio_codec == "none":
        raise ValueError("the container takes no sound")
    return ConvertedTrack(container, source)
