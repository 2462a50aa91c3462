"""Retrieval from a collection at every size, against relevance judgements: nDCG@10, recall, MRR@10, mAP.

Values are trec_eval's, query by query (analysis/judged.py); intervals are over queries. `renormalised` says
whether prefixes were normalised after they were cut or only before (analysis/measures/ranking.py).
"""

from collections.abc import Iterator
from functools import partial

from analysis.judged import average_precision, mrr, ndcg, recall
from analysis.metrics import metric_in_table
from analysis.run import Items, Run
from suite.errors import UserError

MEASURES = ("ranking",)
NEEDS = ("judgements",)
LABELS = False
NAME, WORD = "retrieval nDCG@10", ""
OPTIONS = {
    "recalls": [10, 100],  # k of recall@k
}
ALLOWED = {
    "recalls": {"items": {"type": "integer", "minimum": 1}},
}
FIRST = 10  # documents that nDCG and MRR are of
BYTES = 4  # of a number of a vector that is not quantised: float32


def items(run: Run) -> Iterator[Items]:
    """ndcg@10, recall@k, mrr@10 and map of the queries; ndcg@10 of renormalised prefixes is the main one."""
    judgements, outcomes = run.dataset.judgements, run.outcomes("ranking")
    depth = run.study.measure_options("ranking")["depth"]
    if too_long := [k for k in run.options["recalls"] if k > depth]:
        raise UserError(
            f"tasks.judged_retrieval.recalls has {too_long[0]}, but rankings end at {depth} "
            f"(measures.ranking.depth); see {run.study.path}"
        )
    values = {f"ndcg@{FIRST}": partial(ndcg, judgements=judgements, k=FIRST)}
    values |= {f"recall@{k}": partial(recall, judgements=judgements, k=k) for k in run.options["recalls"]}
    values |= {f"mrr@{FIRST}": partial(mrr, judgements=judgements, k=FIRST)}
    values |= {"map": partial(average_precision, judgements=judgements)}
    for name in ("renormalised", "cut"):
        if name in outcomes:
            for metric, value in values.items():
                first = metric == f"ndcg@{FIRST}"
                yield Items(
                    metric,
                    "queries",
                    outcomes["sizes"],
                    outcomes[name],
                    value,
                    {"renormalised": name == "renormalised"},
                    compared=name == "renormalised",
                    main=first and name == "renormalised",
                    array=f"queries/{name}",  # the ranks, which all metrics are of
                    title=NAME if first else f"retrieval {metric_in_table(metric, run.task).label}",
                )


def score(run: Run) -> Iterator[dict]:
    """Rows of means; keys: renormalised, bytes_per_item, trained (whether the model was, for this size).

    Of sparse codes also `nonzeros`, how many numbers of a document's code are not 0, on average.
    """
    trained, fitted = run.method.options.get("trained") or (), run.representation.meta.get("fit", {})
    stated = fitted.get("bytes_per_item", {})
    for row in run.means():
        size = stated.get(str(row["dim"]), BYTES * row["dim"])
        yield row | {"trained": row["dim"] in trained, "bytes_per_item": size}
    for m, count in fitted.get("nonzeros", {}).items():
        n = len(run.dataset.labels("corpus"))
        yield run.row(m, "corpus", "nonzeros", count, n, bytes_per_item=stated[m], trained=False)
