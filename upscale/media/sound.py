"""Sound, on its way past the picture: copied where the container can hold it, else converted."""

from typing import Protocol

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

UNORDERED = {"1 channels": "mono", "2 channels": "stereo"}
"""Layouts of sources that only count their channels, and what they mean: encoders ask for a name."""

_STREAMED = {"aac", "ac3", "eac3", "mp2", "mp2float", "mp3", "mp3float", "dca", "libopus", "opus"}

UNLISTED = {"mpegts": _STREAMED, "nut": _STREAMED | {"flac", "vorbis", "pcm_s16le", "pcm_s24le", "alac"}}
"""Codecs that a container holds without telling: these muxers list no more than their default."""


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
        """Raises FFmpegError or ValueError if there is no encoder that takes it."""
        self._decoder = source.codec_context
        self.codec = container.default_audio_codec
        rate, layout = _settings(self.codec, source)
        stream = container.add_stream(self.codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        self._stream = stream
        self._stream.metadata.update(source.metadata)
        self._resampler = AudioResampler(self._stream.format, self._stream.layout, rate)
        self.packets_lost = 0

    def pass_on(self, packet: Packet) -> list[Packet]:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            self.packets_lost += 1
            return []
        packets: list[Packet] = []
        for frame in frames:
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
    """Give the output a track for ``source``. Raises ValueError or FFmpegError where none can be had."""
    if source.codec_context is None:
        raise ValueError("its codec is unknown")
    if _holds(container, source):
        return CopiedTrack(container, source)
    if container.default_audio_codec in ("", "none"):
        raise ValueError("the container takes no sound")
    return ConvertedTrack(container, source)


def _holds(container: OutputContainer, source: AudioStream) -> bool:
    """Whether the container takes the source's packets as they are, and players find them there."""
    codec = source.codec_context.name
    if codec.startswith("pcm_"):
        if container.format.name == "mp4":
            return False
        if container.format.name == "mov" and source.codec_context.layout.name in UNORDERED:
            return False
    return codec in container.supported_codecs or codec in UNLISTED.get(container.format.name, ())


def _settings(codec: str, source: AudioStream) -> tuple[int, str]:
    """The sample rate and layout nearest to the source's that the encoder opens with."""
    rates = av.Codec(codec, "w").audio_rates or ()
    rate = source.codec_context.sample_rate
    if rates and rate not in rates:
        rate = min(rates, key=lambda other: (other < rate, abs(other - rate)))
    own = source.codec_context.layout.name
    for layout in (UNORDERED.get(own, own), "stereo"):
        trial = av.CodecContext.create(codec, "w")
        assert isinstance(trial, AudioCodecContext)
        trial.sample_rate, trial.layout = rate, layout
        trial.format = (av.Codec(codec, "w").audio_formats or [source.codec_context.format])[0]
        try:
            trial.open()
        except av.FFmpegError as error:
            reason = error
        else:
            return rate, layout
    raise reason
