"""Few-shot classification: nearest class mean on v2 images, n labelled images per class, all classes.

The rest of v2 is the test (paper, appendix G; docs/protocols.md, "Few-shot"). The labelled images are chosen
several times at random; the t interval is that of the mean over these choices, not of a single one.
"""

from collections.abc import Iterator

import numpy as np

from analysis.run import Items, Run
from analysis.statistics import mean_interval

MEASURES = ("classmeans",)
NAME = "5-shot class means"
SHOTS = 5  # labelled images per class where methods are compared


def items(run: Run) -> Iterator[Items]:
    """top1 with 5 shots: of each image the share of choices, in which it is tested, that recognise it."""
    if "v2" not in run.dataset:
        return
    outcomes = run.outcomes("classmeans")
    shots = outcomes["fewshot/shots"].tolist()
    if SHOTS in shots:
        hits = outcomes["fewshot/hits"][:, :, shots.index(SHOTS)]  # [draws, sizes, choices, n]
        tested = (hits >= 0).sum(2)  # the same for every size and draw: the choices are the study's
        some = (tested > 0).all((0, 1))
        share = ((hits == 1).sum(2)[..., some] / tested[..., some]).astype(np.float32)
        yield Items("top1", "v2", outcomes["sizes"], share, keys={"shots": SHOTS}, array="fewshot/top1")


def score(run: Run) -> Iterator[dict]:
    """Rows top1 of v2 per size and number of `shots`; n is the number of images tested in each choice."""
    if "v2" not in run.dataset:
        return
    outcomes = run.outcomes("classmeans")
    hits = outcomes["fewshot/hits"]  # [draws, sizes, shots, choices, n]
    tested = (hits >= 0).sum(-1)
    accuracy = ((hits == 1).sum(-1) / tested).mean(0)  # [sizes, shots, choices]
    for place, m in enumerate(outcomes["sizes"]):
        for at, shots in enumerate(outcomes["fewshot/shots"]):
            value, low, high = mean_interval(accuracy[place, at])
            n = tested[0, place, at, 0]
            yield run.row(m, "v2", "top1", value, n, low=float(low), high=float(high), shots=int(shots))
