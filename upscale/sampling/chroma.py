"""Where chroma samples lie, so that colour stays on its edges when the grid gets finer."""

import torch
import torch.nn.functional as F
from torch import Tensor


def siting_shift(scale: float, step: int, left: bool) -> float:
    """How far to move chroma before scaling it, in its own samples; positive reads further to the right.

    ``step`` is luma pixels per chroma sample along this axis, ``left`` whether the first of them carries
    the sample (MPEG-2 and after) or their middle does (JPEG). The scaled grid always lies left, as players
    assume. A scaler that aligns the corners of pictures puts output sample j at (j + 1/2) / scale - 1/2; it
    belongs at ((step * j + 1/2) / scale - position) / step, and the difference does not depend on j.
    """
    if step == 1:
        return 0.0
    position = 0.5 if left else step / 2
    return (0.5 / scale - position) / step - 0.5 / scale + 0.5


def resite(chroma: Tensor, shift: float) -> Tensor:
    """Read every sample of (N, C, h, w) ``shift`` (within one) to the right of its place.

    By cubic convolution with a = -1/2: Keys, "Cubic convolution interpolation for digital image
    processing" (1981).
    """
    if shift == 0:
        return chroma
    distance = (torch.arange(-2, 3, dtype=torch.float32, device=chroma.device) - shift).abs()
    near = ((1.5 * distance - 2.5) * distance) * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    taps = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    kernel = taps.to(chroma).expand(chroma.shape[1], 1, 1, 5)
    return F.conv2d(F.pad(chroma, (2, 2, 0, 0), mode="replicate"), kernel, groups=chroma.shape[1])


def luma_at_chroma(luma: Tensor, subsampling: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Luma (N, 1, H, W) on the grid of left-lying chroma: (N, 1, \\*size), its guide.

    Across, a triangle around every ``subsampling[0]``-th pixel; down, the mean of ``subsampling[1]`` rows.
    ``size`` may reach a little beyond the picture, where the last pixel repeats.
    """
    across, down = subsampling
    height, width = size[0] * down, size[1] * across
    extra = (across - 1, width - luma.shape[3], 0, height - luma.shape[2])
    if any(extra):
        luma = F.pad(luma, extra, mode="replicate")
    if across == down == 1:
        return luma
    # Sums of strided rows and columns: five times as fast as a convolution of one channel.
    rows = luma[:, :, ::down]
    for row in range(1, down):
        rows = rows + luma[:, :, row::down]
    answer = rows[..., across - 1 :: across] * (1 / (across * down))
    for column in range(across - 1):
        share = (column + 1) / (across**2 * down)
        answer.add_(rows[..., column::across][..., : size[1]], alpha=share)
        answer.add_(rows[..., 2 * (across - 1) - column :: across], alpha=share)
    return answer
