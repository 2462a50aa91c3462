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


def repeated(work: Callable[[], object], least: float, times: int = 3) -> tuple[object, np.ndarray]:
    """What `work` returns, and the seconds of each repeat, float64 [repeats], after one that is not timed.

    It is repeated `times` times at least, and until the repeats take `least` seconds in all.
    """
    work()  # pages are read, threads started and buffers made
    seconds: list[float] = []
    while len(seconds) < times or sum(seconds) < least:
        result, (taken, _) = timed(work)
        seconds.append(taken)
    return result, np.array(seconds)


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
