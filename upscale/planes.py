"""What the stages hand on: a picture as float planes."""

import numpy as np
from numpy.typing import NDArray

Planes = tuple[NDArray[np.float32], ...]
"""Luma [1, H, W] in [0, 1] with 0 black and 1 white, and, unless grey, chroma [2, h, w] with 0.5 neutral.

Codes beyond nominal black and white ("footroom" and "headroom" of limited range) lie a little outside
[0, 1] and survive the way to float and back.
"""
