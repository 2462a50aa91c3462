"""Cosines of matching and random pairs at every size, and the margin between them (paper, Table 6).

A wider margin means that the space is used better: matching pairs close, others far apart.
"""

from collections.abc import Iterator

from analysis.evaluations.zero_shot import CLASSES
from analysis.measures.cross_modal import PAIRS
from analysis.run import Run, clustered_row

MEASURES = ("cross_modal",)
NEEDS = ("captions",)  # what the data must have beyond images and labels
OPTIONS = {}


def score(run: Run) -> Iterator[dict]:
    """Rows `cosine` per split, size and kind of `pair`, and `margin`: positive minus random text–image."""
    outcomes = run.outcomes("cross_modal")
    for split, classes in CLASSES.items():
        if f"{split}/to_text" not in outcomes:
            continue
        labels = run.dataset.labels(split)
        cosines = {pair: outcomes[f"{split}/cosine/{pair}"] for pair in PAIRS}
        margin = cosines["positive"] - cosines["text_image"]
        for size, m in enumerate(outcomes["sizes"]):
            for pair, values in cosines.items():
                yield clustered_row(
                    run, m, split, "cosine", values[:, size], labels, classes=classes, pair=pair
                )
            yield clustered_row(run, m, split, "margin", margin[:, size], labels, classes=classes)
