"""Predictions of a method's own classifier at every size, for each split of seen classes.

Saves per split: `<split>/top5` int64 [draws, sizes, n, ≤ 5], best first, and `<split>/confidence` float32
[draws, sizes, n], the softmax of the best; draws are those that have classifiers. Where a study has splits
of some classes only (r, a), their logits are also restricted to these classes before the argmax
(docs/protocols.md, "Robustness"), and so are those of the clean images of the same classes, the fair
reference: `r/restricted` and `val@r/restricted`, int64 [draws, sizes, n]. Where val was embedded mirrored as
well, `val+flip/…` are the predictions of the two logits summed.

Logits are made from embeddings and classifiers in blocks and never kept: at ImageNet's size they would take
more room than the embeddings.
"""

from itertools import product

import numpy as np

from analysis.measures import empty
from baselines.representation import Representation
from splits.store import Dataset

SPLITS = ("val", "v2", "sketch", "r", "a")
RESTRICTED = ("r", "a")
FLIPPED = "val_flip"
CLASSIFIES = True
OPTIONS = {}
BLOCK = 4096  # rows whose logits are in memory at once


def measure(representation: Representation, dataset: Dataset, options: dict) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines."""
    found = {"sizes": np.array(representation.sizes, np.int64)}
    for split in (name for name in SPLITS if name in dataset):
        found |= predict(representation, split, (split,), dataset, class_restrictions(dataset, split))
    if FLIPPED in representation.splits:
        found |= predict(representation, "val+flip", ("val", FLIPPED), dataset, {})
    return found


def class_restrictions(dataset: Dataset, split: str) -> dict[str, np.ndarray]:
    """Classes to which predictions of a split are restricted: name in the outcomes → labels, increasing.

    A split in RESTRICTED is restricted to its own classes, val to those of each of these splits.
    """
    if split in RESTRICTED:
        return {split: np.unique(dataset.labels(split))}
    if split == "val":
        return {f"val@{name}": np.unique(dataset.labels(name)) for name in RESTRICTED if name in dataset}
    return {}


def restricted_rows(dataset: Dataset, name: str) -> tuple[str, np.ndarray]:
    """(split, its rows) that `<name>/restricted` is about: all of r, and of val@r those of r's classes."""
    split, _, other = name.partition("@")
    labels = dataset.labels(split)
    return split, np.flatnonzero(np.isin(labels, dataset.labels(other or split)))


def predict(
    representation: Representation,
    name: str,
    splits: tuple[str, ...],
    dataset: Dataset,
    restrictions: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Outcomes `name`/… from the logits of `splits` (the same images, seen several ways) summed."""
    n, k = len(dataset.labels(splits[0])), min(5, dataset.num_classes)
    views = representation.classified
    draws = len({view.draw for view in views})
    top = empty(representation, n, k, dtype=np.int64, draws=draws)
    confidence = empty(representation, n, dtype=np.float32, draws=draws)
    some = {other: empty(representation, n, dtype=np.int64, draws=draws) for other in restrictions}
    sizes = [(view, m) for view in views for m in view.sizes]
    for start, (view, m) in product(range(0, n, BLOCK), sizes):
        rows = slice(start, min(start + BLOCK, n))
        logits = sum(representation.logits(split, view, m, rows) for split in splits)
        where = (view.draw, representation.sizes.index(m), rows)
        top[where] = best(logits, k)
        confidence[where] = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)
        for other, classes in restrictions.items():
            some[other][where] = classes[logits[:, classes].argmax(1)]
    found = {f"{name}/top5": top, f"{name}/confidence": confidence}
    for other, predicted in some.items():
        found[f"{other}/restricted"] = predicted[:, :, restricted_rows(dataset, other)[1]]
    return found


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest scores per row, largest first, ties to the lower column: int64 [n, k].

    k times the maximum: for a handful of columns many times faster than np.argpartition, and with ties as
    they should be. scores: float [n, C], finite.
    """
    scores, rows = scores.copy(), np.arange(len(scores))
    found = np.empty((len(scores), k), np.int64)
    for rank in range(k):
        found[:, rank] = scores.argmax(1)
        scores[rows, found[:, rank]] = -np.inf
    return found
