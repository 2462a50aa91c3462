"""What a shortlist of every size and length leads to in a collection, and what one search finds.

A shortlist of K documents at a small size is ordered again at the full size; both by cosine of prefixes, ties
to the lower row. Saved are rows of the corpus, best first:

    ids      int32 [draws, P, n, 10]   `plans` int64 [P, 2]: size of the shortlist, K
    single   int32 [draws, n, 10]      one search at the full size
"""

from pathlib import Path

import numpy as np

from analysis.search.rerank import Prefixes, search_and_follow
from analysis.search.views import nearest_rows
from baselines.representation import Representation
from splits.store import Dataset

SEARCHES = True
KEEP = 10  # documents to save: what nDCG@10 is of
CUTS = True
OPTIONS = {
    "lengths": [10, 20, 50, 100, 200, 500],  # K, as far as there are as many documents
}
ALLOWED = {
    "lengths": {"minItems": 1, "items": {"type": "integer", "minimum": 10}},
}


def measure(
    representation: Representation,
    dataset: Dataset,
    options: dict,
    *,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines. device, resume_dir: see `search_and_follow`."""
    full, items = representation.dim, len(dataset.labels("corpus"))
    lengths = sorted({min(k, items) for k in options["lengths"]})
    plans = [(m, k) for m in representation.sizes if m < full for k in lengths]
    draws = [Prefixes(representation, "queries", "corpus", draw) for draw in range(representation.draws)]
    given = representation, draws[0].queries, draws[0].database, [full], min(KEEP, items)
    single = nearest_rows(*given, device=device, resume_dir=resume_dir and resume_dir / "single")[:, 0]
    ids = np.empty((len(draws), 0, *single.shape[1:]), np.int32)
    if plans:
        folder = resume_dir and resume_dir / "plans"
        stages = [(m, [(k, full)]) for m, k in plans]
        ids = search_and_follow(draws, stages, min(KEEP, items), device=device, resume_dir=folder)
    return {
        "sizes": np.array(representation.sizes, np.int64),
        "plans": np.array(plans, np.int64).reshape(-1, 2),
        "ids": ids,
        "single": single,
    }
