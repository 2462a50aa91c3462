"""Training: the same seed gives the same weights, a killed run continues, wrong input is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

from baselines import benchmark, mrl
from baselines import train as command
from baselines.backbones import build_backbone
from baselines.train import train_network
from baselines.training import DEFAULTS, train
from baselines.training.batches import Normalise, augment, epoch_order, training_batch
from baselines.training.checkpoint import Checkpoint
from baselines.training.distributed import Group
from baselines.training.networks import build_learner, macs_per_image
from suite import files
from suite.errors import UserError

SETTINGS = {
    "backbone": {"name": "small_resnet", "dim": 8, "widths": [4, 8]},
    "baseline": "mrl",
    "options": {"loss_weights": None},
    "sizes": [4, 8],
}
TRAINING = {
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 0.1,
    "precision": "float32",
    "augment": {"shift": 1, "flip": True},
}


def data(n=40, classes=4, seed=0):
    """Images whose brightness tells the class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    images = rng.integers(0, 40, (n, 16, 16, 1)) + 50 * labels[:, None, None, None]
    return images.astype(np.uint8), labels.astype(np.int64)


def run(seed=0, resume=None, learner=None, conditions="", **changes):
    images, labels = data()
    learner = learner or build_learner(SETTINGS, 4, 1, seed)
    trained = train(
        learner,
        images,
        labels,
        Normalise.of(images),
        TRAINING | changes,
        seed,
        checkpoint=Checkpoint(resume, conditions),
    )
    return learner, trained


def weights(learner):
    return torch.cat([value.flatten().double() for value in learner.state_dict().values()])


def test_same_seed_same_weights_other_seed_others():
    first, again, other = run(0)[0], run(0)[0], run(1)[0]
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_methods_of_one_seed_start_from_the_same_backbone():
    tied = build_learner(SETTINGS | {"baseline": "mrl_e"}, 4, 1, 0)
    own = build_learner(SETTINGS, 4, 1, 0)
    for p, q in zip(tied.backbone.parameters(), own.backbone.parameters()):
        assert torch.equal(p, q)


class Killed(Exception):
    pass


@pytest.mark.parametrize("step", [1, 5, 7, 14])  # 5 steps an epoch: at an epoch's end, and within one
def test_a_killed_run_continues_to_the_same_bits(step, tmp_path, monkeypatch):
    monkeypatch.setattr("baselines.training.checkpoint.SECONDS", -1)
    uninterrupted, whole = run(resume=tmp_path / "whole.pt")
    learner = build_learner(SETTINGS, 4, 1, 0)
    state = tmp_path / "state.pt"

    def kill(done, steps):
        if done == step + 1:  # the state after `step` steps is on disk
            raise Killed

    learner.after_step = kill
    with pytest.raises(Killed):
        run(learner=learner, resume=state)
    assert state.exists()
    continued, rest = run(resume=state)
    assert torch.equal(weights(continued), weights(uninterrupted))
    columns = ["epoch", "dim", "loss", "train_top1", "lr"]
    pd.testing.assert_frame_equal(rest.log[columns], whole.log[columns], check_exact=True)


def test_what_was_trained_is_not_lost_before_it_is_written(tmp_path):
    finished, whole = run(resume=tmp_path / "state.pt")
    learner = build_learner(SETTINGS, 4, 1, 0)
    learner.after_step = lambda done, steps: pytest.fail("trained again")
    again, rest = run(learner=learner, resume=tmp_path / "state.pt")
    assert torch.equal(weights(again), weights(finished))
    pd.testing.assert_frame_equal(rest.log, whole.log, check_exact=True)


@pytest.fixture
def miniature(tmp_path, monkeypatch):
    """Builds a study of random images in a folder of its own: changes → (study, layout)."""
    monkeypatch.chdir(tmp_path)

    def build(**changes):
        return synthetic.build(
            Path(),
            methods={"mrl": None, "fixed_feature": None, "finetune": None},
            backbone={"name": "small_resnet", "dim": 16, "widths": [4, 4]},
            training=TRAINING | changes,
            figures=[],
        )

    return build


def test_a_training_is_kept_until_its_network_is_written(miniature, monkeypatch):
    study, layout = miniature()
    state = layout.network("mrl", 0).parent / ".unfinished" / "mrl-0.pt"
    with monkeypatch.context() as patch:
        patch.setattr(command, "save_network", lambda *given: pytest.fail("no space left"))
        with pytest.raises(pytest.fail.Exception, match="no space left"):
            train_network(study, "mrl", 0, "cpu", Group(), "cpu")
    assert state.exists()
    train_network(study, "mrl", 0, "cpu", Group(), "cpu")
    assert (layout.network("mrl", 0) / "meta.json").exists() and not state.exists()


def test_images_that_the_network_cannot_take_are_refused_before_training(miniature, monkeypatch):
    study, _ = miniature(evaluation_crop=400)
    monkeypatch.setattr(command, "train", lambda *given, **more: pytest.fail("trained"))
    with pytest.raises(UserError, match="evaluation_crop is 400, but the stored images are"):
        train_network(study, "mrl", 0, "cpu", Group(), "cpu")


def test_a_network_that_starts_from_another_scales_its_inputs_alike(miniature, monkeypatch):
    study, layout = miniature()
    train_network(study, "fixed_feature_16", 0, "cpu", Group(), "cpu")
    path = layout.network("fixed_feature_16", 0) / "meta.json"
    files.write_json(path, files.read_json(path) | {"mean": [0.25], "std": [0.5]})
    given = {}
    monkeypatch.setattr(
        command, "train", lambda *arguments, **more: given.update(normalise=arguments[3]) or stop_here()
    )
    with pytest.raises(Killed):
        train_network(study, "finetune", 0, "cpu", Group(), "cpu")
    assert (given["normalise"].mean, given["normalise"].std) == ((0.25,), (0.5,))


def stop_here():
    raise Killed


def test_a_state_that_began_from_other_weights_is_not_continued(miniature, monkeypatch):
    study, layout = miniature()
    train_network(study, "fixed_feature_16", 0, "cpu", Group(), "cpu")
    conditions = []

    def stop(*given, **more):
        conditions.append(more["checkpoint"].conditions)
        raise Killed

    monkeypatch.setattr(command, "train", stop)
    checkpoint = layout.network("fixed_feature_16", 0) / "checkpoint.pt"
    for change in (0, 0, 1):
        weights_of_first = torch.load(checkpoint, weights_only=True)
        torch.save({name: value + change for name, value in weights_of_first.items()}, checkpoint)
        with pytest.raises(Killed):
            train_network(study, "finetune", 0, "cpu", Group(), "cpu")
    assert conditions[0] == conditions[1] != conditions[2]


def test_a_state_of_other_conditions_is_not_continued(tmp_path, monkeypatch):
    monkeypatch.setattr("baselines.training.checkpoint.SECONDS", -1)
    learner = build_learner(SETTINGS, 4, 1, 0)

    def kill(done, steps):
        if done == 8:
            raise Killed

    learner.after_step = kill
    with pytest.raises(Killed):
        run(learner=learner, resume=tmp_path / "state.pt", conditions="a")
    fresh, _ = run(resume=tmp_path / "state.pt", conditions="b")
    assert torch.equal(weights(fresh), weights(run()[0]))


def test_the_log_has_a_row_per_size_and_epoch_and_training_learns():
    _, trained = run(epochs=12)
    log = trained.log
    assert log.groupby("epoch")["dim"].apply(list).map(tuple).unique().tolist() == [(4, 8)]
    assert log["epoch"].max() == 12
    assert log["loss"].iloc[-1] < 0.8 * log["loss"].iloc[0]
    assert log["train_top1"].iloc[-1] > 0.6  # chance is 0.25


def test_a_diverging_run_says_what_to_change():
    with pytest.raises(UserError, match=r"the loss of epoch 1 is .*lower training.learning_rate"):
        run(learning_rate=1e30)


def test_labels_keep_more_than_2048_classes_apart_and_must_be_int64():
    images, _ = data(n=8)
    labels = np.array([2047, 2048, 2049, 2050, 4201, 4200, 3000, 3001])
    learner = mrl.build(build_backbone(SETTINGS["backbone"], 1), 4202, [4, 8], {"loss_weights": None})
    train(learner, images, labels, Normalise.of(images), TRAINING | {"epochs": 1}, 0)
    with pytest.raises(TypeError, match="int64, not float16"):
        train(learner, images, labels.astype(np.float16), Normalise.of(images), TRAINING, 0)
    with pytest.raises(ValueError, match="7 labels for 8 images"):
        train(learner, images, labels[:7], Normalise.of(images), TRAINING, 0)


def test_every_epoch_visits_every_image_once():
    order = epoch_order(40, seed=0, epoch=3)
    rows = np.concatenate([training_batch(order, index, 8) for index in range(5)])
    assert sorted(rows.tolist()) == list(range(40))
    assert not np.array_equal(order, epoch_order(40, seed=0, epoch=4))


def test_shifts_move_the_image_and_flips_mirror_it():
    images = torch.arange(2 * 5 * 5, dtype=torch.float32).reshape(2, 1, 5, 5)
    padded = torch.nn.functional.pad(images, [1] * 4, mode="replicate")
    windows = [padded[:, :, i : i + 5, j : j + 5] for i in range(3) for j in range(3)]
    for step in range(5):
        moved = augment(images, {"shift": 1}, seed=0, step=step)
        for n in range(2):
            assert any(torch.equal(moved[n], window[n]) for window in windows)
    flipped = torch.stack([augment(images, {"flip": True}, 0, step)[0] for step in range(20)])
    mirrored = (flipped == images[0].flip(2)).flatten(1).all(1)
    assert 0 < mirrored.sum() < 20 and torch.equal(flipped[~mirrored][0], images[0])


def test_normalised_training_images_have_mean_0_and_deviation_1():
    images, _ = data()
    x = Normalise.of(images)(images)
    assert x.shape == (40, 1, 16, 16)
    assert abs(x.mean()) < 1e-4 and abs(x.std() - 1) < 1e-3


def test_defaults_are_those_the_schema_allows():
    import yaml

    from suite.study import SCHEMA

    allowed = yaml.safe_load(SCHEMA.read_text())["$defs"]["training"]["properties"]
    assert set(DEFAULTS) <= set(allowed)


def test_the_benchmark_measures_every_way_to_train_in_one_run(miniature, monkeypatch, capsys, tmp_path):
    study, _ = miniature()
    monkeypatch.setattr(benchmark, "load_study", lambda name: study)
    monkeypatch.setattr(benchmark, "GEMM_SIDES", (8,))
    words = "--study synthetic --side 16 --classes 4 --images 20 --rounds 1 --device cpu --out a.json"
    benchmark.main(f"{words} --profile".split())
    found = files.read_json(tmp_path / "a.json")
    table = pd.DataFrame(found["table"]).set_index("what")
    assert [*table.index] == ["suite", "plain", "compute only", "one classifier", "loader only"]
    assert (table["images_per_second"] > 0).all() and table.loc["plain", "against_plain"] == 1
    macs = macs_per_image(build_learner(study.trained_with("mrl"), 4, 1, 0), torch.zeros(2, 1, 16, 16))
    expected = table.loc["suite", "images_per_second"] * macs["macs_training"] / 1e9
    assert table.loc["suite", "gmacs"] == pytest.approx(expected)
    assert table.loc["suite", "of_peak"] == pytest.approx(expected / table.loc["suite", "peak_gmacs"])
    assert (found["conditions"]["threads"], found["conditions"]["precision"]) == (1, "float32")
    assert "aten::" in capsys.readouterr().out
    benchmark.main(f"{words} --stored".split())
    with pytest.raises(UserError, match="--images 4 is less than a batch of 8"):
        benchmark.main(["--study", "synthetic", "--images", "4"])
