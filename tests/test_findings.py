"""The rules that decide whether a claim is shown."""

import numpy as np
import pytest

from analysis import findings
from analysis.findings import Evidence


class Given:
    """Evidence with the outcomes it is given: method → size → [n]."""

    def __init__(self, **outcomes):
        self.given = outcomes
        self.evidence = Evidence({}, 0, {})

    def outcomes(self, method, metric):
        return self.given[method]

    def __getattr__(self, name):
        return getattr(self.evidence, name)


def shares(*values, n=2000):
    """Outcomes by size 2, 4, 8 …: so many hits of n, each in a random order."""
    rng = np.random.default_rng(5)
    return {
        2 ** (i + 1): rng.permutation(np.arange(n) < value * n).astype(float)
        for i, value in enumerate(values)
    }


@pytest.mark.parametrize(
    "rule, new, base, shown",
    [
        (findings.better_at_every_size, (0.5, 0.7, 0.8), (0.2, 0.5, 0.8), True),
        (findings.better_at_every_size, (0.5, 0.5, 0.8), (0.2, 0.5, 0.8), False),
        (findings.gains_most_when_small, (0.5, 0.6, 0.8), (0.2, 0.5, 0.8), True),
        (findings.gains_most_when_small, (0.3, 0.8, 0.8), (0.2, 0.5, 0.8), False),
        (findings.as_good_at_full_size, (0.1, 0.1, 0.9), (0.2, 0.5, 0.8), True),
        (findings.as_good_at_full_size, (0.1, 0.1, 0.8), (0.2, 0.5, 0.82), False),
        (findings.within_margin_at_every_size, (0.5, 0.7, 0.8), (0.5, 0.7, 0.8), True),
        (findings.within_margin_at_every_size, (0.5, 0.7, 0.8), (0.5, 0.72, 0.8), False),
        (findings.ahead_at_every_size, (0.6, 0.7, 0.9), (0.5, 0.69, 0.8), True),
        (findings.ahead_at_every_size, (0.6, 0.69, 0.9), (0.5, 0.7, 0.8), False),
    ],
)
def test_rules_decide_as_they_say(rule, new, base, shown):
    found = rule(Given(new=shares(*new), base=shares(*base)), "new", "base", "top1")
    assert bool(found["shown"]) is shown
    assert found["low"] <= found["value"] <= found["high"] and found["numbers"]
