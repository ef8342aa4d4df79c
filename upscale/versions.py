"""What this program runs on: for a report, and for one who reports a fault."""

import platform

from upscale import __version__


def versions() -> dict[str, str]:
    """Names and versions of the program, of what it computes with, and of the device. Loads torch."""
    import av
    import cv2
    import numpy
    import torch

    from upscale.sampling.upscaler import arithmetic_of, choose_device, choose_precision

    device = choose_device("auto")
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return {
        "upscale": __version__,
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "PyAV": av.__version__,
        "FFmpeg": av.ffmpeg_version_info,
        "NumPy": numpy.__version__,
        "OpenCV": cv2.__version__,
        "system": platform.platform(),
        "device": f"{arithmetic_of(choose_precision('auto', device), device)}{name}",
    }
