"""Predictions of the nearest class mean at every size: few-shot, and along a long-tailed stream.

The class whose mean prefix is nearest in Euclidean distance, prefixes as they are (not normalised): what
scikit-learn calls NearestCentroid, and what FLUID uses. Distances to means add up over prefixes,

    |x - μ|²_m = |x - μ|²_m' + |μ[m':m]|² - 2 x[m':m]·μ[m':m]   (without |x|², the same for every class),

so all sizes together cost one pass at the largest.

Few-shot, the labelled images are some of v2, and the rest of it is the test; with `split: val` they are
training items, and all of val is the test.

Saves `fewshot/hits` int8 [draws, sizes, shots, choices, n]: 1 where an image of the split is recognised, 0
where it is not, −1 where it was among the labelled ones. Of the stream `stream/predicted` int32 [draws,
sizes, n], where class means start from the training images (*warm*), and `stream/cold/predicted`, where they
start empty as in FLUID's reference code (*cold*): −1 where no class has a mean yet.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from analysis.measures import empty
from baselines.representation import Representation, View
from splits.store import Dataset
from suite.errors import UserError

CUTS = True
OPTIONS = {
    "split": "v2",  # what is classified few-shot, where the data have it
    "shots": [1, 3, 5, 7, 9],  # labelled images per class; ImageNet-V2 has ten
    "choices": 10,  # how often the labelled images are chosen at random
    "seed": 0,  # of these choices: the same for every method and run, so that they are compared in pairs
    # Items of the stream between two updates of the class means: 2.3 % of glyphs' stream, where the
    # reference code updates after 5.7 %.
    "interval": 100,
}
ALLOWED = {
    "split": {"enum": ["v2", "val"]},
    "shots": {"minItems": 1, "items": {"type": "integer", "minimum": 1}},
    "choices": {"minimum": 1, "maximum": 10000},
    "interval": {"minimum": 1},
}
BLOCK = 16_384  # rows that are read at once
QUERIES = 2048  # rows whose distances are in memory at once


def measure(representation: Representation, dataset: Dataset, options: dict) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines."""
    found = {"sizes": np.array(representation.sizes, np.int64)}
    # Where each view's sizes stand in an array [draws, sizes, …].
    sizes, views = representation.sizes, representation.views
    places = [(view, (view.draw, [sizes.index(m) for m in view.sizes])) for view in views]
    split, shots = options["split"], options["shots"]
    if split in dataset:
        known = "train" if split == "val" else split
        labels, of_known = dataset.labels(split), dataset.labels(known)
        chosen = choose_labelled(of_known, max(shots), options["choices"], options["seed"], known)
        rows = np.unique(chosen)
        hits = empty(representation, len(shots), len(chosen), len(labels), dtype=np.int8)
        for view, where in places:
            features = np.asarray(representation.features(split, view, view.sizes[-1]), np.float32)
            if known == split:
                hits[where] = few_shot(features, labels, view.sizes, chosen, shots)
            else:
                labelled = representation.features(known, view, view.sizes[-1])[rows].astype(np.float32)
                given = np.searchsorted(rows, chosen), shots, np.unique(of_known), labelled
                hits[where] = few_shot(features, labels, view.sizes, *given)
        found |= {"fewshot/hits": hits, "fewshot/shots": np.array(shots, np.int64)}
    if "stream" in dataset:
        labels = dataset.labels("stream")
        warm, cold = (empty(representation, len(labels), dtype=np.int32) for _ in range(2))
        for view, where in places:
            sums, counts = pretrained_sums(representation, view, view.sizes[-1], dataset)
            features = np.asarray(representation.features("stream", view, view.sizes[-1]), np.float32)
            for predicted, known in ((warm, 1), (cold, 0)):
                given = (features, labels, known * sums, known * counts, view.sizes, options["interval"])
                predicted[where] = predict_stream(*given)
        found |= {"stream/predicted": warm, "stream/cold/predicted": cold}
    return found


# --- few-shot -------------------------------------------------------------------------------------


def choose_labelled(labels: np.ndarray, most: int, choices: int, seed: int, split: str = "v2") -> np.ndarray:
    """Rows of `most` images of each class, in random order, per choice: int64 [choices, C, most].

    The first n of them are the labelled images of n-shot classification. labels: int64 [n], of a split.
    Raises UserError when a class has too few: of v2 an image is left, to be tested on.
    """
    classes, counts = np.unique(labels, return_counts=True)
    needed = most + (split != "train")
    if counts.min() < needed:
        raise UserError(
            f"{most}-shot classification needs {needed} images of every class in {split}, but class "
            f"{classes[counts.argmin()]} has {counts.min()}; set `shots` under measures.classmeans"
        )
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in classes]
    return np.array([[rng.permutation(rows)[:most] for rows in members] for _ in range(choices)])


def few_shot(
    features: np.ndarray,
    labels: np.ndarray,
    sizes: Sequence[int],
    chosen: np.ndarray,
    shots: Sequence[int],
    classes: np.ndarray | None = None,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Whether each image is nearest to its own class's mean: int8 [sizes, shots, choices, n], −1 = labelled.

    features: float32 [n, d]; labels: int64 [n]; chosen: rows [choices, C, ≥ max(shots)] of `known`, float32
    [·, d], by default of `features`; classes: int64 [C], by default those of `labels`.
    """
    classes = np.unique(labels) if classes is None else classes
    hits = np.full((len(sizes), len(shots), len(chosen), len(labels)), -1, np.int8)
    every = np.arange(len(labels))
    for choice, rows in enumerate(chosen):
        for place, shot in enumerate(shots):
            labelled = rows[:, :shot]
            means = (features if known is None else known)[labelled].mean(1)
            tested = np.setdiff1d(every, labelled) if known is None else every
            nearest = classes[nearest_means(features, tested, means, sizes)]
            hits[:, place, choice, tested] = nearest == labels[tested]
    return hits


def nearest_means(
    features: np.ndarray, rows: np.ndarray, means: np.ndarray, sizes: Sequence[int]
) -> np.ndarray:
    """Index of the mean nearest to each row's prefix, ties to the lower: int64 [sizes, rows].

    features: float32 [n, d]; rows: int64 [rows]; means: float32 [C, d]; sizes: increasing, at most d.
    """
    found = np.empty((len(sizes), len(rows)), np.int64)
    lengths = [(means[:, a:b] ** 2).sum(1) for a, b in pairwise((0, *sizes))]
    for start in range(0, len(rows), QUERIES):
        block = slice(start, start + QUERIES)
        # Halved, so that the product enters as it is.
        distance = np.zeros((len(rows[block]), len(means)), np.float32)
        for place, (a, b) in enumerate(pairwise((0, *sizes))):
            distance += lengths[place] / 2
            distance -= features[rows[block], a:b] @ means[:, a:b].T
            found[place, block] = distance.argmin(1)
    return found


# --- the stream -----------------------------------------------------------------------------------


def predict_stream(
    features: np.ndarray,
    labels: np.ndarray,
    sums: np.ndarray,
    counts: np.ndarray,
    sizes: Sequence[int],
    interval: int,
    block: int = QUERIES,
) -> np.ndarray:
    """Labels predicted before each item is stored: int32 [sizes, n] (FLUID: predict, then store).

    Class means are those of the pretraining images and of all items stored up to the last update; they are
    updated after every `interval` items. A class without a mean cannot be predicted; −1 stands where none
    has one. features: float32 [n, d], in the order of the stream; labels: int64 [n]; sums: float64 [all
    classes, d] and counts: int64 [all classes] of the pretraining images, zeros for a cold start. block:
    items predicted at once; it changes no result.
    """
    sums, counts = sums.copy(), counts.copy()
    predicted = np.full((len(sizes), len(labels)), -1, np.int32)
    for start in range(0, len(labels), interval):
        stop = min(start + interval, len(labels))
        known = np.flatnonzero(counts)
        means = (sums[known] / counts[known, None]).astype(np.float32)
        for first in range(start, stop if len(known) else start, block):
            rows = np.arange(first, min(first + block, stop))
            predicted[:, rows] = known[nearest_means(features, rows, means, sizes)]
        add_to_sums(sums, counts, features[start:stop], labels[start:stop])
    return predicted


def pretrained_sums(
    representation: Representation, view: View, dim: int, dataset: Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Sum (float64 [all classes, dim]) and number (int64) of each class's training embeddings."""
    labels = dataset.labels("train")
    sums = np.zeros((len(dataset.classes), dim))
    counts = np.zeros(len(dataset.classes), np.int64)
    for start in range(0, len(labels), BLOCK):
        rows = slice(start, start + BLOCK)
        part = np.asarray(representation.features("train", view, dim, rows), np.float32)
        add_to_sums(sums, counts, part, labels[rows])
    return sums, counts


def add_to_sums(sums: np.ndarray, counts: np.ndarray, features: np.ndarray, labels: np.ndarray) -> None:
    """Add each row of features [n, d] to its class's row of `sums`, in place; count it in `counts`."""
    order = np.argsort(labels, kind="stable")
    classes, firsts = np.unique(labels[order], return_index=True)
    sums[classes] += np.add.reduceat(features[order], firsts, axis=0, dtype=np.float64)
    counts += np.bincount(labels, minlength=len(counts))
