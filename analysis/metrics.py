"""Metrics from raw outcomes: one value per query or image, so methods can be compared in pairs.

Evaluations save what was found (labels of the neighbours, predicted classes); everything here is
computed from that, so another k needs no second search. Functions return fractions; `METRICS` says
how a metric is shown. Definitions: Kusupati et al. 2022, section 4.3 and appendices E and F; where
the public reference code differs from the field's usual definition, each has its own name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from suite.errors import UserError, unknown

KS = (1, 5, 10, 25, 50, 100)
REFERENCE_CLASS_SIZE = 1300
"""What the reference code divides hits by, whatever the class: ImageNet-1K's largest class."""

CASCADES = {
    "A": (800, 400, 200, 50, 10),
    "B": (400, 200, 50, 25, 10),
    "C": (200, 100, 50, 25, 10),
}
"""Shortlist lengths of funnel retrieval, stage by stage."""


@dataclass(frozen=True)
class Metric:
    """How a metric is shown and compared.

    label: for axes, without the unit. unit: "%", "points" and so on; "" where the label says it.
    direction: +1 when more is better, -1 when less is.
    """

    label: str
    unit: str = "%"
    direction: int = +1

    @property
    def scale(self) -> float:
        """Shown value divided by computed value: fractions are shown in percent."""
        return SCALES.get(self.unit, 1.0)

    @property
    def axis(self) -> str:
        """Label with its unit: "mAP@10 (%)"."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


SCALES = {"%": 100.0, "points": 100.0, "10¹² multiply-accumulates": 1e-12}
FAMILIES = {
    "top{k}": "top-{k} accuracy",
    "p@{k}": "precision@{k}",
    "map@{k}": "mAP@{k}",
    "map@{k}_standard": "standard mAP@{k}",
    "recall@{k}": "recall@{k}",
    "recall@{k}_reference": f"recall@{{k}}, hits / {REFERENCE_CLASS_SIZE}",
    "ndcg@{k}": "nDCG@{k}",
    "mrr@{k}": "MRR@{k}",
    "exact_recall@{k}": "of the {k} exact neighbours at full size",
}
METRICS = {name.format(k=k): Metric(label.format(k=k)) for name, label in FAMILIES.items() for k in KS} | {
    # Where an evaluation has a name of its own for a metric: "evaluation metric".
    "linear top1": Metric("linear top-1 accuracy"),
    "judged_retrieval map": Metric("mAP"),
    "probe_top1": Metric("top-1 accuracy of the suite's probe"),
    "robustness top1": Metric("linear top-1 accuracy"),
    "knn top1": Metric("1-NN accuracy"),
    "fewshot top1": Metric("nearest-class-mean accuracy"),
    "masked_lm top1": Metric("masked-token accuracy"),
    "train_top1": Metric("training top-1"),
    "single_top1": Metric("top-1 accuracy of one size"),
    "mean_class_top1": Metric("mean per-class accuracy"),
    "top1_along_stream": Metric("accuracy in the window"),
    "superclass_top1": Metric("superclass accuracy"),
    "superclass_gain": Metric("gain in superclass accuracy", "points"),
    "errors_within_superclass": Metric("errors that stay inside\nthe superclass"),
    "first_correct": Metric("images"),
    "never_correct": Metric("images never right", direction=-1),
    "difference": Metric("difference", "points"),
    "gap": Metric("gap", "points"),
    "train_gap": Metric("gap in training", "points"),
    "cosine": Metric("mean cosine", ""),
    "margin": Metric("margin of cosines", ""),
    "expected_dim": Metric("expected size", "dimensions", -1),
    "expected_dim_cumulative": Metric("expected size, all sizes tried", "dimensions", -1),
    "mflops": Metric("MFLOPs per query", "", -1),
    "milliseconds": Metric("milliseconds per query", "", -1),
    "nonzeros": Metric("numbers of a code that are not 0", ""),
    "bytes_per_item": Metric("bytes per item", "", -1),
    "networks": Metric("networks\nto train and keep", "", -1),
    "zero_prefixes": Metric("prefixes of zeros", "items", -1),
    "train_macs": Metric("compute of training and fitting", "10¹² multiply-accumulates", -1),
    "parameters": Metric("parameters,\nall networks", "", -1),
    "macs_all_sizes": Metric("MACs for all sizes\nof one image", "", -1),
}
"""Every metric that is shown: axis labels, units and Pareto fronts read it."""


def metric(name: str, task: str = "") -> Metric:
    """The entry of METRICS for `name` as evaluation `task` calls it, also for a k not in KS ("map@37").

    Raises UserError for a name that no metric has.
    """
    for key in (f"{task} {name}", name):
        if key in METRICS:
            return METRICS[key]
    family = re.sub(r"(?<=@)[1-9]\d*|(?<=^top)[1-9]\d*$", "{k}", name, count=1)
    if family != name and family in FAMILIES:
        return Metric(FAMILIES[family].format(k=re.search(r"\d+", name).group()))
    raise unknown("metric", name, METRICS, "METRICS in analysis/metrics.py")


def metric_in_table(name: str, task: str = "") -> Metric:
    """The entry for a metric that a table has; one that METRICS does not list is a share, in per cent.

    So an evaluation of one's own is drawn without an edit here.
    """
    try:
        return metric(name, task)
    except UserError:
        return Metric(name)


# --- hits -----------------------------------------------------------------------------------------


def relevance(neighbour_labels: np.ndarray, query_labels: np.ndarray) -> np.ndarray:
    """Whether each neighbour has its query's label, bool [..., n, k]: rel_i(r) of the protocol.

    neighbour_labels: int64 [..., n, k], nearest first (leading axes: sizes, say); query_labels:
    int64 [n]. Raises ValueError for shapes that do not fit, and for labels that are not integers:
    half precision merges labels above 2048, single precision those above 2**24.
    """
    neighbours, queries = np.asarray(neighbour_labels), np.asarray(query_labels)
    for name, labels in (("neighbour_labels", neighbours), ("query_labels", queries)):
        if labels.dtype.kind not in "iu":
            raise ValueError(f"{name} must be integers, got {labels.dtype}, which merges large labels")
    if queries.ndim != 1 or neighbours.ndim < 2 or neighbours.shape[-2] != len(queries):
        raise ValueError(
            f"neighbour_labels {list(neighbours.shape)} and query_labels {list(queries.shape)} "
            "do not fit; they must be [..., n, k] and [n]"
        )
    return neighbours == queries[:, None]


def topk_hits(predicted_labels: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether the label is among the first k predictions, bool [..., n].

    predicted_labels: int64 [..., n, K], most likely first, K >= k; labels: int64 [n].
    """
    return top_k(relevance(predicted_labels, labels), k)


def _first(rel: np.ndarray, k: int) -> np.ndarray:
    """The first k columns of a relevance matrix; UserError when there are fewer or no queries."""
    rel = np.asarray(rel)
    if rel.ndim < 2 or rel.dtype != bool:
        raise ValueError(f"rel must be bool [..., n, k], got {rel.dtype} {list(rel.shape)}; see relevance()")
    if rel.shape[-2] == 0:
        raise ValueError("rel has no queries: a metric of nothing is undefined")
    if not 1 <= k <= rel.shape[-1]:
        raise UserError(
            f"k = {k} asked for, but {rel.shape[-1]} neighbours per query were saved; "
            f"choose k from 1 to {rel.shape[-1]}, or save more neighbours"
        )
    return rel[..., :k]


# --- values per query -----------------------------------------------------------------------------


def precision_at(rel: np.ndarray, k: int) -> np.ndarray:
    """Share of the first k neighbours that are relevant, float64 [..., n]: hits_i(k) / k."""
    return _first(rel, k).mean(axis=-1)


def top_k(rel: np.ndarray, k: int) -> np.ndarray:
    """Whether any of the first k neighbours is relevant, bool [..., n]."""
    return _first(rel, k).any(axis=-1)


def average_precision(rel: np.ndarray, k: int) -> np.ndarray:
    """Average precision as the paper has it, float64 [..., n]: (1/k) sum_{r<=k} rel(r) hits(r) / r.

    The divisor is k even when fewer than k relevant items exist. rel = [1, 0, 1], k = 3: 0.5556.
    """
    return _precision_sum(rel, k) / k


def average_precision_standard(rel: np.ndarray, k: int, num_relevant: np.ndarray) -> np.ndarray:
    """Average precision as the field has it, float64 [..., n]: the same sum over min(k, R_i).

    num_relevant: integers [n], R_i, the database items of each query's class.
    """
    return _precision_sum(rel, k) / np.minimum(k, _checked_relevant(rel, k, num_relevant))


def recall(rel: np.ndarray, k: int, num_relevant: np.ndarray) -> np.ndarray:
    """Share of the query's class found among the first k, float64 [..., n]: hits_i(k) / R_i."""
    return _first(rel, k).sum(axis=-1) / _checked_relevant(rel, k, num_relevant)


def recall_reference(rel: np.ndarray, k: int) -> np.ndarray:
    """Recall as the reference code has it, float64 [..., n]: hits_i(k) / 1300 for every class."""
    return _first(rel, k).sum(axis=-1) / REFERENCE_CLASS_SIZE


def _precision_sum(rel: np.ndarray, k: int) -> np.ndarray:
    """sum_{r<=k} rel(r) hits(r) / r, float64 [..., n]; rank by rank, so that nothing is [n, k]."""
    rel = _first(rel, k)
    hits = np.zeros(rel.shape[:-1], dtype=np.int64)
    total = np.zeros(rel.shape[:-1])
    for rank in range(1, k + 1):
        relevant = rel[..., rank - 1]
        hits += relevant
        total += relevant * hits / rank
    return total


def _checked_relevant(rel: np.ndarray, k: int, num_relevant: np.ndarray) -> np.ndarray:
    """num_relevant as an array [n]; ValueError when it is not a possible class size per query."""
    counts = np.asarray(num_relevant)
    hits = _first(rel, k).sum(axis=-1)
    if counts.shape != hits.shape[-1:] or counts.dtype.kind not in "iu":
        raise ValueError(
            f"num_relevant must be integers [{hits.shape[-1]}], one per query, "
            f"got {counts.dtype} {list(counts.shape)}"
        )
    if np.any(counts < 1):
        raise ValueError(
            f"{int(np.sum(counts < 1))} queries have no database item of their class: recall and "
            "map@k_standard are undefined for them; leave them out"
        )
    if np.any(hits > counts):
        raise ValueError("more relevant neighbours found than num_relevant says exist")
    return counts


# --- cost -----------------------------------------------------------------------------------------


def mflops_per_query(num_database: int, shortlist_dim: int, stages: Sequence[tuple[int, int]] = ()) -> float:
    """Million multiply-accumulates per query: (N D_s + sum_t k_t D_t) / 10^6.

    stages: (candidates, dim) of each re-ranking, in order; none for single-shot search, one for
    adaptive retrieval, `funnel_stages` for a funnel. One multiply-accumulate counts as one;
    normalising and sorting count nothing. A re-ranking that is asked for at the shortlist's own size
    counts in full, as in the paper's 8 -> 8 entry (10.250936 for N = 1,281,167 and 200 candidates).
    """
    numbers = [num_database, shortlist_dim, *(number for stage in stages for number in stage)]
    if any(number < 1 for number in numbers):
        raise ValueError(f"sizes and counts must be positive, got {numbers}")
    return (num_database * shortlist_dim + sum(k * dim for k, dim in stages)) / 1e6


def funnel_stages(shortlist_dim: int, cascade: str, dim: int) -> list[tuple[int, int]]:
    """Stages (k_t, d_t) of a funnel from `shortlist_dim` up to the full size `dim`; none from `dim` itself.

    The lengths k_t are those of CASCADES[cascade]; sizes double from stage to stage, never beyond
    `dim`, and the last stage is at `dim` (8 in 2048: 16, 32, 64, 128, 2048). Where doubling reaches
    `dim` early, the funnel ends there: a further stage at a size already reached would put nothing in
    another order, and costs nothing.
    Raises UserError for an unknown cascade and for a start beyond `dim`.
    """
    if cascade not in CASCADES:
        raise unknown("cascade", cascade, CASCADES, "CASCADES in analysis/metrics.py")
    if not 1 <= shortlist_dim <= dim:
        raise UserError(
            f"a funnel cannot start at size {shortlist_dim} in an embedding of {dim} dimensions; "
            f"shortlist_dim must be from 1 to {dim}"
        )
    lengths = CASCADES[cascade]
    sizes = [*(min(shortlist_dim * 2**stage, dim) for stage in range(len(lengths))), dim]
    return [(length, size) for length, (last, size) in zip(lengths, pairwise(sizes)) if size > last]


# --- whole curves ---------------------------------------------------------------------------------


def normalised_area(dims: Sequence[int], values: np.ndarray) -> np.ndarray:
    """Mean height of the curve of values against log2(dim), in the unit of `values`, [...].

    Trapezoids in log2 size, divided by the range: a constant curve has its own value. dims: [S] in
    any order; values: [..., S]. Raises ValueError for fewer than two sizes, repeated sizes or NaN.
    """
    dims, values = np.asarray(dims, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if dims.ndim != 1 or values.shape[-1:] != dims.shape:
        raise ValueError(
            f"dims {list(dims.shape)} and values {list(values.shape)} do not fit: [S] and [..., S]"
        )
    if len(dims) < 2 or len(np.unique(dims)) < len(dims) or dims.min() <= 0:
        raise ValueError(f"an area needs two or more different positive sizes, got {dims.tolist()}")
    if not np.isfinite(values).all():
        raise ValueError("values contain NaN or infinity")
    order = np.argsort(dims)
    position = np.log2(dims[order])
    return np.trapezoid(values[..., order], position, axis=-1) / (position[-1] - position[0])


def pareto_front(points: np.ndarray, directions: tuple[int, ...]) -> np.ndarray:
    """Whether no other point is as good in everything and better in something: bool [n].

    points: [n, metrics]; directions: of each metric, +1 when more is better, -1 when less is.

    >>> pareto_front(np.array([(1, 5), (1, 4), (2, 4), (3, 6)]), (-1, +1)).tolist()
    [True, False, False, True]
    """
    goodness = points * directions
    no_worse = (goodness[:, None] >= goodness).all(axis=2)
    better = (goodness[:, None] > goodness).any(axis=2)
    return ~(no_worse & better).any(axis=0)
