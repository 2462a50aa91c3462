"""Which of the paper's claims about masked language models (BERT) a study shows (rules: ../findings.py).

The paper says "within 0.5 %" of a network trained for each size, and in its own figures those networks are
ahead at every size: both are asked here.
"""

from collections.abc import Iterator

from analysis.findings.decide import decided
from analysis.findings.evidence import Claim, Outcome
from analysis.findings.rules import (
    below_full,
    each,
    every,
)
from analysis.run import Run

READS = ("masked_lm",)
OPTIONS = {
    "seed": 0,  # of the bootstrap
}
FF, TOP1 = "fixed_feature", Outcome("masked_lm", dataset="wikipedia_bookscorpus")
WITHIN, AHEAD = "MRL is as accurate as FF at every size", "FF is ahead of MRL at every size"
TRUNCATED = "MRL beats truncation at every size below d"
CLAIMS = (
    Claim("lm_within", WITHIN, each(every, "equivalent"), "mrl", FF, TOP1),
    Claim("lm_ff_ahead", AHEAD, each(every, "better"), FF, "mrl", TOP1),
    Claim("lm_truncated", TRUNCATED, each(below_full, "better"), "mrl", "first_features", TOP1),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim."""
    yield from decided(runs, CLAIMS, length=TOP1)
