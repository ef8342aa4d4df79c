"""Sound, on its way past the picture: copied where the container can hold it, else converted."""

from fractions import Fraction

import av
import numpy as np
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


PREFERRED = {"mpegts": "aac"}
"""Container -> what to convert to, where FFmpeg's own choice is a worse one (mp2)."""

ONLY_RATE = {"mxf": 48000}
"""Samples a second of all sound in a container."""

LATE = Fraction(1, 100)
"""Seconds by which the times of sound may stray from its samples before silence fills the gap."""


class ConvertedSound:
    """A source's sound in the codec that the container prefers."""

    def __init__(self, container: OutputContainer, source: AudioStream):
        """Raises FFmpegError or ValueError if there is no encoder that takes it."""
        holder = container.format.name
        self.codec = PREFERRED.get(holder, container.default_audio_codec)
        if self.codec in ("", "none"):
            raise ValueError(f"{holder} takes no sound")
        self._decoder = source.codec_context
        self._rate, layout = _settings(self.codec, source, ONLY_RATE.get(holder))
        stream = container.add_stream(self.codec, rate=self._rate, layout=layout)
        assert isinstance(stream, AudioStream)
        self.stream = stream
        self._resampler = self._new_resampler()
        self._tick = Fraction(1, self._rate)
        self._next: Fraction | None = None
        """When the next sample is due, in seconds."""
        self.packets_lost = 0

    def pass_on(self, packet: Packet) -> list[Packet]:
        self._tick = packet.time_base
        return self._convert(packet)

    def end(self) -> list[Packet]:
        rest = self._convert(None) if self._next is not None else []
        return [*rest, *self._flush(), *self.stream.encode()]

    def _convert(self, packet: Packet | None) -> list[Packet]:
        try:
            frames = self._decoder.decode(packet)
        except av.EOFError:
            return []
        except av.FFmpegError:
            self.packets_lost += 1
            return []
        packets: list[Packet] = []
        for frame in frames:
            if frame.pts is None and packet is not None:
                frame.pts = packet.pts
            frame.time_base = self._tick
            packets += self._encode(frame)
        return packets

    def _encode(self, frame: AudioFrame) -> list[Packet]:
        """Encode a frame at its place among the samples, as its own time is often rounded."""
        if self._next is None:
            self._next = Fraction((frame.pts or 0) * self._tick)
        at = self._next if frame.pts is None else Fraction(frame.pts * self._tick)
        packets: list[Packet] = []
        if at - self._next > LATE:
            packets = self._resample(_silence(frame, at - self._next))
        elif at + Fraction(frame.samples, frame.sample_rate) < self._next:
            return []  # it was there before
        return packets + self._resample(frame)

    def _resample(self, frame: AudioFrame) -> list[Packet]:
        assert self._next is not None
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(self._next * frame.sample_rate)
        try:
            resampled = self._resampler.resample(frame)
        except ValueError:  # the sound changes its rate or its layout here
            packets = self._flush()
            self._resampler = self._new_resampler()
            return packets + self._resample(frame)
        self._next += Fraction(frame.samples, frame.sample_rate)
        return [packet for part in resampled for packet in self.stream.encode(part)]

    def _flush(self) -> list[Packet]:
        return [packet for part in self._resampler.resample(None) for packet in self.stream.encode(part)]

    def _new_resampler(self) -> AudioResampler:
        context = self.stream.codec_context
        return AudioResampler(context.format, context.layout, self._rate)


def _silence(like: AudioFrame, seconds: Fraction) -> AudioFrame:
    """As much of it, in the format of ``like``."""
    count = round(seconds * like.sample_rate)
    sound = like.to_ndarray()
    samples = count if like.format.is_planar else count * like.layout.nb_channels
    neutral = 128 if like.format.name.startswith("u8") else 0
    silent = np.full((sound.shape[0], samples), neutral, sound.dtype)
    frame = AudioFrame.from_ndarray(silent, like.format.name, like.layout.name)
    frame.sample_rate = like.sample_rate
    return frame


def holds_sound(container: OutputContainer, source: AudioStream) -> bool:
    """Whether the container takes the source's packets as they are, and players find them there."""
    codec = source.codec_context.name
    if ONLY_RATE.get(container.format.name, source.rate) != source.rate:
        return False
    if codec.startswith("pcm_"):
        if container.format.name == "mp4":
            return False
        if container.format.name == "mov" and source.codec_context.layout.name in UNORDERED:
            return False
    return codec in container.supported_codecs or codec in UNLISTED.get(container.format.name, ())


def _settings(codec: str, source: AudioStream, only: int | None) -> tuple[int, str]:
    """The sample rate and layout nearest to the source's that the encoder opens with; ``only`` is the one
    rate that the container knows, if it does."""
    rates = (only,) if only else av.Codec(codec, "w").audio_rates or ()
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
