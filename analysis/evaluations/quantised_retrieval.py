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
METRICS = {"ndcg": ndcg, "recall": recall, "mrr": mrr}


def score(run: Run) -> Iterator[dict]:
    """ndcg@k, recall@k and mrr@k of each configuration, k of the measure; keys as in `index_retrieval`."""
    for m, keys, k, values in configurations(run):
        for name, outcomes in values.items():
            yield run.mean(m, PAIR[0], f"{name}@{k}", outcomes, **keys)


def configurations(run: Run) -> Iterator[tuple[int, dict, int, dict[str, np.ndarray]]]:
    """(size, keys, k, values of each query by metric) of each."""
    arrays, judgements = opened(run)
    documents, k = len(run.dataset.labels(PAIR[1])), arrays["ids"].shape[-1]
    for place, m in enumerate(arrays["dim"]):
        ranks = places(arrays["ids"][place], judgements)
        values = {name: of(ranks, judgements, k) for name, of in METRICS.items()}
        yield int(m), keys_of(run, arrays, place, documents), k, values


def exact(run: Run) -> np.ndarray:
    """ndcg@k of the exact search of full vectors, of the same queries: float64 [n]."""
    arrays, judgements = opened(run)
    return ndcg(places(arrays["exact"], judgements), judgements, arrays["exact"].shape[-1])


def opened(run: Run) -> tuple[dict[str, np.ndarray], Judgements]:
    """(outcomes of the measure by name, judgements of the queries that it took)."""
    found = run.outcomes("indexes")
    arrays = {name: found["/".join((*PAIR, name))] for name in names_of(found, *PAIR)}
    return arrays, asked(run.dataset.judgements, arrays["rows"])


def asked(judgements: Judgements, rows: np.ndarray) -> Judgements:
    """Those of some queries, which are numbered anew. rows: int64 [n], increasing."""
    some = np.isin(judgements.query, rows)
    query = np.searchsorted(rows, judgements.query[some])
    return Judgements(query, judgements.document[some], judgements.gain[some], len(rows))
