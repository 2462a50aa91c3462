"""Nearest neighbours at every size: the raw material of 1-NN and of all retrieval.

Saves per pair of splits `<query>/<database>/ids` int32 [draws, sizes, n, k], nearest first by cosine of
prefixes, ties to the lower id (docs/protocols.md, "1-NN": cut, then normalised); `sizes` says which size
each row is. At the study's sizes that this method was not trained for, only 1-NN is asked: `between/ids`
[draws, sizes, n, 1] of val against train, with `between/sizes`.
"""

from pathlib import Path

import numpy as np

from analysis.search import prefix_search
from baselines.representation import Representation

STUDY_SIZES = True
SEARCHES = True  # takes a device and resume_dir
PAIRS = (("val", "train"), ("v2", "train"), ("query", "database"))
OPTIONS = {
    "k": 200,  # how many neighbours to keep; the paper's shortlist length
}


def measure(
    representation: Representation,
    dataset,
    options,
    *,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines. device, resume_dir: see `nearest_rows`."""
    sizes = representation.sizes

    def nearest(query: str, database: str, sizes, k: int, folder: str) -> np.ndarray:
        return nearest_rows(
            representation,
            representation.array(query),
            representation.array(database),
            sizes,
            k,
            device=device,
            resume_dir=resume_dir and resume_dir / folder,
        )

    found = {"sizes": np.array(sizes, np.int64)}
    for query, database in PAIRS:
        if query in dataset and database in dataset:
            ids = nearest(query, database, sizes, options["k"], f"{query}-{database}")
            found[f"{query}/{database}/ids"] = ids
    asked = sorted(set(options["study_sizes"]) - set(sizes))  # an ablation may have other sizes
    between = [m for m in asked if representation.serving(m)]
    if "val" in dataset:
        found["between/sizes"] = np.array(between, np.int64)
        found["between/ids"] = nearest("val", "train", between, 1, "between")
    return found


def nearest_rows(
    representation: Representation,
    queries: np.ndarray,
    items: np.ndarray,
    sizes,
    k: int,
    *,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> np.ndarray:
    """int32 [draws, sizes, n, ≤ k]: ids of the nearest items, one search per view for all its sizes.

    queries, items: rows of the representation's arrays [·, D]. resume_dir: where what the searches have found
    is kept, see `prefix_search`.
    """
    k = min(k, len(items))
    ids = np.full((representation.draws, len(sizes), len(queries), k), -1, np.int32)
    for place, view in enumerate(representation.views):
        dims = [m for m in sizes if view in representation.serving(m)]
        if dims:
            result = prefix_search(
                queries,
                items,
                dims,
                k,
                columns=view.columns,
                device=device,
                resume_dir=resume_dir and resume_dir / f"view-{place}",
                progress=True,
            )
            ids[view.draw, [list(sizes).index(m) for m in dims]] = result.ids
    return ids
