"""1-NN accuracy at every size, trained or in between.

Database = training split, queries = validation split; slice z[:, :m], then normalise, L2 distance, label
of the nearest neighbour, ties to the lowest id (paper, section 4.1; docs/protocols.md, "1-NN").
"""

from collections.abc import Iterator

from analysis.evaluations.retrieval import first_relevant
from analysis.run import Items, Run

MEASURES = ("neighbours",)
NAME, WORD = "1-NN", "1-NN"


def items(run: Run) -> Iterator[Items]:
    """top1 of val; `trained` says whether a size is in the method's nesting."""
    outcomes = run.outcomes("neighbours")
    relevant = first_relevant(run, "val", "train")  # [draws, sizes, n, 10]
    yield Items(
        "top1",
        "val",
        outcomes["sizes"],
        relevant,
        lambda relevant: relevant[..., 0],
        {"trained": True},
        array="val/train/relevant",
        main=True,
    )
    hits = run.dataset.labels("train")[outcomes["between/ids"][..., 0]] == run.dataset.labels("val")
    keys = {"trained": False}
    yield Items("top1", "val", outcomes["between/sizes"], hits, keys=keys, kept=False, compared=False)
