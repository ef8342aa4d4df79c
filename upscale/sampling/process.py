"""What this process asks of the libraries that give it memory and threads. Knows no torch."""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
KEPT = 1 << 30
"""Bytes: larger blocks, and more free memory than this at the end of the heap, go back to the system."""

SPINS = 3000
"""How often a thread looks whether the others are done before it sleeps: some microseconds."""


def keep_large_blocks() -> None:
    """Ask the C library to keep blocks of any size for the next layer, which wants one just like it.

    By default glibc gives those over 32 MB back to the system at once, and a good part of a frame's time
    goes into mapping and clearing them anew. Does nothing where the C library is another one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, KEPT)
    mallopt(M_TRIM_THRESHOLD, KEPT)


def leave_cores_to_encoders() -> None:
    """Have GNU OpenMP's threads wait for each other but briefly. Before PyTorch, which brings it, loads.

    Its own default is milliseconds of looking, on a core that an encoder could use meanwhile.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
