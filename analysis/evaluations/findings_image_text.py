"""Which of the paper's claims about image–text models (ALIGN) a study shows (rules: ../findings.py)."""

from collections.abc import Iterator

from analysis.evaluations.zero_shot import CLASSES
from analysis.findings.decide import decided
from analysis.findings.evidence import Claim, Outcome
from analysis.findings.rules import (
    at_least,
    below_full,
    each,
    largest,
    not_worse,
    stands_out,
)
from analysis.run import Run

READS = ("zero_shot", "knn", "cosine_margin")
OPTIONS = {
    "seed": 0,  # of the bootstrap
}
UNSEEN = next(split for split, classes in CLASSES.items() if classes == "unseen")
ZERO_SHOT, KNN = Outcome("zero_shot", split=UNSEEN), Outcome("knn", dataset="imagenet1k:align")
MARGINS = Outcome("cosine_margin", "margin", UNSEEN)
RANDOM, PLAIN = "random_features", "fixed_feature"
PRESERVED = "At d, zero-shot accuracy is as good as the plain model's"
CHANCE = "Zero-shot accuracy is above chance at every size below d"
BEATS = "MRL beats random features at every size below d"
APART = "At d, matching and random pairs are at least as far apart"
as_good, better = not_worse(largest), each(below_full, "better")
CLAIMS = (
    Claim("zero_shot_preserved", PRESERVED, as_good, "mrl", PLAIN, ZERO_SHOT),
    Claim("zero_shot_chance", CHANCE, better, "mrl", "control_random", ZERO_SHOT),
    Claim("zero_shot_random", BEATS, better, "mrl", RANDOM, ZERO_SHOT),
    Claim("knn_random", BEATS, better, "mrl", RANDOM, KNN),
    Claim("knn_small", "MRL gains most at the smallest size", stands_out(below_full, 1), "mrl", RANDOM, KNN),
    Claim("margin_wider", APART, at_least(largest), "mrl", PLAIN, MARGINS),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim."""
    yield from decided(runs, CLAIMS, length=ZERO_SHOT)
