"""Few-shot classification: nearest class mean on v2 images, n labelled images per class, all classes.

The rest of v2 is the test (paper, appendix G; docs/protocols.md, "Few-shot"). The labelled images are chosen
several times at random; the t interval is that of the mean over these choices, not of a single one.
"""

from collections.abc import Iterator

from analysis.run import Run
from analysis.statistics import seed_interval

MEASURES = ("classmeans",)
OPTIONS = {}


def score(run: Run) -> Iterator[dict]:
    """Rows top1 of v2 per size and number of `shots`; n is the number of images tested in each choice."""
    if "v2" not in run.dataset:
        return
    outcomes = run.outcomes("classmeans")
    hits = outcomes["fewshot/hits"]  # [draws, sizes, shots, choices, n]
    tested = (hits >= 0).sum(-1)
    accuracy = ((hits == 1).sum(-1) / tested).mean(0)  # [sizes, shots, choices]
    for size, m in enumerate(outcomes["sizes"]):
        for place, shots in enumerate(outcomes["fewshot/shots"]):
            value, low, high = seed_interval(accuracy[size, place])
            n = tested[0, size, place, 0]
            yield run.row(m, "v2", "top1", value, n, low=float(low), high=float(high), shots=int(shots))
