"""Linear classification: top-1 and top-5 of each method's own classifier at every size.

No test-time augmentation. Parameters and bytes of the classifier stand beside the accuracy, by size and,
for all sizes together, as dim 0: there MRL-E halves MRL's, d·C against Σ m·C (paper, section 3;
docs/protocols.md, "Linear classification").
"""

from collections.abc import Iterator

import numpy as np

from analysis.metrics import topk_hits
from analysis.run import Run

MEASURES = ("predict",)
OPTIONS = {}


def score(run: Run) -> Iterator[dict]:
    """Rows top1 and top5 of val per size; classifier_parameters and classifier_bytes per size and for all."""
    outcomes = run.outcomes("predict")
    labels = run.dataset.labels("val")
    top5 = outcomes["val/top5"]  # [draws, sizes, n, 5]
    parameters = run.representation.meta["classifier_parameters"]
    for size, m in enumerate(outcomes["sizes"]):
        for k in (k for k in (1, 5) if k <= top5.shape[-1]):  # a study may have fewer classes
            hits = np.stack([topk_hits(draw[size], labels, k) for draw in top5])
            yield run.mean(m, "val", f"top{k}", hits)
    for m in (0, *outcomes["sizes"]):
        count = parameters[str(m)]
        yield run.row(m, "val", "classifier_parameters", count, 1)
        yield run.row(m, "val", "classifier_bytes", 4 * count, 1)
