"""Tuning: what is chosen from few trainings, on what images, and how the trainings are kept."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small
import synthetic
import torch
import yaml

from baselines import tune
from baselines.training import train
from baselines.training.batches import Normalise
from baselines.training.halving import Point, choose, halve, search, standard_error
from baselines.training.networks import build_learner
from splits.store import Dataset
from suite.errors import UserError

TRAINING = {"epochs": 1, "batch_size": 40, "learning_rate": 0.1, "precision": "float32", "augment": {}}
METHODS = {"mrl": None, "fixed_feature": None, "pca": None, "masked_lm": None}
RUNGS = ((None, 1), (4, 3), (2, 8))


# --- which candidate is best ----------------------------------------------------------------------


class Planted:
    """Candidates whose accuracy is known: highest at `peak` (rate × head rate), and no chance in it."""

    def __init__(self, peak, head=1):
        self.peak, self.head, self.asked = peak, head, {}

    def __call__(self, rung, points, seeds):
        for point in points:
            self.asked[point] = max(seeds, self.asked.get(point, 0))
        return {point: np.full((seeds, 5), self.accuracy(point)) for point in points}

    def accuracy(self, point):
        return (
            0.8 - 0.1 * abs(np.log2(point.learning_rate / self.peak)) - 0.05 * (point.head_rate != self.head)
        )


def test_halving_gives_more_seeds_to_fewer_and_every_method_the_same():
    for peak, head in ((0.4, 1), (0.8, 4)):
        planted = Planted(peak, head)
        assert search(tune.RATES, tune.HEAD_RATES, RUNGS, planted) == Point(peak, head)
        assert sorted(planted.asked.values()) == [1] * 10 + [3] * 2 + [8] * 2  # 14 × 1, 4 × 3, 2 × 8


@pytest.mark.parametrize(("peak", "grown"), [(6.4, [6.4, 12.8]), (3.2, [6.4]), (0.05, [0.025])])
def test_an_optimum_lies_inside_the_grid_which_grows_by_factors_of_2_until_it_does(peak, grown, capsys):
    planted = Planted(peak)
    assert search(tune.RATES, tune.HEAD_RATES, RUNGS, planted) == Point(peak, 1)
    beyond = {point.learning_rate for point in planted.asked} - set(tune.RATES)
    assert sorted(beyond) == grown and f"{grown[0]} is tried too" in capsys.readouterr().out
    message = "the best learning rate is 204.8, still at an end of the grid 0.05 … 204.8"
    with pytest.raises(UserError, match=message):
        search(tune.RATES, tune.HEAD_RATES, RUNGS, Planted(1e9))


def test_of_candidates_within_a_standard_error_of_the_best_the_smallest_rate_is_chosen():
    # Mean differences by seed 2, 0: deviation √2, of two seeds an error of 1; items all alike.
    best, other = np.array([[3.0, 3.0], [1.0, 1.0]]), np.ones((2, 2))
    assert standard_error(best, other) == pytest.approx(1)
    # The same by item, and both at once: √(1 + 1).
    assert standard_error(best.T, other) == pytest.approx(1)
    assert standard_error(np.array([[4.0, 2.0], [2.0, 0.0]]), other) == pytest.approx(2**0.5)
    assert standard_error(np.array([[2.0, 0.0]]), np.ones((1, 2))) == pytest.approx(
        1
    )  # of one seed the items'
    found = {Point(0.4, 1): best, Point(0.2, 1): other, Point(0.1, 1): other - 0.01}
    assert choose(found) == Point(0.2, 1)  # 1 behind, an error of 1; the smallest is 1.01 behind


def test_what_diverged_is_never_chosen():
    gone = np.array([[np.nan]])
    found = {Point(0.8, 1): gone, Point(0.4, 1): np.ones((1, 5)), Point(0.1, 1): gone}
    assert choose(found) == Point(0.4, 1)
    assert halve(sorted(found), RUNGS[:1], lambda *asked: found) == Point(0.4, 1)
    with pytest.raises(UserError, match="every candidate diverged; search among smaller --rates"):
        choose({Point(0.8, 1): gone})


# --- what it is measured on -----------------------------------------------------------------------


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A study of random images in a folder of its own, whose source draws no images."""
    monkeypatch.chdir(tmp_path)
    return synthetic.build(
        Path(),
        data={"source": "omniglot"},
        methods=METHODS,
        training=TRAINING,
        tasks={"linear": None, "knn": None},
        figures=[],
    )[0]


def test_a_fold_is_scored_by_a_network_that_was_not_trained_on_it(study):
    dataset = Dataset(study.layout.data)
    parts = tune.parts_of(study, dataset, 100, None, 1)
    assert [part.name for part in parts] == [f"fold {fold} of 5" for fold in range(1, 6)]
    assert (np.sum([part.held for part in parts], axis=0) == 1).all()
    held, settings = parts[1].held, study.trained_with("mrl")
    hits, seen = tune.score(settings, study.layout.data, parts[1], 1000, "cpu")
    images, labels = dataset["train"].images[~held], dataset["train"].labels[~held]
    learner, normalise = build_learner(settings, dataset.num_classes, 1, 1000), Normalise.of(images)
    trained = train(learner, images, labels, normalise, settings["training"], 1000)
    z = learner.features(normalise(dataset["train"].images[held])).detach()
    for m in study.nesting:
        weight, bias = learner.classifier(m)
        predicted = (z[:, :m] @ weight.T + bias).argmax(1).numpy()
        np.testing.assert_array_equal(hits[m], predicted == dataset["train"].labels[held])
    assert [*hits] == [*study.nesting] and seen == trained.images == 160  # four batches of 40 of 192


def test_slimmable_is_scored_at_the_widths_that_it_trains():
    learner = small.learner("slimmable", [2, 8], {"name": "small_resnet", "dim": 8, "widths": [4, 4]}).eval()
    images = torch.rand(3, 1, 16, 16)
    found = learner.trained_logits(images)
    assert [*found] == [8, 6, 4, 2]  # widths 1, ¾, ½, ¼ of 8 features
    for place, m in enumerate((2, 4, 6, 8)):
        z = learner.backbone(images, place)
        expected = z @ learner.head.weight[:, :m].T + learner.head.bias
        assert torch.allclose(found[m], expected, atol=1e-6)
    assert not torch.allclose(found[2], learner.logits(learner.features(images))[2])


# --- the trainings of a search --------------------------------------------------------------------


@pytest.fixture
def planted(monkeypatch):
    """Scores that a point decides, and which trainings were asked for: [(network's sizes, point, seed)]."""
    asked = []

    def score(settings, folder, part, seed, device, progress=False):
        point = Point(*(settings["training"][key] for key in tune.SEARCHED))
        asked.append((tuple(settings["sizes"]), point, seed))
        if point.learning_rate > 1:
            return None, 0
        better = min(settings["sizes"]) > 4  # the larger networks want a larger rate
        right = round(200 * Planted(0.4 if better else 0.2, 4).accuracy(point))
        return {m: np.arange(200) < right for m in settings["sizes"]}, 160

    monkeypatch.setattr(tune, "score", score)
    return asked


SMALL = {"rates": [0.1, 0.2, 0.4, 0.8, 1.6], "rungs": [(None, 1), (2, 2)], "folds": 2}


def test_a_search_goes_on_where_it_was_and_its_table_says_everything(study, planted):
    mrl = study.method("mrl")
    found = tune.tune(study, mrl, **SMALL)
    assert (
        found == {"mrl": Point(0.2, 4)}
        and tune.snippet(mrl, found) == "mrl: {learning_rate: 0.2, head_rate: 4}"
    )
    assert len(planted) == 2 * (10 + 2)  # two folds; ten points, and another seed for two
    assert {seed for *_, seed in planted} == {1000, 1001}
    table = pd.read_csv(study.layout.search)
    assert [*table.columns] == tune.COLUMNS
    chosen = table[table["chosen"]]
    assert {*chosen["learning_rate"]} == {0.2} and {*chosen["head_rate"]} == {4} and len(chosen) == 2 * 2 * 4
    rows = table.query(
        "learning_rate == 0.2 and head_rate == 4 and seed == 1000 and scored_on == 'fold 1 of 2'"
    )
    assert rows["dim"].tolist() == [2, 4, 8, 16] and (rows["top1"] == 0.8).all() and (rows["rung"] == 1).all()
    assert table.query("learning_rate == 1.6")["top1"].isna().all()
    planted.clear()
    assert tune.tune(study, mrl, **SMALL) == found and not planted
    lost = next((study.layout.search.with_suffix("") / "items").glob("*.npy"))
    lost.unlink()
    assert tune.tune(study, mrl, **SMALL) == found and len(planted) == 1 and lost.exists()
    planted.clear()
    other = synthetic.Study(study.config | {"training": TRAINING | {"epochs": 2}}, study.path)
    tune.tune(other, other.method("mrl"), **SMALL)
    assert len(planted) == 24  # of another length: nothing of it is known


def test_networks_of_single_sizes_share_their_settings_or_have_their_own(study, planted):
    method = study.method("fixed_feature")
    together = tune.tune(study, method, **SMALL)
    assert {*together} == {net.name for net in method.networks} and len({*together.values()}) == 1
    apart = tune.tune(study, method, per_size=True, **SMALL)
    assert [apart[net.name].learning_rate for net in method.networks] == [0.2, 0.2, 0.4, 0.4]
    by_size = tune.snippet(method, apart)
    config = study.config | {
        "methods": {"fixed_feature": None},
        "recipes": ["paper", "tuned"],
        "tasks": {"linear": None},
    }
    tuned = synthetic.Study(config | {"tuned": yaml.safe_load(by_size)})
    rates = [
        tuned.trained_with(f"fixed_feature_tuned_{m}")["training"]["learning_rate"] for m in study.nesting
    ]
    assert rates == [0.2, 0.2, 0.4, 0.4]


def test_jobs_side_by_side_give_the_same_table(study, planted, monkeypatch):
    # Threads instead of processes, which take seconds to start; what is sent to those has to be pickled.
    def pool(jobs, mp_context):
        executor = ThreadPoolExecutor(jobs)
        submit = executor.submit
        executor.submit = lambda work, *given: submit(work, *pickle.loads(pickle.dumps(given)))
        return executor

    monkeypatch.setattr(tune, "ProcessPoolExecutor", pool)
    tables = []
    for jobs in (1, 2):
        tune.tune(study, study.method("mrl"), **SMALL, jobs=jobs)
        tables.append(study.layout.search.read_text())
        study.layout.search.with_suffix("").joinpath("mrl.csv").unlink()
    assert tables[0] == tables[1] and len(planted) == 48


def test_what_cannot_be_tuned_says_so(study):
    refused = [
        ("pca", {}, "pca is not trained from fresh weights: there is nothing to tune"),
        ("masked_lm", {}, "masked_lm has no classifiers apart from its network, .*; give --head-rates 1"),
    ]
    for name, given, message in refused:
        with pytest.raises(UserError, match=message):
            tune.tune(study, study.method(name), **given)
    later = synthetic.Study(study.config | {"seeds": [0, 1001]})
    with pytest.raises(UserError, match=r"seeds \[1001\] are kept for searches, allowed: below 1000"):
        tune.tune(later, later.method("mrl"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rates": [0.1, 0]}, "--rates 0 cannot be trained with: .*learning_rate"),
        ({"rates": [float("nan")]}, "--rates nan cannot be trained with: nan is no number"),
        ({"head_rates": [1, -2]}, "--head-rates -2 cannot be trained with: .*head_rate"),
        ({"folds": 1}, "--folds is 1, allowed: whole numbers from 2"),
        ({"jobs": 0}, "--jobs is 0, allowed: whole numbers from 1"),
        ({"count": 0}, "--images is 0, allowed: whole numbers from 1"),
    ],
)
def test_a_candidate_is_checked_like_a_value_of_the_study(given, message, study, planted):
    with pytest.raises(UserError, match=message):
        tune.tune(study, study.method("mrl"), **(SMALL | given))
    assert not planted and not study.layout.search.with_suffix("").exists()


def test_a_search_is_of_its_code_and_damaged_parts_of_it_are_done_again(study, planted, monkeypatch):
    mrl, small = (
        study.method("mrl"),
        SMALL | {"head_rates": [4], "rungs": [(None, 1)], "rates": [0.1, 0.2, 0.4]},
    )
    found = tune.tune(study, mrl, **small)
    first = len(planted)
    next((study.layout.search.with_suffix("") / "items").glob("*.npy")).write_text("cut")
    assert tune.tune(study, mrl, **small) == found and len(planted) == first + 1
    monkeypatch.setattr(tune, "begun_from", lambda *given: ["an edit"])
    assert tune.tune(study, mrl, **small) == found and len(planted) == 2 * first + 1


def test_the_command_prints_what_to_copy(study, planted, capsys, monkeypatch):
    monkeypatch.setattr(tune, "load_study", lambda name: study)
    words = "--study synthetic --method mrl --rates 0.1 0.2 0.4 --rungs all:1 2:2 --folds 2 --device cpu"
    tune.main(words.split())
    printed = capsys.readouterr().out
    assert printed.endswith("tuned:  # in study\n  mrl: {learning_rate: 0.2, head_rate: 4}\n")
    assert "rung 1: 6 candidates, 1 seeds each, 12 trainings to do" in printed
    assert "1/12 mrl, learning_rate 0.1, head_rate 1, seed 1000, fold 1 of 2: " in printed
