"""Approximate and compressed indexes of FAISS: built for normalised prefixes, refined, timed and weighed.

Every index takes queries of the full size as they are: to cut them and to normalise them is a part of its
search, at every size, so that it is inside the clock for all.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import faiss
import numpy as np

from suite.errors import UserError
from suite.machine import cores
from suite.timing import repeated, timed

# Factories of this file, beside FAISS's own: one bit per dimension; exact.
BINARY, FLAT = "Binary", "Flat"
# Rows that are added to an index at once: what FAISS cuts and normalises on the way is copied twice.
BLOCK = 2**18


class TooFewItems(UserError):
    """An index learns from more items than there are."""


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


def whole(full: faiss.IndexFlatL2) -> faiss.Index:
    """The exact index at the full size, which normalises its queries like every other."""
    return faiss.IndexPreTransform(faiss.NormalizationTransform(full.d, 2.0), full)


def build(items: np.ndarray, factory: str, dim: int, threads: int = 1) -> Built:
    """An index of the prefixes of `items`, float32 [N, d], for queries [n, d].

    Raises UserError when FAISS does not know the factory, and TooFewItems where it needs more to train it.
    """
    # One thread where little is trained: in many small steps, several mostly wait for each other.
    faiss.omp_set_num_threads(threads)
    try:
        index, (seconds, _) = timed(lambda: filled(items, factory, dim))
    except RuntimeError as error:
        few = "Number of training points" in str(error)
        raise (TooFewItems if few else UserError)(
            f"FAISS cannot make the index {factory} at size {dim} of {len(items)} items: {reason(error)}; in "
            "a study's file, change it at measures.indexes.indexes"
        ) from error
    return Built(index, float(seconds), written_bytes(index))


def filled(items: np.ndarray, factory: str, dim: int) -> "faiss.Index | BinaryIndex":
    """An index for prefixes of `items`, which it holds; see `build`. FAISS raises RuntimeError."""
    if factory == BINARY:
        return BinaryIndex(items, dim)
    index = faiss.index_factory(dim, factory, faiss.METRIC_L2)
    index = faiss.IndexPreTransform(faiss.NormalizationTransform(dim, 2.0), index)
    if dim < items.shape[1]:
        index.prepend_transform(faiss.RemapDimensionsTransform(items.shape[1], dim, False))
    if not index.is_trained:
        index.train(items)
    for block in blocks(items):
        index.add(block)
    return index


def blocks(items: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of an array in parts of at most BLOCK."""
    return (items[first : first + BLOCK] for first in range(0, len(items), BLOCK))


def configure(index, search: str) -> None:
    """Set FAISS's search parameters ("efSearch=64"), if any. Raises UserError for those it does not know."""
    try:
        if search:
            faiss.ParameterSpace().set_index_parameters(index, search)
    except (RuntimeError, TypeError) as error:
        raise UserError(
            f"FAISS cannot search with {search}: {reason(error)}; in a study's file, change it at "
            "measures.indexes.indexes"
        ) from error


def reason(error: Exception) -> str:
    """FAISS's message without its own file and line."""
    return re.split(r"failed: |\.cpp:\d+: ", str(error))[-1]


class BinaryIndex:
    """One bit per dimension of normalised prefixes, whether it is above the items' mean; Hamming distance."""

    def __init__(self, items: np.ndarray, dim: int):
        self.dim = dim
        sums = sum(normalised(block[:, :dim]).sum(0, dtype=np.float64) for block in blocks(items))
        self.mean = (sums / len(items)).astype(np.float32)
        self.index = faiss.IndexBinaryFlat(8 * -(-dim // 8))
        for block in blocks(items):
            self.index.add(self.bits(block))

    def bits(self, features: np.ndarray) -> np.ndarray:
        """uint8 [n, dim / 8], rounded up to whole bytes; bits left over are 0 in all."""
        return np.packbits(normalised(features[:, : self.dim]) > self.mean, axis=1)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and ids [n, k], as FAISS's indexes give them."""
        return self.index.search(self.bits(queries), k)


def refine(index, full: faiss.IndexFlatL2, factor: float) -> faiss.Index:
    """An index whose shortlist, `factor` times k long, is ordered by the full vectors."""
    refined = faiss.IndexRefine(index, full)
    refined.k_factor = factor
    return faiss.IndexPreTransform(faiss.NormalizationTransform(full.d, 2.0), refined)


def thread_counts() -> list[int]:
    """One thread, and all."""
    return sorted({1, cores()})


def time_searches(index, queries: np.ndarray, k: int, least: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """(ids int64 [n, k]; seconds for all queries, float64 [repeats], with one thread and with all).

    least: see `repeated`.
    """
    times = []
    for number in thread_counts():
        faiss.omp_set_num_threads(number)
        (_, ids), seconds = repeated(partial(index.search, queries, k), least)
        times.append(seconds)
    return ids, times


def effective(search: str, asked: int) -> str:
    """The search parameters that FAISS uses: HNSW keeps at least as many candidates as are asked for.

    >>> effective("efSearch=64", 200), effective("nprobe=8", 200)
    ('efSearch=200', 'nprobe=8')
    """
    return re.sub(r"(?<=efSearch=)\d+", lambda found: str(max(int(found[0]), asked)), search)


def holds_vectors(factory: str) -> bool:
    """Whether an index keeps a float32 copy of what it is filled with, not codes.

    >>> [holds_vectors(factory) for factory in ("Flat", "HNSW32", "IVF64,Flat", "SQ8", "IVF64,PQ8", "Binary")]
    [True, True, True, False, False, False]
    """
    return re.fullmatch(r"(HNSW|NSG)\d+|(.+,)?Flat", factory) is not None


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
