"""Every method against a baseline on the same test items: differences, intervals, tests and verdicts.

Outcomes 0 or 1 get the exact McNemar test, means over draws or seeds the paired bootstrap; p is Holm-adjusted
over sizes, and "equivalent" is only said from two one-sided tests with a margin of half a point
(docs/protocols.md, "Statistics").
"""

from collections.abc import Callable, Iterator

import numpy as np

from analysis.evaluations import knn
from analysis.measures import predict
from analysis.run import Run, by_method
from analysis.statistics import average_over_seeds, compare_outcomes
from suite.errors import unknown

MEASURES = ("predict", "neighbours")
OPTIONS = {
    "against": ["fixed_feature", "mrl"],  # what every other method is compared with
    "outcomes": ["linear", "knn"],  # on what
    "seed": 0,  # of the bootstrap
}


def linear_hits(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(sizes, hits [draws, sizes, n]) of the method's own classifier."""
    return run.outcomes("predict")["sizes"], predict.hits(run)


# What is compared: name in the table, and what gives the outcomes.
COMPARED: dict[str, Callable[[Run], tuple[np.ndarray, np.ndarray]]] = {"linear": linear_hits, "knn": knn.hits}


def compare(runs: list[Run]) -> Iterator[dict]:
    """Rows difference of val per method, size and `baseline`: value is method − baseline.

    `outcome` says which hits are compared. Sizes are those that both methods serve.
    """
    methods = by_method(runs)
    for outcome in runs[0].options["outcomes"] if runs else ():
        if outcome not in COMPARED:
            raise unknown("outcome", outcome, COMPARED, "`outcomes` of tasks.paired")
        read = COMPARED[outcome]
        found = {name: read_seeds(some, read) for name, some in methods.items()}
        for baseline in runs[0].options["against"]:
            if baseline not in found:
                raise unknown("method", baseline, found, "`against` of tasks.paired")
            for name, some in methods.items():
                if name != baseline:
                    yield from differences(some[0], found[name], found[baseline], baseline, outcome)


def read_seeds(runs: list[Run], read: Callable) -> dict[int, np.ndarray]:
    """Outcome of each item by size, averaged over draws and seeds: [n] per size."""
    both = [read(run) for run in runs]
    hits = average_over_seeds(np.stack([hits.mean(0) for _, hits in both]))
    return dict(zip(both[0][0].tolist(), hits))


def differences(
    run: Run, new: dict[int, np.ndarray], base: dict[int, np.ndarray], baseline: str, outcome: str
) -> Iterator[dict]:
    """Rows of one pair of methods."""
    dims = [m for m in new if m in base]
    if not dims:
        return
    table = compare_outcomes(
        np.stack([new[m] for m in dims]),
        np.stack([base[m] for m in dims]),
        dims,
        rng=np.random.default_rng(run.options["seed"]),
    )
    kept = ("low", "high", "p", "p_holm", "p_equivalence", "verdict", "discordant", "test")
    for row in table.to_dict("records"):
        keys = {"outcome": outcome, "baseline": baseline, **{key: row[key] for key in kept}}
        yield run.row(row["dim"], "val", "difference", row["difference"], row["n"], **keys)
