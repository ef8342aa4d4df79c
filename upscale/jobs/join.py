"""Finished segments become the film: their packets in order, and everything else from the source."""

import contextlib
import heapq
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.packet import Packet

from upscale.errors import UpscaleError
from upscale.media.write import gif
from upscale.media.write.packets import packets
from upscale.media.write.writer import Writer
from upscale.pipeline import Plan, because, forbid, nothing_read

Record = dict[str, Any]


def check_fit(plan: Plan) -> None:
    """Begin the outputs on trial, so that a container or an encoder that refuses says so before the work.

    Raises UpscaleError; with ``strict`` for what would be left out, too."""
    for number in range(len(plan.tracks)):
        writer = plan.writer(number)
        writer.cancel()
        forbid([*plan.source.notes, *writer.notes], plan.job)


def join(plan: Plan, paths: Sequence[Path], records: Sequence[Record]) -> list[str]:
    """Write the outputs of a plan from its segments, in order, and give them their final names.

    Nothing is encoded again. Answers with what there is to say of it; puts what the source has lost into
    the plan's summary. Raises UpscaleError if something does not fit together."""
    job, source, summary = plan.job, plan.source, plan.summary
    summary.frames = sum(record["frames"] for record in records)
    lost = sum(record["lost"] for record in records)
    reasons = list(dict.fromkeys(reason for record in records for reason in record["reasons"]))
    if summary.frames == 0:
        raise UpscaleError(nothing_read(job, source.info, reasons))
    with contextlib.ExitStack() as exits:
        maps = [exits.enter_context(plan.writer(number)) for number in range(1, len(plan.tracks))]
        for number, beside_it in enumerate(maps, 1):
            for picture in _pictures(plan, number, paths, records, beside_it):
                beside_it.add([picture])
        # The last to be opened, and so the first to get its final name.
        writer = exits.enter_context(plan.writer())
        tick = plan.tracks[0].encoder.tick
        pictures = _pictures(plan, 0, paths, records, writer)
        beside = source.companions(job.start, job.duration)
        for packet in heapq.merge(
            ((_seconds(packet, tick), 0, packet) for packet in pictures),
            ((_seconds(packet, packet.time_base), 1, packet) for packet in beside),
            key=lambda item: item[:2],
        ):
            if packet[1]:
                writer.copy(packet[2])
            else:
                writer.add([packet[2]])
        if job.start is None and job.duration is None:
            lost += source.short_of_promise()
        reasons += [reason for reason in source.losses.reasons if reason not in reasons]
        damage = [f"{job.source} is damaged: {what}" for what in writer.damage]
        if lost or reasons:
            what = f"{lost} frames" if lost else "something"
            damage.append(
                f"{job.source} is damaged: {what} could not be read{because(reasons)};"
                f" {summary.frames} frames were written"
            )
        notes = list(dict.fromkeys(note for record in records for note in record["notes"]))
        notes += [note for note in source.notes if note not in notes]
        kinds = sorted({record["arithmetic"] for record in records if record["frames"]})
        summary.arithmetic = " and ".join(kinds)
        if len(kinds) > 1:
            notes.append(f"segments were computed in {' and in '.join(kinds)}: the last bits may differ")
        forbid([*notes, *writer.notes, *damage], job)
        for beside_it in maps:
            forbid(beside_it.notes, job)
    summary.lost, summary.damaged = lost, bool(damage)
    told = dict.fromkeys(note for one in (writer, *maps) for note in one.notes)
    remarks = [remark for record in records for remark in record["remarks"]]
    return [*told, *notes, *dict.fromkeys([*source.remarks, *remarks]), *damage]


def _seconds(packet: Packet, tick: Fraction) -> Fraction:
    time = packet.dts if packet.dts is not None else packet.pts
    return Fraction(time or 0) * tick


def _pictures(
    plan: Plan, track: int, paths: Sequence[Path], records: Sequence[Record], writer: Writer
) -> Iterator[Packet]:
    """The packets of a track of all segments, for its ``writer``."""
    timed = _timed(plan, track, paths, records, writer)
    return gif.joined(timed) if plan.tracks[track].encoder.codec == "gif" else timed


def _timed(
    plan: Plan, track: int, paths: Sequence[Path], records: Sequence[Record], writer: Writer
) -> Iterator[Packet]:
    """The packets of a track of all segments, with times that rise over the seams, for its ``writer``.

    An encoder that reorders frames starts each segment with a dts before its first pts, which may lie in
    the segment before. Throughout a film a packet's dts is the pts that is due a fixed number of packets
    earlier, the delay of the encoder, so that is what each is given; the first ones keep theirs."""
    told = [record["tracks"][track] for record in records]
    given = zip(told, records, strict=True)
    if any(own["headers"] != writer.headers.hex() for own, record in given if record["frames"]):
        raise UpscaleError(
            f"{plan.job.target}: the segments were encoded in another way; use --restart to begin anew"
        )
    if any(own["moved"] for own in told):
        writer.tell_of_moved()
    counts = plan.tracks[track].encoder.counts_frames
    due: list[int] = []
    """The pts of the segments read so far that are no packet's dts yet."""
    delay: int | None = None
    number, last = 0, None
    next_number = -(1 << 62)
    for path, record in zip(paths, records, strict=True):
        times = sorted(packet.pts for packet in packets(path, track) if packet.pts is not None)
        if len(times) != record["frames"]:
            raise UpscaleError(f"{path}: is damaged; use --restart to begin anew")
        moved = dict(zip(times, times, strict=True))
        if counts:  # frames' numbers go on from those of the segment before
            for time in times:
                moved[time] = next_number = max(time, next_number)
                next_number += 1
        due += moved.values()
        for packet in packets(path, track):
            assert packet.pts is not None
            packet.pts = moved[packet.pts]
            if delay is None and (packet.dts is None or packet.dts >= times[0]):
                delay = number
            if delay is not None:
                packet.dts = due.pop(0)
            if packet.dts is None or packet.dts > packet.pts or (last is not None and packet.dts <= last):
                raise UpscaleError(
                    f"{path}: its frames lie in no order that can be joined; use --segment 0"
                )
            last = packet.dts
            number += 1
            yield packet
