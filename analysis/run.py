"""One method and seed after it was measured: raw outcomes on disk, and what turns them into tidy rows."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.measures import read_outcomes
from analysis.statistics import Interval, clustered_interval, mean_interval, wilson_interval
from baselines.representation import Representation
from splits.store import Dataset
from suite.layout import Layout
from suite.study import Method, Study

# The columns every table begins with; a task may add keys behind them.
COLUMNS = ["study", "method", "seed", "dim", "task", "split", "metric", "value", "n", "low", "high"]


@dataclass(frozen=True)
class Run:
    """One method and seed while a task scores it.

    options: the task's; outcomes are opened when first asked for.
    """

    study: Study
    dataset: Dataset
    method: Method
    seed: int
    task: str
    options: dict
    layout: Layout

    @cached_property
    def representation(self) -> Representation:
        """The embeddings the outcomes were measured on."""
        return Representation(self.layout.embeddings(self.method.name, self.seed))

    def outcomes(self, measure: str) -> np.lib.npyio.NpzFile:
        """Raw outcomes by name; raises UserError when they were not measured."""
        return read_outcomes(self.layout, self.method.name, self.seed, measure)

    def row(self, dim: int, split: str, metric: str, value: float, n: int, **keys: object) -> dict:
        """A row of the tidy table; `low` and `high` are its 95 % interval where there is one."""
        return {
            "study": self.study.name,
            "method": self.method.name,
            "seed": self.seed,
            "dim": int(dim),
            "task": self.task,
            "split": split,
            "metric": metric,
            "value": float(value),
            "n": int(n),
            **keys,
        }

    def mean(self, dim: int, split: str, metric: str, outcomes: np.ndarray, **keys: object) -> dict:
        """The mean over items as a row, with a 95 % interval over items.

        outcomes: [n] or [draws, n]; draws are averaged item by item first, for the items are what the
        interval is about. Shares get Wilson's interval, means of other values the t interval.
        """
        outcomes = np.atleast_2d(outcomes)
        n = outcomes.shape[1]
        if len(outcomes) == 1 and outcomes.dtype == bool:
            value, low, high = wilson_interval(outcomes.sum(), n)
        elif n == 1:
            value, low, high = outcomes.mean(), np.nan, np.nan
        else:
            value, low, high = mean_interval(outcomes.mean(0, dtype=np.float64))
        return self.row(dim, split, metric, value, n, low=float(low), high=float(high), **keys)


def by_method(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs of each method, one per seed, in the order of the study."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.method.name, []).append(run)
    return grouped


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
