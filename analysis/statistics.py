"""Intervals, paired tests and verdicts: is one method better than another beyond noise?

All methods are scored on the same test items, so comparisons are paired, item by item. Two sources of
chance are told apart (docs/protocols.md, "Statistics"):

* test items, or what was sampled where items are alike (classes, documents, blocks of a stream);
* training seeds. A sentence about *methods* needs at least two trainings of each: the variance of the
  difference is that over items plus that over seeds, and the interval is Student's t with Satterthwaite's
  degrees of freedom. One training each says something of *these networks* alone, from the items: exact
  McNemar tests and Bonett-Price intervals of outcomes 0 or 1, the paired bootstrap of others.

Tests over several sizes are Holm-adjusted. "As accurate as" is only ever said from an equivalence test with
a stated margin.

Shapes: outcomes are [n] or [S, n] (S sizes scored on the same n items), of several trainings [S, K, n],
results scalars or [S].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import betainc, nctdtr, ndtr, ndtri, stdtr, stdtrit

ALPHA = 0.05  # of tests and of equivalence; intervals are of level 1 − ALPHA
POWER = 0.8  # with which "could have been shown" is meant
RESAMPLES = 10_000
TIE = 1e-4  # share by which two sums of the same items may differ in single precision
VERDICTS = ("better", "worse", "equivalent", "undecided")
"""About methods, whose trainings were repeated."""
OF_NETWORKS = ("higher", "lower", "alike")
"""About one network each: what stands instead of the first three."""


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
    """What was found of new - base; fields are scalars, or [S] for outcomes of S sizes.

    difference, low, high: mean difference and its interval. p: two-sided, of no difference.
    p_equivalence: of two one-sided tests that the difference lies inside the margin. error, freedom: standard
    error and degrees of freedom (infinite where items are the only source of chance). discordant: number of
    items on which the two differ. test: "mcnemar", "bootstrap" or "seeds".
    """

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    p_equivalence: np.ndarray
    error: np.ndarray
    freedom: np.ndarray
    discordant: np.ndarray
    n: int
    test: str

    @property
    def scope(self) -> str:
        """What it is about: "methods", or only the "networks" at hand."""
        return "methods" if self.test == "seeds" else "networks"

    @property
    def detectable(self) -> np.ndarray:
        """The smallest difference that would have been found with a chance of POWER."""
        return detectable_difference(self.error, self.freedom)


def compare_methods(
    new: np.ndarray,
    base: np.ndarray,
    *,
    margin: float,
    paired: bool = False,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
    resamples: int = RESAMPLES,
) -> PairedComparison:
    """Difference new - base from every training of both, at each size.

    new: [S, K, n]; base: [S, L, n]: K and L trainings scored on the same n items. Both trained more than
    once: about methods (`test` is "seeds"). Otherwise about these networks, outcomes averaged item by item,
    as `compare_paired`.

    paired: training k of both is of the same network (one is fitted on the other's, or both on a third's),
    so that what that network has of luck is on both sides. Then K = L.

    The variance is Var over items of the averaged differences / n + Var over seeds of new / K + that of base
    / L (paired: of the differences / K). What seeds and items have in common is counted in both, so tests
    keep their level from above: at 3 to 10 seeds and seed deviations from 0.5 to 3 points between 1 and 6 %
    of true nulls are rejected at 5 %. Degrees of freedom: Satterthwaite 1946.

    Raises ValueError as `compare_paired` does, for other than three axes and for unequal K and L when paired.
    """
    new, base = _checked(new, "new outcomes"), _checked(base, "base outcomes")
    if new.ndim != 3 or base.ndim != 3:
        raise ValueError(
            f"outcomes must be [sizes, trainings, items], got {list(new.shape)} and {list(base.shape)}"
        )
    _check_same(new[:, 0], base[:, 0])
    _check_margin(margin)
    if paired and new.shape[1] != base.shape[1]:
        raise ValueError(f"paired trainings must be as many: {new.shape[1]} of new, {base.shape[1]} of base")
    if min(new.shape[1], base.shape[1]) > 1:
        return _compare_trainings(new, base, margin, level, paired)
    return compare_paired(new.mean(1), base.mean(1), margin, level, rng, resamples)


def _compare_trainings(
    new: np.ndarray, base: np.ndarray, margin: float, level: float, paired: bool
) -> PairedComparison:
    differences, n = new.mean(1) - base.mean(1), new.shape[-1]
    difference, discordant = differences.mean(-1), np.sum(differences != 0, axis=-1)
    by_seed = [new.mean(-1), base.mean(-1)]
    if paired:
        by_seed = [by_seed[0] - by_seed[1]]
    if n < 2:
        raise ValueError(f"trainings are compared on two items or more, got {n}")
    spread = differences.var(-1, ddof=1)
    # Where all items differ alike, or none does, one each way still might: as in Bonett & Price's interval.
    items = np.where(spread > 0, spread / n, 2 / (n + 2) ** 2)
    parts = [items, *(values.var(1, ddof=1) / values.shape[1] for values in by_seed)]
    freedoms = [n - 1, *(values.shape[1] - 1 for values in by_seed)]
    variance = np.sum(parts, axis=0)
    freedom = variance**2 / np.sum([part**2 / max(f, 1) for part, f in zip(parts, freedoms)], axis=0)
    error = np.sqrt(variance)
    half = stdtrit(freedom, _upper(level)) * error
    return PairedComparison(
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=2 * stdtr(freedom, -np.abs(difference) / error),
        p_equivalence=stdtr(freedom, (np.abs(difference) - margin) / error),
        error=error,
        freedom=freedom,
        discordant=discordant,
        n=n,
        test="seeds",
    )


def compare_paired(
    new: np.ndarray,
    base: np.ndarray,
    margin: float,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
    resamples: int = RESAMPLES,
) -> PairedComparison:
    """Difference new - base of one network each, from the same paired items.

    new, base: [n] or [S, n], item i of both being the same test item. Outcomes all 0 or 1: exact
    McNemar and Bonett-Price; otherwise paired bootstrap, which needs `rng`. Raises ValueError for
    different shapes, no items, NaN, a margin that is not positive, or a missing `rng`.
    """
    new, base = _checked(new, "new outcomes"), _checked(base, "base outcomes")
    _check_same(new, base)
    _check_margin(margin)
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
        error=error,
        freedom=np.full_like(error, np.inf),
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
    # Where no item differs one each way still might: as in Bonett & Price's interval.
    same = discordant == 0
    error = np.where(same, math.sqrt(2) / (n + 2), deviations.std(axis=0))
    half = np.where(same, _normal_quantile(level) * error, 0)
    beyond = np.where(same, ndtr(-margin * (n + 2) / math.sqrt(2)), beyond)
    return PairedComparison(
        difference=mean,
        low=low - half,
        high=high + half,
        p=np.maximum(p, np.minimum(1, 2.0 ** (1 - discordant))),
        p_equivalence=np.maximum(beyond, 2.0**-n),
        error=error,
        freedom=np.full_like(mean, np.inf),
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
    low: float, high: float, p_holm: float, p_equivalence: float, scope: str, direction: int = +1
) -> str:
    """One of VERDICTS about new against base; of `scope` "networks" OF_NETWORKS stand for the first three.

    Equivalent: the difference is shown to be inside the margin. This comes first: with enough items every
    difference is significant, and the margin is what was declared not to matter. Better or worse: p_holm <=
    ALPHA and the interval on one side of zero. low, high: interval of new - base. direction: -1 where less is
    better; "higher" and "lower" are of the values themselves.
    """
    words = VERDICTS if scope == "methods" else OF_NETWORKS
    if p_equivalence <= ALPHA:
        return words[2]
    if p_holm <= ALPHA and (low > 0 or high < 0):
        return words[0] if (low > 0) == (direction > 0 or scope == "networks") else words[1]
    return "undecided"


def compare_outcomes(
    new: np.ndarray,
    base: np.ndarray,
    dims: Sequence[int],
    *,
    margin: float,
    paired: bool = False,
    direction: int = +1,
    rng: np.random.Generator | None = None,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """New against base at each size: one row with difference, interval, p-values and verdict.

    new: [S, K, n], base: [S, L, n], row s at size dims[s], as `compare_methods` takes them. Table columns:
    dim, difference, low, high, p, p_holm, p_equivalence, verdict, detectable, scope, discordant, n, test, as
    in `PairedComparison` and `verdict`. p_holm is adjusted over the S sizes; intervals and equivalence are
    per size ("equivalent at every size" needs no adjustment: Berger 1982). Raises ValueError as
    `compare_methods` does, and when dims do not match.
    """
    dims = np.asarray(dims)
    found = compare_methods(new, base, margin=margin, paired=paired, rng=rng, resamples=resamples)
    if dims.ndim != 1 or dims.shape != found.p.shape or len(np.unique(dims)) < len(dims):
        raise ValueError(
            f"dims must be different sizes, one per row of outcomes {np.shape(new)}, got {dims.tolist()}"
        )
    p_holm = holm(found.p)
    each = zip(found.low, found.high, p_holm, found.p_equivalence)
    return pd.DataFrame(
        {
            "dim": dims,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "p": found.p,
            "p_holm": p_holm,
            "p_equivalence": found.p_equivalence,
            "verdict": [verdict(*row, found.scope, direction) for row in each],
            "detectable": found.detectable,
            "scope": found.scope,
            "discordant": found.discordant,
            "n": found.n,
            "test": found.test,
        }
    )


# --- power ----------------------------------------------------------------------------------------


def power(difference: float, error: float, freedom: float, alpha: float = ALPHA) -> np.ndarray:
    """Chance that the two-sided t test finds a true difference, whose standard error is `error`.

    From the noncentral t distribution; of infinite `freedom` the normal one. Under Holm over S sizes, alpha /
    S gives the chance in the worst case. Arguments broadcast.
    """
    freedom = np.minimum(freedom, 1e6)  # where the t distribution is the normal one in every digit shown
    shift, critical = np.abs(difference) / error, stdtrit(freedom, 1 - alpha / 2)
    return 1 - nctdtr(freedom, shift, critical) + nctdtr(freedom, shift, -critical)


def detectable_difference(error: np.ndarray, freedom: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """The smallest true difference found with a chance of POWER, by bisection; arguments broadcast."""
    error, freedom = np.broadcast_arrays(np.asarray(error, np.float64), np.asarray(freedom, np.float64))
    # In standard errors; from one degree of freedom on the power at the upper end is above POWER.
    low, high = np.zeros(error.shape), 2 + 1.4 * stdtrit(np.minimum(freedom, 1e6), 1 - alpha / 2)
    for _ in range(30):
        middle = (low + high) / 2
        enough = power(middle, 1.0, freedom, alpha) >= POWER
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return (high * error)[()]


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


def _check_same(new: np.ndarray, base: np.ndarray) -> None:
    if new.shape != base.shape:
        raise ValueError(
            f"outcomes must be of the same items at the same sizes: new has shape "
            f"{list(new.shape)}, base {list(base.shape)}"
        )


def _check_margin(margin: float) -> None:
    if not margin > 0:
        raise ValueError(f"the equivalence margin must be above 0, got {margin}")


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


def group_means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """One value per group whose plain mean is the mean over items: [..., n] → float64 [..., G].

    A group's is r + (t − r·k)·G/n, where t is its total, k its size and r = Σt/Σk the mean over items. The
    plain variance over groups is then that of the ratio r to first order (Cochran 1977, 6.3), which totals
    alone overstate where groups differ in size. For paired comparisons, in which groups stand for items.
    """
    names, group = np.unique(groups, return_inverse=True)
    values = np.asarray(values, np.float64)
    indicator = (group[:, None] == np.arange(len(names))).astype(np.float64)
    mean = values.mean(-1, keepdims=True)
    return mean + (values - mean) @ indicator * (len(names) / len(groups))


def interval_over_seeds(values: np.ndarray, errors: np.ndarray, level: float = 0.95) -> Interval:
    """Mean over trainings, with an interval from both sources of chance. values, errors: [K].

    errors: each training's standard error over test items. Items are the same for every training, so their
    variance does not shrink with K: it is the mean of the squared errors, beside Var over seeds / K. One
    training: its own items' interval. NaN ends where errors are.
    """
    values, errors = np.asarray(values, np.float64), np.asarray(errors, np.float64)
    k, mean, items = len(values), values.mean(), np.mean(errors**2)
    seeds = values.var(ddof=1) / k if k > 1 else 0.0
    freedom = (items + seeds) ** 2 / (seeds**2 / max(k - 1, 1)) if seeds > 0 else np.inf
    half = stdtrit(min(freedom, 1e9), _upper(level)) * math.sqrt(items + seeds)
    return Interval(mean, mean - half, mean + half)
