"""FFmpeg's filters between the decoder and the planes: fields become frames, and all frames one size."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from upscale.errors import UpscaleError

DEINTERLACE = ("auto", "on", "bob", "off")
"""What may be asked of ``progressive``."""

INTERLACED = (2, 3, 4, 5)
BOTTOM_FIRST = (3, 4)
"""FFmpeg's AVFieldOrder for fields (TT, BB, TB, BT), and those that show the bottom one first."""

FIELD_ORDERS = {"auto": "auto", "top": "tff", "bottom": "bff"}
"""What may be asked of ``progressive``, and what FFmpeg calls it."""

LOOKED_AT = 4
"""Frames in a row that are looked at for combs."""

APART = 25
"""Frames from one such row to the next."""

COMBED = 10
"""Frames with combs from which on a film is said to be interlaced, if three times as few are without."""

COMBS = "the picture has combs, as if it were interlaced, and is not marked so"

PULLDOWN = Fraction(5, 4)
"""Frames of 3:2 pulldown for each of the film."""


def filtered(
    frames: Iterable[VideoFrame], rate: Fraction | None, *chain: tuple[str, str]
) -> Iterator[VideoFrame]:
    """Frames of one size and format through a chain of filters, each its name and its options.

    They come out in the format that they had, whatever the filters prefer. Raises UpscaleError where a
    filter will not have them.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    graph = Graph()
    source = {
        "video_size": f"{first.width}x{first.height}",
        "pix_fmt": first.format.name,
        "time_base": str(first.time_base or Fraction(1, 25)),
    }
    if rate:
        source["frame_rate"] = str(rate)
    try:
        nodes = [graph.add("buffer", **source), *(graph.add(name, options) for name, options in chain)]
        nodes += [graph.add("format", chain[-1][1] if chain[-1][0] == "format" else first.format.name)]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    except av.FFmpegError as error:
        what = f"{first.width}x{first.height} {first.format.name}"
        raise UpscaleError(f"FFmpeg's {chain[0][0]} cannot work on {what} ({error.strerror})") from error
    for frame in itertools.chain([first], frames, [None]):
        graph.push(frame)
        while True:
            try:
                yield graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                break


def progressive(
    frames: Iterable[VideoFrame],
    how: str,
    rate: Fraction | None,
    marked: int,
    order: str,
    remarks: list[str],
) -> Iterator[VideoFrame]:
    """Whole frames where there were two fields, by bwdif: Weston's three-field filter of the BBC, as in
    w3fdif, led by the edges that yadif finds.

    ``how`` is ``off``; ``auto``, which takes the frames that the stream marks as interlaced; ``on``, all of
    them; or ``bob``, which makes a frame of every field. ``marked`` is the stream's field order, as FFmpeg
    counts, and ``order`` the one to take, of FIELD_ORDERS. Where ``auto`` leaves combs, ``remarks`` say it.
    """
    if how == "off":
        yield from frames
        return
    for run in _alike(frames):
        if how == "auto":
            run = _watched(run, remarks)
        which = "all"
        if how == "auto":
            before, first = None, None
            for frame in run:
                if frame.interlaced_frame or marked in INTERLACED:
                    first = frame
                    break
                if before is not None:
                    yield before
                before = frame
            if first is None:
                if before is not None:
                    yield before
                continue
            # With the frame before, which the filter looks back to, wherever reading began.
            run = itertools.chain([first] if before is None else [before, first], run)
            which = "interlaced" if first.interlaced_frame else "all"
        mode = "send_field" if how == "bob" else "send_frame"
        parity = FIELD_ORDERS[order]
        if parity == "auto" and which == "all" and marked in BOTTOM_FIRST:
            parity = "bff"
        for made in filtered(run, rate, ("bwdif", f"mode={mode}:parity={parity}:deint={which}")):
            if how != "bob":  # it halves the tick of the clock, for the second fields' sake
                made.pts, made.duration = (made.pts or 0) // 2, made.duration // 2
                made.time_base = Fraction(made.time_base or 1) * 2
            yield made


def _watched(frames: Iterable[VideoFrame], remarks: list[str]) -> Iterator[VideoFrame]:
    """The same frames of one size. Some are looked at: if they have combs and no mark, it is remarked once.

    By FFmpeg's idet, which compares the lines of each frame with those of the ones before and after."""
    counts: Counter[str] = Counter()
    row: list[VideoFrame] = []
    for number, frame in enumerate(frames):
        if number % APART < LOOKED_AT and not frame.interlaced_frame:
            row.append(frame)
        elif row:
            counts.update(_combs(row))
            row = []
            _remark(counts, remarks)
        yield frame
    if row:
        counts.update(_combs(row))
        _remark(counts, remarks)


def _combs(row: list[VideoFrame]) -> dict[str, int]:
    """How many of some frames in a row look interlaced, top (``tff``) or bottom (``bff``) field first, or
    ``progressive``."""
    if len(row) < LOOKED_AT:
        return {}
    try:
        *_, last = filtered(row, None, ("idet", ""))
    except UpscaleError:  # a format that it does not know
        return {}
    kinds = ("tff", "bff", "progressive")
    return {kind: int(float(last.metadata.get(f"lavfi.idet.multiple.{kind}", 0))) for kind in kinds}


def _remark(counts: Counter[str], remarks: list[str]) -> None:
    combed = counts["tff"] + counts["bff"]
    if combed < COMBED or combed < 3 * counts["progressive"]:
        return
    bottom = " --field-order bottom" if counts["bff"] > counts["tff"] else ""
    if not any(known.startswith(COMBS) for known in remarks):
        remarks.append(f"{COMBS}: try --deinterlace on{bottom}")


def without_pulldown(
    frames: Iterable[VideoFrame], rate: Fraction, notes: list[str], order: str
) -> Iterator[VideoFrame]:
    """The frames of the film from which 3:2 pulldown made fields: four for each five.

    The fields are matched to frames, those that still show combs are deinterlaced, and the one frame in
    five that is a repetition goes. ``order`` is that of the fields, of FIELD_ORDERS.
    """
    for run in _unbroken(frames, rate):
        first = next(run)
        assert first.pts is not None
        if any(component.bits > 8 for component in first.format.components) and not notes:
            notes.append("the picture went through 8 bit: --detelecine knows no more")
        start, tick = first.pts, Fraction(first.time_base or 1)
        chain = (
            ("fieldmatch", f"combmatch=full:order={FIELD_ORDERS[order]}"),
            ("bwdif", "mode=send_frame:deint=interlaced"),
            ("settb", str(1 / rate)),
            ("decimate", "cycle=5"),
        )
        for number, made in enumerate(filtered(itertools.chain([first], run), rate, *chain)):
            # decimate numbers its frames; they begin where the first one did.
            made.pts = start + round(number * PULLDOWN / rate / tick)
            made.duration = round(PULLDOWN / rate / tick)
            made.time_base = tick
            yield made


def conformed(
    frames: Iterable[VideoFrame], notes: list[str], like: VideoFrame | None = None
) -> Iterator[VideoFrame]:
    """Frames that all have the size and the format of the film's first, as an encoder wants them.

    Where the picture changes, it is fitted into the first one's size, and a line goes to ``notes``.
    ``like`` is that first frame, where ``frames`` begin later.
    """
    first = like
    for number, run in enumerate(_alike(frames)):
        frame = next(run)
        run = itertools.chain([frame], run)
        if first is None:
            first = frame
        if _shape(frame) == _shape(first):
            yield from run
            continue
        if number:  # else it had changed before
            notes.append(_change(first, frame))
        width, height = first.width, first.height
        chain = (
            ("scale", f"{width}:{height}:force_original_aspect_ratio=decrease:flags=bicubic"),
            ("pad", f"{width}:{height}:(ow-iw)/2:(oh-ih)/2"),
            ("format", first.format.name),
        )
        yield from filtered(run, None, *chain)


def _unbroken(frames: Iterable[VideoFrame], rate: Fraction) -> Iterator[Iterator[VideoFrame]]:
    """As ``_alike``, with a new run after a hole in time too."""
    run, due = 0, None

    def number(frame: VideoFrame) -> tuple[int, tuple[int, int, str]]:
        nonlocal run, due
        now = (frame.pts or 0) * Fraction(frame.time_base or 1)
        run += due is not None and now - due > 1 / rate
        due = now + 1 / rate
        return run, _shape(frame)

    for _, group in itertools.groupby(frames, number):
        yield group


def _change(first: VideoFrame, frame: VideoFrame) -> str:
    before, after = f"{first.width}x{first.height}", f"{frame.width}x{frame.height}"
    at = f"at {frame.time:.2f} s" if frame.pts is not None else "later"
    if before == after:
        return f"{first.format.name} changes to {frame.format.name} {at}; it was converted back"
    return f"the picture changes from {before} to {after} {at}; it was fitted into the size it had"


def _shape(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _alike(frames: Iterable[VideoFrame]) -> Iterator[Iterator[VideoFrame]]:
    """The runs of frames of one size and format; each is to be used up before the next."""
    for _, run in itertools.groupby(frames, _shape):
        yield run
