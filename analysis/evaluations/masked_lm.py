"""Masked-token accuracy at every size: is the best of all tokens the one that was masked?

Only masked positions are scored; all of them are masked, none shown or replaced (paper, 4.1: BERT). Tokens of
a document are alike, so the intervals are over documents.
"""

from collections.abc import Iterator

import numpy as np

from analysis.metrics import topk_hits
from analysis.run import Items, Run

MEASURES = ("predict",)
ASKS = ("val",)
NEEDS = ("documents",)
NAME, WORD = "masked-token accuracy", "masked-token"
OPTIONS = {
    "frequent": 100,  # so many tokens, the most frequent of train, are reported apart from all others
}
ALLOWED = {
    "frequent": {"minimum": 1},
}


def items(run: Run) -> Iterator[Items]:
    """top1 and top5 of val; `tokens` says of which: all, frequent, or others."""
    outcomes, val = run.outcomes("predict"), run.dataset["val"]
    documents = val.items["document"].to_numpy()
    frequent = run.dataset.classes["count"].nlargest(run.options["frequent"], keep="first").index
    common = np.isin(val.labels, frequent)
    kinds = {"all": np.full(len(common), True), "frequent": common, "others": ~common}
    for k in (1, 5):
        hits = topk_hits(outcomes["val/top5"], val.labels, k)
        for tokens, some in ((tokens, some) for tokens, some in kinds.items() if some.any()):
            yield Items(
                f"top{k}",
                "val",
                outcomes["sizes"],
                hits[..., some],
                keys={"tokens": tokens},
                groups=documents[some],
                kept=tokens == "all",
                compared=tokens == "all" and k == 1,
                main=tokens == "all" and k == 1,
                array=f"val/top{k}",
            )
