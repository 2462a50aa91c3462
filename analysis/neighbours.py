"""Nearest neighbours at every size: the raw material of 1-NN and of all retrieval.

Saves per pair of splits `<query>/<database>/ids` int32 [draws, sizes, n, k], nearest first by cosine of
prefixes, ties to the lower id (PROTOCOLS: slice, then normalise); `sizes` says which size each row is. At
the study's sizes that this method was not trained for, only 1-NN is asked: `between/ids` [draws,
sizes, n, 1] of val against train, with `between/sizes`.
"""

import numpy as np

from analysis.search import prefix_search
from baselines.representation import Representation

MEASURE = "neighbour ids"
PAIRS = (("val", "train"), ("v2", "train"), ("query", "database"))
OPTIONS = {
    "k": 200,  # how many neighbours to keep; the paper's shortlist length
}


def measure(representation: Representation, world, study, options) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines."""
    sizes = representation.sizes
    found = {"sizes": np.array(sizes, np.int64)}
    for query, database in PAIRS:
        if query in world and database in world:
            found[f"{query}/{database}/ids"] = nearest(representation, query, database, sizes, options["k"])
    asked = sorted({*study.nesting, *study.interpolated} - set(sizes))  # an ablation may have other sizes
    between = [m for m in asked if representation.serving(m)]
    found["between/sizes"] = np.array(between, np.int64)
    found["between/ids"] = nearest(representation, "val", "train", between, 1)
    return found


def nearest(representation: Representation, query: str, database: str, sizes, k: int) -> np.ndarray:
    """int32 [draws, sizes, n, ≤ k]: ids in the database split, one search per view for all its sizes."""
    return nearest_rows(representation, representation.array(query), representation.array(database), sizes, k)


def nearest_rows(
    representation: Representation, queries: np.ndarray, items: np.ndarray, sizes, k: int
) -> np.ndarray:
    """int32 [draws, sizes, n, ≤ k]: as `nearest`, of any rows of the representation's arrays [·, D]."""
    k = min(k, len(items))
    ids = np.full((representation.draws, len(sizes), len(queries), k), -1, np.int32)
    for view in representation.views:
        dims = [m for m in sizes if view in representation.serving(m)]
        if dims:
            result = prefix_search(queries, items, dims, k, columns=view.columns, progress=True)
            ids[view.draw, [list(sizes).index(m) for m in dims]] = result.ids
    return ids
