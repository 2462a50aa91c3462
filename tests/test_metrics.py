"""Metrics against numbers worked by hand, scikit-learn, and the checks of the protocol."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from analysis.metrics import (
    CASCADES,
    METRICS,
    average_precision,
    average_precision_standard,
    funnel_stages,
    metric,
    mflops_per_query,
    normalised_area,
    precision_at,
    recall,
    recall_reference,
    relevance,
    top_k,
    topk_hits,
)
from suite.errors import UserError

IMAGENET_1K, IMAGENET_4K = 1_281_167, 4_202_000

# Two queries, five neighbours each; the values below are worked by hand from these rows.
REL = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=bool)
CLASS_SIZE = np.array([2, 8])


def test_relevance_compares_each_neighbour_with_its_own_query():
    neighbours = np.array([[7, 3, 7], [4, 7, 9]])
    assert relevance(neighbours, np.array([7, 9])).tolist() == [
        [True, False, True],
        [False, False, True],
    ]


def test_relevance_takes_a_leading_axis_of_sizes():
    rng = np.random.default_rng(0)
    neighbours, queries = rng.integers(0, 3, (4, 6, 5)), rng.integers(0, 3, 6)
    stacked = relevance(neighbours, queries)
    for size in range(4):
        np.testing.assert_array_equal(stacked[size], relevance(neighbours[size], queries))
    values = average_precision(stacked, 5)
    np.testing.assert_array_equal(values[2], average_precision(stacked[2], 5))


def test_relevance_keeps_labels_apart_that_half_precision_merges():
    assert np.float16(2049) == np.float16(2048)
    assert not relevance(np.array([[2049]]), np.array([2048]))[0, 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_relevance_refuses_float_labels(dtype):
    with pytest.raises(ValueError, match="must be integers"):
        relevance(np.array([[1, 2]], dtype=dtype), np.array([1]))
    with pytest.raises(ValueError, match="query_labels must be integers"):
        relevance(np.array([[1, 2]]), np.array([1], dtype=dtype))


@pytest.mark.parametrize("neighbours, queries", [((3, 5), (2,)), ((5,), (5,)), ((3, 5), (3, 1))])
def test_relevance_refuses_shapes_that_do_not_fit(neighbours, queries):
    with pytest.raises(ValueError, match="do not fit"):
        relevance(np.zeros(neighbours, dtype=int), np.zeros(queries, dtype=int))


@pytest.mark.parametrize(
    "k, precision, top, ap",
    [
        (1, [1, 0], [1, 0], [1, 0]),
        (3, [2 / 3, 0], [1, 0], [(1 + 2 / 3) / 3, 0]),
        (5, [2 / 5, 2 / 5], [1, 1], [(1 + 2 / 3) / 5, (1 / 4 + 2 / 5) / 5]),
    ],
)
def test_values_worked_by_hand(k, precision, top, ap):
    np.testing.assert_allclose(precision_at(REL, k), precision)
    np.testing.assert_allclose(top_k(REL, k), top)
    np.testing.assert_allclose(average_precision(REL, k), ap)
    assert [f(REL, k).dtype for f in (precision_at, top_k, average_precision)] == [float, bool, float]


def test_standard_average_precision_and_recall_by_hand():
    np.testing.assert_allclose(
        average_precision_standard(REL, 5, CLASS_SIZE),
        [(1 + 2 / 3) / 2, (1 / 4 + 2 / 5) / 5],
    )
    np.testing.assert_allclose(recall(REL, 3, CLASS_SIZE), [1, 0])
    np.testing.assert_allclose(recall(REL, 5, CLASS_SIZE), [1, 1 / 4])
    np.testing.assert_allclose(recall_reference(REL, 5), [2 / 1300, 2 / 1300])


def test_standard_average_precision_of_a_full_ranking_is_scikit_learns():
    rng = np.random.default_rng(1)
    rel = rng.random((20, 40)) < 0.2
    rel[:, 0] |= ~rel.any(axis=1)
    expected = [average_precision_score(row, -np.arange(40)) for row in rel]
    found = average_precision_standard(rel, 40, rel.sum(axis=1))
    np.testing.assert_allclose(found, expected)


def test_average_precision_is_the_formula_term_by_term():
    assert average_precision(np.array([[True, False, True]]), 3)[0] == pytest.approx(0.5556, abs=5e-5)
    rng = np.random.default_rng(2)
    rel = rng.random((8, 12)) < 0.4
    for k in (1, 4, 12):
        slow = [sum(row[r - 1] * row[:r].sum() / r for r in range(1, k + 1)) / k for row in rel.astype(int)]
        np.testing.assert_allclose(average_precision(rel, k), slow)


def test_perfect_and_empty_rankings_are_one_and_zero():
    everything, nothing = np.ones((3, 10), bool), np.zeros((3, 10), bool)
    many = np.full(3, 50)
    for function in (precision_at, top_k, average_precision):
        assert function(everything, 10).tolist() == [1, 1, 1]
        assert function(nothing, 10).tolist() == [0, 0, 0]
    # Only the paper's variant punishes a class with fewer than k items.
    few = np.repeat([[True] * 4 + [False] * 6], 3, axis=0)
    np.testing.assert_allclose(average_precision_standard(few, 10, np.full(3, 4)), 1)
    np.testing.assert_allclose(average_precision(few, 10), 0.4)
    np.testing.assert_allclose(average_precision_standard(everything, 10, many), 1)


def test_later_neighbours_do_not_change_a_metric():
    changed = REL.copy()
    changed[:, 3:] = ~changed[:, 3:]
    for function in (precision_at, top_k, average_precision, recall_reference):
        np.testing.assert_array_equal(function(REL, 3), function(changed, 3))


@pytest.mark.parametrize("k", [0, -1, 6])
def test_k_beyond_what_was_saved_is_refused_with_the_numbers(k):
    for function in (precision_at, top_k, average_precision, recall_reference):
        with pytest.raises(UserError, match=f"k = {k} .*5 neighbours per query"):
            function(REL, k)


def test_relevance_matrices_that_are_not_are_refused():
    with pytest.raises(ValueError, match="must be bool"):
        precision_at(REL.astype(float), 1)
    with pytest.raises(ValueError, match="no queries"):
        precision_at(np.zeros((0, 5), bool), 1)


@pytest.mark.parametrize(
    "counts, message",
    [
        ([2], "one per query"),
        ([2.0, 8.0], "must be integers"),
        ([2, 0], "1 queries have no database item"),
        ([1, 8], "more relevant neighbours found"),
    ],
)
def test_impossible_class_sizes_are_refused(counts, message):
    for function in (recall, average_precision_standard):
        with pytest.raises(ValueError, match=message):
            function(REL, 3, np.array(counts))


def test_topk_hits_are_scikit_learns():
    rng = np.random.default_rng(5)
    scores, labels = rng.random((200, 9)), rng.integers(0, 9, 200)
    predicted = np.argsort(-scores, axis=1)[:, :5]
    for k in (1, 3, 5):
        hits = topk_hits(predicted, labels, k)
        assert hits.dtype == bool
        assert hits.mean() == pytest.approx(top_k_accuracy_score(labels, scores, k=k, labels=range(9)))
    with pytest.raises(UserError, match="k = 6"):
        topk_hits(predicted, labels, 6)


@pytest.mark.parametrize(
    "num_database, shortlist_dim, stages, expected",
    [
        (IMAGENET_1K, 8, [(200, 8)], 10.250936),
        (IMAGENET_1K, 8, [(200, 2048)], 10.658936),
        (IMAGENET_1K, 16, [(200, 2048)], 20.908272),
        (IMAGENET_4K, 8, [], 33.616),
        (IMAGENET_1K, 8, funnel_stages(8, "A", 2048), 10.314616),
        (IMAGENET_1K, 16, funnel_stages(16, "C", 2048), 20.544752),
        (IMAGENET_1K, 32, funnel_stages(32, "C", 2048), 41.069024),
    ],
)
def test_compute_per_query_is_the_protocols(num_database, shortlist_dim, stages, expected):
    found = mflops_per_query(num_database, shortlist_dim, stages)
    assert found == pytest.approx(expected, abs=1e-9)


def test_funnel_stages_double_and_end_where_the_full_size_is_reached():
    assert funnel_stages(8, "A", 2048) == [(800, 16), (400, 32), (200, 64), (50, 128), (10, 2048)]
    assert funnel_stages(8, "B", 64) == [(400, 16), (200, 32), (50, 64)]
    assert funnel_stages(12, "B", 100) == [(400, 24), (200, 48), (50, 96), (25, 100)]
    assert funnel_stages(64, "B", 64) == []
    # Cascade A from 64 in 256: 66,560 of its multiply-accumulates were of stages that order nothing anew.
    repeated = [(800, 128), (400, 256), (200, 256), (50, 256), (10, 256)]
    saved = mflops_per_query(6400, 64, repeated) - mflops_per_query(6400, 64, funnel_stages(64, "A", 256))
    assert saved == pytest.approx(0.06656)


@pytest.mark.parametrize("cascade", CASCADES)
@pytest.mark.parametrize("dim", [8, 9, 96, 128, 256, 2048])
def test_every_funnel_shrinks_the_list_and_grows_the_size(cascade, dim):
    for shortlist_dim in range(1, dim, 7):
        lengths, sizes = zip(*funnel_stages(shortlist_dim, cascade, dim))
        assert np.all(np.diff(lengths) < 0)
        assert np.all(np.diff([shortlist_dim, *sizes]) > 0)
        assert sizes[-1] == dim


def test_impossible_funnels_are_refused():
    with pytest.raises(UserError, match="unknown cascade 'D'"):
        funnel_stages(8, "D", 64)
    for shortlist_dim in (0, 65):
        with pytest.raises(UserError, match=f"size {shortlist_dim} .* 64 dimensions"):
            funnel_stages(shortlist_dim, "A", 64)
    with pytest.raises(ValueError, match="must be positive"):
        mflops_per_query(100, 8, [(0, 16)])


def test_normalised_area_by_hand():
    # log2 sizes 3, 4, 6: trapezoids 1 x 0.5 and 2 x 0.7 over a range of 3.
    assert normalised_area([8, 16, 64], [0.4, 0.6, 0.8]) == pytest.approx((0.5 + 1.4) / 3)
    assert normalised_area([64, 8, 16], [0.8, 0.4, 0.6]) == pytest.approx((0.5 + 1.4) / 3)


def test_normalised_area_is_the_mean_height():
    dims = [8, 16, 32, 100, 2048]
    assert normalised_area(dims, [0.37] * 5) == pytest.approx(0.37)
    line = np.log2(dims)
    assert normalised_area(dims, line) == pytest.approx((3 + 11) / 2)
    stacked = normalised_area(dims, np.stack([line, line + 1]))
    np.testing.assert_allclose(stacked, [7, 8])


@pytest.mark.parametrize(
    "dims, values, message",
    [
        ([8], [0.5], "two or more"),
        ([8, 8], [0.5, 0.5], "two or more different"),
        ([0, 8], [0.5, 0.5], "positive"),
        ([8, 16], [0.5, np.nan], "NaN"),
        ([8, 16], [0.5, 0.6, 0.7], "do not fit"),
    ],
)
def test_areas_of_nothing_are_refused(dims, values, message):
    with pytest.raises(ValueError, match=message):
        normalised_area(dims, values)


def test_every_metric_says_how_it_is_shown():
    for name, entry in METRICS.items():
        assert entry.direction in (+1, -1), name
        assert entry.label and not entry.label[0].isspace()
    # Robustness is the linear classifier's accuracy; else two metrics with one label cannot be told apart.
    labels = [entry.label for name, entry in METRICS.items() if name != "robustness top1"]
    assert len(set(labels)) == len(labels)
    shown = {name: (metric(name).scale, metric(name).direction, metric(name).axis) for name in METRICS}
    assert shown["map@10"] == (100, +1, "mAP@10 (%)")
    assert shown["difference"] == (100, +1, "difference (points)")
    assert shown["mflops"] == (1, -1, "MFLOPs per query")
    assert shown["expected_dim"] == (1, -1, "expected size (dimensions)")
    assert shown["train_macs"][:2] == (1e-12, -1)
    assert metric("top1", "knn").axis == "1-NN accuracy (%)"
    assert metric("top1", "zero_shot") is METRICS["top1"] and metric("map@10", "knn") is METRICS["map@10"]


def test_metrics_of_another_k_have_an_entry_too():
    assert metric("map@10") is METRICS["map@10"]
    assert metric("map@37").label == "mAP@37"
    assert metric("recall@200_reference").label == "recall@200, hits / 1300"
    assert metric("top3").label == "top-3 accuracy"


@pytest.mark.parametrize("name", ["map", "map@0", "map@k", "map@{k}", "top", "mapp@10", "map@10_x"])
def test_unknown_metrics_are_refused_by_name(name):
    with pytest.raises(UserError, match="unknown metric"):
        metric(name)
