"""Every method against a baseline on the same test items: differences, intervals, tests and verdicts.

Outcomes 0 or 1 get the exact McNemar test, means over draws or seeds the paired bootstrap; p is Holm-adjusted
over sizes, and "equivalent" is only said from two one-sided tests with a margin of half a point
(docs/protocols.md, "Statistics").
"""

from collections.abc import Iterator

import numpy as np

from analysis.run import Run, by_method, over_seeds
from analysis.statistics import compare_outcomes
from suite.errors import unknown

READS = "outcomes"
OPTIONS = {
    "against": ["fixed_feature", "mrl"],  # what every other method is compared with
    "outcomes": ["linear", "knn"],  # on what: evaluations, of which the main metric is meant
    "seed": 0,  # of the bootstrap
}


def compare(runs: list[Run]) -> Iterator[dict]:
    """Rows difference per method, size and `baseline`: value is method − baseline.

    `outcome` says which evaluation's items are compared. Sizes are those that both methods serve.
    """
    methods = by_method(runs)
    for outcome in runs[0].options["outcomes"] if runs else ():
        split = runs[0].main_items(outcome).split
        found = {
            name: over_seeds(some, lambda run, outcome=outcome: run.main_items(outcome))
            for name, some in methods.items()
        }
        for baseline in runs[0].options["against"]:
            if baseline not in found:
                raise unknown("method", baseline, found, "`against` of tasks.paired")
            for name, some in methods.items():
                if name != baseline:
                    keys = {"split": split, "outcome": outcome, "baseline": baseline}
                    yield from differences(some[0], found[name], found[baseline], **keys)


def differences(
    run: Run, new: dict[int, np.ndarray], base: dict[int, np.ndarray], split: str, **keys: str
) -> Iterator[dict]:
    """Rows of one pair of methods."""
    dims = [m for m in new if m in base]
    if not dims:
        return
    pair = [np.stack([side[m] for m in dims]) for side in (new, base)]
    table = compare_outcomes(*pair, dims, rng=np.random.default_rng(run.options["seed"]))
    kept = ("low", "high", "p", "p_holm", "p_equivalence", "verdict", "discordant", "test")
    for row in table.to_dict("records"):
        found = {key: row[key] for key in kept}
        yield run.row(row["dim"], split, "difference", row["difference"], row["n"], **keys, **found)
