"""Intervals, paired tests and verdicts: is one method better than another beyond noise?

All methods are scored on the same test items, so comparisons are paired, item by item. Outcomes
that are 0 or 1 (hit or miss) get exact McNemar tests and Bonett-Price intervals; outcomes between
(average precision, means over seeds) get the paired bootstrap. Tests over several sizes are
Holm-adjusted. "As accurate as" is only ever said from an equivalence test with a stated margin.

The items are the unit of all of this: intervals say how far a result would move with other test
items, for the networks at hand. Items of several seeds are *not* more items (the same image is hard
for every seed): average them item by item first, and report how far seeds differ with
`mean_interval` over seeds.

Shapes: outcomes are [n] or [S, n] (S sizes scored on the same n items), results scalars or [S].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import betainc, gammaln, ndtr, ndtri, stdtrit, xlog1py, xlogy

MARGIN = 0.005
"""Half a point: the largest difference that still counts as "as accurate as"."""

ALPHA = 0.05  # of tests and of equivalence; intervals are of level 1 − ALPHA
RESAMPLES = 10_000
TIE = 1e-4  # share by which two sums of the same items may differ in single precision
VERDICTS = ("better", "worse", "equivalent", "undecided")


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval; scalars or arrays of one shape."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


# --- one method -----------------------------------------------------------------------------------


def wilson_interval(hits: np.ndarray, n: np.ndarray, level: float = 0.95) -> Interval:
    """Share hits / n with its Wilson score interval; right also near 0 and 1 (Wilson 1927)."""
    hits, n = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if not np.all((n >= 1) & (hits >= 0) & (hits <= n)):  # also refuses NaN
        raise ValueError(f"need 0 <= hits <= n and n >= 1, got hits = {hits}, n = {n}")
    share, square = hits / n, _normal_quantile(level) ** 2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = np.sqrt(square * (share * (1 - share) / n + square / (4 * n**2))) / (1 + square / n)
    # Clipped to the share because rounding can put an end of 0 or n hits on its wrong side.
    low, high = np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)
    return Interval(share, low[()], high[()])


def mean_interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Mean over the last axis with its t interval; ends are NaN for a single value. values: [..., n].

    Over items, for large n the normal interval; over seeds: how far trainings differ.
    """
    values = _checked(values, "values")
    n, mean = values.shape[-1], values.mean(axis=-1)
    if n == 1:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    half = stdtrit(n - 1, _upper(level)) * values.std(axis=-1, ddof=1) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def bootstrap_deviations(values: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """How far the mean moves when items are drawn again with replacement, float64 [resamples, ...].

    values: [n] or [S, n]; all S rows see the same draws, so they may be subtracted or compared. A
    draw is kept as how often each item came up, and a block of draws is one matrix product with the
    values: 10,000 draws of 50,000 items at nine sizes take seconds, in tens of megabytes.
    """
    values = _checked(values, "values")
    n = values.shape[-1]
    if n < 2 or resamples < 1:
        raise ValueError(f"a bootstrap needs n >= 2 and resamples >= 1, got {n} and {resamples}")
    rows = values.reshape(-1, n)
    # Centred first, so that single precision is spent on the deviation and not on the mean.
    centred = np.ascontiguousarray((rows - rows.mean(axis=1, keepdims=True)).T, dtype=np.float32)
    block = int(np.clip(2**24 // n, 1, 32))
    counts = np.empty((block, n), dtype=np.float32)
    deviations = np.empty((resamples, len(rows)))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        for draw in range(size):
            counts[draw] = np.bincount(rng.integers(0, n, size=n), minlength=n)
        deviations[start : start + size] = counts[:size] @ centred
    return (deviations / n).reshape(resamples, *values.shape[:-1])


# --- two methods ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairedComparison:
    """What the items say about new - base; fields are scalars, or [S] for outcomes [S, n].

    difference, low, high: mean difference and its interval. p: two-sided, of no difference.
    p_equivalence: of two one-sided tests that the difference lies inside the margin. discordant:
    number of items on which the two differ. test: "mcnemar" or "bootstrap".
    """

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    p_equivalence: np.ndarray
    discordant: np.ndarray
    n: int
    test: str


def compare_paired(
    new: np.ndarray,
    base: np.ndarray,
    margin: float = MARGIN,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
    resamples: int = RESAMPLES,
) -> PairedComparison:
    """Difference new - base with interval, p and equivalence p, all from the same paired items.

    new, base: [n] or [S, n], item i of both being the same test item. Outcomes all 0 or 1: exact
    McNemar and Bonett-Price; otherwise paired bootstrap, which needs `rng`. Raises ValueError for
    different shapes, no items, NaN, a margin that is not positive, or a missing `rng`.
    """
    new, base = _checked(new, "new outcomes"), _checked(base, "base outcomes")
    if new.shape != base.shape:
        raise ValueError(
            f"outcomes must be of the same items at the same sizes: new has shape "
            f"{list(new.shape)}, base {list(base.shape)}"
        )
    if not margin > 0:
        raise ValueError(f"the equivalence margin must be above 0, got {margin}")
    if _is_hits(new) and _is_hits(base):
        return _compare_hits(new, base, margin, level)
    if rng is None:
        raise ValueError(
            "these outcomes are not all 0 or 1, so they are compared by bootstrap: pass rng, "
            "a numpy.random.Generator"
        )
    return _compare_values(new - base, margin, level, rng, resamples)


def _compare_hits(new: np.ndarray, base: np.ndarray, margin: float, level: float) -> PairedComparison:
    """Exact McNemar test, with interval and equivalence test by Bonett & Price 2012.

    Their interval is Wald's after adding one item to each kind of disagreement (Laplace): it keeps
    its level from small n on, does not collapse when few items differ, and is one formula.
    """
    n = new.shape[-1]
    wins, losses = np.sum(new > base, axis=-1), np.sum(new < base, axis=-1)
    win, loss = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    shift, error = win - loss, np.sqrt((win + loss - (win - loss) ** 2) / (n + 2))
    half = _normal_quantile(level) * error
    return PairedComparison(
        difference=(wins - losses) / n,
        low=np.maximum(shift - half, -1),
        high=np.minimum(shift + half, 1),
        p=_sign_test(wins, losses),
        p_equivalence=ndtr((np.abs(shift) - margin) / error),
        discordant=wins + losses,
        n=n,
        test="mcnemar",
    )


def _compare_values(
    differences: np.ndarray, margin: float, level: float, rng: np.random.Generator, resamples: int
) -> PairedComparison:
    """Paired bootstrap: percentile interval, p from draws shifted to no difference.

    Few items that happen to agree in sign would give p = 0 whatever their number, so p is never
    below that of a sign test in which every item that differs points the same way. Draws that are as
    far out as the mean but for rounding (few items, equal steps) count as far out.
    """
    n, discordant = differences.shape[-1], np.sum(differences != 0, axis=-1)
    mean = differences.mean(axis=-1)
    deviations = bootstrap_deviations(differences, rng, resamples)
    low, high = mean + np.quantile(deviations, (1 - _upper(level), _upper(level)), axis=0)

    def share(event: np.ndarray) -> np.ndarray:
        """Share of draws, counting the observed one (Davison & Hinkley 1997, eq. 4.11)."""
        return (1 + np.sum(event, axis=0)) / (resamples + 1)

    edge = (1 - TIE) * margin
    beyond = np.maximum(share(mean + deviations >= edge), share(mean + deviations <= -edge))
    p = share(np.abs(deviations) >= (1 - TIE) * np.abs(mean))
    return PairedComparison(
        difference=mean,
        low=low,
        high=high,
        p=np.maximum(p, np.minimum(1, 2.0 ** (1 - discordant))),
        p_equivalence=np.maximum(beyond, 2.0**-n),
        discordant=discordant,
        n=n,
        test="bootstrap",
    )


def holm(pvalues: Sequence[float]) -> np.ndarray:
    """p-values adjusted for being several (Holm 1979), float64 [S], in the order given."""
    p = np.asarray(pvalues, dtype=np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):  # also refuses NaN
        raise ValueError(f"p-values must be a list of numbers from 0 to 1, got {p}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def verdict(
    low: float, high: float, p_holm: float, p_equivalence: float, identical: bool = False, direction: int = +1
) -> str:
    """One of "better", "worse", "equivalent", "undecided", about new against base.

    Equivalent: the difference is shown to be inside the margin, or there is none on any item
    (`identical`). This comes first: with enough items every difference is significant, and the
    margin is what was declared not to matter. Better or worse: p_holm <= ALPHA and the interval on
    one side of zero. low, high: interval of new - base. direction: -1 where less is better.
    """
    if identical or p_equivalence <= ALPHA:
        return "equivalent"
    if p_holm <= ALPHA and (low > 0 or high < 0):
        return "better" if (low > 0) == (direction > 0) else "worse"
    return "undecided"


def compare_outcomes(
    new: np.ndarray,
    base: np.ndarray,
    dims: Sequence[int],
    *,
    direction: int = +1,
    rng: np.random.Generator | None = None,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """New against base at each size: one row with difference, interval, p-values and verdict.

    new, base: [S, n], row s at size dims[s], columns the same items in both. Table columns: dim,
    difference, low, high, p, p_holm, p_equivalence, verdict, discordant, n, test, as in
    `PairedComparison` and `verdict`. p_holm is adjusted over the S sizes; intervals and equivalence are
    per size ("equivalent at every size" needs no adjustment: Berger 1982). Outcomes that are not all 0 or
    1 need `rng`. Raises ValueError as `compare_paired` does, and when dims do not match.
    """
    found, dims = compare_paired(new, base, rng=rng, resamples=resamples), np.asarray(dims)
    if dims.ndim != 1 or dims.shape != found.p.shape or len(np.unique(dims)) < len(dims):
        raise ValueError(
            f"dims must be different sizes, one per row of outcomes {np.shape(new)}, got {dims.tolist()}"
        )
    p_holm = holm(found.p)
    each = zip(found.low, found.high, p_holm, found.p_equivalence, found.discordant == 0)
    return pd.DataFrame(
        {
            "dim": dims,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "p": found.p,
            "p_holm": p_holm,
            "p_equivalence": found.p_equivalence,
            "verdict": [verdict(*row, direction=direction) for row in each],
            "discordant": found.discordant,
            "n": found.n,
            "test": found.test,
        }
    )


# --- power ----------------------------------------------------------------------------------------


def power_mcnemar(n: int, p01: float, p10: float, alpha: float = 0.05) -> float:
    """Chance that the exact McNemar test on n items finds a difference, summed exactly.

    p01: share of items that base gets wrong and new right; p10: the reverse. The true difference is
    p01 - p10. Under Holm over S sizes, alpha / S gives the chance in the worst case.
    """
    discordance = p01 + p10
    if p01 < 0 or p10 < 0 or discordance > 1:
        raise ValueError(f"p01 and p10 must be shares that sum to at most 1, got {p01}, {p10}")
    if discordance == 0:
        return 0.0
    return _rejection_rate(*_discordant_counts(n, discordance, alpha), p01 / discordance)


def detectable_difference(n: int, discordance: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest difference in accuracy found with chance `power` on n items; infinity if none is.

    discordance: share of items on which the two methods differ, which bounds the difference; take
    it from saved outcomes. Found by bisection on the exact power.
    """
    if not 0 < discordance <= 1:
        raise ValueError(f"discordance must be above 0 and at most 1, got {discordance}")
    if not alpha < power < 1:
        raise ValueError(f"power must be between alpha = {alpha} and 1, got {power}")
    counts = _discordant_counts(n, discordance, alpha)
    if _rejection_rate(*counts, 1.0) < power:
        return math.inf
    low, high = 0.5, 1.0  # share of the discordant items that the better method wins
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if _rejection_rate(*counts, middle) >= power else (middle, high)
    return (2 * high - 1) * discordance


def _discordant_counts(n: int, discordance: float, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers m of discordant items that can occur, their probabilities and critical counts.

    The test rejects when the smaller kind has at most `critical` items (-1: never).
    """
    if n < 1 or not 0 < alpha < 1:
        raise ValueError(f"need n >= 1 and 0 < alpha < 1, got n = {n}, alpha = {alpha}")
    # Ten standard deviations leave less than 1e-12 outside, except for tiny means: hence the 50.
    reach = 10 * math.sqrt(n * discordance * (1 - discordance)) + 50
    m = np.arange(max(0, int(n * discordance - reach)), min(n, int(n * discordance + reach)) + 1)
    log_choose = gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)
    weight = np.exp(log_choose + xlogy(m, discordance) + xlog1py(n - m, -discordance))
    # Bisection for the largest count whose two-sided p is at most alpha.
    low, high = np.full_like(m, -1), (m + 1) // 2
    while np.any(high - low > 1):
        middle = np.maximum((low + high) // 2, 0)
        rejects = 2 * _binomial_cdf(middle, m, 0.5) <= alpha
        open_ = high - low > 1
        low, high = np.where(open_ & rejects, middle, low), np.where(open_ & ~rejects, middle, high)
    return m, weight / weight.sum(), low


def _rejection_rate(m: np.ndarray, weight: np.ndarray, critical: np.ndarray, share: float) -> float:
    """Chance of rejection when each discordant item is a win with probability `share`."""
    m, weight, critical = (array[critical >= 0] for array in (m, weight, critical))
    tails = _binomial_cdf(critical, m, share) + _binomial_cdf(critical, m, 1 - share)
    return float(np.sum(weight * tails))


# --- small parts ----------------------------------------------------------------------------------


def _binomial_cdf(k: np.ndarray, n: np.ndarray, p: float) -> np.ndarray:
    """P(Binomial(n, p) <= k) for 0 <= k; by the incomplete beta function, so exact for any n."""
    return np.where(k >= n, 1.0, betainc(np.maximum(n - k, 1), k + 1, 1 - p))


def _sign_test(wins: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Two-sided p of a fair coin for these counts; symmetric, so one tail doubled."""
    return np.minimum(2 * _binomial_cdf(np.minimum(wins, losses), wins + losses, 0.5), 1)[()]


def _is_hits(values: np.ndarray) -> bool:
    return bool(np.all((values == 0) | (values == 1)))


def _upper(level: float) -> float:
    """Probability below the upper end of a central interval; ValueError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, got {level}")
    return (1 + level) / 2


def _normal_quantile(level: float) -> float:
    return float(ndtri(_upper(level)))


def _checked(values: np.ndarray, name: str) -> np.ndarray:
    """`values` as float64; ValueError unless it has an axis and items, and is finite."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers, got {values.dtype}")
    if values.size == 0 or values.ndim == 0:
        raise ValueError(f"{name} is empty or has no axis: shape {list(values.shape)}")
    values = values.astype(np.float64)
    if bad := int(np.sum(~np.isfinite(values))):
        raise ValueError(f"{name} contains {bad} NaN or infinite values")
    return values


# --- items that come in groups ----------------------------------------------------------------------


def clustered_interval(values: np.ndarray, groups: np.ndarray, level: float = 0.95) -> Interval:
    """Mean over items with its t interval over groups, whatever their sizes (ratio estimator).

    values: [n]; groups: [n], equal for items of one group. Ends are NaN for a single group.
    """
    values = np.asarray(values, np.float64)
    names, group = np.unique(groups, return_inverse=True)
    mean = values.mean()
    if len(names) == 1:
        return Interval(mean, np.nan, np.nan)
    residuals = np.bincount(group, values - mean)
    variance = (residuals**2).sum() / len(values) ** 2 * len(names) / (len(names) - 1)
    half = stdtrit(len(names) - 1, (1 + level) / 2) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def group_totals(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Totals over each group, scaled so that their mean is that over items: [..., n] → float64 [..., groups].

    For paired comparisons that take their items one by one: these items are groups.
    """
    names, group = np.unique(groups, return_inverse=True)
    indicator = (group[:, None] == np.arange(len(names))).astype(np.float64)
    return values.astype(np.float64) @ indicator * (len(names) / len(groups))
