"""Accuracy under shift: re-collected images (v2), outlines (sketch), renditions (r), naturally hard (a).

r and a hold some of the classes: logits are restricted to these before the argmax (paper, appendix H;
docs/protocols.md, "Robustness"). Their fair reference is the clean split with the same classes and the same
restriction, `val@r` and `val@a`; that of v2 and sketch is val itself.
"""

from collections.abc import Iterator

import numpy as np

from analysis.measures.predict import RESTRICTED, SPLITS, hits, restricted_rows
from analysis.run import Run

MEASURES = ("predict",)
OPTIONS = {}


def score(run: Run) -> Iterator[dict]:
    """Rows top1 per size and split; `classes` is the number of classes the argmax was taken over.

    r and a come restricted to their own classes and, for comparison, with all classes.
    """
    outcomes, dataset = run.outcomes("predict"), run.dataset
    splits = [name for name in SPLITS if name in dataset]
    restricted = {}
    for name in (name for name in RESTRICTED if name in dataset):
        for split in (name, f"val@{name}"):
            base, rows = restricted_rows(dataset, split)
            right = outcomes[f"{split}/restricted"] == dataset.labels(base)[rows]
            classes = len(np.unique(dataset.labels(name)))
            if split != name or classes < dataset.num_classes:  # else nothing is restricted
                restricted[split] = right, classes
    everything = {split: (hits(run, split), dataset.num_classes) for split in splits}
    for size, m in enumerate(outcomes["sizes"]):
        for found in (everything, restricted):
            for split, (right, classes) in found.items():
                yield run.mean(m, split, "top1", right[:, size], classes=classes)
