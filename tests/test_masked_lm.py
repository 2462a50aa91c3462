"""Masked language models: what is hidden, what is scored, and their tables."""

import math

import numpy as np
import pytest
import small
import torch
from small import ENCODER, finished, sizes_are_apart, tables_and_figures

from analysis.findings.rules import OUTCOMES
from baselines.backbones.text_encoder import TextEncoder
from baselines.masked_lm import hide
from baselines.nested import prefix
from baselines.training.batches import Normalise
from baselines.training.networks import load_network
from splits.sources import text
from splits.words.wordpieces import CLS, MASK, PAD, SEP


def language_model(sizes=(4, 8), name="masked_lm"):
    return small.learner(name, sizes, ENCODER, channels=9, classes=30)


def test_only_masked_positions_are_scored():
    """The loss is that of the chosen positions and no others, size by size."""
    learner = language_model().double()
    rng = np.random.default_rng(3)
    rows = torch.from_numpy(rng.integers(5, 30, (4, 13)))
    loss, hits = learner.loss(rows, torch.zeros(4), 0.0, np.random.default_rng(7))
    shown, hidden = hide(rows[:, 1:], 0.15, 30, np.random.default_rng(7))
    assert hidden.sum(1).tolist() == [2, 2, 2, 2]  # 15 % of 12
    assert torch.equal(shown[~hidden], rows[:, 1:][~hidden])
    states = learner.encode(shown).detach().numpy()
    weight, bias = learner.head.weight.detach().numpy(), learner.head.bias.detach().numpy()
    expected, found = 0.0, {4: [], 8: []}
    for m in (4, 8):
        terms = []
        for row, place in np.argwhere(hidden.numpy()):
            scores = weight[:, :m] @ states[row, place, :m] + bias
            target = int(rows[row, 1 + place])
            terms.append(math.log(np.exp(scores).sum()) - scores[target])
            found[m].append(bool(scores.argmax() == target))
        expected += np.mean(terms)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert {m: values.tolist() for m, values in hits.items()} == found


def test_hiding_follows_berts_shares():
    tokens = torch.full((200, 100), 7)
    shown, hidden = hide(tokens, 0.15, 1000, np.random.default_rng(0))
    assert int(hidden.sum()) == 3000
    there = shown[hidden]
    assert (there == MASK).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (there == 7).float().mean() == pytest.approx(0.1, abs=0.03)
    assert int(shown[hidden].min()) >= MASK  # never another special token


def test_features_hide_what_they_are_asked_for():
    learner = language_model().eval()
    rows = torch.tensor([[2, CLS, 9, 11, 12, SEP], [3, CLS, 9, 11, 12, SEP], [2, CLS, 9, 20, 12, SEP]])
    z = learner.features(rows)
    assert torch.allclose(z[0], z[2], atol=1e-6)  # the third token cannot be seen
    assert not torch.allclose(z[0], z[1], atol=1e-3)
    # Rows about one masked sequence share a forward pass and still differ by position.
    asked = torch.tensor([[1, CLS, MASK, MASK, 12, SEP], [2, CLS, MASK, MASK, 12, SEP]])
    states = learner.encode(asked[:1, 1:])[0]
    torch.testing.assert_close(learner.features(asked), states[[1, 2]])


def test_padding_changes_nothing():
    learner = language_model().eval()
    short, long = torch.tensor([[1, CLS, 9, 11, SEP]]), torch.tensor([[1, CLS, 9, 11, SEP, PAD, PAD]])
    torch.testing.assert_close(learner.features(short), learner.features(long))


def test_the_head_of_every_size_is_the_embedding_matrix():
    learner = language_model()
    for m in (4, 8):
        assert torch.equal(learner.classifier(m)[0], prefix(learner.head.weight, m))
    before = learner.encode(torch.tensor([[CLS, 9, SEP]])).detach()
    with torch.no_grad():
        learner.head.weight[9] += 1
    assert not torch.allclose(before, learner.encode(torch.tensor([[CLS, 9, SEP]])))  # tokens come in by it


def test_fixed_feature_is_the_nested_model_with_one_size():
    rows = torch.from_numpy(np.random.default_rng(0).integers(5, 30, (3, 13)))
    learners = (language_model((4,), name) for name in ("masked_lm_fixed", "masked_lm"))
    assert torch.equal(*(learner.loss(rows, None, 0.0, np.random.default_rng(0))[0] for learner in learners))


def test_nesting_changes_nothing_but_the_sizes():
    tokens = torch.from_numpy(np.random.default_rng(0).integers(5, 20, (3, 9)))

    def language(sizes):
        learner = language_model(sizes)
        return learner, learner.loss(tokens, None, 0.0, np.random.default_rng(0))[0].item()

    sizes_are_apart(language)


def test_tokens_pass_the_normalisation_as_they_are():
    tokens = np.array([[1, 4000], [2, 3]], np.int32)
    passed = Normalise.of(tokens)(tokens)
    assert passed.dtype == torch.int64 and passed.tolist() == tokens.tolist()


def test_text_encoder_reads_in_both_directions_and_knows_positions():
    torch.manual_seed(0)
    encoder = TextEncoder(8, 1, 2, None).eval()
    x = torch.randn(1, 5, 8)
    nothing = torch.zeros(1, 5, dtype=torch.bool)
    changed = x.clone()
    changed[0, 4] += torch.randn(8)
    assert not torch.allclose(encoder(x, nothing)[0, 0], encoder(changed, nothing)[0, 0], atol=1e-5)
    swapped = x[:, [1, 0, 2, 3, 4]]
    assert not torch.allclose(encoder(x, nothing)[0, 2], encoder(swapped, nothing)[0, 2], atol=1e-5)


def test_masked_lm_tables_are_what_the_heads_predict(corpus, tmp_path):
    root, _ = corpus
    methods = {
        "mrl": {"baseline": "masked_lm"},
        "fixed_feature": {"baseline": "masked_lm_fixed"},
        "first_features": None,
        "control_label": None,
    }
    given = {"root": str(root), "length": 20, "vocabulary": 200, "val_fraction": 0.25}
    tasks = ["masked_lm", "findings_masked_lm", "cost"]
    with finished(tmp_path, text, given, methods, tasks, backbone=ENCODER) as (study, layout, dataset):
        tables = tables_and_figures(study, layout, ["masked_lm"])
        table = tables["masked_lm"].query("metric == 'top1'")
        every = table[table["tokens"] == "all"].set_index(["method", "dim"])["value"]
        assert (every["control_label"] == 1).all()
        for network, m in (("mrl", 4), ("mrl", 8), ("fixed_feature_4", 4)):
            learner, _, _ = load_network(layout.network(network, 0))
            with torch.no_grad():
                z = learner.features(torch.from_numpy(dataset["val"].images.astype(np.int64)))
                weight, bias = learner.classifier(m)
                hits = (z[:, :m] @ weight.T + bias).argmax(1).numpy() == dataset.labels("val")
            # One item may fall either way: the order of sums differs.
            found = every[study.network(network).method, m]
            assert found == pytest.approx(hits.mean(), abs=1.5 / len(hits))
        parts = table[table["tokens"] != "all"].query("method == 'mrl' and dim == 8")
        total = (parts["value"] * parts["n"]).sum() / parts["n"].sum()
        assert every["mrl", 8] == pytest.approx(total)
        assert set(tables["findings_masked_lm"]["outcome"]) <= {*OUTCOMES[:3]}
