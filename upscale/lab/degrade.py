"""Old footage made out of new: what lenses, film, tape, scanners and encoders do to a picture.

    truth -> weave, flicker, fade -> lens -> smaller -> fields -> noise and dirt of film or tape -> perhaps
    sharpened -> perhaps a larger copy's encoder -> a real encoder

A ``Preset`` says within which ranges, a ``Recipe`` is drawn from it once for a clip, and frames differ by
what differs from frame to frame: noise, dirt, weave, flicker. What nobody could know afterwards (where the
gate held the frame, how bright the lamp was) happens to the truth as well, so that the two can be compared.

Ranges after Real-ESRGAN (Wang et al. 2021, https://arxiv.org/abs/2107.10833; kernels, noise, JPEG),
RealBasicVSR (Chan et al. 2022, https://arxiv.org/abs/2111.12704; video encoders), Bringing Old Films Back
to Life (Wan et al. 2022, https://arxiv.org/abs/2203.17276; scratches, dirt, flicker), DeepRemaster (Iizuka,
Simo-Serra 2019, https://arxiv.org/abs/2009.08692; film noise, contrast) and ntsc-rs (https://ntsc.rs; tape:
chroma delay and noise, ringing, dropouts). Grain is the autoregressive model of AV1's film grain synthesis
(Norkin, Birkbeck 2018)."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from upscale.media.pixels import PixelFormat, from_planes, to_planes
from upscale.planes import Planes

LEVEL = 1 / 255
"""One 8-bit level, in the luma range."""

GRAIN_LAG = 3
"""How far back, in rows and columns, a grain depends on others: AV1's largest."""

FRAME_RATE = 25

Range = tuple[float, float]
Plane = NDArray[np.float32]

ZERO: Range = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Preset:
    """Ranges that a recipe is drawn from. Lengths are in pixels of the small picture, noise in 8-bit
    levels."""

    kernels: tuple[str, ...] = ("area", "bicubic", "bilinear", "lanczos")
    """How the picture is made small; "sharp" is Lanczos with overshoot."""
    lens: Range = ZERO
    """Sigma of the lens's blur."""
    shake: Range = ZERO
    """Length of the blur of motion that is not the scene's own."""
    weave: Range = ZERO
    """Standard deviation of the place of the film in its gate."""
    flicker: Range = ZERO
    """Standard deviation of the exposure, as a share of it."""
    fade: Range = ZERO
    """Share of the contrast that is gone."""
    grey: float = 0.0
    """Probability of black and white."""
    orthochromatic: float = 0.0
    """Of those, probability of film that does not see red."""
    grain: Range = ZERO
    """Standard deviation of film grain in the midtones."""
    clumps: Range = (0.0, 0.8)
    """How much grains depend on their neighbours: the sum of the coefficients, below 1."""
    sensor: Range = ZERO
    """Standard deviation of white noise."""
    tape: Range = ZERO
    """Standard deviation of tape's noise, drawn out along the lines."""
    dust: Range = ZERO
    """Specks in 100,000 pixels of a frame."""
    hairs: Range = ZERO
    """Hairs in a frame."""
    scratches: Range = ZERO
    """Vertical scratches in 500 columns."""
    dropouts: Range = ZERO
    """White streaks of tape in a frame of 500 lines."""
    halo: Range = ZERO
    """Strength of analog sharpening."""
    bandwidth: Range = ZERO
    """Sigma of the blur along the lines."""
    chroma_blur: Range = ZERO
    """The same for colour, in luma pixels."""
    chroma_shift: Range = ZERO
    """How far colour is displaced, in luma pixels."""
    chroma_noise: Range = ZERO
    """Standard deviation of colour noise, in blotches."""
    interlaced: float = 0.0
    """Probability of fields that a deinterlacer blended."""
    encoders: tuple[tuple[str, float, float], ...] = ()
    """Encoder, best and worst quality (crf of libx264, quantiser of the others); one is drawn. A preset of
    libx264 may follow its name and a colon; veryfast otherwise."""
    sharpened: Range = ZERO
    """Strength of an unsharp mask, as cameras and editors put on."""
    copied: float = 0.0
    """Probability that this is the copy of a copy, which was larger, and went through an encoder, too."""


PRESETS = {
    "film16": Preset(
        lens=(0.1, 0.7), shake=(0, 1), weave=(0.05, 0.5), flicker=(0, 0.012), fade=(0, 0.25), grey=0.4,
        orthochromatic=0.1, grain=(2, 9), dust=(0, 12), hairs=(0, 0.15), scratches=(0, 0.8), halo=(0, 0.3),
        chroma_noise=(0, 3), encoders=(("libx264", 18, 28), ("mpeg2video", 2, 6), ("mpeg4", 2, 6)),
    ),
    "silent": Preset(
        lens=(0.2, 0.9), shake=(0, 1), weave=(0.1, 0.8), flicker=(0.005, 0.03), fade=(0, 0.4), grey=1.0,
        orthochromatic=0.7, grain=(3, 11), clumps=(0.2, 0.85), dust=(2, 35), hairs=(0, 0.4), scratches=(0,
        2.5), halo=(0, 0.5), interlaced=0.15, encoders=(("libx264", 20, 30), ("mpeg2video", 2, 8), ("mpeg4",
        2, 8)),
    ),
    "vhs": Preset(
        lens=(0.1, 0.5), weave=(0, 0.15), fade=(0, 0.2), sensor=(0.5, 3), tape=(2, 8), dropouts=(0, 0.6),
        halo=(0.2, 1.0), bandwidth=(0.3, 1.1), chroma_blur=(2, 6), chroma_shift=(0, 3), chroma_noise=(2, 8),
        interlaced=0.5, encoders=(("libx264", 20, 30), ("mpeg2video", 3, 9), ("mpeg4", 3, 9)),
    ),
    "dvd": Preset(
        kernels=("area", "bicubic", "lanczos", "sharp"), lens=(0, 0.6), grain=(0, 4), sensor=(0, 1.5),
        halo=(0, 0.6), chroma_blur=(0, 1), interlaced=0.25, encoders=(("mpeg2video", 3, 12),),
    ),
    "webcam": Preset(
        kernels=("bilinear", "area", "bicubic", "sharp"), lens=(0.1, 0.7), shake=(0, 1), flicker=(0, 0.004),
        sensor=(1.5, 9), halo=(0, 0.8), chroma_blur=(0, 2), chroma_noise=(1, 6),
        encoders=(("mjpeg", 3, 14), ("libx264", 22, 33), ("mpeg4", 3, 12)),
    ),
    "broadcast": Preset(
        kernels=("bicubic", "lanczos", "sharp"), lens=(0, 0.7), grain=(0, 5), sensor=(0, 3), halo=(0, 0.8),
        bandwidth=(0, 0.7), chroma_blur=(0.5, 2.5), chroma_shift=(0, 1), chroma_noise=(0, 2),
        interlaced=0.4, encoders=(("libx264", 22, 32), ("mpeg2video", 4, 12)),
    ),
    "web": Preset(
        lens=(0.1, 0.6), sensor=(0.5, 2), tape=(1, 5), halo=(0.1, 0.8), bandwidth=(0.2, 0.9),
        chroma_blur=(1, 5), chroma_shift=(0, 2), chroma_noise=(1, 5), interlaced=0.5, sharpened=(0, 0.8),
        copied=1.0, encoders=(("libx264", 22, 33), ("mpeg4", 3, 12), ("mjpeg", 3, 10)),
    ),
    "soft": Preset(
        kernels=("area", "bicubic", "lanczos", "sharp"), lens=(0.3, 1.3), sharpened=(0, 0.8),
        encoders=(("libx264:medium", 12, 22), ("libx264", 12, 20)),
    ),
    "light": Preset(
        kernels=("area", "bicubic", "lanczos", "sharp"), lens=(0, 0.4), grain=(0, 2), sensor=(0, 1.5),
        sharpened=(0, 0.3),
        encoders=(("libx264:medium", 12, 24), ("libx264", 12, 24), ("mpeg2video", 2, 4)),
    ),
}  # fmt: skip
"""Name -> what footage of that kind has been through."""

MEASURED = {name: PRESETS[name] for name in ("film16", "silent", "vhs", "dvd", "webcam", "broadcast")}
"""Those that tables of quality are of."""

CLEAN = Preset(kernels=("bicubic",))
"""The clean track: made small, and nothing else."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one clip went through: a ``Preset`` with numbers for ranges."""

    kernel: str
    lens: float
    shake: float
    shake_angle: float
    weave: float
    flicker: float
    fade: float
    black: float
    """Where the faded contrast begins, from 0 (all the loss is at white) to 1 (at black)."""
    grey: bool
    orthochromatic: bool
    grain: float
    grain_by_luma: tuple[float, float, float]
    """How strong grain is in black, midtones and white."""
    clumps: float
    sensor: float
    tape: float
    dust: float
    hairs: float
    scratches: float
    dropouts: float
    halo: float
    bandwidth: float
    chroma_blur: float
    chroma_shift: tuple[float, float]
    chroma_noise: float
    interlaced: bool
    encoder: str | None
    quality: float
    sharpened: float = 0.0
    first: tuple[str, float, float] | None = None
    """The encoder of the larger copy before it, its quality, and how much larger that was."""


LATER = (
    "kernels",
    "encoders",
    "grey",
    "orthochromatic",
    "interlaced",
    "chroma_shift",
    "sharpened",
    "copied",
)
"""Fields of a preset that are not drawn evenly from a range, or after all others, so that recipes stay what
they were before there were these."""

COPY_LARGER = (1.1, 2.0)
"""How much larger the copy before a copy was."""


def draw(preset: Preset, random: np.random.Generator) -> Recipe:
    """A recipe, every number evenly from its range."""
    drawn = {
        field.name: float(random.uniform(*getattr(preset, field.name)))
        for field in fields(preset)
        if field.name not in LATER
    }
    encoder, best, worst = (None, 0.0, 0.0)
    if preset.encoders:
        encoder, best, worst = preset.encoders[random.integers(len(preset.encoders))]
    grey = bool(random.random() < preset.grey)
    shift = random.uniform(*preset.chroma_shift)
    return Recipe(
        **drawn,
        kernel=str(random.choice(preset.kernels)),
        shake_angle=float(random.uniform(0, np.pi)),
        black=float(random.random()),
        grey=grey,
        orthochromatic=grey and bool(random.random() < preset.orthochromatic),
        grain_by_luma=(float(random.uniform(0.2, 1)), 1.0, float(random.uniform(0.1, 0.8))),
        chroma_shift=(float(shift), float(random.uniform(-0.3, 0.3) * shift)),
        interlaced=bool(random.random() < preset.interlaced),
        encoder=encoder,
        quality=float(random.uniform(best, worst)),
        sharpened=float(random.uniform(*preset.sharpened)),
        first=_first_encoder(preset, random) if random.random() < preset.copied else None,
    )


def _first_encoder(preset: Preset, random: np.random.Generator) -> tuple[str, float, float]:
    name, best, worst = preset.encoders[random.integers(len(preset.encoders))]
    return name, float(random.uniform(best, worst)), float(random.uniform(*COPY_LARGER))


@dataclass(frozen=True, slots=True)
class Aged:
    """One frame of a degraded clip."""

    picture: Planes
    """Small and old."""
    small: Planes
    """Small, through the same lens, without the noise, the dirt, the fields and the encoder."""
    truth: Planes
    """At its full size: what a restoration should come to."""


def degraded(
    frames: Iterable[Planes], recipe: Recipe, scale: int, seed: tuple[int, ...] | int
) -> Iterator[Aged]:
    """Each frame made old and ``scale`` times smaller, and beside it the truth at its full size.

    frames : luma [1, H, W] and chroma [2, H, W] or [2, H/2, W/2]; H and W are multiples of 2 * scale. The
    small ones are 4:2:0 in 8 bit, or grey. The same for the same recipe and seed."""
    random = np.random.default_rng(seed)
    ager = _Ager(recipe, scale, random)
    known: deque[tuple[Planes, Planes]] = deque()

    def small() -> Iterator[Planes]:
        for planes in frames:
            truth = ager.true(planes)
            known.append((ager.small(truth), truth))
            yield known[-1][0]

    pictures = small()
    if recipe.interlaced:
        pictures = _blended_fields(pictures)
    pictures = (ager.stained(picture) for picture in pictures)
    if recipe.first is not None:
        pictures = _copied(pictures, recipe, recipe.first)
    for picture in _encoded(pictures, recipe):
        yield Aged(picture, *known.popleft())


class _Ager:
    """What happens to each frame of one clip."""

    def __init__(self, recipe: Recipe, scale: int, random: np.random.Generator):
        self.recipe, self.scale, self.random = recipe, scale, random
        self._weave = np.zeros(2)
        self._grain: Plane | None = None
        self._scratches: list[list[float]] | None = None

    def true(self, planes: Planes) -> Planes:
        """What the clip shows before anything is lost: in its gate, in its light, in its colours."""
        recipe, random = self.recipe, self.random
        luma, chroma = planes[0][0], planes[1] if len(planes) > 1 else None
        if chroma is not None and chroma.shape[1:] != luma.shape:
            size = (luma.shape[1], luma.shape[0])
            chroma = np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in chroma])
        if recipe.orthochromatic and chroma is not None:  # 0.55 of green, 0.45 of blue
            luma = np.clip(luma + 0.61 * (chroma[0] - 0.5) - 0.39 * (chroma[1] - 0.5), 0, 1)
        if recipe.grey:
            chroma = None
        if recipe.weave:
            self._weave = 0.7 * self._weave + random.normal(0, recipe.weave * self.scale, 2)
            move = np.array([[1, 0, self._weave[0]], [0, 1, self._weave[1]]], np.float32)
            luma = _moved(luma, move)
            chroma = None if chroma is None else np.stack([_moved(plane, move) for plane in chroma])
        gain = (1 - recipe.fade) * (1 + random.normal(0, recipe.flicker))
        luma = luma * gain + recipe.fade * recipe.black
        if chroma is not None:
            chroma = (chroma - 0.5) * (1 - recipe.fade) + 0.5
        luma = luma.clip(0, 1).astype(np.float32)[np.newaxis]
        return (luma,) if chroma is None else (luma, chroma.astype(np.float32))

    def small(self, truth: Planes) -> Planes:
        """Through the lens, and made small; chroma at half of that."""
        recipe = self.recipe
        luma = truth[0][0]
        if recipe.lens > 0.1:
            luma = cv2.GaussianBlur(luma, (0, 0), recipe.lens * self.scale)
        if recipe.shake * self.scale >= 2:
            luma = cv2.filter2D(luma, -1, _line(recipe.shake * self.scale, recipe.shake_angle))
        height, width = luma.shape[0] // self.scale, luma.shape[1] // self.scale
        luma = _resized(luma, (width, height), recipe.kernel)[np.newaxis]
        if len(truth) == 1:
            return (luma,)
        half = (width // 2, height // 2)
        return luma, np.stack([_resized(plane, half, "area") for plane in truth[1]])

    def stained(self, planes: Planes) -> Planes:
        """With the noise and the dirt of film, sensor and tape."""
        recipe, random = self.recipe, self.random
        luma = planes[0][0].copy()
        if recipe.bandwidth > 0.1:
            luma = cv2.GaussianBlur(luma, (0, 0), sigmaX=recipe.bandwidth, sigmaY=0.01)
        if recipe.grain:
            strength = np.interp(luma, (0, 0.5, 1), recipe.grain_by_luma).astype(np.float32)
            luma += recipe.grain * LEVEL * strength * self._grain_of(luma.shape)
        self._dirty(luma)
        if recipe.sensor:
            luma += random.standard_normal(luma.shape, np.float32) * (recipe.sensor * LEVEL)
        if recipe.tape:
            noise = cv2.GaussianBlur(random.standard_normal(luma.shape, np.float32), (0, 0), 2, sigmaY=0.4)
            luma += noise * (recipe.tape * LEVEL / max(float(noise.std()), 1e-6))
        if recipe.halo:
            luma += recipe.halo * (luma - cv2.GaussianBlur(luma, (0, 0), 1.5, sigmaY=0.3))
        if recipe.sharpened:
            luma += recipe.sharpened * (luma - cv2.GaussianBlur(luma, (0, 0), 1.2))
        luma = luma.clip(0, 1)[np.newaxis]
        return (luma,) if len(planes) == 1 else (luma, self._stained_chroma(planes[1]))

    def _stained_chroma(self, chroma: NDArray[np.float32]) -> NDArray[np.float32]:
        recipe, answer = self.recipe, []
        across, down = recipe.chroma_shift
        move = np.array([[1, 0, across / 2], [0, 1, down / 2]], np.float32)
        for plane in chroma:
            if recipe.chroma_blur > 0.2:
                plane = cv2.GaussianBlur(
                    plane, (0, 0), recipe.chroma_blur / 2, sigmaY=recipe.chroma_blur / 8
                )
            if across:
                plane = _moved(plane, move)
            if recipe.chroma_noise:
                noise = self.random.standard_normal(plane.shape, np.float32)
                noise = cv2.GaussianBlur(noise, (0, 0), 1.5, sigmaY=0.8)
                plane = plane + noise * (recipe.chroma_noise * LEVEL / max(float(noise.std()), 1e-6))
            answer.append(plane)
        return np.stack(answer).clip(0, 1).astype(np.float32)

    def _grain_of(self, shape: tuple[int, ...]) -> Plane:
        """Another part of one large field for each frame, turned or mirrored: [H, W], deviation 1."""
        if self._grain is None:
            side = 1 << (max(shape) - 1).bit_length()
            self._grain = grain_field(side, self.recipe.clumps, self.random)
        field = np.roll(self._grain, self.random.integers(len(self._grain), size=2), (0, 1))
        return field[: shape[0], : shape[1]]

    def _dirty(self, luma: Plane) -> None:
        recipe, random = self.recipe, self.random
        height, width = luma.shape
        for _ in range(random.poisson(recipe.dust * luma.size / 1e5)):
            draw_speck(luma, random)
        for _ in range(random.poisson(recipe.hairs)):
            draw_hair(luma, random)
        if self._scratches is None:
            count = random.poisson(recipe.scratches * width / 500)
            self._scratches = [
                [
                    random.uniform(0, width),
                    random.normal(0, 0.3),
                    random.choice([-1, 1]) * random.uniform(0.05, 0.4),
                ]
                for _ in range(count)
            ]
        for scratch in self._scratches:
            scratch[0] += scratch[1] + random.normal(0, 0.2)
            columns = np.exp(-(((np.arange(width) - scratch[0]) / 0.7) ** 2))
            luma += (columns * scratch[2] * random.uniform(0.3, 1)).astype(np.float32)
        for _ in range(random.poisson(recipe.dropouts * height / 500)):
            row, left = int(random.integers(height)), int(random.integers(width))
            luma[row, left : left + int(random.integers(4, 60))] += random.uniform(0.2, 0.8)


def draw_speck(luma: Plane, random: np.random.Generator) -> None:
    """Black or white, of a radius of half a pixel to 4, somewhere on ``luma`` [H, W]."""
    centre = random.uniform((0, 0), luma.shape[::-1])
    radius = 0.5 * 2 ** random.uniform(0, 3)
    axes = (radius, radius * random.uniform(0.4, 1))
    mask = np.zeros(luma.shape, np.uint8)
    angle = float(random.uniform(0, 180))
    cv2.ellipse(mask, _fixed(centre), _fixed(axes), angle, 0, 360, 255, -1, cv2.LINE_AA, 4)
    _mark(luma, mask, random)


def draw_hair(luma: Plane, random: np.random.Generator) -> None:
    """A black or white one, a pixel wide, that turns as it goes."""
    turns = np.cumsum(random.normal(0, 0.5, 12)) + random.uniform(0, 2 * np.pi)
    steps = np.stack([np.cos(turns), np.sin(turns)], 1) * random.uniform(1.5, 5)
    path = random.uniform((0, 0), luma.shape[::-1]) + np.cumsum(steps, 0)
    mask = np.zeros(luma.shape, np.uint8)
    points = np.round(path * 16).astype(np.int32)[:, None]
    cv2.polylines(mask, [points], False, 255, 1, cv2.LINE_AA, 4)
    _mark(luma, mask, random)


def _mark(luma: Plane, mask: NDArray[np.uint8], random: np.random.Generator) -> None:
    soft = cv2.GaussianBlur(mask, (0, 0), 0.5).astype(np.float32) / 255
    colour = random.choice([0.02, 0.98]) + random.normal(0, 0.02)
    luma += soft * random.uniform(0.4, 1) * (np.float32(colour) - luma)


def grain_field(side: int, clumps: float, random: np.random.Generator) -> Plane:
    """Film grain [side, side], mean 0 and deviation 1, that wraps around: a grain depends on those before
    it.

    AV1's model is x = noise + sum of coefficients times the grains up to GRAIN_LAG rows above and columns
    beside. Its spectrum is that of the noise over |1 - A|², which gives the same field without going pixel
    by pixel. ``clumps`` is the sum of the coefficients' sizes, below 1."""
    places = [(-y, x) for y in range(GRAIN_LAG + 1) for x in range(-GRAIN_LAG, GRAIN_LAG + 1) if y or x < 0]
    sizes = np.array([(random.normal() * 0.3 + 0.7) * np.exp(-np.hypot(*place)) for place in places])
    sizes *= clumps / np.abs(sizes).sum()
    kernel = np.zeros((side, side))
    for (y, x), size in zip(places, sizes, strict=True):
        kernel[-y % side, -x % side] += size
    spectrum = np.fft.rfft2(random.standard_normal((side, side))) / (1 - np.fft.rfft2(kernel))
    field = np.fft.irfft2(spectrum, (side, side))
    field -= field.mean()
    return (field / field.std()).astype(np.float32)


def _blended_fields(pictures: Iterator[Planes]) -> Iterator[Planes]:
    """Every other line from the frame after, then blended down the columns, as cheap deinterlacers do."""
    before = next(pictures, None)
    while before is not None:
        after = next(pictures, None)
        luma = before[0][0].copy()
        if after is not None:
            luma[1::2] = after[0][0][1::2]
        kernel = np.array([[0.25], [0.5], [0.25]], np.float32)
        yield (cv2.filter2D(luma, -1, kernel)[np.newaxis], *before[1:])
        before = after


def _copied(
    pictures: Iterator[Planes], recipe: Recipe, first: tuple[str, float, float]
) -> Iterator[Planes]:
    """Through the encoder of a larger copy, and made smaller again."""
    encoder, quality, larger = first

    def sized(planes: Planes, size: tuple[int, int], kernel: int) -> Planes:
        sizes = [size, (size[0] // 2, size[1] // 2)]
        return tuple(
            np.stack([cv2.resize(one, wanted, interpolation=kernel) for one in plane])
            for plane, wanted in zip(planes, sizes, strict=False)
        )

    size: tuple[int, int] | None = None

    def enlarged() -> Iterator[Planes]:
        nonlocal size
        for planes in pictures:
            height, width = planes[0].shape[1:]
            size = width, height
            yield sized(
                planes, (round(width * larger / 2) * 2, round(height * larger / 2) * 2), cv2.INTER_CUBIC
            )

    for planes in _encoded(enlarged(), replace(recipe, encoder=encoder, quality=quality)):
        assert size is not None
        yield sized(planes, size, cv2.INTER_AREA)


def _encoded(pictures: Iterator[Planes], recipe: Recipe) -> Iterator[Planes]:
    """Through a real encoder and its decoder; rounded to 8 bit without one."""
    if recipe.encoder is None:
        yield from (to_planes(from_planes(planes, _format(planes, recipe))) for planes in pictures)
        return
    codec: tuple[av.VideoCodecContext, av.VideoCodecContext] | None = None
    for number, planes in enumerate(pictures):
        if len(planes) == 1:
            _, height, width = planes[0].shape
            planes = (planes[0], np.full((2, height // 2, width // 2), 0.5, np.float32))
        frame = from_planes(planes, _format(planes, recipe))
        frame.pts = number
        codec = codec or _codec(recipe, frame)
        yield from _through(codec, frame, recipe)
    if codec is not None:
        yield from _through(codec, None, recipe)


def _format(planes: Planes, recipe: Recipe) -> PixelFormat:
    return PixelFormat(8, recipe.encoder == "mjpeg", (2, 2) if len(planes) > 1 else None)


def _through(
    codec: tuple[av.VideoCodecContext, av.VideoCodecContext], frame: av.VideoFrame | None, recipe: Recipe
) -> Iterator[Planes]:
    """What the decoder gives when the encoder gets a frame; all that is left for None."""
    encoder, decoder = codec
    packets: list[av.Packet | None] = list(encoder.encode(frame))
    for packet in packets if frame is not None else [*packets, None]:
        for made in decoder.decode(packet):
            planes = to_planes(made)
            yield planes[:1] if recipe.grey else planes


def _codec(recipe: Recipe, frame: av.VideoFrame) -> tuple[av.VideoCodecContext, av.VideoCodecContext]:
    assert recipe.encoder is not None
    name, _, speed = recipe.encoder.partition(":")
    encoder = av.CodecContext.create(av.Codec(name, "w"))
    decoder = av.CodecContext.create(av.Codec(name.replace("libx264", "h264"), "r"))
    assert isinstance(encoder, av.VideoCodecContext)
    assert isinstance(decoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FRAME_RATE), Fraction(FRAME_RATE)
    encoder.color_range = frame.color_range
    encoder.thread_count = decoder.thread_count = 1
    if name == "libx264":
        encoder.options = {"crf": f"{recipe.quality:.1f}", "preset": speed or "veryfast"}
    else:
        # PyAV's frames carry no quality, without which FFmpeg's own fixed quantiser is the finest.
        quantiser = str(round(recipe.quality))
        encoder.options = {"strict": "-1", "g": "12", "qmin": quantiser, "qmax": quantiser}
    return encoder, decoder


def _resized(plane: Plane, size: tuple[int, int], kernel: str) -> Plane:
    """[H, W] made ``size`` (width, height) small, without aliasing."""
    if kernel == "area":
        return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    ratio = plane.shape[1] // size[0]
    # A small pixel's centre is at a large one's, or, if the ratio is even, half a pixel behind it.
    taps = np.arange(-3 * ratio, 3 * ratio + 1) - (0 if ratio % 2 else 0.5)
    at = np.abs(taps / ratio)
    if kernel == "bilinear":
        weights = np.clip(1 - at, 0, None)
    elif kernel == "bicubic":
        near, far = ((1.5 * at - 2.5) * at) * at + 1, ((-0.5 * at + 2.5) * at - 4) * at + 2
        weights = np.where(at < 1, near, np.where(at < 2, far, 0))
    else:
        weights = np.where(at < 3, np.sinc(at) * np.sinc(at / 3), 0)
    weights = weights / weights.sum()
    blurred = cv2.sepFilter2D(plane, -1, weights, weights, borderType=cv2.BORDER_REFLECT)
    first = (ratio - 1) // 2
    answer = np.ascontiguousarray(blurred[first::ratio, first::ratio])
    if kernel == "sharp":
        answer += 0.3 * (answer - cv2.GaussianBlur(answer, (0, 0), 1.0))
    return answer


def _moved(plane: Plane, move: NDArray[np.float32]) -> Plane:
    size = (plane.shape[1], plane.shape[0])
    return cv2.warpAffine(plane, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def _line(length: float, angle: float) -> Plane:
    side = int(length) // 2 * 2 + 3
    kernel = np.zeros((side, side), np.uint8)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    middle = np.array([side // 2, side // 2])
    cv2.line(kernel, _fixed(middle - reach), _fixed(middle + reach), 255, 1, cv2.LINE_AA, 4)
    return kernel.astype(np.float32) / np.float32(max(int(kernel.sum()), 1))


def _fixed(point) -> tuple[int, int]:  # type: ignore[no-untyped-def]
    """A place with sub-pixels, as OpenCV wants it with a shift of 4."""
    return round(float(point[0]) * 16), round(float(point[1]) * 16)
