"""Long-tailed stream: predict, then store; nearest class mean on frozen prefixes (FLUID; paper, appendix G).

Groups: classes seen in pretraining or novel, with more than `head` examples in the stream or at most that.
`start`: class means start empty (cold: FLUID's reference code), or from the training images of pretraining
classes (warm). A class has no mean until the first update after its first image, so its first images are
counted wrong. Images between two updates are judged by the same means: intervals over images are over blocks
of that length.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from analysis.run import Items, Run
from suite.errors import UserError

MEASURES = ("classmeans",)
ASKS = ("stream",)
NAME = "long-tailed stream"
OPTIONS = {
    "head": 50,  # more examples of a class than this in the stream make it a head class
    "windows": 20,  # parts of the stream whose accuracies show its course
}
ALLOWED = {
    "windows": {"minimum": 1},
}
STARTS = {"warm": "stream", "cold": "stream/cold"}  # where the outcomes of each stand


def items(run: Run) -> Iterator[Items]:
    """top1 of every image of the stream, in its order, per `start`; methods are compared on the warm one."""
    if "stream" in run.dataset:
        outcomes, labels = run.outcomes("classmeans"), run.dataset.labels("stream")
        blocks = np.arange(len(labels)) // run.study.measure_options("classmeans")["interval"]
        for start, name in STARTS.items():
            hits = outcomes[f"{name}/predicted"] == labels  # [draws, sizes, n]
            keys = {"group": "all", "start": start}
            given = {"groups": blocks, "array": f"{name}/top1", "compared": start == "warm"}
            yield Items("top1", "stream", outcomes["sizes"], hits, keys=keys, **given)


def claimed(run: Run) -> Iterator[Items]:
    """top1 of the rare new classes, with the cold start."""
    for stream in items(run):
        if stream.keys["start"] == "cold":
            labels = run.dataset.labels("stream")
            rows = groups(labels, run.dataset.num_classes, run.options["head"])["novel_tail"]
            if rows.any():
                some = {"stored": stream.stored[..., rows], "groups": stream.groups[rows]}
                yield replace(stream, keys={"group": "novel_tail", "start": "cold"}, array="", **some)


def score(run: Run) -> Iterator[dict]:
    """Rows per `start` and size: top1 and mean_class_top1 per `group`, top1_along_stream.

    group: all, pretrain_head, pretrain_tail, novel_head, novel_tail. n of mean_class_top1 is the number of
    classes, and its interval is over classes. `until` is the number of items at the end of a window of the
    stream, which is too short for an interval.
    """
    if "stream" not in run.dataset:
        return
    if run.options["windows"] < 1:
        raise UserError(f"tasks.longtail.windows is {run.options['windows']}; allowed: whole numbers from 1")
    labels = run.dataset.labels("stream")
    member = groups(labels, run.dataset.num_classes, run.options["head"])
    edges = np.linspace(0, len(labels), min(run.options["windows"], len(labels)) + 1).astype(int)
    for stream in items(run):
        hits, start = stream.stored, {"start": stream.keys["start"]}
        for place, m in enumerate(stream.sizes):
            for group, rows in member.items():
                if rows.any():
                    some, keys = hits[:, place, rows], {"group": group, **start}
                    yield run.mean(m, "stream", "top1", some, stream.groups[rows], **keys)
                    yield run.mean_of_classes(m, "stream", "mean_class_top1", some, labels[rows], **keys)
            for first, stop in pairwise(edges):
                value, keys = hits[:, place, first:stop].mean(), {"group": "all", **start, "until": int(stop)}
                yield run.row(m, "stream", "top1_along_stream", value, stop - first, **keys)


def groups(labels: np.ndarray, num_pretrained: int, head: int) -> dict[str, np.ndarray]:
    """Rows of the stream per group: bool [n]. Labels below `num_pretrained` are pretraining classes."""
    frequent = np.bincount(labels)[labels] > head
    pretrained = labels < num_pretrained
    return {
        "all": np.ones(len(labels), bool),
        "pretrain_head": pretrained & frequent,
        "pretrain_tail": pretrained & ~frequent,
        "novel_head": ~pretrained & frequent,
        "novel_tail": ~pretrained & ~frequent,
    }
