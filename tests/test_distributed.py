"""Several processes train what one trains: two gloo processes on this CPU against none."""

import os
import socket

import numpy as np
import pytest
import small
import torch
import torch.multiprocessing as mp

from baselines.training import checkpoint, compile_loss, loading, train
from baselines.training.batches import Normalise
from baselines.training.distributed import Group, joined
from suite.errors import UserError

BACKBONE = {"name": "small_resnet", "dim": 8, "widths": [4, 8]}
TRAINING = {
    "epochs": 3,
    "batch_size": 12,
    "learning_rate": 0.1,
    "precision": "float32",
    "augment": {"flip": True, "crop": {"side": [12, 16], "ramp": [0, 2], "area": [0.3, 1]}},
}


def losses(group=None, resume=None, stop_at=None, baseline="mrl", compiled=False, **changes):
    """(log, weights) of a short training."""
    torch.set_num_threads(1)
    images, labels = small.bright(48, channels=3)
    learner = small.learner(baseline, [4, 8], BACKBONE, channels=3)
    small.killed_after(stop_at, learner)
    if compiled:
        compile_loss(learner, backend="eager")
    given = images, labels, Normalise.of(images), TRAINING | changes, 0
    trained = train(learner, *given, group=group or Group(), checkpoint=checkpoint.Checkpoint(resume))
    log = trained.log[["epoch", "dim", "loss", "train_top1"]].to_numpy()
    return log, small.weights(learner).numpy()


def process(rank: int, port: int, out) -> None:
    """One of two processes: trains in three ways; the main one saves what it found."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with joined("cpu") as (group, _):
        found = {"common": losses(group), "own_statistics": losses(group, sync_batch_norm=False)}
        checkpoint.SECONDS, checkpoint.AGREE_STEPS = -1, 1
        state = out.with_suffix(".pt")
        with pytest.raises(small.Killed):
            losses(group, state, stop_at=7)  # 4 steps an epoch: within the second
        assert state.exists()
        found["continued"] = losses(group, state)
        found["compiled"] = losses(group, compiled=True)
        with pytest.raises(UserError, match="NestedDropout decides by what one process sees, and 2 would"):
            losses(group, baseline="nested_dropout")
        found["sampled"] = losses(group, baseline="mrl_sampled")
        if group.main:
            np.savez(
                out, **{f"{way}_{i}": part for way, both in found.items() for i, part in enumerate(both)}
            )


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> np.lib.npyio.NpzFile:
    """What two processes found; they start once, since that takes longer than the trainings."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path_factory.mktemp("processes") / "found.npz"
    mp.spawn(process, (port, out), nprocs=2)
    return np.load(out)


def test_two_processes_give_the_loss_curve_of_one(found):
    log, weights = losses()
    np.testing.assert_allclose(found["common_0"], log, rtol=1e-5)
    np.testing.assert_allclose(found["common_1"], weights, rtol=1e-3, atol=1e-4)


def test_compiled_processes_train_alike(found):
    """What dynamo traces must not lose the gradients of sums over processes."""
    np.testing.assert_allclose(found["compiled_0"], found["common_0"], rtol=1e-5)
    np.testing.assert_allclose(found["compiled_1"], found["common_1"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("baseline", ["mrl", "mrl_e", "mrl_sampled"])
def test_a_compiled_loss_is_the_same(baseline):
    """The last one draws sizes at every step: its backbone alone is compiled."""
    compiled = losses(baseline=baseline, compiled=True)
    for found, expected in zip(compiled, losses(baseline=baseline), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_two_killed_processes_continue_to_the_same_curve(found):
    np.testing.assert_allclose(found["continued_0"], found["common_0"], rtol=1e-6)


def test_a_loss_that_leaves_parameters_out_is_averaged_too(found):
    np.testing.assert_allclose(found["sampled_0"][:, 2], losses(baseline="mrl_sampled")[0][:, 2], rtol=1e-5)


def test_without_common_statistics_the_curve_is_another(found):
    assert np.abs(found["own_statistics_0"][:, 2] / losses()[0][:, 2] - 1).max() > 1e-4


def test_a_batch_must_divide_evenly():
    assert Group(1, 3).share(12) == slice(4, 8)
    with pytest.raises(UserError, match="batch of 10 images cannot be divided evenly among 3"):
        Group(0, 3).share(10)


@pytest.mark.parametrize("source", [loading.read_now, loading.resident, loading.read_ahead])
def test_batches_are_the_same_however_they_are_read(source, tmp_path):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), np.uint8))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    rng = np.random.default_rng(1)
    selections = [np.sort(rng.choice(50, 9, replace=False)) for _ in range(12)] + [slice(40, 50), slice(0, 3)]
    found = list(source(images, iter(selections), *(["cpu"] if source is not loading.read_now else [])))
    assert len(found) == len(selections)
    for (rows, batch), asked in zip(found, selections):
        assert rows is asked
        np.testing.assert_array_equal(batch.numpy(), images[asked])


def test_rows_of_a_mirrored_view_are_copied_and_the_view_is_not():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), np.uint8)
    mirrored, rows, out = images[:, :, ::-1], np.array([3, 40, 7]), np.empty((3, 4, 5, 3), np.uint8)
    loading.copy(mirrored, rows, out)
    np.testing.assert_array_equal(out, mirrored[rows])
