"""Which encoder, which pixel format: what can be settled before a frame is read."""

import difflib
import importlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import av.logging
from av.codec.codec import UnknownCodecError
from av.codec.context import Flags
from av.container import OutputContainer
from av.format import Flags as ContainerFlags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream

from upscale.errors import UsageError
from upscale.media.frame import Extras
from upscale.media.hdr import encoder_parameters
from upscale.media.info import VideoInfo
from upscale.media.light import LINEAR, as_light, is_light
from upscale.media.pixels import SCALER, SUBSAMPLING, PixelFormat, describe, from_planes, planar_name
from upscale.media.side_data import CAMERA, CAPTIONS, HIDDEN, PROFILE, ROTATION
from upscale.media.write import gif
from upscale.planes import Planes

CRF_CODECS = {"libx264", "libx264rgb", "libx265", "libsvtav1", "libvpx-vp9"}
"""Encoders that understand --crf."""

X264 = {"libx264", "libx264rgb"}

DEFAULT_CRF = 16

DEFAULT_OPTIONS = {
    "libx264": {
        "preset": "superfast",
        "subq": "2",
        "trellis": "1",
        "mbtree": "1",
        "rc-lookahead": "10",
        "chromaoffset": "-3",
    }
}
"""Encoder -> what it is told where nobody asks for a preset. As good as x264's preset ``faster`` at the
same size, in six tenths of the time: bits go where other frames refer to, and more of them to colours."""

QSCALE_CODECS = {"mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v2", "wmv1", "wmv2", "mjpeg"}
QSCALE = 2 * 118
"""Encoders that know a fixed quantiser instead, and 2, the finest useful one, in FFmpeg's lambda units."""

ENCODER_THREADS = 4
"""The same on every machine: x264 and x265 make other pictures with another number."""

DEFAULT_CODEC = "libx264"

DEFAULT_CODECS = {
    "webm": "libvpx-vp9",
    "yuv4mpegpipe": "rawvideo",
    "gif": "gif",
    "apng": "apng",
    "asf": "wmv2",
    "hevc": "libx265",
    "mpeg1video": "mpeg1video",
    "mpeg2video": "mpeg2video",
    ".png": "png",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
    ".webp": "libwebp",
    ".exr": "exr",
    ".hdr": "hdr",
    ".pfm": "pfm",
}
"""Container, or suffix of a picture -> what is encoded there unless one says otherwise."""

SUGGESTED = ("libx264", "libx265", "libsvtav1", "ffv1", "prores_ks")

INSTEAD = {"ogg": (".webm", ".mkv"), "ogv": (".webm", ".mkv")}
"""Containers of pictures that nothing here encodes, and what to take instead."""

COUNTING = {"avi", "yuv4mpegpipe", "image2", "mpeg1video", "mpeg2video", "h264", "hevc", "mxf"}
"""Containers and encoders in which a time is the number of a frame."""

ROUNDED = Fraction(1, 5000)
"""By what share a rate may be off because times are rounded; 24 and 23.976 are further apart."""

RAW_MPEG = {"mpeg1video", "mpeg2video"}
"""Containers without any times, whose pictures follow each other at a rate of the encoder's."""

WITHOUT_START = {"avi"}
"""Containers whose tracks all begin at 0."""

CLOCKS = {"gif": Fraction(1, 100)}
"""Containers with a clock of their own, and its tick; no two frames have the same time."""

UNJOINED = {"apng"}
"""Encoders whose packets tell more than their bytes, so that segments of them cannot be joined."""

COARSEST = {"mpeg4": 65535}
"""Ticks a second that an encoder can count."""

NTSC = Fraction(1000, 1001)

MPEG1_RATES = (
    24 * NTSC,
    *map(Fraction, (24, 25)),
    30 * NTSC,
    *map(Fraction, (30, 50)),
    60 * NTSC,
    Fraction(60),
)
"""Frames a second in MPEG-1; FFmpeg lists more, which are no standard, and refuses them."""

MXF_RATES = (
    *(NTSC * rate for rate in (24, 30, 48, 60, 120)),
    *map(Fraction, (24, 25, 30, 48, 50, 60, 72, 75, 90, 96, 100, 120, 125)),
)
"""Frames a second that FFmpeg's muxer knows."""

SHAPING = {
    "libx264", "libx264rgb", "libx265", "mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "dvvideo", "gif",
    "exr", "h264_nvenc", "hevc_nvenc", "h264_qsv", "hevc_qsv", "h264_amf", "hevc_amf",
}  # fmt: skip
"""Encoders that write the shape of pixels into their stream: PyAV tells it to mp4 and mov alone."""

JPEG = {"mjpeg", "ljpeg"}
"""Encoders of JFIF pictures, which are full range and BT.601 by definition."""

LIGHT = {"exr", "hdr", "pfm"}
"""Encoders of linear light: see ``light``."""

STILLS = {"png", "tiff", "bmp", "gif", *LIGHT}
"""Encoders of pictures that are RGB, or grey and full range, to whoever reads them."""

SIDE_DATA = {
    "png": frozenset({PROFILE, CAMERA, ROTATION}),
    "mjpeg": frozenset({PROFILE, CAMERA, ROTATION}),
    "tiff": frozenset({ROTATION}),
}
"""Encoder -> the kinds of side data that it writes, if not closed captions and the like. The EXIF of JPEGs
is added by ``exif``."""

EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""How swscale converts to RGB without losing a level."""

PROBE = "matroska"
"""The container that an encoder is tried out for; any will do."""

HDR_TRANSFERS = {16, 18}
"""PQ and HLG, as code points of ITU-T H.273."""

RAW_FORMATS = [
    f"{layout}{depth}"
    for depth in ("", "10le", "12le", "16le")
    for layout in ("yuv420p", "yuv422p", "yuv444p", "gray")
]
"""What an encoder that names no format (rawvideo) is given."""


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """The encoder and how it is asked to work."""

    codec: str | None = None
    """None is what suits the container: libx264 where it can be."""
    crf: float | None = None
    """None is DEFAULT_CRF for an encoder that understands it."""
    preset: str | None = None
    pix_fmt: str | None = None
    """None keeps the source's depth and chroma layout, as far as the encoder can."""
    codec_options: tuple[tuple[str, str], ...] = ()
    """The encoder's own, by name."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder, settled for one film: from planes to packets."""

    codec: str
    planar: PixelFormat
    """Of the planes it is given."""
    pix_fmt: str
    """What it encodes; that planar format, but where it wants RGB or another layout."""
    matrix: int
    """Of the Y'CbCr that it encodes; code points of ITU-T H.273, as in ``info.Color``."""
    options: dict[str, str]
    full_range: bool
    notes: tuple[str, ...] = ()
    """What the picture loses on the way to it."""
    tags: tuple[int, int] = (2, 2)
    """Primaries and transfer."""
    aspect: Fraction | None = None
    """Width of a pixel to its height."""
    rate: Fraction | None = None
    tick: Fraction = Fraction(1, 25)
    """Seconds that a pts counts."""
    counts_frames: bool = False
    """Whether a pts is the number of a frame, for the container or the encoder know no other; or of a tick
    of the container's ``clock``."""
    clock: bool = False
    """Whether the container has a clock of its own: see CLOCKS."""
    source_matrix: int = 2
    origin: Fraction = Fraction(0)
    """When the output begins, in seconds of the source's clock: containers that count frames begin at 0."""

    @property
    def has_palette(self) -> bool:
        """Whether its pictures are RGB until they get a palette each: see ``gif.paletted``."""
        return av.VideoFormat(self.pix_fmt).has_palette

    @property
    def step(self) -> tuple[int, int]:
        """What the width and the height of its pictures have to be multiples of."""
        layouts = [self.planar.subsampling, describe(planar_name(self.pix_fmt), 0).subsampling]
        steps = [layout or (1, 1) for layout in layouts]
        return max(x for x, _ in steps), max(y for _, y in steps)

    def add_to(self, container: OutputContainer, size: tuple[int, int]) -> VideoStream:
        """Give ``container`` a stream of pictures of ``size``, and open it.

        Raises FFmpegError or ValueError if it will not have them.
        """
        stream = container.add_stream(self.codec, rate=self.rate or Fraction(25), options=self.options)
        assert isinstance(stream, VideoStream)
        stream.time_base = self.tick
        self._set(stream.codec_context, size, container.format.name)
        stream.codec_context.open()
        return stream

    def open_for(self, container: str, size: tuple[int, int]) -> VideoCodecContext:
        """The encoder as ``add_to`` opens it, without a container. ``container`` is FFmpeg's name of the
        one that its packets are for.

        Raises FFmpegError or ValueError if it will not have pictures of ``size``.
        """
        context = av.CodecContext.create(self.codec, "w")
        assert isinstance(context, VideoCodecContext)
        context.options = dict(self.options)
        self._set(context, size, container)
        if ContainerFlags.global_header in ContainerFlags(av.ContainerFormat(container, "w").flags):
            context.flags |= Flags.global_header
        context.framerate = self.rate or Fraction(25)
        context.open()
        return context

    def check(self, size: tuple[int, int]) -> None:
        """Open it on trial. Raises UsageError that says why it cannot, and which can."""
        reason = self._refusal(size)
        if reason is None:
            return
        width, height = size
        others = [name for name in SUGGESTED if name != self.codec and _opens(name, size)]
        raise UsageError(
            f"{self.codec} cannot encode {width}x{height} {self.pix_fmt} here: {reason};"
            f" {', '.join(others) or 'no other encoder'} can"
        )

    @property
    def converts(self) -> bool:
        """Whether the planes that it is given are not yet what it encodes."""
        return self.pix_fmt != self.planar.name or self.matrix != self.source_matrix

    @property
    def writes(self) -> frozenset[str]:
        """The kinds of side data of a picture that it writes."""
        return SIDE_DATA.get(self.codec, CAPTIONS)

    def left_out(self, kinds: frozenset[str]) -> list[str]:
        """What to tell of side data that it does not write."""
        lost = sorted((kinds & HIDDEN.keys()) - self.writes)
        return [f"the {kind} of the picture was left out: {self.codec} does not write it" for kind in lost]

    def frame(self, planes: Planes, extras: Extras | None = None) -> VideoFrame:
        """The picture to encode, or to give a palette. It takes over of ``extras`` what it can write: side
        data, or what is brighter than white."""
        source = None if extras is None else extras.frame
        is_bright = source is not None and is_light(source.format.name)
        carries = extras is not None and not is_bright and bool(extras.kinds & self.writes)
        picture = from_planes(planes, self.planar, source if carries else None)
        if not self.converts:
            return picture
        rgb = _is_rgb(self.pix_fmt)
        name = "bgra" if self.has_palette else self.pix_fmt
        if is_light(self.pix_fmt):
            name = "rgb48le" if rgb else "gray16le"
        picture = picture.reformat(
            format=name,
            src_colorspace=SCALER.get(self.source_matrix),
            dst_colorspace=SCALER.get(self.matrix) if not rgb else None,
            src_color_range=ColorRange.JPEG if self.planar.full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG if self.full_range else ColorRange.MPEG,
            interpolation=EXACT,
        )
        return as_light(picture, source) if is_light(self.pix_fmt) else picture

    def _set(self, context: VideoCodecContext, size: tuple[int, int], container: str) -> None:
        context.width, context.height = size
        context.pix_fmt = self.pix_fmt
        context.time_base = self.tick
        # PyAV takes the default away from the context of a stream, and headers may tell it.
        context.bit_rate = av.CodecContext.create(self.codec, "w").bit_rate or 0
        context.sample_aspect_ratio = self.aspect or Fraction(0, 1)
        context.color_range = ColorRange.JPEG if self.full_range else ColorRange.MPEG
        context.colorspace = self.matrix
        context.color_primaries, context.color_trc = self.tags
        context.thread_type, context.thread_count = "AUTO", ENCODER_THREADS
        context.flags |= Flags.frame_duration
        if container in ("avi", "mxf"):  # they count frames, and know no pts: no reordering either
            context.max_b_frames = 0
        if self.codec in QSCALE_CODECS:
            context.flags |= Flags.qscale
            context.global_quality = QSCALE

    def _refusal(self, size: tuple[int, int]) -> str | None:
        try:
            context = self.open_for(PROBE, size)
        except (av.FFmpegError, ValueError) as error:
            return self._said(size) or getattr(error, "strerror", None) or str(error)
        unknown = [name for name in self.options if name in context.options]
        return f"it knows no option {unknown[0]!r}" if unknown else None

    def _said(self, size: tuple[int, int]) -> str | None:
        """What FFmpeg tells of its refusal, which it tells its log alone."""
        av.logging.set_level(av.logging.ERROR)
        try:
            with av.logging.Capture() as log:
                self.open_for(PROBE, size)
        except (av.FFmpegError, ValueError):
            pass
        finally:
            # Not PANIC: that leaves a callback that wants the interpreter, in threads that others wait for.
            av.logging.set_level(None)
        return log[-1][2].strip(" .\n") if log else None


def check_encoder(encode: EncodeOptions, codec: str) -> None:
    """Raises UsageError for an encoder that there is not, or that cannot do what is asked of it."""
    names = _formats(codec)
    if encode.pix_fmt is not None and encode.pix_fmt not in names:
        raise UsageError(f"{codec} cannot write {encode.pix_fmt!r}; it can write {', '.join(names)}")
    if encode.crf is not None and codec not in CRF_CODECS:
        raise UsageError(f"{codec} knows no crf; {', '.join(sorted(CRF_CODECS))} do")
    known = av.CodecContext.create(codec, "w").supported_options
    options = {option.name for option in (*known.generic, *known.private)}
    asked = [name for name, _ in encode.codec_options] + (["preset"] if encode.preset else [])
    for name in asked:
        if codec == "gif" and name in gif.OPTIONS:
            raise UsageError(f"{name} cannot be set: every frame gets its own palette; leave it out")
        if name not in options:
            near = difflib.get_close_matches(name, options, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{codec} knows no option {name!r}{hint}")


def default_codec(container: str, suffix: str) -> str:
    """The encoder for a container, or a picture of that suffix, when nobody chose one.

    Raises UsageError where there is none."""
    if container in INSTEAD:
        others = " or ".join(INSTEAD[container])
        raise UsageError(f"{container} is for Theora, which nothing here encodes; write {others}")
    return DEFAULT_CODECS.get(container) or DEFAULT_CODECS.get(suffix.lower(), DEFAULT_CODEC)


def settle(
    info: VideoInfo, encode: EncodeOptions, codec: str, container: str, start: Fraction = Fraction(0)
) -> Encoder:
    """The encoder for a film in a container. ``codec`` is what ``encode`` names, or the default, and
    ``start`` where the clock of its frames begins, in seconds."""
    planar, pix_fmt = output_format(info.pixels, codec, encode.pix_fmt, info.is_rgb)
    rgb = _is_rgb(pix_fmt)
    full_range = planar.full_range or codec in JPEG or rgb
    matrix = Colorspace.ITU601 if codec in JPEG else info.color.matrix
    if rgb:
        matrix = 0  # H.273's code point of RGB
    options = {"preset": encode.preset} if encode.preset else dict(DEFAULT_OPTIONS.get(codec, {}))
    if codec in CRF_CODECS:
        options["crf"] = f"{DEFAULT_CRF if encode.crf is None else encode.crf:g}"
    if codec == "libx265":
        options["x265-params"] = "log-level=error"
    if codec in X264 and _has_avx512():
        options["x264-params"] = "asm=avx2"
    if codec == "ffv1":
        options |= {"level": "3", "slicecrc": "1"}  # damage to an archive is found, and stays in its slice
    if codec == "gif":
        options |= gif.OPTIONS
    if codec == "exr":
        options["compression"] = "zip16"
    if codec in LIGHT and info.color.transfer in HDR_TRANSFERS:
        raise UsageError(
            f"{codec} holds linear light, which PQ and HLG are not made into; take .png or .tif"
        )
    notes = _losses(info, codec, planar, pix_fmt)
    aspect = info.sample_aspect_ratio
    if aspect and codec == "gif":
        aspect = gif.nearest_aspect(aspect)
        if aspect != info.sample_aspect_ratio:
            was = info.sample_aspect_ratio
            notes.append(f"the shape of the pixels, {was}, became {aspect}: {codec} counts in 64ths")
    elif (aspect or 1) != 1 and container not in ("mp4", "mov") and codec not in SHAPING:
        notes.append(
            f"the shape of the pixels, {aspect}, was left out: {codec} in {container} cannot tell it"
        )
    if not info.hdr.is_empty:
        written = encoder_parameters(codec, info.hdr)
        if written is None:
            notes.append(f"HDR10 metadata was left out: {codec} does not write it")
        else:
            options[written[0]] = ":".join(filter(None, (options.get(written[0]), written[1])))
    for name, value in encode.codec_options:
        joined = name.endswith("-params") and name in options
        options[name] = f"{options[name]}:{value}" if joined else value
    tick = _tick(info, codec, container)
    encoder = Encoder(
        codec=codec,
        planar=planar,
        pix_fmt=pix_fmt,
        matrix=int(matrix),
        options=options,
        full_range=full_range,
        tags=(info.color.primaries, LINEAR if codec in LIGHT else info.color.transfer),
        aspect=aspect,
        rate=1 / tick if _rates(codec) else info.average_rate,
        tick=tick,
        counts_frames=bool({container, codec} & COUNTING) or container in CLOCKS,
        clock=container in CLOCKS,
        source_matrix=info.color.matrix,
        origin=max(start, Fraction(0)) if container in WITHOUT_START else Fraction(0),
    )
    if encoder.converts and planar.subsampling is not None and info.color.matrix not in SCALER:
        notes.append(
            f"the colours are not exact: FFmpeg cannot convert matrix {info.color.matrix} to {pix_fmt}"
        )
    return replace(encoder, notes=(*notes, *encoder.left_out(info.carries)))


def _has_avx512() -> bool:
    """Whether x264 would take its code for AVX-512, whose macroblock tree differs from run to run."""
    umath = importlib.import_module("numpy._core._multiarray_umath")
    return bool(umath.__cpu_features__.get("AVX512F"))


def _tick(info: VideoInfo, codec: str, container: str) -> Fraction:
    """The source's, but for what has its own, counts frames alone, or not so finely.

    Raises UsageError for a container that does not know the film's rate."""
    if container in CLOCKS:
        return CLOCKS[container]
    rate = info.steady_rate or Fraction(25)
    known = _rates(codec)
    held = MXF_RATES if container == "mxf" else known if container in RAW_MPEG else ()
    if held:
        exact = [one for one in held if _fits(rate, one) == 1]
        if not exact:
            there = ", ".join(f"{float(one):.5g}" for one in sorted(set(held)))
            raise UsageError(
                f"{container} cannot tell {float(rate):.5g} frames a second; take .mov or .mkv ({there} go)"
            )
        return 1 / exact[0]
    if known:  # a multiple of it, or the finest clock there is, beside whose ticks no time falls far
        return 1 / min((one for one in known if _fits(rate, one)), default=max(known))
    if container in COUNTING:
        return 1 / rate
    finest = COARSEST.get(codec, 1 << 31)
    if info.time_base.denominator > finest:
        # The frames of a steady film fall on its ticks, and those of any other hardly beside them.
        return Fraction(1, finest // rate.numerator * rate.numerator or finest)
    return info.time_base


def _rates(codec: str) -> tuple[Fraction, ...]:
    """The only frames a second that an encoder knows; none where it takes any."""
    if codec == "mpeg1video":
        return MPEG1_RATES
    return tuple(Fraction(str(rate)) for rate in av.Codec(codec, "w").frame_rates or ())


def _fits(rate: Fraction, clock: Fraction) -> int:
    """How many ticks of a ``clock``, ticks a second, each frame of a film lasts; 0 if that is no number."""
    ticks = round(clock / rate)
    return ticks if ticks and abs(clock / rate / ticks - 1) < ROUNDED else 0


def output_format(
    source: PixelFormat, codec: str, pix_fmt: str | None = None, is_rgb: bool = False
) -> tuple[PixelFormat, str]:
    """The format of the planes to make, and the name of the one to encode.

    They are the same but where the encoder, or ``pix_fmt``, wants a layout that is not the source's.
    ``is_rgb`` says that ``source`` was made of RGB.
    """
    names = _formats(codec)
    if pix_fmt is not None:
        name = pix_fmt
    elif source.name in names and not is_rgb:
        name = source.name
    else:
        name = min(names, key=lambda name: _distance(source, is_rgb, name))
    wanted = describe(planar_name(name), 0)
    if _is_rgb(name):
        # swscale takes all grey for full range.
        deep = PixelFormat(16, source.subsampling is None, source.subsampling)
        return deep if deep.exists else replace(deep, bits=source.bits), name
    full_range = source.full_range or name.startswith("yuvj") or codec in JPEG | STILLS
    made = PixelFormat(wanted.bits, full_range, source.subsampling)
    if not made.exists:
        made = PixelFormat(source.bits, full_range, source.subsampling)
    return made, name


def _losses(info: VideoInfo, codec: str, planar: PixelFormat, pix_fmt: str) -> list[str]:
    """What the picture loses on the way to the encoder."""
    notes = []
    encoded = av.VideoFormat(pix_fmt)
    if encoded.has_palette:
        notes.append(f"the colours became 256 in each frame: {codec} holds no more")
    elif info.is_rgb and not encoded.is_rgb:
        notes.append(f"{info.pix_fmt} became Y'CbCr {pix_fmt}")
    if is_light(info.pix_fmt) and codec not in LIGHT:
        notes.append(f"light brighter than white, where there is any, was cut off: {codec} holds none")
    if info.has_alpha:
        notes.append(f"the alpha plane of {info.pix_fmt} was left out")
    bits = max(component.bits for component in encoded.components)
    if bits < info.pixels.bits:
        notes.append(f"{info.pixels.bits} bit became {bits} bit: {codec} cannot do more")
    subsampling = describe(planar_name(pix_fmt), 0).subsampling
    across, down = info.pixels.subsampling or (64, 64)
    x, y = subsampling or (64, 64)
    if info.pixels.subsampling is not None and (x > across or y > down) and not info.is_rgb:
        notes.append(f"the colour of {info.pix_fmt} became coarser: {pix_fmt} is what {codec} writes")
    return notes


os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints how it is set up, unless told to print errors alone


def _opens(codec: str, size: tuple[int, int]) -> bool:
    try:
        _, pix_fmt = output_format(PixelFormat(8, False, (2, 2)), codec)
    except UsageError:
        return False
    plain = PixelFormat(8, False, (2, 2))
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    return Encoder(codec, plain, pix_fmt, 1, options, full_range=False)._refusal(size) is None


def _formats(name: str) -> list[str]:
    """The formats without alpha that an encoder takes."""
    try:
        codec = av.Codec(name, "w")
    except UnknownCodecError:
        raise UsageError(f"no encoder is called {name!r}; try {', '.join(SUGGESTED)}") from None
    if codec.type != "video":
        raise UsageError(f"{name} encodes {codec.type}; try {', '.join(SUGGESTED)}")
    names = [fmt.name for fmt in codec.video_formats or ()] or RAW_FORMATS
    if name in LIGHT:
        return [fmt for fmt in names if fmt in ("gbrpf32le", "grayf32le")]
    usable = [fmt for fmt in names if _is_usable(fmt) and (name not in STILLS or not fmt.startswith("yuv"))]
    if name == "gif":
        usable.append("pal8")
    if not usable:
        raise UsageError(f"{name} writes only {', '.join(names)}; try {', '.join(SUGGESTED)}")
    return usable


def _is_rgb(name: str) -> bool:
    """Whether a format is RGB, by itself or in its palette."""
    fmt = av.VideoFormat(name)
    return bool(fmt.is_rgb or fmt.has_palette)


def _is_usable(name: str) -> bool:
    fmt = av.VideoFormat(name)
    hardware = not fmt.components  # frames that live on a device
    return not (
        hardware
        or fmt.has_palette
        or fmt.is_bayer
        or name.startswith(("mono", "grayf", "gbrpf", "yaf"))
        or "byte" in name
        or "msb" in name
        or any(component.is_alpha for component in fmt.components)
        or min(component.bits for component in fmt.components) < 8
    )


def _distance(source: PixelFormat, is_rgb: bool, name: str) -> tuple[bool, int, bool, bool, int]:
    """How much of ``source`` is lost in ``name``, the worst first; then what is odd or wasteful."""
    target = describe(planar_name(name), 0)
    across, down = source.subsampling or SUBSAMPLING["444"]
    x, y = target.subsampling or (64, 64)
    loses_chroma = source.subsampling is not None and (x > across or y > down)
    is_other = av.VideoFormat(name).is_rgb != is_rgb
    plain = planar_name(name) == name and not name.startswith(("yuvj", "yuva"))
    room = target.bits + 10 * (across * down - x * y)
    return loses_chroma, max(0, source.bits - target.bits), is_other, not plain, room


def parse_codec_options(items: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """``KEY=VALUE`` of the command line, in order. Raises UsageError."""
    pairs = []
    for item in items:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise UsageError(f"{item!r} is no option of an encoder; write KEY=VALUE")
        pairs.append((key, value))
    return tuple(pairs)
