"""Ranks of the judged documents at every size: the raw material of all retrieval from a collection.

Every query is searched among all documents, exactly, as far as `depth`. Saved are the ranks of the J judged
documents, from 0, with -1 for those further down: int32 [draws, sizes, J], in the order of the judgements;
another k needs no new search.

    renormalised   prefixes are cut, then normalised: cosine
    cut            vectors are normalised at their full size, then cut: inner product; of one nested view

Equal scores go to the document whose id is later in the order of text, as in trec_eval. A prefix of zeros has
score 0 with everything.
"""

from pathlib import Path

import numpy as np

from analysis.judged import places
from analysis.measures import empty
from analysis.search import prefix_search
from baselines.representation import Representation
from splits.store import Dataset

SEARCHES = True
OPTIONS = {
    "depth": 1000,  # documents of a ranking; trec_eval's map is of 1,000
}
ALLOWED = {
    "depth": {"minimum": 10},
}
SPARE = 32  # documents behind a ranking, among which a run of equal scores mostly ends
METRICS = {"renormalised": "cosine", "cut": "cut"}


def measure(
    representation: Representation,
    dataset: Dataset,
    options: dict,
    *,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines. device, resume_dir: see `prefix_search`."""
    judgements, later = dataset.judgements, later_first(dataset["corpus"].items["id"].to_numpy())
    arrays, sizes = [representation.array(split) for split in ("queries", "corpus")], representation.sizes
    found = {"sizes": np.array(sizes, np.int64)}
    for name, metric in METRICS.items():
        views = representation.views
        if metric == "cut" and (representation.draws > 1 or len(views) > 1 or views[0].whole):
            continue
        found[name] = empty(representation, len(judgements.query), dtype=np.int32)
        for number, view in enumerate(representation.views):
            folder = resume_dir and resume_dir / f"{name}-{number}"
            how = {"metric": metric, "columns": view.columns, "device": device, "resume_dir": folder}
            lengths = [view.length(m) for m in view.sizes]
            ids = ranked(*arrays, lengths, options["depth"], later, **how)
            at = [sizes.index(m) for m in view.sizes]
            found[name][view.draw, at] = places(ids, judgements)
    return found


def later_first(ids: np.ndarray) -> np.ndarray:
    """The place of each id when the last in the order of text comes first: int64 [N]."""
    order = np.argsort(ids, kind="stable")[::-1]
    place = np.empty(len(ids), np.int64)
    place[order] = np.arange(len(ids))
    return place


def ranked(
    queries: np.ndarray,
    corpus: np.ndarray,
    dims: tuple[int, ...],
    depth: int,
    later: np.ndarray,
    **how: object,
) -> np.ndarray:
    """The `depth` best rows of the corpus, int64 [S, n, ≤ depth]; equal scores in the order of `later`.

    how: as `prefix_search` takes it.
    """
    depth = min(depth, len(corpus))
    ids = np.empty((len(dims), len(queries), depth), np.int64)
    waiting, k = np.arange(len(queries)), min(depth + SPARE, len(corpus))
    while len(waiting):
        # What was kept belongs to all queries at the first depth: others are searched from the start.
        given = how if len(waiting) == len(queries) else how | {"resume_dir": None}
        found = prefix_search(queries[waiting], corpus, dims, k, progress=True, **given)
        # Equal scores at the end: which of them come first is known when all of them are.
        open_end = found.distances[..., depth - 1] == found.distances[..., -1]
        done = ~open_end.any(0) if k < len(corpus) else np.ones(len(waiting), bool)
        ids[:, waiting[done]] = in_order(found.ids[:, done], found.distances[:, done], later)[..., :depth]
        waiting, k = waiting[~done], min(4 * k, len(corpus))
    return ids


def in_order(ids: np.ndarray, distances: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Rankings [..., K] in which equal scores stand in the order of `later`."""
    ids = ids.copy()
    tied = np.argwhere((distances[..., 1:] == distances[..., :-1]).any(-1))
    for where in map(tuple, tied):
        run = np.cumsum(np.r_[0, distances[where][1:] != distances[where][:-1]])
        ids[where] = ids[where][np.lexsort((later[ids[where]], run))]
    return ids
