"""Which of the paper's claims about a vision transformer (JFT ViT) a study shows; rules as in findings.py."""

from collections.abc import Iterator

from analysis.evaluations.findings import READ
from analysis.findings import Claim, as_good_at_full_size, better_at_every_size, gains_most_when_small, judge
from analysis.run import Run

MEASURES = ("predict", "neighbours")
OPTIONS = {
    "seed": 0,  # of the bootstrap
}
RANDOM = "random_features"
CLAIMS = (
    Claim(
        "vit_random",
        "MRL beats random features at every size below d",
        better_at_every_size,
        "mrl",
        RANDOM,
        "1-NN top1",
    ),
    Claim(
        "vit_small", "MRL gains most at the smallest size", gains_most_when_small, "mrl", RANDOM, "1-NN top1"
    ),
    Claim(
        "vit_full",
        "At d, MRL is as good as the plain ViT",
        as_good_at_full_size,
        "mrl",
        "fixed_feature",
        "1-NN top1",
    ),
    Claim(
        "vit_full_linear",
        "At d, MRL is as good as the plain ViT",
        as_good_at_full_size,
        "mrl",
        "fixed_feature",
        "linear top1",
    ),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim, as in findings.py."""
    yield from judge(runs, CLAIMS, READ)
