"""Image–text contrast: its objective, what it is trained on, and its tables."""

import math

import numpy as np
import pytest
import torch
from small import build, finished, options, sizes_are_apart, tables_and_figures
from torch import nn
from torch.nn import functional as F

from analysis.evaluations import findings_image_text
from analysis.findings.rules import OUTCOMES
from analysis.measures.cross_modal import cosine, different, labels_to_rows, measure
from analysis.run import Run
from baselines import image_text
from baselines.backbones.text_encoder import TextEncoder
from baselines.image_text import info_nce
from baselines.representation import Representation
from baselines.train import seen_captions
from baselines.training.networks import count_macs, load_network, macs_per_image
from splits.sources import glyph_captions
from splits.words.wordpieces import CLS, PAD, SEP
from suite.contracts import METHOD
from suite.errors import UserError

CAPTIONS = torch.tensor([[CLS, 6, 7, SEP], [CLS, 8, SEP, PAD], [CLS, 9, 6, SEP], [CLS, 7, SEP, PAD]])


TINY = {"classes": 12, "unseen": 5, "train": 4, "val": 2, "database": 3, "query": 2}


def double_loop(images, texts, own, scale, m):
    """InfoNCE in both directions, image by image and caption by caption."""
    scores = [[scale * F.cosine_similarity(x[:m], t[:m], dim=0) for t in texts] for x in images]
    across = [torch.stack(row).logsumexp(0) - row[j] for row, j in zip(scores, own)]
    down = []
    for j, column in enumerate(zip(*scores)):
        positives = [column[i] for i in range(len(images)) if own[i] == j]
        down.append(torch.stack(column).logsumexp(0) - sum(positives) / len(positives))
    return (sum(across) / len(across) + sum(down) / len(down)) / 2


def two_towers(sizes, captions, dim=6, **given):
    torch.manual_seed(0)
    backbone = nn.Flatten()
    backbone.dim = dim
    chosen = options(METHOD, "image_text", vocabulary=16, depth=1, heads=2, **given)
    return image_text.build(backbone, len(captions), sizes, chosen, captions).double()


def test_blocks_of_the_text_tower_start_apart():
    first, second = TextEncoder(8, depth=2, heads=2, mlp=None).blocks.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_the_temperature_comes_back_from_its_bound():
    learner = two_towers((2, 6), CAPTIONS)
    with torch.no_grad():
        learner.log_scale.fill_(9.0)
    learner.after_step(1, 10)
    assert learner.log_scale.exp().item() == pytest.approx(image_text.LARGEST_SCALE)
    images = torch.randn(5, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    learner.loss(images, torch.tensor([3, 0, 3, 1, 0]), 0.0, np.random.default_rng(0))[0].backward()
    assert learner.log_scale.grad.item() != 0


def test_info_nce_at_every_size_is_the_double_loop_with_its_gradients():
    generator = torch.Generator().manual_seed(1)
    sizes, labels = (2, 3, 6), torch.tensor([3, 0, 3, 1, 0])  # classes twice, one class absent
    learner = two_towers(sizes, CAPTIONS)
    images = torch.randn(5, 1, 2, 3, generator=generator, dtype=torch.float64)
    loss, hits = learner.loss(images, labels, 0.0, np.random.default_rng(0))

    present = [0, 1, 3]
    own = [present.index(label) for label in labels]
    z, texts = learner.features(images), learner.features(CAPTIONS[present])
    by_hand = sum(double_loop(z, texts, own, learner.log_scale.exp(), m) for m in sizes)
    torch.testing.assert_close(loss, by_hand, rtol=1e-12, atol=0)
    named = dict(learner.named_parameters())
    ours, theirs = (
        torch.autograd.grad(total, [*named.values()], materialize_grads=True) for total in (loss, by_hand)
    )
    for name, one, other in zip(named, ours, theirs):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12, msg=name)
    assert all(gradient.any() for gradient in ours)
    for m in sizes:
        cosines = z[:, :m] @ F.normalize(texts[:, :m], dim=1).T
        assert hits[m].tolist() == (cosines.argmax(1) == torch.tensor(own)).tolist()


def test_training_is_counted_with_a_caption_for_each_image():
    learner = two_towers((2, 6), CAPTIONS)
    images = torch.zeros(2, 1, 2, 3, dtype=torch.float64)

    def step(labels):
        return count_macs(lambda: learner.loss(images, labels, 0.0, np.random.default_rng(0))[0].backward())

    one, two = step(torch.tensor([0, 0])), step(torch.tensor([0, 1]))
    assert macs_per_image(learner, images)["macs_training"] == two // 2 > one // 2


def test_info_nce_is_zero_only_for_perfect_scores_and_log_n_for_equal_ones():
    positive = torch.eye(4, dtype=torch.bool)
    assert float(info_nce(torch.zeros(4, 4), positive)) == pytest.approx(math.log(4), rel=1e-6)
    assert float(info_nce(200 * torch.eye(4), positive)) == pytest.approx(0, abs=1e-6)


def test_nesting_changes_nothing_but_the_sizes():
    """Weights at the start, and each size's own term, are the same whatever other sizes there are."""
    images = torch.randn(4, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 1, 2, 3])

    def contrast(sizes):
        learner = two_towers(sizes, CAPTIONS)
        return learner, learner.loss(images, labels, 0.0, np.random.default_rng(0))[0].item()

    sizes_are_apart(contrast)


@pytest.fixture(scope="module")
def glyph_study(tmp_path_factory):
    """Image–text contrast on 12 characters, and 5 that are held out."""
    towers = {"baseline": "image_text", "depth": 1, "heads": 2}
    methods = {
        "mrl": towers,
        "fixed_feature": towers | {"nesting": [8], "label": "FF"},
        "random_features": {"probe_draws": 0},
        "first_features": None,
        "control_label": None,
        "control_random": None,
    }
    tasks = ["zero_shot", "text_retrieval", "cosine_margin", "findings_image_text", "cost"]
    backbone = {"name": "small_resnet", "dim": 8, "widths": [4, 8]}
    folder = tmp_path_factory.mktemp("image_text")
    with finished(folder, glyph_captions, TINY, methods, tasks, backbone=backbone) as done:
        yield done


def test_held_out_classes_never_reach_image_text_training(glyph_study, monkeypatch):
    _study, layout, dataset = glyph_study
    assert dataset.num_classes == 12 and len(dataset.classes) == 17
    for split in ("train", "val"):
        assert dataset.labels(split).max() < dataset.num_classes
    for split in ("database", "query"):
        assert dataset.labels(split).min() >= dataset.num_classes

    # What training is handed: the captions of seen classes, and no other row.
    handed = seen_captions(dataset)
    assert torch.equal(handed, torch.from_numpy(dataset["captions"].images[:12].astype(np.int64)))
    learner, _, _ = load_network(layout.network("mrl", 0))
    assert torch.equal(learner.captions, handed)
    for row in dataset["captions"].images[12:]:
        assert not (learner.captions.numpy() == row).all(1).any()

    # And nothing of them in the vocabulary: a word that only unseen names have is not a piece of its own.
    names = dataset.classes["caption"]
    seen_words = {word for name in names[:12] for word in name.lower().split()}
    pieces = (layout.data / "vocabulary.txt").read_text().split("\n")
    for name in names[12:]:
        for word in set(name.lower().split()) - seen_words:
            assert word not in pieces or len(word) == 1


def test_a_loaded_two_tower_network_embeds_images_and_captions_as_it_was_trained(glyph_study):
    _study, layout, dataset = glyph_study
    learner, normalise, _ = load_network(layout.network("mrl", 0))
    found = Representation(layout.embeddings("mrl", 0))
    with torch.no_grad():
        for split in ("captions", "query"):
            expected = learner.features(normalise(dataset[split].images)).numpy()
            np.testing.assert_allclose(found.array(split), expected, atol=1e-5)
    weight, bias = found.classifier(found.views[0], 4)
    captions = found.array("captions")[:12, :4]
    directions = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (weight, captions)]
    np.testing.assert_allclose(*directions, atol=1e-5)
    assert not bias.any()
    # 12 captions; smaller sizes are prefixes of the largest, normalised anew.
    assert found.meta["classifier_parameters"] == {"0": 12 * 9, "4": 12 * 5, "8": 12 * 9}


def test_cross_modal_outcomes_are_the_brute_force_ones(glyph_study):
    _study, layout, dataset = glyph_study
    found_in = Representation(layout.embeddings("mrl", 0))
    found = measure(found_in, dataset, {"k": 3, "seed": 0})
    for split, candidates in (("val", range(12)), ("query", range(12, 17))):
        images, texts = found_in.array(split), found_in.array("captions")
        for place, m in enumerate((4, 8)):
            table = np.array(
                [[cosine(x[None, :m], texts[c][None, :m])[0] for c in candidates] for x in images]
            )
            best = np.argsort(-table, axis=1, kind="stable")[:, :3] + candidates[0]
            assert np.array_equal(found[f"{split}/to_text"][0, place], best)
            best = np.argsort(-table.T, axis=1, kind="stable")[:, :3]
            assert np.array_equal(found[f"{split}/to_image"][0, place], best)
            own = table[np.arange(len(images)), dataset.labels(split) - candidates[0]]
            np.testing.assert_allclose(found[f"{split}/cosine/positive"][0, place], own, atol=1e-6)


def test_image_text_tables_lie_between_floor_and_ceiling(glyph_study):
    study, layout, dataset = glyph_study
    tables = tables_and_figures(study, layout, ["zero_shot", "text_retrieval", "cosine_margin"])
    for name in ("zero_shot", "text_retrieval"):
        table = tables[name]
        np.testing.assert_allclose(table[table["method"] == "control_label"]["value"], 1)
        floor = table[(table["method"] == "control_random") & (table["metric"] == "top1")]["value"]
        assert (floor < 0.6).all()
    margins = tables["cosine_margin"]
    ceiling = margins[(margins["method"] == "control_label") & (margins["pair"] == "positive")]
    np.testing.assert_allclose(ceiling["value"], 1, atol=1e-6)

    # At d, random and first features are the plain model.
    zero_shot = tables["zero_shot"].query("classes == 'unseen' and metric == 'top1'")
    full = zero_shot[zero_shot["dim"] == 8].set_index("method")["value"]
    assert full["fixed_feature"] == full["first_features"] == full["random_features"]

    # The findings read the same outcomes.
    margins = margins.query("classes == 'unseen' and metric == 'margin'")
    run = Run(study, dataset, study.method("mrl"), 0, "findings_image_text", {}, layout)
    for outcome, table in (
        (findings_image_text.ZERO_SHOT, zero_shot),
        (findings_image_text.MARGINS, margins),
    ):
        rows, values = table[table["method"] == "mrl"], outcome.of(run).mean_of_draws()
        np.testing.assert_allclose([values[m].mean() for m in rows["dim"]], rows["value"], rtol=1e-5)
    claims = tables["findings_image_text"].set_index("finding")
    margin = margins[margins["dim"] == 8].set_index("method")["value"]
    difference = margin["mrl"] - margin["fixed_feature"]
    assert claims.loc["margin_wider", "value"] == pytest.approx(difference, rel=1e-4)
    assert set(claims["outcome"]) <= {*OUTCOMES}


@pytest.mark.parametrize("name", ["classes", "unseen"])
def test_one_character_is_told_apart_from_nothing(name, tmp_path):
    with pytest.raises(UserError, match=f"{name} is 1, allowed: whole numbers from 2"):
        build(glyph_captions, tmp_path, **(TINY | {name: 1}))


def test_random_pairs_are_of_other_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200) * 3
    other = different(labels, np.array([0, 3, 6, 9]), rng)
    assert not (other == labels).any() and set(other) == {0, 3, 6, 9}
    rows = labels_to_rows(labels, other, rng)
    assert np.array_equal(labels[rows], other)


def test_two_towers_refuse_data_without_captions_and_foreign_tokens():
    with pytest.raises(UserError, match="needs data with captions"):
        image_text.build(nn.Flatten(), 3, (12,), options(METHOD, "image_text"), captions=None)
    with pytest.raises(UserError, match="captions hold token 16, but image_text.vocabulary is 16"):
        two_towers((2,), CAPTIONS + 7)
