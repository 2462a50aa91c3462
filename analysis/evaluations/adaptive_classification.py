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
OPTIONS = {
    "share": 0.2,  # of val that thresholds are learned on: the paper's 10,000 of 50,000
    "splits": 30,  # random splits into the two parts
    "seed": 0,  # of the splits: the same for every method and run
    "against": "fixed_feature",  # whose accuracies are to be reached with fewer dimensions; null for none
}
THRESHOLDS = np.linspace(0.1, 1, 100)  # the reference code's grid


class Cascade(NamedTuple):
    """A policy per cap, over random splits. Caps are indices of sizes: S of them.

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


def score(run: Run) -> Iterator[dict]:
    """Rows of val, with and without `flip`:

    top1, expected_dim, expected_dim_cumulative: of the policy whose cap is `dim`, mean over splits.
    threshold: below which size `dim` passes on to the next. single_top1: one size for every image.
    """
    sizes = run.outcomes("predict")["sizes"]
    for flip, split in settings(run):
        confidence, right = outcomes_of(run, split)
        cascade = average(cascade_of(c, h, sizes, run.options) for c, h in zip(confidence, right))
        known = np.isfinite(cascade.hits[0])
        for cap, m in enumerate(sizes):
            value, spread = cascade.accuracy[:, cap].mean(), cascade.accuracy[:, cap].std()
            mean, low, high = mean_interval(cascade.hits[cap, known])
            shift = value - mean  # splits test some items more often than others
            keys = {"low": low + shift, "high": high + shift, "flip": flip, "spread": spread}
            yield run.row(m, "val", "top1", value, cascade.tested, **keys)
            sums = {"expected_dim": cascade.dims, "expected_dim_cumulative": cascade.cumulative}
            for metric, dims in sums.items():
                keys = {"flip": flip, "spread": dims[:, cap].std()}
                yield run.row(m, "val", metric, dims[:, cap].mean(), cascade.tested, **keys)
            yield run.mean(m, "val", "single_top1", right[:, cap], flip=flip)
        for m, thresholds in zip(sizes, cascade.thresholds.T):
            keys = {"flip": flip, "spread": thresholds.std()}
            held_out = right.shape[2] - cascade.tested
            yield run.row(m, "val", "threshold", thresholds.mean(), held_out, **keys)


def compare(runs: list[Run]) -> Iterator[dict]:
    """Rows difference and times_smaller: the cheapest policy against each size `dim` of `baseline`.

    The policy meant (`cap`, `expected_dim`) is the cheapest that is at least as accurate on these images,
    else the most accurate one. difference: paired, of the accuracies, with interval and verdict.
    times_smaller: how much smaller than `dim` its expected size is; no row where no policy is as accurate.
    "As accurate" is shown only where the verdict says "equivalent" or "better"; neither it nor p knows that
    the cap was chosen on the items it is tested on.
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
    """The rows of `compare` of one method. runs, base: one per seed; items are averaged over seeds."""
    sizes = runs[0].outcomes("predict")["sizes"]
    cascade = average(
        cascade_of(c, h, sizes, run.options) for run in runs for c, h in zip(*outcomes_of(run, split))
    )
    known = np.isfinite(cascade.hits[0])
    hits, dims = cascade.hits[:, known], cascade.dims.mean(0)
    base_sizes = base[0].outcomes("predict")["sizes"]
    base_hits = np.mean([outcomes_of(run, split)[1].mean(0) for run in base], axis=0)[:, known]
    # The cheapest policy that is as accurate on these images, or the most accurate one where none is.
    enough = hits.mean(1) >= base_hits.mean(1)[:, None]  # [base sizes, caps]
    reached = enough.any(1)
    caps = np.where(reached, enough.argmax(1), hits.mean(1).argmax())
    rng = np.random.default_rng(runs[0].options["seed"])
    pair = hits[caps][:, None], base_hits[:, None]
    found = compare_outcomes(*pair, base_sizes, margin=runs[0].study.margin, rng=rng)
    for place, row in enumerate(found.to_dict("records")):
        m, cap = row.pop("dim"), caps[place]
        keys = {
            "flip": flip,
            "baseline": base[0].method.name,
            "cap": int(sizes[cap]),
            "expected_dim": dims[cap],
            "difference": row["difference"],
            "difference_low": row["low"],
            "difference_high": row["high"],
            **{key: row[key] for key in ("p", "p_holm", "p_equivalence", "verdict")},
        }
        interval = {"low": row["low"], "high": row["high"]}
        yield runs[0].row(m, "val", "difference", row["difference"], row["n"], **interval, **keys)
        if reached[place]:
            yield runs[0].row(m, "val", "times_smaller", m / dims[cap], row["n"], **keys)


def sentence(rows: pd.DataFrame, label: str, base: str) -> str:
    """What the rows difference and times_smaller of one method say, at the largest size that is reached.

    label, base: the methods' names for people.
    """
    reached = rows[rows["metric"] == "times_smaller"].sort_values("dim")
    if reached.empty:
        smallest = int(rows["dim"].min())
        return f"{label} cascade: does not reach the accuracy of {base} at {smallest} at any cap"
    row = reached.iloc[-1]
    shown = row["verdict"] if row["verdict"] in ("better", "equivalent") else "equivalence not shown"
    difference, low, high = 100 * row[["difference", "difference_low", "difference_high"]].astype(float)
    times = f"{row['value']:.1f} × smaller" if row["value"] >= 1 else f"{1 / row['value']:.1f} × larger"
    return (
        f"{label} cascade: the accuracy of {base} at {row['dim']:.0f} with {row['expected_dim']:.1f} "
        f"dimensions expected, {times}\n"
        f"(paired difference {difference:+.2f} points [{low:+.2f}, {high:+.2f}]: {shown})"
    )


# --- the policy -----------------------------------------------------------------------------------


def settings(run: Run) -> list[tuple[bool, str]]:
    """(flip, name in the outcomes): without, and with where val was embedded mirrored too."""
    names = [(False, "val"), (True, "val+flip")]
    return [(flip, name) for flip, name in names if f"{name}/top5" in run.outcomes("predict").files]


def outcomes_of(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(confidence float32, right bool), both [draws, sizes, n]."""
    outcomes = run.outcomes("predict")
    return outcomes[f"{split}/confidence"], outcomes[f"{split}/top5"][..., 0] == run.dataset.labels("val")


def average(cascades: Iterable[Cascade]) -> Cascade:
    """The mean over random draws and seeds; all of them have the same splits."""
    return Cascade(*(np.mean(values, axis=0) for values in zip(*cascades)))


def cascade_of(confidence: np.ndarray, right: np.ndarray, sizes: np.ndarray, options: dict) -> Cascade:
    """Learn and test over random splits. confidence: float [S, n]; right: bool [S, n]; sizes: [S]."""
    count, n = right.shape
    held_out = round(options["share"] * n)
    if not 0 < held_out < n or options["splits"] < 1:
        raise UserError(
            f"tasks.adaptive_classification: share {options['share']} of {n} items and {options['splits']} "
            "splits; some items must be held out, some left, and one split at least made"
        )
    rng = np.random.default_rng(options["seed"])
    total, times = np.zeros((count, n)), np.zeros(n)
    found = []
    for _ in range(options["splits"]):
        order = rng.permutation(n)
        learn, test = order[:held_out], order[held_out:]
        thresholds = learn_thresholds(confidence[:, learn], right[:, learn])
        stops = stopping(confidence[:, test], thresholds)
        hits = np.take_along_axis(right[:, test], stops, 0)
        total[:, test] += hits
        times[test] += 1
        found.append((hits.mean(1), sizes[stops].mean(1), np.cumsum(sizes)[stops].mean(1), thresholds))
    accuracy, dims, cumulative, thresholds = map(np.array, zip(*found))
    with np.errstate(invalid="ignore"):
        return Cascade(accuracy, dims, cumulative, thresholds, total / times, n - held_out)


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
