"""The rules that decide whether a claim is shown."""

import numpy as np
import pytest

from analysis import findings
from analysis.findings import Claim, Evidence, Outcome, below_full, every, large, largest
from analysis.statistics import MARGIN

as_good = findings.bounded(largest, low=-MARGIN)
behind = findings.bounded(every, high=0)
better = findings.each(below_full, "better")
within = findings.each(every, "equivalent")
accurate = findings.equivalent(large)
most_when_small = findings.stands_out(below_full, 1)
least_when_small = findings.stands_out(every, -1)


class Given(Evidence):
    """Evidence with the outcomes it is given: `runs` are method → size → [n]."""

    def outcomes(self, method, outcome):
        return self.runs[method]


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
        (better, (0.5, 0.7, 0.8), (0.2, 0.5, 0.8), True),
        (better, (0.5, 0.5, 0.8), (0.2, 0.5, 0.8), False),
        (most_when_small, (0.5, 0.6, 0.8), (0.2, 0.5, 0.8), True),
        (most_when_small, (0.3, 0.8, 0.8), (0.2, 0.5, 0.8), False),
        (least_when_small, (0.2, 0.5, 0.8), (0.3, 0.5, 0.8), True),
        (least_when_small, (0.3, 0.5, 0.8), (0.2, 0.5, 0.8), False),
        (as_good, (0.1, 0.1, 0.9), (0.2, 0.5, 0.8), True),
        (as_good, (0.1, 0.1, 0.8), (0.2, 0.5, 0.82), False),
        (behind, (0.4, 0.6, 0.7), (0.5, 0.7, 0.8), True),
        (behind, (0.5, 0.7, 0.8), (0.5, 0.7, 0.8), False),
        (accurate, (0.5, 0.7, 0.8), (0.5, 0.7, 0.8), True),
        (accurate, (0.6, 0.8, 0.9), (0.5, 0.7, 0.8), False),
        (within, (0.5, 0.7, 0.8), (0.5, 0.7, 0.8), True),
        (within, (0.5, 0.7, 0.8), (0.5, 0.72, 0.8), False),
        (findings.ahead_at_every_size, (0.6, 0.7, 0.9), (0.5, 0.69, 0.8), True),
        (findings.ahead_at_every_size, (0.6, 0.69, 0.9), (0.5, 0.7, 0.8), False),
        (findings.collapses, (0.2, 0.5, 0.8), (), True),
        (findings.collapses, (0.5, 0.6, 0.8), (), False),
        (findings.not_monotone, (0.6, 0.4, 0.8), (), True),
        (findings.not_monotone, (0.4, 0.6, 0.8), (), False),
    ],
)
def test_rules_decide_as_they_say(rule, new, base, shown):
    claim = Claim("name", "text", rule, "new", "base", Outcome("knn"))
    found = rule(Given({"new": shares(*new), "base": shares(*base)}, 0), claim)
    assert bool(found["shown"]) is shown
    assert found["low"] <= found["value"] <= found["high"] and found["numbers"]


def test_a_claim_that_a_study_cannot_decide_says_why():
    """Of sizes 2 and 4 neither is small; of one size nothing can be told."""

    def decided(rule, sizes):
        both = shares(*[0.5] * sizes, n=9)
        return rule(Given({"new": both, "base": both}, 0), Claim("", "", rule, "new", "base", Outcome("knn")))

    with pytest.raises(findings.NotTested, match="no size among 2, 4 that the claim is about"):
        decided(findings.bounded(findings.small), 2)
    assert decided(accurate, 2)["dims"] == "2 4" and decided(accurate, 2)["value"] == 0
    for rule in (least_when_small, most_when_small, better, findings.not_monotone):
        with pytest.raises(findings.NotTested, match="two sizes"):
            decided(rule, 1)
