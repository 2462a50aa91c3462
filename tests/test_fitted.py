"""Fitted methods: their contract, and each against known answers."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import synthetic

from analysis.tabulate import tabulate
from baselines import first_features, linear_map, pca, random_features, random_projection, svd
from baselines.embed import embed
from baselines.fitting import Fit, Source
from baselines.probe import best_l2, fit_probe, standardised
from baselines.representation import Representation, View
from suite.contracts import METHOD

SIZES = [4, 8, 16]
CLASSES = 4
FITTED = [name for name in METHOD.names() if METHOD.facts(name).KIND == "fitted"]


def source(n=120, dim=16, classes=CLASSES, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes, dim))
    features = (rng.normal(size=(n, dim)) + 3 * centres[labels]).astype(np.float32)
    weight, bias = centres.astype(np.float32), (-1.5 * (centres**2).sum(1)).astype(np.float32)
    return Source(features, labels, classes, weight, bias, View((dim,), 0, dim))


@pytest.mark.parametrize("name", FITTED)
def test_a_fitted_method_serves_every_size_from_the_training_side_alone(name):
    given, rng = source(), np.random.default_rng(0)
    module = importlib.import_module(f"baselines.{name}")
    kept = given.features.copy()
    found = module.fit(given, SIZES, module.OPTIONS, rng)
    assert isinstance(found, Fit)
    np.testing.assert_array_equal(given.features, kept)
    array = given.features if found.transform is None else found.transform(given.features)
    assert np.isfinite(array).all() and array.dtype == np.float32
    for draw in {view.draw for view in found.views}:
        assert sorted(m for view in found.views if view.draw == draw for m in view.sizes) == SIZES
    for place, view in enumerate(found.views):
        for m in view.sizes:
            weight, bias = found.classifiers[place, m]
            assert weight.shape[0] == CLASSES and bias.shape == (CLASSES,) and weight.shape[1] >= m
            scores = array[:, view.columns][:, : weight.shape[1]] @ weight.T + bias
            if m == SIZES[-1]:
                assert (scores.argmax(1) == given.labels).mean() > 0.9
    again = module.fit(source(), SIZES, module.OPTIONS, np.random.default_rng(0))
    for key, (weight, _) in found.classifiers.items():
        np.testing.assert_array_equal(weight, again.classifiers[key][0])


@pytest.mark.parametrize(
    ("name", "by_size", "together"),
    [  # d = 16, 4 classes, sizes 4, 8, 16; None: Σ over sizes of what each needs
        ("pca", {4: 4 * 16 + 20, 16: 16 * 16 + 68}, 16 * 16 + 20 + 36 + 68),
        ("random_projection", {4: 4 * 16 + 20, 16: 16 * 16 + 68}, 16 * 16 + 20 + 36 + 68),
        ("svd", {4: 4 * 16 + 4, 16: 4 * 16 + 4}, 4 * 16 + 4),
        ("first_features", None, 4 * 16 + 4),
        ("linear_map", {4: 4 * 16 + 20, 16: 16 * 16 + 68}, None),
        ("random_features", None, None),
    ],
)
def test_a_classifier_counts_what_has_to_be_kept_for_it(name, by_size, together):
    module = importlib.import_module(f"baselines.{name}")
    found = module.fit(source(), SIZES, module.OPTIONS, np.random.default_rng(0))
    assert found.parameters_all == together
    assert {m: found.parameters[m] for m in by_size} == by_size if by_size else found.parameters is None


def test_svd_of_the_classifier_is_the_best_rank_m_matrix():
    start = source(classes=6)
    fitted = svd.fit(start, SIZES, {}, None)
    rotated = fitted.transform(start.features)
    u, s, vt = np.linalg.svd(start.weight, full_matrices=False)
    for m, matrix in (
        (4, (u[:, :4] * s[:4]) @ vt[:4]),
        (8, start.weight),
        (16, start.weight),
    ):  # it has rank 6
        weight, bias = fitted.classifiers[0, m]
        expected = start.features @ matrix.T + start.bias
        assert np.allclose(rotated @ weight.T + bias, expected, atol=1e-3)


def test_svd_features_keep_all_distances_and_pack_most_norm_in_front():
    start = source()
    rotated = svd.fit(start, SIZES, {}, None).transform(start.features)
    distances = [((x[:, None] - x[None]) ** 2).sum(-1) for x in (rotated, start.features)]
    assert np.allclose(*distances, atol=1e-3)
    energy = (rotated**2).sum(0)
    assert (np.diff(energy) <= 1e-3).all()


def test_pca_equals_scikit_learn():
    from sklearn.decomposition import PCA

    start = source()
    ours = pca.fit(start, SIZES, {}, np.random.default_rng(0)).transform(start.features)
    theirs = PCA(16).fit_transform(start.features)
    assert np.allclose(np.abs(ours), np.abs(theirs), atol=1e-3)


def test_random_features_are_permutations_of_the_source_one_per_draw():
    fitted = random_features.fit(source(), SIZES, {"draws": 4, "probe": True}, np.random.default_rng(0))
    assert fitted.transform is None
    assert [view.draw for view in fitted.views] == [0, 1, 2, 3]
    assert all(sorted(view.order) == list(range(16)) for view in fitted.views)
    assert len({view.order for view in fitted.views}) == 4
    assert set(fitted.classifiers) == {(draw, m) for draw in range(4) for m in SIZES}


def test_first_features_truncate_the_classifier_and_fit_nothing():
    start = source()
    fitted = first_features.fit(start, SIZES, {}, None)
    assert np.array_equal(fitted.classifiers[0, 4][0], start.weight[:, :4])
    assert np.array_equal(fitted.classifiers[0, 4][1], start.bias)


def test_random_projection_keeps_lengths_on_average():
    start = source(dim=64)
    fitted = random_projection.fit(start, (64,), {}, np.random.default_rng(0))
    ratio = (fitted.transform(start.features) ** 2).sum() / (start.features**2).sum()
    assert 0.8 < ratio < 1.25


def test_a_linear_map_finds_the_direction_that_tells_the_classes_and_pca_does_not():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    features = rng.normal(size=(400, 6)) * [10, 9, 8, 7, 6, 1]
    features[:, 5] += 6 * labels  # the classes differ in the axis with the least variance
    features = (features @ np.linalg.qr(rng.normal(size=(6, 6)))[0]).astype(np.float32)
    given = Source(
        features, labels, 2, np.zeros((2, 6), np.float32), np.zeros(2, np.float32), View((6,), 0, 6)
    )
    found = linear_map.fit(given, [1, 2], linear_map.OPTIONS, np.random.default_rng(0))
    weight, bias = found.classifiers[0, 1]
    top1 = ((found.transform(features)[:, :1] @ weight.T + bias).argmax(1) == labels).mean()
    principal = (features - features.mean(0)) @ np.linalg.eigh(np.cov(features.T))[1][:, -1:]
    best = max(np.mean((principal[:, 0] > cut) == labels) for cut in principal[:, 0])
    assert top1 > 0.97 and max(best, 1 - best) < 0.65


def test_a_fitted_method_costs_its_source_its_fit_and_its_projection(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted = {"pca": 16, "linear_map": 2 + 4 + 8 + 16, "first_features": 0}  # columns that serve all sizes
    methods = {"fixed_feature": None, **dict.fromkeys(fitted)}
    study, layout = synthetic.build(Path(), methods=methods, tasks={"cost": None}, figures=[], seeds=[0])
    for name in fitted:
        embed(study, study.method(name), 0, "cpu")
    table = tabulate(study, "cost", layout)
    cost = table.set_index(["method", "metric", "dim"])["value"]
    source = Representation(layout.embeddings("fixed_feature", 0)).meta["cost"]["networks"][-1]
    for name, columns in fitted.items():
        assert cost[name, "train_macs", 0] == source["train_macs"]
        assert cost[name, "macs_all_sizes", 0] == source["macs_all_sizes"] + columns * 16
        # d = 16: one column of a linear map takes 16 multiply-accumulates.
        assert cost[name, "macs_per_image", 4] == source["macs"]["16"] + (4 * 16 if columns else 0)
        assert (cost[name, "fit_macs", 0] > 0) == (columns > 0)


def test_probe_equals_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    features = (rng.normal(size=(300, 5)) + labels[:, None] * [1, -1, 0.5, 0, 0]).astype(np.float32)
    weight, bias = fit_probe(features, labels, 3, l2=0.01, iterations=500)
    scaled = (features - features.mean(0)) / features.std(0)
    # scikit-learn's objective is n times ours: C = 1 / (n · l2).
    model = LogisticRegression(C=1 / (300 * 0.01), tol=1e-8, max_iter=1000).fit(scaled, labels)
    both = features @ weight.T + bias, model.decision_function(scaled)
    ours, theirs = (scores - scores.mean(1, keepdims=True) for scores in both)
    assert np.abs(ours - theirs).max() < 0.01


def test_of_penalties_that_do_equally_well_the_larger_is_taken():
    right = {1e-3: 0.5, 1e-2: 1.0, 1e-1: 1.0}  # share of held-out rows
    labels = np.zeros(10, int)

    def scores(l2):
        return np.eye(2)[(np.arange(10) >= 10 * right[l2]).astype(int)]

    assert best_l2(tuple(right), scores, labels) == 1e-1
    assert best_l2((1e-1, 1e-2, 1e-3), scores, labels) == 1e-1
    assert best_l2((1e-3, 1e-2), scores, labels) == 1e-2


def test_a_constant_column_is_standardised_to_nothing():
    x = np.array([[1, 7], [3, 7], [5, 7]], np.float32)
    standard, mean, scale = standardised(x)
    assert standard[:, 1].tolist() == [0, 0, 0] and scale[1] == 0 and mean.tolist() == [3, 7]
    np.testing.assert_allclose(standard[:, 0], (x[:, 0] - 3) / np.std([1, 3, 5]), rtol=1e-6)
