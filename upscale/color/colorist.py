"""Colours for the frames of a film: each follows the key frame of its shot, and the references.

    key frame + references -> hints -> PixelCNN -> the key's colours, once a shot
    frame + key, references -> flow, matching -> hints -> network -> chroma -> the frame's own grid

A frame depends on itself (or its window) and on the key frame of its shot, and on nothing in between: so
colours do not drift along a shot, and a film computed in pieces is the same film.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from upscale.color.features import Backbone
from upscale.color.looks import Colors, View, resized, working_size
from upscale.color.matching import LIKE, attend, blended, likeness, move, told
from upscale.color.options import ColorOptions
from upscale.color.references import read_reference
from upscale.media.frame import Frame, Key
from upscale.media.info import VideoInfo
from upscale.models import palette, weights
from upscale.models.catalog import CLEAN, find_color, find_stage
from upscale.models.chroma import ChromaNet
from upscale.models.color import FINE, ColorNet, Hints
from upscale.planes import Planes
from upscale.sampling.chroma import resite
from upscale.sampling.colors import choose_color_precision, noise_by_likeness, sample_colors
from upscale.sampling.upscaler import arithmetic_of, choose_device

Net = TypeVar("Net", ColorNet, ChromaNet)

HINTED = 0.7
"""Share of what hints say by themselves, where they are sure, in a frame that follows: the errors of the
network and theirs are not the same, and what hints do not know keeps the network's colours."""

ENLARGED_BY = 1.1
"""Chroma that has to grow by more than this is guided by luma once more."""


@dataclass(frozen=True, slots=True)
class _Shot:
    key: Key
    sources: list[Colors]
    """What its frames follow: the key frame with its colours, and the references that serve the shot."""


class Colorist:
    """Colours the frames of one film, which is to have chroma planes: see ``film.with_colors``.

    Loads its weights, and raises UpscaleError if they are missing.
    """

    def __init__(self, info: VideoInfo, options: ColorOptions, device: str, precision: str):
        self.options = options
        self.device = choose_device(device)
        self.precision = choose_color_precision(precision, self.device)
        self._size = working_size(info.height, info.width)
        across, _ = info.pixels.subsampling or (1, 1)
        self._chroma_size = info.pixels.chroma_size(info.width, info.height)[::-1]
        # What chroma that lies amid luma columns is moved by, in its own samples, to lie on the first.
        self._shift = (1 - across) / (2 * across) if info.chroma_left else 0.0
        self._matrix = info.color.matrix
        self._backbone = Backbone().to(self.device)
        self._network = self._load(find_color(), ColorNet)
        sides = zip(self._chroma_size, self._size, strict=True)
        growth = max(FINE * own / seen for own, seen in sides)
        self._guided: ChromaNet | None = None
        if growth > ENLARGED_BY:
            self._guided = self._load(find_stage(CLEAN, 2 if growth <= 2 else 4).chroma, ChromaNet)
        self._references: list[tuple[Colors, int | None]] = []
        for reference in options.references:
            if reference.shot is None:
                self.follow(read_reference(reference, self._matrix))
        self._shot: _Shot | None = None
        self.unlike: set[int] = set()
        """The key frames, by their pts, of shots that no reference serves."""
        self._before: tuple[Frame, Planes] | None = None

    def _load(self, file: weights.WeightsFile, kind: type[Net]) -> Net:
        network = weights.load(file.path)
        assert isinstance(network, kind)
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def arithmetic(self) -> str:
        """The precision and the device, on which the last bits of an answer depend."""
        return arithmetic_of(self.precision, self.device)

    def follow(self, picture: NDArray[np.float32], shot: int | None = None, pts: int | None = None) -> None:
        """Take one more reference, Y'CbCr [3, H, W] with chroma around 0.5.

        It serves all shots that it is like; or it is the frame at ``pts`` of the ``shot`` whose key frame
        has that pts."""
        size = self._size if shot is not None else None
        with torch.inference_mode(), self._autocast():
            self._references.append((Colors.of(picture, self._backbone, size, pts), shot))

    def draw_anew(self, seed: int) -> None:
        """Colour what follows by another seed."""
        self.options = replace(self.options, color_seed=seed)
        self._shot = self._before = None

    def __call__(self, frame: Frame) -> Frame:
        """The frame with chroma [2, h, w], new where it had none. Its ``key`` is to be known."""
        assert frame.key is not None
        before = self._before
        if before is not None and before[0].planes is frame.planes and before[0].key is frame.key:
            return replace(frame, planes=before[1])
        luma = seen_luma(frame.planes)
        with torch.inference_mode():
            with self._autocast():
                view = View.of(luma, self._backbone, self._size)
                chroma = self._followed(view, frame.pts, frame.key)
            large = self._to_source(chroma, luma)
        planes = frame.planes[0], self._mixed(large, frame.planes)
        self._before = frame, planes
        return replace(frame, planes=planes)

    def _begin_shot(self, key: Key) -> "_Shot":
        """The colours of a shot's key frame: those of a reference that is this very frame, or else sampled,
        after what the references suggest that serve the shot."""
        if self._shot is not None and self._shot.key is key:
            return self._shot
        view = View.of(seen_luma(key.planes), self._backbone, self._size)
        serving = [
            reference for reference, shot in self._references if self._serves(reference, shot, view, key)
        ]
        for reference in self.options.references:  # read only now: there may be one for every shot
            if reference.shot == key.pts:
                picture = read_reference(reference, self._matrix)
                serving.append(Colors.of(picture, self._backbone, self._size, reference.pts))
        if self.options.references and not serving:
            self.unlike.add(key.pts)
        colors = next((reference for reference in serving if reference.pts == key.pts), None)
        if colors is None:
            look = self._network.looks(view.luma, view.features.levels, self._hints(view, key.pts, serving))
            noise = noise_by_likeness(self.options.color_seed, view.descriptors)
            coarse = sample_colors(self._network, look, noise, self.options.color_temperature)
            fine = self._network.enlarge(look, coarse)
            chroma = self._possible(fine, view)[0].cpu().numpy()
            colors = Colors(view.descriptors, view.matchable, chroma, key.pts)
        others = [reference for reference in serving if reference is not colors]
        self._shot = _Shot(key, [colors, *others])
        return self._shot

    def _serves(self, reference: Colors, shot: int | None, view: View, key: Key) -> bool:
        """Whether a reference serves the shot of a key frame: as one of its frames, or by likeness."""
        if shot is not None:
            return shot == key.pts
        return likeness(view.descriptors, reference.colored) >= LIKE

    def _followed(self, view: View, pts: int, key: Key) -> Tensor:
        """Chroma of a frame (1, 2, H/FINE, W/FINE) around 0, after its key frame and the references."""
        hints = self._hints(view, pts, self._begin_shot(key).sources)
        look = self._network.looks(view.luma, view.features.levels, hints)
        coarse = sample_colors(self._network, look, None, 0.0)
        fine = self._network.enlarge(look, coarse)
        chroma, sure = told(hints)
        return self._possible(torch.lerp(fine.float(), chroma, HINTED * sure), view)

    def _possible(self, fine: Tensor, view: View) -> Tensor:
        return palette.possible(fine.float(), F.avg_pool2d(view.luma, FINE))

    def _hints(self, view: View, pts: int, sources: Sequence[Colors]) -> Hints:
        if not sources:
            return Hints.none(view.luma)
        matched = attend(view.descriptors, [source.colored for source in sources])
        frames = [source for source in sources if source.pts is not None]
        if not frames:  # a still of the film, perhaps, of which nobody knows when it was
            frames = [one for one in sources if one.matchable.shape == view.matchable.shape]
        if not frames:
            return replace(Hints.none(view.luma), matched=matched)
        moved = [move(view.matchable, source.matchable, source.chroma) for source in frames]
        distances = [abs((source.pts or 0) - pts) for source in frames]
        return Hints(matched, torch.from_numpy(blended(moved, distances))[None].to(view.luma))

    def _to_source(self, chroma: Tensor, luma: NDArray[np.float32]) -> Tensor:
        """From the working grid to the frame's own, (1, 2, h, w), where video has its samples."""
        if self._guided is not None:
            scale = self._guided.scale
            size = chroma.shape[2] * scale, chroma.shape[3] * scale
            guide = torch.from_numpy(resized(luma, size))[None, None].to(self.device)
            with self._autocast():
                chroma = self._guided(chroma + 0.5, guide) - 0.5
        if chroma.shape[2:] != self._chroma_size:
            chroma = F.interpolate(
                chroma, size=self._chroma_size, mode="bicubic", antialias=True, align_corners=False
            )
        return resite(chroma, self._shift)

    def _mixed(self, chroma: Tensor, planes: Planes) -> NDArray[np.float32]:
        """With the strength and the saturation that were asked for, around 0.5."""
        new = (self.options.saturation * chroma[0]).clamp(-0.5, 0.5).add(0.5).cpu().numpy()
        strength = self.options.color_strength
        if strength is None:
            return new
        own = planes[1] if len(planes) > 1 else np.float32(0.5)
        return own + np.float32(strength) * (new - own)

    def _autocast(self) -> torch.autocast:
        half = self.precision != "float32"
        return torch.autocast(
            self.device.type, getattr(torch, self.precision) if half else torch.bfloat16, enabled=half
        )


def seen_luma(planes: Planes) -> NDArray[np.float32]:
    """What colours are found by, [H, W]: the frame's luma, or its merge with its window, which is less
    noisy."""
    return planes[0][min(1, len(planes[0]) - 1)]
