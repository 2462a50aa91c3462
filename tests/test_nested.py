"""The nested objective against plain loops, and the identities that tie the methods together."""

import numpy as np
import pytest
import small
import torch
from torch.nn import functional as F

from baselines.nested import TiedHead, nested_loss, prefix
from suite.errors import UserError

SIZES = (2, 4, 8)
CLASSES, N = 5, 7
BACKBONE = {"name": "small_resnet", "dim": 8, "widths": [4, 4]}
RNG = np.random.default_rng(0)


def learner(name, sizes=SIZES, **options):
    return small.learner(name, sizes, BACKBONE, classes=CLASSES, **options).double()


def batch():
    images, labels = small.bright(N)
    return torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255, torch.from_numpy(labels)


def gradients(loss, model):
    return torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


def plain_loss(model, images, labels, weights):
    """Written out: for each example and size, cross-entropy with smoothed targets."""
    z = model.backbone(images)
    target = torch.full((N, CLASSES), 0.1 / CLASSES, dtype=torch.float64)
    target[torch.arange(N), labels] += 0.9
    total = 0
    for m, c in zip(SIZES, weights):
        weight, bias = model.head.linear(m)
        for i in range(N):
            scores = torch.stack([(weight[k] * z[i, :m]).sum() + bias[k] for k in range(CLASSES)])
            total = total - c * (target[i] * torch.log_softmax(scores, 0)).sum() / N
    return total


@pytest.mark.parametrize("name", ["mrl", "mrl_e"])
@pytest.mark.parametrize("weights", [None, [2.0, 1.5, 1.0], [0.0, 1.0, 0.5]])
def test_loss_and_gradients_equal_a_plain_loop(name, weights):
    model = learner(name, loss_weights=weights)
    images, labels = batch()
    loss, _ = model.loss(images, labels, 0.1, RNG)
    expected = plain_loss(model, images, labels, weights or [1, 1, 1])
    assert abs(loss - expected) < 1e-10
    for ours, theirs in zip(gradients(loss, model), gradients(expected, model)):
        if theirs is None or ours is None:  # a head of weight 0 may be left out of either graph
            assert all(g is None or not g.any() for g in (ours, theirs))
        else:
            assert (ours - theirs).abs().max() < 1e-10


@pytest.mark.parametrize("name", ["mrl", "mrl_e"])
def test_weights_are_scaled_to_a_total(name):
    images, labels = batch()
    for given, scaled in ((None, [2, 2, 2]), ([2.0, 1.0, 1.0], [3, 1.5, 1.5])):
        model = learner(name, loss_weights=given, loss_total=6)
        loss, _ = model.loss(images, labels, 0.1, RNG)
        assert abs(loss - plain_loss(model, images, labels, scaled)) < 1e-10
    for total in (0, -1, "6", float("nan")):
        with pytest.raises(UserError, match=f"loss_total: {total!r} is "):
            learner(name, loss_total=total)


def test_sizes_of_the_tied_head_are_slices():
    head = TiedHead(CLASSES, SIZES)
    weight, bias = head.linear(4)
    assert weight.data_ptr() == head.weight.data_ptr() and torch.equal(weight, head.weight[:, :4])
    assert bias is head.bias


def test_one_hot_weights_give_the_fixed_feature_loss():
    nested = learner("mrl", loss_weights=[0, 1, 0])
    fixed = learner("fixed_feature", sizes=(4,))
    fixed.backbone.load_state_dict(nested.backbone.state_dict())
    fixed.head["4"].load_state_dict(nested.head["4"].state_dict())
    images, labels = batch()
    ours, theirs = (model.loss(images, labels, 0.1, RNG)[0] for model in (nested, fixed))
    assert torch.equal(ours, theirs)
    for p, q in zip(gradients(ours, nested.backbone), gradients(theirs, fixed.backbone)):
        assert torch.equal(p, q)


def test_the_objective_takes_any_criterion():
    z = torch.randn(6, 8, dtype=torch.float64)
    target = torch.randn(6, 8, dtype=torch.float64)
    value = nested_loss(lambda m: F.mse_loss(prefix(z, m), prefix(target, m)), SIZES, [1, 2, 3])
    expected = sum(c * ((z[:, :m] - target[:, :m]) ** 2).mean() for m, c in zip(SIZES, (1, 2, 3)))
    assert abs(value - expected) < 1e-12


def test_sizes_of_weight_zero_are_not_computed():
    asked = []
    nested_loss(lambda m: asked.append(m) or torch.ones(()), SIZES, [0, 1, 0])
    assert asked == [4]


def test_a_prefix_longer_than_the_embedding_is_refused():
    with pytest.raises(UserError, match="a prefix of 16 dimensions was asked of an embedding of 8"):
        prefix(torch.zeros(2, 8), 16)
