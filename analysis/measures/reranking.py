"""Neighbour ids after re-ranking: the raw material of adaptive and of funnel retrieval.

Both are the same thing: a shortlist at a small size, then stages (k, dim), each of which keeps the first k
and orders these at a larger size (paper, section 4.3.1). Shortlists for all pairs of sizes are the ids that
`neighbours` saved; longer ones are searched here. Saved, per pair of splits, as ids in the database split,
nearest first by cosine of prefixes, ties to the lower id:

    <query>/<database>/pairs     int32 [draws, P, n, keep]   `pairs` int64 [P, 2]: shortlist_dim, rerank_dim
    <query>/<database>/lengths   int32 [draws, L, n, keep]   `lengths` int64 [L], all at size `lengths_dim`
    <query>/<database>/funnels   int32 [draws, F, n, 10]     `starts` int64 [F], `cascades` places in CASCADES
"""

from pathlib import Path

import numpy as np

from analysis.metrics import CASCADES, funnel_stages
from analysis.search.rerank import Funnel, Prefixes, follow, search_and_follow
from baselines.representation import Representation
from splits.store import Dataset
from suite.errors import UserError

SEARCHES = True
READS = ("neighbours",)
PAIRS = (("val", "train"), ("query", "database"))
FUNNEL = 10  # neighbours that every cascade ends with, wherever it reaches the full size
CUTS = True
OPTIONS = {
    "shortlist": 200,  # K for all pairs of sizes
    "lengths": [100, 200, 400, 800, 1600, 2048],  # K for one pair of sizes: from lengths_dim to the full one
    "lengths_dim": None,  # null: the smallest size
    "keep": 100,  # neighbours to save of a new order, fewer where a shortlist is shorter
}
ALLOWED = {
    "shortlist": {"minimum": 1, "at_most": "neighbours.k"},
    "lengths": {"minItems": 0, "items": {"type": "integer", "minimum": 1}},
    "lengths_dim": {"type": "integer", "minimum": 1},
    "keep": {"minimum": 1},
}


def measure(
    representation: Representation,
    dataset: Dataset,
    options: dict,
    neighbours,
    *,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines. neighbours: what the measure of that name saved.

    device, resume_dir: see `search_and_follow`.
    """
    sizes, full, shortlist = representation.sizes, representation.dim, options["shortlist"]
    pairs = [(short, m) for short in sizes for m in sizes if short <= m]
    lengths, lengths_dim = options["lengths"], options["lengths_dim"] or sizes[0]
    funnels = [(name, start) for name in CASCADES for start in sizes[:-1]]
    plans: dict[str, list[Funnel]] = {
        "pairs": [(short, [(shortlist, m)]) for short, m in pairs],
        "lengths": [(lengths_dim, [(k, full)]) for k in lengths],
        "funnels": [(start, funnel_stages(start, name, full)) for name, start in funnels],
    }
    found = {
        "sizes": np.array(sizes, np.int64),
        "pairs": np.array(pairs, np.int64),
        "lengths": np.array(lengths, np.int64),
        "lengths_dim": np.array(lengths_dim, np.int64),
        "cascades": np.array([list(CASCADES).index(name) for name, _ in funnels], np.int64),
        "starts": np.array([start for _, start in funnels], np.int64),
    }
    for query, database in PAIRS:
        if query in dataset and database in dataset:
            name = f"{query}/{database}"
            lists = neighbours[f"{name}/ids"]
            check_length(lists, shortlist, len(dataset.labels(database)))
            length = min(shortlist, lists.shape[-1])  # of this pair: a small database has fewer
            keep = min(options["keep"], length, *lengths)
            found[f"{name}/shortlist"] = np.array(length, np.int64)
            draws = [Prefixes(representation, query, database, draw) for draw in range(representation.draws)]
            plan, shortlists = plans["pairs"], zip(draws, lists[..., :length], strict=True)
            found[f"{name}/pairs"] = np.stack(
                [follow(prefixes, plan, sizes, some, keep) for prefixes, some in shortlists]
            )
            for kind, most in {"lengths": keep, "funnels": min(keep, FUNNEL)}.items():
                if plans[kind]:
                    folder = resume_dir and resume_dir / f"{query}-{database}" / kind
                    left = search_and_follow(draws, plans[kind], most, device=device, resume_dir=folder)
                    found[f"{name}/{kind}"] = left
    return found


def check_length(lists: np.ndarray, shortlist: int, items: int) -> None:
    """Raise UserError when fewer neighbours were saved than a shortlist takes. lists: [..., k]."""
    if lists.shape[-1] < min(shortlist, items):
        raise UserError(
            f"a shortlist of {shortlist} (measures.reranking.shortlist) takes more than the "
            f"{lists.shape[-1]} neighbours that were saved (measures.neighbours.k); see the study's file"
        )
