"""Adaptive classification: answer with the smallest size that is confident enough (paper, section 4.2.1).

On a held-out part of val, each pair of consecutive sizes gets the smallest of 100 thresholds that maximises
the accuracy of "keep size j where its confidence is above t, else take the next". On the rest, the policy
with cap J stops at the first size below J that is confident, else at J. Repeated over random splits; they
overlap, so `spread` (their standard deviation) is not a confidence interval: low and high are the interval
over items, each item's outcome averaged over the splits it was tested in.

Mirrored images are summed in where the study trains with flips (`flip` true); the two are never compared.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.run import Run, by_method
from analysis.statistics import compare_outcomes, mean_interval
from suite.errors import UserError, unknown

MEASURES = ("predict",)
ASKS = ("val",)
OPTIONS = {
    "share": 0.2,  # of val that thresholds are learned on: the paper's 10,000 of 50,000
    "splits": 30,  # random splits into the two parts
    "seed": 0,  # of the splits: the same for every method and run
    "against": "fixed_feature",  # whose accuracies are to be reached with fewer dimensions; null for none
}
ALLOWED = {
    "share": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "splits": {"minimum": 1, "maximum": 10000},
    "against": {"type": ["string", "null"]},
}
AS_ACCURATE = ("better", "equivalent", "higher", "alike")  # verdicts
THRESHOLDS = np.linspace(0.1, 1, 100)  # the reference code's grid


class Cascade(NamedTuple):
    """A policy per cap, over random splits; S caps, which are indices of sizes.

    accuracy, dims, cumulative: float [splits, S], of the items tested; dims is the size that answered,
    cumulative the sum of all sizes tried. thresholds: float [splits, S − 1]. hits: float [S, n], each
    item's mean over the splits it was tested in (NaN if in none). tested: items tested in one split.
    """

    accuracy: np.ndarray
    dims: np.ndarray
    cumulative: np.ndarray
    thresholds: np.ndarray
    hits: np.ndarray
    tested: int


class Matched(NamedTuple):
    """Against each of B accuracies to be reached the cheapest policy that reached it on the held-out part.

    caps, reached: [splits, B], the cap chosen in a split, and whether its held-out accuracy was enough (else
    it is the most accurate one). dims, cumulative: float [splits, B], of the chosen policy on the items
    tested; hits: float [B, n], each item's mean over the splits it was tested in (NaN if in none).
    """

    caps: np.ndarray
    reached: np.ndarray
    dims: np.ndarray
    cumulative: np.ndarray
    hits: np.ndarray


class Split(NamedTuple):
    """One random split: rows that are held out and tested, thresholds, and the policies' answers.

    learned, stops: int64 [S, rows], the index of the size that answers, of the held-out items and of those
    that are tested.
    """

    learn: np.ndarray
    test: np.ndarray
    thresholds: np.ndarray
    learned: np.ndarray
    stops: np.ndarray


def score(run: Run) -> Iterator[dict]:
    """Rows of val, with and without `flip`:

    top1, expected_dim, expected_dim_cumulative: of the policy whose cap is `dim`, mean over splits, each of
    which tests `tested` items; n is all items in the mean. threshold: below which size `dim` passes on to the
    next. single_top1: one size for every image. forwards: passes that serve all sizes of an image; where it
    is more than 1, each size tried is another pass, and the size that answers says nothing of the cost.
    """
    sizes = run.outcomes("predict")["sizes"]
    forwards = forwards_of(run)
    for flip, split in settings(run):
        confidence, right = outcomes_of(run, split)
        cascade = average(cascade_of(c, h, sizes, run.options) for c, h in zip(confidence, right))
        known = np.isfinite(cascade.hits[0])
        n, keys = known.sum(), {"flip": flip, "tested": int(cascade.tested), "forwards": forwards}
        for cap, m in enumerate(sizes):
            value, spread = cascade.accuracy[:, cap].mean(), cascade.accuracy[:, cap].std()
            mean, low, high = mean_interval(cascade.hits[cap, known])
            shift = value - mean  # splits test some items more often than others
            interval = {"low": low + shift, "high": high + shift}
            yield run.row(m, "val", "top1", value, n, spread=spread, **interval, **keys)
            sums = {"expected_dim": cascade.dims, "expected_dim_cumulative": cascade.cumulative}
            for metric, dims in sums.items():
                yield run.row(m, "val", metric, dims[:, cap].mean(), n, spread=dims[:, cap].std(), **keys)
            yield run.mean(m, "val", "single_top1", right[:, cap], flip=flip)
        for m, thresholds in zip(sizes, cascade.thresholds.T):
            held_out = right.shape[2] - cascade.tested
            spread = thresholds.std()
            yield run.row(m, "val", "threshold", thresholds.mean(), held_out, flip=flip, spread=spread)


def compare(runs: list[Run]) -> Iterator[dict]:
    """Rows difference, times_smaller and times_smaller_cumulative, against each size `dim` of `baseline`.

    In each split the cap is that of the cheapest policy that is at least as accurate on the held-out part,
    else of the most accurate one; the policy is then judged on the rest. difference: paired, of the
    accuracies, with interval and verdict. cap: the usual one; reached: the share of splits in which the
    held-out accuracy was enough. times_smaller: how much smaller than `dim` the expected size is, and
    times_smaller_cumulative: than the sum of all sizes tried; no rows where most splits did not reach it.
    "As accurate" is shown only where the verdict says "equivalent" or "better". forwards: see `score`.
    """
    if not runs or runs[0].options["against"] is None:
        return
    against = runs[0].options["against"]
    methods = by_method(runs)
    if against not in methods:
        raise unknown("method", against, methods, "`against` of tasks.adaptive_classification")
    for name, some in methods.items():
        if name != against and some[0].method.kind != "control":
            for flip, split in settings(some[0]):
                yield from times_smaller(some, methods[against], flip, split)


def times_smaller(runs: list[Run], base: list[Run], flip: bool, split: str) -> Iterator[dict]:
    """The rows of `compare` of one method. runs, base: one per seed."""
    sizes, options = runs[0].outcomes("predict")["sizes"], runs[0].options
    base_sizes = base[0].outcomes("predict")["sizes"]
    matched, *pair = matched_outcomes(runs, base, split, options)
    how = {"margin": runs[0].study.margin, "rng": np.random.default_rng(options["seed"])}
    found = compare_outcomes(*pair, base_sizes, **how)
    for place, row in enumerate(found.to_dict("records")):
        m, reached = row.pop("dim"), matched.reached[:, place].mean()
        dims, cumulative = (sums[:, place].mean() for sums in (matched.dims, matched.cumulative))
        keys = {
            "flip": flip,
            "baseline": base[0].method.name,
            "cap": int(sizes[round(np.median(matched.caps[:, place]))]),
            "reached": reached,
            "expected_dim": dims,
            "expected_dim_cumulative": cumulative,
            "forwards": forwards_of(runs[0]),
            "difference": row["difference"],
            "difference_low": row["low"],
            "difference_high": row["high"],
            **{key: row[key] for key in ("p", "p_holm", "p_equivalence", "verdict")},
        }
        interval = {"low": row["low"], "high": row["high"]}
        yield runs[0].row(m, "val", "difference", row["difference"], row["n"], **interval, **keys)
        if reached >= 0.5:
            yield runs[0].row(m, "val", "times_smaller", m / dims, row["n"], **keys)
            yield runs[0].row(m, "val", "times_smaller_cumulative", m / cumulative, row["n"], **keys)


def matched_outcomes(
    runs: list[Run], base: list[Run], split: str, options: dict
) -> tuple[Matched, np.ndarray, np.ndarray]:
    """(matched, averaged over seeds; outcomes of the policies [B, K, n]; of the base's sizes [B, L, n]).

    Of the items that some split tested. runs, base: one per seed.
    """
    sizes = runs[0].outcomes("predict")["sizes"]
    base_hits = np.stack([outcomes_of(run, split)[1].mean(0) for run in base], axis=1)
    by_seed = [
        average(match(c, h, sizes, base_hits.mean(1), options) for c, h in zip(*outcomes_of(run, split)))
        for run in runs
    ]
    hits = np.stack([each.hits for each in by_seed], axis=1)
    known = np.isfinite(hits).all((0, 1))
    return average(by_seed), hits[..., known], base_hits[..., known]


def forwards_of(run: Run) -> int:
    """Forward passes that serve all sizes of one image."""
    return sum(network["forwards"] for network in run.representation.meta["cost"]["networks"])


def sentence(rows: pd.DataFrame, label: str, base: str) -> str:
    """What the rows difference and times_smaller of one method say, at the largest size that is reached.

    One that is reached on held-out items, but shown to be missed on those tested, is not. label, base: the
    methods' names for people.
    """
    reached = rows[
        (rows["metric"] == "times_smaller") & ~rows["verdict"].isin(["worse", "lower"])
    ].sort_values("dim")
    if reached.empty:
        smallest = int(rows["dim"].min())
        return f"The {label} cascade reaches the accuracy of {base}-{smallest} at no cap"
    row = reached.iloc[-1]
    shown = row["verdict"] if row["verdict"] in AS_ACCURATE else "equivalence not shown"
    difference, low, high = 100 * row[["difference", "difference_low", "difference_high"]].astype(float)
    uses, summed = (uses_of(row[key], row["dim"]) for key in ("expected_dim", "expected_dim_cumulative"))
    paired = f"{difference:+.2f} points [{low:+.2f}, {high:+.2f}]".replace("-", "−")
    return (
        f"To be as accurate as {base}-{row['dim']:.0f} the {label} cascade uses {uses}\n(counting every size "
        f"tried {summed};\npaired difference {paired}: {shown})"
    )


def uses_of(dims: float, of: float) -> str:
    """An expected number of dimensions, and how that compares with the size `of`.

    >>> for dims in (10, 60, 40):
    ...     print(uses_of(dims, 40))
    10.0 dimensions on average, 4.0 times fewer
    60.0 dimensions on average, 1.5 times as many
    40.0 dimensions on average, as many
    """
    ratio = f"{of / dims:.1f} times fewer" if dims < of else f"{dims / of:.1f} times as many"
    if f"{dims:.1f}" == f"{of:.1f}":
        ratio = "as many"
    return f"{dims:.1f} dimensions on average, {ratio}"


# --- the policy -----------------------------------------------------------------------------------


def settings(run: Run) -> list[tuple[bool, str]]:
    """(flip, name in the outcomes): without, and with where val was embedded mirrored too."""
    names = [(False, "val"), (True, "val+flip")]
    return [(flip, name) for flip, name in names if f"{name}/top5" in run.outcomes("predict")]


def outcomes_of(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(confidence float32, right bool), both [draws, sizes, n]."""
    outcomes = run.outcomes("predict")
    return outcomes[f"{split}/confidence"], outcomes[f"{split}/top5"][..., 0] == run.dataset.labels("val")


def average(found: Iterable[Cascade | Matched]) -> Cascade | Matched:
    """The mean over random draws and seeds; all of them have the same splits."""
    found = list(found)
    return type(found[0])(*(np.mean(values, axis=0) for values in zip(*found)))


def cascade_of(confidence: np.ndarray, right: np.ndarray, sizes: np.ndarray, options: dict) -> Cascade:
    """Learn and test over random splits. confidence: float [S, n]; right: bool [S, n]; sizes: [S]."""
    hits = Averaged(right.shape)
    found = []
    for _, test, thresholds, _, stops in splits(confidence, right, options):
        of_split = np.take_along_axis(right[:, test], stops, 0)
        hits.add(test, of_split)
        dims, tried = sizes[stops].mean(1), np.cumsum(sizes)[stops].mean(1)
        found.append((of_split.mean(1), dims, tried, thresholds))
    return Cascade(*map(np.array, zip(*found)), hits.mean(), len(test))


def match(
    confidence: np.ndarray, right: np.ndarray, sizes: np.ndarray, base: np.ndarray, options: dict
) -> Matched:
    """Choose a cap on the held-out part of each split, and test it on the rest.

    confidence: float [S, n]; right: bool [S, n]; sizes: [S]; base: float [B, n], outcomes to be reached.
    """
    hits = Averaged(base.shape)
    found = []
    for learn, test, _, learned, stops in splits(confidence, right, options):
        accuracy = np.take_along_axis(right[:, learn], learned, 0).mean(1)
        enough = accuracy >= base[:, learn].mean(1)[:, None]  # [B, S]
        reached = enough.any(1)
        caps = np.where(reached, enough.argmax(1), accuracy.argmax())
        chosen = stops[caps]  # [B, tested]
        hits.add(test, np.take_along_axis(right[:, test], chosen, 0))
        found.append((caps, reached, sizes[chosen].mean(1), np.cumsum(sizes)[chosen].mean(1)))
    return Matched(*map(np.array, zip(*found)), hits.mean())


def splits(confidence: np.ndarray, right: np.ndarray, options: dict) -> Iterator[Split]:
    """The random splits, thresholds learned on what is held out. confidence, right: [S, n]."""
    n = right.shape[1]
    held_out = round(options["share"] * n)
    if not 0 < held_out < n or options["splits"] < 1:
        raise UserError(
            f"tasks.adaptive_classification: share {options['share']} of {n} items and {options['splits']} "
            "splits; some items must be held out, some left, and one split at least made"
        )
    rng = np.random.default_rng(options["seed"])
    for _ in range(options["splits"]):
        order = rng.permutation(n)
        learn, test = order[:held_out], order[held_out:]
        thresholds = learn_thresholds(confidence[:, learn], right[:, learn])
        learned, stops = (stopping(confidence[:, rows], thresholds) for rows in (learn, test))
        yield Split(learn, test, thresholds, learned, stops)


class Averaged:
    """Means of items [rows, n] over the splits they were tested in."""

    def __init__(self, shape: tuple[int, int]):
        self.total, self.times = np.zeros(shape), np.zeros(shape[1])

    def add(self, tested: np.ndarray, values: np.ndarray) -> None:
        """values: [rows, tested], of the items `tested`."""
        self.total[:, tested] += values
        self.times[tested] += 1

    def mean(self) -> np.ndarray:
        """float [rows, n], NaN for items that were never tested."""
        with np.errstate(invalid="ignore"):
            return self.total / self.times


def learn_thresholds(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Per pair of consecutive sizes the smallest of THRESHOLDS with the highest accuracy: float [S − 1].

    confidence: float [S, n]; right: bool [S, n]. An item moves from the next size's answer to this one's
    at the thresholds below its confidence, so counts per threshold, summed from above, are the accuracy of
    all of them at once.
    """
    chosen = []
    for j in range(len(right) - 1):
        below = np.searchsorted(THRESHOLDS, confidence[j], side="left")  # thresholds it is above
        gain = right[j].astype(int) - right[j + 1]
        kept = np.bincount(below, gain, len(THRESHOLDS) + 1)
        accuracy = kept[::-1].cumsum()[::-1][1:]  # up to a constant; of integers, so exactly
        chosen.append(THRESHOLDS[accuracy.argmax()])
    return np.array(chosen)


def stopping(confidence: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Index of the size that answers, for every cap: int64 [S caps, n]. confidence: float [S, n]."""
    confident = confidence[:-1] > thresholds[:, None]
    first = np.vstack([confident, np.ones((1, confidence.shape[1]), bool)]).argmax(
        0
    )  # the last size is asked
    return np.minimum(first, np.arange(len(confidence))[:, None])
