"""Copies between this machine's memory and a device's."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upscale.planes import Planes


class Transfers:
    """Copies to a device and back. On CUDA they have streams of their own, beside what it computes."""

    def __init__(self, device: torch.device):
        self._device = device
        self._streams: tuple[torch.cuda.Stream, torch.cuda.Stream] | None = None
        if device.type == "cuda":
            self._streams = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def up(self, plane: NDArray[np.float32]) -> Tensor:
        """[C, H, W] -> [1, C, H, W] on the device, for what is computed next."""
        tensor = torch.from_numpy(plane)[None]
        if self._streams is None:
            return tensor.to(self._device)
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._streams[0]):
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        computing.wait_stream(self._streams[0])
        tensor.record_stream(computing)
        return tensor

    def down(self, planes: Sequence[Tensor]) -> Callable[[], Planes]:
        """[1, C, H, W] on the device -> [C, H, W] float32, to be had by a call, which waits for them."""
        if self._streams is None:
            there = tuple(plane[0].float().cpu().numpy() for plane in planes)
            return lambda: there
        copies = [torch.empty(plane.shape, pin_memory=True) for plane in planes]
        self._streams[1].wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._streams[1]):
            for copy, plane in zip(copies, planes, strict=True):
                copy.copy_(plane, non_blocking=True)
                plane.record_stream(self._streams[1])
        done = self._streams[1].record_event()

        def wait() -> Planes:
            done.synchronize()
            return tuple(copy[0].numpy() for copy in copies)

        return wait
