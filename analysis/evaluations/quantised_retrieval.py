"""Cut or quantise? Indexes and codes of every size against relevance judgements, and their bytes per item.

The configurations are those of the measure `indexes`, which searches normalised prefixes with FAISS: whole
vectors, float16, 8 and 4 bits a number, product quantisation, one bit; alone, or with the `shortlist` best
ordered by the full vectors (`refined`), which then have to be kept as well. FAISS compares distances: a row
of zeros lies 1 from every query, as far as a row with a cosine of ½.
"""

from collections.abc import Iterator

import numpy as np

from analysis.evaluations.index_retrieval import keys_of, names_of
from analysis.judged import mrr, ndcg, places, recall
from analysis.run import Run
from splits.store import Judgements

MEASURES = ("indexes",)
NEEDS = ("judgements",)
LABELS = False
OPTIONS = {
    "methods": None,  # names of methods; null: all baselines
}
ALLOWED = {
    "methods": {"type": "array", "minItems": 1, "items": {"type": "string"}},
}
PAIR = ("queries", "corpus")


def score(run: Run) -> Iterator[dict]:
    """ndcg@k, recall@k and mrr@k of each configuration, k of the measure; keys as in `index_retrieval`."""
    found = run.outcomes("indexes")
    arrays = {name: found["/".join((*PAIR, name))] for name in names_of(found, *PAIR)}
    ids, documents = arrays["ids"], len(run.dataset.labels(PAIR[1]))
    judgements = asked(run.dataset.judgements, arrays["rows"])
    k = ids.shape[-1]
    for place, m in enumerate(arrays["dim"]):
        keys = keys_of(run, arrays, place, documents)
        ranks = places(ids[place], judgements)
        for name, value in (("ndcg", ndcg), ("recall", recall), ("mrr", mrr)):
            yield run.mean(m, PAIR[0], f"{name}@{k}", value(ranks, judgements, k), **keys)


def asked(judgements: Judgements, rows: np.ndarray) -> Judgements:
    """Those of some queries, which are numbered anew. rows: int64 [n], increasing."""
    some = np.isin(judgements.query, rows)
    query = np.searchsorted(rows, judgements.query[some])
    return Judgements(query, judgements.document[some], judgements.gain[some], len(rows))
