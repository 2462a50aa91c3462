"""Superclass accuracy: is a wrong answer at least of the right kind? (paper, section 5, appendix J).

The fine prediction and the label are both mapped to superclasses. Classes without one (ImageNet's reject,
533 of 1,000) are reported both ways: `reject` false leaves their images out and counts an answer among them
as wrong; true makes them one more superclass, as the reference code does.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from analysis.run import Items, Run

MEASURES = ("predict",)
ASKS = ("superclasses",)
REJECT = "reject"


def claimed(run: Run) -> Iterator[Items]:
    """superclass_top1 of val, where every class has a superclass."""
    outcomes, labels = run.outcomes("predict"), run.dataset.labels("val")
    names = run.dataset.classes["superclass"].to_numpy(str)
    if (names[labels] != "").all():
        same = names[outcomes["val/top5"][..., 0]] == names[labels]  # [draws, sizes, n]
        yield Items("superclass_top1", "val", outcomes["sizes"], same)


def score(run: Run) -> Iterator[dict]:
    """Rows of val per size:

    superclass_top1: per `superclass` and for all of them (superclass "all"), with and without `reject`;
    superclass_gain: by how much it grew since the size before, per superclass;
    errors_within_superclass: share of the wrong answers that name a class of the right superclass.
    """
    outcomes, labels = run.outcomes("predict"), run.dataset.labels("val")
    names = run.dataset.classes["superclass"].to_numpy(str)
    if not (names[labels] != "").any():
        return
    predicted = outcomes["val/top5"][..., 0]  # [draws, sizes, n]
    same = names[predicted] == names[labels]
    placed = names[labels] != ""
    sizes = outcomes["sizes"]
    for place, m in enumerate(sizes):
        keys = {"superclass": "all", "reject": False}
        yield run.mean(m, "val", "superclass_top1", same[:, place, placed], **keys)
        if not placed.all():
            yield run.mean(m, "val", "superclass_top1", same[:, place], superclass="all", reject=True)
        yield from errors_within(run, m, predicted[:, place, placed], same[:, place, placed], labels[placed])
    for superclass in np.unique(names[labels]):
        rows = names[labels] == superclass
        keys = {"superclass": superclass or REJECT, "reject": superclass == ""}
        for place, m in enumerate(sizes):
            yield run.mean(m, "val", "superclass_top1", same[:, place, rows], **keys)
        for (before, _), (place, m) in pairwise(enumerate(sizes)):
            gain = same[:, place, rows].astype(float) - same[:, before, rows]
            yield run.mean(m, "val", "superclass_gain", gain, **keys)


def errors_within(
    run: Run, m: int, predicted: np.ndarray, same: np.ndarray, labels: np.ndarray
) -> Iterator[dict]:
    """The row errors_within_superclass; none when nothing is wrong. predicted, same: [draws, n].

    Several draws are pooled: each has wrong answers of its own. n is the number of errors in the mean draw.
    """
    wrong = predicted != labels
    if not wrong.any():
        return
    if len(wrong) == 1:
        keys = {"superclass": "all", "reject": False}
        yield run.mean(m, "val", "errors_within_superclass", same[wrong], **keys)
    else:
        n = round(wrong.sum() / len(wrong))
        yield run.row(
            m, "val", "errors_within_superclass", same[wrong].mean(), n, superclass="all", reject=False
        )
