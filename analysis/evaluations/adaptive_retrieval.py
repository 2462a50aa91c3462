"""Adaptive retrieval: a shortlist at a small size, re-ranked at a larger one, against one search.

All pairs shortlist_dim <= rerank_dim with K neighbours in the shortlist, and other K for one pair (paper,
section 4.3.1; docs/protocols.md, "Adaptive retrieval"). Compute is counted, in multiply-accumulates per
query; what it comes to in seconds is measured by index_retrieval.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from analysis.evaluations.retrieval import alike
from analysis.metrics import average_precision, mflops_per_query, precision_at, relevance
from analysis.run import Items, Run

MEASURES = ("neighbours", "reranking")
OPTIONS = {
    "methods": None,  # names of methods; null: all baselines
    "ks": [10],  # of map@ and p@
}
ALLOWED = {
    "methods": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "ks": {"minItems": 1, "items": {"type": "integer", "minimum": 1}},
}

AP10 = partial(average_precision, k=10)


def claimed(run: Run) -> Iterator[Items]:
    """map@10 re-ranked at the full size, by the shortlist's size; at the full size that of one search."""
    ranked = run.outcomes("reranking")
    shorts, reranked = ranked["pairs"].T
    places = np.flatnonzero(reranked == reranked.max())
    for query, database in split_pairs(ranked):
        rel = relevant(run, query, database, ranked[f"{query}/{database}/pairs"][:, places])
        keys = {"database": database}
        yield Items("map@10", query, shorts[places], rel, AP10, keys, groups=alike(run, query))


def score(run: Run) -> Iterator[dict]:
    """Rows top1, p@k and map@k.

    Keys: search (single or adaptive), shortlist_dim, rerank_dim, shortlist_k (K, 0 for a single search),
    items (N: where K is a large share of it, no shortlist can fail), mflops, database. dim: the size that
    decides the order.
    """
    single, ranked = run.outcomes("neighbours"), run.outcomes("reranking")
    for query, database in split_pairs(ranked):
        items = len(run.dataset.labels(database))
        length = ranked[f"{query}/{database}/shortlist"].item()
        full, start = ranked["pairs"].max(), ranked["lengths_dim"].item()
        listed = [
            ("single", single, "ids", [(m, m, 0) for m in single["sizes"]]),
            ("adaptive", ranked, "pairs", [(*pair, length) for pair in ranked["pairs"]]),
            ("adaptive", ranked, "lengths", [(start, full, min(k, items)) for k in ranked["lengths"]]),
        ]
        done = set()
        for search, outcomes, name, configurations in listed:
            if not configurations:  # no other lengths were asked for, and none are saved
                continue
            ids = outcomes[f"{query}/{database}/{name}"]
            for place, (short, m, k) in enumerate(configurations):
                if (search, short, m, k) in done:  # the pair whose K is varied has the usual K, too
                    continue
                done.add((search, short, m, k))
                stages = [(k, m)] if search == "adaptive" else []
                keys = {
                    "search": search,
                    "shortlist_dim": int(short),
                    "rerank_dim": int(m),
                    "shortlist_k": int(k),
                    "items": items,
                    "mflops": mflops_per_query(items, int(short), stages),
                    "database": database,
                }
                yield from rows(run, int(m), query, database, ids[:, place], run.options["ks"], keys)


def split_pairs(ranked) -> list[tuple[str, str]]:
    """(query, database) splits for which there are re-ranked neighbours."""
    names = [name.split("/") for name in ranked]
    return [(name[0], name[1]) for name in names if name[-1] == "shortlist"]


def relevant(run: Run, query: str, database: str, ids: np.ndarray) -> np.ndarray:
    """Whether each neighbour has its query's label. ids: int [..., n, K]."""
    return relevance(run.dataset.labels(database)[ids], run.dataset.labels(query))


def rows(
    run: Run, dim: int, query: str, database: str, ids: np.ndarray, ks: list[int], keys: dict
) -> Iterator[dict]:
    """Rows top1, p@k and map@k of neighbours in one order. ids: int [draws, n, K]."""
    rel = relevant(run, query, database, ids)
    groups = alike(run, query)
    yield run.mean(dim, query, "top1", rel[..., 0], groups, **keys)
    for k in ks:
        yield run.mean(dim, query, f"p@{k}", precision_at(rel, k), groups, **keys)
        yield run.mean(dim, query, f"map@{k}", average_precision(rel, k), groups, **keys)
