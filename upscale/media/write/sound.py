"""Sound, on its way past the picture: copied where the container can hold it, else converted."""

import itertools
from collections.abc import Iterator
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

LOSSLESS = {
    "mp4": ("alac", "flac"),
    "mov": ("alac", "pcm"),
    "matroska": ("flac", "pcm"),
    "nut": ("flac", "pcm"),
    "avi": ("pcm",),
    "mxf": ("pcm",),
}
"""Container -> what sound without losses is converted to there, the best first. ALAC knows few layouts."""

DEEP = {"pcm_s32": "32 bits", "pcm_f32": "32 bits of floats", "pcm_f64": "64 bits of floats"}
"""How sources begin that have more bits than any of these keeps, and what those are."""

KEPT_BITS = {"alac": 24, "flac": 24, "pcm_s24le": 24, "pcm_s16le": 16}
"""Of each sample, by encoders without other losses."""

MOSTLY_LOSSLESS = {"wavpack"}
"""Codecs that may have losses, and seldom do."""

OPEN = {"matroska", "mov", "mp4", "avi", "nut"}
"""Containers that hold more than they list; the muxer is asked."""

UNTIMED = {"avi": {"flac", "vorbis", "libvorbis", "amrnb", "libopencore_amrnb", "amrwb"}}
"""Container -> decoders of what its muxer takes, and gives times that no player can use."""

SAME_CHANNELS = {
    "3 channels": "2.1",
    "4 channels": "4.0",
    "5 channels": "5.0",
    "6 channels": "5.1",
    "7 channels": "6.1",
    "8 channels": "7.1",
    "5.0(side)": "5.0",
    "5.1(side)": "5.1",
    "quad(side)": "quad",
    "7.1(wide)": "7.1",
    "7.1(wide-side)": "7.1",
}
"""Layout -> the one of as many channels that more encoders know."""
ONLY_RATE = {"mxf": 48000}
"""Samples a second of all sound in a container."""

LATE = Fraction(1, 100)
"""Seconds by which the times of sound may stray from its samples before silence fills the gap."""


SILENCE = Fraction(1)
"""Seconds of silence that are made at a time."""

LONGEST_SILENCE = Fraction(3 * 3600)
"""Seconds. To fill a longer pause would take minutes, and it may be a broken clock: the time is kept."""

LONGEST_JUMP = Fraction(5 * 3600)
"""Seconds from one sample to the next, at most: mp4 counts them in 32 bits, which 192 kHz fill in six
hours. A second of silence parts longer ones."""


class ConvertedSound:
    """A source's sound in the codec that the container prefers."""

    def __init__(self, container: OutputContainer, source: AudioStream, begins: Fraction | None = None):
        """It begins with its first sample, or with silence at ``begins``, in seconds. Raises FFmpegError or
        ValueError if there is no encoder that takes it."""
        holder = container.format.name
        default = PREFERRED.get(holder, container.default_audio_codec)
        if default in ("", "none"):
            raise ValueError(f"{holder} takes no sound")
        self._decoder = source.codec_context
        given = [*_without_losses(holder, source), default]
        self.codec, self._rate, layout = _settings(given, source, ONLY_RATE.get(holder))
        stream = container.add_stream(self.codec, rate=self._rate, layout=layout)
        assert isinstance(stream, AudioStream)
        self.stream = stream
        formats = av.Codec(self.codec, "w").audio_formats or []
        wanted = self._decoder.format.bytes
        if formats:
            enough = [fmt for fmt in formats if fmt.bytes >= wanted]
            key = lambda fmt: fmt.bytes  # noqa: E731
            stream.codec_context.format = min(enough, key=key) if enough else max(formats, key=key)
        self.remark = self._lost(source)
        """What it lost on the way, to be told."""
        self._resampler = self._new_resampler()
        self._tick = Fraction(1, self._rate)
        self._next = begins
        """When the next sample is due, in seconds."""
        self.packets_lost = 0

    def _lost(self, source: AudioStream) -> str:
        channels, lost = self.stream.codec_context.layout.nb_channels, ""
        if channels != source.channels:
            lost = f"; its {source.channels} channels became {channels}"
        deep = next((bits for name, bits in DEEP.items() if self._decoder.name.startswith(name)), None)
        if deep is not None and self.codec in KEPT_BITS:
            lost += f"; its {deep} a sample became {KEPT_BITS[self.codec]}"
        return lost

    def pass_on(self, packet: Packet) -> Iterator[Packet]:
        self._tick = packet.time_base
        yield from self._convert(packet)

    def end(self) -> Iterator[Packet]:
        if self._next is not None:
            yield from self._convert(None)
        yield from self._flush()
        yield from self.stream.encode()

    def _convert(self, packet: Packet | None) -> Iterator[Packet]:
        try:
            frames = self._decoder.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError:
            self.packets_lost += 1
            return
        for frame in frames:
            if frame.pts is None and packet is not None:
                frame.pts = packet.pts
            frame.time_base = self._tick
            yield from self._encode(frame)

    def _encode(self, frame: AudioFrame) -> Iterator[Packet]:
        """Encode a frame at its place among the samples, as its own time is often rounded."""
        if self._next is None:
            self._next = Fraction((frame.pts or 0) * self._tick)
        at = self._next if frame.pts is None else Fraction(frame.pts * self._tick)
        while at - self._next > LONGEST_SILENCE:
            yield from self._flush()
            self._resampler = self._new_resampler()
            self._next = min(at, self._next + LONGEST_JUMP)
            if self._next + SILENCE < at:
                yield from self._resample(_silence(frame, SILENCE))
        if at - self._next > LATE:
            while (lacking := at - self._next) * frame.sample_rate >= 1:
                yield from self._resample(_silence(frame, min(lacking, SILENCE)))
        elif at + Fraction(frame.samples, frame.sample_rate) < self._next:
            return  # it was there before
        yield from self._resample(frame)

    def _resample(self, frame: AudioFrame) -> Iterator[Packet]:
        assert self._next is not None
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(self._next * frame.sample_rate)
        try:
            resampled = self._resampler.resample(frame)
        except ValueError:  # the sound changes its rate or its layout here
            yield from self._flush()
            self._resampler = self._new_resampler()
            yield from self._resample(frame)
            return
        self._next += Fraction(frame.samples, frame.sample_rate)
        for part in resampled:
            yield from self.stream.encode(part)

    def _flush(self) -> Iterator[Packet]:
        for part in self._resampler.resample(None):
            yield from self.stream.encode(part)

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
    codec, holder = source.codec_context.name, container.format.name
    if ONLY_RATE.get(holder, source.rate) != source.rate:
        return False
    if codec in UNTIMED.get(holder, ()):
        return False
    if codec.startswith("pcm_"):
        if holder == "mp4":
            return False
        if holder == "mov" and source.codec_context.layout.name in UNORDERED:
            return False
    return codec in container.supported_codecs or holder in OPEN or codec in UNLISTED.get(holder, ())


def _without_losses(holder: str, source: AudioStream) -> list[str]:
    """What a source that has no losses is to be encoded with, so that it stays so."""
    codec = source.codec_context.codec
    if holder not in LOSSLESS or not codec.lossless or (codec.lossy and codec.name not in MOSTLY_LOSSLESS):
        return []
    pcm = "pcm_s24le" if source.codec_context.format.bytes > 2 else "pcm_s16le"
    return [pcm if name == "pcm" else name for name in LOSSLESS[holder]]


def _settings(codecs: list[str], source: AudioStream, only: int | None) -> tuple[str, int, str]:
    """The first encoder that opens, and the sample rate and layout nearest to the source's with which it
    does: with all channels, if one of them can. ``only`` is the one rate that the container knows, if it
    does."""
    own = source.codec_context.layout.name
    own = UNORDERED.get(own, own)
    for layouts in (dict.fromkeys((own, SAME_CHANNELS.get(own, own))), ("stereo",)):
        for codec, layout in itertools.product(codecs, layouts):
            rates = (only,) if only else av.Codec(codec, "w").audio_rates or ()
            rate = source.codec_context.sample_rate
            if rates and rate not in rates:
                rate = min(rates, key=lambda other: (other < rate, abs(other - rate)))
            trial = av.CodecContext.create(codec, "w")
            assert isinstance(trial, AudioCodecContext)
            trial.sample_rate, trial.layout = rate, layout
            trial.format = (av.Codec(codec, "w").audio_formats or [source.codec_context.format])[0]
            try:
                trial.open()
            except av.FFmpegError as error:
                reason = error
            else:
                return codec, rate, layout
    raise reason
