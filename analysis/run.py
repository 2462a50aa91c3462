"""One method and seed after it was measured: outcomes of each test item, and tidy rows of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

import numpy as np

from analysis.measures import read_outcomes
from analysis.statistics import clustered_interval, group_means, mean_interval, wilson_interval
from baselines.representation import Representation
from splits.store import Dataset
from suite.contracts import EVALUATION
from suite.files import Arrays
from suite.layout import Layout
from suite.study import Method, Study

# The columns every table begins with; an evaluation may add keys behind them.
COLUMNS = ["study", "method", "seed", "dim", "task", "split", "metric", "value", "n", "low", "high"]


@dataclass(frozen=True)
class Items:
    """One metric of one run on every test item: tables average it, tests pair it, freezing keeps it.

    metric, split, keys: as in the table's rows. sizes: int64 [S]. stored: [draws, S, n, …], and `value` makes
    one number per item of it, [..., n, …] → [..., n] (it is one already where `value` is left out). groups:
    [n], equal for items that are alike, as tokens of a document; intervals and tests are then over groups.

    kept: freezing keeps `stored`, under the name `array` (default: of evaluation, split, metric and keys).
    compared: methods are compared on it; main: in the short answer, too. title: for people, where the
    evaluation has several metrics that are compared. task is filled in, and measure, the evaluation's first.
    """

    metric: str
    split: str
    sizes: np.ndarray
    stored: np.ndarray
    value: Callable[[np.ndarray], np.ndarray] = lambda stored: stored
    keys: dict = field(default_factory=dict)
    groups: np.ndarray | None = None
    kept: bool = True
    compared: bool = True
    main: bool = False
    array: str = ""
    title: str = ""
    task: str = ""
    measure: str = ""

    def at(self, place: int) -> np.ndarray:
        """Outcomes at one size, [draws, n]."""
        return self.value(self.stored[:, place])

    def sampled(self, stored: np.ndarray) -> np.ndarray:
        """`stored`, of this or another method, as tests take it: [draws, S, n], or n groups."""
        values = self.value(stored)
        return values if self.groups is None else group_means(values, self.groups)

    def mean_of_draws(self) -> dict[int, np.ndarray]:
        """What `sampled` says, averaged over draws, by size: float64 [n or groups] each."""
        return dict(zip(self.sizes.tolist(), self.sampled(self.stored).mean(0, dtype=np.float64)))

    @property
    def data(self) -> tuple[str, ...]:
        """Splits that the outcomes depend on, train among them."""
        return tuple(dict.fromkeys(("train", self.split, self.keys.get("database", self.split))))

    @property
    def name(self) -> str:
        """For people: "1-NN", "retrieval mAP@10 of unseen classes"."""
        usual = {"val": "", "query": " of unseen classes", "stream": "", "queries": ""}
        of = usual.get(self.split, f" on {self.split}")
        return (self.title or EVALUATION.facts(self.task).NAME or f"{self.task} {self.metric}") + of


@dataclass(frozen=True)
class Run:
    """One method and seed while an evaluation scores it.

    task, options: the evaluation's name and options.
    """

    study: Study
    dataset: Dataset
    method: Method
    seed: int
    task: str
    options: dict
    layout: Layout
    _opened: dict = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def representation(self) -> Representation:
        """The embeddings the outcomes were measured on."""
        return Representation.of(self.layout, self.method.name, self.seed, self.dataset.checksum)

    def outcomes(self, measure: str) -> Arrays:
        """Raw outcomes by name, opened once; raises UserError when they were not measured."""
        if measure not in self._opened:
            self._opened[measure] = read_outcomes(self.layout, self.method.name, self.seed, measure)
        return self._opened[measure]

    def items(self, task: str = "") -> list[Items]:
        """What an evaluation, by default this one, measures on each test item."""
        task = task or self.task
        run = self if task == self.task else replace(self, task=task, options=self.study.task_options(task))
        measure = next(iter(EVALUATION.facts(task).MEASURES), "")
        found = []
        for each in EVALUATION.load(task).items(run):
            array = each.array or "/".join(map(str, (task, each.split, each.metric, *each.keys.values())))
            found.append(replace(each, task=task, measure=each.measure or measure, array=array))
        return found

    def claimed(self, task: str) -> list[Items]:
        """What claims may be about: what an evaluation measures, and what else it has for claims alone."""
        run = replace(self, task=task, options=self.study.task_options(task))
        module = EVALUATION.load(task)
        found = self.items(task) if hasattr(module, "items") else []
        for each in module.claimed(run) if hasattr(module, "claimed") else ():
            array = "/".join(map(str, (task, each.split, each.metric, *each.keys.values())))
            found.append(replace(each, task=task, array=array))
        return found

    def main_items(self, task: str) -> Items:
        """The one metric that an evaluation is judged by: its first main one, else its first."""
        items = self.items(task)
        return next((each for each in items if each.main), items[0])

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

    def mean(
        self,
        dim: int,
        split: str,
        metric: str,
        outcomes: np.ndarray,
        groups: np.ndarray | None = None,
        **keys: object,
    ) -> dict:
        """The mean over items as a row, with a 95 % interval over items, or over groups of them.

        outcomes: [n] or [draws, n]; draws are averaged item by item first, for the items are what the
        interval is about. Shares get Wilson's interval, means of other values the t interval.
        """
        outcomes = np.atleast_2d(outcomes)
        n = outcomes.shape[1]
        values = outcomes.mean(0, dtype=np.float64)
        if len(outcomes) == 1 and outcomes.dtype == bool and groups is None:
            found = wilson_interval(outcomes.sum(), n)
        else:
            found = mean_interval(values) if groups is None else clustered_interval(values, groups)
        interval = {"low": float(found.low), "high": float(found.high)}
        return self.row(dim, split, metric, found.estimate, n, **interval, **keys)

    def mean_of_classes(
        self, dim: int, split: str, metric: str, hits: np.ndarray, labels: np.ndarray, **keys: object
    ) -> dict:
        """The accuracy within a class, averaged over classes, as a row; n and its interval are of classes.

        hits: [draws, n]; labels: int64 [n].
        """
        counts = np.bincount(labels)
        accuracy = (np.bincount(labels, hits.mean(0)) / np.maximum(counts, 1))[counts > 0]
        value, low, high = mean_interval(accuracy)
        interval = {"low": float(low), "high": float(high)}
        return self.row(dim, split, metric, value, len(accuracy), **interval, **keys)

    def means(self, items: Iterable[Items] | None = None) -> Iterator[dict]:
        """Rows of the means of items, by default all of the evaluation's; size by size within a split."""
        items = self.items() if items is None else items
        for _, group in groupby(items, lambda each: (each.split, each.sizes.tobytes())):
            some = list(group)
            for place, m in enumerate(some[0].sizes):
                for each in some:
                    yield self.mean(m, each.split, each.metric, each.at(place), each.groups, **each.keys)


def run_of(study: Study, layout: Layout, dataset: Dataset, method: Method, seed: int, task: str = "") -> Run:
    """A finished run, for one evaluation or to ask what any of them measured on each test item."""
    # Embeddings from outside the suite may lack splits that the study has.
    splits = Representation.of(layout, method.name, seed, dataset.checksum).splits
    return Run(study, dataset.subset(splits), method, seed, task, study.tasks.get(task, {}), layout)


def by_method(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs of each method, one per seed, in the order of the study."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.method.name, []).append(run)
    return grouped


def trained_by_both(
    new: dict[int, np.ndarray], base: dict[int, np.ndarray]
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Of two methods' outcomes, as `by_seed` has them, the trainings with seeds that both are run with."""
    both = min(len(values) for side in (new, base) for values in side.values())
    return tuple({m: values[:both] for m, values in side.items()} for side in (new, base))


def by_seed(runs: list[Run], read: Callable[[Run], Items]) -> dict[int, np.ndarray]:
    """Outcome of each item by size, averaged over draws, one row per training: float64 [K, n] per size."""
    found = [read(run).mean_of_draws() for run in runs]
    return {m: np.stack([each[m] for each in found]) for m in found[0]}
