"""Every method against a baseline on the same test items: differences, intervals, tests and verdicts.

Items and trainings are both chance where methods were trained more than once (`scope` "methods"); of one
training each the verdict is of these networks. p is Holm-adjusted over the sizes of one method, baseline and
outcome, and "equivalent" is only said from two one-sided tests with the study's margin. The row of dim 0 is
the normalised area under the curve against log₂ size: the primary endpoint (docs/protocols.md, "Statistics").
"""

from collections.abc import Iterator

import numpy as np

from analysis.metrics import normalised_area
from analysis.run import Run, by_method, by_seed, trained_by_both
from analysis.statistics import compare_outcomes
from suite.errors import unknown

READS = "outcomes"
LABELS = False  # as far as what it compares does without
OPTIONS = {
    "against": ["fixed_feature", "mrl"],  # what every other method is compared with
    "outcomes": ["linear", "knn"],  # on what: evaluations, of which the main metric is meant
    "seed": 0,  # of the bootstrap
}
ALLOWED = {
    "against": {"minItems": 1, "items": {"type": "string"}},
    "outcomes": {"minItems": 1, "items": {"type": "string"}},
}


def compare(runs: list[Run]) -> Iterator[dict]:
    """Rows difference per method, size and `baseline`: value is method − baseline; dim 0: of the areas.

    `outcome` says which evaluation's items are compared. Sizes are those that both methods serve.
    """
    methods = by_method(runs)
    for outcome in runs[0].options["outcomes"] if runs else ():
        split = runs[0].main_items(outcome).split
        found = {
            name: by_seed(some, lambda run, outcome=outcome: run.main_items(outcome))
            for name, some in methods.items()
        }
        for baseline in runs[0].options["against"]:
            if baseline not in found:
                raise unknown("method", baseline, found, "`against` of tasks.paired")
            for name, some in methods.items():
                if name != baseline:
                    keys = {"split": split, "outcome": outcome, "baseline": baseline}
                    yield from differences(some, found[name], found[baseline], **keys)


def differences(
    runs: list[Run], new: dict[int, np.ndarray], base: dict[int, np.ndarray], split: str, **keys: str
) -> Iterator[dict]:
    """Rows of one pair of methods. runs: of the new one."""
    dims = [m for m in new if m in base]
    if not dims:
        return
    run = runs[0]
    if paired := run.study.share_network(run.method.name, keys["baseline"]):
        new, base = trained_by_both(new, base)
    mine, its = (np.stack([side[m] for m in dims]) for side in (new, base))
    how = {
        "margin": run.study.margin,
        "paired": paired,
        "rng": np.random.default_rng(run.options["seed"]),
    }
    rows = compare_outcomes(mine, its, dims, **how).to_dict("records")
    if len(dims) > 1:
        areas = [normalised_area(dims, side.T).T[None] for side in (mine, its)]
        rows += compare_outcomes(*areas, [0], **how).to_dict("records")
    kept = (
        "low",
        "high",
        "p",
        "p_holm",
        "p_equivalence",
        "verdict",
        "detectable",
        "scope",
        "discordant",
        "test",
    )
    for row in rows:
        found = {key: row[key] for key in kept}
        yield run.row(row["dim"], split, "difference", row["difference"], row["n"], **keys, **found)
