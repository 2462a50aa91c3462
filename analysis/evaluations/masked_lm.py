"""Masked-token accuracy at every size: is the best of all tokens the one that was masked?

Only masked positions are scored; all of them are masked, none shown or replaced (paper, 4.1: BERT). Tokens of
a document are alike, so the intervals are over documents.
"""

from collections.abc import Iterator

import numpy as np

from analysis.metrics import topk_hits
from analysis.run import Run, clustered_row

MEASURES = ("predict",)
NEEDS = ("documents",)  # what the data must have beyond images and labels
OPTIONS = {
    "frequent": 100,  # so many tokens, the most frequent of train, are reported apart from all others
}


def score(run: Run) -> Iterator[dict]:
    """Rows top1 and top5 of val per size; `tokens` says of which: all, frequent, or others."""
    outcomes = run.outcomes("predict")
    val = run.dataset["val"]
    documents = val.items["document"].to_numpy()
    frequent = run.dataset.classes["count"].nlargest(run.options["frequent"], keep="first").index
    common = np.isin(val.labels, frequent)
    kinds = {"all": np.full(len(common), True), "frequent": common, "others": ~common}
    kinds = {tokens: some for tokens, some in kinds.items() if some.any()}
    for size, m in enumerate(outcomes["sizes"]):
        for k in (1, 5):
            hits = np.stack([topk_hits(draw[size], val.labels, k) for draw in outcomes["val/top5"]])
            for tokens, some in kinds.items():
                yield clustered_row(run, m, "val", f"top{k}", hits[:, some], documents[some], tokens=tokens)
