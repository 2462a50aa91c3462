"""Checkpoints of a BERT: which are taken, and that they predict as transformers does."""

import json

import pytest
import torch
from small import LANGUAGE

from baselines import masked_lm
from baselines.backbones import build_backbone
from baselines.backbones.bert_checkpoint import check
from splits.words.wordpieces import SPECIAL, WordPieces, read_vocabulary
from suite.errors import UserError

CONFIG = {"model_type": "bert", "hidden_size": 8, "vocab_size": 7, "max_position_embeddings": 32}


def checkpoint(folder, config=CONFIG):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "the", *SPECIAL[1:], "a"]) + "\n")
    return folder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG | {"model_type": "gpt2"}, "describes a 'gpt2' model"),
        (CONFIG | {"hidden_size": 16}, "backbone.dim is 8, but hidden_size .* is 16"),
        (CONFIG | {"max_position_embeddings": 12}, "data.length is 20, but max_position_embeddings .* is 12"),
        (CONFIG | {"vocab_size": 9}, "has 7 pieces, but the checkpoint embeds 9"),
        ("{not json", "config.json is not JSON"),
        ([1], "config.json is no configuration: it holds a list"),
        ({"model_type": "bert", "vocab_size": 8}, "does not say hidden_size, max_position_embeddings"),
    ],
)
def test_a_checkpoint_that_is_not_the_studys_bert_is_refused(config, message, tmp_path):
    check(checkpoint(tmp_path / "good"), 8, 20)
    with pytest.raises(UserError, match=message):
        check(checkpoint(tmp_path / "bad", config), 8, 20)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no checkpoint: config.json is missing"):
        build_backbone({"name": "bert_checkpoint", "dim": 8, "checkpoint": str(tmp_path)}, 21)


def test_a_checkpoint_without_transformers_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    folder = checkpoint(tmp_path / "bert")
    with pytest.raises(UserError, match=r"needs the package transformers: pip install -e '.\[bert\]'"):
        build_backbone({"name": "bert_checkpoint", "dim": 8, "checkpoint": str(folder)}, 21)


def test_a_bert_checkpoint_predicts_as_transformers_does(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    vocabulary = ["[PAD]", "the", *SPECIAL[1:], "a", "rose"]
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )  # fmt: skip
    reference = transformers.BertModel(config, add_pooling_layer=False).eval()
    reference.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    backbone = build_backbone({"name": "bert_checkpoint", "dim": 8, "checkpoint": str(tmp_path)}, 9)
    learner = masked_lm.build(backbone, 8, (4, 8), LANGUAGE).eval()
    ours = read_vocabulary(tmp_path / "vocab.txt")
    row = torch.tensor([[2, *(ours.index(t) for t in ("[CLS]", "a", "[MASK]", "rose", "[SEP]", "[PAD]"))]])
    theirs = torch.tensor([[vocabulary.index(ours[t]) for t in row[0, 1:]]])
    with torch.no_grad():
        expected = reference(theirs, attention_mask=(theirs != 0).long()).last_hidden_state[0, 2]
        torch.testing.assert_close(learner.features(row)[0], expected, atol=1e-5, rtol=1e-5)
    tokeniser = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    assert WordPieces(ours).pieces("The ROSE, a_rosé") == tokeniser.tokenize("The ROSE, a_rosé")
    with pytest.raises(UserError, match="vocabulary has 8 tokens, that of the data 30"):
        masked_lm.build(backbone, 30, (8,), LANGUAGE)

    # Weights of another network, cut-off weights and none are refused instead of left random.
    settings = {"name": "bert_checkpoint", "dim": 8, "checkpoint": str(tmp_path)}
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    other = transformers.GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=2, n_positions=32)
    transformers.GPT2Model(other).save_pretrained(tmp_path / "gpt")
    for content, message in (
        ((tmp_path / "gpt" / "model.safetensors").read_bytes(), "not those of a BERT: .* parts are missing"),
        (whole[: len(whole) // 2], "its weights cannot be read"),
        (None, "its weights cannot be read"),
    ):
        weights.unlink() if content is None else weights.write_bytes(content)
        with pytest.raises(UserError, match=message):
            build_backbone(settings, 9)
