"""Decides a study's claims, a row each."""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.findings.evidence import Claim, Evidence, NotTested, Outcome, signed
from analysis.run import Run, by_method, trained_by_both
from suite.study import Method

HALF = "ablation_length"
"""Group of methods that are trained for half the study's length by the same schedule."""

UNFINISHED = 0.01  # gained by the last doubling: more than this, and networks are not trained to the end
LINEAR = Outcome("linear")


def decided(runs: list[Run], claims: Sequence[Claim], length: Outcome = LINEAR) -> Iterator[dict]:
    """A row per claim: value is the deciding difference (a fraction), `outcome` one of OUTCOMES.

    length: on what it is said how much the last doubling of the training's length gained.
    """
    methods, study, dataset = by_method(runs), runs[0].study, runs[0].dataset
    origins = {name: study.origin(name) for name in methods}
    evidence = Evidence(methods, runs[0].options["seed"], study.margin, origins)
    gained = last_doubling(evidence, length)
    for claim in claims:
        split = claim.on.split
        n = len(dataset.labels(split)) if split in dataset else 0
        missing = [name for name in (claim.method, claim.against) if name not in methods]
        missing += [f"split {split}"] * (n == 0)
        missing += [f"evaluation {claim.on.task}"] * (claim.on.task not in study.tasks)
        try:
            if missing:
                raise NotTested(f"the study has no {missing[0]}")
            found = claim.rule(evidence, claim)
        except NotTested as reason:
            found = {"value": np.nan, "outcome": "not tested", "numbers": str(reason), "scope": ""}
        paper, source = claim.of_the_paper()
        keys = {"finding": claim.name, "claim": claim.text, "baseline": claim.against, "margin": study.margin}
        keys |= {"paper": paper, "source": source, "seeds": len(methods.get(claim.method, ()))}
        keys |= {"gained": max(gained.values(), default=np.nan), "doubling": stated(gained)}
        row = runs[0].row(0, split, claim.on.name, found.pop("value"), n, **keys, **found)
        yield row | {"method": claim.method}


def last_doubling(evidence: Evidence, on: Outcome = LINEAR) -> dict[str, float]:
    """By label, what a method's second half of the training gained at its largest size: a fraction.

    From the methods of group HALF and those of the same baseline that are trained for the whole length.
    """
    gained = {}
    for runs in evidence.runs.values():
        half = runs[0].method
        whole = [each for each in evidence.runs.values() if is_whole(each[0].method, half)]
        if half.group == HALF and whole:
            method = whole[0][0].method
            after, before = trained_by_both(
                *(evidence.outcomes(each, on) for each in (method.name, half.name))
            )
            m = max(before)
            gained[method.label] = float(after[m].mean() - before[m].mean())
    return gained


def is_whole(method: Method, half: Method) -> bool:
    """Whether a method is what `half` is trained half as long of."""
    same = (method.baseline, method.options) == (half.baseline, half.options)
    # A network for each size is the same whatever the other sizes are; one for all is not.
    same &= method.network_per_size or method.nesting == half.nesting
    return same and method.group == "baselines" and method.training["epochs"] > half.training["epochs"]


def stated(gained: dict[str, float]) -> str:
    """For people: "MRL +2.1, FF +0.3"; empty where the study has no run of half the length."""
    return ", ".join(f"{label} {signed(value)}" for label, value in gained.items())
