"""Decides a study's claims, a row each."""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.findings.evidence import Claim, Evidence, NotTested
from analysis.run import Run, by_method


def decided(runs: list[Run], claims: Sequence[Claim]) -> Iterator[dict]:
    """A row per claim: value is the deciding difference (a fraction), `outcome` one of OUTCOMES."""
    methods, study, dataset = by_method(runs), runs[0].study, runs[0].dataset
    origins = {name: study.origin(name) for name in methods}
    evidence = Evidence(methods, runs[0].options["seed"], study.margin, origins)
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
        row = runs[0].row(0, split, claim.on.name, found.pop("value"), n, **keys, **found)
        yield row | {"method": claim.method}
