"""Approximate and compressed search at every size, plain and refined, against one exact search at full size.

What it finds (map@10, and how many of the exact neighbours), what it costs: milliseconds per query with one
thread and with all, seconds to build, bytes per item. The measure `indexes` says how it is measured.
"""

from collections.abc import Iterator

import numpy as np

from analysis.metrics import average_precision, relevance
from analysis.run import Run

MEASURES = ("indexes",)
OPTIONS = {
    "methods": None,  # names of methods; null: all baselines
}


def score(run: Run) -> Iterator[dict]:
    """Rows per index and size; keys: index, factory, refined, bytes_per_item, and threads where it is timed.

    exact_recall@k: share of the exact neighbours at full size that are found; own_recall@k: of those at the
    index's own size. milliseconds: per query, with `threads` threads. build_seconds.
    """
    found = run.outcomes("indexes")
    options = run.study.measure_options("indexes")
    query, database = options["splits"]
    names = list(options["indexes"])
    items, labels = run.dataset.labels(database), run.dataset.labels(query)[found["rows"]]
    ids, exact, own = found["ids"], found["exact"], found["own"]
    n, k = exact.shape
    for place, m in enumerate(found["dim"]):
        name = names[found["index"][place]]
        keys = {
            "index": name,
            "factory": options["indexes"][name]["factory"],
            "refined": bool(found["refined"][place]),
            "bytes_per_item": found["bytes_per_item"][place],
            "database": database,
        }
        rel = relevance(items[ids[place]], labels) & (ids[place] >= 0)  # -1: an index found fewer than k
        yield run.mean(m, query, "top1", rel[..., 0], **keys)
        yield run.mean(m, query, f"map@{k}", average_precision(rel, k), **keys)
        yield run.mean(m, query, f"exact_recall@{k}", shared(ids[place], exact), **keys)
        yield run.mean(m, query, f"own_recall@{k}", shared(ids[place], own[place]), **keys)
        yield run.row(m, query, "build_seconds", found["build_seconds"][place], 1, **keys)
        for threads, seconds in zip(found["threads"], found["seconds"][place]):
            keys_timed = {**keys, "threads": int(threads)}
            yield run.row(m, query, "milliseconds", 1000 * seconds / n, n, **keys_timed)


def shared(ids: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Share of each row's exact neighbours that are among the ids, float64 [n]. Both: int [n, k]."""
    return (ids[:, :, None] == exact[:, None, :]).any(1).mean(1)
