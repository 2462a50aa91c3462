"""Is an embedding nested? Its prefixes against random columns of it, size by size, on the same queries.

Of an embedding whose columns are all alike, the first m are worth no more than any other m. The difference
prefix − random columns has an interval and a verdict as in `paired`: over queries, random columns averaged
over their draws, query by query. Sizes are those below the full one, at which both are the same; the row of
dim 0 is of the area under the curve against log₂ size over these.
"""

from collections.abc import Iterator

import numpy as np

from analysis.evaluations.paired import differences
from analysis.run import Run, by_method, by_seed

READS = "outcomes"
NEEDS = ("judgements",)
LABELS = False
OPTIONS = {
    "outcomes": ["judged_retrieval"],  # on what: evaluations, of which the main metric is meant
    "against": "random_features",  # the method that draws columns
    "seed": 0,  # of the bootstrap
}
ALLOWED = {
    "outcomes": {"minItems": 1, "items": {"type": "string"}},
}


def compare(runs: list[Run]) -> Iterator[dict]:
    """Rows difference of each method of which the study has random columns; keys as in `paired`."""
    methods = by_method(runs)
    for outcome in runs[0].options["outcomes"] if runs else ():
        for name, drawn in methods.items():
            method = drawn[0].method
            if method.baseline == runs[0].options["against"] and method.source in methods:
                prefix = methods[method.source]
                keys = {"split": prefix[0].main_items(outcome).split, "outcome": outcome, "baseline": name}
                yield from differences(prefix, below(prefix, outcome), below(drawn, outcome), **keys)


def below(runs: list[Run], outcome: str) -> dict[int, np.ndarray]:
    """What `by_seed` says of the runs of a method, at the sizes below its largest."""
    found = by_seed(runs, lambda run: run.main_items(outcome))
    return {m: values for m, values in found.items() if m < max(found)}
