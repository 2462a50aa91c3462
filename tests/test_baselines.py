"""Every registered method keeps its contract; the identities that tie the learned alternatives to MRL."""

import copy
from unittest.mock import Mock

import numpy as np
import pytest
import small
import torch
from torch import nn
from torch.nn import functional as F

from baselines.backbones import build_backbone, small_resnet
from baselines.backbones.small_resnet import PointwiseConv2d, spatial_mean
from baselines.nested import logits
from baselines.nested_dropout import draw_prefix
from baselines.slimmable import scaled
from baselines.slimming import Slimmable, SwitchableBatchNorm2d
from baselines.training import descend, train
from baselines.training.batches import Normalise
from baselines.training.networks import macs_per_image
from suite.contracts import METHOD
from suite.errors import UserError

SIZES = [4, 8, 16]
CLASSES = 4
BACKBONE = {"name": "small_resnet", "dim": 16, "widths": [8, 16]}

# Methods that learn from something else than labelled images, or are restored from files: tested elsewhere.
OTHER_INPUT = {"masked_lm", "masked_lm_fixed"}
REGISTERED = {name: METHOD.facts(name) for name in METHOD.names()}
TRAINED = [
    (name, {})
    for name, facts in REGISTERED.items()
    if facts.KIND == "trained" and name not in OTHER_INPUT and not facts.READY and not facts.NEEDS
]
VARIANTS = [
    ("slimmable", {"variant": "fair"}),
    *(("finetune", {"unfreeze": depth}) for depth in ("expand", "conv2", "block", "all")),
]


def learner(name, sizes=None, seed=0, backbone=BACKBONE, **options):
    sizes = sizes or ([8] if REGISTERED[name].NETWORK_PER_SIZE else SIZES)
    return small.learner(name, sizes, backbone, seed=seed, **options)


def batch(dtype=torch.float32):
    images, labels = small.bright()
    return Normalise.of(images)(images).to(dtype), torch.from_numpy(labels)


def fit(model, images, labels, **settings):
    settings = {"learning_rate": 0.1, "precision": "float32"} | settings
    return train(model, images, labels, Normalise.of(images), settings, 0).log


def step_rng(step=0):
    return np.random.default_rng([0, step, 2])


# --- contracts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), TRAINED + VARIANTS)
def test_a_trained_method_learns_and_serves_every_size(name, options):
    model = learner(name, **options)
    images, labels = batch()
    model.train()
    _, by_size = model.loss(images, labels, 0.1, step_rng())
    assert {m: tuple(z.shape) for m, z in by_size.items()} == {m: (len(labels), CLASSES) for m in model.sizes}

    before = small.weights(model)
    log = fit(model, *small.bright(), epochs=12, batch_size=16)
    assert np.isfinite(log["loss"]).all()
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]
    assert not torch.equal(before, small.weights(model))

    with torch.inference_mode():
        features = model.features(images)
    assert torch.isfinite(features).all()
    served = [m for view in model.views for m in view.sizes]
    assert sorted(served) == list(model.sizes)
    for view in model.views:
        assert view.stop <= features.shape[1]
        for m in view.sizes:
            weight, bias = model.classifier(m)
            assert (tuple(weight.shape), tuple(bias.shape)) == ((CLASSES, m), (CLASSES,))
            with torch.inference_mode():
                scores = features[:, view.start : view.start + m] @ weight.T + bias
            # Brightness alone tells the classes: what serves the largest size has learned it.
            if m == max(model.sizes) and name != "finetune":
                assert (scores.argmax(1) == labels).float().mean() > 0.7

    cost = macs_per_image(model, torch.zeros(2, 1, 16, 16))
    assert set(cost["macs"]) == {str(m) for m in model.sizes}
    together = sum(cost["macs"].values()) if model.forwards > 1 else max(cost["macs"].values())
    assert cost["macs_all_sizes"] == together
    assert cost["macs_training"] > cost["macs"][str(max(model.sizes))]


def test_multiply_accumulates_are_counted_where_the_network_ends_in_one_position():
    model = learner("mrl", backbone={"name": "small_resnet", "dim": 16, "widths": [4, 4, 4]}).train()
    # One image of 8 × 8 ends as 1 × 1: in training mode its batch norm would have a single value.
    assert macs_per_image(model, torch.zeros(2, 1, 8, 8))["macs"].keys() == {"4", "8", "16"}
    assert model.training


@pytest.mark.parametrize(
    ("name", "count"),  # 4 classes, sizes 4, 8, 16
    [("mrl", 4 * (4 + 8 + 16) + 3 * 4), ("mrl_e", 4 * 16 + 4), ("fixed_feature", 4 * 8 + 4)],
)
def test_the_classifiers_of_all_sizes_count_what_they_share_once(name, count):
    assert learner(name).classifier_parameters == count


# --- one size per step ----------------------------------------------------------------------------------


def test_the_expected_gradient_of_one_size_per_step_is_that_of_mrl_e_over_its_number_of_sizes():
    sampled, tied = learner("mrl_sampled").double(), learner("mrl_e").double()
    tied.load_state_dict(sampled.state_dict())
    images, labels = batch(torch.float64)
    for m in SIZES:  # every outcome of the draw, each with probability 1 / |M|
        rng = Mock(**{"choice.return_value": m})
        sampled.loss(images, labels, 0.1, rng)[0].backward()
        rng.choice.assert_called_once_with(tuple(SIZES))
    tied.loss(images, labels, 0.1, step_rng())[0].backward()
    for ours, theirs in zip(sampled.parameters(), tied.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


# --- slimmable ------------------------------------------------------------------------------------------


def slim(widths=(0.25, 0.5, 1.0)):
    torch.manual_seed(0)
    return Slimmable(build_backbone(BACKBONE, 1), widths, scaled)


def test_a_slimmable_network_at_full_width_is_the_plain_network():
    torch.manual_seed(0)
    plain = build_backbone(BACKBONE, 1)
    for norm in (module for module in plain.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            values.uniform_(0.5, 2)  # as after training: widths start from the norms they are given
    slimmable = Slimmable(copy.deepcopy(plain), (0.25, 0.5, 1.0), scaled)
    images, _ = batch()
    assert torch.equal(slimmable.eval()(images), plain.eval()(images))
    for mode in (True, False):  # in training mode the running statistics move, then evaluation uses them
        plain.train(mode), slimmable.train(mode)
        assert torch.equal(slimmable(images), plain(images))
        assert torch.equal(slimmable(images, 2), plain(images))


def test_a_narrow_network_is_made_of_the_leading_filters():
    slimmable = slim((0.5, 1.0)).eval()
    torch.manual_seed(1)
    narrow = build_backbone({"name": "small_resnet", "dim": 8, "widths": [4, 8]}, 1).eval()
    wide = dict(slimmable.backbone.named_parameters())
    for name, parameter in narrow.named_parameters():
        if parameter.ndim == 4:
            parameter.data = wide[name].data[: parameter.shape[0], : parameter.shape[1]]
    images, _ = batch()
    assert slimmable(images, 0).shape == (len(images), 8)
    torch.testing.assert_close(slimmable(images, 0), narrow(images))


def test_each_width_has_batch_norm_statistics_of_its_own():
    slimmable = slim().train()
    images, _ = batch()
    norms = [module for module in slimmable.modules() if isinstance(module, SwitchableBatchNorm2d)]
    untouched = [norm[2].running_mean.clone() for norm in norms]
    slimmable(images, 0), slimmable(images, 1)
    for norm, full in zip(norms, untouched):
        assert torch.equal(norm[2].running_mean, full)  # the width that did not run
        narrow, half = norm[0].running_mean, norm[1].running_mean
        assert len(narrow) < len(half) < len(full)
        assert not torch.equal(narrow, torch.zeros_like(narrow))
        assert not torch.allclose(narrow, half[: len(narrow)]) or norm is norms[0]  # the stem sees the image
        assert norm[0].weight is not norm[1].weight


@pytest.mark.parametrize("variant", ["paper", "fair"])
def test_slimmable_adds_up_the_gradients_of_all_widths(variant):
    model = learner("slimmable", variant=variant).double()
    images, labels = batch(torch.float64)
    loss, _ = model.loss(images, labels, 0.1, step_rng())
    apart = 0
    for width in range(len(model.backbone.widths)):
        z = model.backbone(images, width)
        scores = z @ model.head.weight[:, : z.shape[1]].T + model.head.bias
        apart = apart + F.cross_entropy(scores, labels, label_smoothing=0.1)
    torch.testing.assert_close(loss, apart, rtol=1e-10, atol=1e-12)


def test_the_fair_variant_has_a_sub_network_with_exactly_each_size():
    model = learner("slimmable", variant="fair").eval()
    images, _ = batch()
    features = model.features(images)
    assert features.shape == (len(images), sum(SIZES))
    assert model.forwards == len(SIZES) and not any(view.nested for view in model.views)
    for view in model.views:
        (m,) = view.sizes
        own = model.features_at(images, m)
        assert own.shape == (len(images), m)
        assert torch.equal(features[:, view.start : view.stop], own)
    macs = macs_per_image(model, images[:2])["macs"]
    assert macs["4"] < macs["8"] < macs["16"]


INNER = [  # backbones with layers inside that are as wide as their features
    ({"name": "small_resnet", "dim": 16, "widths": [8, 16]}, "stages.1.conv1", "expand.0"),
    (
        {"name": "resnet18", "dim": 512, "stem": "small", "blur_pool": True},
        "layer4.1.conv1",
        "layer4.1.conv2",
    ),
]


@pytest.mark.parametrize(("backbone", "inner", "last"), INNER, ids=["small_resnet", "resnet18"])
def test_the_fair_variant_cuts_the_features_to_a_size_and_no_layer_inside(backbone, inner, last):
    dim = backbone["dim"]
    sizes = [dim // 64 or 1, dim]
    model = learner("slimmable", sizes=sizes, backbone=backbone, variant="fair", thinnest=0.25).eval()
    network = getattr(model.backbone.backbone, "network", model.backbone.backbone)
    assert network.get_submodule(inner).outputs == (dim // 4, dim)  # √(1/64) is below `thinnest`
    assert network.get_submodule(last).outputs == tuple(sizes)
    with torch.inference_mode():
        assert model.features(torch.rand(2, 1, 16, 16)).shape == (2, sum(sizes))


def test_the_paper_variant_truncates_the_widest_network():
    model = learner("slimmable").eval()
    images, _ = batch()
    assert torch.equal(model.features(images), model.backbone(images, len(model.backbone.widths) - 1))
    weight, _ = model.classifier(4)
    assert torch.equal(weight, model.head.weight[:, :4])


def test_what_cannot_be_slimmed_says_so():
    for layer in (nn.Linear(4, 4), nn.Conv2d(4, 4, 3, groups=2)):
        backbone = nn.Sequential(layer)
        backbone.dim = 4
        with pytest.raises(UserError, match="another backbone"):
            Slimmable(backbone, (0.5, 1.0), scaled)


# --- nested dropout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rho", "longest"), [(0.5, 6), (0.9, 16), (0.99, 5)])
def test_prefixes_are_drawn_from_the_truncated_geometric_distribution(rho, longest):
    n = 200_000
    drawn = draw_prefix(np.random.default_rng(0), n, rho, torch.tensor(longest)).numpy()
    share = np.bincount(drawn, minlength=longest + 1)[1:] / n
    expected = rho ** np.arange(longest) * (1 - rho)
    expected /= expected.sum()
    assert drawn.min() == 1 and drawn.max() == longest
    np.testing.assert_allclose(share, expected, atol=5 * np.sqrt(0.25 / n))


def test_nested_dropout_is_the_loss_of_masked_embeddings():
    model = learner("nested_dropout", rho=0.8, window=0).double()
    images, labels = batch(torch.float64)
    loss, _ = model.loss(images, labels, 0.1, step_rng())
    lengths = draw_prefix(step_rng(), len(labels), 0.8, torch.tensor(16))
    examples = zip(model.backbone(images), lengths.tolist())
    scores = torch.stack([logits(model.head, z, b) for z, b in examples])
    expected = F.cross_entropy(scores, labels, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)


def test_unit_sweeping_freezes_the_prefix_and_nothing_else():
    # With this tolerance the loss has converged at every second step.
    model = learner("nested_dropout", rho=0.9, window=1, tolerance=2.0).train()
    images, labels = batch()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)

    def step(number):
        descend(optimiser, model.loss(images, labels, 0.1, step_rng(number))[0])
        model.after_step(number, 100)

    number = 0
    while int(model.swept) < 3:
        step(number := number + 1)
        assert number < 20
    model.tolerance = -1.0  # freeze nothing more
    step(number + 1)
    kept = {place: parameter.detach().clone() for place, (parameter, _) in enumerate(model.rows())}
    trunk = model.backbone.stem[0].weight.detach().clone()
    for extra in range(3):  # momentum and weight decay would move them even without a gradient
        step(number + 2 + extra)
    for place, (parameter, axis) in enumerate(model.rows()):
        front, behind = parameter.narrow(axis, 0, 3), parameter.narrow(axis, 3, 13)
        assert torch.equal(parameter.grad.narrow(axis, 0, 3), torch.zeros_like(front))
        assert torch.equal(front, kept[place].narrow(axis, 0, 3))
        assert parameter.grad.narrow(axis, 3, 13).abs().sum() > 0
        assert not torch.equal(behind, kept[place].narrow(axis, 3, 13))
    assert not torch.equal(model.backbone.stem[0].weight, trunk)
    assert {parameter.shape[axis] for parameter, axis in model.rows()} == {16}
    kept_on = {"swept", "window_loss", "previous_loss", *(f"kept_{place}" for place in kept)}
    assert kept_on <= model.state_dict().keys()  # an unfinished run goes on with them


def test_frozen_units_are_always_part_of_the_prefix():
    model = learner("nested_dropout", rho=0.5).train()
    model.swept.fill_(6)
    lengths = []
    model.truncated_loss = lambda z, length, *rest: lengths.append(length) or z.sum()
    model.loss(*batch(), 0.1, step_rng())
    assert int(lengths[0].min()) == 7 and int(lengths[0].max()) <= 16


def test_sweeping_waits_while_the_loss_still_falls():
    model = learner("nested_dropout", window=2, tolerance=0.01)
    history = []
    for step, loss in enumerate([4.0, 4.0, 3.0, 3.0, 2.995, 2.995, 1.0, 1.0], 1):
        model.window_loss += loss
        model.after_step(step, 8)
        history.append(int(model.swept))
    # Windows: 4.0, 3.0 (falls), 2.995 (converged: unit 1 is frozen), 1.0 (the next prefix's first).
    assert history == [0, 0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nested_dropout", {"rho": 0.0}, "rho: 0.0 is less than or equal to the minimum of 0"),
        ("nested_dropout", {"rho": 1.0}, "rho: 1.0 is greater than or equal to the maximum of 1"),
        ("nested_dropout", {"rho": "0.9"}, "rho: '0.9' is text; a number is written without quotes"),
        ("nested_dropout", {"window": -1}, "window: -1 is less than the minimum of 0"),
        ("nested_dropout", {"tolerance": "a"}, "tolerance: 'a' is not of type 'number'"),
        ("slimmable", {"widths": [0.5, 2]}, "widths.1: 2 is greater than the maximum of 1"),
        ("slimmable", {"widths": []}, r"widths: \[\] should be non-empty"),
        ("slimmable", {"widths": [0.5, 0.25, 1]}, "must increase and end with 1"),
        ("slimmable", {"variant": "fair", "thinnest": 2}, "thinnest: 2 is greater than the maximum of 1"),
        ("slimmable", {"variant": "fast"}, "'fast' is not one of"),
        ("finetune", {"unfreeze": "expend"}, "expend.*expand"),
        ("mrl", {"loss_weights": [1, 1]}, "2 values for 3 sizes"),
        ("mrl", {"loss_weights": [1, -1, 1]}, "loss_weights.1: -1 is less than the minimum of 0"),
        ("mrl", {"loss_weights": [0, 0, 0]}, "does not contain items matching"),
        ("mrl", {"loss_weights": 2}, "loss_weights: 2 is not of type 'array'"),
        ("mrl", {"loss_weights": [2, "x", 1]}, "loss_weights.1: 'x' is not of type 'number'"),
        ("mrl_e", {"loss_weights": [1, float("nan"), 1]}, "loss_weights.1: nan is not of type 'number'"),
        ("masked_lm", {"masked": "0.15"}, "masked: '0.15' is text"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        learner(name, **options)


# --- fine-tuning --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unfreeze", ["head", "expand", "conv2", "block", "all"])
def test_fine_tuning_moves_what_it_unfreezes_and_nothing_else(unfreeze):
    first, model = learner("fixed_feature", sizes=[16]), learner("finetune", unfreeze=unfreeze, seed=1)
    model.start_from(first)
    for name, value in first.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value)
    fit(model, *small.bright(), epochs=1, batch_size=32)
    free = {
        "head": (),
        "expand": ("expand.",),
        "conv2": ("expand.", "stages.1.conv2", "stages.1.norm2"),
        "block": ("expand.", "stages.1."),
        "all": ("",),
    }[unfreeze]
    for name, value in first.backbone.state_dict().items():  # running statistics of batch norm among them
        moved = not torch.equal(model.backbone.state_dict()[name], value)
        assert moved == (free != () and name.startswith(free)), name


# --- the backbone of the small studies ---------------------------------------------------------------------


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_mean_over_positions_does_not_depend_on_layout_and_is_never_bfloat16(layout, dtype):
    x = torch.randn(5, 8, 3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    x = x.contiguous(memory_format=layout).requires_grad_()
    pooled = spatial_mean(x)
    assert pooled.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(pooled.double(), x.double().mean((2, 3)), rtol=1e-5, atol=1e-6)
    pooled.sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 1 / 12))


@pytest.mark.parametrize("bias", [False, True])
def test_a_strided_pointwise_convolution_of_few_channels_is_right_where_channels_lie_last(bias):
    """F.conv2d itself is not: with AVX2 alone its backward pass writes past its memory."""
    rng = torch.Generator().manual_seed(0)
    conv = PointwiseConv2d(4, 8, 1, 2, bias=bias)
    x = torch.randn(16, 4, 9, 7, generator=rng)  # of odd sides the last position is used
    gradient = torch.randn(16, 8, 5, 4, generator=rng)
    given = x.to(memory_format=torch.channels_last).requires_grad_()
    out = conv.to(memory_format=torch.channels_last)(given)
    out.backward(gradient.to(memory_format=torch.channels_last))

    exact, twin = x.double().requires_grad_(), copy.deepcopy(conv).double()
    twin.zero_grad()
    kept = exact[:, :, ::2, ::2].permute(0, 2, 3, 1)
    expected = F.linear(kept, twin.weight[:, :, 0, 0], twin.bias).permute(0, 3, 1, 2)
    expected.backward(gradient.double())
    grads = ((ours.grad, theirs.grad) for ours, theirs in zip(conv.parameters(), twin.parameters()))
    for ours, theirs in ((out, expected), (given.grad, exact.grad), *grads):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-4 if ours.ndim == 1 else 1e-5)


def test_no_strided_pointwise_convolution_of_few_channels_reaches_torch(monkeypatch):
    """Of the slimmable network of the glyphs, whose narrow widths have them, in a whole step of training."""
    seen, plain = [], F.conv2d

    def watched(x, weight, bias, stride, *rest):
        seen.append((weight.shape[2:] == (1, 1) and max(stride) > 1, x.shape[1]))
        return plain(x, weight, bias, stride, *rest)

    monkeypatch.setattr(small_resnet.F, "conv2d", watched)
    backbone = {"name": "small_resnet", "dim": 256, "widths": [16, 32, 64]}
    model = learner("slimmable", sizes=[8, 256], backbone=backbone)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (128, 32, 32, 1), np.uint8), rng.integers(0, CLASSES, 128)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    log = fit(model, images, labels, epochs=1, batch_size=128)
    assert np.isfinite(log["loss"]).all()
    assert all(torch.isfinite(value).all() for value in model.parameters())
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert {channels for strided, channels in seen if not strided} >= {4, 8, 16, 32, 64}
    assert min((channels for strided, channels in seen if strided), default=16) >= 16
