"""Which of the paper's claims about classification and retrieval a study shows (rules: ../findings.py)."""

from collections.abc import Iterator

from analysis.findings import (
    Claim,
    Outcome,
    bounded,
    collapses,
    decided,
    equivalent,
    every,
    from_an_eighth,
    large,
    not_monotone,
    small,
    stands_out,
)
from analysis.run import Run
from analysis.statistics import MARGIN

READS = ("linear", "knn", "retrieval")
OPTIONS = {
    "seed": 0,  # of the bootstrap
}
LINEAR, KNN, MAP = Outcome("linear"), Outcome("knn"), Outcome("retrieval", "map@10")
FF, FIRST = "fixed_feature", "FF, truncated,"
AS_GOOD = "MRL is at least as accurate as FF at small sizes (≤ d/8)"
AS_ACCURATE = "MRL is as accurate as FF at large sizes (> d/8)"
COLLAPSE = "keeps less than half of its accuracy at the smallest size"
not_worse, behind = bounded(from_an_eighth, low=-MARGIN), bounded(from_an_eighth, high=0)
CLAIMS = (
    Claim("mrl_small", AS_GOOD, bounded(small, low=-MARGIN), "mrl", FF, LINEAR),
    Claim("mrl_large", AS_ACCURATE, equivalent(large), "mrl", FF, LINEAR),
    Claim("mrl_small_knn", AS_GOOD, bounded(small, low=-MARGIN), "mrl", FF, KNN),
    Claim("mrl_large_knn", AS_ACCURATE, equivalent(large), "mrl", FF, KNN),
    Claim("svd_collapses", f"SVD of the classifier {COLLAPSE}", collapses, "svd", "itself", LINEAR),
    Claim(
        "slimmable_collapses", f"Slimmable, truncated, {COLLAPSE}", collapses, "slimmable", "itself", LINEAR
    ),
    Claim("truncation_collapses", f"{FIRST} {COLLAPSE}", collapses, "first_features", "itself", LINEAR),
    Claim("truncation_collapses_knn", f"{FIRST} {COLLAPSE}", collapses, "first_features", "itself", KNN),
    Claim("ff_not_monotone", "FF's mAP@10 falls from one size to the next", not_monotone, FF, "itself", MAP),
    Claim("pca_knn", "PCA is as good as MRL on 1-NN from d/8 on", not_worse, "pca", "mrl", KNN),
    Claim("pca_map", "PCA is behind MRL on mAP@10 from d/8 on", behind, "pca", "mrl", MAP),
    Claim(
        "mrl_e_smallest",
        "MRL-E is furthest behind MRL at the smallest size",
        stands_out(every, -1),
        "mrl_e",
        "mrl",
        LINEAR,
    ),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim."""
    yield from decided(runs, CLAIMS)
