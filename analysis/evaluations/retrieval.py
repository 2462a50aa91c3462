"""Retrieval at every size: do the nearest neighbours have the query's label, and how high do they stand?

Queries of val and v2 against train, of unseen classes against a database of unseen classes (paper, section
4.3 and appendix E; docs/protocols.md, "Retrieval metrics"). Prefixes are cut, then normalised; cosine, ties
to the lowest id.
"""

from collections.abc import Iterator

import numpy as np

from analysis.metrics import (
    KS,
    average_precision,
    average_precision_standard,
    precision_at,
    recall,
    recall_reference,
    relevance,
    top_k,
)
from analysis.run import Run

MEASURES = ("neighbours",)
OPTIONS = {
    "ks": None,  # null: 1, 5, 10, 25, 50 and 100, as far as neighbours were saved
}


def score(run: Run) -> Iterator[dict]:
    """Rows per size and k: top, p@, map@, map@_standard, recall@, recall@_reference; key: database."""
    outcomes = run.outcomes("neighbours")
    for name in (name for name in outcomes.files if name.count("/") == 2):
        query, database, _ = name.split("/")
        labels, items = run.dataset.labels(query), run.dataset.labels(database)
        counts = np.bincount(items, minlength=labels.max() + 1)[labels]
        ids = outcomes[name]  # [draws, sizes, n, k]
        ks = run.options["ks"] or [k for k in KS if k <= ids.shape[-1]]
        for place, m in enumerate(outcomes["sizes"]):
            rel = np.stack([relevance(items[found], labels) for found in ids[:, place]])
            for metric, values in scores(rel, counts, ks):
                yield run.mean(m, query, metric, values, database=database)


def scores(rel: np.ndarray, counts: np.ndarray, ks: list[int]) -> Iterator[tuple[str, np.ndarray]]:
    """(metric, one value per query [..., n]) for every k.

    rel: bool [..., n, K]; counts: int [n], database items of each query's class. Queries without any have no
    recall and no map@…_standard: they are left out of these, and `n` says so.
    """
    some = counts > 0
    for k in ks:
        yield f"top{k}", top_k(rel, k) > 0  # shares get an interval of their own
        yield f"p@{k}", precision_at(rel, k)
        yield f"map@{k}", average_precision(rel, k)
        yield f"recall@{k}_reference", recall_reference(rel, k)
        if some.any():
            found = rel[..., some, :]
            yield f"recall@{k}", recall(found, k, counts[some])
            yield f"map@{k}_standard", average_precision_standard(found, k, counts[some])
