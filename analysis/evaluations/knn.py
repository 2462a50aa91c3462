"""1-NN accuracy at every size, trained or in between.

Database = training split, queries = validation split; slice z[:, :m], then normalise, L2 distance, label
of the nearest neighbour, ties to the lowest id (paper, section 4.1; docs/protocols.md, "1-NN").
"""

from collections.abc import Iterator

from analysis.evaluations.retrieval import first_relevant
from analysis.run import Items, Run
from suite.errors import UserError

MEASURES = ("neighbours",)
ASKS = ("val",)
NAME, WORD = "1-NN", "1-NN"
OPTIONS = {
    "sampled": "items",  # what intervals are over; "classes" where these have a few, alike items each
}
ALLOWED = {
    "sampled": {"enum": ["items", "classes"]},
}


def items(run: Run) -> Iterator[Items]:
    """top1 of val; `trained` says whether a size is in the method's nesting."""
    outcomes, sampled = run.outcomes("neighbours"), run.options["sampled"]
    if sampled not in ("items", "classes"):
        raise UserError(f"tasks.knn.sampled is {sampled}; allowed: items, classes; see {run.study.path}")
    groups = run.dataset.labels("val") if sampled == "classes" else None
    relevant = first_relevant(run, "val", "train")  # [draws, sizes, n, 10]
    yield Items(
        "top1",
        "val",
        outcomes["sizes"],
        relevant,
        lambda relevant: relevant[..., 0],
        {"trained": True},
        groups,
        array="val/train/relevant",
        main=True,
    )
    hits = run.dataset.labels("train")[outcomes["between/ids"][..., 0]] == run.dataset.labels("val")
    keys = {"trained": False}
    table = {"kept": False, "compared": False}
    yield Items("top1", "val", outcomes["between/sizes"], hits, keys=keys, groups=groups, **table)


def score(run: Run) -> Iterator[dict]:
    """top1, and zero_prefixes where val or train has any: so many prefixes are all zeros, of n.

    Their neighbours are the lowest ids, whatever they show.
    """
    yield from run.means()
    outcomes = run.outcomes("neighbours")
    for split in ("val", "train"):
        for m, count in zip(outcomes["sizes"], outcomes[f"zeros/{split}"].mean(0)):
            if count:
                yield run.row(m, split, "zero_prefixes", count, len(run.dataset.labels(split)), trained=True)
