"""Which candidate is best: successive halving, an optimum inside the grid, of near ties the smallest.

Pure choice: what a candidate is worth is measured by who asks (baselines/tune.py).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from suite.errors import UserError

LARGEST_GROWTH = 6  # factors of 2 beyond the grid: a method that is best still farther out is a mistake

Rungs = Sequence[tuple[int | None, int]]
"""(candidates, None for all; seeds each, those of the rungs before included)"""


class Point(NamedTuple):
    """One candidate."""

    learning_rate: float
    head_rate: float

    def __str__(self) -> str:
        return f"learning_rate {self.learning_rate:g}, head_rate {self.head_rate:g}"


Measure = Callable[[int, Sequence[Point], int], dict[Point, np.ndarray]]
"""(rung, points, seeds) → by point the accuracy of each item with each seed, [seeds, n]; NaN: diverged."""


def search(rates: Iterable[float], head_rates: Sequence[float], rungs: Rungs, measure: Measure) -> Point:
    """The best candidate, its rate inside the grid, which grows until it is.

    Raises UserError where the best rate still is at an end of a grid that has grown by LARGEST_GROWTH.
    """
    rates = sorted(rates)
    for left in reversed(range(LARGEST_GROWTH + 1)):
        chosen = halve([Point(rate, head) for rate in rates for head in head_rates], rungs, measure)
        beyond = {rates[0]: rates[0] / 2, rates[-1]: rates[-1] * 2}.get(chosen.learning_rate)
        if beyond is None:
            return chosen
        if left:
            print(
                f"{chosen} is best, at an end of the grid: {beyond:g} is tried too; the budget grows for it"
            )
            rates = sorted([*rates, beyond])
    raise UserError(
        f"the best learning rate is {chosen.learning_rate:g}, still at an end of the grid {rates[0]:g} … "
        f"{rates[-1]:g}; start from other --rates"
    )


def halve(points: Sequence[Point], rungs: Rungs, measure: Measure) -> Point:
    """The best of `points` by successive halving: rung by rung fewer of them, with more seeds."""
    for rung, (count, seeds) in enumerate(rungs, 1):
        found = measure(rung, points[:count], seeds)
        points = sorted(found, key=lambda point: (-mean(found[point]), point))
    return choose(found)


def mean(accuracies: np.ndarray) -> float:
    """Mean over seeds and items; −∞ where a training diverged."""
    return -np.inf if np.isnan(accuracies).any() else float(accuracies.mean())


def choose(found: dict[Point, np.ndarray]) -> Point:
    """The candidate with the smallest rate among those within one standard error of the best.

    Raises UserError when all of them diverged.
    """
    best = max(found, key=lambda point: mean(found[point]))
    if np.isinf(mean(found[best])):
        raise UserError("every candidate diverged; search among smaller --rates")
    finite = [point for point in found if np.isfinite(mean(found[point]))]
    behind = {point: mean(found[best]) - mean(found[point]) for point in finite}
    return min(point for point in finite if behind[point] <= standard_error(found[best], found[point]))


def standard_error(one: np.ndarray, other: np.ndarray) -> float:
    """Of the mean difference of accuracies [seeds, n], paired by seed and item.

    Another sample of either would move it: √(s²/seeds + t²/n), s the deviation of the seeds' mean
    differences, t that of the items'.

    >>> standard_error(np.array([[1, 1], [0, 0]]), np.zeros((2, 2)))  # means 1 and 0 by seed, ½ and ½ by item
    0.5
    """
    difference = one - other
    parts = (difference.mean(1), difference.mean(0))
    return float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts if len(part) > 1)))
