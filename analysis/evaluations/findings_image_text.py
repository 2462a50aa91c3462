"""Which of the paper's claims about image–text models (ALIGN) a study shows (rules: ../findings.py)."""

from collections.abc import Iterator

from analysis.evaluations.zero_shot import CLASSES
from analysis.findings import Claim, Outcome, below_full, bounded, decided, each, largest, stands_out
from analysis.run import Run
from analysis.statistics import MARGIN

READS = ("zero_shot", "knn", "cosine_margin")
OPTIONS = {
    "seed": 0,  # of the bootstrap
}
UNSEEN = next(split for split, classes in CLASSES.items() if classes == "unseen")
ZERO_SHOT, KNN = Outcome("zero_shot", split=UNSEEN), Outcome("knn")
MARGINS = Outcome("cosine_margin", "margin", UNSEEN)
RANDOM, PLAIN = "random_features", "fixed_feature"
PRESERVED = "At d, zero-shot accuracy is as good as the plain model's"
CHANCE = "Zero-shot accuracy is above chance at every size below d"
BEATS = "MRL beats random features at every size below d"
APART = "At d, matching and random pairs are at least as far apart"
as_good, better = bounded(largest, low=-MARGIN), each(below_full, "better")
CLAIMS = (
    Claim("zero_shot_preserved", PRESERVED, as_good, "mrl", PLAIN, ZERO_SHOT),
    Claim("zero_shot_chance", CHANCE, better, "mrl", "control_random", ZERO_SHOT),
    Claim("zero_shot_random", BEATS, better, "mrl", RANDOM, ZERO_SHOT),
    Claim("knn_random", BEATS, better, "mrl", RANDOM, KNN),
    Claim("knn_small", "MRL gains most at the smallest size", stands_out(below_full, 1), "mrl", RANDOM, KNN),
    Claim("margin_wider", APART, as_good, "mrl", PLAIN, MARGINS),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim."""
    yield from decided(runs, CLAIMS)
