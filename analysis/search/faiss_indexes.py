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

# Factories of this file, beside FAISS's own: one bit per dimension; exact; the first bits of an int8 code.
BINARY, FLAT = "Binary", "Flat"
TOP_BITS = {f"TopBits{bits}": bits for bits in (1, 2, 4, 8)}
OWN = {BINARY, *TOP_BITS}  # which take no search parameters
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


def filled(items: np.ndarray, factory: str, dim: int) -> "faiss.Index | BinaryIndex | TopBitsIndex":
    """An index for prefixes of `items`, which it holds; see `build`. FAISS raises RuntimeError."""
    if factory == BINARY:
        return BinaryIndex(items, dim)
    if factory in TOP_BITS:
        return TopBitsIndex(items, dim, TOP_BITS[factory])
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


class TopBitsIndex:
    """The first `bits` of FAISS's int8 code (SQ8) of full vectors, in the first `dim` dimensions.

    The code of a dimension divides its range, from the least to the largest number that any item has there,
    into 255; b bits leave 2^b cells, of which the middle is decoded. It is that of normalised full vectors,
    whatever dim and bits are: every smaller code is a part of it, in dimensions as in bits. Search is exact,
    over decoded prefixes, normalised again.
    """

    def __init__(self, items: np.ndarray, dim: int, bits: int):
        quantizer = faiss.ScalarQuantizer(items.shape[1], faiss.ScalarQuantizer.QT_8bit)
        quantizer.train(items)
        low, span = faiss.vector_to_array(quantizer.trained).reshape(2, -1)[:, :dim]
        codes = [quantizer.compute_codes(block)[:, :dim] for block in blocks(items)]
        self.dim, self.bits = dim, bits
        self.cells = np.concatenate(codes) >> (8 - bits)  # uint8 [N, dim]
        self.step = span * 2 ** (8 - bits) / 255
        self.first = low + self.step / 2

    def decoded(self, rows: slice) -> np.ndarray:
        """float32 [rows, dim], of length 1."""
        return normalised(self.first + self.step * self.cells[rows])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and ids [n, k], as FAISS's indexes give them."""
        found = faiss.ResultHeap(len(queries), k)
        for start in range(0, len(self.cells), BLOCK):
            part = self.decoded(slice(start, start + BLOCK))
            distances, ids = faiss.knn(normalised(queries[:, : self.dim]), part, min(k, len(part)))
            found.add_result(distances, ids + start)
        found.finalize()
        return found.D, found.I

    @property
    def bytes(self) -> int:
        """What it takes: codes, each of whole bytes, and the range of each dimension."""
        return len(self.cells) * -(-self.dim * self.bits // 8) + 2 * 4 * self.dim


class Reordered:
    """An index of this file whose shortlist, `factor` times k long, is ordered by the full vectors."""

    def __init__(self, index: BinaryIndex | TopBitsIndex, full: faiss.IndexFlatL2, factor: float):
        self.index, self.items, self.factor = index, vectors(full), factor

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and ids [n, k], as FAISS's indexes give them."""
        _, ids = self.index.search(queries, round(self.factor * k))
        asked, distances = normalised(queries), np.empty(ids.shape, np.float32)
        for row, some in enumerate(ids):
            distances[row] = ((self.items[some] - asked[row]) ** 2).sum(1)
        order = distances.argsort(axis=1, kind="stable")[:, :k]
        return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)


def refine(index, full: faiss.IndexFlatL2, factor: float) -> faiss.Index | Reordered:
    """An index whose shortlist, `factor` times k long, is ordered by the full vectors."""
    if isinstance(index, BinaryIndex | TopBitsIndex):
        return Reordered(index, full, factor)
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
    if isinstance(index, TopBitsIndex):
        return index.bytes
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
