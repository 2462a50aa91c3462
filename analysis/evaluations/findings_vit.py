"""Which of the paper's claims about a vision transformer (JFT ViT) a study shows (rules: ../findings.py)."""

from collections.abc import Iterator

from analysis.findings.decide import decided
from analysis.findings.evidence import Claim, Outcome
from analysis.findings.rules import (
    below_full,
    each,
    largest,
    not_worse,
    stands_out,
)
from analysis.run import Run

READS = ("linear", "knn")
ALL_METHODS = True  # for what the last doubling of the length gained
OPTIONS = {
    "seed": 0,  # of the bootstrap
}
LINEAR, KNN = (Outcome(task, dataset="imagenet1k:jft_vit") for task in ("linear", "knn"))
RANDOM, PLAIN = "random_features", "fixed_feature"
BEATS, FULL = "MRL beats random features at every size below d", "At d, MRL is as good as the plain ViT"
as_good = not_worse(largest)
CLAIMS = (
    Claim("vit_random", BEATS, each(below_full, "better"), "mrl", RANDOM, KNN),
    Claim("vit_small", "MRL gains most at the smallest size", stands_out(below_full, 1), "mrl", RANDOM, KNN),
    Claim("vit_full", FULL, as_good, "mrl", PLAIN, KNN),
    Claim("vit_full_linear", FULL, as_good, "mrl", PLAIN, LINEAR),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim."""
    yield from decided(runs, CLAIMS)
