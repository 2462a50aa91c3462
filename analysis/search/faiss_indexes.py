"""Approximate and compressed indexes of FAISS: built for normalised prefixes, refined, timed and weighed."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import faiss
import numpy as np

from suite.errors import UserError
from suite.timing import best, timed

# Factories of this file, beside FAISS's own: one bit per dimension; exact.
BINARY, FLAT = "Binary", "Flat"
# Rows that are added to an index at once: what FAISS cuts and normalises on the way is copied twice.
BLOCK = 2**18


@dataclass(frozen=True)
class Built:
    """An index and what it cost: seconds to train and fill it, bytes when written."""

    index: object
    seconds: float
    bytes: int


def flat(parts: Iterable[np.ndarray]) -> Built:
    """The exact index at the full size: the items' only copy in memory, normalised; see `vectors`.

    parts: float [n, d], one after the other.
    """
    index, seconds = None, 0.0
    for part in parts:
        unit = normalised(part)
        if index is None:
            index = faiss.IndexFlatL2(unit.shape[1])
        seconds += timed(partial(index.add, unit))[1][0]
    return Built(index, float(seconds), written_bytes(index))


def vectors(full: faiss.IndexFlatL2) -> np.ndarray:
    """float32 [N, d]: the index's own vectors, not copied; they are gone when it is."""
    return faiss.rev_swig_ptr(full.get_xb(), full.ntotal * full.d).reshape(full.ntotal, full.d)


def build(items: np.ndarray, factory: str, dim: int, search: str = "", threads: int = 1) -> Built:
    """An index of the prefixes of `items`, float32 [N, d] with rows of length 1.

    It takes full vectors: cutting them to size `dim` and normalising them belongs to its search. Raises
    UserError when FAISS does not know the factory, or needs more items to train it.
    """
    # One thread where little is trained: in many small steps, several mostly wait for each other.
    faiss.omp_set_num_threads(threads)
    try:
        index, (seconds, _) = timed(lambda: filled(items, factory, dim, search))
    except RuntimeError as error:
        reason = re.split(r"failed: |\.cpp:\d+: ", str(error))[-1]  # without FAISS's own file and line
        raise UserError(
            f"FAISS cannot make the index {factory} at size {dim} of {len(items)} items: {reason}; in a "
            "study's file, change it at measures.indexes.indexes"
        ) from error
    return Built(index, float(seconds), written_bytes(index))


def filled(items: np.ndarray, factory: str, dim: int, search: str) -> "faiss.Index | BinaryIndex":
    """An index for prefixes of `items`, which it holds; see `build`. FAISS raises RuntimeError."""
    if factory == BINARY:
        return BinaryIndex(items[:, :dim])
    index = faiss.index_factory(dim, factory, faiss.METRIC_L2)
    if search:
        faiss.ParameterSpace().set_index_parameters(index, search)
    if dim < items.shape[1]:
        index = faiss.IndexPreTransform(faiss.NormalizationTransform(dim, 2.0), index)
        index.prepend_transform(faiss.RemapDimensionsTransform(items.shape[1], dim, False))
    if not index.is_trained:
        index.train(items)
    at_once = len(items) if dim == items.shape[1] else BLOCK
    for first in range(0, len(items), at_once):
        index.add(items[first : first + at_once])
    return index


class BinaryIndex:
    """One bit per dimension, whether it is above the items' mean, compared by Hamming distance."""

    def __init__(self, items: np.ndarray):
        self.mean = items.mean(0)
        bits = self.bits(items)
        self.index = faiss.IndexBinaryFlat(8 * bits.shape[1])
        self.index.add(bits)

    def bits(self, features: np.ndarray) -> np.ndarray:
        """uint8 [n, dim / 8], rounded up to whole bytes; bits left over are 0 in all."""
        return np.packbits(features[:, : len(self.mean)] > self.mean, axis=1)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and ids [n, k], as FAISS's indexes give them."""
        return self.index.search(self.bits(queries), k)


def refine(index, full: faiss.IndexFlatL2, factor: float) -> faiss.IndexRefine:
    """An index whose shortlist, `factor` times k long, is ordered by the full vectors."""
    refined = faiss.IndexRefine(index, full)
    refined.k_factor = factor
    return refined


def thread_counts() -> list[int]:
    """One thread, and all."""
    return sorted({1, os.cpu_count()})


def time_searches(index, queries: np.ndarray, k: int, least: float) -> tuple[np.ndarray, list[float]]:
    """(ids int64 [n, k], seconds for all queries with one thread and with all): the best of several repeats.

    least: seconds for which a search is repeated.
    """
    times = []
    for number in thread_counts():
        faiss.omp_set_num_threads(number)
        (_, ids), seconds = best(lambda: index.search(queries, k), least)
        times.append(seconds)
    return ids, times


def written_bytes(index) -> int:
    """Bytes of an index as FAISS writes it: vectors or codes, links, lists, codebooks. Nothing is kept."""
    if isinstance(index, BinaryIndex):
        return index.index.ntotal * index.index.code_size
    written = 0

    def count(data: bytes) -> None:
        nonlocal written
        written += len(data)

    writer = faiss.BufferedIOWriter(faiss.PyCallbackIOWriter(count))
    faiss.write_index(index, writer)
    del writer  # flushes
    return written


def normalised(features: np.ndarray) -> np.ndarray:
    """float32 copy [n, d] with rows of length 1; rows of zeros stay."""
    copy = np.array(features, np.float32, order="C")
    faiss.normalize_L2(copy)
    return copy
