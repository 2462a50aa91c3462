"""Evaluations that need no index, against brute force and cases worked by hand, and a contract over all."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic
from sklearn.neighbors import NearestCentroid

from analysis import findings
from analysis.evaluations import adaptive_classification as adaptive
from analysis.evaluations import disagreement, linear, longtail, superclass
from analysis.measures import classmeans, predict
from analysis.run import COLUMNS, Run
from analysis.statistics import compare_paired
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


def test_long_tail_means_are_over_classes(finished):
    run = run_of(*finished, "longtail")
    rows = list(longtail.score(run))
    labels = run.dataset.labels("stream")
    hits = run.outcomes("classmeans")["stream/predicted"][0] == labels
    for size, m in enumerate(SIZES[:2]):
        expected = pd.Series(hits[size]).groupby(labels).mean().mean()
        assert values(rows, "mean_class_top1", group="all")[m] == pytest.approx(expected)
        assert values(rows, "top1", group="all")[m] == pytest.approx(hits[size].mean())
    along = [row for row in rows if row["metric"] == "top1_along_stream" and row["dim"] == 2]
    assert [row["n"] for row in along] == [8] * 20 and along[-1]["until"] == len(labels)
    assert np.mean([row["value"] for row in along]) == pytest.approx(hits[0].mean())


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
    named = SimpleNamespace(name="by hand", task_options=lambda task: {})
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


def test_disagreement_by_hand():
    labels = [0, 0, 0, 1, 1]
    predicted = [[0, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 1, 1, 0]]
    rows = list(disagreement.score(by_hand("disagreement", [predicted], labels, ["", ""], named=5)))
    assert values(rows, "first_correct") == {8: 3 / 5, 16: 1 / 5, 32: 0}
    assert values(rows, "never_correct") == {0: 1 / 5}
    assert values(rows, "oracle_top1") == {0: 4 / 5}
    assert values(rows, "best_top1") == {0: 3 / 5}
    assert values(rows, "smallest_sufficient_dim", never_correct="left out") == {0: (3 * 8 + 16) / 4}
    assert values(rows, "smallest_sufficient_dim", never_correct="full size") == {0: (3 * 8 + 16 + 32) / 5}
    assert values(rows, "classes_falling") == {16: 1 / 2, 32: 1 / 2}
    assert values(rows, "class_change", class_name="class 1") == {32: -1 / 2}
    assert values(rows, "class_change", class_name="class 0") == {}


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


def test_times_smaller_is_the_cheapest_policy_that_is_as_accurate(finished):
    study, layout = finished
    table = pd.read_csv(layout.table("adaptive_classification"))
    mine = table[(table["method"] == "mrl") & ~table["flip"]]
    rows, ratio = (mine[mine["metric"] == metric] for metric in ("difference", "times_smaller"))
    ratio, own = ratio.set_index("dim")["value"], mine.groupby(["metric", "dim"])["value"].mean()
    assert list(rows["dim"]) == list(study.nesting)
    for row in rows.itertuples():
        assert row.value == row.difference and (row.dim in ratio) == (row.value >= 0)
        if row.dim in ratio:
            assert ratio[row.dim] == pytest.approx(row.dim / row.expected_dim)
            assert row.expected_dim == pytest.approx(own["expected_dim", row.cap])


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
    assert (rows["verdict"] == "worse").all()
    said = adaptive.sentence(rows, "MRL", "FF")
    assert said == f"MRL cascade: does not reach the accuracy of FF at {study.nesting[0]} at any cap"


def test_the_sentence_says_what_was_shown():
    row = {"dim": 64, "value": 3.0, "expected_dim": 21.33, "difference": 0.001, "verdict": "equivalent"}
    row |= {"difference_low": -0.002, "difference_high": 0.004}
    row["metric"] = "times_smaller"
    rows = pd.DataFrame([row, row | {"dim": 128, "metric": "difference"}])
    assert adaptive.sentence(rows, "MRL", "FF") == (
        "MRL cascade: the accuracy of FF at 64 with 21.3 dimensions expected, 3.0 × smaller\n"
        "(paired difference +0.10 points [-0.20, +0.40]: equivalent)"
    )
    assert "equivalence not shown" in adaptive.sentence(rows.assign(verdict="undecided"), "MRL", "FF")
    assert "does not reach" in adaptive.sentence(rows.assign(metric="difference"), "MRL", "FF")
    assert "2.0 × larger" in adaptive.sentence(rows.assign(value=0.5), "MRL", "FF")


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
        tasks={"paired": {"against": ["fixed_feature"]}},
        methods={"mrl": None, "fixed_feature": None},
        figures=[],
    )
    synthetic.measure(study, layout)
    table = tabulate(study, "paired", layout)
    assert set(table["method"]) == {"mrl"} and set(table["test"]) == {"mcnemar"}
    labels = Dataset(layout.data).labels("val")
    ours, theirs = (
        np.load(layout.outcomes(method, 0, "predict"))["val/top5"][0, :, :, 0] == labels
        for method in ("mrl", "fixed_feature")
    )
    linear = table[table["outcome"] == "linear"].set_index("dim")
    for size, m in enumerate(study.nesting):
        assert linear.loc[m, "value"] == pytest.approx(ours[size].mean() - theirs[size].mean())
        assert linear.loc[m, "p"] == pytest.approx(compare_paired(ours[size], theirs[size]).p)
    assert (linear["p_holm"] >= linear["p"]).all() and (linear["verdict"] != "").all()


# --- findings ---------------------------------------------------------------------------------------


def test_a_claim_names_the_split_that_decides_it(finished):
    def shown(*given):
        return {"value": 0.1, "low": 0.05, "high": 0.2, "numbers": "", "shown": True}

    some = [findings.Outcome("knn", split=split) for split in ("query", "captions")]
    claims = [findings.Claim("c", "", shown, "mrl", "itself", outcome) for outcome in some]
    query, captions = findings.decided([run_of(*finished, "findings")], claims)
    assert (query["split"], query["n"], query["shown"]) == ("query", synthetic.COUNTS["query"], "shown")
    assert (captions["n"], captions["shown"]) == (0, "not tested")
    assert captions["numbers"] == "the study has no split captions"
    page = findings.markdown(pd.DataFrame([query, captions]))
    assert f"n = {query['n']} (query) test images" in page and "| **not tested** |  |" in page
