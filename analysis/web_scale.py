"""The paper's claims about other encoders and objectives: readers and rules for their studies' findings.

Used by findings_vit, findings_image_text and findings_masked_lm, each of which holds one study's claims.
"""

import numpy as np

from analysis.clusters import group_totals
from analysis.findings import Evidence, NotTested, signed
from analysis.scoring import Run
from analysis.statistics import MARGIN
from analysis.zero_shot import CLASSES

UNSEEN = next(split for split, classes in CLASSES.items() if classes == "unseen")


# --- readers: run → (sizes, outcomes [draws, sizes, groups]) ------------------------------------------


def zero_shot_hits(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Zero-shot top-1 on unseen classes; an item is a class, since its images are alike."""
    outcomes, labels = run.outcomes("cross_modal"), run.world.labels(UNSEEN)
    return outcomes["sizes"], group_totals(outcomes[f"{UNSEEN}/to_text"][..., 0] == labels, labels)


def cosine_margins(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of matching minus that of random image–text pairs of unseen classes, by class."""
    outcomes, labels = run.outcomes("cross_modal"), run.world.labels(UNSEEN)
    margin = outcomes[f"{UNSEEN}/cosine/positive"] - outcomes[f"{UNSEEN}/cosine/text_image"]
    return outcomes["sizes"], group_totals(margin, labels)


def masked_token_hits(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Masked-token top-1; an item is a document, since its tokens are alike."""
    outcomes, val = run.outcomes("predict"), run.world["val"]
    hits = outcomes["val/top5"][..., 0] == val.labels
    return outcomes["sizes"], group_totals(hits, val.items["document"].to_numpy())


# --- rules: evidence → what was found, with `shown` ---------------------------------------------------


def shared_sizes(new: dict, base: dict) -> list[int]:
    """Sizes both have outcomes for."""
    return [m for m in new if m in base]


def better_at_every_size(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when it is better at every shared size below the largest, tests Holm-adjusted over sizes.

    At the largest size random and first features are all there are: nothing was left out.
    """
    new, base = evidence.outcomes(method, metric), evidence.outcomes(against, metric)
    dims = shared_sizes(new, base)[:-1]
    steps = evidence.by_size(new, base, dims)
    worst = steps.loc[steps["difference"].idxmin()]
    found = evidence.decide(new, base, [int(worst["dim"])])
    by_size = [
        f"{row.dim}: {signed(row.difference)} [{signed(row.low)}, {signed(row.high)}]"
        for row in steps.itertuples()
    ]
    return found | {
        "dims": " ".join(map(str, dims)),
        "numbers": "; ".join(by_size),
        "shown": bool((steps["verdict"] == "better").all()),
    }


def gains_most_when_small(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when the gain at the smallest size is larger than the mean gain at the others below d."""
    new, base = evidence.outcomes(method, metric), evidence.outcomes(against, metric)
    first, *others = shared_sizes(new, base)[:-1]
    if not others:
        raise NotTested("needs two sizes below d")
    gain = {m: new[m] - base[m] for m in (first, *others)}
    found = evidence.decide(
        {first: gain[first]}, {first: np.mean([gain[m] for m in others], axis=0)}, [first]
    )
    numbers = "; ".join(f"{m}: {signed(values.mean())}" for m, values in gain.items())
    return found | {"numbers": numbers, "shown": bool(found["low"] > 0)}


def as_good_at_full_size(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when at the largest size the interval of the difference lies above −margin."""
    new, base = evidence.outcomes(method, metric), evidence.outcomes(against, metric)
    found = evidence.decide(new, base, [max(shared_sizes(new, base))])
    return found | {"shown": bool(found["low"] > -MARGIN)}


def within_margin_at_every_size(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when two one-sided tests put the difference inside ± margin at every size."""
    new, base = evidence.outcomes(method, metric), evidence.outcomes(against, metric)
    found = evidence.decide(new, base, shared_sizes(new, base))
    verdicts = evidence.by_size(new, base, shared_sizes(new, base))["verdict"]
    return found | {"shown": bool((verdicts == "equivalent").all())}


def ahead_at_every_size(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when the difference is above 0 at every size and its interval over all sizes is too."""
    new, base = evidence.outcomes(method, metric), evidence.outcomes(against, metric)
    dims = shared_sizes(new, base)
    found = evidence.decide(new, base, dims)
    ahead = all(new[m].mean() > base[m].mean() for m in dims)
    return found | {"shown": bool(found["low"] > 0 and ahead)}
