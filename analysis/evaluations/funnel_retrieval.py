"""Funnel retrieval: shortlists that shrink while the size they are ordered by doubles.

Cascades A, B and C from every size below the full one (paper, section 4.3.1 and appendix E;
docs/protocols.md, "Funnel retrieval").
"""

from collections.abc import Iterator

import numpy as np

from analysis.evaluations.adaptive_retrieval import AP10, relevant, rows, split_pairs
from analysis.evaluations.retrieval import alike
from analysis.metrics import CASCADES, funnel_stages, mflops_per_query
from analysis.run import Items, Run

MEASURES = ("reranking",)
OPTIONS = {
    "methods": None,  # names of methods; null: all baselines
}
ALLOWED = {
    "methods": {"type": "array", "minItems": 1, "items": {"type": "string"}},
}


def claimed(run: Run) -> Iterator[Items]:
    """map@10 of cascade A by the size it starts from; at the full size that of one search."""
    ranked = run.outcomes("reranking")
    places = np.flatnonzero(ranked["cascades"] == list(CASCADES).index("A"))
    sizes = np.append(ranked["starts"][places], ranked["pairs"].max())
    full = np.flatnonzero((ranked["pairs"] == ranked["pairs"].max()).all(1))
    for query, database in split_pairs(ranked) if len(places) else ():
        kept = ranked[f"{query}/{database}/funnels"][:, places, :, :10]
        one = ranked[f"{query}/{database}/pairs"][:, full, :, :10]
        rel = relevant(run, query, database, np.concatenate([kept, one], axis=1))
        keys = {"database": database}
        yield Items("map@10", query, sizes, rel, AP10, keys, groups=alike(run, query))


def score(run: Run) -> Iterator[dict]:
    """Rows top1, p@10 and map@10.

    Keys: cascade, shortlist_dim (its start), stages ("k:dim …"), items (N), mflops, database.
    """
    ranked = run.outcomes("reranking")
    full = int(ranked["pairs"].max())
    for query, database in split_pairs(ranked):
        if not len(ranked["starts"]):  # a method with one size has nothing to narrow down
            return
        ids = ranked[f"{query}/{database}/funnels"]
        items = len(run.dataset.labels(database))
        cascades = np.array(list(CASCADES))[ranked["cascades"]].tolist()
        for place, (cascade, start) in enumerate(zip(cascades, ranked["starts"].tolist())):
            stages = [(min(k, items), m) for k, m in funnel_stages(start, cascade, full)]
            keys = {
                "cascade": cascade,
                "shortlist_dim": start,
                "stages": " ".join(f"{k}:{m}" for k, m in stages),
                "items": items,
                "mflops": mflops_per_query(items, start, stages),
                "database": database,
            }
            yield from rows(run, full, query, database, ids[:, place], [10], keys)
