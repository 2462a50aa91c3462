"""Intervals of means over items that come in groups: tokens of a document, images of a class.

Items of a group are alike, so that an interval over items would be too narrow: what is new in another sample
is another group.
"""

import math

import numpy as np
from scipy.special import stdtrit

from analysis.scoring import Run
from analysis.statistics import Interval


def clustered_interval(values: np.ndarray, groups: np.ndarray, level: float = 0.95) -> Interval:
    """Mean over items with its t interval over groups, whatever their sizes (ratio estimator).

    values: [n]; groups: [n], equal for items of one group. Raises ValueError for fewer than two groups.
    """
    values = np.asarray(values, np.float64)
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError("an interval over groups needs two or more of them")
    mean = values.mean()
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


def clustered_row(
    run: Run, dim: int, split: str, metric: str, outcomes: np.ndarray, groups: np.ndarray, **keys: object
) -> dict:
    """The mean over items as a row of the table, with the interval over groups, if there are several.

    outcomes: [draws, n]; groups: [n].
    """
    values = np.atleast_2d(outcomes).mean(0, dtype=np.float64)
    if len(np.unique(groups)) > 1:
        found = clustered_interval(values, groups)
    else:
        found = Interval(values.mean(), np.nan, np.nan)
    keys = {"low": float(found.low), "high": float(found.high), **keys}
    return run.row(dim, split, metric, found.estimate, np.shape(outcomes)[-1], **keys)
