"""Training: the same seed gives the same weights, a killed run continues, wrong input is refused."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import small
import synthetic
import torch
from small import Killed, kill, killed_after, weights

from baselines import benchmark
from baselines import train as command
from baselines.train import check_images, train_network, training_images
from baselines.training import DEFAULTS, make_optimiser, train
from baselines.training.batches import Normalise, augment, training_rows
from baselines.training.checkpoint import Checkpoint
from baselines.training.distributed import Group
from baselines.training.networks import build_learner, load_network, macs_per_image, save_network
from suite import files
from suite.errors import UserError
from suite.modules import ROOT

BACKBONE = {"name": "small_resnet", "dim": 8, "widths": [4, 8]}
TRAINING = {
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 0.1,
    "precision": "float32",
    "augment": {"shift": 1, "flip": True},
}
IMAGES, LABELS = small.bright(40)


def fresh(seed=0, name="mrl"):
    return small.learner(name, [4, 8], BACKBONE, seed=seed)


def run(seed=0, resume=None, learner=None, conditions="", **changes):
    learner = learner or fresh(seed)
    given = IMAGES, LABELS, Normalise.of(IMAGES), TRAINING | changes, seed
    return learner, train(learner, *given, checkpoint=Checkpoint(resume, conditions))


def test_same_seed_same_weights_other_seed_others():
    first, again, other = (weights(run(seed)[0]) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(first, weights(run(head_rate=1)[0]))


def test_methods_of_one_seed_start_from_the_same_backbone():
    assert torch.equal(weights(fresh(name="mrl_e").backbone), weights(fresh().backbone))


HEADED = ("mrl", "mrl_e", "fixed_feature", "slimmable", "nested_dropout", "mrl_sampled")


@pytest.mark.parametrize("name", HEADED)
def test_a_head_rate_multiplies_the_step_of_the_classifiers_alone(name):
    options = {"window": 0} if name == "nested_dropout" else {}

    def step(**changes):
        learner = small.learner(name, [4, 8], BACKBONE, **options)
        before = {key: value.clone() for key, value in learner.named_parameters()}
        run(learner=learner, epochs=1, batch_size=40, weight_decay=0.1, **changes)  # one step of all images
        return {key: value.detach() - before[key] for key, value in learner.named_parameters()}

    plain, one, four = step(), step(head_rate=1), step(head_rate=4)
    for key, moved in plain.items():
        assert torch.equal(one[key], moved)
        expected = 4 * moved if key.startswith("head.") else moved
        torch.testing.assert_close(four[key], expected, rtol=1e-4, atol=1e-6)
    assert any(plain[key].any() for key in plain if key.startswith("head."))


def test_a_head_rate_of_what_has_no_classifiers_of_its_own_is_refused():
    learner = small.learner("masked_lm", [4, 8], small.ENCODER, classes=20)
    with pytest.raises(
        UserError, match="head_rate is 4, but MaskedLM has no classifiers apart from its network"
    ):
        make_optimiser(learner, DEFAULTS | TRAINING | {"head_rate": 4})


@pytest.mark.parametrize(
    ("step", "changes"),  # 5 steps an epoch: at an epoch's end, and within one
    [(1, {}), (5, {}), (7, {}), (14, {}), (7, {"head_rate": 4})],
)
def test_a_killed_run_continues_to_the_same_bits(step, changes, tmp_path, monkeypatch):
    monkeypatch.setattr("baselines.training.checkpoint.SECONDS", -1)
    uninterrupted, whole = run(resume=tmp_path / "whole.pt", **changes)
    state = tmp_path / "state.pt"
    with pytest.raises(Killed):  # the state after `step` steps is on disk
        run(learner=killed_after(step + 1, fresh()), resume=state, **changes)
    assert state.exists()
    continued, rest = run(resume=state, **changes)
    assert torch.equal(weights(continued), weights(uninterrupted))
    columns = ["epoch", "dim", "loss", "train_top1", "lr"]
    pd.testing.assert_frame_equal(rest.log[columns], whole.log[columns], check_exact=True)


def test_what_was_trained_is_not_lost_before_it_is_written(tmp_path):
    finished, whole = run(resume=tmp_path / "state.pt")
    learner = fresh()
    learner.after_step = lambda done, steps: pytest.fail("trained again")
    again, rest = run(learner=learner, resume=tmp_path / "state.pt")
    assert torch.equal(weights(again), weights(finished))
    pd.testing.assert_frame_equal(rest.log, whole.log, check_exact=True)


@pytest.fixture
def miniature(tmp_path, monkeypatch):
    """Builds a study of random images in a folder of its own: changes → (study, layout)."""
    monkeypatch.chdir(tmp_path)
    methods = dict.fromkeys(("mrl", "fixed_feature", "finetune"))
    return lambda **changes: synthetic.build(Path(), methods=methods, training=TRAINING | changes, figures=[])


def train_one(study, network):
    train_network(study, network, 0, "cpu", Group(), "cpu")


def test_a_training_is_kept_until_its_network_is_written(miniature, monkeypatch):
    study, layout = miniature()
    state = layout.network("mrl", 0).parent / ".unfinished" / "mrl-0.pt"
    with monkeypatch.context() as patch:
        patch.setattr(command, "save_network", lambda *given: pytest.fail("no space left"))
        with pytest.raises(pytest.fail.Exception, match="no space left"):
            train_one(study, "mrl")
    assert state.exists()
    train_one(study, "mrl")
    assert (layout.network("mrl", 0) / "meta.json").exists() and not state.exists()


def test_images_that_the_network_cannot_take_are_refused_before_training(miniature, monkeypatch):
    study, _ = miniature(evaluation_crop=400)
    monkeypatch.setattr(command, "train", lambda *given, **more: pytest.fail("trained"))
    with pytest.raises(UserError, match="evaluation_crop is 400, but the stored images are"):
        train_one(study, "mrl")


def test_a_network_that_starts_from_another_scales_its_inputs_alike(miniature, monkeypatch):
    study, layout = miniature()
    train_one(study, "fixed_feature_16")
    path = layout.network("fixed_feature_16", 0) / "meta.json"
    files.write_json(path, files.read_json(path) | {"mean": [0.25], "std": [0.5]})
    given = []
    monkeypatch.setattr(command, "train", lambda *arguments, **more: given.extend(arguments) or kill())
    with pytest.raises(Killed):
        train_one(study, "finetune")
    assert (given[3].mean, given[3].std) == ((0.25,), (0.5,))


def test_a_state_that_began_from_other_weights_is_not_continued(miniature, monkeypatch):
    study, layout = miniature()
    train_one(study, "fixed_feature_16")
    conditions = []

    def note(*given, checkpoint, **more):
        conditions.append(checkpoint.conditions)
        raise Killed

    monkeypatch.setattr(command, "train", note)
    folder = layout.network("fixed_feature_16", 0)
    for change in (0, 0, 1):
        learner, normalise, meta = load_network(folder)
        learner.load_state_dict({name: value + change for name, value in learner.state_dict().items()})
        save_network(folder, learner, normalise, meta)
        with pytest.raises(Killed):
            train_one(study, "finetune")
    assert conditions[0] == conditions[1] != conditions[2]


def test_a_state_of_other_conditions_is_not_continued(tmp_path, monkeypatch):
    monkeypatch.setattr("baselines.training.checkpoint.SECONDS", -1)
    with pytest.raises(Killed):
        run(learner=killed_after(8, fresh()), resume=tmp_path / "state.pt", conditions="a")
    other, _ = run(resume=tmp_path / "state.pt", conditions="b")
    assert torch.equal(weights(other), weights(run()[0]))


def test_the_log_has_a_row_per_size_and_epoch_and_training_learns():
    log = run(epochs=12)[1].log
    assert [*zip(log["epoch"], log["dim"])] == [(epoch, m) for epoch in range(1, 13) for m in (4, 8)]
    assert log["loss"].iloc[-1] < 0.8 * log["loss"].iloc[0]
    assert log["train_top1"].iloc[-1] > 0.6  # chance is 0.25


def test_a_diverging_run_says_what_to_change():
    with pytest.raises(UserError, match=r"the loss of epoch 1 is .*lower training.learning_rate"):
        run(learning_rate=1e30)


def test_labels_keep_more_than_2048_classes_apart_and_must_be_int64():
    labels = np.array([2047, 2048, 2049, 2050, 4201, 4200, 3000, 3001])
    learner = small.learner("mrl", [4, 8], BACKBONE, classes=4202)

    def fit(labels):
        train(learner, IMAGES[:8], labels, Normalise.of(IMAGES), TRAINING | {"epochs": 1}, 0)

    fit(labels)
    with pytest.raises(TypeError, match="int64, not float16"):
        fit(labels.astype(np.float16))
    with pytest.raises(ValueError, match="7 labels for 8 images"):
        fit(labels[:7])


def test_every_epoch_visits_every_image_once():
    third, fourth = ([*training_rows(40, 8, 0, range(start, start + 5), slice(None))] for start in (15, 20))
    assert sorted(np.concatenate(third)) == list(range(40))
    assert not np.array_equal(third, fourth)


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
    x = Normalise.of(IMAGES)(IMAGES)
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
    monkeypatch.setattr(benchmark, "GEMM_SIDES", {"cpu": (8,)})
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
    benchmark.main([*f"{words} --stored --only".split(), "compute only", "one classifier"])
    few = files.read_json(tmp_path / "a.json")
    assert [row["what"] for row in few["table"]] == ["compute only", "one classifier"] == [*few["rounds"]]
    assert "takes" in capsys.readouterr().out
    with pytest.raises(UserError, match="--images 4 is less than a batch of 8"):
        benchmark.main(["--study", "synthetic", "--images", "4"])


def test_what_nesting_costs_is_compared_round_by_round():
    turns = pd.DataFrame({"compute only": [100.0, 50.0, 80.0], "one classifier": [101.0, 51.0, 80.0]})
    assert "takes +1.0 % [+0.0, +2.0] longer than" in benchmark.nesting_cost(turns)


def test_a_training_may_see_the_first_images_of_every_class_only():
    labels = np.array([1, 0, 1, 1, 0, 0, 1])
    split = SimpleNamespace(images=np.arange(7), labels=labels)
    images, some = training_images(split, {"images_per_class": 2})
    assert images.tolist() == [0, 1, 2, 4] and some.tolist() == [1, 0, 1, 0]
    assert training_images(split, {})[0] is split.images
    with pytest.raises(UserError, match="images_per_class is 4, but a class of train has 3 images only"):
        training_images(split, {"images_per_class": 4})


def test_settings_that_the_images_cannot_give_are_refused():
    check_images(IMAGES, {"batch_size": 40, "augment": {"shift": 15}})
    with pytest.raises(UserError, match="batch_size is 41, but there are 40 images .*: 1 to 40"):
        check_images(IMAGES, {"batch_size": 41})
    with pytest.raises(UserError, match="shift is 16, but the images have 16 pixels.*: 0 to 15"):
        check_images(IMAGES, {"batch_size": 8, "augment": {"shift": 16}})


FREED = """
import resource
import numpy as np
from suite.machine import keep_freed_memory
{call}
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        [np.ones(3 << 17) for _ in range(8)]  # of 768 pages each
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(3)
print(faults(20))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc's")
def test_memory_that_is_freed_is_used_again():
    def faults(call):
        return int(subprocess.check_output([sys.executable, "-c", FREED.format(call=call)], cwd=ROOT))

    assert faults("keep_freed_memory()") < 768 < 20 * 768 < faults("")
