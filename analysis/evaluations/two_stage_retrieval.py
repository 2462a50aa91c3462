"""How long a shortlist? A search at a small size, ordered again at the full one, against one full search.

For every size and length of the shortlist: nDCG@10, its difference to that of the full search, with an
interval, the share of the full search's ten documents that are found (`exact_recall@10`), and
the multiply-accumulates of a query.
Both searches are exact; what approximate ones take in seconds is measured by `indexes`.
"""

from collections.abc import Iterator

import numpy as np

from analysis.evaluations.index_retrieval import shared
from analysis.judged import ndcg, places
from analysis.metrics import mflops_per_query
from analysis.run import Run

MEASURES = ("two_stages",)
NEEDS = ("judgements",)
LABELS = False
OPTIONS = {
    "methods": None,  # names of methods; null: all baselines
}
ALLOWED = {
    "methods": {"type": "array", "minItems": 1, "items": {"type": "string"}},
}
SPLIT, FIRST = "queries", 10


def score(run: Run) -> Iterator[dict]:
    """Rows ndcg@10, exact_recall@10 and difference; dim: the size of the shortlist.

    Keys: shortlist_k (K, 0 for one full search), items (N: where K is a large share of it, no shortlist can
    fail), mflops.
    """
    (full, keys, best, exact), *plans = searched(run)
    k = exact.shape[-1]
    yield run.mean(full, SPLIT, f"ndcg@{FIRST}", best, **keys)
    for m, keys, values, ids in plans:
        kept = np.stack([shared(one, wanted) for one, wanted in zip(ids, exact)])
        yield run.mean(m, SPLIT, f"ndcg@{FIRST}", values, **keys)
        yield run.mean(m, SPLIT, f"exact_recall@{k}", kept, **keys)
        yield run.mean(m, SPLIT, "difference", values - best, **keys)


def searched(run: Run) -> Iterator[tuple[int, dict, np.ndarray, np.ndarray]]:
    """(size, keys, nDCG@10 [draws, n], rows that were found [draws, n, k]) of the full search, then each."""
    found, judgements = run.outcomes("two_stages"), run.dataset.judgements
    full, items = int(found["sizes"][-1]), len(run.dataset.labels("corpus"))
    plans = [(full, 0, found["single"])]
    plans += [(m, k, ids) for (m, k), ids in zip(found["plans"].tolist(), np.moveaxis(found["ids"], 1, 0))]
    for m, length, ids in plans:
        mflops = mflops_per_query(items, m, [(length, full)] if length else [])
        keys = {"shortlist_k": length, "items": items, "mflops": mflops}
        yield m, keys, ndcg(places(ids, judgements), judgements, FIRST), ids
