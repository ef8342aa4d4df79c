"""How many frames a second a film has, where its header may lie."""

from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from upscale.media.info import FASTEST

SLOW_MOTION = 960
"""Frames a second that a camera may take: more is the tick of a clock."""

COUNTED = 250
"""Packets that are counted."""

FINEST = 1001
"""Largest denominator of a rate: 30000/1001, for one."""


def find_rate(container: InputContainer, stream: VideoStream, may_jump: bool) -> Fraction | None:
    """The average rate of an open film, in frames a second; None where nothing tells.

    Raw DV and many an AVI give the tick of their clock as the rate. Then the first frames are counted, if
    one ``may_jump`` back to the beginning afterwards; or it is what FFmpeg finds by looking at the times of
    a few, or what the codec says."""
    average = stream.average_rate
    if average is None or average <= FASTEST:
        return Fraction(average) if average else None
    if may_jump and (counted := _counted(container, stream)):
        return counted
    looked_at = (average, stream.base_rate, stream.codec_context.framerate)
    rates = [Fraction(rate) for rate in looked_at if rate]
    plausible = [rate for rate in rates if rate <= FASTEST] or [
        rate for rate in rates if rate <= SLOW_MOTION
    ]
    return plausible[0] if plausible else None


def _counted(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """The average rate of the first packets. None where they have no times, or only one has."""
    times = []
    try:
        for packet in container.demux(stream):
            if packet.size and packet.dts is not None and not packet.is_discard:
                times.append(packet.dts)
            if len(times) == COUNTED:
                break
        container.seek(container.start_time or 0)
    except av.FFmpegError:  # damaged, or one cannot jump in it
        return None
    if len(times) < 2 or times[-1] <= times[0] or stream.time_base is None:
        return None
    rate = (len(times) - 1) / ((times[-1] - times[0]) * Fraction(stream.time_base))
    return rate.limit_denominator(FINEST) if rate <= SLOW_MOTION else None
