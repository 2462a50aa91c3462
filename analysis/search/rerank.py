"""Shortlists ordered anew: candidates scored at any size of a representation, and funnels over these scores.

A *funnel* is a shortlist at one size, then stages (k, dim), each of which keeps the first k and orders these
at another size, by cosine of prefixes, ties to the lower id.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from analysis.search.candidates import keys_of
from analysis.search.prefix import shared_tensor
from analysis.search.resume import FinishedBlocks, fingerprint
from analysis.search.views import nearest_rows
from baselines.representation import Representation, View
from suite.errors import UserError

SEARCHED = 4096  # queries that are searched in one pass over the database
SCORE_BYTES = 128 * 2**20  # of scores in memory at once
ROW_BYTES = 2**20  # of database rows at once: they stay in a cache for the products at all sizes

# The size of the shortlist, then stages (k, dim).
Funnel = tuple[int, list[tuple[int, int]]]


class Prefixes:
    """Prefixes of one draw of a representation, on a pair of splits: scores of candidates at any size."""

    def __init__(self, representation: Representation, query: str, database: str, draw: int = 0):
        self.representation, self.draw = representation, draw
        self.queries, self.database = representation.array(query), representation.array(database)
        self._inverse_norms: dict[int, np.ndarray] = {}

    def by_view(self, dims: Sequence[int]) -> dict[View, list[int]]:
        """Which of `dims` each view serves. Raises UserError for a size that none does."""
        views = {}
        for m in dims:
            serving = [view for view in self.representation.serving(m) if view.draw == self.draw]
            if not serving:
                method, sizes = self.representation.method, map(str, self.representation.sizes)
                raise UserError(f"{method} has no representation of size {m}, only {', '.join(sizes)}")
            views.setdefault(serving[0], []).append(m)
        return views

    def cosines(self, rows: slice, ids: np.ndarray, dims: Sequence[int]) -> np.ndarray:
        """float32 [dims, L, rows, K]: cosine times the query's norm of candidates, at each of `dims`.

        ids: int [L, rows, K]. However many lists a candidate stands in, its database row is read once, and
        products at shorter sizes are partial sums of those at longer ones. Prefixes of norm zero score 0.
        """
        number = np.arange(ids.shape[1])[:, None]
        distinct, place = np.unique(ids + number * len(self.database), return_inverse=True)
        query, item = np.divmod(distinct, len(self.database))
        queries, scores = self.queries[rows], np.empty((len(dims), len(distinct)), np.float32)
        for view, served in self.by_view(dims).items():
            inverse, columns = self.inverse_norms(view, served), view.prefix(served[-1])
            asking = take(queries, slice(None), columns)
            for block in blocks(len(distinct), ROW_BYTES // (4 * served[-1])):
                asked, items = asking[query[block]], take(self.database, item[block], columns)
                for m, total in partial_products(asked, items, served, view.sizes):
                    scores[list(dims).index(m), block] = total * inverse[m][item[block]]
        return scores[:, place.reshape(ids.shape)]

    def inverse_norms(self, view: View, dims: Sequence[int]) -> dict[int, np.ndarray]:
        """1 / norm of every database row by size, float32 [N], 0 where the norm is; computed once."""
        if new := [m for m in dims if m not in self._inverse_norms]:
            self._inverse_norms |= {m: np.zeros(len(self.database), np.float32) for m in new}
            for block in blocks(len(self.database), ROW_BYTES // (4 * new[-1])):
                rows = take(self.database, block, view.prefix(new[-1]))
                for m, squares in partial_products(rows, rows, new, view.sizes):
                    norms, out = np.sqrt(squares), self._inverse_norms[m][block]
                    np.divide(1, norms, out=out, where=norms > 0, casting="same_kind")
        return self._inverse_norms


def take(array: np.ndarray, rows: slice | np.ndarray, columns: slice | np.ndarray) -> np.ndarray:
    """float32 [rows, columns]; other rows are not read, nor other columns where these are a slice."""
    chosen = array[:, columns][rows] if isinstance(columns, slice) else array[rows][:, columns]
    # torch turns float16 into float32 many at a time, numpy one by one.
    return shared_tensor(chosen).float().numpy()


def partial_products(
    a: np.ndarray, b: np.ndarray, dims: Sequence[int], cuts: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """(m, inner products of the rows' first m numbers, float64 [n]) for each m of `dims`, increasing.

    a, b: [n, d]. Row by row in the same order, so that equal rows have equal products whatever stands beside
    them: a matrix product does not promise that, and ties are broken by id. Sums are cut at the sizes `cuts`
    (increasing), asked for or not, so that a product does not depend, by rounding, on what else is asked.
    """
    total, done = np.zeros(len(a)), 0
    for m in dims:
        for low, high in pairwise((done, *(cut for cut in cuts if done < cut <= m))):
            total += np.einsum("nd,nd->n", a[:, low:high], b[:, low:high])
            done = high
        rest = np.einsum("nd,nd->n", a[:, done:m], b[:, done:m])  # of a size between two cuts
        yield m, total + rest


def blocks(count: int, size: int) -> Iterator[slice]:
    """0 … count in slices of at most `size` (at least 1)."""
    size = max(1, size)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def follow(
    prefixes: Prefixes,
    plan: Sequence[Funnel],
    starts: Sequence[int],
    lists: np.ndarray,
    keep: int,
    first: int = 0,
) -> np.ndarray:
    """int32 [plan, n, ≤ keep]: what each funnel of the plan leaves of its shortlist.

    lists: int [starts, n, K], nearest first at each size of `starts`, for the queries from `first`.
    """
    dims = sorted({dim for _, stages in plan for _, dim in stages})
    places = {start: list(starts).index(start) for start, _ in plan}
    parts = []
    per_query = 4 * len(dims) * lists.shape[0] * lists.shape[2]
    cuts = list(blocks(lists.shape[1], SCORE_BYTES // per_query))
    for cut in tqdm(cuts, desc="re-rank", unit="block", disable=len(cuts) == 1):
        some = lists[:, cut]
        scores = prefixes.cosines(slice(first + cut.start, first + cut.stop), some, dims)
        by_size = {start: dict(zip(dims, scores[:, place])) for start, place in places.items()}
        left = [narrow(some[places[start]], by_size[start], stages)[:, :keep] for start, stages in plan]
        parts.append(np.stack(left).astype(np.int32))
    return np.concatenate(parts, axis=1)


def search_and_follow(
    draws: Sequence[Prefixes],
    plan: Sequence[Funnel],
    keep: int,
    *,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> np.ndarray:
    """int32 [draws, plan, n, ≤ keep]: `follow` on shortlists as long as the plan asks for, searched here.

    device: of the searches. resume_dir: what finished blocks of queries have left is kept there, to go on
    from it; their shortlists, which are far larger, are not.
    """
    starts = sorted({start for start, _ in plan})
    longest = max(stages[0][0] for _, stages in plan)
    representation, queries, items = draws[0].representation, draws[0].queries, draws[0].database

    def key() -> dict:
        """What a finished block depends on, as JSON keeps it."""
        funnels = [[start, *map(list, stages)] for start, stages in plan]
        given = {"plan": funnels, "keep": keep, "queries_per_block": SEARCHED}
        arrays = {"queries": fingerprint(queries), "database": fingerprint(items)}
        return given | {"views": representation.meta["views"]} | arrays

    def left_of(rows: slice) -> list[np.ndarray]:
        lists = nearest_rows(representation, queries[rows], items, starts, longest, device=device)
        left = [follow(draw, plan, starts, some, keep, rows.start) for draw, some in zip(draws, lists)]
        return [np.stack(left)]

    finished, cuts = FinishedBlocks(resume_dir, key), blocks(len(queries), SEARCHED)
    return np.concatenate([finished.find(cut.start, partial(left_of, cut))[0] for cut in cuts], axis=2)


def narrow(ids: np.ndarray, scores: dict[int, np.ndarray], stages: Sequence[tuple[int, int]]) -> np.ndarray:
    """int [n, k_last]: of each row's shortlist, what is left after the stages, best first.

    ids: int [n, K], nearest first; scores: by size, float [n, K] of these ids, larger is nearer. A stage
    (k, dim) keeps the first k and orders them by their scores at `dim`, ties to the lower id.
    """
    chosen = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    for length, dim in stages:
        chosen = chosen[:, :length]
        of_ids, of_scores = (np.take_along_axis(a, chosen, axis=1) for a in (ids, scores[dim]))
        # One sort of integers instead of a stable sort by two keys: about five times faster.
        keys = keys_of(torch.from_numpy(of_scores), torch.from_numpy(of_ids.astype(np.int64))).numpy()
        chosen = np.take_along_axis(chosen, np.argsort(~keys, axis=1), axis=1)
    return np.take_along_axis(ids, chosen, axis=1)
