"""Accuracy under shift: re-collected images (v2), outlines (sketch), renditions (r), naturally hard (a).

r and a hold some of the classes: logits are restricted to these before the argmax (paper, appendix H;
docs/protocols.md, "Robustness"). Their fair reference is the clean split with the same classes and the same
restriction, `val@r` and `val@a`; that of v2 and sketch is val itself.
"""

from collections.abc import Iterator

import numpy as np

from analysis.measures.predict import RESTRICTED, SPLITS, restricted_rows
from analysis.run import Items, Run

MEASURES = ("predict",)
ASKS = ("v2", "sketch", "r", "a")
NAME = "classification"


def items(run: Run) -> Iterator[Items]:
    """top1 per split; `classes` is the number of classes the argmax was taken over.

    r and a come restricted to their own classes and, for comparison, with all classes.
    """
    outcomes, dataset = run.outcomes("predict"), run.dataset
    sizes, every = outcomes["sizes"], dataset.num_classes
    limited = {name: len(np.unique(dataset.labels(name))) for name in RESTRICTED if name in dataset}
    for split in (name for name in SPLITS if name in dataset):
        hits = outcomes[f"{split}/top5"][..., 0] == dataset.labels(split)
        compared = split != "val" and limited.get(split, every) == every  # val is linear's
        yield Items(
            "top1", split, sizes, hits, keys={"classes": every}, array=f"{split}/top1", compared=compared
        )
    for name, classes in limited.items():
        for split in (name, f"val@{name}"):
            base, rows = restricted_rows(dataset, split)
            hits = outcomes[f"{split}/restricted"] == dataset.labels(base)[rows]
            if split != name or classes < every:  # else nothing is restricted
                keys, own, array = {"classes": classes}, split == name, f"{split}/restricted"
                yield Items("top1", split, sizes, hits, keys=keys, array=array, kept=own, compared=own)
