"""Long-tailed stream: predict, then store; nearest class mean on frozen prefixes (FLUID; paper, appendix G).

Groups: classes seen in pretraining or novel, with more than `head` examples in the stream or at most that.
Class means start from the training images of pretraining classes; a novel class has none until the first
update after its first image, so its first images are counted wrong.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from analysis.run import Items, Run
from analysis.statistics import mean_interval
from suite.errors import UserError

MEASURES = ("classmeans",)
NAME = "long-tailed stream"
OPTIONS = {
    "head": 50,  # more examples of a class than this in the stream make it a head class
    "windows": 20,  # parts of the stream whose accuracies show its course
}


def items(run: Run) -> Iterator[Items]:
    """top1 of every image of the stream, in its order."""
    if "stream" in run.dataset:
        outcomes = run.outcomes("classmeans")
        hits = outcomes["stream/predicted"] == run.dataset.labels("stream")  # [draws, sizes, n]
        yield Items("top1", "stream", outcomes["sizes"], hits, keys={"group": "all"}, array="stream/top1")


def score(run: Run) -> Iterator[dict]:
    """Rows per size: top1 and mean_class_top1 per `group` (all, pretrain_head …), top1_along_stream.

    n of mean_class_top1 is the number of classes, and its interval is over classes. `until` is the number
    of items at the end of a window of the stream.
    """
    if "stream" not in run.dataset:
        return
    if run.options["windows"] < 1:
        raise UserError(f"tasks.longtail.windows is {run.options['windows']}; allowed: whole numbers from 1")
    (stream,) = items(run)
    labels, hits = run.dataset.labels("stream"), stream.stored
    member = groups(labels, run.dataset.num_classes, run.options["head"])
    edges = np.linspace(0, len(labels), min(run.options["windows"], len(labels)) + 1).astype(int)
    for place, m in enumerate(stream.sizes):
        for group, rows in member.items():
            if rows.any():
                some = hits[:, place, rows]
                yield run.mean(m, "stream", "top1", some, group=group)
                yield class_mean(run, m, some.mean(0), labels[rows], group)
        for start, stop in pairwise(edges):
            some = hits[:, place, start:stop]
            yield run.mean(m, "stream", "top1_along_stream", some, group="all", until=int(stop))


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


def class_mean(run: Run, m: int, hits: np.ndarray, labels: np.ndarray, group: str) -> dict:
    """Accuracy per class, averaged over classes, as a row. hits: float [n]; labels: int64 [n]."""
    counts = np.bincount(labels)
    accuracy = (np.bincount(labels, hits) / np.maximum(counts, 1))[counts > 0]
    value, low, high = mean_interval(accuracy)
    keys = {"low": float(low), "high": float(high), "group": group}
    return run.row(m, "stream", "mean_class_top1", value, len(accuracy), **keys)
