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
    found, judgements = run.outcomes("two_stages"), run.dataset.judgements
    full, single = int(found["sizes"][-1]), found["single"]
    items, k = len(run.dataset.labels("corpus")), single.shape[-1]

    def gain(ids: np.ndarray) -> np.ndarray:
        return ndcg(places(ids, judgements), judgements, FIRST)

    best = gain(single)
    keys = {"shortlist_k": 0, "items": items, "mflops": mflops_per_query(items, full)}
    yield run.mean(full, SPLIT, f"ndcg@{FIRST}", best, **keys)
    for (m, length), ids in zip(found["plans"].tolist(), np.moveaxis(found["ids"], 1, 0)):
        mflops = mflops_per_query(items, m, [(length, full)])
        keys = {"shortlist_k": length, "items": items, "mflops": mflops}
        values = gain(ids)
        kept = np.stack([shared(one, exact) for one, exact in zip(ids, single)])
        yield run.mean(m, SPLIT, f"ndcg@{FIRST}", values, **keys)
        yield run.mean(m, SPLIT, f"exact_recall@{k}", kept, **keys)
        yield run.mean(m, SPLIT, "difference", values - best, **keys)
