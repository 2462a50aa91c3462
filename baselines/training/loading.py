"""Batches of stored images on the device that computes, early enough that it need not wait for them.

Three ways, same result: images that fit are put on the GPU once and indexed there; larger ones are read from
the memory-mapped file by threads a few batches ahead, into pinned memory; on a CPU reading ahead would only
take time from the training, so a batch is read when it is asked for.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from torch import Tensor

Rows = np.ndarray | slice
RESIDENT_BYTES = 4 << 30  # a training set up to this size is kept on the GPU
AHEAD = 4  # batches that are being read while one is computed
READERS = 8  # threads that copy; numpy releases the interpreter lock while it does


def stream(images: np.ndarray, selections: Iterable[Rows], device: str) -> Iterator[tuple[Rows, Tensor]]:
    """Yield (rows, images[rows] as uint8 [b, H, W, C] on `device`) for each rows of `selections`.

    images: uint8 [n, H, W, C], may be memory-mapped; rows: int64 [b] or a slice.
    """
    if torch.device(device).type != "cuda":
        return read_now(images, selections)
    if images.nbytes <= RESIDENT_BYTES:
        return resident(images, selections, device)
    return read_ahead(images, selections, device)


def read_now(images: np.ndarray, selections: Iterable[Rows]) -> Iterator[tuple[Rows, Tensor]]:
    """Each batch when it is asked for."""
    for rows in selections:
        yield rows, torch.from_numpy(np.array(images[rows]))


def resident(images: np.ndarray, selections: Iterable[Rows], device: str) -> Iterator[tuple[Rows, Tensor]]:
    """Batches of images that lie on the device as a whole."""
    everything = torch.from_numpy(np.array(images)).to(device)
    for rows in selections:
        yield rows, everything[rows if isinstance(rows, slice) else torch.from_numpy(rows).to(device)]


def read_ahead(images: np.ndarray, selections: Iterable[Rows], device: str) -> Iterator[tuple[Rows, Tensor]]:
    """Batches read by threads while earlier ones are computed; memory is bounded by AHEAD of them."""
    with ThreadPoolExecutor(READERS) as pool:
        reading = ((rows, *start_reading(pool, images, rows, device)) for rows in selections)
        waiting = deque(islice(reading, AHEAD))
        while waiting:
            waiting.extend(islice(reading, 1))
            rows, batch, parts = waiting.popleft()
            for part in parts:
                part.result()
            yield rows, batch.to(device, non_blocking=True)  # pinned memory is reused only when it was sent


def start_reading(
    pool: ThreadPoolExecutor, images: np.ndarray, rows: Rows, device: str
) -> tuple[Tensor, list[Future]]:
    """A batch that is being filled, and what fills its parts."""
    if isinstance(rows, slice):
        rows = np.arange(*rows.indices(len(images)))
    dtype = torch.from_numpy(np.empty(0, images.dtype)).dtype
    pinned = torch.device(device).type == "cuda"
    batch = torch.empty((len(rows), *images.shape[1:]), dtype=dtype, pin_memory=pinned)
    parts = zip(np.array_split(rows, READERS), np.array_split(batch.numpy(), READERS))
    return batch, [pool.submit(copy, images, some, out) for some, out in parts]


def copy(images: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Copy images[rows] into out."""
    images = np.asarray(images)
    if images.flags.c_contiguous:
        # "clip" lets numpy write into `out` directly; rows are within bounds by construction.
        np.take(images, rows, axis=0, out=out, mode="clip")
    else:  # a mirrored view, of which np.take would first copy the whole
        out[:] = images[rows]
