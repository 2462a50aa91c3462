"""Which of the paper's claims about classification and retrieval a study shows; rules in findings.py."""

from collections.abc import Callable, Iterator

import numpy as np

from analysis.evaluations import knn
from analysis.evaluations.paired import linear_hits
from analysis.findings import (
    Claim,
    behind_from_an_eighth,
    collapses,
    equivalent_when_large,
    judge,
    not_monotone,
    not_worse_from_an_eighth,
    not_worse_when_small,
    weakest_when_smallest,
)
from analysis.metrics import average_precision, relevance
from analysis.run import Run

MEASURES = ("predict", "neighbours")
OPTIONS = {
    "seed": 0,  # of the bootstrap
}


def average_precisions(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(sizes, AP@10 [draws, sizes, n]) of val against train."""
    outcomes = run.outcomes("neighbours")
    found = run.dataset.labels("train")[outcomes["val/train/ids"][..., :10]]
    return outcomes["sizes"], average_precision(relevance(found, run.dataset.labels("val")), 10)


READ: dict[str, Callable] = {"linear top1": linear_hits, "1-NN top1": knn.hits, "map@10": average_precisions}
SMALL, LARGE = "at small sizes (≤ d/8)", "at large sizes (> d/8)"
COLLAPSE = "keeps less than half of its accuracy at the smallest size"
FF = "fixed_feature"
CLAIMS = (
    Claim(
        "mrl_small",
        f"MRL is at least as accurate as FF {SMALL}",
        not_worse_when_small,
        "mrl",
        FF,
        "linear top1",
    ),
    Claim("mrl_large", f"MRL is as accurate as FF {LARGE}", equivalent_when_large, "mrl", FF, "linear top1"),
    Claim(
        "mrl_small_knn",
        f"MRL is at least as accurate as FF {SMALL}",
        not_worse_when_small,
        "mrl",
        FF,
        "1-NN top1",
    ),
    Claim(
        "mrl_large_knn", f"MRL is as accurate as FF {LARGE}", equivalent_when_large, "mrl", FF, "1-NN top1"
    ),
    Claim("svd_collapses", f"SVD of the classifier {COLLAPSE}", collapses, "svd", "itself", "linear top1"),
    Claim(
        "slimmable_collapses",
        f"Slimmable, truncated, {COLLAPSE}",
        collapses,
        "slimmable",
        "itself",
        "linear top1",
    ),
    Claim(
        "truncation_collapses",
        f"FF, truncated, {COLLAPSE}",
        collapses,
        "first_features",
        "itself",
        "linear top1",
    ),
    Claim(
        "truncation_collapses_knn",
        f"FF, truncated, {COLLAPSE}",
        collapses,
        "first_features",
        "itself",
        "1-NN top1",
    ),
    Claim(
        "ff_not_monotone", "FF's mAP@10 falls from one size to the next", not_monotone, FF, "itself", "map@10"
    ),
    Claim(
        "pca_knn",
        "PCA is as good as MRL on 1-NN from d/8 on",
        not_worse_from_an_eighth,
        "pca",
        "mrl",
        "1-NN top1",
    ),
    Claim(
        "pca_map", "PCA is behind MRL on mAP@10 from d/8 on", behind_from_an_eighth, "pca", "mrl", "map@10"
    ),
    Claim(
        "mrl_e_smallest",
        "MRL-E is furthest behind MRL at the smallest size",
        weakest_when_smallest,
        "mrl_e",
        "mrl",
        "linear top1",
    ),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim: value is the deciding difference (a fraction), `shown` what it says of the claim."""
    yield from judge(runs, CLAIMS, READ)
