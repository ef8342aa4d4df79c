"""Sound, on its way past the picture: copied where the container can hold it, else converted."""

from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

UNORDERED = {"1 channels": "mono", "2 channels": "stereo"}
"""Layouts of sources that only count their channels, and what they mean: encoders ask for a name."""

_STREAMED = {"aac", "ac3", "eac3", "mp2", "mp2float", "mp3", "mp3float", "dca", "libopus", "opus"}

UNLISTED = {"mpegts": _STREAMED, "nut": _STREAMED | {"flac", "vorbis", "pcm_s16le", "pcm_s24le", "alac"}}
"""Codecs that a container holds without telling: these muxers list no more than their default."""


LATE = Fraction(1, 100)
"""Seconds by which the times of sound may stray from its samples before silence fills the gap."""


class ConvertedSound:
    """A source's sound in the codec that the container prefers."""

    def __init__(self, container: OutputContainer, source: AudioStream):
        """Raises FFmpegError or ValueError if there is no encoder that takes it."""
        if container.default_audio_codec in ("", "none"):
            raise ValueError(f"{container.format.name} takes no sound")
        self._decoder = source.codec_context
        self.codec = container.default_audio_codec
        self._rate, layout = _settings(self.codec, source)
        stream = container.add_stream(self.codec, rate=self._rate, layout=layout)
        assert isinstance(stream, AudioStream)
        self.stream = stream
        self._resampler = self._new_resampler()
        self.packets_lost = 0

    def pass_on(self, packet: Packet) -> list[Packet]:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            self.packets_lost += 1
            return []
        packets: list[Packet] = []
        for frame in frames:
            if frame.pts is None:
                frame.pts = packet.pts
            frame.time_base = packet.time_base
            packets += self._encode(frame)
        return packets

    def end(self) -> list[Packet]:
        return [*self._flush(), *self.stream.encode()]

    def _encode(self, frame: AudioFrame) -> list[Packet]:
        try:
            resampled = self._resampler.resample(frame)
        except ValueError:  # the sound changes its rate or its layout here
            packets = self._flush()
            self._resampler = self._new_resampler()
            return packets + self._encode(frame)
        return [packet for part in resampled for packet in self.stream.encode(part)]

    def _flush(self) -> list[Packet]:
        return [packet for part in self._resampler.resample(None) for packet in self.stream.encode(part)]

    def _new_resampler(self) -> AudioResampler:
        """One that puts silence where packets are missing, so that what follows keeps its time."""
        filling = {"async": "1", "min_hard_comp": str(float(LATE))}
        context = self.stream.codec_context
        return AudioResampler(context.format, context.layout, self._rate, options=filling)


def holds_sound(container: OutputContainer, source: AudioStream) -> bool:
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
