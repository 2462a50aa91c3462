"""The reference's checkpoints, in every layout they come in, give the logits of the reference's formulas."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from baselines import released, released_fixed_feature
from baselines.backbones import build_backbone
from baselines.backbones.resnet import read_state_dict
from baselines.training.networks import build_learner
from suite.errors import UserError

SIZES, CLASSES, DIM = (8, 64, 2048), 7, 2048
BACKBONE = {"name": "resnet50", "dim": DIM, "blur_pool": True}


def head_weights(layout: str, rng: torch.Generator) -> dict[str, torch.Tensor]:
    """Random classifiers under the names of a layout."""

    def linear(name: str, m: int) -> dict[str, torch.Tensor]:
        weight = torch.randn(CLASSES, m, generator=rng)
        return {f"fc.{name}weight": weight, f"fc.{name}bias": torch.randn(CLASSES, generator=rng)}

    if layout == "mrl":
        parts = [linear(f"nesting_classifier_{i}.", m) for i, m in enumerate(SIZES)]
        return {name: value for part in parts for name, value in part.items()}
    if layout == "mrl_e":
        return linear("nesting_classifier_0.", DIM)
    return linear("", {"mrl_e_old": DIM, "ff8": 8, "ff2048": DIM}[layout])


@pytest.fixture(scope="module")
def trunk() -> dict[str, torch.Tensor]:
    """A torchvision ResNet50 with random weights and statistics, under the reference's names."""
    torch.manual_seed(0)
    network = torchvision.models.resnet50()
    network.fc = nn.Identity()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            layer.weight.data.uniform_(0.5, 1)
    found = {}
    for name, value in network.state_dict().items():
        place = name.removesuffix(".weight")
        strided = place in {f"layer{i}.0.{part}" for i in (2, 3, 4) for part in ("conv2", "downsample.0")}
        found[f"{place}.conv.weight" if strided else name] = value
        if strided:
            blur = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
            found[f"{place}.blur_filter"] = blur.expand(value.shape[1], 1, 3, 3).clone()
    return found


def reference_features(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """ResNet50 with blurred strides, written as formulas on the state dict: [n, 2048]."""

    def norm(name, x):
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(weights[f"{name}.{part}"] for part in parts))

    def conv(name, x, stride=1, padding=0):
        if f"{name}.blur_filter" in weights:
            x = F.conv2d(x, weights[f"{name}.blur_filter"], padding=1, groups=x.shape[1])
            name = f"{name}.conv"
        return F.conv2d(x, weights[f"{name}.weight"], stride=stride, padding=padding)

    x = F.relu(norm("bn1", conv("conv1", x, 2, 3)))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(norm(f"{name}.bn1", conv(f"{name}.conv1", x)))
            y = F.relu(norm(f"{name}.bn2", conv(f"{name}.conv2", y, stride, 1)))
            y = norm(f"{name}.bn3", conv(f"{name}.conv3", y))
            if block == 0:
                x = norm(f"{name}.downsample.1", conv(f"{name}.downsample.0", x, stride))
            x = F.relu(y + x)
    return x.mean((2, 3))


def saved(folder, name: str, weights: dict[str, torch.Tensor]) -> str:
    """A checkpoint as the reference saves it: every name behind `module.`."""
    torch.save({f"module.{key}": value for key, value in weights.items()}, folder / name)
    return str(folder / name)


@pytest.mark.parametrize(
    ("layout", "name", "sizes"),
    [
        ("mrl", "r50_mrl1_e0_ff2048.pt", SIZES),
        ("mrl", "mine.pt", SIZES),
        ("mrl_e", "r50_mrl1_e1_ff2048.pt", SIZES),
        ("mrl_e_old", "r50_mrl1_e1_ff2048.pt", SIZES),
        ("ff8", "r50_mrl0_e0_ff8.pt", (8,)),
        ("ff2048", "r50_mrl0_e0_ff2048.pt", (2048,)),
    ],
)
def test_a_checkpoint_gives_the_logits_of_the_reference(layout, name, sizes, trunk, tmp_path):
    heads = head_weights(layout, torch.Generator().manual_seed(1))
    path = saved(tmp_path, name, trunk | heads)
    method = "released_fixed_feature" if layout.startswith("ff") else "released"
    options = {"path": path.replace("ff8", "ff{m}").replace("ff2048", "ff{m}")}
    if method == "released":
        options = {"path": path, "layout": None}
    settings = {"backbone": BACKBONE, "baseline": method, "options": options, "sizes": list(sizes)}
    learner = build_learner(settings, CLASSES, 3, 0).eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        z = reference_features(trunk, x)
        found = learner.features(x)
        np.testing.assert_allclose(found, z, rtol=1e-3, atol=1e-4)
        for i, m in enumerate(sizes):
            number = f"nesting_classifier_{i if layout == 'mrl' else 0}."
            number = number if f"fc.{number}weight" in heads else ""
            weight, bias = heads[f"fc.{number}weight"], heads[f"fc.{number}bias"]
            expected = z[:, :m] @ weight[:, :m].T + bias
            own_weight, own_bias = learner.classifier(m)
            np.testing.assert_allclose(found[:, :m] @ own_weight.T + own_bias, expected, rtol=1e-3, atol=1e-3)


def build(path, sizes=SIZES, layout=None, backbone=BACKBONE):
    return released.build(build_backbone(backbone, 3), CLASSES, sizes, {"path": path, "layout": layout})


def test_a_wrong_checkpoint_says_what_is_wrong(trunk, tmp_path):
    rng = torch.Generator().manual_seed(1)
    mrl = saved(tmp_path, "r50_mrl1_e0_ff2048.pt", trunk | head_weights("mrl", rng))
    old = saved(tmp_path, "other.pt", trunk | head_weights("mrl_e_old", rng))
    part = {name: value for name, value in trunk.items() if not name.startswith("layer4.2")}
    cut = saved(tmp_path, "cut.pt", part | head_weights("mrl", rng))
    headless = saved(tmp_path, "trunk.pt", trunk)
    (tmp_path / "text.pt").write_text("no checkpoint")
    assert build(old, layout="mrl_e").sizes == SIZES
    for message, path, given in (
        (r"classifiers are 7×8, 7×64, 7×2048 .* needs 7×8, 7×16", mrl, {"sizes": (8, 16)}),
        (r"blurred strides: set backbone.blur_pool", mrl, {"backbone": BACKBONE | {"blur_pool": False}}),
        (r"unknown layout of a checkpoint 'mrle' \(did you mean 'mrl_e'", mrl, {"layout": "mrle"}),
        ("may be MRL-E or a fixed feature of full size", old, {}),
        (r"cut.pt does not fit the network: 15 missing \(layer4.2.conv1.weight", cut, {"layout": "mrl"}),
        ("has no classifier", headless, {}),
        ("cannot be read as a checkpoint", tmp_path / "text.pt", {}),
        ("no checkpoint", tmp_path / "absent.pt", {}),
    ):
        with pytest.raises(UserError, match=message):
            build(path, **given)
    with pytest.raises(UserError, match=r"it needs \{m\} for the size"):
        released_fixed_feature.build(None, CLASSES, (8,), {"path": mrl})


LINEAR = {"layer.weight": torch.ones(2, 2), "layer.bias": torch.zeros(2)}


@pytest.mark.parametrize(
    "wrapped",
    [
        {"model": LINEAR, "optimizer": {"state": {0: {"step": torch.ones(1)}}}, "epoch": 3},
        {"state_dict": {f"model._orig_mod.{name}": value for name, value in LINEAR.items()}},
        {
            "args": argparse.Namespace(lr=0.1),
            "checkpoint": {"weights": LINEAR},
            "rng": {"cpu": torch.ones(1)},
        },
        {f"module.{name}": torch.nn.Parameter(value) for name, value in LINEAR.items()},
    ],
)
def test_weights_are_found_under_what_training_scripts_put_around_them(wrapped, tmp_path):
    torch.save(wrapped, tmp_path / "x.pt")
    found = read_state_dict(tmp_path / "x.pt")
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in LINEAR.items()
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": LINEAR, "state_dict_ema": LINEAR},
            r"holds 2 state dicts: model, state_dict_ema. .*torch.save\(checkpoint\['model'\]",
        ),
        (LINEAR | {f"module.{name}": value for name, value in LINEAR.items()}, "two weights of one name"),
        ({"model": LINEAR, "of": Path("x")}, "it holds an object of pathlib.*, and to read it would run its"),
        ({"epoch": 3}, "holds no state dict"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "checkpoint of tensors; it is a pointer of Git LFS",
        ),
        (b"<!doctype html>", "checkpoint of tensors; it is a web page"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_says_why(content, message, tmp_path):
    if isinstance(content, bytes):
        (tmp_path / "x.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UserError, match=message) as told:
        read_state_dict(tmp_path / "x.pt")
    assert "weights_only" not in str(told.value)


def test_torchvision_weights_start_a_plain_or_blurred_network(tmp_path):
    torch.manual_seed(3)
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    settings = {"name": "resnet18", "dim": 512, "init_weights": str(tmp_path / "resnet18.pth")}
    plain = build_backbone(settings, 3).eval()
    network.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        np.testing.assert_allclose(plain(x), network.eval()(x), rtol=1e-4, atol=1e-5)
    blurred = build_backbone(settings | {"blur_pool": True}, 3)
    assert torch.equal(blurred.network.layer2[0].conv1.conv.weight, network.layer2[0].conv1.weight)
    with pytest.raises(UserError, match="does not fit the network"):
        build_backbone(settings | {"name": "resnet50", "dim": 2048}, 3)
    with pytest.raises(UserError, match="features of 512 dimensions; backbone.dim is 256"):
        build_backbone({"name": "resnet18", "dim": 256}, 3)
