"""Zero-shot classification: each image gets the class whose caption is nearest, at every size.

`unseen`: classes that were never trained on, told apart by their captions alone; `seen`: those that were, in
images that were not (paper, 4.1: ALIGN). Images of a class are alike, so the intervals are over classes.
"""

from collections.abc import Iterator

import numpy as np

from analysis.metrics import topk_hits
from analysis.run import Run, clustered_row

MEASURES = ("cross_modal",)
NEEDS = ("captions",)  # what the data must have beyond images and labels
OPTIONS = {}
CLASSES = {"query": "unseen", "val": "seen"}


def score(run: Run) -> Iterator[dict]:
    """Rows top1 and top5 per split and size, with `classes` (seen, unseen) and how many `candidates`."""
    outcomes = run.outcomes("cross_modal")
    for split, classes in CLASSES.items():
        if f"{split}/to_text" not in outcomes:
            continue
        labels, found = run.dataset.labels(split), outcomes[f"{split}/to_text"]
        keys = {"classes": classes, "candidates": len(outcomes[f"{split}/captions"])}
        for size, m in enumerate(outcomes["sizes"]):
            for k in (k for k in (1, 5) if k <= found.shape[-1]):  # a handful of candidates has no top 5
                hits = np.stack([topk_hits(draw[size], labels, k) for draw in found])
                yield clustered_row(run, m, split, f"top{k}", hits, labels, **keys)
