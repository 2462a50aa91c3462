"""Rules that decide a claim: (evidence, claim) → what was found, with its `outcome`.

Each is stated here and not tuned. Small sizes are those up to d/8, large ones above.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from analysis.findings.evidence import (
    Claim,
    Evidence,
    NotTested,
    Outcome,
    Outcomes,
    means,
    numbers,
    signed,
)
from analysis.metrics import normalised_area
from analysis.statistics import ALPHA

OUTCOMES = ("shown", "contradicted", "undecided", "not tested")

# --- which sizes a claim is about -------------------------------------------------------------------


def small(sizes: list[int]) -> list[int]:
    """Sizes up to d/8.

    >>> small([8, 16, 32, 64, 128, 256])
    [8, 16, 32]
    """
    return [m for m in sizes if 8 * m <= max(sizes)]


def large(sizes: list[int]) -> list[int]:
    """Sizes above d/8."""
    return [m for m in sizes if 8 * m > max(sizes)]


def from_an_eighth(sizes: list[int]) -> list[int]:
    """Sizes from d/8 on."""
    return [m for m in sizes if 8 * m >= max(sizes)]


def an_eighth(sizes: list[int]) -> list[int]:
    """The first size from d/8 on."""
    return from_an_eighth(sizes)[:1]


def largest(sizes: list[int]) -> list[int]:
    """The largest size."""
    return sizes[-1:]


def smallest(sizes: list[int]) -> list[int]:
    """The smallest size."""
    return sizes[:1]


def below_full(sizes: list[int]) -> list[int]:
    """Sizes below the largest, at which random and first features leave something out."""
    return sizes[:-1]


def every(sizes: list[int]) -> list[int]:
    """All sizes."""
    return sizes


# --- rules: (evidence, claim) → what was found, with `outcome` --------------------------------------

Rule = Callable[[Evidence, "Claim"], dict]


def between(found: Mapping, margin: float, low: float = -np.inf, high: float = np.inf) -> str:
    """The outcome of "the difference lies between low and high", from its interval.

    Contradicted: the interval lies beyond a bound, and, where the bound allows for a difference of 0, beyond
    the margin on that side of it.
    """
    if low < found["low"] and found["high"] < high:
        return "shown"
    least, most = low if low > 0 else min(low, -margin), high if high < 0 else max(high, margin)
    if found["high"] < least or found["low"] > most:
        return "contradicted"
    return "undecided"


def of_one_method(
    evidence: Evidence, new: np.ndarray, base: np.ndarray, sizes: Iterable[int], shown: str, **bounds: float
) -> dict:
    """What is found of two outcomes of one method, [K, n] each, whose difference lies between `bounds`.

    sizes, shown: what `dims` and `numbers` say.
    """
    found = evidence.decide(new, base, paired=True)
    told = between(found, evidence.margin, **bounds)
    return found | {"dims": " ".join(map(str, sizes)), "numbers": shown, "outcome": told}


def averaged(sizes: Callable, told: Callable[[dict, float], str], weigh: Callable | None = None) -> Rule:
    """Decided by the mean difference over some sizes, weighed where `weigh` gives weights for them."""

    def rule(evidence: Evidence, claim: Claim) -> dict:
        dims = sizes(evidence.both(claim)[2])
        found = evidence.average(claim, dims, weigh(dims) if weigh else None)
        return found | {"outcome": told(found, evidence.margin)}

    return rule


def not_worse(sizes: Callable) -> Rule:
    """Shown when the interval of the mean difference over some sizes lies above −margin."""
    return averaged(sizes, lambda found, margin: between(found, margin, low=-margin))


def at_least(sizes: Callable) -> Rule:
    """Shown when it lies above 0, contradicted when below: where the margin, of accuracy, is not its unit."""
    return averaged(sizes, lambda found, margin: between(found, 0, low=0))


def better(sizes: Callable) -> Rule:
    """Shown when it lies above 0."""
    return averaged(sizes, lambda found, margin: between(found, margin, low=0))


def worse(sizes: Callable) -> Rule:
    """Shown when it lies below 0."""
    return averaged(sizes, lambda found, margin: between(found, margin, high=0))


def within(sizes: Callable, points: float) -> Rule:
    """Shown when it lies above −`points`, whatever the study's margin."""
    return averaged(sizes, lambda found, margin: between(found, margin, low=-points / 100))


def not_worse_by_area(evidence: Evidence, claim: Claim) -> dict:
    """As `not_worse`, of the normalised area under the curve against log₂ size: one number for all sizes."""

    def weights(dims: list[int]) -> np.ndarray:
        if len(dims) < 2:
            raise NotTested("needs two sizes")
        return normalised_area(dims, np.eye(len(dims)))

    rule = averaged(every, lambda found, margin: between(found, margin, low=-margin), weights)
    return rule(evidence, claim)


def equivalent(sizes: Callable) -> Rule:
    """Shown when two one-sided tests put the mean difference over some sizes inside ± margin."""

    def told(found: dict, margin: float) -> str:
        return "shown" if found["p_equivalence"] <= ALPHA else between(found, margin, -margin, margin)

    return averaged(sizes, told)


def each(sizes: Callable, wanted: str) -> Rule:
    """Shown when the method is "better" (Holm-adjusted) or "equivalent" at each of some sizes.

    Contradicted when it is worse at one of them (equivalent: different), beyond the margin. The deciding
    difference is that of the size where it is lowest (equivalent: largest, either way).
    """

    def rule(evidence: Evidence, claim: Claim) -> dict:
        new, base, shared = evidence.both(claim)
        paired = evidence.paired(claim.method, claim.against)
        steps = evidence.by_size(new, base, sizes(shared), paired)
        return at_each(evidence, new, base, steps, wanted, paired)

    return rule


def at_each(
    evidence: Evidence, new: Outcomes, base: Outcomes, steps: pd.DataFrame, wanted: str, paired: bool
) -> dict:
    """What `each` finds. steps: as `compare_outcomes` gives them."""
    margin, sure = evidence.margin, steps["p_holm"] <= ALPHA
    if wanted == "better":
        place = steps["difference"].idxmin()
        shown = (sure & (steps["low"] > 0)).all()
        against = (sure & (steps["high"] < -margin)).any()
    else:
        place = steps["difference"].abs().idxmax()
        shown = (steps["p_equivalence"] <= ALPHA).all()
        against = (sure & ((steps["high"] < -margin) | (steps["low"] > margin))).any()
    m, dims = int(steps.loc[place, "dim"]), " ".join(map(str, steps["dim"]))
    told = "shown" if shown else "contradicted" if against else "undecided"
    return evidence.decide(new[m], base[m], paired) | {
        "dims": dims,
        "numbers": numbers(steps),
        "outcome": told,
    }


def collapses(evidence: Evidence, claim: Claim) -> dict:
    """Shown when the smallest size keeps less than half of the largest size's accuracy."""
    outcomes = evidence.outcomes(claim.method, claim.on)
    if not outcomes:
        raise NotTested("no sizes")
    first, full = min(outcomes), max(outcomes)
    return of_one_method(evidence, outcomes[first], outcomes[full] / 2, [first], means(outcomes), high=0)


def not_monotone(evidence: Evidence, claim: Claim) -> dict:
    """Shown when some size is worse than the size before it, tests Holm-adjusted over the steps.

    Contradicted when every step's interval lies above −margin: nothing falls by what would matter.
    """
    outcomes = evidence.outcomes(claim.method, claim.on)
    before = {m: outcomes[last] for last, m in pairwise(sorted(outcomes))}
    if not before:
        raise NotTested("needs two sizes")
    steps = evidence.by_size(outcomes, before, list(before), evidence.origins.get(claim.method) is not None)
    m = int(steps.loc[steps["difference"].idxmin(), "dim"])
    falls = ((steps["p_holm"] <= ALPHA) & (steps["high"] < 0)).any()
    rises = (steps["low"] > -evidence.margin).all()
    told = "shown" if falls else "contradicted" if rises else "undecided"
    found = evidence.decide(outcomes[m], before[m], paired=True)
    return found | {"dims": str(m), "numbers": means(outcomes), "outcome": told}


def stands_out(sizes: Callable, sign: int) -> Rule:
    """Is the smallest size's difference above (+1) or below (−1) the mean of the other sizes' differences?"""

    def rule(evidence: Evidence, claim: Claim) -> dict:
        new, base, shared = evidence.both(claim)
        first, *others = sizes(shared) or [0]
        if not others:
            raise NotTested("needs two sizes" + (" below d" if sizes is below_full else ""))
        contrast = [side[first] - np.mean([side[m] for m in others], axis=0) for side in (new, base)]
        found = evidence.decide(*contrast, evidence.paired(claim.method, claim.against))
        told = between(found, evidence.margin, *((0, np.inf) if sign > 0 else (-np.inf, 0)))
        gap = {m: new[m].mean() - base[m].mean() for m in (first, *others)}
        shown = "; ".join(f"{m}: {signed(value)}" for m, value in gap.items())
        return found | {"dims": str(first), "numbers": shown, "outcome": told}

    return rule


def on_the_line(sizes: Outcome) -> Rule:
    """Shown when sizes in between reach, on average, the line through their neighbours less the margin.

    The claim is about the sizes in between, `sizes` has the trained ones: the line is straight in log₂ size.
    """

    def rule(evidence: Evidence, claim: Claim) -> dict:
        new, trained = evidence.outcomes(claim.method, claim.on), evidence.outcomes(claim.method, sizes)
        line = {
            m: interpolated(trained, m) for m in new if min(trained, default=m) < m < max(trained, default=m)
        }
        steps = evidence.by_size(new, line, list(line), paired=True)
        pair = [np.mean([side[m] for m in line], axis=0) for side in (new, line)]
        return of_one_method(evidence, *pair, line, numbers(steps), low=-evidence.margin)

    return rule


def interpolated(outcomes: Outcomes, m: int) -> np.ndarray:
    """Outcomes at a size between two others, on the straight line in log₂ size: [K, n]."""
    below, above = max(k for k in outcomes if k < m), min(k for k in outcomes if k > m)
    share = np.log2(m / below) / np.log2(above / below)
    return (1 - share) * outcomes[below] + share * outcomes[above]


def best_of_all_sizes(evidence: Evidence, claim: Claim) -> dict:
    """Shown when an oracle that picks the best size for each item gains more than the margin over size d."""
    outcomes = evidence.outcomes(claim.method, claim.on)
    if len(outcomes) < 2:
        raise NotTested("needs two sizes")
    best, full = np.max(list(outcomes.values()), axis=0), outcomes[max(outcomes)]
    return of_one_method(evidence, best, full, outcomes, means(outcomes), low=evidence.margin)


def falls_less(fine: Outcome) -> Rule:
    """Shown when the claim's outcome loses less from the largest size to the smallest than `fine` does."""

    def rule(evidence: Evidence, claim: Claim) -> dict:
        coarse, other = evidence.outcomes(claim.method, claim.on), evidence.outcomes(claim.method, fine)
        if len(coarse) < 2 or not other:
            raise NotTested("needs two sizes")
        first, full = min(coarse), max(coarse)
        lost = [side[first] - side[full] for side in (coarse, other)]
        if lost[0].shape != lost[1].shape:
            raise NotTested("some classes have no superclass")
        return of_one_method(evidence, *lost, [first, full], means(coarse), low=0)

    return rule


def reaches_full(sizes: Callable) -> Rule:
    """Shown when a smaller size of a method is not worse than its largest by more than the margin."""

    def rule(evidence: Evidence, claim: Claim) -> dict:
        outcomes = evidence.outcomes(claim.method, claim.on)
        dims = sizes(sorted(outcomes))
        if not dims or dims == [max(outcomes)]:
            raise NotTested("has no smaller size")
        (m,), full = dims, max(outcomes)
        pair, shown = (outcomes[m], outcomes[full]), means(outcomes)
        return of_one_method(evidence, *pair, [m, full], shown, low=-evidence.margin)

    return rule


def above(on: Outcome) -> Rule:
    """Shown when a method's outcome is better than another outcome of its own at every size below d."""

    def rule(evidence: Evidence, claim: Claim) -> dict:
        new, base = (evidence.outcomes(claim.method, outcome) for outcome in (claim.on, on))
        steps = evidence.by_size(new, base, below_full([m for m in new if m in base]), paired=True)
        return at_each(evidence, new, base, steps, "better", paired=True)

    return rule


def trains_at_the_cost_of_one(evidence: Evidence, claim: Claim) -> dict:
    """Shown when training one network for all sizes takes at most 2 % more compute than for the largest.

    Counted in multiply-accumulates per image, which have no chance in them: the ends are the value.
    """
    costs = [
        evidence.runs[name][0].representation.meta["cost"]["networks"]
        for name in (claim.method, claim.against)
    ]
    nested, alone = (networks[-1]["train_macs"] / networks[-1]["train_images"] for networks in costs)
    value = nested / alone - 1
    told = "shown" if value <= OVERHEAD else "contradicted"
    return {"value": value, "low": value, "high": value, "scope": "methods", "outcome": told} | {
        "numbers": f"{nested / 1e6:.2f} against {alone / 1e6:.2f} million MACs an image"
    }


OVERHEAD = 0.02
