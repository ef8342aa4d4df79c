"""One run of an encoder: the frames of a film, or of a piece of it, in; packets out."""

from collections import deque
from fractions import Fraction

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from upscale.errors import UpscaleError
from upscale.media.frame import Frame
from upscale.media.side_data import Inspector
from upscale.media.write import exif
from upscale.media.write.encoder import Encoder
from upscale.media.write.gif import paletted

MISPLACED = Fraction(1, 1000)
"""Seconds by which a frame may be moved without a word."""


class Encoding:
    """Frames through an open encoder, each at its own pts, or numbered where the output counts frames."""

    def __init__(self, encoder: Encoder, context: VideoCodecContext, size: tuple[int, int]):
        """``context`` is ``encoder`` opened for pictures of ``size`` (width, height)."""
        self._encoder, self._context, self._size = encoder, context, size
        self.given = self.made = 0
        """Frames that went in, and packets that came out."""
        self.moved = False
        """Whether a frame had to be moved to a number."""
        self.notes: list[str] = []
        """What its pictures carried and it does not write, but for what ``encoder.notes`` tells."""
        self._inspector = Inspector()
        self._exif: deque[bytes | None] = deque()
        """For the packets to come."""
        self._number = -1 << 31
        """Of the last frame, where frames are counted."""

    def picture(self, frame: Frame) -> VideoFrame:
        """The frame as it will be encoded, but for its palette; a quarter of its size in memory, or half.
        In any thread.

        Raises ValueError for a picture of another size.
        """
        height, width = frame.planes[0].shape[1:]
        if (width, height) != self._size:
            raise ValueError(f"a picture of {width}x{height} for a film of {self._size[0]}x{self._size[1]}")
        picture = self._encoder.frame(frame.planes, frame.extras)
        if frame.extras is not None:
            told = (*self._encoder.notes, *self.notes)
            self.notes += [note for note in self._encoder.left_out(frame.extras.kinds) if note not in told]
        picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
        return picture

    def encode(self, picture: VideoFrame) -> list[Packet]:
        """The packets that are ready when ``picture``, which is the next, is given."""
        if self._encoder.counts_frames or picture.time_base != self._encoder.tick:
            self._on_the_grid(picture)
        self.given += 1
        if self._encoder.codec in exif.FORMATS:
            self._exif.append(exif.block(picture, self._inspector))
        if self._encoder.has_palette:  # here, beside the networks, as it takes its time
            picture = paletted(picture)
        return self._counted(self._context.encode(picture))

    def finish(self) -> list[Packet]:
        """The packets that the encoder still holds. Raises UpscaleError if it has lost a frame."""
        packets = self._counted(self._context.encode(None)) if self.given else []
        if self.made != self.given:
            raise UpscaleError(
                f"{self._encoder.codec} took {self.given} frames and gave {self.made}; take another --codec"
            )
        return packets

    def _counted(self, packets: list[Packet]) -> list[Packet]:
        self.made += len(packets)
        if not self._exif:
            return packets
        return [exif.added(packet, self._exif.popleft()) for packet in packets]

    def _on_the_grid(self, picture: VideoFrame) -> None:
        """Give a frame a number of its own: its place, where frames are counted, or a tick of the clock."""
        assert picture.pts is not None
        assert picture.time_base is not None
        tick, at = self._encoder.tick, picture.pts * picture.time_base - self._encoder.origin
        number = max(round(at / tick), self._number + 1)
        self.moved |= abs(number * tick - at) > (tick / 2 if self._encoder.clock else MISPLACED)
        self._number = number
        lasts = 1
        if self._encoder.clock or not self._encoder.counts_frames:
            seconds = picture.duration * picture.time_base or 1 / (self._encoder.rate or Fraction(25))
            lasts = max(round(seconds / tick), 1)
        picture.pts, picture.time_base, picture.duration = number, tick, lasts
