"""One film from end to end: read, align, sample, write, a frame at a time.

    frames -> steadied, deflickered, windowed -> Colorist -> Upscaler -> larger planes -> picture -> Writer
    '--------------- a thread ---------------'    '-------------- the main thread --------------'   a thread

Memory does not grow with the length of the film: the window holds a few frames, and no more than two wait
between the stages.
"""

import contextlib
import functools
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from av.packet import Packet

from upscale.belt import overlap
from upscale.color.film import check_grey, check_installed, settled, with_colors
from upscale.color.options import ColorOptions
from upscale.errors import UpscaleError, UsageError
from upscale.keys import Cuts, Keys, Read, find_shot
from upscale.media.frame import Frame, Key
from upscale.media.info import VideoInfo
from upscale.media.part import BEGINNING, Stretch
from upscale.media.picture import is_sequence
from upscale.media.pipe import STANDARD
from upscale.media.read.index import index_film
from upscale.media.read.source import ReadOptions, Source, samples
from upscale.media.write.destination import Destination, destination
from upscale.media.write.encoder import (
    DEFAULT_CODEC,
    UNJOINED,
    EncodeOptions,
    check_encoder,
    default_codec,
    settle,
)
from upscale.media.write.packets import Pictures, Track
from upscale.media.write.place import check_place
from upscale.media.write.writer import Writer
from upscale.models.catalog import MODELS, find_model
from upscale.motion.deflicker import RADIUS as DEFLICKER_RADIUS
from upscale.motion.deflicker import deflickered
from upscale.motion.findings import Findings
from upscale.motion.runs import Context, Place
from upscale.motion.steady import RADIUS as STEADY_RADIUS
from upscale.motion.steady import steadied
from upscale.motion.window import Gather, gather, windowed
from upscale.planes import REACH, Box, Planes
from upscale.sampling.map import MapView, map_info
from upscale.sampling.options import SampleOptions
from upscale.sampling.process import leave_cores_to_encoders
from upscale.spans import span

if TYPE_CHECKING:
    from upscale.color.colorist import Colorist

LARGEST_SCALE = 8

FIELDS = 2
"""Frames that a deinterlacer looks back to."""

JUDGED_FOR = 480
"""Frames of a shot for which the judgement of the first of them holds, at most; a multiple of LONGEST_RUN,
as runs end there."""

ROUNDED = Fraction(1, 100)
"""Of a frame: rates are rounded, and a part that ends with a frame has none after it."""

MAP_PRESET, MAP_CRF = "ultrafast", 24
"""Of libx264, for a map: it is smooth, and to be had for a small part of the film's cost and size."""

STAGES = ("load", "decode", "align", "color", "model", "pack", "encode")
"""What time goes into: loading the networks; then, beside each other, decoding with aligning, colouring and
the model with the packing of its floats into pixels, and encoding."""

THREADS = {"decode": ("decode", "align"), "model": ("color", "model", "pack"), "encode": ("encode",)}
"""Thread -> the stages that it does one after the other."""

LIMIT_OVER = 2.0
"""Seconds over which ``Limit`` compares them."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with one film."""

    source: Path
    target: Path
    scale: float = 4.0
    height: int | None = None
    """Output height in pixels, instead of a scale."""
    segment: Fraction = Fraction(10)
    """Seconds of film that are finished, and kept, at a time; 0 for all in one go."""
    restart: bool = False
    """Whether to throw away what an earlier run has finished."""
    start: Fraction | None = None
    duration: Fraction | None = None
    """In seconds; None for the whole film."""
    overwrite: bool = False
    format: str | None = None
    """FFmpeg's name of the container; None for the one that the target's name means."""
    stabilize: bool = False
    """Hold still what did not stand still in its gate."""
    deflicker: bool = False
    """Even out brightness that pumps."""
    dirt: float | None = None
    """How much is taken for dirt and taken away, from 0 to 1; None for ``motion.dirt.AUTO`` where a model
    looks at several frames, and the shot is not clean."""
    map: Path | None = None
    """Where a map goes of how far each pixel may be from the truth; None for no map."""
    strict: bool = False
    """Whether to stop rather than leave out, convert or lose anything."""
    read: ReadOptions = field(default_factory=ReadOptions)
    color: ColorOptions = field(default_factory=ColorOptions)
    sample: SampleOptions = field(default_factory=SampleOptions)
    encode: EncodeOptions = field(default_factory=EncodeOptions)

    @property
    def sources(self) -> list[Path]:
        """All files that are read."""
        film = [] if self.source == STANDARD else [self.source]
        return film + [reference.path for reference in self.color.references]

    def picture(self, info: VideoInfo) -> VideoInfo:
        """The source as the networks are to enlarge it."""
        return with_colors(info) if self.color.wanted else info


class Enlarger(Protocol):
    """What makes planes larger."""

    @property
    def ahead(self) -> int:
        """Frames to begin before the answer to the first of them is asked for."""

    @property
    def reused(self) -> int:
        """Frames that were, bit for bit, the one before."""

    @property
    def reused_tiles(self) -> int:
        """Tiles of other frames for which that is true."""

    @property
    def notes(self) -> Collection[str]:
        """What a user should know of how it went."""

    @property
    def arithmetic(self) -> str:
        """How it computes, as far as its answers depend on that: a precision and a device."""

    @property
    def window(self) -> int:
        """Frames on each side that it wants to know of: see ``motion.window.windowed``; 0 for none."""

    def begin(self, planes: Planes, time: int = 0) -> Callable[[], Planes]:
        """Set to work on a frame at ``time``, in ticks; a call of the answer waits for the larger one. May
        be called by several threads."""

    def detail(self, planes: Planes, box: Box) -> Planes:
        """The part ``box`` of the answer to a frame."""


@dataclass(slots=True)
class Stages:
    """Seconds for which each stage was at work."""

    busy: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def timed(self, stage: str, work: Callable[[], Result]) -> Result:
        """Do the work of a stage."""
        began = time.monotonic()
        try:
            with span(stage):
                return work()
        finally:
            self.busy[stage] += time.monotonic() - began

    def timed_each(
        self, stage: str, items: Iterator[Result], within: str | None = None
    ) -> Iterator[Result]:
        """The items, and the time that each takes to come; without what ``within`` took meanwhile."""
        nothing = object()
        while True:
            inner = self.busy[within] if within else 0.0
            item = self.timed(stage, lambda: next(items, nothing))
            if within:
                self.busy[stage] -= self.busy[within] - inner
            if item is nothing:
                return
            yield item  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Step:
    """How far a run is, after a frame was encoded."""

    frames: int
    """That are done."""
    at: float
    """The time of this one, in seconds on the film's clock."""
    limit: str
    """See ``Limit``."""


class Limit:
    """Which of the threads that work beside each other holds up the others: decode, model or encode."""

    def __init__(self, stages: Stages):
        self._stages = stages
        self._since, self._busy = time.monotonic(), dict(stages.busy)
        self._name = ""

    def find(self) -> str:
        """The one that was at work for most of the last seconds; empty for the first of them."""
        now = time.monotonic()
        if now - self._since >= LIMIT_OVER:
            busy = dict(self._stages.busy)
            grown = {
                name: sum(busy[stage] - self._busy[stage] for stage in stages)
                for name, stages in THREADS.items()
            }
            self._since, self._busy, self._name = now, busy, max(grown, key=grown.__getitem__)
        return self._name


@dataclass(slots=True)
class Networks:
    """All networks of a job, opened for frames of one size."""

    enlarger: Enlarger
    colorist: "Colorist | None" = None

    @property
    def arithmetic(self) -> str:
        """How they compute, as far as their answers depend on that."""
        colours = f", colours in {self.colorist.arithmetic}" if self.colorist is not None else ""
        return self.enlarger.arithmetic + colours

    def take_unlike(self) -> list[int]:
        """The pts of the key frames that no reference served, since the last time that this was asked."""
        if self.colorist is None:
            return []
        unlike, self.colorist.unlike = sorted(self.colorist.unlike), set()
        return unlike

    def begin(self, frame: Frame, stages: Stages) -> Callable[[], Planes]:
        """Set to work on a frame; a call of the answer waits for the larger one."""
        if self.colorist is not None:
            frame = stages.timed("color", functools.partial(self.colorist, frame))
        return stages.timed("model", functools.partial(self.enlarger.begin, frame.planes, frame.pts))


@dataclass(slots=True)
class Summary:
    """What was done with one film."""

    job: Job
    info: VideoInfo
    size: tuple[int, int]
    """Width and height of the output."""
    expected: int | None = None
    """Frames that the source seems to have, where it tells."""
    frames: int = 0
    lost: int = 0
    """Frames that the source could not give, those for which a neighbour stands in among them."""
    damaged: bool = False
    """Whether anything of the source, picture or sound, could not be read."""
    reused: int = 0
    """Frames that were, bit for bit, the one before, and cost nothing."""
    reused_tiles: int = 0
    """Tiles of other frames for which that is true; counted for luma and for chroma."""
    found: Findings = field(default_factory=Findings)
    """Noise, flicker, dirt and the like, where they were looked for."""
    seconds: float = 0.0
    stages: Stages = field(default_factory=Stages)
    arithmetic: str = ""
    """The precision and the device that it was computed in, on which its last bits depend."""
    pace: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the run began, and frames that it had done by then."""
    segments: int = 0
    """That the film was computed in; 0 for one that was made in one go."""
    resumed: int = 0
    """Frames that an earlier run had done."""
    layers: dict[str, float] = field(default_factory=dict)
    """Kind of layer -> its share of the networks' time, where ``--profile`` asked for it."""
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For a script; seconds, pixels and counts."""
        noise, flicker, dirt = self.found.noise, self.found.flicker, self.found.dirt
        condition, weave = self.found.condition, self.found.weave
        return {
            "input": str(self.job.source),
            "output": str(self.job.target),
            "input_size": [self.info.width, self.info.height],
            "output_size": list(self.size),
            "map": self.job.map and str(self.job.map),
            "color": self.job.color.color,
            "model": self.job.sample.model,
            "temperature": self.job.sample.temperature,
            "seed": self.job.sample.seed,
            "noise_levels": {
                "luma": [round(level, 2) for level in noise.luma],
                "chroma": [round(level, 2) for level in noise.chroma],
            },
            "flicker": {"before": flicker.before, "after": flicker.after} if flicker.frames else None,
            "weave": {"pictures": weave.pictures, "moved": weave.moved, "pixels": round(weave.pixels, 2)}
            if weave.pictures
            else None,
            "dirt": {"pictures": dirt.pictures, "dirty": dirt.dirty, "share": round(dirt.share, 6)}
            if dirt.pictures
            else None,
            "clean": {"pictures": condition.pictures, "clean": condition.clean}
            if condition.pictures
            else None,
            "expected_frames": self.expected,
            "frames": self.frames,
            "lost_frames": self.lost,
            "segments": self.segments,
            "resumed_frames": self.resumed,
            "reused_frames": self.reused,
            "reused_tiles": self.reused_tiles,
            "arithmetic": self.arithmetic,
            "seconds": round(self.seconds, 3),
            "busy_seconds": {name: round(busy, 3) for name, busy in self.stages.busy.items()},
            "layer_shares": {kind: round(share, 4) for kind, share in self.layers.items()} or None,
            "warnings": self.warnings,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """A job that can be done, with its film open."""

    job: Job
    source: Source
    tracks: tuple[Track, ...]
    """What is made of its frames; the film itself comes first."""
    destinations: tuple[Destination, ...]
    """Where each of them goes."""
    summary: Summary
    """What would be done."""

    def writer(self, track: int = 0) -> Writer:
        """A new writer of a track. The first one gets all that the film holds besides its picture."""
        encoder, info, size = self.tracks[track].encoder, self.summary.info, self.summary.size
        if track:
            return Writer(self.destinations[track], info, size, encoder)
        cargo = self.source.cargo
        part = self.source.part(self.job.start, self.job.duration)
        chapters = part.chapters(list(cargo.chapters))
        return Writer(self.destinations[0], info, size, encoder, cargo, chapters)


@contextlib.contextmanager
def prepared(job: Job) -> Iterator[Plan]:
    """Check all that is cheap to check, open the film, and say what would be done.

    Raises UpscaleError or UsageError.
    """
    find_model(job.sample.model)
    job.color.check()
    if job.color.wanted:
        check_installed()
    try:
        if job.source != STANDARD and not job.source.exists() and not is_sequence(job.source):
            raise UpscaleError(f"{job.source}: no such file")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UpscaleError(f"{error.filename}: {error.strerror}") from error
    check_overwriting(job)
    target = destination(job.target, job.format)
    codec = job.encode.codec or default_codec(target.container, job.target.suffix)
    check_encoder(job.encode, codec)
    with Source(job.source, job.read) as source:
        info = source.info
        asked = replace(job.sample, spread=job.map is not None)
        job = replace(job, sample=settled_sample(asked, info.is_picture))
        check_dirt(job.dirt, job.sample)
        info = job.picture(info)
        notes: list[str] = []
        if job.color.wanted:
            job, notes = settled_color(job, source)
        is_whole = job.start is None and job.duration is None
        begins = info.start if is_whole else Fraction(0)
        encoder = settle(info, job.encode, codec, target.container, begins)
        size = output_size(info, job, encoder.step)
        encoder.check(size)
        if codec in UNJOINED:
            job = replace(job, segment=Fraction(0))
        find_model(job.sample.model).stages(max(size[0] / info.width, size[1] / info.height))
        if job.strict and encoder.notes:
            raise UpscaleError(f"{job.target}: {encoder.notes[0]}, which --strict forbids")
        notes += encoder.notes
        tracks, destinations = [Track(encoder, target.container, as_it_is)], [target]
        if job.map is not None:
            destinations.append(destination(job.map))
            if destinations[-1].holds_one_picture and not info.is_picture:
                name = f"{job.map.stem}.mp4 or {job.map.stem}%05d{job.map.suffix}"
                raise UsageError(f"{job.map}: holds one picture; the map of a film goes to {name}")
            tracks.append(map_track(info, size, destinations[-1], begins))
        if source.crop is not None and job.read.crop == "auto":
            notes.append(f"black borders were cut off: --crop {source.crop}")
        yield Plan(
            job,
            source,
            tuple(tracks),
            tuple(destinations),
            Summary(job, info, size, expected_frames(info, job), warnings=notes),
        )


def as_it_is(frame: Frame) -> Frame:
    """The view of a film's own track: see ``Track``."""
    return frame


def map_track(info: VideoInfo, size: tuple[int, int], target: Destination, begins: Fraction) -> Track:
    """The track of a map of pictures of ``size``, whose clock begins at ``begins`` seconds; its encoder is
    to cost little."""
    info = map_info(info, size, target.container == "image2")
    codec = default_codec(target.container, target.path.suffix)
    options = EncodeOptions(crf=MAP_CRF, preset=MAP_PRESET if codec == DEFAULT_CODEC else None)
    encoder = settle(info, options, codec, target.container, begins)
    encoder.check(size)
    return Track(encoder, target.container, MapView(info.pixels))


def check_overwriting(job: Job) -> None:
    """Raises UsageError or UpscaleError where the film or its map cannot be written, or something stands
    that is to stay."""
    if job.target != STANDARD:
        check_place(job.target, job.overwrite, job.sources, skipping=", or -n to skip it")
    if job.map is None:
        return
    if STANDARD in (job.map, job.target):
        raise UsageError("--map writes a second film; give it and OUTPUT names")
    check_place(job.map, job.overwrite, job.sources, {"OUTPUT": job.target})


def output_size(info: VideoInfo, job: Job, step: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the output, multiples of ``step``: even where chroma is subsampled, say.

    Raises UsageError where that is smaller than the source, more than 8 times as large, or no larger
    although it was to be."""
    scale, height = job.scale, job.height
    wanted = height / info.height if height is not None else scale
    if not 1 <= wanted <= LARGEST_SCALE:  # false for a NaN too
        given = f"a height of {height}" if height is not None else f"a scale of {scale:g}"
        raise UsageError(
            f"{given} is out of range for {info.width}x{info.height}: take 1 to {LARGEST_SCALE} times"
        )
    factor = Fraction(scale)
    if height is not None:  # the width follows the height that it can be
        factor = Fraction(max(round(height / step[1]), 1) * step[1], info.height)

    def scaled(length: int, multiple: int) -> int:
        return max(round(length * factor / multiple), 1) * multiple

    size = scaled(info.width, step[0]), scaled(info.height, step[1])
    if wanted > 1 and (size[0] <= info.width or size[1] <= info.height):
        raise UsageError(f"that leaves {info.width}x{info.height} as it is; enlarge it more")
    return size


def expected_frames(info: VideoInfo, job: Job) -> int | None:
    """How many frames the job will make, as far as the container tells."""
    whole = info.expected_frames
    if whole is None or (job.start is None and job.duration is None) or not info.average_rate:
        return whole
    part = max(whole - int((job.start or 0) * info.average_rate), 0)
    return (
        part if job.duration is None else min(part, math.ceil(job.duration * info.average_rate - ROUNDED))
    )


def run(plan: Plan, on_frame: Callable[[Step], None] = lambda step: None) -> Summary:
    """Do what was prepared. ``on_frame`` is told how far it is after each frame.

    Raises UpscaleError if nothing can be written; where only a part of the source could be read, that
    part is written, and ``Summary.lost`` and ``warnings`` say what is missing.
    """
    job, source, info, size = plan.job, plan.source, plan.summary.info, plan.summary.size
    summary = replace(plan.summary, warnings=list(plan.summary.warnings))
    began = time.monotonic()
    with contextlib.ExitStack() as exits:
        # The film's own is the last to be opened, and so the first to get its final name.
        numbers = reversed(range(len(plan.tracks)))
        *beside, writer = [exits.enter_context(plan.writer(number)) for number in numbers]
        writers = [writer, *reversed(beside)]
        for one in writers:
            forbid([*source.notes, *one.notes], job)
        # After the writer: an encoder or a container that refuses says so before a model loads.
        stages = summary.stages
        networks = stages.timed("load", lambda: open_networks(job, info, size))
        model = networks.enlarger
        limit = Limit(stages)

        found = Findings()

        def read(put: Callable[[Frame | Packet], None]) -> None:
            frames = stages.timed_each("decode", source.frames(job.start, job.duration, put))
            keys = Keys(cuts=Cuts(shot_period(job, info))) if follows_keys(job, model.window) else None
            frames = aligned(frames, model.window, job, found, info, keys=keys)
            for frame in stages.timed_each("align", frames, within="decode"):
                put(frame)

        def pictures(larger: Frame) -> Pictures:
            pairs = zip(writers, plan.tracks, strict=True)
            return tuple(writer.picture(track.view(larger)) for writer, track in pairs)

        def enlarge(items: Iterator[Frame | Packet]) -> Iterator[Pictures | Packet]:
            begun: deque[tuple[Frame, Callable[[], Planes]]] = deque()

            def next_pictures() -> Pictures:
                frame, answer = begun.popleft()
                larger = replace(frame, planes=stages.timed("model", answer))
                return stages.timed("pack", lambda: pictures(larger))

            for item in items:
                if isinstance(item, Packet):
                    yield item
                    continue
                begun.append((item, networks.begin(item, stages)))
                if len(begun) > model.ahead:
                    yield next_pictures()
            while begun:
                yield next_pictures()

        def write(item: Pictures | Packet) -> None:
            if isinstance(item, Packet):
                stages.timed("encode", lambda: writer.copy(item))
                return
            at = float((item[0].pts or 0) * (item[0].time_base or 0))  # before an encoder's own clock
            for one, picture in zip(writers, item, strict=True):
                stages.timed("encode", functools.partial(one.write, picture))
            summary.frames += 1
            on_frame(Step(summary.frames, at, limit.find()))

        def release() -> None:
            source.stop()
            for destination in plan.destinations:
                destination.stop()

        overlap(read, enlarge, write, lambda item: not isinstance(item, Packet), release)
        summary.reused, summary.reused_tiles = model.reused, model.reused_tiles
        summary.warnings += [*sorted(model.notes), *tell_unlike(networks.take_unlike())]
        if summary.frames == 0:
            raise UpscaleError(nothing_read(job, source.info, source.losses.reasons))
        damage = [f"{job.source} is damaged: {what}" for what in writer.damage]
        if source.losses.frames or source.losses.reasons:
            lost = f"{source.losses.frames} frames" if source.losses.frames else "something"
            damage.append(
                f"{job.source} is damaged: {lost} could not be read"
                f"{because(source.losses.reasons)}; {summary.frames} frames were written"
            )
        for one in writers:
            forbid([*source.notes, *one.notes, *damage], job)
    summary.seconds = time.monotonic() - began
    summary.lost = source.losses.frames
    summary.damaged = bool(damage)
    told = dict.fromkeys(note for one in writers for note in one.notes)
    summary.warnings += [*told, *source.notes, *dict.fromkeys(source.remarks), *damage]
    summary.found, summary.arithmetic = found, networks.arithmetic
    return summary


def aligned(
    frames: Iterator[Frame],
    window: int,
    job: Job,
    found: Findings,
    info: VideoInfo,
    since: int | None = None,
    until: int | None = None,
    keys: Keys | None = None,
) -> Iterator[Frame]:
    """Frames with the planes that a model wants to see: of a ``window`` of so many on each side, or their
    own; held still and evened out before, and without dirt, as the ``job`` asks for. ``found`` is told what
    was met. With ``keys`` each has that of its shot.

    Frames before ``since`` and from ``until`` on (in ticks) are context for the others; theirs are not
    worked out."""
    typical = ticks_of_a_frame(info.average_rate, info.time_base)

    def through(frames: Iterator[Frame], stage: Callable[..., Iterator[Planes]]) -> Iterator[Frame]:
        waiting: deque[Frame] = deque()
        places: deque[Place] = deque()

        def pictures() -> Iterator[Planes]:
            for frame in frames:
                # Not the planes: many frames may wait for the end of a run of equal ones.
                waiting.append(replace(frame, planes=()))
                begins = None if keys is None else keys.begins_shot(frame)
                is_wanted = (since is None or frame.pts >= since) and (until is None or frame.pts < until)
                places.append(Place(frame.pts // typical, begins, is_wanted))
                yield frame.planes

        for planes in stage(pictures(), places=iter(places.popleft, None)):
            yield replace(waiting.popleft(), planes=planes)

    key = None if keys is None else keys.key
    if keys is not None:
        frames = keys.watched(frames)
    if job.stabilize:
        frames = through(frames, functools.partial(steadied, weave=found.weave))
    if job.deflicker:
        frames = through(frames, functools.partial(deflickered, flicker=found.flicker))
    if window:
        stage = functools.partial(
            windowed,
            found=found,
            radius=window,
            dirt=job.dirt,
            judged=is_judged(job),
            clean=None if key is None else key.is_clean,
            gather=gather_on(job.sample.device),
        )
        frames = through(frames, stage)
    return frames if keys is None else keys.marked(frames)


def gather_on(device: str) -> Gather:
    """What works out a window for the networks of that ``device``: a GPU, if it is NVIDIA's, itself.

    Raises UsageError if the device is not there."""
    from upscale.sampling.upscaler import choose_device  # here, as it loads torch

    chosen = choose_device(device)
    if chosen.type != "cuda":
        return gather
    from upscale.motion.device import DeviceWindow

    return DeviceWindow(chosen)


def is_judged(job: Job) -> bool:
    """Whether shots that are clean are to be left as they came: where nobody said how much is noise. What
    weaves was film; and to move it takes off some of the noise by which that could be told."""
    return job.sample.denoise is None and not job.stabilize


def follows_keys(job: Job, window: int) -> bool:
    """Whether frames follow the key frame of their shot, for a model of that ``window``."""
    return job.color.wanted or (window > 0 and is_judged(job))


def shot_period(job: Job, info: VideoInfo) -> int | None:
    """See ``keys.Cuts``: colours have to stay the same for as long as a shot lasts, but to judge it anew is
    cheaper than to look for its beginning."""
    return None if job.color.wanted else JUDGED_FOR * ticks_of_a_frame(info.average_rate, info.time_base)


def context_of(job: Job) -> Context:
    """What has to be read before a frame for it to be what it is in the whole film."""
    frames = FIELDS + (DEFLICKER_RADIUS + 1 if job.deflicker else 0)
    return Context(frames, REACH + (STEADY_RADIUS if job.stabilize else 0))


def tell_unlike(shots: Collection[int]) -> list[str]:
    """What to tell of shots that no reference serves."""
    if not shots:
        return []
    which = "1 shot is" if len(shots) == 1 else f"{len(shots)} shots are"
    return [f"{which} like no reference, and none was given for a time in it: the colours were sampled"]


def find_key(
    job: Job, info: VideoInfo, opened: Callable[[], Source], window: int, begin: int, jump: bool
) -> Key | None:
    """The key frame of the shot of the first frame at or after ``begin``, in ticks of the film's clock (of
    its part's, where there is one); None if there is no such frame.

    ``opened`` opens the film once more; ``jump`` says whether one may jump in it."""
    typical = ticks_of_a_frame(info.average_rate, info.time_base)
    found = find_shot(reader(job, opened, jump), begin, typical, shot_period(job, info))
    return None if found is None else key_at(job, info, opened, window, found[0], jump)


def key_at(
    job: Job,
    info: VideoInfo,
    opened: Callable[[], Source],
    window: int,
    start: int,
    jump: bool,
    shot: Key | None = None,
) -> Key | None:
    """The first frame at or after the pts ``start``, as the networks are to see it: as the key frame of its
    shot, unless that is ``shot``."""
    typical = ticks_of_a_frame(info.average_rate, info.time_base)
    frames = reader(job, opened, jump)(start - context_of(job).most * typical)
    keys = None if shot is None else Keys(shot, start, Cuts(shot_period(job, info)))
    frames = aligned(frames, window, job, Findings(), info, since=start, keys=keys)
    with contextlib.closing(frames):  # type: ignore[type-var]
        return next((Key(frame.planes, frame.pts) for frame in frames if frame.pts >= start), None)


def reader(job: Job, opened: Callable[[], Source], jump: bool) -> Read:
    """Reads the frames of a job from a pts on, or from the beginning; each time from a film opened anew, as
    one that was read from stands elsewhere."""

    def read(begin: int | None) -> Iterator[Frame]:
        first = BEGINNING if begin is None else begin
        stretch = Stretch(first, first, None, jump and begin is not None)
        with opened() as source:
            yield from source.frames(job.start, job.duration, stretch=stretch)

    return read


def may_jump(job: Job, source: Source) -> bool:
    """Whether one gets the same frames by jumping in a film as by reading on from its beginning."""
    return not job.read.detelecine and index_film(source).exact


def ticks_of_a_frame(rate: Fraction | None, tick: Fraction) -> int:
    """How long a frame lasts, in ticks of ``tick`` seconds; 1 where nothing is known."""
    return max(1, round(1 / (rate * tick))) if rate else 1


def open_networks(job: Job, info: VideoInfo, size: tuple[int, int]) -> Networks:
    """What frames of ``job.picture(info)`` go through."""
    leave_cores_to_encoders()
    info = job.picture(info)
    source, target = (info.height, info.width), (size[1], size[0])
    opened: Enlarger = find_model(job.sample.model).open(
        source, target, info.pixels.subsampling, info.chroma_left, job.sample
    )
    if not job.color.wanted:
        return Networks(opened)
    from upscale.color.colorist import Colorist  # here, as it loads torch

    check_installed()  # once more, as a worker may be on another machine
    return Networks(opened, Colorist(info, job.color, job.sample.device, job.sample.precision))


def settled_color(job: Job, source: Source) -> tuple[Job, list[str]]:
    """With the references of the part that is made, in their places; and what to tell of all that."""
    info, is_pipe = source.info, job.source == STANDARD
    note = check_grey(str(job.source), _looked_at(job, source), job.color)
    notes = [note] if note else []
    part = source.part(job.start, job.duration)
    tick = info.time_base
    read: Read | None = None
    if not is_pipe and not info.is_picture and any(one.time is not None for one in job.color.references):
        read = reader(job, lambda: Source(job.source, job.read), may_jump(job, source))

    def place(time: Fraction) -> int | None:
        at = info.start + time
        inside = at >= part.begin and (part.end is None or at < part.end)
        return round((at - part.shift) / tick) if inside else None

    color, outside = settled(job.color, info, place, read, ticks_of_a_frame(info.average_rate, tick))
    if outside:
        notes.append(f"references outside the part that is made: {outside}, left out")
    return replace(job, color=color), notes


def _looked_at(job: Job, source: Source) -> Iterable[Planes]:
    """Frames by which the film is judged: from all over the part that is made, or the first one alone."""
    if job.source == STANDARD or source.info.is_picture or is_sequence(job.source):
        return source.glimpse()
    try:
        return list(samples(job.source, job.start, job.duration))
    except UpscaleError:  # one cannot jump in it
        return source.glimpse()


def settled_sample(sample: SampleOptions, picture: bool) -> SampleOptions:
    """With a model and a temperature where none was asked for."""
    model = find_model(sample.model, picture)
    if sample.spread and not model.has_spread:
        able = " and ".join(name for name, known in MODELS.items() if known.has_spread)
        raise UsageError(f"--map needs a model that tells how sure it is: {able}, not {model.name}")
    if sample.denoise is not None and not model.denoises:
        raise UsageError(f"--denoise is for a model that does; {model.name} leaves noise as it is")
    return replace(sample, model=model.name, temperature=model.chosen_temperature(sample.temperature))


def check_dirt(dirt: float | None, sample: SampleOptions) -> None:
    """Raises UsageError where it is to be taken away for a model that sees one frame."""
    if dirt and not find_model(sample.model).denoises:
        raise UsageError(f"--dirt is for a model that looks at several frames; {sample.model} sees one")


def forbid(notes: list[str], job: Job) -> None:
    if job.strict and notes:
        raise UpscaleError(f"{job.target}: not written, as --strict forbids: {notes[0]}")


def nothing_read(job: Job, info: VideoInfo, reasons: list[str]) -> str:
    """What to tell where no frame was read."""
    if job.start and info.duration is not None and job.start >= info.duration:
        return f"{job.source}: is {float(info.duration):g} s long; --start has to be earlier"
    part = " in that part" if job.start or job.duration is not None else ""
    return f"{job.source}: no frame of it{part} could be read{because(reasons)}"


def because(reasons: list[str]) -> str:
    return f" ({'; '.join(reasons)})" if reasons else ""
