"""Approximate and compressed search at every size, plain and refined, against one exact search at full size.

What it finds (map@10, and how many of the exact neighbours), what it costs: milliseconds per query with one
thread and with all, seconds to build, bytes per item. Two searches are compared where they find as much. The
measure `indexes` says how it is measured.
"""

from collections.abc import Iterator

import numpy as np

from analysis.evaluations.retrieval import alike
from analysis.measures.indexes import searches
from analysis.metrics import average_precision, relevance
from analysis.run import Run
from analysis.search.faiss_indexes import effective

MEASURES = ("indexes",)
OPTIONS = {
    "methods": None,  # names of methods; null: all baselines
    "recalls": [0.9, 0.95, 0.99],  # of the exact neighbours, at which milliseconds are compared
}
ALLOWED = {
    "methods": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "recalls": {"items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}},
}


def score(run: Run) -> Iterator[dict]:
    """Rows per index, size and search parameters.

    Keys: index, factory, search, refined, shortlist_k (K, 0 where nothing is refined), items (N),
    bytes_per_item and bytes_shared (see the measure), threads where it is timed.

    exact_recall@k: share of the exact neighbours at full size that are found; own_recall@k: of those at the
    index's own size. milliseconds: per query, the median repeat (`repeats`; `fastest`, `slowest`), with
    `threads` threads. build_seconds. milliseconds_at_recall: of the fastest size and search parameters of an
    index that find at least the share `recall` of the exact neighbours; no row where none do.
    """
    found = run.outcomes("indexes")
    for query, database in run.study.measure_options("indexes")["splits"]:
        arrays = {name: found[f"{query}/{database}/{name}"] for name in names_of(found, query, database)}
        yield from pair_rows(run, arrays, found["threads"], query, database)


def names_of(found, query: str, database: str) -> list[str]:
    """Names of the arrays of one pair of splits."""
    start = f"{query}/{database}/"
    return [name.removeprefix(start) for name in found if name.startswith(start)]


def pair_rows(
    run: Run, found: dict[str, np.ndarray], threads: np.ndarray, query: str, database: str
) -> Iterator[dict]:
    """The rows of one pair of splits. found: its arrays by name."""
    items, labels = run.dataset.labels(database), run.dataset.labels(query)[found["rows"]]
    groups = alike(run, query)
    groups = None if groups is None else groups[found["rows"]]
    ids, exact, own = found["ids"], found["exact"], found["own"]
    n, k = exact.shape
    timed = []
    for place, m in enumerate(found["dim"]):
        keys = keys_of(run, found, place, len(items)) | {"database": database}
        rel = relevance(items[ids[place]], labels) & (ids[place] >= 0)  # -1: an index found fewer than k
        recalled = shared(ids[place], exact)
        yield run.mean(m, query, "top1", rel[..., 0], groups, **keys)
        yield run.mean(m, query, f"map@{k}", average_precision(rel, k), groups, **keys)
        yield run.mean(m, query, f"exact_recall@{k}", recalled, groups, **keys)
        yield run.mean(m, query, f"own_recall@{k}", shared(ids[place], own[place]), groups, **keys)
        yield run.row(m, query, "build_seconds", found["build_seconds"][place], 1, **keys)
        for column, number in enumerate(threads):
            spread = {key: 1000 * found[key][place, column] / n for key in ("fastest", "slowest")}
            spread |= {"threads": int(number), "repeats": int(found["repeats"][place, column])}
            milliseconds = 1000 * found["seconds"][place, column] / n
            row = run.row(m, query, "milliseconds", milliseconds, n, **keys, **spread)
            timed.append((recalled.mean(), row))
            yield row
    for recall in run.options["recalls"]:
        yield from fastest([row for reached, row in timed if reached >= recall], recall)


def keys_of(run: Run, found: dict[str, np.ndarray], place: int, items: int) -> dict:
    """What tells one configuration of an index from the others. items: N."""
    options = run.study.measure_options("indexes")
    name = list(options["indexes"])[found["index"][place]]
    given, refined = options["indexes"][name], bool(found["refined"][place])
    candidates = min(options["shortlist"] if refined else options["k"], items)
    return {
        "index": name,
        "factory": given["factory"],
        "search": effective(searches(given)[found["search"][place]], candidates) or "default",
        "refined": refined,
        "shortlist_k": candidates if refined else 0,
        "items": items,
        "bytes_per_item": found["bytes_per_item"][place],
        "bytes_shared": found["bytes_shared"][place],
    }


def fastest(rows: list[dict], recall: float) -> Iterator[dict]:
    """The fastest of some rows of milliseconds, per index, plain and refined, and number of threads."""
    best: dict[tuple, dict] = {}
    for row in sorted(rows, key=lambda row: row["value"]):
        best.setdefault((row["index"], row["refined"], row["threads"]), row)
    for row in best.values():
        yield row | {"metric": "milliseconds_at_recall", "recall": recall}


def shared(ids: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Share of each row's exact neighbours that are among the ids, float64 [n]. Both: int [n, k]."""
    return (ids[:, :, None] == exact[:, None, :]).any(1).mean(1)
