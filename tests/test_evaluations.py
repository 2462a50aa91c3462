"""Evaluations that need no index, against brute force and cases worked by hand, and a contract over all."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic
from sklearn.neighbors import NearestCentroid

from analysis.evaluations import adaptive_classification as adaptive
from analysis.evaluations import disagreement, linear, longtail, superclass
from analysis.findings.decide import decided
from analysis.findings.evidence import Claim, Outcome
from analysis.findings.page import markdown
from analysis.measures import classmeans, predict
from analysis.metrics import normalised_area
from analysis.run import COLUMNS, Run
from analysis.statistics import clustered_interval, compare_paired, mean_interval
from analysis.tabulate import tabulate
from baselines import embed
from baselines.representation import Representation
from splits.store import Dataset
from suite import files
from suite.contracts import EVALUATION, MEASURE
from suite.errors import UserError
from suite.layout import Layout
from suite.study import Study

SIZES = (2, 4, 8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(study, layout) with raw outcomes and tables of everything registered."""
    return synthetic.finish(tmp_path_factory.mktemp("synthetic"))


def run_of(study, layout, task, method="mrl", seed=0, **options):
    dataset = Dataset(layout.data)
    return Run(study, dataset, study.methods[method], seed, task, study.tasks[task] | options, layout)


def values(rows, metric, **where):
    """dim → value of the rows with this metric and these keys."""
    kept = [row for row in rows if row["metric"] == metric and all(row.get(k) == v for k, v in where.items())]
    return {row["dim"]: row["value"] for row in kept}


# --- contracts over everything registered ---------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURE.names())
def test_a_measure_saves_outcomes_for_every_method(finished, measure):
    study, layout = finished
    for method in (method for method, name in study.measured() if name == measure):
        for seed in study.seeds:
            outcomes = np.load(layout.outcomes(method, seed, measure))
            assert set(outcomes["sizes"]) >= set(study.methods[method].nesting)
            for name, found in outcomes.items():
                assert found.dtype.kind in "biuf" and np.isfinite(found).all(), f"{measure}: {name}"


@pytest.mark.parametrize("task", synthetic.tasks())
def test_a_task_gives_a_tidy_table(finished, task):
    study, layout = finished
    table = pd.read_csv(layout.table(task))
    assert list(table)[: len(COLUMNS)] == COLUMNS
    assert len(table), f"{task} has no rows on a study with every split"
    assert (table["task"] == task).all() and (table["study"] == study.name).all()
    # A row without a value may be about a method that the study lacks: a claim that cannot be tested.
    assert set(table.dropna(subset=["value"])["method"]) <= set(study.methods)
    assert set(table["seed"]) <= set(study.seeds)
    assert {split.split("@")[0] for split in table["split"].dropna()} <= {*Dataset(layout.data).splits}
    both = table.dropna(subset=["low", "high"])
    assert (both["low"] <= both["value"] + 1e-9).all() and (both["value"] <= both["high"] + 1e-9).all()
    keys = [column for column in table if column not in ("value", "low", "high")]
    assert not table.duplicated(keys).any(), f"{task}: rows that nothing tells apart"


def test_a_study_without_the_extra_splits_gets_empty_tables(tmp_path, monkeypatch):
    counts = {name: synthetic.COUNTS[name] for name in ("train", "val")}
    monkeypatch.setattr(synthetic, "COUNTS", counts)
    tasks = dict.fromkeys(["fewshot", "longtail", "robustness", "superclass"])
    study, layout = synthetic.build(tmp_path, tasks=tasks, seeds=[0], methods={"mrl": None}, figures=[])
    synthetic.measure(study, layout)
    assert tabulate(study, "fewshot", layout).empty and tabulate(study, "longtail", layout).empty
    assert set(tabulate(study, "robustness", layout)["split"]) == {"val"}


def test_what_a_method_was_not_embedded_for_is_not_scored(finished, tmp_path):
    study, layout = finished
    shutil.copytree(layout.root, tmp_path / "results")
    fewer = Layout(study.name, tmp_path / "results")
    for seed in study.seeds:
        meta = fewer.embeddings("mrl", seed) / "meta.json"
        files.write_json(meta, files.read_json(meta) | {"splits": ["train", "val"]})
    for task in ("fewshot", "robustness"):
        table = tabulate(study, task, fewer)
        assert set(table[table["method"] == "mrl"]["split"]) <= {"val"}
        assert set(table[table["method"] == "fixed_feature"]["split"]) > {"val"} or task == "fewshot"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, "share 0 of 40 items and 30 splits"),
        ({"share": 1.0}, "some items must be held out, some left"),
        ({"splits": 0}, "one split at least"),
    ],
)
def test_a_cascade_needs_items_to_learn_and_to_test_on(options, message):
    confidence, right = np.full((2, 40), 0.5), np.ones((2, 40), bool)
    with pytest.raises(UserError, match=message):
        adaptive.cascade_of(confidence, right, np.array([4, 8]), adaptive.OPTIONS | options)


# --- predictions ----------------------------------------------------------------------------------


def test_best_is_a_stable_sort(rng):
    scores = rng.integers(0, 4, (50, 12)).astype(np.float32)  # full of ties
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(predict.best(scores, 5), expected)


def test_predictions_are_those_of_the_classifier(finished):
    _, layout = finished
    dataset, method = Dataset(layout.data), "fixed_feature"
    representation = Representation(layout.embeddings(method, 1))
    with np.load(layout.outcomes(method, 1, "predict")) as outcomes:
        for size, view in enumerate(representation.views):
            logits = representation.logits("val", view, view.sizes[0])
            shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            np.testing.assert_array_equal(outcomes["val/top5"][0, size, :, 0], shares.argmax(1))
            np.testing.assert_allclose(outcomes["val/confidence"][0, size], shares.max(1), rtol=1e-5)
            both = logits + representation.logits("val_flip", view, view.sizes[0])
            np.testing.assert_array_equal(outcomes["val+flip/top5"][0, size, :, 0], both.argmax(1))
            few = np.unique(dataset.labels("r"))
            rows = np.isin(dataset.labels("val"), few)
            np.testing.assert_array_equal(
                outcomes["val@r/restricted"][0, size], few[logits[rows][:, few].argmax(1)]
            )


def test_restriction_changes_the_answer():
    """An image of class 0 that looks most like class 2: right once class 2 is not among the answers."""

    def logits(split, view, dim, rows):
        return np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]], np.float32)[rows]

    view = SimpleNamespace(sizes=(1,), draw=0)
    toy = SimpleNamespace(sizes=(1,), splits=["r"], method="toy", classified=[view], logits=logits)
    labels = SimpleNamespace(num_classes=3, labels=lambda split: np.array([0, 1]))
    found = predict.predict(toy, "r", ("r",), labels, predict.class_restrictions(labels, "r"))
    assert found["r/top5"][0, 0, :, 0].tolist() == [2, 2]
    assert found["r/restricted"][0, 0].tolist() == [0, 1]


def test_robustness_compares_with_clean_images_of_the_same_classes(finished):
    _, layout = finished
    table = pd.read_csv(layout.table("robustness"))
    dataset = Dataset(layout.data)
    for name in ("r", "a"):
        few = np.unique(dataset.labels(name))
        clean = table[table["split"] == f"val@{name}"]
        assert (clean["n"] == np.isin(dataset.labels("val"), few).sum()).all()
        assert (clean["classes"] == len(few)).all()
        restricted = table[(table["split"] == name) & (table["classes"] == len(few))]
        free = table[(table["split"] == name) & (table["classes"] == 12)]
        # A right answer among all classes stays right among some that include it.
        assert (restricted["value"].to_numpy() >= free["value"].to_numpy()).all()
        assert restricted["value"].mean() > free["value"].mean()


# --- class means ----------------------------------------------------------------------------------


def test_few_shot_is_scikit_learns_nearest_centroid(rng):
    labels = np.repeat(np.arange(6), 8)
    features = (rng.standard_normal((6, 8))[labels] + rng.standard_normal((48, 8))).astype(np.float32)
    shuffle = rng.permutation(48)
    labels, features = labels[shuffle] + 3, features[shuffle]  # labels that are not 0 … C − 1
    chosen = classmeans.choose_labelled(labels, 5, 4, seed=1)
    hits = classmeans.few_shot(features, labels, SIZES, chosen, [2, 5])
    assert hits.shape == (3, 2, 4, 48)
    for choice in range(4):
        for place, shots in enumerate([2, 5]):
            labelled = chosen[choice, :, :shots].ravel()
            tested = np.setdiff1d(np.arange(48), labelled)
            assert (hits[:, place, choice, labelled] == -1).all()
            for size, m in enumerate(SIZES):
                model = NearestCentroid().fit(features[labelled, :m], labels[labelled])
                expected = model.predict(features[tested, :m]) == labels[tested]
                np.testing.assert_array_equal(hits[size, place, choice, tested], expected)


def test_few_shot_averages_choices_by_image_and_intervals_are_over_classes(finished):
    run = run_of(*finished, "fewshot")
    hits, labels = run.outcomes("classmeans")["fewshot/hits"][0, 0], run.dataset.labels("v2")
    rows = [row for row in run.means() if row["dim"] == SIZES[0]]
    assert [row["shots"] for row in rows] == [1, 3]
    for row, some in zip(rows, hits):  # [choices, n]
        tested = (some >= 0).any(0)
        shares = pd.DataFrame(some).where(some >= 0).mean()[tested]
        assert (row["value"], row["n"]) == (pytest.approx(shares.mean()), tested.sum())
        expected = clustered_interval(shares, labels[tested])
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))


def test_labelled_images_are_of_their_class_and_all_different(rng):
    labels = rng.permutation(np.repeat(np.arange(5), 6))
    chosen = classmeans.choose_labelled(labels, 4, 10, seed=0)
    assert (labels[chosen] == np.arange(5)[:, None]).all()
    assert all(len(np.unique(rows)) == 20 for rows in chosen)
    assert len(np.unique(chosen.reshape(10, -1), axis=0)) == 10
    with pytest.raises(UserError, match="6-shot classification needs 7 images"):
        classmeans.choose_labelled(labels, 6, 1, seed=0)


def stream(rng, n=150):
    """Features and labels of a stream over 5 known and 4 new classes; sums and counts of the known."""
    labels = rng.integers(0, 9, n)
    centres = 1.5 * rng.standard_normal((9, 8))
    features = (centres[labels] + rng.standard_normal((n, 8))).astype(np.float32)
    counts = np.array([3, 4, 5, 6, 7, 0, 0, 0, 0])
    return features, labels, centres * counts[:, None], counts


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_stream_predicts_then_stores(block, rng):
    """Against the definition, one item at a time."""
    features, labels, sums, counts = stream(rng)
    before = sums.copy(), counts.copy()
    found = classmeans.predict_stream(features, labels, sums, counts, SIZES, interval=20, block=block)
    np.testing.assert_array_equal(sums, before[0])  # the caller's arrays are left as they were
    np.testing.assert_array_equal(counts, before[1])
    for row in range(len(labels)):
        if row % 20 == 0:  # until then a class that has no images cannot be predicted
            for old in range(max(0, row - 20), row):
                sums[labels[old]] += features[old]
                counts[labels[old]] += 1
            known = np.flatnonzero(counts)
            means = sums[known] / counts[known, None]
        for size, m in enumerate(SIZES):
            distances = ((features[row, :m] - means[:, :m]) ** 2).sum(1)
            assert found[size, row] == known[distances.argmin()]
    assert (found >= 5).any()


def test_a_cold_stream_starts_without_means(rng):
    """As if nothing had been seen: its first predictions are none, and the rest those of the stream alone."""
    features, labels, sums, counts = stream(rng)
    found = classmeans.predict_stream(features, labels, 0 * sums, 0 * counts, SIZES, interval=20)
    assert (found[:, :20] == -1).all() and np.isin(found[:, 20:40], labels[:20]).all()
    means = np.stack([features[:20][labels[:20] == label].mean(0) for label in np.unique(labels[:20])])
    nearest = ((features[20:40, None, :4] - means[:, :4]) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(found[1, 20:40], np.unique(labels[:20])[nearest])


def test_class_sums_do_not_depend_on_the_block(finished, monkeypatch):
    _, layout = finished
    dataset, representation = Dataset(layout.data), Representation(layout.embeddings("random_features", 0))
    view = representation.views[1]
    monkeypatch.setattr(classmeans, "BLOCK", 7)
    sums, counts = classmeans.pretrained_sums(representation, view, 5, dataset)
    features, labels = representation.features("train", view, 5), dataset.labels("train")
    for label in range(len(dataset.classes)):
        np.testing.assert_allclose(sums[label], features[labels == label].sum(0), rtol=1e-5, atol=1e-5)
        assert counts[label] == (labels == label).sum()


def test_long_tail_groups_by_hand():
    labels = np.array([0] * 4 + [1] * 2 + [2] * 3 + [3])
    groups = longtail.groups(labels, num_pretrained=2, head=2)
    assert {name: np.unique(labels[rows]).tolist() for name, rows in groups.items()} == {
        "all": [0, 1, 2, 3],
        "pretrain_head": [0],
        "pretrain_tail": [1],
        "novel_head": [2],
        "novel_tail": [3],
    }


def test_long_tail_means_are_over_classes_and_intervals_over_blocks(finished):
    run = run_of(*finished, "longtail")
    rows = list(longtail.score(run))
    labels = run.dataset.labels("stream")
    for start, name in (("warm", "stream"), ("cold", "stream/cold")):
        hits = run.outcomes("classmeans")[f"{name}/predicted"][0] == labels
        for size, m in enumerate(SIZES[:2]):
            expected = pd.Series(hits[size]).groupby(labels).mean().mean()
            assert values(rows, "mean_class_top1", group="all", start=start)[m] == pytest.approx(expected)
            assert values(rows, "top1", group="all", start=start)[m] == pytest.approx(hits[size].mean())
        along = [row for row in rows if row["metric"] == "top1_along_stream" and row["start"] == start]
        along = [row for row in along if row["dim"] == 2]
        assert [row["n"] for row in along] == [8] * 20 and along[-1]["until"] == len(labels)
        assert np.mean([row["value"] for row in along]) == pytest.approx(hits[0].mean())
    whole = next(row for row in rows if row["metric"] == "top1")
    # Eight blocks of the 20 images between two updates, all of one size: the t interval of their means.
    means = (run.outcomes("classmeans")["stream/predicted"][0, 0] == labels).reshape(8, 20).mean(1)
    assert (whole["low"], whole["high"]) == pytest.approx(mean_interval(means)[1:])
    arrays = {each.keys["start"]: (each.array, each.compared) for each in run.items()}
    assert arrays == {"warm": ("stream/top1", True), "cold": ("stream/cold/top1", False)}


def test_a_stream_has_one_window_at_least(finished):
    with pytest.raises(UserError, match=r"tasks.longtail.windows is 0; allowed: whole numbers from 1"):
        next(longtail.score(run_of(*finished, "longtail", windows=0)))


# --- superclass, disagreement ---------------------------------------------------------------------


class Labelled(SimpleNamespace):
    """A dataset of classes and of labels that are the same in every split."""

    def __contains__(self, name):
        return name in self.splits


def by_hand(task, predicted, labels, superclasses, **options):
    """A run whose predictions [draws, sizes, n] and classes are given."""
    classes = pd.DataFrame({"superclass": superclasses}).rename_axis("label").reset_index()
    classes["name"] = [f"class {label}" for label in classes["label"]]
    dataset = Labelled(
        classes=classes, num_classes=len(classes), labels=lambda name: np.array(labels), splits=["val", "r"]
    )
    named = SimpleNamespace(name="by hand", task_options=lambda task: {}, networks=())
    run, predicted = Run(named, dataset, named, 0, task, options, None), np.array(predicted)
    sizes = np.array([8, 16, 32])[: predicted.shape[1]]
    run._opened["predict"] = {"sizes": sizes, "val/top5": predicted[..., None]}
    how = dict.fromkeys(("penalty", "gap", "at_limit"), np.full((1, len(sizes)), 0.5))
    run._opened["probe"] = {"sizes": sizes, "val/top1": predicted[::-1], **how}
    return run


def test_fewer_than_five_classes_have_no_top_5():
    run = by_hand("linear", [[[0, 1, 2, 0]]], [0, 1, 2, 2], ["", "", ""])
    run._opened["probe"]["val/top1"] = np.array([[[0, 1, 2, 2]]])
    meta = {"classifier_parameters": {"0": 27, "8": 27}}
    run.__dict__["representation"] = SimpleNamespace(meta=meta, sizes=(8,))
    rows = list(linear.score(run))
    assert values(rows, "top1") == {8: 3 / 4} and values(rows, "top5") == {}
    assert values(rows, "probe_top1") == {8: 1} and values(rows, "probe_penalty") == {8: 0.5}
    assert values(rows, "classifier_bytes") == {0: 108, 8: 108}
    # Classes of 1, 1 and 2 images, of which one of the last is missed; of equal ones there is no such row.
    assert values(rows, "mean_class_top1") == {8: pytest.approx((1 + 1 + 1 / 2) / 3)}
    assert next(row for row in rows if row["metric"] == "mean_class_top1")["n"] == 3
    run.dataset.labels = lambda name: np.array([0, 1, 2, 3])
    assert values(list(linear.score(run)), "mean_class_top1") == {}


def test_rows_of_a_split_with_every_class_are_told_apart():
    run = by_hand("robustness", [[[0, 1, 1, 1]]], [0, 1, 0, 1], ["", ""])
    outcomes, restricted = run.outcomes("predict"), np.array([[[0, 1, 0, 1]]])
    outcomes["r/top5"] = outcomes["val/top5"]
    outcomes["r/restricted"] = outcomes["val@r/restricted"] = restricted
    rows = [(row["split"], row["classes"], row["value"]) for row in run.means()]
    assert rows == [("val", 2, 3 / 4), ("r", 2, 3 / 4), ("val@r", 2, 1)]


def test_superclasses_by_hand():
    # Classes 0, 1 are "a"; 2, 3 are "b"; 4 has none.
    predicted, names = [[[1, 0, 3, 0, 2], [0, 1, 2, 4, 2]]], ["a", "a", "b", "b", ""]
    rows = list(superclass.score(by_hand("superclass", predicted, [0, 1, 2, 2, 4], names)))
    assert values(rows, "superclass_top1", superclass="all", reject=False) == {8: 3 / 4, 16: 3 / 4}
    assert values(rows, "superclass_top1", superclass="all", reject=True) == {8: 3 / 5, 16: 3 / 5}
    assert values(rows, "superclass_top1", superclass="b") == {8: 1 / 2, 16: 1 / 2}
    assert values(rows, "superclass_top1", superclass="reject", reject=True) == {8: 0, 16: 0}
    assert values(rows, "superclass_gain", superclass="a") == {16: 0}
    # Wrong at 8: all four, three of them inside; at 16 only the one taken for class 4.
    assert values(rows, "errors_within_superclass") == {8: 3 / 4, 16: 0}


DISAGREEMENT = disagreement.OPTIONS | {"named": 5}


def test_disagreement_by_hand():
    labels = [0, 0, 0, 1, 1]
    predicted = [[0, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 1, 1, 0]]
    rows = list(disagreement.score(by_hand("disagreement", [predicted], labels, ["", ""], **DISAGREEMENT)))
    assert values(rows, "first_correct") == {8: 3 / 5, 16: 1 / 5, 32: 0}
    assert values(rows, "never_correct") == {0: 1 / 5}
    assert values(rows, "oracle_top1") == {0: 4 / 5}
    assert values(rows, "oracle_independent_top1") == pytest.approx({0: 1 - 2 / 5 * 3 / 5 * 2 / 5})
    assert values(rows, "best_top1") == {0: 3 / 5}
    assert values(rows, "smallest_sufficient_dim", never_correct="left out") == {0: (3 * 8 + 16) / 4}
    assert values(rows, "smallest_sufficient_dim", never_correct="full size") == {0: (3 * 8 + 16 + 32) / 5}
    assert values(rows, "classes_falling") == {16: 1 / 2, 32: 1 / 2}
    # Class 0 changes on two images, and then on one; class 1 on one. One falls with 1/2, two with 1/4.
    assert values(rows, "classes_falling_by_chance") == pytest.approx({16: (1 / 4 + 1 / 2) / 2, 32: 1 / 2})
    assert values(rows, "class_change", class_name="class 1") == {32: -1 / 2}
    assert values(rows, "class_change", class_name="class 0") == {}


def test_classes_fall_by_chance_as_often_as_random_signs_say(rng):
    labels, change = rng.permutation(np.repeat(np.arange(20), 9)), rng.integers(-3, 4, 180)
    signs = rng.choice([-1, 1], (4000, 180))
    sums = np.stack([(signs * change)[:, labels == label].sum(1) for label in range(20)])
    found = disagreement.falling_by_chance(change, labels)
    assert found == pytest.approx((sums < 0).mean(), abs=0.005)
    assert disagreement.falling_by_chance(np.zeros(180, int), labels) == 0


def test_classes_that_all_change_alike_fall_by_the_luck_of_their_images(rng):
    """Twenty images a class, of all a fifth gain and a tenth lose: P(losses > gains) of a multinomial."""
    labels = np.repeat(np.arange(200), 20)
    gains = rng.permutation(np.repeat([1, -1, 0], [800, 400, 2800]))
    found = disagreement.falling_if_alike(np.stack([0 * gains, gains]), labels, 50, seed=0)
    drawn = rng.multinomial(20, [0.2, 0.1, 0.7], 200_000)
    assert found[0] == 0 and found[1] == pytest.approx((drawn[:, 1] > drawn[:, 0]).mean(), abs=0.01)
    # The same, though every loss is in one class that truly falls.
    assert disagreement.falling_if_alike(np.sort(gains)[None], labels, 50, 0) == pytest.approx(
        found[1], abs=0.01
    )


def test_an_oracle_over_networks_says_how_many(finished):
    _, layout = finished
    table = pd.read_csv(layout.table("disagreement")).query("metric == 'oracle_top1'")
    assert table.groupby("method")["networks"].first().to_dict() == {
        "fixed_feature": 4,
        "mrl": 1,
        "mrl_e": 1,
        "random_features": 1,
    }


def test_the_oracle_is_at_least_as_good_as_any_size(finished):
    _, layout = finished
    table = pd.read_csv(layout.table("disagreement"))
    linear = pd.read_csv(layout.table("linear"))
    best = linear[linear["metric"] == "top1"].groupby(["method", "seed"])["value"].max()
    whole = table[table["dim"] == 0].pivot_table(index=["method", "seed"], columns="metric", values="value")
    assert (whole["oracle_top1"] >= whole["best_top1"]).all()
    np.testing.assert_allclose(whole["best_top1"], best[whole.index])
    shares = table[table["metric"] == "first_correct"].groupby(["method", "seed"])["value"].sum()
    np.testing.assert_allclose(shares + whole["never_correct"], 1)


# --- adaptive classification ----------------------------------------------------------------------


def toy(rng, sizes=4, n=60):
    return rng.random((sizes, n)).astype(np.float32), rng.random((sizes, n)) < 0.6


def test_thresholds_are_those_of_exhaustive_search(rng):
    for _ in range(20):
        confidence, right = toy(rng)
        # Confidences that equal a threshold are not above it.
        confidence[:, ::3] = rng.choice(adaptive.THRESHOLDS, confidence[:, ::3].shape)
        confidence = confidence.astype(np.float64)
        answers = np.where(
            confidence[:-1, None] > adaptive.THRESHOLDS[:, None], right[:-1, None], right[1:, None]
        )
        expected = adaptive.THRESHOLDS[answers.sum(2).argmax(1)]
        np.testing.assert_array_equal(adaptive.learn_thresholds(confidence, right), expected)


def test_the_policy_stops_where_its_definition_says(rng):
    confidence, _ = toy(rng)
    thresholds = np.array([0.7, 0.5, 0.8])
    stops = adaptive.stopping(confidence, thresholds)
    for cap in range(4):
        for item in range(confidence.shape[1]):
            stop = next((j for j in range(cap) if confidence[j, item] > thresholds[j]), cap)
            assert stops[cap, item] == stop
    assert adaptive.stopping(confidence[:1], np.array([])).tolist() == [[0] * 60]


def test_cascade_by_brute_force(rng):
    confidence, right = toy(rng, n=100)
    sizes, options = np.array([2, 4, 8, 16]), {"share": 0.3, "splits": 5, "seed": 3}
    found = adaptive.cascade_of(confidence, right, sizes, options)
    order = np.random.default_rng(3)
    per_item = [[] for _ in range(100)]
    for split in range(5):
        rows = order.permutation(100)
        learn, test = rows[:30], rows[30:]
        thresholds = adaptive.learn_thresholds(confidence[:, learn], right[:, learn])
        stops = adaptive.stopping(confidence[:, test], thresholds)[3]
        assert found.accuracy[split, 3] == pytest.approx(right[stops, test].mean())
        assert found.dims[split, 3] == pytest.approx(sizes[stops].mean())
        assert found.cumulative[split, 3] == pytest.approx(
            np.mean([sizes[: stop + 1].sum() for stop in stops])
        )
        for item, stop in zip(test, stops):
            per_item[item].append(right[stop, item])
    np.testing.assert_allclose(found.hits[3], [np.mean(some) if some else np.nan for some in per_item])
    np.testing.assert_allclose(found.accuracy[:, 0].mean(), right[0].mean(), atol=0.1)
    assert found.tested == 70 and (found.dims[:, 0] == 2).all()
    assert (np.diff(found.dims, axis=1) >= 0).all() and (found.cumulative >= found.dims).all()


def test_flips_are_never_mixed(finished):
    study, layout = finished
    rows = list(adaptive.score(run_of(study, layout, "adaptive_classification")))
    plain, flipped = (values(rows, "single_top1", flip=flip) for flip in (False, True))
    labels = Dataset(layout.data).labels("val")
    with np.load(layout.outcomes("mrl", 0, "predict")) as outcomes:
        for found, name in ((plain, "val"), (flipped, "val+flip")):
            for size, m in enumerate(outcomes["sizes"]):
                hits = outcomes[f"{name}/top5"][0, size, :, 0] == labels
                assert found[m] == pytest.approx(hits.mean())
    # The mirror image has noise of its own here, so two are better than one.
    assert flipped[16] > plain[16]
    table = pd.read_csv(layout.table("adaptive_classification"))
    smaller = table[table["metric"] == "times_smaller"]
    assert set(smaller["flip"]) == {False, True} and (smaller["baseline"] == "fixed_feature").all()


def test_val_is_embedded_mirrored_where_the_study_trains_with_flips(finished):
    study, layout = finished
    dataset = Dataset(layout.data)
    images = embed.embedded_images(study, dataset)
    np.testing.assert_array_equal(images["val_flip"], np.flip(dataset["val"].images, axis=2))
    assert [*images] == [*dataset.splits, "val_flip"]
    study = Study(synthetic.config(training=study.training | {"augment": {"shift": 1}}))
    assert [*embed.embedded_images(study, dataset)] == dataset.splits


def test_the_cap_is_chosen_on_the_held_out_part(rng):
    confidence, right = toy(rng, n=200)
    sizes, base = np.array([2, 4, 8, 16]), np.stack([rng.random(200) < share for share in (0.5, 0.9)])
    options = {"share": 0.4, "splits": 6, "seed": 3}
    found = adaptive.match(confidence, right, sizes, base.astype(float), options)
    order, per_item = np.random.default_rng(3), [[] for _ in range(200)]
    for split in range(6):
        rows = order.permutation(200)
        learn, test = rows[:80], rows[80:]
        thresholds = adaptive.learn_thresholds(confidence[:, learn], right[:, learn])
        held, stops = (adaptive.stopping(confidence[:, some], thresholds) for some in (learn, test))
        accuracy = [right[held[cap], learn].mean() for cap in range(4)]
        for place in range(2):
            reached = [cap for cap in range(4) if accuracy[cap] >= base[place, learn].mean()]
            cap = reached[0] if reached else int(np.argmax(accuracy))
            assert found.caps[split, place] == cap and found.reached[split, place] == bool(reached)
            assert found.dims[split, place] == pytest.approx(sizes[stops[cap]].mean())
            tried = [sizes[: stop + 1].sum() for stop in stops[cap]]
            assert found.cumulative[split, place] == pytest.approx(np.mean(tried))
        for item, stop in zip(test, stops[found.caps[split, 0]]):
            per_item[item].append(right[stop, item])
    np.testing.assert_allclose(found.hits[0], [np.mean(some) if some else np.nan for some in per_item])


def test_a_cap_that_is_lucky_where_it_is_chosen_is_not_where_it_is_tested():
    """Ten sizes that guess, against one of the same accuracy: no policy is better, chosen on other items."""
    rng, differences = np.random.default_rng(0), []
    options = {"share": 0.2, "splits": 5, "seed": 0}
    for _ in range(40):
        right, base = rng.random((10, 400)) < 0.5, (rng.random((1, 400)) < 0.5).astype(float)
        confidence = rng.random((10, 400))
        found = adaptive.match(confidence, right, np.arange(1, 11), base, options)
        known = np.isfinite(found.hits[0])
        differences.append((found.hits[0] - base[0])[known].mean())
    assert abs(np.mean(differences)) < 3 * np.std(differences) / np.sqrt(40)


def test_times_smaller_says_what_is_reached_and_both_costs(finished):
    study, layout = finished
    table = pd.read_csv(layout.table("adaptive_classification"))
    mine = table[(table["method"] == "mrl") & ~table["flip"]]
    rows = mine[mine["metric"] == "difference"]
    assert list(rows["dim"]) == list(study.nesting) and (rows["forwards"] == 1).all()
    for metric, cost in (("times_smaller", "dim"), ("times_smaller_cumulative", "dim_cumulative")):
        ratio = mine[mine["metric"] == metric].set_index("dim")["value"]
        assert list(ratio.index) == list(rows["dim"][rows["reached"] >= 0.5])
        expected = rows.set_index("dim")[f"expected_{cost}"]
        np.testing.assert_allclose(ratio, ratio.index / expected[ratio.index])
    # All items are in the mean and its interval, of which each split tests four fifths.
    top1 = mine[mine["metric"] == "top1"]
    assert set(top1["n"]) == {120} and set(top1["tested"]) == {96}
    assert set(table[table["method"] == "fixed_feature"]["forwards"].dropna()) == {4}


def test_a_cascade_that_is_never_as_accurate_has_a_difference_and_no_ratio(finished):
    study, layout = finished
    runs = [run_of(study, layout, "adaptive_classification", method) for method in ("mrl", "fixed_feature")]
    always, never = np.ones((1, 4, 120), bool), np.zeros((1, 4, 120), bool)
    confidence = np.full((1, 4, 120), 0.5, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        right = {"mrl": never, "fixed_feature": always}
        patch.setattr(adaptive, "outcomes_of", lambda run, split: (confidence, right[run.method.name]))
        rows = pd.DataFrame(adaptive.times_smaller(runs[:1], runs[1:], False, "val"))
    assert set(rows["metric"]) == {"difference"} and (rows["value"] == -1).all()
    assert (rows["verdict"] == "lower").all()
    said = adaptive.sentence(rows, "MRL", "FF")
    assert said == f"The MRL cascade reaches the accuracy of FF-{study.nesting[0]} at no cap"


def test_the_sentence_says_what_was_shown():
    row = {"dim": 64, "value": 3.0, "expected_dim": 21.33, "difference": 0.001, "verdict": "equivalent"}
    row |= {"difference_low": -0.002, "difference_high": 0.004, "expected_dim_cumulative": 40.0}
    row["metric"] = "times_smaller"
    rows = pd.DataFrame([row, row | {"dim": 128, "metric": "difference"}])
    assert adaptive.sentence(rows, "MRL", "FF") == (
        "To be as accurate as FF-64 the MRL cascade uses 21.3 dimensions on average, 3.0 times fewer\n"
        "(counting every size tried 40.0 dimensions on average, 1.6 times fewer;\n"
        "paired difference +0.10 points [−0.20, +0.40]: equivalent)"
    )
    assert "equivalence not shown" in adaptive.sentence(rows.assign(verdict="undecided"), "MRL", "FF")
    for missed in ({"metric": "difference"}, {"verdict": "worse"}):
        assert "at no cap" in adaptive.sentence(rows.assign(**missed), "MRL", "FF")


def test_an_unknown_baseline_is_named(finished):
    study, layout = finished
    for task, against in (("adaptive_classification", "mlr"), ("paired", ["mlr"])):
        with pytest.raises(UserError, match="did you mean 'mrl'"):
            list(EVALUATION.load(task).compare([run_of(study, layout, task, "mrl", against=against)]))


# --- paired tests ---------------------------------------------------------------------------------


def test_paired_differences_are_those_of_the_items(tmp_path):
    study, layout = synthetic.build(
        tmp_path,
        seeds=[0],
        tasks={"linear": None, "knn": None, "paired": {"against": ["fixed_feature"]}},
        methods={"mrl": None, "fixed_feature": None},
        figures=[],
    )
    synthetic.measure(study, layout)
    table = tabulate(study, "paired", layout)
    assert set(table["method"]) == {"mrl"} and set(table["scope"]) == {"networks"}
    assert set(table[table["dim"] > 0]["test"]) == {"mcnemar"}
    labels = Dataset(layout.data).labels("val")
    ours, theirs = (
        np.load(layout.outcomes(method, 0, "predict"))["val/top5"][0, :, :, 0] == labels
        for method in ("mrl", "fixed_feature")
    )
    linear = table[table["outcome"] == "linear"].set_index("dim")
    for size, m in enumerate(study.nesting):
        assert linear.loc[m, "value"] == pytest.approx(ours[size].mean() - theirs[size].mean())
        assert linear.loc[m, "p"] == pytest.approx(compare_paired(ours[size], theirs[size], 0.01).p)
    # The area, of dim 0, is the mean height of the curve.
    heights = (ours.mean(1) - theirs.mean(1)) @ normalised_area(study.nesting, np.eye(len(study.nesting)))
    assert linear.loc[0, "value"] == pytest.approx(heights)
    assert (linear["p_holm"] >= linear["p"]).all() and (linear["verdict"] != "").all()


# --- findings ---------------------------------------------------------------------------------------


def test_a_claim_names_the_split_that_decides_it(finished):
    def shown(*given):
        return {"value": 0.1, "low": 0.05, "high": 0.2, "numbers": "", "outcome": "shown", "scope": "methods"}

    some = [Outcome("knn", split=split) for split in ("query", "captions")]
    claims = [Claim("c", "", shown, "mrl", "mrl", outcome) for outcome in some]
    query, captions = decided([run_of(*finished, "findings")], claims)
    assert (query["split"], query["n"], query["outcome"]) == ("query", synthetic.COUNTS["query"], "shown")
    assert (captions["n"], captions["outcome"]) == (0, "not tested")
    assert captions["numbers"] == "the study has no split captions"
    page = markdown(pd.DataFrame([query, captions]))
    assert f"n = {query['n']} (query); trainings of each method: 1" in page
    assert "Not tested:  (the study has no split captions)." in page


# --- training length --------------------------------------------------------------------------------


def test_the_gap_of_two_trainings_is_that_of_their_accuracies(finished):
    study, layout = finished
    table = tabulate(study, "training_length", layout).set_index(["metric", "range"])
    linear = tabulate(study, "linear", layout).query("metric == 'top1'")
    means = linear.groupby(["method", "dim"])["value"].mean()
    for name, sizes in (("small", [2]), ("large", [4, 8, 16]), ("all", [2, 4, 8, 16])):
        expected = np.mean([means["mrl", m] - means["fixed_feature", m] for m in sizes])
        row = table.loc["gap", name]
        assert row["value"] == pytest.approx(expected) and row["low"] <= row["value"] <= row["high"]
        assert row["sizes"] == " ".join(map(str, sizes)) and row["scope"] == "methods"
    logs = {
        method: [training_log(layout, network, seed) for seed in study.seeds for network in networks]
        for method, networks in (("mrl", ["mrl"]), ("ff", [f"fixed_feature_{m}" for m in study.nesting]))
    }
    expected = np.mean(logs["mrl"]) - np.mean(logs["ff"])
    assert table.loc["train_gap", "all"]["value"] == pytest.approx(expected)
    tasks = {"training_length": {"base": "mrl_e", "new": "slimmable"}, "linear": None}
    with pytest.raises(UserError, match="no method of slimmable is trained as long"):
        tabulate(Study({**study.config, "tasks": tasks, "figures": []}), "training_length", layout)


def training_log(layout, network, seed):
    """Mean training accuracy over sizes in the last epoch."""
    log = pd.read_csv(layout.network(network, seed) / "log.csv")
    return log[log["epoch"] == log["epoch"].max()]["train_top1"].mean()
