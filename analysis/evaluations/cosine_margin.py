"""Cosines of matching and random pairs at every size, and the margin between them (paper, Table 6).

A wider margin means that the space is used better: matching pairs close, others far apart.
"""

from collections.abc import Iterator

from analysis.evaluations.zero_shot import searched
from analysis.measures.cross_modal import PAIRS
from analysis.run import Items, Run

MEASURES = ("cross_modal",)
NEEDS = ("captions",)
WORD = "cosine"


def items(run: Run) -> Iterator[Items]:
    """`cosine` per split and kind of `pair`, and `margin`: positive minus random text–image."""
    outcomes = run.outcomes("cross_modal")
    sizes, table = outcomes["sizes"], {"kept": False, "compared": False}
    for split, classes in searched(run):
        groups, keys = run.dataset.labels(split), {"classes": classes}
        cosines = {pair: outcomes[f"{split}/cosine/{pair}"] for pair in PAIRS}
        for pair, values in cosines.items():
            yield Items("cosine", split, sizes, values, keys=keys | {"pair": pair}, groups=groups, **table)
        margin = cosines["positive"] - cosines["text_image"]
        yield Items("margin", split, sizes, margin, keys=keys, groups=groups, **table)
