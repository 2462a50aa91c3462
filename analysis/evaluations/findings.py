"""Which of the paper's claims about classification and retrieval a study shows (rules: ../findings.py).

One row per claim that a study can test, whether or not this one has what it takes.
"""

from collections.abc import Iterator

from analysis.evaluations import adaptive_classification
from analysis.findings.decide import decided
from analysis.findings.evidence import Claim, Evidence, Outcome
from analysis.findings.rules import (
    above,
    an_eighth,
    best_of_all_sizes,
    better,
    between,
    collapses,
    equivalent,
    every,
    falls_less,
    from_an_eighth,
    large,
    largest,
    not_monotone,
    not_worse,
    not_worse_by_area,
    on_the_line,
    reaches_full,
    small,
    smallest,
    stands_out,
    trains_at_the_cost_of_one,
    within,
    worse,
)
from analysis.run import Run

READS = (
    "linear",
    "knn",
    "retrieval",
    "robustness",
    "superclass",
    "fewshot",
    "longtail",
    "adaptive_classification",
    "adaptive_retrieval",
    "funnel_retrieval",
)
ALL_METHODS = True  # ablations have claims of their own
OPTIONS = {
    "seed": 0,  # of the bootstrap
}
LINEAR, KNN, MAP = Outcome("linear"), Outcome("knn"), Outcome("retrieval", "map@10")
BETWEEN = Outcome("knn", array="knn/val/top1/False", printed=("interpolation", "knn_top1"))
V2, SKETCH = (Outcome("robustness", split=split) for split in ("v2", "sketch"))
R, A = (Outcome("robustness", split=split, array=f"{split}/restricted") for split in ("r", "a"))
SHIFTED = Outcome("retrieval", "map@10", "v2")
SUPERCLASS = Outcome("superclass", "superclass_top1", printed=("superclass", "superclass_acc"))
ONE_SHOT = Outcome("fewshot", split="v2", array="fewshot/v2/top1/1")
RARE = Outcome("longtail", split="stream", array="longtail/stream/top1/novel_tail/cold")
BOOSTED, GRAIN, SPACED = (
    Outcome("linear", printed=(name, "top1"))
    for name in ("loss_weights", "min_granularity", "log_vs_uniform")
)
SHORTLIST = Outcome("adaptive_retrieval", "map@10")
FUNNEL = Outcome("funnel_retrieval", "map@10")

CASCADE = Outcome("adaptive_classification")
FF, FIRST = "fixed_feature", "FF, truncated,"
AS_GOOD = "MRL is at least as accurate as FF at small sizes (≤ d/8)"
AS_ACCURATE = "MRL is as accurate as FF at large sizes (> d/8)"
OVERALL = "MRL is at least as accurate as FF over all sizes (area under the curve)"
COLLAPSE = "keeps less than half of its accuracy at the smallest size"
ROBUST = "MRL is as accurate as FF at d on {}"
WHOLE = "of the whole size costs no mAP@10"


def cascade(evidence: Evidence, claim: Claim) -> dict:
    """Shown when the cascade that is to be as accurate as FF-d is not worse on other images.

    Its cap is chosen on the held-out part of each split; the row says how many dimensions it takes.
    """
    runs, base = (evidence.runs[name] for name in (claim.method, claim.against))
    options = runs[0].study.task_options("adaptive_classification")
    matched, hits, base_hits = adaptive_classification.matched_outcomes(runs, base, "val", options)
    full, expected = base[0].outcomes("predict")["sizes"][-1], matched.dims[:, -1].mean()
    found = evidence.decide(hits[-1], base_hits[-1])
    told = between(found, evidence.margin, low=-evidence.margin)
    dims = f"{expected:.1f} dimensions expected for {full}, {full / expected:.1f} × smaller"
    return found | {"dims": str(full), "numbers": dims, "outcome": told if expected < full else "undecided"}


def claim(name: str, text: str, rule, method: str = "mrl", against: str = FF, on: Outcome = LINEAR) -> Claim:
    """A claim, by default about MRL against FF by linear classification."""
    return Claim(name, text, rule, method, against, on)


CLAIMS = (
    # Linear classification and 1-NN (paper, section 4.2, figures 2 and 3).
    claim("mrl_area", OVERALL, not_worse_by_area),
    claim("mrl_small", AS_GOOD, not_worse(small)),
    claim("mrl_large", AS_ACCURATE, equivalent(large)),
    claim("mrl_area_knn", OVERALL, not_worse_by_area, on=KNN),
    claim("mrl_small_knn", "MRL is ahead of FF at small sizes (≤ d/8)", better(small), on=KNN),
    claim("mrl_large_knn", AS_ACCURATE, equivalent(large), on=KNN),
    claim("svd_collapses", f"SVD of the classifier {COLLAPSE}", collapses, "svd", "svd"),
    claim("slimmable_collapses", f"Slimmable, truncated, {COLLAPSE}", collapses, "slimmable", "slimmable"),
    claim("truncation_collapses", f"{FIRST} {COLLAPSE}", collapses, "first_features", "first_features"),
    claim(
        "truncation_collapses_knn", f"{FIRST} {COLLAPSE}", collapses, "first_features", "first_features", KNN
    ),
    claim("mrl_e_large", "MRL-E is as accurate as MRL at large sizes", equivalent(large), "mrl_e", "mrl"),
    claim(
        "mrl_e_smallest",
        "MRL-E is further behind MRL at the smallest size than on average over the others",
        stands_out(every, -1),
        "mrl_e",
        "mrl",
    ),
    claim(
        "interpolation",
        "Sizes that were not trained for lie on the line between their neighbours",
        on_the_line(KNN),
        "mrl",
        "mrl",
        BETWEEN,
    ),
    claim(
        "training_overhead",
        "Training MRL takes at most 2 % more compute than training FF-d",
        trains_at_the_cost_of_one,
    ),
    # Retrieval (section 4.3).
    claim("map_small", "MRL is ahead of FF on mAP@10 at small sizes (≤ d/8)", better(small), on=MAP),
    claim("ff_not_monotone", "FF's mAP@10 falls from one size to the next", not_monotone, FF, FF, MAP),
    claim(
        "pca_knn", "PCA is as good as MRL on 1-NN from d/8 on", not_worse(from_an_eighth), "pca", "mrl", KNN
    ),
    claim("pca_map", "PCA is behind MRL on mAP@10 from d/8 on", worse(from_an_eighth), "pca", "mrl", MAP),
    claim("adaptive", f"A shortlist at an eighth {WHOLE}", reaches_full(an_eighth), "mrl", "mrl", SHORTLIST),
    claim(
        "adaptive_above",
        "Re-ranking at d lifts every shortlist above a search at its own size",
        above(MAP),
        "mrl",
        "mrl",
        SHORTLIST,
    ),
    claim("funnel", f"A funnel from an eighth {WHOLE}", reaches_full(an_eighth), "mrl", "mrl", FUNNEL),
    # Adaptive classification, oracle, superclasses (sections 4.2.1 and 5).
    Claim(
        "cascade",
        "A cascade with a smaller expected size is as accurate as FF-d",
        cascade,
        "mrl",
        FF,
        CASCADE,
        printed=(-0.0058, "paper.csv: 76.29 % with 37 dimensions expected, FF-2048 76.87 %"),
    ),
    Claim(
        "oracle",
        "Choosing the best size for each image would gain more than the margin over d",
        best_of_all_sizes,
        "mrl",
        "mrl",
        LINEAR,
        printed=(0.046, "paper, section 5"),
    ),
    claim(
        "superclass",
        "From d to the smallest size, superclass accuracy falls less than accuracy",
        falls_less(LINEAR),
        "mrl",
        "mrl",
        SUPERCLASS,
    ),
    # Robustness, few-shot, long tail (section 5, appendices G and H).
    claim("robust_v2", ROBUST.format("re-collected images (V2)"), not_worse(largest), on=V2),
    claim("robust_sketch", ROBUST.format("sketches"), not_worse(largest), on=SKETCH),
    claim("robust_r", ROBUST.format("renditions (R)"), not_worse(largest), on=R),
    claim("robust_a", ROBUST.format("naturally hard images (A)"), not_worse(largest), on=A),
    claim("shifted_map", "Out of domain, MRL is ahead of FF on mAP@10", better(every), on=SHIFTED),
    claim(
        "one_shot",
        "With one labelled image d/8 is as good as d",
        reaches_full(an_eighth),
        "mrl",
        "mrl",
        ONE_SHOT,
    ),
    claim("rare", "MRL is ahead of FF on rare new classes of a long-tailed stream", better(every), on=RARE),
    # Ablations (appendix K).
    claim(
        "finetuned",
        "Fine-tuning all layers of FF-d comes within 1.5 points of MRL at large sizes",
        within(large, 1.5),
        "finetune_all",
        "mrl",
    ),
    claim(
        "boosted_small",
        "Twice the loss weight on the smallest size gains accuracy there",
        better(smallest),
        "mrl_8boost",
        "mrl",
        BOOSTED,
    ),
    claim("boosted_large", "… and costs none at large sizes", equivalent(large), "mrl_8boost", "mrl", LINEAR),
    claim(
        "spacing",
        "Sizes at equal ratios are better than at equal distances up to d/8",
        better(small),
        "mrl",
        "mrl_uniform",
        Outcome("knn", printed=("log_vs_uniform", "top1")),
    ),
    claim(
        "smallest_size",
        "Sizes from 4 on cost nothing at the sizes that both have",
        equivalent(every),
        "mrl_min4",
        "mrl",
        GRAIN,
    ),
)


def compare(runs: list[Run]) -> Iterator[dict]:
    """A row per claim."""
    yield from decided(runs, CLAIMS)
