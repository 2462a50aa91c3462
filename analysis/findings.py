"""Which of the paper's shapes a study shows, claim by claim, with numbers and intervals.

    python -m analysis.findings --markdown results/tables/glyphs/findings.csv     the table for a page

Every claim is decided by one paired difference of outcomes on the test items and its 95 % interval, by a rule
that is stated here and not tuned: a claim that is true but cannot be told from its opposite is "not shown".
Small sizes are those up to d/8, large ones those above.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.evaluations.paired import read_seeds
from analysis.run import Run, by_method
from analysis.statistics import MARGIN, RESAMPLES, compare_outcomes, compare_paired, verdict
from suite import cli

Outcomes = dict[int, np.ndarray]  # by size, one value per test item: float64 [n]


class NotTested(Exception):
    """Why a study cannot decide a claim."""


@dataclass(frozen=True)
class Evidence:
    """Outcomes of a study's methods, and how they are compared."""

    runs: dict[str, list[Run]]
    seed: int
    read: dict[str, Callable]  # metric → (run → (sizes, outcomes [draws, sizes, n]))

    def outcomes(self, method: str, metric: str) -> Outcomes:
        """Raises KeyError for a method that the study does not have."""
        return read_seeds(self.runs[method], self.read[metric])

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
        found = compare_paired(*pair, MARGIN, rng=self.rng())
        by_size = self.by_size(new, base, dims)
        numbers = [
            f"{row.dim}: {signed(row.difference)} [{signed(row.low)}, {signed(row.high)}]"
            for row in by_size.itertuples()
        ]
        return {
            "value": float(found.difference),
            "low": float(found.low),
            "high": float(found.high),
            "verdict": verdict(found.low, found.high, found.p, found.p_equivalence),
            "dims": " ".join(map(str, dims)),
            "numbers": "; ".join(numbers),
        }

    def by_size(self, new: Outcomes, base: Outcomes, dims: list[int]) -> pd.DataFrame:
        """`compare_outcomes` at each of `dims`. Raises NotTested where there is none."""
        if not dims:
            raise NotTested("no two sizes to compare")
        pair = [np.stack([values[m] for m in dims]) for values in (new, base)]
        return compare_outcomes(*pair, dims, rng=self.rng(), resamples=RESAMPLES)


def signed(value: float) -> str:
    """A difference in points.

    >>> signed(-0.0123)
    '−1.2'
    """
    return f"{100 * value:+.1f}".replace("-", "−")


# --- rules: evidence → what was found, with `shown` -------------------------------------------------


def split_sizes(sizes) -> tuple[list[int], list[int]]:
    """(small: up to d/8, large: above) of increasing sizes that end at d.

    >>> split_sizes([8, 16, 32, 64, 128, 256])
    ([8, 16, 32], [64, 128, 256])
    """
    return [m for m in sizes if 8 * m <= max(sizes)], [m for m in sizes if 8 * m > max(sizes)]


def not_worse_when_small(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when the interval of the difference over the small sizes lies above −margin."""
    new, base = evidence.outcomes(method, metric), evidence.outcomes(against, metric)
    found = evidence.decide(new, base, split_sizes([m for m in new if m in base])[0])
    return found | {"shown": found["low"] > -MARGIN}


def equivalent_when_large(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when two one-sided tests put the difference over the large sizes inside ± margin."""
    new, base = evidence.outcomes(method, metric), evidence.outcomes(against, metric)
    found = evidence.decide(new, base, split_sizes([m for m in new if m in base])[1])
    return found | {"shown": found["verdict"] == "equivalent"}


def not_worse_from_an_eighth(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when the interval of the difference over sizes ≥ d/8 lies above −margin."""
    new, base = evidence.outcomes(method, metric), evidence.outcomes(against, metric)
    found = evidence.decide(new, base, from_an_eighth([m for m in new if m in base]))
    return found | {"shown": found["low"] > -MARGIN}


def behind_from_an_eighth(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when the interval of the difference over sizes ≥ d/8 lies below 0."""
    found = not_worse_from_an_eighth(evidence, method, against, metric)
    return found | {"shown": found["high"] < 0}


def from_an_eighth(sizes) -> list[int]:
    """Sizes ≥ d/8."""
    return [m for m in sizes if 8 * m >= max(sizes)]


def collapses(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when the smallest size keeps less than half of the largest size's accuracy."""
    outcomes = evidence.outcomes(method, metric)
    small, full = min(outcomes), max(outcomes)
    found = evidence.decide({small: outcomes[small]}, {small: outcomes[full] / 2}, [small])
    numbers = "; ".join(f"{m}: {100 * values.mean():.1f}" for m, values in outcomes.items())
    return found | {"numbers": numbers, "shown": found["high"] < 0}


def not_monotone(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when some size is worse than the size before it, tests Holm-adjusted over the steps."""
    outcomes = evidence.outcomes(method, metric)
    sizes = sorted(outcomes)
    steps = evidence.by_size(
        {m: outcomes[m] for m in sizes[1:]},
        {m: outcomes[before] for before, m in pairwise(sizes)},
        sizes[1:],
    )
    worst = steps.loc[steps["difference"].idxmin()]
    return {
        "value": worst["difference"],
        "low": worst["low"],
        "high": worst["high"],
        "verdict": worst["verdict"],
        "dims": str(worst["dim"]),
        "numbers": "; ".join(f"{m}: {100 * outcomes[m].mean():.1f}" for m in sizes),
        "shown": bool((steps["verdict"] == "worse").any()),
    }


def weakest_when_smallest(evidence: Evidence, method: str, against: str, metric: str) -> dict:
    """Shown when the gap at the smallest size is larger than the mean gap at the others."""
    new, base = evidence.outcomes(method, metric), evidence.outcomes(against, metric)
    first, *others = [m for m in new if m in base]
    if not others:
        raise NotTested("needs two sizes")
    gap = {m: new[m] - base[m] for m in (first, *others)}
    found = evidence.decide({first: gap[first]}, {first: np.mean([gap[m] for m in others], axis=0)}, [first])
    numbers = "; ".join(f"{m}: {signed(values.mean())}" for m, values in gap.items())
    return found | {"numbers": numbers, "shown": found["high"] < 0}


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


@dataclass(frozen=True)
class Claim:
    """One expected shape: what it says, the rule that decides it, and the split whose items decide."""

    name: str
    text: str
    rule: Callable[[Evidence, str, str, str], dict]
    method: str
    against: str
    metric: str
    split: str = "val"


def judge(runs: list[Run], claims: Sequence[Claim], read: dict[str, Callable]) -> Iterator[dict]:
    """The rows of `compare` for any claims, over the metrics that `read` reads outcomes of."""
    methods = by_method(runs)
    evidence = Evidence(methods, runs[0].options["seed"], read)
    dataset = runs[0].dataset
    for claim in claims:
        n = len(dataset.labels(claim.split)) if claim.split in dataset else 0
        missing = [name for name in (claim.method, claim.against) if name not in (*methods, "itself")]
        missing += [f"split {claim.split}"] * (n == 0)
        if missing:
            found = not_tested(f"the study has no {missing[0]}")
        else:
            try:
                found = claim.rule(evidence, claim.method, claim.against, claim.metric)
                found["shown"] = "shown" if found["shown"] else "not shown"
            except NotTested as reason:
                found = not_tested(str(reason))
        keys = {"finding": claim.name, "claim": claim.text, "baseline": claim.against}
        row = runs[0].row(0, claim.split, claim.metric, found.pop("value"), n, **keys, **found)
        yield row | {"method": claim.method}


def not_tested(reason: str) -> dict:
    """What is found about a claim that a study cannot decide."""
    return {"value": np.nan, "shown": "not tested", "numbers": reason}


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
