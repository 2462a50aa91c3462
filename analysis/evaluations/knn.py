"""1-NN accuracy at every size, trained or in between.

Database = training split, queries = validation split; slice z[:, :m], then normalise, L2 distance, label
of the nearest neighbour, ties to the lowest id (paper, section 4.1; docs/protocols.md, "1-NN").
"""

from collections.abc import Iterator

import numpy as np

from analysis.run import Run

MEASURES = ("neighbours",)
OPTIONS = {}


def score(run: Run) -> Iterator[dict]:
    """Rows top1 of val per size; `trained` says whether the size is in the method's nesting."""
    outcomes = run.outcomes("neighbours")
    database, labels = run.dataset.labels("train"), run.dataset.labels("val")
    for sizes, ids in (("sizes", "val/train/ids"), ("between/sizes", "between/ids")):
        hits = database[outcomes[ids][..., 0]] == labels  # [draws, sizes, n]
        for place, m in enumerate(outcomes[sizes]):
            yield run.mean(m, "val", "top1", hits[:, place], trained=int(m) in run.method.nesting)


def hits(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(trained sizes, whether the nearest neighbour has the query's label: bool [draws, sizes, n])."""
    outcomes = run.outcomes("neighbours")
    nearest = outcomes["val/train/ids"][..., 0]
    return outcomes["sizes"], run.dataset.labels("train")[nearest] == run.dataset.labels("val")
