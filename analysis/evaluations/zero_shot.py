"""Zero-shot classification: each image gets the class whose caption is nearest, at every size.

`unseen`: classes that were never trained on, told apart by their captions alone; `seen`: those that were, in
images that were not (paper, 4.1: ALIGN). Images of a class are alike, so the intervals are over classes.
"""

from collections.abc import Iterator

from analysis.metrics import topk_hits
from analysis.run import Items, Run

MEASURES = ("cross_modal",)
NEEDS = ("captions",)
NAME, WORD = "zero-shot classification", "zero-shot"
CLASSES = {"query": "unseen", "val": "seen"}


def searched(run: Run) -> list[tuple[str, str]]:
    """(split, whether its classes were "seen" or "unseen") of the splits whose captions were searched."""
    outcomes = run.outcomes("cross_modal")
    return [(split, classes) for split, classes in CLASSES.items() if f"{split}/to_text" in outcomes]


def items(run: Run) -> Iterator[Items]:
    """top1 and top5 per split, with `classes` (seen, unseen) and how many `candidates`."""
    outcomes = run.outcomes("cross_modal")
    for split, classes in searched(run):
        labels, found = run.dataset.labels(split), outcomes[f"{split}/to_text"]
        keys = {"classes": classes, "candidates": len(outcomes[f"{split}/captions"])}
        for k in (k for k in (1, 5) if k <= found.shape[-1]):  # a handful of candidates has no top 5
            yield Items(
                f"top{k}",
                split,
                outcomes["sizes"],
                topk_hits(found, labels, k),
                keys=keys,
                groups=labels,
                kept=k == 1,
                compared=k == 1,
                array=f"{split}/zero_shot",
            )
