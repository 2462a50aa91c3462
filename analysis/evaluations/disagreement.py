"""Which sizes get which images right (paper, section 5, appendix J).

An image is *first correct* at the smallest size that gets it right. The oracle knows that size: its accuracy
is the mean of the maximum over sizes, and the smallest sufficient size what it would cost. Where each size
has a network of its own, the oracle is one of an ensemble of networks, which err more independently.
"""

from collections.abc import Iterator

import numpy as np

from analysis.run import Run

READS = ("linear",)
OPTIONS = {
    "named": 10,  # classes that lose most from the smallest size to the largest, to be named
    "permutations": 200,  # of labels, to see how many classes fall where all change alike
    "seed": 0,
}
ALLOWED = {
    "permutations": {"minimum": 1},
}


def score(run: Run) -> Iterator[dict]:
    """Rows of val; those about all sizes together have dim 0.

    first_correct: share of images per size. never_correct: share no size gets right. oracle_top1 and
    best_top1: the oracle and the best single size; `networks`: how many the oracle chooses among.
    oracle_independent_top1: what the oracle would be if sizes of these accuracies erred independently.
    smallest_sufficient_dim: mean over the images some size gets right (`never_correct` "left out"), and over
    all with the full size for the others ("full size"). classes_falling: share of classes less accurate at
    this size than at the smallest. Two floors of it, for a class has few images: classes_falling_by_chance,
    expected if the size made no difference, and classes_falling_if_alike, if all classes gained and lost as
    all images together do. class_change: that difference at the largest size, for the classes that lose most
    (`class_name`).
    """
    top1 = run.main_items("linear")
    sizes, right = top1.sizes, top1.stored  # [draws, sizes, n]
    first = first_correct(right)  # [draws, n]
    never = first == len(sizes)
    for place, m in enumerate(sizes):
        yield run.mean(m, "val", "first_correct", first == place)
    yield run.mean(0, "val", "never_correct", never)
    networks = max(1, len(run.method.networks))
    yield run.mean(0, "val", "oracle_top1", ~never, networks=networks)
    independent = 1 - np.prod(1 - right.mean(2), axis=1).mean()
    yield run.row(0, "val", "oracle_independent_top1", independent, right.shape[2], networks=networks)
    best = right.mean((0, 2)).argmax()
    yield run.mean(0, "val", "best_top1", right[:, best])
    dims = np.append(sizes, sizes[-1])[first].astype(float)
    yield run.mean(0, "val", "smallest_sufficient_dim", dims, never_correct="full size")
    some = ~never.all(0)
    if some.any():
        # Over the draws in which an image is right at some size.
        mean = np.nanmean(np.where(never, np.nan, dims)[:, some], 0)
        yield run.mean(0, "val", "smallest_sufficient_dim", mean, never_correct="left out")
    yield from classes_that_fall(run, sizes, right.sum(0), len(right))


def first_correct(right: np.ndarray) -> np.ndarray:
    """Index of the smallest size that is right, or the number of sizes if none is: int64 [draws, n].

    right: bool [draws, sizes, n].
    """
    return np.where(right.any(1), right.argmax(1), right.shape[1])


def classes_that_fall(run: Run, sizes: np.ndarray, right: np.ndarray, draws: int) -> Iterator[dict]:
    """Rows about classes, see `score`. right: int [sizes, n], sums over `draws`."""
    labels = run.dataset.labels("val")
    counts = np.bincount(labels, minlength=run.dataset.num_classes)
    present = np.flatnonzero(counts)
    hits = np.stack([np.bincount(labels, row, len(counts))[present] for row in right])
    change = (hits - hits[0]) / (draws * counts[present])
    steps = right - right[0]  # of each image
    alike = falling_if_alike(steps, labels, run.options["permutations"], run.options["seed"])
    for place, m in enumerate(sizes[1:], start=1):
        yield run.mean(m, "val", "classes_falling", change[place] < 0)
        chance = falling_by_chance(steps[place], labels)
        yield run.row(m, "val", "classes_falling_by_chance", chance, len(present))
        yield run.row(m, "val", "classes_falling_if_alike", alike[place], len(present))
    for row in np.argsort(change[-1], kind="stable")[: run.options["named"]]:
        if change[-1, row] < 0:
            name = run.dataset.classes["name"].iloc[present[row]]
            n = counts[present[row]]
            yield run.row(sizes[-1], "val", "class_change", change[-1, row], n, class_name=name)


def falling_by_chance(change: np.ndarray, labels: np.ndarray) -> float:
    """The expected share of falling classes if every image's two outcomes were exchanged at random.

    Then no class truly falls, but by the luck of its images. Exact: a class
    falls with half the probability that the sum of its images' changes, with random signs, is not 0, and
    P(sum = 0) is the mean of Π cos(ω · change) over the frequencies ω of a period longer than any sum.
    change: int [n], of an image between the two sizes; labels: int64 [n].
    """
    falling = []
    for label in np.unique(labels):
        steps = np.abs(change[(labels == label) & (change != 0)]).astype(np.int64)
        period = steps.sum() + 1
        frequencies = 2 * np.pi * np.arange(period) / period
        unchanged = np.cos(frequencies[:, None] * steps).prod(1).mean()
        falling.append((1 - unchanged) / 2)
    return float(np.mean(falling))


def falling_if_alike(steps: np.ndarray, labels: np.ndarray, permutations: int, seed: int) -> np.ndarray:
    """The share of falling classes where labels are exchanged among images: float64 [sizes], a mean.

    Then every class gains and loses like all images together. steps: int [sizes, n], of an image since the
    smallest size; labels: int64 [n].
    """
    rng, count = np.random.default_rng(seed), labels.max() + 1
    present, falling = np.bincount(labels) > 0, np.zeros(len(steps))
    for _ in range(permutations):
        exchanged = rng.permutation(labels)
        sums = np.stack([np.bincount(exchanged, row, count)[present] for row in steps])
        falling += (sums < 0).mean(1) / permutations
    return falling
