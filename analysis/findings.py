"""Which of the paper's shapes a study shows, claim by claim, with numbers and intervals.

    python -m analysis.findings --markdown results/tables/glyphs/findings.csv     the table for a page

Every claim is decided by one paired difference of outcomes on the test items and its 95 % interval, by a rule
that is stated here and not tuned: a claim that is true but cannot be told from its opposite is "not shown".
Small sizes are those up to d/8, large ones above. The claims stand in evaluations/findings*.py.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.run import Items, Run, by_method, over_seeds
from analysis.statistics import MARGIN, compare_outcomes, compare_paired, verdict
from suite import cli
from suite.contracts import EVALUATION

Outcomes = dict[int, np.ndarray]  # by size, one value per test item: float64 [n]


class NotTested(Exception):
    """Why a study cannot decide a claim."""


@dataclass(frozen=True)
class Outcome:
    """What a claim is about: a metric that an evaluation measures item by item."""

    task: str
    metric: str = "top1"
    split: str = "val"

    @property
    def name(self) -> str:
        """For people: "1-NN top1"."""
        return f"{EVALUATION.facts(self.task).WORD} {self.metric}".strip()

    def of(self, run: Run) -> Items:
        """The items of one method and seed."""
        same = [
            each for each in run.items(self.task) if (each.metric, each.split) == (self.metric, self.split)
        ]
        return same[0]


@dataclass(frozen=True)
class Evidence:
    """Outcomes of a study's methods, and how they are compared."""

    runs: dict[str, list[Run]]
    seed: int
    _read: dict = field(default_factory=dict, repr=False, compare=False)

    def outcomes(self, method: str, outcome: Outcome) -> Outcomes:
        """Read once for all claims. Raises KeyError for a method that the study does not have."""
        if (method, outcome) not in self._read:
            self._read[method, outcome] = over_seeds(self.runs[method], outcome.of)
        return self._read[method, outcome]

    def both(self, claim: "Claim") -> tuple[Outcomes, Outcomes, list[int]]:
        """Outcomes of a claim's method and of what it is compared with, and the sizes that both have."""
        new, base = self.outcomes(claim.method, claim.on), self.outcomes(claim.against, claim.on)
        return new, base, [m for m in new if m in base]

    def rng(self) -> np.random.Generator:
        """The same draws for every claim, whatever the order of the claims."""
        return np.random.default_rng(self.seed)

    def decide(self, new: Outcomes, base: Outcomes, dims: list[int]) -> dict:
        """The difference of the means over `dims`, and `numbers`, the same size by size.

        Raises NotTested where there is no size to decide at.
        """
        if not dims:
            raise NotTested(f"no size among {', '.join(map(str, new))} that the claim is about")
        pair = [np.mean([values[m] for m in dims], axis=0) for values in (new, base)]
        found = compare_paired(*pair, rng=self.rng())
        return {
            "value": float(found.difference),
            "low": float(found.low),
            "high": float(found.high),
            "verdict": verdict(found.low, found.high, found.p, found.p_equivalence),
            "dims": " ".join(map(str, dims)),
            "numbers": numbers(self.by_size(new, base, dims)),
        }

    def by_size(self, new: Outcomes, base: Outcomes, dims: list[int]) -> pd.DataFrame:
        """`compare_outcomes` at each of `dims`. Raises NotTested where there is none."""
        if not dims:
            raise NotTested("no two sizes to compare")
        pair = [np.stack([values[m] for m in dims]) for values in (new, base)]
        return compare_outcomes(*pair, dims, rng=self.rng())


def signed(value: float) -> str:
    """A difference in points.

    >>> signed(-0.0123)
    '−1.2'
    """
    return f"{100 * value:+.1f}".replace("-", "−")


def numbers(steps: pd.DataFrame) -> str:
    """Differences with their intervals, size by size, in points."""
    return "; ".join(
        f"{row.dim}: {signed(row.difference)} [{signed(row.low)}, {signed(row.high)}]"
        for row in steps.itertuples()
    )


def means(outcomes: Outcomes, show: Callable[[float], str] = lambda value: f"{100 * value:.1f}") -> str:
    """Means size by size, in points."""
    return "; ".join(f"{m}: {show(values.mean())}" for m, values in outcomes.items())


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


def largest(sizes: list[int]) -> list[int]:
    """The largest size."""
    return sizes[-1:]


def below_full(sizes: list[int]) -> list[int]:
    """Sizes below the largest, at which random and first features leave something out."""
    return sizes[:-1]


def every(sizes: list[int]) -> list[int]:
    """All sizes."""
    return sizes


# --- rules: (evidence, claim) → what was found, with `shown` ----------------------------------------

Rule = Callable[[Evidence, "Claim"], dict]


def averaged(sizes: Callable, shown: Callable[[dict], bool]) -> Rule:
    """Decided by the mean difference over some sizes."""

    def rule(evidence: Evidence, claim: Claim) -> dict:
        new, base, shared = evidence.both(claim)
        found = evidence.decide(new, base, sizes(shared))
        return found | {"shown": shown(found)}

    return rule


def bounded(sizes: Callable, low: float = -np.inf, high: float = np.inf) -> Rule:
    """Shown when the interval of the mean difference over some sizes lies between two bounds."""
    return averaged(sizes, lambda found: low < found["low"] and found["high"] < high)


def equivalent(sizes: Callable) -> Rule:
    """Shown when two one-sided tests put the mean difference over some sizes inside ± margin."""
    return averaged(sizes, lambda found: found["verdict"] == "equivalent")


def each(sizes: Callable, wanted: str) -> Rule:
    """Shown when the verdict is the wanted one at each of some sizes, tests Holm-adjusted over them.

    The deciding difference is the lowest for "better", else the mean over the sizes.
    """

    def rule(evidence: Evidence, claim: Claim) -> dict:
        new, base, shared = evidence.both(claim)
        dims = sizes(shared)
        steps = evidence.by_size(new, base, dims)
        worst = int(steps.loc[steps["difference"].idxmin(), "dim"])
        found = evidence.decide(new, base, [worst] if wanted == "better" else dims)
        shown = bool((steps["verdict"] == wanted).all())
        return found | {"dims": " ".join(map(str, dims)), "numbers": numbers(steps), "shown": shown}

    return rule


def ahead_at_every_size(evidence: Evidence, claim: "Claim") -> dict:
    """Shown when the difference is above 0 at every size and its interval over all sizes is too."""
    new, base, shared = evidence.both(claim)
    found = evidence.decide(new, base, shared)
    ahead = all(new[m].mean() > base[m].mean() for m in shared)
    return found | {"shown": found["low"] > 0 and ahead}


def collapses(evidence: Evidence, claim: "Claim") -> dict:
    """Shown when the smallest size keeps less than half of the largest size's accuracy."""
    outcomes = evidence.outcomes(claim.method, claim.on)
    first, full = min(outcomes), max(outcomes)
    found = evidence.decide({first: outcomes[first]}, {first: outcomes[full] / 2}, [first])
    return found | {"numbers": means(outcomes), "shown": found["high"] < 0}


def not_monotone(evidence: Evidence, claim: "Claim") -> dict:
    """Shown when some size is worse than the size before it, tests Holm-adjusted over the steps."""
    outcomes = evidence.outcomes(claim.method, claim.on)
    before = {m: outcomes[last] for last, m in pairwise(sorted(outcomes))}
    steps = evidence.by_size(outcomes, before, list(before))
    worst = steps.loc[steps["difference"].idxmin()]
    found = {key: worst[key] for key in ("low", "high", "verdict")}
    shown = bool((steps["verdict"] == "worse").any())
    value, dims = worst["difference"], str(worst["dim"])
    return found | {"value": value, "dims": dims, "numbers": means(outcomes), "shown": shown}


def stands_out(sizes: Callable, sign: int) -> Rule:
    """Shown when the smallest size's difference is above (+1) or below (−1) the mean of the other sizes'."""

    def rule(evidence: Evidence, claim: Claim) -> dict:
        new, base, shared = evidence.both(claim)
        first, *others = sizes(shared) or [0]
        if not others:
            raise NotTested("needs two sizes" + (" below d" if sizes is below_full else ""))
        gap = {m: new[m] - base[m] for m in (first, *others)}
        rest = np.mean([gap[m] for m in others], axis=0)
        found = evidence.decide({first: gap[first]}, {first: rest}, [first])
        shown = found["low"] > 0 if sign > 0 else found["high"] < 0
        return found | {"numbers": means(gap, signed), "shown": shown}

    return rule


@dataclass(frozen=True)
class Claim:
    """One expected shape: what it says, the rule that decides it, which methods, and on which outcomes."""

    name: str
    text: str
    rule: Rule
    method: str
    against: str
    on: Outcome


def decided(runs: list[Run], claims: Sequence[Claim]) -> Iterator[dict]:
    """A row per claim: value is the deciding difference (a fraction), `shown` what it says of the claim."""
    methods = by_method(runs)
    evidence = Evidence(methods, runs[0].options["seed"])
    dataset = runs[0].dataset
    for claim in claims:
        split = claim.on.split
        n = len(dataset.labels(split)) if split in dataset else 0
        missing = [name for name in (claim.method, claim.against) if name not in (*methods, "itself")]
        missing += [f"split {split}"] * (n == 0)
        try:
            if missing:
                raise NotTested(f"the study has no {missing[0]}")
            found = claim.rule(evidence, claim)
            found["shown"] = "shown" if found["shown"] else "not shown"
        except NotTested as reason:
            found = {"value": np.nan, "shown": "not tested", "numbers": str(reason)}
        keys = {"finding": claim.name, "claim": claim.text, "baseline": claim.against}
        row = runs[0].row(0, split, claim.on.name, found.pop("value"), n, **keys, **found)
        yield row | {"method": claim.method}


# --- as a page --------------------------------------------------------------------------------------


def markdown(table: pd.DataFrame) -> str:
    """The findings as a Markdown table; differences in points."""
    lines = ["| claim | | deciding difference [95 %] | size by size |", "|---|---|---|---|"]
    for row in table.itertuples():
        interval = (
            "" if np.isnan(row.value) else f"{signed(row.value)} [{signed(row.low)}, {signed(row.high)}]"
        )
        lines.append(f"| {row.claim} ({row.metric}) | **{row.shown}** | {interval} | {row.numbers} |")
    lines.append("")
    counts = table[table["n"] > 0].drop_duplicates("split")
    items = ", ".join(f"{row.n:,} ({row.split})" for row in counts.itertuples())
    lines.append(
        f"n = {items} test images; points of accuracy or mAP@10; “as accurate as” is an "
        f"equivalence test with a margin of {100 * MARGIN:g} points."
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Print a findings table as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--markdown", type=Path, required=True, help="results/tables/<study>/findings.csv")
    args = parser.parse_args(argv)
    print(markdown(pd.read_csv(args.markdown)))


if __name__ == "__main__":
    cli.run(main)
