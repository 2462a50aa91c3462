"""Exact k nearest neighbours at every prefix size, in one pass over the database.

The inner product of two prefixes is a partial sum of the next longer one,

    S_m = S_m' + Q[:, m':m] X[:, m':m]^T,

so all sizes together cost one search at the largest of them, and sizes in between are nearly free. The
database is read in tiles that stay in the processor's cache, from memory or from a memory-mapped file,
and is never held whole; each size keeps its own k best.
"""

import hashlib
import mmap
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from analysis.search.candidates import GROUP, LOW_BITS, Best, capacity
from analysis.search.resume import FinishedBlocks, fingerprint
from suite.errors import UserError, unknown

METRICS = {
    "cosine": "squared L2 distance of L2-normalised prefixes, 2 - 2 cos",
    "l2": "squared L2 distance of prefixes",
    "ip": "inner product of prefixes, larger is nearer",
    "cut": "inner product of prefixes of what was L2-normalised at the largest size; larger is nearer",
}

# Database rows per tile and queries per strip: the scores of a strip (4 MB) and the operands of its products
# stay in a shared L3 cache. A GPU wants few, large kernels instead.
TILE = {"cpu": 2048, "cuda": 16384}
STRIP = {"cpu": 512, "cuda": 4096}
# Of fewer queries a tile has more rows on a CPU, as long as it holds no more numbers than this.
TILE_NUMBERS = 2**22
# A database of at most so many rows, and so many for each neighbour, is one tile on a CPU: where many of its
# rows are kept, choosing them once costs less than the products lose.
WHOLE, WHOLE_PER_NEIGHBOUR = 32_768, 128
# Queries searched in one pass: as many as keep their candidates within this.
CANDIDATE_BYTES = 512 * 2**20
MAX_QUERY_BLOCK = 4096


@dataclass(frozen=True)
class PrefixNeighbours:
    """The k nearest database rows of every query at every size, nearest first.

    dims: the sizes, increasing; ids: int64 [S, n, k]; distances: float32 [S, n, k], in the metric's own
    unit (see METRICS).
    """

    dims: tuple[int, ...]
    ids: np.ndarray
    distances: np.ndarray

    def at(self, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """ids int64 [n, k] and distances float32 [n, k] at one size; UserError if it was not searched."""
        if dim not in self.dims:
            raise unknown("dim", dim, self.dims, "the sizes given to prefix_search")
        place = self.dims.index(dim)
        return self.ids[place], self.distances[place]


def prefix_search(
    queries: np.ndarray,
    database: np.ndarray,
    dims: Sequence[int],
    k: int,
    *,
    metric: str = "cosine",
    columns: np.ndarray | slice | None = None,
    device: str | None = None,
    threads: int | None = None,
    query_block: int | None = None,
    database_block: int | None = None,
    resume_dir: str | Path | None = None,
    progress: bool = False,
) -> PrefixNeighbours:
    """The exact k nearest rows of `database` for each query, at each of `dims`.

    queries: float32 or float16 [n, D]; database: float32 or float16 [N, D], may be memory-mapped.
    metric: `cosine` slices and then normalises (the paper's 1-NN and retrieval protocol); a prefix of norm
    zero has similarity 0 (distance 2) to everything. `cut` normalises at the largest of `dims`, then slices.
    `l2` and `ip` take prefixes as they are.
    columns: an index array or slice; searches `queries[:, columns]` in `database[:, columns]`, read tile by
    tile, so that random features or a permutation need no copy of the database.
    device: "cpu" (default) or a CUDA device; threads: CPU threads (default: torch's own setting).
    query_block: queries per pass over the database; database_block: rows per tile. The defaults suit caches
    and keep memory bounded whatever the size of the database.
    resume_dir: finished query blocks are kept there, and a search of the same inputs goes on from them. They
    stay when the search is done: who asked for it removes the folder once the result is saved elsewhere.

    Equal scores go to the lowest id. Products and sums are float32.
    Raises UserError for sizes that do not increase or exceed the embeddings, k outside 1 … N, widths or
    types that do not match, and values that are NaN, infinite or too large to square.
    """
    queries, database = _as_embeddings(queries, "queries"), _as_embeddings(database, "database")
    dims, columns = _checked_sizes(dims, columns, queries.shape[1], database.shape[1])
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS, "analysis/search/prefix.py")
    if isinstance(k, bool) or int(k) != k or not 1 <= k <= len(database):
        allowed = f"k must be an integer from 1 to {len(database)}"
        raise UserError(f"k = {k} neighbours of {len(database)} database rows; {allowed}")
    if len(database) > LOW_BITS:
        raise UserError(f"a database of {len(database)} rows; ids are kept in 32 bits, so search it in parts")
    k, device = int(k), known_device(device or "cpu")
    given = {"threads": threads, "query_block": query_block, "database_block": database_block}
    for name, value in given.items():
        if value is not None and value < 1:
            raise UserError(f"{name} = {value}; it must be at least 1")
    block = query_block or default_query_block(len(dims), k, device)
    strip = -(-min(block, len(queries)) // (threads or torch.get_num_threads()))
    tile = min(database_block or default_tile(len(database), dims[-1], k, strip, device), len(database))
    tile = -(-tile // GROUP) * GROUP  # whole groups

    def key() -> dict:
        """What a finished block depends on; arrays by their fingerprint."""
        chosen = np.arange(queries.shape[1])[columns].tobytes()
        given = {"dims": list(dims), "k": k, "metric": metric, "query_block": block}
        given["columns"] = hashlib.sha256(chosen).hexdigest()
        return given | {"queries": fingerprint(queries), "database": fingerprint(database)}

    ids = np.empty((len(dims), len(queries), k), np.int64)
    distances = np.empty((len(dims), len(queries), k), np.float32)
    finished = FinishedBlocks(resume_dir, key)
    starts = range(0, len(queries), block)
    tiles = _Database(database, columns, dims, metric, tile, device)
    bar = tqdm(total=len(starts) * len(tiles), desc="search", unit="tile", disable=not progress)
    with bar, _workers(threads, device) as workers:
        for done, start in enumerate(starts, 1):
            rows = slice(start, min(start + block, len(queries)))
            search = partial(_search_block, queries[rows], start, tiles, k, workers, bar)
            ids[:, rows], distances[:, rows] = finished.find(start, search)
            bar.update(done * len(tiles) - bar.n)  # of a block that was kept
    return PrefixNeighbours(dims, ids, distances)


def default_tile(rows: int, dim: int, k: int, strip: int, device: torch.device) -> int:
    """Rows per tile of a database [rows, dim], for so many queries per strip."""
    least = TILE[device.type]
    if device.type != "cpu":
        return least
    if rows <= min(WHOLE, WHOLE_PER_NEIGHBOUR * k):
        return rows
    return max(least, min(least * STRIP["cpu"] // strip, TILE_NUMBERS // dim))


def default_query_block(sizes: int, k: int, device: str | torch.device = "cpu") -> int:
    """Queries per pass over the database: the candidates of all `sizes` fit CANDIDATE_BYTES."""
    strip = STRIP[torch.device(device).type]
    fitting = CANDIDATE_BYTES // (sizes * capacity(k) * 8)
    return max(1, min(fitting // strip * strip or fitting, max(MAX_QUERY_BLOCK, strip)))


class _Database:
    """The database as tiles of float32 rows, ready for products, in one reused piece of memory.

    Every tile has the same shape (the last one is filled with zeros), so that equal rows round alike in all.
    """

    def __init__(
        self,
        array: np.ndarray,
        columns: torch.Tensor | slice,
        dims: tuple[int, ...],
        metric: str,
        tile: int,
        device: torch.device,
    ):
        self.array, self.stored, self.columns = array, shared_tensor(array), columns
        self.dims, self.metric, self.tile = dims, metric, tile
        self.rows = torch.zeros(tile, dims[-1], device=device)
        # What turns running products into scores: a factor before and a term after each segment.
        sizes = (len(dims), tile)
        self.scale = torch.zeros(sizes, device=device) if metric == "cosine" else None
        self.shift = torch.zeros(sizes, device=device) if metric == "l2" else None

    def __len__(self) -> int:
        return -(-len(self.array) // self.tile)

    def tiles(self, workers: "_Workers") -> Iterator[tuple[int, int]]:
        """Load one tile after the other; yield its first id and its number of rows."""
        for start in range(0, len(self.array), self.tile):
            stop = min(start + self.tile, len(self.array))
            _advise(self.array, stop, min(stop + self.tile, len(self.array)), "MADV_WILLNEED")
            workers.each(partial(self._load, start), workers.shares(stop - start, self.tile))
            self.rows[stop - start :].zero_()
            _advise(self.array, start, stop, "MADV_DONTNEED")
            yield start, stop - start

    def _load(self, start: int, part: slice) -> None:
        """Fill the rows `part` of the tile that begins with id `start`."""
        rows = self.rows[part]
        first = start + part.start
        rows.copy_(_take(self.stored[first : start + part.stop], self.columns))
        squares = _prefix_squares(rows, self.dims, "database", first)
        if self.metric == "l2":  # ranks by q·x - |x|²/2
            self.shift[:, part] = torch.diff(squares, dim=0, prepend=squares[:1] * 0).float() / 2
        if self.metric == "cosine":
            # Rows are divided by the norm of the prefix that each segment ends, and the sum so far is taken
            # from the previous norm to the new one. The query's norm does not change the ranking.
            norms = squares.sqrt()
            inverse = torch.where(norms > 0, 1 / norms, 0)
            for (low, high), factor in zip(pairwise((0, *self.dims)), inverse.float(), strict=True):
                rows[:, low:high].mul_(factor[:, None])
            self.scale[1:, part] = (norms[:-1] * inverse[1:]).float()
        if self.metric == "cut":
            norms = squares[-1].sqrt()
            rows.mul_(torch.where(norms > 0, 1 / norms, 0).float()[:, None])


def _search_block(
    queries: np.ndarray, first: int, database: _Database, k: int, workers: "_Workers", bar: tqdm
) -> tuple[np.ndarray, np.ndarray]:
    """ids int64 [S, n, k] and distances float32 [S, n, k] of one block of queries [n, D].

    first: the block's first row among all queries, for messages.
    """
    queries = _take(shared_tensor(queries), database.columns).float().contiguous().to(database.rows.device)
    query_squares = _prefix_squares(queries, database.dims, "queries", first)
    best = [Best(len(queries), k, queries.device) for _ in database.dims]
    strips = workers.shares(len(queries), STRIP[queries.device.type])
    for start, valid in database.tiles(workers):
        workers.each(partial(_search_strip, queries, database, best, start, valid), strips)
        bar.update()
    ids, scores = map(torch.stack, zip(*(one.sorted() for one in best), strict=True))
    return ids.cpu().numpy(), _distances(scores, query_squares, database.metric).cpu().numpy()


def _search_strip(
    queries: torch.Tensor, database: _Database, best: list[Best], start: int, valid: int, strip: slice
) -> None:
    """Score the queries in `strip` against the loaded tile, shortest prefix first, and keep the best."""
    scores = queries.new_empty(strip.stop - strip.start, database.tile)
    for place, (low, high) in enumerate(pairwise((0, *database.dims))):
        if place and database.scale is not None:
            scores.mul_(database.scale[place])
        rows = database.rows[:, low:high].T
        torch.addmm(scores, queries[strip, low:high], rows, beta=1 if place else 0, out=scores)
        if database.shift is not None:
            scores.sub_(database.shift[place])
        best[place].offer(strip, scores, start, valid)


def _prefix_squares(rows: torch.Tensor, dims: tuple[int, ...], what: str, start: int) -> torch.Tensor:
    """Squared norms of every prefix, float64 [S, rows]; UserError when one of them is not finite."""
    norms = [torch.linalg.vector_norm(rows[:, low:high], dim=1) for low, high in pairwise((0, *dims))]
    squares = torch.stack(norms).double().square().cumsum(0)
    bad = (~squares[-1].isfinite()).nonzero()
    if len(bad):
        raise UserError(
            f"{what} row {start + int(bad[0])} has a NaN, an infinite value or one too large to square in "
            f"float32 among the {dims[-1]} columns searched; embeddings must be finite"
        )
    return squares


def _distances(scores: torch.Tensor, query_squares: torch.Tensor, metric: str) -> torch.Tensor:
    """Scores [S, n, k] in the metric's own unit; query_squares: float64 [S, n]."""
    if metric == "ip":
        return scores
    if metric == "l2":
        return (query_squares[..., None] - 2 * scores.double()).clamp_(min=0).float()
    norms = query_squares.sqrt()[..., None]
    if metric == "cut":
        norms = norms[-1:]
    cosine = torch.where(norms > 0, scores.double() / norms, 0)
    if metric == "cut":
        return cosine.float()
    return (2 - 2 * cosine).clamp_(min=0).float()


def shared_tensor(array: np.ndarray) -> torch.Tensor:
    """The array as a tensor over the same memory, or the same file; only to be read."""
    with warnings.catch_warnings():
        # Torch has no read-only tensors and warns of files mapped for reading; nothing here writes.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _take(rows: torch.Tensor, columns: torch.Tensor | slice) -> torch.Tensor:
    """rows[:, columns], not copied where columns is a slice."""
    return rows[:, columns] if isinstance(columns, slice) else rows.index_select(1, columns)


def _advise(array: np.ndarray, start: int, stop: int, advice: str) -> None:
    """Tell the kernel which rows of a memory-mapped array are next and which are done with.

    Pages that were read count as this process's memory until they are given back; the file's own cache keeps
    them. Only for maps opened for reading, where nothing can be lost.
    """
    owner = getattr(array, "_mmap", None)
    if owner is None or array.mode != "r" or not hasattr(mmap, advice) or start >= stop:
        return
    base = np.frombuffer(owner, np.uint8)
    first = array[start:stop].ctypes.data - base.ctypes.data
    first -= first % mmap.PAGESIZE
    length = min((stop - start) * abs(array.strides[0]) + mmap.PAGESIZE, len(base) - first)
    owner.madvise(getattr(mmap, advice), first, length)


class _Workers:
    """Runs pieces of work side by side: on CPU threads of one core each, or one by one for a GPU.

    Threads that each work on their own piece do not wait for each other after every small operation, as
    torch's own do; that is faster, and much faster where other programs share the cores.
    """

    def __init__(self, pool: ThreadPoolExecutor | None, count: int):
        self.pool, self.count = pool, count

    def shares(self, rows: int, most: int) -> list[slice]:
        """0 … rows cut into slices of at most `most`, as many for each worker and nearly equal."""
        pieces = min(rows, -(-rows // (most * self.count)) * self.count)
        edges = [rows * piece // pieces for piece in range(pieces + 1)]
        return [slice(low, high) for low, high in pairwise(edges)]

    def each(self, work: Callable[[slice], None], pieces: list[slice]) -> None:
        """Do `work` on every piece; what one raises is raised here."""
        for _ in (self.pool.map if self.pool else map)(work, pieces):
            pass


@contextmanager
def _workers(threads: int | None, device: torch.device) -> Iterator[_Workers]:
    """Workers with true float32 products; torch's own settings are put back afterwards."""
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # not the 10-bit mantissas of TF32
    try:
        if device.type == "cuda":
            yield _Workers(None, 1)
        else:
            count = threads or before[0]
            torch.set_num_threads(1)
            with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield _Workers(pool, count)
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


def _as_embeddings(array: np.ndarray, what: str) -> np.ndarray:
    """The array itself (a memory map stays one), or UserError if it is not float32 or float16 [n, D]."""
    array = array if isinstance(array, np.ndarray) else np.asarray(array)
    if array.ndim != 2 or 0 in array.shape or array.dtype not in (np.float32, np.float16):
        given = f"{what} are {array.dtype} {list(array.shape)}"
        raise UserError(f"{given}; embeddings must be float32 or float16 [n, D], with at least one row")
    if min(array.strides) < 0:
        raise UserError(f"{what} are a reversed view, which torch cannot read; copy them, or use `columns`")
    return array


def _checked_sizes(
    dims: Sequence[int], columns: np.ndarray | slice | None, width: int, database_width: int
) -> tuple[tuple[int, ...], torch.Tensor | slice]:
    """The sizes, and the columns of the largest: a slice with a positive step, or indices, int64.

    UserError saying what does not fit.
    """
    if width != database_width:
        differ = f"queries have {width} columns, the database {database_width}"
        raise UserError(f"{differ}; they must come from the same embedding")
    dims = tuple(int(dim) for dim in dims)
    if not dims or dims[0] < 1 or any(a >= b for a, b in pairwise(dims)):
        raise UserError(f"dims = {list(dims)}; sizes must be at least 1 and increase, like 8, 16, 32")
    asked = slice(None) if columns is None else columns
    try:
        chosen = np.arange(width)[asked]
    except IndexError as error:
        raise UserError(f"columns do not fit embeddings with {width} columns: {error}") from None
    if chosen.ndim != 1:
        raise UserError(f"columns choose an array {list(chosen.shape)}; give a slice or one list of indices")
    if dims[-1] > len(chosen):
        have = f"{len(chosen)} columns{'' if columns is None else ' among those chosen'}"
        raise UserError(f"dim {dims[-1]} is longer than the embeddings, which have {have}")
    chosen = chosen[: dims[-1]]
    if isinstance(asked, slice) and (asked.step or 1) > 0:
        return dims, slice(int(chosen[0]), int(chosen[-1]) + 1, asked.step)
    return dims, torch.from_numpy(chosen.copy())  # a reversed slice is a view that torch cannot read


def known_device(device: str | torch.device) -> torch.device:
    """The device, or UserError if the search does not know it or it is not there."""
    try:
        known = torch.device(device)
    except RuntimeError:
        known = None
    if known is None or known.type not in TILE:
        raise UserError(f"device {str(device)!r}; the search runs on cpu, cuda, cuda:0, cuda:1 …")
    if known.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {str(device)!r}, but torch finds no GPU here; use cpu")
    return known
