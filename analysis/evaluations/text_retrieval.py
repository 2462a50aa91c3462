"""Retrieval across modalities at every size: captions that images ask for, images that captions ask for.

    image_to_text   recall@1, recall@5, recall@10: is the image's caption among the best k?
    text_to_image   top1, map@10: are the best images of the caption's class?

Candidates are the captions, or images, of the same split (see analysis/measures/cross_modal.py).
"""

from collections.abc import Iterator

import numpy as np

from analysis.evaluations.zero_shot import CLASSES
from analysis.metrics import average_precision_standard, relevance, topk_hits
from analysis.run import Run, clustered_row

MEASURES = ("cross_modal",)
NEEDS = ("captions",)  # what the data must have beyond images and labels
OPTIONS = {}
KS = (1, 5, 10)


def score(run: Run) -> Iterator[dict]:
    """Rows per split, `direction` and size; intervals over classes."""
    outcomes = run.outcomes("cross_modal")
    for split, classes in CLASSES.items():
        if f"{split}/to_text" not in outcomes:
            continue
        labels, captions = run.dataset.labels(split), outcomes[f"{split}/captions"]
        texts, images = outcomes[f"{split}/to_text"], labels[outcomes[f"{split}/to_image"]]
        relevant = np.bincount(labels, minlength=captions.max() + 1)[captions]
        asked = relevant > 0  # a caption whose images were all left out cannot be answered
        for size, m in enumerate(outcomes["sizes"]):
            keys = {"classes": classes, "direction": "image_to_text"}
            for k in (k for k in KS if k <= texts.shape[-1]):
                hits = np.stack([topk_hits(draw[size], labels, k) for draw in texts])
                yield clustered_row(run, m, split, f"recall@{k}", hits, labels, **keys)
            keys["direction"] = "text_to_image"
            rel = [relevance(draw[size][asked], captions[asked]) for draw in images]
            k = rel[0].shape[1]
            precision = np.stack([average_precision_standard(r, k, relevant[asked]) for r in rel])
            yield run.mean(m, split, "top1", np.stack([r[:, 0] for r in rel]), **keys)
            yield run.mean(m, split, f"map@{k}_standard", precision, **keys)
