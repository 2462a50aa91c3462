"""Which of the paper's claims about image–text models (ALIGN) a study shows, by the rules of findings.py."""

from collections.abc import Iterator

import numpy as np

from analysis.evaluations import knn
from analysis.findings import (
    Claim,
    as_good_at_full_size,
    better_at_every_size,
    gains_most_when_small,
    judge,
)
from analysis.run import Run
from analysis.statistics import group_totals

MEASURES = ("cross_modal", "neighbours")
NEEDS = ("captions",)  # what the data must have beyond images and labels
OPTIONS = {
    "seed": 0,  # of the bootstrap
}
UNSEEN = "query"


def zero_shot_hits(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Zero-shot top-1 on unseen classes; an item is a class, since its images are alike."""
    outcomes, labels = run.outcomes("cross_modal"), run.dataset.labels(UNSEEN)
    return outcomes["sizes"], group_totals(outcomes[f"{UNSEEN}/to_text"][..., 0] == labels, labels)


def cosine_margins(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of matching minus that of random image–text pairs of unseen classes, by class."""
    outcomes, labels = run.outcomes("cross_modal"), run.dataset.labels(UNSEEN)
    margin = outcomes[f"{UNSEEN}/cosine/positive"] - outcomes[f"{UNSEEN}/cosine/text_image"]
    return outcomes["sizes"], group_totals(margin, labels)


READ = {"zero-shot top1": zero_shot_hits, "1-NN top1": knn.hits, "cosine margin": cosine_margins}
RANDOM, PLAIN = "random_features", "fixed_feature"
CLAIMS = (
    Claim(
        "zero_shot_preserved",
        "At d, zero-shot accuracy is as good as the plain model's",
        as_good_at_full_size,
        "mrl",
        PLAIN,
        "zero-shot top1",
    ),
    Claim(
        "zero_shot_chance",
        "Zero-shot accuracy is above chance at every size below d",
        better_at_every_size,
        "mrl",
        "control_random",
        "zero-shot top1",
    ),
    Claim(
        "zero_shot_random",
        "MRL beats random features at every size below d",
        better_at_every_size,
        "mrl",
        RANDOM,
        "zero-shot top1",
    ),
    Claim(
        "knn_random",
        "MRL beats random features at every size below d",
        better_at_every_size,
        "mrl",
        RANDOM,
        "1-NN top1",
    ),
    Claim(
        "knn_small", "MRL gains most at the smallest size", gains_most_when_small, "mrl", RANDOM, "1-NN top1"
    ),
    Claim(
        "margin_wider",
        "At d, matching and random pairs are at least as far apart",
        as_good_at_full_size,
        "mrl",
        PLAIN,
        "cosine margin",
    ),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim, as in findings.py."""
    yield from judge(runs, CLAIMS, READ)
