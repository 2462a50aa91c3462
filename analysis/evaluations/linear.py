"""Linear classification: top-1 and top-5 of each method's own classifier at every size.

No test-time augmentation. Parameters and bytes of the classifier stand beside the accuracy, by size and,
for all sizes together, as dim 0: there MRL-E halves MRL's, d·C against Σ m·C (paper, section 3;
docs/protocols.md, "Linear classification").
"""

from collections.abc import Iterator

from analysis.metrics import topk_hits
from analysis.run import Items, Run

MEASURES = ("predict",)
NAME, WORD = "linear classification", "linear"


def items(run: Run) -> Iterator[Items]:
    """top1 and top5 of val; a study of fewer classes has no top5."""
    outcomes, labels = run.outcomes("predict"), run.dataset.labels("val")
    top5 = outcomes["val/top5"]  # [draws, sizes, n, 5]
    for k in (k for k in (1, 5) if k <= top5.shape[-1]):
        hits = topk_hits(top5, labels, k)
        yield Items(
            f"top{k}", "val", outcomes["sizes"], hits, array=f"val/top{k}", compared=k == 1, main=k == 1
        )


def score(run: Run) -> Iterator[dict]:
    """Rows of the means; classifier_parameters and classifier_bytes per size and for all."""
    yield from run.means()
    parameters = run.representation.meta["classifier_parameters"]
    for m in (0, *run.representation.sizes):
        yield run.row(m, "val", "classifier_parameters", parameters[str(m)], 1)
        yield run.row(m, "val", "classifier_bytes", 4 * parameters[str(m)], 1)
