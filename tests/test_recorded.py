"""Recorded training steps: they compute what the same steps do one by one."""

import numpy as np
import pandas as pd
import pytest
import small
import torch
from small import weights

from baselines.training import DEFAULTS, fitting_precision, make_optimiser, recorded, resolve_precision, train
from baselines.training.batches import Normalise
from baselines.training.checkpoint import Checkpoint
from baselines.training.distributed import Group
from baselines.training.recorded import recordable, undone
from suite.errors import UserError

BACKBONE = {"name": "small_resnet", "dim": 8, "widths": [4, 8]}
TRAINING = {"epochs": 3, "batch_size": 8, "learning_rate": 0.1, "precision": "float32"}
TRAINING |= {"augment": {"shift": 1, "flip": True}}
IMAGES, LABELS = small.bright(40)


def trained(method="mrl", device="cpu", **changes):
    learner = small.learner(method, [4, 8], BACKBONE)
    log = train(learner, IMAGES, LABELS, Normalise.of(IMAGES), TRAINING | changes, 0, device=device).log
    return weights(learner.cpu()), log.drop(columns="seconds")


@pytest.mark.parametrize("method", ["mrl", "slimmable"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augment": {"crop": {"side": [12]}, "flip": True}},
        {"augment": {}, "head_rate": 4},
        {"optimizer": "adamw", "learning_rate": 0.01},
    ],
)
def test_replayed_steps_are_the_steps_one_by_one(method, changes, monkeypatch):
    plain, log = trained(method, **changes)
    taken = []

    def as_it_is(step, state, optimiser):  # in place of a graph, which takes a GPU
        undone(step, state, optimiser, 3)
        return lambda: taken.append(step())

    monkeypatch.setattr(recorded, "AHEAD", 4)  # 15 steps: the last part is shorter
    monkeypatch.setattr(recorded, "graph_of", as_it_is)
    monkeypatch.setattr("baselines.training.recordable", lambda *given: True)
    again, its_log = trained(method, **changes)
    assert len(taken) == 15
    torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-5)  # rates are float32 there
    pd.testing.assert_frame_equal(its_log, log, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", ["mrl", "mrl_e", "slimmable"])
@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "learning_rate": 0.01}])
def test_a_gpu_computes_the_same_from_a_recording(method, changes):
    plain, log = trained(method, "cuda", recorded=False, **changes)
    again, its_log = trained(method, "cuda", **changes)
    torch.testing.assert_close(again, plain, rtol=1e-2, atol=1e-3)
    pd.testing.assert_frame_equal(its_log, log, rtol=1e-2)


def test_what_is_undone_leaves_nothing_behind():
    learner = small.learner("mrl", [4, 8], BACKBONE)
    optimiser, x = make_optimiser(learner, DEFAULTS | TRAINING), Normalise.of(IMAGES)(IMAGES)
    before = {name: value.clone() for name, value in learner.state_dict().items()}

    def step():
        learner.loss(x, torch.from_numpy(LABELS), 0.1, None)[0].backward()
        optimiser.step()

    undone(step, [*learner.state_dict().values()], optimiser, 2)
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert all(not kept["momentum_buffer"].any() for kept in optimiser.state.values())
    assert all(parameter.grad is None for parameter in learner.parameters())


def test_steps_that_differ_are_not_recorded():
    settings = DEFAULTS | TRAINING

    def can(method="mrl", images=IMAGES, device="cuda", processes=1, **changes):
        options = {"window": 0} if method == "nested_dropout" else {}
        learner = small.learner(method, [4, 8], BACKBONE, **options)
        return recordable(learner, images, settings | changes, device, processes)

    assert can() and can("mrl_e") and can("slimmable") and can("fixed_feature")
    assert not can("nested_dropout") and not can("mrl_sampled")  # they draw
    assert (
        not can(device="cpu") and not can(processes=2) and not can(compile=True) and not can(recorded=False)
    )
    assert can(augment={"crop": {"side": [12]}}) and not can(augment={"crop": {"side": [8, 12]}})
    assert not can(images=np.broadcast_to(np.uint8(0), (1 << 21, 64, 64, 1)))  # 8 GB


def test_a_step_that_cannot_be_recorded_says_what_to_set(monkeypatch):
    def refuse(*given):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "Stream", refuse)
    with pytest.raises(UserError, match=r"could not be recorded \(operation not.*training.recorded: false"):
        recorded.graph_of(lambda: None, [], None)


def test_what_was_trained_on_a_gpu_is_read_without_one(tmp_path, monkeypatch):
    learner, checkpoint = small.learner("mrl", [4, 8], BACKBONE), Checkpoint(tmp_path / "state.pt", "same")
    checkpoint.resume({"learner": learner}, Group())
    with monkeypatch.context() as patch:  # the file says where its values lay
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        checkpoint.save(7, 1.5)
    fresh = small.learner("mrl", [4, 8], BACKBONE, seed=1)
    assert Checkpoint(checkpoint.path, "same").resume({"learner": fresh}, Group()) == (7, 1.5)
    assert torch.equal(weights(fresh), weights(learner))


def test_what_bfloat16_trained_is_computed_in_float32_where_that_is_imitated(monkeypatch):
    for native in ({}, {"avx512_bf16": True}, {"amx_bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda native=native: native)
        fitting = "bfloat16" if native else "float32"
        assert fitting_precision("bfloat16", "cpu") == resolve_precision("auto", "cpu") == fitting
        assert fitting_precision("float32", "cpu") == "float32"
        assert resolve_precision("bfloat16", "cpu") == "bfloat16"  # asked for
