"""The uniform numbers that a sample is drawn with."""

import numpy as np
import torch
from torch import Tensor


def uniform_noise(seed: int, height: int, width: int, stream: int = 0, time: int = 0) -> Tensor:
    """Numbers in (0, 1), [1, 1, height, width] float32, that belong to a place.

    The number at (y, x) depends on ``seed``, ``stream``, ``time``, y and x, and on nothing else: every row
    has its own counter-based generator (Philox: Salmon et al., "Parallel random numbers: as easy as 1, 2,
    3", 2011), and is read from its left. Where all frames of a film share one time, a still picture stays
    still."""
    rows = np.empty((height, width), np.float32)
    for y in range(height):
        key = np.array([seed, (stream << 32) | y], np.uint64)
        philox = np.random.Philox(key=key, counter=np.array([0, 0, 0, time % 2**64], np.uint64))
        words = philox.random_raw(-(-width // 2)).astype("<u8").view("<u4")[:width]
        # 24 bits fill a float32's mantissa; the half keeps 0 and 1 out.
        rows[y] = ((words >> 8).astype(np.float32) + np.float32(0.5)) * np.float32(2**-24)
    return torch.from_numpy(rows)[None, None]
