"""Approximate and compressed search with FAISS: what an index finds at each size, how fast, in which space.

An index holds the normalised prefixes of one size. Refined, its `shortlist` best are ordered by the full
vectors: adaptive retrieval as FAISS does it (paper, section 4.3.1). All are timed in one run on the same
queries, as one batch, the best of several repeats. Saved, for I configurations of an index:

    index int64 [I]                  place in the option `indexes`
    dim int64 [I]; refined bool [I]
    ids int32 [I, n, k]              in the database split, nearest first; -1 where fewer were found
    exact int32 [n, k]               the exact neighbours at the full size
    own int32 [I, n, k]              and at the configuration's own
    rows int64 [n]                   the queries, rows of the query split
    threads int64 [T]; seconds float64 [I, T]             for all n queries
    build_seconds, bytes_per_item float64 [I]             with one thread; as FAISS writes the index to disk
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import faiss
import numpy as np
from tqdm import tqdm

from baselines.representation import Representation
from suite.errors import UserError

READS = ("neighbours",)
ALONE = True  # what is timed must not share the cores with other jobs
# Keys of an index: `factory`, FAISS's name for it (github.com/facebookresearch/faiss/wiki/The-index-factory)
# or "Binary", one bit per dimension; `search`, FAISS's search parameters; `refine`, whether also refined.
OPTIONS = {
    "splits": ["val", "train"],  # queries, database
    "queries": 1000,  # at most so many, evenly spread over the split
    "k": 10,
    "shortlist": 200,  # K of the refined ones
    "seconds": 0.2,  # for which every search is repeated, at least
    "indexes": {
        "exact": {"factory": "Flat", "refine": True},
        "hnsw": {"factory": "HNSW32", "search": "efSearch=64", "refine": True},
        "ivf": {"factory": "IVF64,Flat", "search": "nprobe=8", "refine": True},
        "int8": {"factory": "SQ8"},
        "pq16": {"factory": "PQ16np"},
        "pq8": {"factory": "PQ8np"},
        "binary": {"factory": "Binary"},
    },
}
KEYS = {"factory", "search", "refine"}
BINARY, FLAT = "Binary", "Flat"
# Rows that are added to an index at once: what FAISS cuts and normalises on the way is copied twice.
BLOCK = 2**18


@dataclass(frozen=True)
class Built:
    """An index and what it cost: seconds to train and fill it, bytes when written."""

    index: object
    seconds: float
    bytes: int


def measure(representation: Representation, dataset, options, neighbours) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines. neighbours: what the measure of that name saved."""
    query, database = options["splits"]
    if query not in dataset or database not in dataset:
        raise UserError(
            f"measures.indexes.splits asks for {query} and {database}; the study has "
            f"{', '.join(dataset.splits)}"
        )
    count = len(dataset.labels(query))
    rows = np.linspace(0, count - 1, min(count, options["queries"])).astype(np.int64)
    full_view = representation.serving(representation.dim)[0]
    saved = dict(zip(neighbours["sizes"].tolist(), neighbours[f"{query}/{database}/ids"][full_view.draw]))
    parts = []
    for view in dict.fromkeys(representation.serving(m)[0] for m in representation.sizes):
        starts = range(0, len(dataset.labels(database)), BLOCK)
        full = flat(
            representation.features(database, view, rows=slice(start, start + BLOCK)) for start in starts
        )
        asked = normalised(representation.features(query, view)[rows])
        sizes = [m for m in representation.sizes if representation.serving(m)[0] == view]
        parts += measure_view(full, asked, sizes, options, refine=view == full_view)
    k = parts[0].ids.shape[1]
    return {
        "sizes": np.array(representation.sizes, np.int64),
        "rows": rows,
        "exact": saved[representation.dim][rows, :k],
        "own": np.stack([saved[part.dim][rows, :k] for part in parts]),
        "threads": np.array(thread_counts(), np.int64),
        **{key: np.array([getattr(part, key) for part in parts]) for key in Measured.__annotations__},
    }


@dataclass(frozen=True)
class Measured:
    """One configuration of an index: see the module's first lines."""

    index: int
    dim: int
    refined: bool
    ids: np.ndarray
    seconds: list[float]
    build_seconds: float
    bytes_per_item: float


def measure_view(
    full: Built, queries: np.ndarray, sizes: list[int], options: dict, refine: bool
) -> Iterator[Measured]:
    """Every wanted index of one view's prefixes.

    full: of the view's items, see `flat`; queries: float32 [n, d], rows of length 1.
    """
    items = vectors(full.index)
    k, shortlist = min(options["k"], len(items)), min(options["shortlist"], len(items))
    names = list(options["indexes"])
    pairs = list(wanted(options["indexes"], sizes))
    for name, m in tqdm(pairs, desc="indexes", unit="index"):
        given = options["indexes"][name]
        if given["factory"] == FLAT and m == items.shape[1]:
            built = full
        else:
            built = build(items, given["factory"], m, given.get("search", ""))
        wants_refined = refine and given.get("refine") and m < items.shape[1]
        for refined, index in searchers(built.index, full.index if wants_refined else None, shortlist / k):
            ids, seconds = time_searches(index, queries, k, options["seconds"])
            yield Measured(
                names.index(name),
                m,
                refined,
                ids.astype(np.int32),
                seconds,
                built.seconds,
                (built.bytes + refined * items.nbytes) / len(items),
            )


def wanted(indexes: Mapping[str, dict], sizes: list[int]) -> Iterator[tuple[str, int]]:
    """(name, size) of every index at every size it can have.

    A product quantiser of p parts needs a size that p divides; at p itself it would be a scalar quantiser.
    """
    for name, given in indexes.items():
        if "factory" not in given or set(given) - KEYS:
            raise UserError(
                f"measures.indexes.indexes.{name} has {', '.join(given)}; it needs factory and may have "
                "search and refine"
            )
        for m in sizes:
            parts = product_parts(given["factory"])
            if not parts or (m % parts == 0 and m > parts):
                yield name, m


def product_parts(factory: str) -> int:
    """Parts that a plain product quantiser cuts a vector into, 0 for other indexes.

    >>> product_parts("PQ16np"), product_parts("PQ32x4np"), product_parts("IVF64,Flat")
    (16, 32, 0)
    """
    found = re.fullmatch(r"PQ(\d+)(x\d+)?(np)?", factory)
    return int(found.group(1)) if found else 0


def flat(parts: Iterable[np.ndarray]) -> Built:
    """The exact index at the full size: the items' only copy in memory, normalised; see `vectors`.

    parts: float [n, d], one after the other.
    """
    index, seconds = None, 0.0
    for part in parts:
        unit = normalised(part)
        if index is None:
            index = faiss.IndexFlatL2(unit.shape[1])
        start = time.perf_counter()
        index.add(unit)
        seconds += time.perf_counter() - start
    return Built(index, seconds, written_bytes(index))


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
    start = time.perf_counter()
    if factory == BINARY:
        index = BinaryIndex(items[:, :dim])
    else:
        try:
            index = trained(items, factory, dim, search)
        except RuntimeError as error:
            reason = re.split(r"failed: |\.cpp:\d+: ", str(error))[-1]  # without FAISS's own file and line
            raise UserError(
                f"FAISS cannot make the index {factory} at size {dim} of {len(items)} items: {reason}; in a "
                "study's file, change it at measures.indexes.indexes"
            ) from error
        at_once = len(items) if dim == items.shape[1] else BLOCK
        for first in range(0, len(items), at_once):
            index.add(items[first : first + at_once])
    return Built(index, time.perf_counter() - start, written_bytes(index))


def trained(items: np.ndarray, factory: str, dim: int, search: str) -> faiss.Index:
    """An index for prefixes of `items`, trained and empty; see `build`. FAISS raises RuntimeError."""
    index = faiss.index_factory(dim, factory, faiss.METRIC_L2)
    if search:
        faiss.ParameterSpace().set_index_parameters(index, search)
    if dim < items.shape[1]:
        index = faiss.IndexPreTransform(faiss.NormalizationTransform(dim, 2.0), index)
        index.prepend_transform(faiss.RemapDimensionsTransform(items.shape[1], dim, False))
    if not index.is_trained:
        index.train(items)
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


def searchers(index, full: faiss.IndexFlatL2 | None, factor: float) -> Iterator[tuple[bool, object]]:
    """(refined, what to search): the index itself and, if `full` vectors are given, refined by them.

    factor: length of the shortlist divided by k.
    """
    yield False, index
    if full is not None:
        refined = faiss.IndexRefine(index, full)
        refined.k_factor = factor
        yield True, refined


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
        (_, ids), seconds = best_time(lambda: index.search(queries, k), least)
        times.append(seconds)
    return ids, times


def best_time(work: Callable[[], object], least: float) -> tuple[object, float]:
    """(what `work` returns, its seconds): the best of as many repeats as take `least` seconds in all."""
    best, spent = float("inf"), 0.0
    while True:
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        best, spent = min(best, seconds), spent + seconds
        if spent >= least:
            return result, best


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
