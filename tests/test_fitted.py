"""Fitted methods: their contract, and each against known answers."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic

from analysis.measures import probe as measure_probe
from analysis.measures import read_outcomes
from analysis.tabulate import tabulate
from baselines import first_features, linear_map, pca, random_features, random_projection, svd
from baselines.embed import embed, probe_notes
from baselines.fitting import Fit, Source, probes
from baselines.probe import LIMITS, Probe, best_penalty, choose_probe, fit_probe, held_out, standardised
from baselines.representation import Representation, View
from baselines.training.networks import count_macs
from splits.store import Dataset
from suite.contracts import METHOD
from suite.errors import UserError

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


def with_probes(fitted, given, array):
    """Classifiers by view and size: a method's own, and the suite's probes."""
    more = {"known": fitted.classifiers, "draws": fitted.probe_draws}
    return fitted.classifiers | probes(array, fitted.views, given.labels, given.num_classes, 0, **more)


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
    classifiers = with_probes(found, given, array)
    for place, view in enumerate(found.views):
        for m in view.sizes:
            weight, bias = classifiers[place, m]
            assert weight.shape[0] == CLASSES and bias.shape == (CLASSES,) and weight.shape[1] >= m
            scores = array[:, view.columns][:, : weight.shape[1]] @ weight.T + bias
            if m == SIZES[-1]:
                assert (scores.argmax(1) == given.labels).mean() > 0.9
    again = module.fit(source(), SIZES, module.OPTIONS, np.random.default_rng(0))
    for key, (weight, _) in with_probes(again, given, array).items():
        np.testing.assert_array_equal(weight, next(iter(classifiers[key])))


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
    ours = pca.fit(start, SIZES, pca.OPTIONS, None).transform(start.features)
    theirs = PCA(16).fit_transform(start.features)
    assert np.allclose(np.abs(ours), np.abs(theirs), atol=1e-3)


def test_uncentred_pca_at_full_size_has_the_neighbours_of_its_source_and_centred_has_not():
    rng = np.random.default_rng(0)
    given = source(n=200, dim=12)
    given.features[:] += 2  # far from the origin, as features behind a ReLU are
    given.features[:] *= rng.uniform(0.5, 2, (200, 1))

    def nearest(x):
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        return (x @ x.T - 2 * np.eye(len(x))).argmax(1)

    exact, other = (
        pca.fit(given, [12], {"centre": centre}, None).transform(given.features) for centre in (False, True)
    )
    np.testing.assert_array_equal(nearest(exact), nearest(given.features))
    as_svd = svd.fit(given, [12], {}, None).transform(given.features)
    np.testing.assert_allclose(np.abs(exact), np.abs(as_svd), atol=1e-2)
    assert (nearest(other) != nearest(given.features)).any()
    assert np.abs(other.mean(0)).max() < 1e-4 < np.abs(exact.mean(0)).max()


def test_random_features_are_permutations_of_the_source_one_per_draw():
    given = source()
    fitted = random_features.fit(given, SIZES, {"draws": 4, "probe_draws": 3}, np.random.default_rng(0))
    assert fitted.transform is None
    assert [view.draw for view in fitted.views] == [0, 1, 2, 3]
    assert all(sorted(view.order) == list(range(16)) for view in fitted.views)
    assert len({view.order for view in fitted.views}) == 4
    found = with_probes(fitted, given, given.features)
    assert set(found) == {(draw, m) for draw in range(3) for m in SIZES}
    for m in SIZES:
        assert len({found[draw, m].l2 for draw in range(3)}) == 1
        assert found[0, m].held_out_top1 is not None
        assert m == 16 or found[1, m].held_out_top1 is None
    # At full size a draw is the same columns in another order, and so are its scores.
    first, second = (
        given.features[:, view.columns] @ found[draw, 16].weight.T + found[draw, 16].bias
        for draw, view in enumerate(fitted.views[:2])
    )
    np.testing.assert_allclose(first, second, atol=1e-3)


@pytest.mark.parametrize(
    ("draws", "why"), [(3, "less than the minimum of 10"), ("ten", "not of type 'integer'")]
)
def test_fewer_than_ten_draws_are_refused(draws, why):
    with pytest.raises(UserError, match=f"draws: {draws!r} is {why}"):
        METHOD.options("random_features", {"draws": draws})


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
    found = linear_map.fit(given, [1, 2, 4], linear_map.OPTIONS, np.random.default_rng(0))
    weight, bias = found.classifiers[0, 1]
    top1 = ((found.transform(features)[:, :1] @ weight.T + bias).argmax(1) == labels).mean()
    principal = (features - features.mean(0)) @ np.linalg.eigh(np.cov(features.T))[1][:, -1:]
    best = max(np.mean((principal[:, 0] > cut) == labels) for cut in principal[:, 0])
    assert top1 > 0.97 and max(best, 1 - best) < 0.65
    how = found.facts["maps"]
    assert all(how[m]["converged"] and not how[m]["at_limit"] for m in (1, 2, 4))
    # Two classes: what lies beyond two dimensions is zero, and the answers are those of two.
    np.testing.assert_allclose(found.transform(features)[:, 3:5], found.transform(features)[:, 1:3])
    assert not found.transform(features)[:, 5:].any()


def test_a_linear_map_counts_what_its_fit_multiplies():
    fits, given = [], source(n=600, dim=12, classes=6)
    start = np.random.default_rng(0)
    watched = count_macs(lambda: fits.append(linear_map.fit(given, [2, 4], linear_map.OPTIONS, start)))
    # Of all products but the scores of held-out rows and those along a probe's axes.
    assert 0.9 * watched < fits[0].fit_macs <= watched


def test_a_fitted_method_costs_its_source_its_fit_and_its_projection(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted = {"pca": 16, "linear_map": 2 + 4 + 8 + 16, "first_features": 0}  # columns that serve all sizes
    methods = {"fixed_feature": None, **dict.fromkeys(fitted)}
    tasks = {"cost": None, "linear": None}  # which asks for probes
    study, layout = synthetic.build(Path(), methods=methods, tasks=tasks, figures=[], seeds=[0])
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


def test_every_method_is_scored_by_the_suites_probe_and_none_is_fitted_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    methods = dict.fromkeys(("fixed_feature", "mrl", "pca", "random_features"))
    methods["random_features"] = {"probe_draws": 2}
    study, layout = synthetic.build(Path(), methods=methods, tasks={"linear": None}, figures=[], seeds=[0])
    for name in ("pca", "random_features"):
        embed(study, study.method(name), 0, "cpu")
    asked = []
    monkeypatch.setattr(
        measure_probe, "probes", lambda *given, **more: asked.append(1) or probes(*given, **more)
    )
    synthetic.measure(study, layout)
    assert len(asked) == 2  # the networks, which have classifiers of their own
    found = {name: read_outcomes(layout, name, 0, "probe") for name in methods}
    own = {name: read_outcomes(layout, name, 0, "predict")["val/top5"][..., 0] for name in methods}
    for name, draws in (("pca", 1), ("random_features", 2)):
        np.testing.assert_array_equal(found[name]["val/top1"], own[name])
        probed = Representation(layout.embeddings(name, 0)).meta["probes"]
        assert found[name]["val/top1"].shape[:2] == (draws, 4)
        assert [probed[f"0_{m}"]["l2"] for m in (2, 4, 8, 16)] == found[name]["penalty"][0].tolist()
        assert all(probe["converged"] for probe in probed.values())
    assert (found["mrl"]["val/top1"] != own["mrl"]).any()
    data, rows = Dataset(layout.data), Representation(layout.embeddings("mrl", 0)).array("train")
    held = held_out(len(rows), np.random.default_rng([0, 6]))
    known = data.labels("train"), data.num_classes, held
    assert found["mrl"]["penalty"][0, 1] == choose_probe(rows[:, :4], *known).l2
    table = tabulate(study, "linear", layout).set_index(["method", "metric", "dim"])["value"]
    assert table["pca", "probe_top1", 4] == table["pca", "top1", 4]
    assert table["mrl", "probe_top1", 4] == (found["mrl"]["val/top1"][0, 1] == data.labels("val")).mean()


def test_probes_are_fitted_where_something_asks_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    methods = dict.fromkeys(("fixed_feature", "mrl", "pca"))
    methods["axes"] = {"baseline": "pca", "label": "axes", "centre": False, "tasks": ["knn"]}
    given = {"tasks": {"linear": None, "knn": None}, "measures": {"probe": {"second": False}}}
    study, layout = synthetic.build(Path(), methods=methods, figures=[], seeds=[0], **given)
    assert study.classifies("pca") and study.classifies("fixed_feature") and not study.classifies("axes")
    fitted = []
    monkeypatch.setattr(
        "baselines.fitting.choose_probe", lambda *given: fitted.append(1) or choose_probe(*given)
    )
    embed(study, study.method("axes"), 0, "cpu")
    assert not fitted
    with pytest.raises(UserError, match="axes has no linear classifiers"):
        assert Representation(layout.embeddings("axes", 0)).classified
    embed(study, study.method("pca"), 0, "cpu")
    assert len(fitted) == 4
    synthetic.measure(study, layout)
    assert len(fitted) == 4  # none for the networks
    table = tabulate(study, "linear", layout)
    assert set(table["method"]) == {"fixed_feature", "mrl", "pca"}
    assert set(table.query("metric == 'probe_top1'")["method"]) == {"pca"}
    assert set(table.query("metric == 'probe_gap'")["method"]) == {"pca"}
    assert "axes" in set(tabulate(study, "knn", layout)["method"])


def test_what_is_wrong_with_a_probe_is_noted():
    good = fit_probe(source().features, source().labels, CLASSES, l2=1e-3)
    found = {(0, 4): good, (0, 8): replace(good, gap=1.0), (0, 16): replace(good, at_limit=True)}
    unsettled, at_limit = probe_notes(found)
    assert "sizes [8] did not converge" in unsettled and "sizes [16]" in at_limit
    assert probe_notes({(0, 4): good}) == []


def test_probe_equals_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    features = (rng.normal(size=(300, 5)) + labels[:, None] * [1, -1, 0.5, 0, 0]).astype(np.float32)
    probe = fit_probe(features, labels, 3, l2=0.01)
    scaled = (features - features.mean(0)) / features.std(0)
    # scikit-learn's objective is n times ours: C = 1 / (n · l2).
    model = LogisticRegression(C=1 / (300 * 0.01), tol=1e-8, max_iter=1000).fit(scaled, labels)
    both = features @ probe.weight.T + probe.bias, model.decision_function(scaled)
    ours, theirs = (scores - scores.mean(1, keepdims=True) for scores in both)
    assert np.abs(ours - theirs).max() < 0.01 and probe.converged and probe.held_out_top1 is None


@pytest.mark.parametrize(
    ("n", "m", "classes", "noise"),
    [(600, 4, 8, 0.5), (400, 20, 10, 2.0), (400, 150, 3, 5.0)],  # the best λ: 1e-4, 3e-4, 1
)
def test_the_penalty_of_a_size_is_that_of_scikit_learns_cross_validation(n, m, classes, noise):
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    rng = np.random.default_rng(m)
    labels = rng.integers(0, classes, n)
    features = rng.normal(size=(classes, m))[labels] + noise * rng.normal(size=(n, m))
    features = (features @ rng.normal(size=(m, m))).astype(np.float32)
    held = held_out(n, rng)
    probe = choose_probe(features, labels, classes, held)
    scaled = (features - features.mean(0)) / features.std(0)
    grid = 10.0 ** (np.arange(2, -9, -1) / 2)
    searched = LogisticRegressionCV(
        Cs=1 / ((~held).sum() * grid),  # largest penalty first: ties go to it
        cv=[(np.flatnonzero(~held), np.flatnonzero(held))],
        l1_ratios=(0,),
        use_legacy_attributes=False,
        scoring="accuracy",
        max_iter=2000,
        tol=1e-6,
    ).fit(scaled, labels)
    assert probe.l2 == pytest.approx(1 / ((~held).sum() * np.ravel(searched.C_)[0]))
    assert probe.converged and not probe.at_limit
    model = LogisticRegression(C=1 / (n * probe.l2), tol=1e-8, max_iter=5000).fit(scaled, labels)
    ours, theirs = probe.weight * features.std(0), model.coef_
    ours, theirs = ours - ours.mean(0), theirs - theirs.mean(0)
    assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(theirs)
    answers = (features @ probe.weight.T + probe.bias).argmax(1)
    assert (answers == model.predict(scaled)).mean() > 0.99


def peak(best):
    """A top-1 that falls with the distance of k = 2 log₁₀ λ from the best."""
    return lambda l2: 1 - abs(2 * np.log10(l2) - best)


@pytest.mark.parametrize("best", [-13, -5, -2, 0, 3])
def test_penalties_are_searched_outwards_until_the_best_is_inside(best):
    asked = []
    l2, top1, at_limit = best_penalty(lambda l2: asked.append(l2) or peak(best)(l2))
    assert l2 == pytest.approx(10 ** (best / 2)) and top1 == pytest.approx(1) and not at_limit
    assert min(asked) < 0.9 * l2 and 1.1 * l2 < max(asked)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_penalty_on_a_limit_is_called_so(limit):
    l2, _, at_limit = best_penalty(lambda l2: np.sign(limit) * np.log10(l2))
    assert l2 == pytest.approx(10 ** (limit / 2)) and at_limit
    # Of penalties that do equally well the larger is taken: here all do.
    assert best_penalty(lambda l2: 1.0)[::2] == (10 ** (LIMITS[1] / 2), True)


def test_a_probe_says_whether_it_converged():
    given = source()
    probe = fit_probe(given.features, given.labels, CLASSES, l2=1e-3)
    assert probe.facts["converged"] and probe.facts["gap"] <= 1e-6 and probe.facts["iterations"] > 3
    assert not Probe(*probe, l2=1e-3, gap=1e-3, gradient=0.1, iterations=9, macs=1).facts["converged"]


def test_a_constant_column_is_standardised_to_nothing():
    x = np.array([[1, 7], [3, 7], [5, 7]], np.float32)
    standard, mean, scale = standardised(x)
    assert standard[:, 1].tolist() == [0, 0, 0] and scale[1] == 0 and mean.tolist() == [3, 7]
    np.testing.assert_allclose(standard[:, 0], (x[:, 0] - 3) / np.std([1, 3, 5]), rtol=1e-6)
