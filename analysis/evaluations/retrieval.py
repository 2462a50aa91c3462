"""Retrieval at every size: do the nearest neighbours have the query's label, and how high do they stand?

Queries of val and v2 against train, of unseen classes against a database of unseen classes (paper, section
4.3 and appendix E; docs/protocols.md, "Retrieval metrics"). Prefixes are cut, then normalised; cosine, ties
to the lowest id. Queries of an unseen class are alike, so their intervals are over classes.
"""

from collections.abc import Iterator
from functools import partial

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
from analysis.run import Items, Run
from suite.errors import UserError

MEASURES = ("neighbours",)
NAME, WORD = "retrieval mAP@10", ""
OPTIONS = {
    "ks": None,  # null: 1, 5, 10, 25, 50 and 100, as far as neighbours were saved
    # The database whose recall is also given over 1,300 items, whatever the class: ImageNet-1K's train.
    "recall_reference": None,
}
ALLOWED = {
    "ks": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1}},
    "recall_reference": {"type": "string"},
}
FIRST = 10  # neighbours whose relevance is frozen
UNSEEN = "query"  # queries whose classes are a sample, of all that could have been held out


def pairs(run: Run) -> list[tuple[str, str]]:
    """(query split, database split) that were searched."""
    names = [name.split("/") for name in run.outcomes("neighbours")]
    return [(name[0], name[1]) for name in names if len(name) == 3]


def alike(run: Run, query: str) -> np.ndarray | None:
    """What intervals are over: of unseen queries the classes, the sample, int64 [n]; else None, the items."""
    return run.dataset.labels(query) if query == UNSEEN else None


def first_relevant(run: Run, query: str, database: str) -> np.ndarray:
    """Whether each of the first neighbours has its query's label: bool [draws, sizes, n, ≤ 10]."""
    ids = run.outcomes("neighbours")[f"{query}/{database}/ids"][..., :FIRST]
    if (ids < 0).any():
        raise ValueError(f"{query}/{database}/ids has gaps: a size that a view of the method does not serve")
    return relevance(run.dataset.labels(database)[ids], run.dataset.labels(query))


def items(run: Run) -> Iterator[Items]:
    """map@10 of each pair of splits. AP@10 is not frozen, but its ten relevance bits: exact, and smaller."""
    for query, database in pairs(run):
        relevant = first_relevant(run, query, database)
        if relevant.shape[-1] == FIRST:
            yield Items(
                "map@10",
                query,
                run.outcomes("neighbours")["sizes"],
                relevant,
                partial(average_precision, k=FIRST),
                {"database": database},
                alike(run, query),
                array=f"{query}/{database}/relevant",
                main=query != "v2",
            )


def score(run: Run) -> Iterator[dict]:
    """Rows per size and k: top, p@, map@, map@_standard, recall@, recall@_reference; key: database.

    Raises UserError where `recall_reference` names no database that was searched.
    """
    outcomes, reference = run.outcomes("neighbours"), run.options["recall_reference"]
    databases = [database for _, database in pairs(run)]
    if reference not in (None, *databases):
        raise UserError(
            f"tasks.retrieval.recall_reference is {reference}; allowed: null, {', '.join(databases)} (of "
            f"ImageNet-1K alone); see {run.study.path}"
        )
    for query, database in pairs(run):
        labels, found = run.dataset.labels(query), run.dataset.labels(database)
        counts, groups = np.bincount(found, minlength=labels.max() + 1)[labels], alike(run, query)
        ids = outcomes[f"{query}/{database}/ids"]  # [draws, sizes, n, k]
        ks = run.options["ks"] or [k for k in KS if k <= ids.shape[-1]]
        for place, m in enumerate(outcomes["sizes"]):
            rel = relevance(found[ids[:, place]], labels)
            for metric, asked, values in scores(rel, counts, ks, reference == database):
                some = None if groups is None else groups[asked]
                yield run.mean(m, query, metric, values, some, database=database)


def scores(
    rel: np.ndarray, counts: np.ndarray, ks: list[int], reference: bool = False
) -> Iterator[tuple[str, slice | np.ndarray, np.ndarray]]:
    """(metric, which queries, one value for each of these [..., n]) for every k.

    rel: bool [..., n, K]; counts: int [n], database items of each query's class. Queries without any have no
    recall and no map@…_standard: they are left out of these, and `n` says so. reference: recall over 1,300
    items, too.
    """
    every, some = slice(None), counts > 0
    for k in ks:
        yield f"top{k}", every, top_k(rel, k)
        yield f"p@{k}", every, precision_at(rel, k)
        yield f"map@{k}", every, average_precision(rel, k)
        if reference:
            yield f"recall@{k}_reference", every, recall_reference(rel, k)
        if some.any():
            found = rel[..., some, :]
            yield f"recall@{k}", some, recall(found, k, counts[some])
            yield f"map@{k}_standard", some, average_precision_standard(found, k, counts[some])
