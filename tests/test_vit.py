"""The vision transformer: shapes, costs, and sizes that do not fit."""

import pytest
import torch

from baselines.backbones.vit import ViT
from baselines.training.networks import count_macs
from suite.errors import UserError
from suite.study import load_study


def small_vit(channels=1, **given):
    chosen = {"image": 8, "patch": 4, "depth": 1, "heads": 3, "mlp": None, "stem": ()} | given
    return ViT(channels, 12, **chosen)


@pytest.mark.parametrize("stem", [(), (4, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_vit_turns_images_into_class_tokens(stem, channels):
    vit = small_vit(channels, stem=stem).eval()
    images = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    features = vit(images)
    assert features.shape == (2, 12) and not torch.allclose(features[0], features[1])
    assert features.mean(1).abs().max() < 1e-6  # behind the last layer norm


def test_vit_multiply_accumulates_by_hand():
    # 4 patches of 16 pixels, the class token; per token: 4 d² to project, hidden 2·d·4d, attention 2·n·d.
    vit = small_vit(depth=2).eval()
    with torch.no_grad():
        counted = count_macs(lambda: vit(torch.zeros(1, 1, 8, 8)))
    assert counted == 4 * 16 * 12 + 2 * 5 * (4 * 12 * 12 + 2 * 12 * 48 + 2 * 5 * 12)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"patch": 3}, "image 8 is not a multiple of patch 3"),
        ({"heads": 5}, "dim 12 is not a multiple of heads 5"),
        ({"stem": (4,)}, "a stem of 1 convolutions makes patches of 2, not 4"),
    ],
)
def test_vit_refuses_sizes_that_do_not_fit(wrong, message):
    with pytest.raises(UserError, match=message):
        small_vit(**wrong)


def test_vit_refuses_images_of_another_size():
    with pytest.raises(UserError, match="backbone.image is 8, but the images are 16×16"):
        small_vit()(torch.zeros(1, 1, 16, 16))


def test_vit_b_16_is_trained_and_embedded_at_its_own_size():
    study = load_study("imagenet_vit")
    assert study.nesting == (12, 24, 48, 96, 192, 384, 768) and study.dim == study.nesting[-1]
    side = study.backbone["image"]
    assert study.training["augment"]["crop"]["side"] == [side] and study.training["evaluation_crop"] == side
    assert study.source_options["size"] >= side
    # Random and first features are those of the plain network alone.
    assert {study.method(name).source for name in ("random_features", "first_features")} == {"fixed_feature"}
    assert [net.sizes for net in study.method("fixed_feature").networks] == [(768,)]
    with pytest.raises(UserError, match="interpolated: size 800 is longer than the embedding"):
        load_study("imagenet_vit", interpolated=[18, 800])
