"""Tuning: what is chosen on a split of train, and how its table is kept."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic

from baselines import tune
from baselines.probe import held_out
from baselines.training import train
from baselines.training.batches import Normalise
from baselines.training.networks import build_learner
from splits.store import Dataset
from suite.errors import UserError

TRAINING = {"epochs": 1, "batch_size": 40, "learning_rate": 0.1, "precision": "float32", "augment": {}}
METHODS = {"mrl": None, "fixed_feature": None, "pca": None, "slimmable": {"variant": "fair"}}


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A study of random images in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return synthetic.build(Path(), methods=METHODS, training=TRAINING, figures=[])[0]


def test_tuning_goes_on_where_it_was(study, monkeypatch):
    grid = {"learning_rate": [0.01, 0.1]}
    found = tune.tune(study, study.method("mrl"), grid, 0)
    assert found.groupby("learning_rate")["dim"].apply(list).tolist() == [list(study.nesting)] * 2
    monkeypatch.setattr(tune, "score", lambda *arguments: pytest.fail("trained again"))
    pd.testing.assert_frame_equal(tune.tune(study, study.method("mrl"), grid, 0), found)
    assert (study.layout.root / "search" / "synthetic" / "mrl.csv").exists()


def test_a_score_is_the_accuracy_of_the_networks_own_classifier_on_rows_it_was_not_trained_on(study):
    dataset = Dataset(study.layout.data)
    split, settings = dataset["train"], study.trained_with("slimmable")
    held = held_out(len(split), np.random.default_rng([0, 5]))
    images = np.array(split.images)
    images[held] = 0  # seen in training they would change the weights; all alike they get one prediction
    blank = SimpleNamespace(images=images, labels=split.labels)
    scores = tune.score(settings, blank, held, dataset.num_classes, 0)
    learner, given = build_learner(settings, dataset.num_classes, 1, 0), split.images[~held]
    normalise = Normalise.of(given)
    train(learner, given, split.labels[~held], normalise, settings["training"], 0)
    z = learner.features(normalise(images[held][:1])).detach()
    for (m, top1), view in zip(scores, learner.views, strict=True):
        weight, bias = learner.classifier(m)
        predicted = (z[:, view.columns] @ weight.T + bias).argmax(1).item()
        assert top1 == (split.labels[held] == predicted).mean()
    assert [m for m, _ in scores] == list(study.nesting)


def test_what_cannot_be_tuned_says_so(study):
    with pytest.raises(UserError, match="unknown key of mrl 'label_smoothing'"):
        tune.tune(study, study.method("mrl"), {"label_smoothing": [0.1]}, 0)
    with pytest.raises(UserError, match="pca is not trained from fresh weights: there is nothing to tune"):
        tune.tune(study, study.method("pca"), {}, 0)
    with pytest.raises(UserError, match="--grid takes key=value,value …, not 'rho'"):
        tune.parse_grid(["rho"])


def test_the_command_prints_the_table_and_the_best_point(study, capsys, monkeypatch):
    monkeypatch.setattr(tune, "load_study", lambda name: study)
    by_rate = {0.1: 0.25, 0.2: 0.75, 0.4: 0.5}
    monkeypatch.setattr(
        tune, "score", lambda settings, *rest: [(4, by_rate[settings["training"]["learning_rate"]])]
    )
    tune.main(["--study", "synthetic", "--method", "mrl", "--grid", "learning_rate=0.1,0.2,0.4", "warmup=0"])
    printed = capsys.readouterr().out
    assert printed.endswith("best mean: learning_rate 0.2, warmup 0\n")
    assert "learning_rate 0.4, warmup 0" in printed and "75.0" in printed
