"""Nearest neighbours at every size: the raw material of 1-NN and of all retrieval.

Saves per pair of splits `<query>/<database>/ids` int32 [draws, sizes, n, k], nearest first by cosine of
prefixes, ties to the lower id (docs/protocols.md, "1-NN": cut, then normalised); `sizes` says which size
each row is. At the study's sizes that this method was not trained for, only 1-NN is asked: `between/ids`
[draws, sizes, n, 1] of val against train, with `between/sizes`. A prefix that is all zeros has no direction:
its cosines are 0 and its neighbours the lowest ids; `zeros/<split>` int64 [draws, sizes] counts such items.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.search.views import nearest_rows
from baselines.representation import Representation
from splits.store import Dataset

STUDY_SIZES = True
SEARCHES = True
PAIRS = (("val", "train"), ("v2", "train"), ("query", "database"), ("queries", "corpus"))
OPTIONS = {
    "k": 200,  # how many neighbours to keep; the paper's shortlist length
}
ALLOWED = {
    "k": {"minimum": 1},
}
BLOCK = 16_384  # rows that are read at once


def measure(
    representation: Representation,
    dataset: Dataset,
    options: dict,
    *,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines. device, resume_dir: see `nearest_rows`."""
    sizes = representation.sizes

    def nearest(query: str, database: str, sizes: Sequence[int], k: int, folder: str) -> np.ndarray:
        arrays, folder = map(representation.array, (query, database)), resume_dir and resume_dir / folder
        return nearest_rows(representation, *arrays, sizes, k, device=device, resume_dir=folder)

    found = {"sizes": np.array(sizes, np.int64)}
    for query, database in PAIRS:
        if query in dataset and database in dataset:
            ids = nearest(query, database, sizes, options["k"], f"{query}-{database}")
            found[f"{query}/{database}/ids"] = ids
            for split in (split for split in (query, database) if f"zeros/{split}" not in found):
                found[f"zeros/{split}"] = zero_prefixes(representation, split)
    asked = sorted(set(options["study_sizes"]) - set(sizes))  # an ablation may have other sizes
    between = [m for m in asked if representation.serving(m)]
    if "val" in dataset:
        found["between/sizes"] = np.array(between, np.int64)
        found["between/ids"] = nearest("val", "train", between, 1, "between")
    return found


def zero_prefixes(representation: Representation, split: str) -> np.ndarray:
    """Items whose prefix is all zeros, as one of features behind a ReLU may be: int64 [draws, sizes]."""
    found = np.zeros((representation.draws, len(representation.sizes)), np.int64)
    for view in representation.views:
        for start in range(0, len(representation.array(split)), BLOCK):
            rows = slice(start, start + BLOCK)
            part = representation.features(split, view, view.sizes[-1], rows)
            left = np.arange(len(part))  # a longer prefix of zeros begins with a shorter one
            for m in view.sizes:
                left = left[~part[left, : view.length(m)].any(axis=1)]
                found[view.draw, representation.sizes.index(m)] += len(left)
    return found
