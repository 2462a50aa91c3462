"""What claims are decided on: outcomes of a study's methods, and the paper's own values beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd

from analysis.run import Items, Run, by_seed, trained_by_both
from analysis.statistics import compare_methods, compare_outcomes
from suite.contracts import EVALUATION
from suite.modules import ROOT

Outcomes = dict[int, np.ndarray]  # by size, one value per training and test item: float64 [K, n]
PAPER = ROOT / "results" / "saved" / "paper" / "paper.csv"


class NotTested(Exception):
    """Why a study cannot decide a claim."""


@dataclass(frozen=True)
class Outcome:
    """What a claim is about: a metric that an evaluation measures item by item.

    array: the items' name, where metric and split alone do not tell them from others. printed: (task, metric)
    under which paper.csv has the paper's values, where these are not its own; dataset: on which data, where
    the split does not say.
    """

    task: str
    metric: str = "top1"
    split: str = "val"
    array: str = ""
    printed: tuple[str, str] | None = None
    dataset: str = ""

    @property
    def name(self) -> str:
        """For people: "1-NN top1"."""
        return f"{EVALUATION.facts(self.task).WORD or self.task} {self.metric}".strip()

    def of(self, run: Run) -> Items:
        """The items of one method and seed. Raises NotTested where nothing of the kind was measured."""
        measured = {measure for method, measure in run.study.measured() if method == run.method.name}
        if not {*EVALUATION.facts(self.task).MEASURES} <= measured:
            raise NotTested(f"{self.task} does not evaluate {run.method.name}")
        for each in run.claimed(self.task):
            same = (each.metric, each.split) == (self.metric, self.split)
            if same and self.array in ("", each.array):
                return each
        raise NotTested(f"{self.task} measured no {self.metric} of {self.array or self.split}")

    def of_the_paper(self, method: str) -> Outcomes:
        """The paper's own values by size, [1, 1] each; empty where paper.csv has none."""
        task, metric = self.printed or (self.task, self.metric)
        table, named = printed_values(), NAMED.get((task, method), NAMED.get(method, method))
        same = (table["task"] == task) & (table["metric"] == metric) & (table["method"] == named)
        dataset = self.dataset or DATASETS.get(self.split)
        rows = table[same & (table["dataset"] == dataset)].dropna(subset="dim")
        return {int(row.dim): np.array([[row.value / 100]]) for row in rows.itertuples()}


NAMED = {
    "first_features": "first_features_of_ff2048",
    ("log_vs_uniform", "mrl"): "MRL-log",
    ("masked_lm", "mrl"): "mrl_e",  # the head is tied
}
"""What paper.csv calls a method where its name is another, in one task or all."""

DATASETS = {
    "val": "imagenet1k",
    "v2": "imagenet_v2",
    "a": "imagenet_a",
    "r": "imagenet_r",
    "sketch": "imagenet_sketch",
}
"""What the paper's data are called in paper.csv, by split."""


@cache
def printed_values() -> pd.DataFrame:
    """paper.csv: what the paper printed, as far as it could be traced."""
    return pd.read_csv(PAPER)


@dataclass(frozen=True)
class Evidence:
    """Outcomes of a study's methods, and how they are compared.

    margin: the largest difference that does not matter. origins: by method the network it starts from, for
    what two methods have in common by training (`Study.origin`).
    """

    runs: Mapping[str, list[Run]]
    seed: int
    margin: float
    origins: Mapping[str, str | None] = field(default_factory=dict)
    _read: dict = field(default_factory=dict, repr=False, compare=False)

    def outcomes(self, method: str, outcome: Outcome) -> Outcomes:
        """Read once for all claims. Raises KeyError for a method that the study does not have."""
        if (method, outcome) not in self._read:
            self._read[method, outcome] = by_seed(self.runs[method], outcome.of)
        return self._read[method, outcome]

    def both(self, claim: "Claim") -> tuple[Outcomes, Outcomes, list[int]]:
        """Outcomes of a claim's method and of what it is compared with, and the sizes that both have.

        Where they are paired, of the trainings that both have.
        """
        new, base = self.outcomes(claim.method, claim.on), self.outcomes(claim.against, claim.on)
        if self.paired(claim.method, claim.against):
            new, base = trained_by_both(new, base)
        return new, base, [m for m in new if m in base]

    def paired(self, method: str, against: str) -> bool:
        """Whether training k of both is of one network."""
        one, other = (self.origins.get(name) for name in (method, against))
        return method == against or (one is not None and one == other)

    def decide(self, new: np.ndarray, base: np.ndarray, paired: bool = False) -> dict:
        """The difference of two outcomes, each one value per training and item: [K, n] and [L, n]."""
        rng = np.random.default_rng(self.seed)  # the same draws for every claim, whatever their order
        found = compare_methods(new[None], base[None], margin=self.margin, paired=paired, rng=rng)
        (row,) = zip(found.difference, found.low, found.high, found.p, found.p_equivalence, found.detectable)
        names = ("value", "low", "high", "p", "p_equivalence", "detectable")
        return dict(zip(names, map(float, row))) | {"scope": found.scope}

    def by_size(self, new: Outcomes, base: Outcomes, dims: list[int], paired: bool = False) -> pd.DataFrame:
        """`compare_outcomes` at each of `dims`. Raises NotTested where there is none."""
        if not dims:
            raise NotTested(f"no size among {', '.join(map(str, new)) or 'none'} that the claim is about")
        pair = [np.stack([values[m] for m in dims]) for values in (new, base)]
        rng = np.random.default_rng(self.seed)
        return compare_outcomes(*pair, dims, margin=self.margin, paired=paired, rng=rng)

    def average(self, claim: "Claim", dims: list[int], weights: np.ndarray | None = None) -> dict:
        """The difference of the (weighted) means over `dims`, and `numbers`, the same size by size."""
        new, base, _ = self.both(claim)
        paired = self.paired(claim.method, claim.against)
        steps = self.by_size(new, base, dims, paired)
        pair = [np.average([side[m] for m in dims], axis=0, weights=weights) for side in (new, base)]
        return self.decide(*pair, paired) | {"dims": " ".join(map(str, dims)), "numbers": numbers(steps)}


class PaperEvidence(Evidence):
    """The paper's own values in place of outcomes: differences without intervals, by the same rules."""

    def outcomes(self, method: str, outcome: Outcome) -> Outcomes:
        return outcome.of_the_paper(method)

    def decide(self, new: np.ndarray, base: np.ndarray, paired: bool = False) -> dict:
        names = ("low", "high", "p", "p_equivalence", "detectable")
        return dict.fromkeys(names, np.nan) | {"value": float(np.mean(new) - np.mean(base)), "scope": ""}

    def by_size(self, new: Outcomes, base: Outcomes, dims: list[int], paired: bool = False) -> pd.DataFrame:
        if not dims:
            raise NotTested("the paper has no size that the claim is about")
        rows = [{"dim": m} | self.decide(new[m], base[m]) | {"p_holm": np.nan} for m in dims]
        return pd.DataFrame(rows).rename(columns={"value": "difference"})


@dataclass(frozen=True)
class Claim:
    """One expected shape: what it says, the rule that decides it, which methods, and on which outcomes.

    against: what `method` is compared with; its own name where it is compared with itself. printed: the
    paper's number, a fraction, and where it stands, if it does not follow from paper.csv by the same rule.
    """

    name: str
    text: str
    rule: Callable[["Evidence", "Claim"], dict]
    method: str
    against: str
    on: Outcome
    printed: tuple[float, str] | None = None

    def of_the_paper(self) -> tuple[float, str]:
        """(the paper's number, its source); (NaN, "") where it printed none."""
        if self.printed:
            return self.printed
        try:
            found = self.rule(PaperEvidence({}, 0, 1e-9), self)
        except (NotTested, KeyError, ValueError):
            return np.nan, ""
        return found["value"], "results/saved/paper/paper.csv"


def signed(value: float) -> str:
    """A difference in points.

    >>> signed(-0.0123)
    '−1.2'
    """
    return f"{100 * value:+.1f}".replace("-", "−")


def with_interval(row) -> str:
    """A row's difference with its interval, in points, that no line breaks."""
    return f"{signed(row.value)}\u00a0[{signed(row.low)},\u00a0{signed(row.high)}]"


def numbers(steps: pd.DataFrame) -> str:
    """Differences with their intervals, size by size, in points."""
    return "; ".join(
        f"{row.dim}: {signed(row.difference)} [{signed(row.low)}, {signed(row.high)}]"
        for row in steps.itertuples()
    )


def means(outcomes: Outcomes, show: Callable[[float], str] = lambda value: f"{100 * value:.1f}") -> str:
    """Means size by size, in points."""
    return "; ".join(f"{m}: {show(values.mean())}" for m, values in outcomes.items())
