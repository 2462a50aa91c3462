"""Retrieval across modalities at every size: captions that images ask for, images that captions ask for.

    image_to_text   recall@1, recall@5, recall@10: is the image's caption among the best k?
    text_to_image   top1, map@10: are the best images of the caption's class?

Candidates are the captions, or images, of the same split (see analysis/measures/cross_modal.py).
"""

from collections.abc import Iterator

import numpy as np

from analysis.evaluations.zero_shot import searched
from analysis.metrics import average_precision_standard, relevance, topk_hits
from analysis.run import Items, Run

MEASURES = ("cross_modal",)
NEEDS = ("captions",)
KS = (1, 5, 10)


def items(run: Run) -> Iterator[Items]:
    """Per split and `direction`; images of a class are alike, so the intervals of images are over classes."""
    outcomes = run.outcomes("cross_modal")
    sizes, table = outcomes["sizes"], {"kept": False, "compared": False}
    for split, classes in searched(run):
        labels, captions = run.dataset.labels(split), outcomes[f"{split}/captions"]
        texts, images = outcomes[f"{split}/to_text"], labels[outcomes[f"{split}/to_image"]]
        relevant = np.bincount(labels, minlength=captions.max() + 1)[captions]
        asked = relevant > 0  # a caption whose images were all left out cannot be answered
        keys = {"classes": classes, "direction": "image_to_text"}
        for k in (k for k in KS if k <= texts.shape[-1]):
            hits = topk_hits(texts, labels, k)
            yield Items(f"recall@{k}", split, sizes, hits, keys=keys, groups=labels, **table)
        keys = {"classes": classes, "direction": "text_to_image"}
        rel = relevance(images[:, :, asked], captions[asked])
        k = rel.shape[-1]
        precision = average_precision_standard(rel, k, relevant[asked])
        yield Items("top1", split, sizes, rel[..., 0], keys=keys, **table)
        yield Items(f"map@{k}_standard", split, sizes, precision, keys=keys, **table)
