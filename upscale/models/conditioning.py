"""The conditioning network: what the small picture alone tells of the large one.

A trunk of residual blocks at the input's resolution answers with the mean of every pixel, and with features
for what goes on from there. The sub-pixels of a *cell*, an input pixel enlarged, are channels, in the order
of ``order.py``.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upscale.models.judge import Judge, error_of
from upscale.models.layers import bicubic_cells, conv3x3, upsampling_kernel
from upscale.models.mixture import MEAN_UNIT
from upscale.models.order import raster_index


@dataclass(frozen=True, slots=True)
class ConditioningConfig:
    """What a file of weights needs to say for its network to be built again."""

    scale: int
    channels: int = 32
    blocks: int = 6
    """Residual blocks of the trunk."""
    frames: int = 1
    """Input frames that one output frame depends on."""
    planes: tuple[str, ...] = ("centre",)
    """What it reads, by the names of ``READ``, the first of ``planes.WINDOW``."""
    context: int = 0
    """Residual blocks at half the resolution, before the trunk: they see twice as far for a quarter of the
    cost."""
    context_channels: int = 64
    inner: int = 0
    """Channels between the two convolutions of a trunk's block; 0 for as many as outside."""


SIGNAL = (-0.08, 1.1)
"""What limited-range codes can hold, headroom and footroom included: (0 - 16) / 219 to (255 - 16) / 219."""

CLEAN, DAMAGED = 0.4, 1.4
"""Errors of the frame, in 8-bit levels, between which the mean passes from beginning with the frame to
beginning with the merge. Rounding to 8 bits alone makes 0.29."""

READ = {
    "centre": (0.5, 1.0),
    "merge": (0.5, 1.0),
    "median": (0.5, 1.0),
    "spread": (0.0, 8.0),
    "weight": (0.5, 1.0),
    "damage": (0.5, 2.0),
    "keep": (0.0, 1.0),
}
"""Planes that a network can read (see ``planes.WINDOW``): what is subtracted from each, and then its
gain."""


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x) + known)), [N, C, H, W] -> the same; ``inner`` channels between, 0 for C."""

    ranges: Tensor
    """Of the codes for x, inner features and known values, by ``int8.observing``; 0 where it never was."""

    def __init__(self, channels: int, known: int = 0, inner: int = 0):
        super().__init__()
        inner = inner or channels
        self.register_buffer("ranges", torch.zeros(3))
        self.first = conv3x3(channels, inner)
        self.known = nn.Conv2d(known, inner, 3, padding=1) if known else None
        self.second = conv3x3(inner, channels, gain=0.1)

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        inner = self.first(x)
        if self.known is not None:
            inner += self.known(known)
        # In place: no convolution needs its own output again, not even for its gradient.
        return self.second(F.relu(inner, inplace=True)).add_(x)


class Conditioning(nn.Module):
    """The base of what draws luma: reads planes, answers with the mean and with features.

    What it reads is ``config.planes``: luma alone, or what a window of frames adds up to. Pictures are [N,
    1, H, W] float in [0, 1]. Cells are the same pixels as channels, [N, scale**2, h, w]."""

    kind: ClassVar[str]
    reduced: ClassVar[dict[str, float]] = {"context": 4, "judge.body.0": 4, "judge.body.1": 16, "judge": 64}
    """Part of a layer's name -> input pixels for each place that it works at; the first that fits."""
    offset: Tensor
    gain: Tensor
    base: Tensor
    order: Tensor
    raster: Tensor

    def __init__(self, config: ConditioningConfig):
        super().__init__()
        self.config = config
        # A window is read with what the mean begins from in front, so that a network that knows nothing of
        # windows can be gone on from: it takes that for its frame.
        planes, wide = len(config.planes) + (len(config.planes) > 1), config.context_channels
        self.enter: nn.Module = nn.Conv2d(planes, config.channels, 3, padding=1)
        self.enter_context: nn.Module | None = None
        self.leave_context: nn.Module | None = None
        if config.context:
            self.enter_context = nn.Conv2d(4 * planes, wide, 3, padding=1)
            self.leave_context = nn.Conv2d(wide, 4 * config.channels, 1)
            for parameter in self.leave_context.parameters():
                nn.init.zeros_(parameter)
        self.judge = Judge() if "damage" in config.planes else None
        self.context = nn.ModuleList(ResidualBlock(wide) for _ in range(config.context))
        self.trunk = nn.ModuleList(
            ResidualBlock(config.channels, inner=config.inner) for _ in range(config.blocks)
        )
        self.to_mean = nn.Conv2d(config.channels, config.scale**2, 3, padding=1)
        nn.init.normal_(self.to_mean.weight, std=0.01)
        order = raster_index(config.scale)
        offset, gain = zip(*(READ[name] for name in config.planes), strict=True)
        self.register_buffer("offset", torch.tensor(offset).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("gain", torch.tensor(gain).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("base", upsampling_kernel(config.scale)[order], persistent=False)
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("raster", torch.tensor(order).argsort(), persistent=False)

    @property
    def scale(self) -> int:
        return self.config.scale

    @property
    def frames(self) -> int:
        return self.config.frames

    @property
    def planes(self) -> int:
        """How many planes it reads."""
        return len(self.config.planes)

    @property
    def grid(self) -> int:
        """A tile's window begins at a multiple of this, in input pixels."""
        return 2 if self.config.context else 1

    @property
    def receptive_field(self) -> int:
        """Input pixels on each side that an output pixel may depend on: the halo of a tile."""
        context = 2 * (1 + 2 * self.config.context) + 1 if self.config.context else 0
        return self._on_grid(2 + 2 * self.config.blocks + context)

    def _on_grid(self, field: int) -> int:
        return -(-field // self.grid) * self.grid

    @property
    def residual_blocks(self) -> tuple[nn.ModuleList, ...]:
        """All the residual blocks, by the chain that they stand in."""
        return self.context, self.trunk

    def told(self, window: Tensor, keep: float) -> Tensor:
        """All that it reads, (N, planes, h, w), of the ``window`` of whole frames, (N, at least 5, h, w).

        That is judged for its damage; ``keep``, from 0 to 1, is the user's to say."""
        if self.judge is None:
            return window
        given = window[:, : self.planes - 2]
        same = torch.ones_like(given[:, :1])
        damage = self.judge.of_frame(given).view(-1, 1, 1, 1)
        return torch.cat([given, same * damage, same * keep], 1)

    def condition(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of every pixel as cells, and the features that the chain starts from.

        low : Tensor, shape = (N, planes, h, w). Returns (N, scale**2, h, w) float32 and (N, channels, h,
        w)."""
        plain, read = self._plain(low), (low - self.offset) * self.gain
        if self.planes > 1:
            read = torch.cat([plain - 0.5, read], 1).contiguous(memory_format=torch.channels_last)
        entered = self.enter(read)
        features = entered if self.enter_context is None else entered + self._context(read)
        for block in self.trunk:
            features = block(features)
        features = features + entered
        base = bicubic_cells(plain, self.base)
        return base + MEAN_UNIT * self.to_mean(features).float(), features

    def _context(self, read: Tensor) -> Tensor:
        """What the surroundings tell, (N, channels, h, w), from half the resolution."""
        assert self.enter_context is not None
        assert self.leave_context is not None
        height, width = read.shape[2:]
        if height % 2 or width % 2:
            read = F.pad(read, (0, width % 2, 0, height % 2), mode="replicate")
        halved = F.pixel_unshuffle(read, 2).contiguous(memory_format=torch.channels_last)
        features = entered = self.enter_context(halved)
        for block in self.context:
            features = block(features)
        wide = F.pixel_shuffle(self.leave_context(features + entered), 2)[:, :, :height, :width]
        return wide.contiguous(memory_format=torch.channels_last)

    def _plain(self, low: Tensor) -> Tensor:
        """The picture that the mean begins from, (N, 1, h, w).

        That is the merge if the frame is damaged; a clean one would only lose by it.
        """
        names = self.config.planes
        centre = low[:, :1]
        if "merge" not in names:
            return centre
        merge, damage, keep = (low[:, names.index(name)][:, None] for name in ("merge", "damage", "keep"))
        damaged = ((error_of(damage) - CLEAN) / (DAMAGED - CLEAN)).clamp(0, 1)
        return torch.lerp(centre, merge, damaged * (1 - keep))

    def nats(self, low: Tensor, high: Tensor) -> Tensor:
        """-log p(high | low) of 8-bit pictures (N, 1, H, W), summed: the length of an honest code."""
        raise NotImplementedError

    def to_cells(self, picture: Tensor) -> Tensor:
        """(N, 1, scale*h, scale*w) -> (N, scale**2, h, w), in the order of the steps."""
        cells: Tensor = F.pixel_unshuffle(picture, self.scale)
        return cells[:, self.order]

    def to_picture(self, cells: Tensor) -> Tensor:
        """(N, scale**2, h, w) -> (N, 1, scale*h, scale*w): the inverse of ``to_cells``."""
        return F.pixel_shuffle(cells[:, self.raster], self.scale)
