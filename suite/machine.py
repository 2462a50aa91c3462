"""What this process has of the machine: cores, and how it gets its memory."""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
LARGEST = 32 << 20  # bytes: the largest MMAP_THRESHOLD that glibc takes


def cores() -> int:
    """Cores that this process may run on: those of `taskset` or a cluster's allocation, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Keep memory that is freed for the next arrays of this process; nothing where glibc is not in use.

    Networks free and ask for the same few megabytes at every layer. By itself glibc gives each back to the
    kernel, which hands it out again page by page, filled with zeros: a tenth of the time of a training on a
    CPU and a fifth of that of embedding. Results are the same bits.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(MMAP_THRESHOLD, LARGEST)
