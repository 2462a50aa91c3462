"""Linear classification: top-1 and top-5 of each method's own classifier, and top-1 of the suite's probe.

No test-time augmentation. Where classes of val are of unequal size, the mean over classes stands beside that
over images. Parameters and bytes of the classifier stand beside the accuracy, by size and, for all sizes
together, as dim 0: there MRL-E halves MRL's, d·C against Σ m·C (paper, section 3;
docs/protocols.md, "Linear classification"). So does how each probe was fitted.
"""

from collections.abc import Iterator

import numpy as np

from analysis.metrics import topk_hits
from analysis.run import Items, Run

MEASURES = ("predict", "probe")
ASKS = ("val",)
NAME, WORD = "linear classification", "linear"
# The largest class of val is more than so many times the smallest. Of official sets a few images are left out
# as copies, and means over their classes and over their images are the same.
UNEQUAL = 1.1


def items(run: Run) -> Iterator[Items]:
    """top1 and top5 of val; a study of fewer classes has no top5. probe_top1, which is top1 of a probe's.

    No probe_top1 where networks get no second classifier (`measures: {probe: {second: false}}`).
    """
    outcomes, labels = run.outcomes("predict"), run.dataset.labels("val")
    top5 = outcomes["val/top5"]  # [draws, sizes, n, 5]
    for k in (k for k in (1, 5) if k <= top5.shape[-1]):
        hits = topk_hits(top5, labels, k)
        yield Items(
            f"top{k}", "val", outcomes["sizes"], hits, array=f"val/top{k}", compared=k == 1, main=k == 1
        )
    probed, title = run.outcomes("probe"), f"{NAME} by the suite's probe"
    if "val/top1" in probed:
        hits = probed["val/top1"] == labels
        yield Items("probe_top1", "val", probed["sizes"], hits, measure="probe", title=title)


def score(run: Run) -> Iterator[dict]:
    """Rows of the means, of a classifier's parameters and bytes (of all sizes as 0), of the probes' fit."""
    yield from run.means()
    labels = run.dataset.labels("val")
    counts = np.bincount(labels)
    if counts.max() > UNEQUAL * counts[counts > 0].min():
        top1 = run.main_items(run.task)
        for place, m in enumerate(top1.sizes):
            yield run.mean_of_classes(m, "val", "mean_class_top1", top1.at(place), labels)
    parameters = run.representation.meta["classifier_parameters"]
    for m in (0, *run.representation.sizes):
        yield run.row(m, "val", "classifier_parameters", parameters[str(m)], 1)
        yield run.row(m, "val", "classifier_bytes", 4 * parameters[str(m)], 1)
    probed = run.outcomes("probe")
    for place, m in enumerate(run.representation.sizes if "penalty" in probed else ()):
        yield run.row(m, "val", "probe_penalty", probed["penalty"][0, place], 1)  # all draws have the first's
        yield run.row(m, "val", "probe_gap", probed["gap"][:, place].max(), 1)
        yield run.row(m, "val", "probe_at_limit", probed["at_limit"][:, place].max(), 1)
