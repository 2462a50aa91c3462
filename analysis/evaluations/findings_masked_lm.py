"""Which of the paper's claims about masked language models (BERT) a study shows, by the rules of findings.py.

The paper says "within 0.5 %" of a network trained for each size, and in its own figures those networks are
ahead at every size: both are asked here.
"""

from collections.abc import Iterator

import numpy as np

from analysis.findings import (
    Claim,
    ahead_at_every_size,
    better_at_every_size,
    judge,
    within_margin_at_every_size,
)
from analysis.run import Run
from analysis.statistics import group_totals

MEASURES = ("predict",)
NEEDS = ("documents",)  # what the data must have beyond images and labels
OPTIONS = {
    "seed": 0,  # of the bootstrap
}


def masked_token_hits(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Masked-token top-1; an item is a document, since its tokens are alike."""
    outcomes, val = run.outcomes("predict"), run.dataset["val"]
    hits = outcomes["val/top5"][..., 0] == val.labels
    return outcomes["sizes"], group_totals(hits, val.items["document"].to_numpy())


READ = {"masked-token top1": masked_token_hits}
FF, TOP1 = "fixed_feature", "masked-token top1"
CLAIMS = (
    Claim(
        "lm_within",
        "MRL is within 0.5 points of FF at every size",
        within_margin_at_every_size,
        "mrl",
        FF,
        TOP1,
    ),
    Claim("lm_ff_ahead", "FF is ahead of MRL at every size", ahead_at_every_size, FF, "mrl", TOP1),
    Claim(
        "lm_truncated",
        "MRL beats truncation at every size below d",
        better_at_every_size,
        "mrl",
        "first_features",
        TOP1,
    ),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim, as in findings.py."""
    yield from judge(runs, CLAIMS, READ)
