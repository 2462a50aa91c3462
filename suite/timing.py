"""Seconds and memory, and the rate of matrix products that other rates are held against."""

import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

GEMM_SIDES = (2048, 3000, 4096)


def timed(work: Callable[[], object], device: str = "cpu") -> tuple[object, np.ndarray]:
    """What `work` returns, and what it took: [seconds by the clock, seconds of all CPU threads].

    device: what is begun there is finished before the clock is read.
    """
    start = np.array([time.perf_counter(), time.process_time()])
    result = work()
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
    return result, np.array([time.perf_counter(), time.process_time()]) - start


def best(work: Callable[[], object], least: float) -> tuple[object, float]:
    """What `work` returns, and its shortest time of as many repeats as take `least` seconds in all."""
    shortest, spent = float("inf"), 0.0
    while True:
        result, (seconds, _) = timed(work)
        shortest, spent = min(shortest, seconds), spent + seconds
        if spent >= least:
            return result, float(shortest)


def gemm_rate(
    device: str, dtype: str = "float32", sides: Sequence[int] = GEMM_SIDES, repeats: int = 3
) -> np.ndarray:
    """The best rate of square matrix products: multiply-accumulates a second, and a second of all threads.

    dtype: of both factors, a name of torch's. sides: of the matrices, each multiplied `repeats` times.
    """
    import torch

    rates = []
    for side in sides:
        a, b = torch.randn(2, side, side, device=device).to(getattr(torch, dtype))
        out = torch.empty_like(a)
        for _ in range(repeats):
            _, spent = timed(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), device)
            rates.append(side**3 / spent)
    return np.max(rates, axis=0)


def peak_memory() -> float:
    """Peak resident memory of this process in GiB; pages of memory-mapped files count too.

    From /proc where there is one: ru_maxrss of a new process starts at its parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
