"""Texts become vectors: how they are joined, averaged and written, and what is not overwritten."""

import json
import sys
from types import SimpleNamespace

import made
import numpy as np
import pytest
from small import build

from splits import embed_text
from splits.embed_text import DIM, Embedder, embed_folder
from splits.sources import collection, labelled
from suite import files
from suite.errors import UserError

WORDS = ["a", "b", "c"]


class Tokenizer:
    """Words of WORDS by their place, any other one far beyond; as the package `tokenizers` has it."""

    def no_padding(self):
        pass

    no_truncation = no_padding

    def encode_batch(self, texts, add_special_tokens):
        assert not add_special_tokens
        known = {word: i for i, word in enumerate(WORDS)}
        return [SimpleNamespace(ids=[known.get(word, 99) for word in text.split()]) for text in texts]


@pytest.fixture
def load():
    """What loads a model in which the vector of a word is 1 at its place."""
    return lambda: (Embedder(np.eye(len(WORDS), DIM), Tokenizer()), {"package": "made up"})


@pytest.fixture
def texts(tmp_path):
    """A collection of texts alone."""
    root = tmp_path / "mine"
    documents = [
        {"_id": "d1", "title": "a", "text": "b b b"},
        {"_id": "d2", "title": "", "text": "c"},
        {"_id": "d3", "title": None, "text": ""},
        {"_id": 4, "text": "strange"},
    ]
    queries = [{"_id": "q1", "title": "c", "text": "a b"}]
    write(root / "corpus.jsonl", documents)
    write(root / "queries.jsonl", queries)
    made.write_qrels(root / "qrels" / "test.tsv", [("q1", "d1", 1)])
    return root


def write(path, items):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\ufeff" + "\n\n".join(json.dumps(item) for item in items))


def rows(root, name, model="wordllama-256"):
    """The vectors of one array, as far as words reach, after which all is 0."""
    found = np.load(root / "embeddings" / model / f"{name}.npy")
    assert found.dtype == np.float16 and found.shape[1] == DIM and not found[:, len(WORDS) :].any()
    return found[:, : len(WORDS)].tolist()


# --- collections ------------------------------------------------------------------------------------


def test_a_document_is_title_and_text_a_query_its_text_and_nothing_is_zeros(texts, load, tmp_path):
    write(texts / "train_queries.jsonl", [{"_id": "t1", "text": "b"}])
    assert embed_folder(texts, load) == {"corpus": (4, DIM), "queries": (1, DIM), "train_queries": (1, DIM)}
    # A token that is not in the table is its last, c.
    assert rows(texts, "corpus") == [[0.25, 0.75, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert (rows(texts, "queries"), rows(texts, "train_queries")) == ([[0.5, 0.5, 0]], [[0, 1, 0]])
    folder = texts / "embeddings" / "wordllama-256"
    assert (folder / "corpus.ids.txt").read_text() == "d1\nd2\nd3\n4\n"
    record = files.read_json(folder / "model.json")
    assert record["package"] == "made up" and record["model"] == folder.name
    assert record["arrays"]["corpus.npy"] == files.sha256(folder / "corpus.npy")
    assert record["texts"]["corpus.jsonl"] == files.sha256(texts / "corpus.jsonl")
    build(collection, tmp_path / "dataset", root=str(texts))


def test_a_vector_does_not_depend_on_what_is_embedded_with_it(texts, load, monkeypatch):
    embed_folder(texts, load)
    together = np.load(texts / "embeddings" / "wordllama-256" / "corpus.npy")
    monkeypatch.setattr(embed_text, "BATCH", 3)
    embed_folder(texts, load)
    assert np.array_equal(together, np.load(texts / "embeddings" / "wordllama-256" / "corpus.npy"))


def test_what_was_made_here_is_made_anew_and_what_others_made_only_if_forced(texts, load):
    embed_folder(texts, load)
    write(texts / "queries.jsonl", [{"_id": "q1", "text": "b"}])
    embed_folder(texts, load)
    assert rows(texts, "queries") == [[0, 1, 0]]
    mine = np.ones((1, DIM), np.float16)
    path = made.save(texts, "wordllama-256", "queries", mine)
    scale = made.save(texts, "wordllama-256", "corpus.scale", np.ones(1))
    with pytest.raises(UserError, match=r"corpus.scale.npy, .*/queries.npy: made elsewhere.*--force"):
        embed_folder(texts, lambda: pytest.fail("it is loaded"))
    assert np.array_equal(np.load(path), mine)
    embed_folder(texts, load, force=True)
    assert rows(texts, "queries") == [[0, 1, 0]] and not scale.exists()


def test_an_interruption_leaves_what_was_there(texts, load):
    embed_folder(texts, load)
    made.save(texts, "wordllama-256", ".part1@elsewhere.corpus", np.ones(1))  # of a process that was killed
    there = {path.name: files.sha256(path) for path in (texts / "embeddings" / "wordllama-256").iterdir()}
    write(texts / "corpus.jsonl", [{"_id": "d1", "text": "c"}])

    def broken():
        embed, facts = load()
        return lambda found: embed(found) if found == ["c"] else pytest.fail("killed"), facts

    with pytest.raises(pytest.fail.Exception):
        embed_folder(texts, broken)
    assert there == {
        path.name: files.sha256(path) for path in (texts / "embeddings" / "wordllama-256").iterdir()
    }


@pytest.mark.parametrize(
    "item, message",
    [
        ({"_id": "d2"}, 'corpus.jsonl, line 3: needs "text"'),
        ({"_id": "d2", "text": ["a"]}, 'corpus.jsonl, line 3: needs "text"'),
        ({"_id": "d2", "title": 3, "text": "a"}, 'corpus.jsonl, line 3: needs "text"'),
        ({"_id": "d1", "text": "a"}, "line 3: 'd1' is already in line 1"),
    ],
)
def test_a_line_without_a_text_is_named_before_a_model_is_loaded(item, message, texts):
    write(texts / "corpus.jsonl", [{"_id": "d1", "text": "a"}, item])
    with pytest.raises(UserError, match=message):
        embed_folder(texts, lambda: pytest.fail("it is loaded"))
    assert not (texts / "embeddings").exists()


def test_a_folder_without_texts_says_what_is_wanted(texts, load, tmp_path):
    with pytest.raises(UserError, match=r"no texts in .*: it needs corpus.jsonl and queries.jsonl, or train"):
        embed_folder(tmp_path, load)
    (texts / "queries.jsonl").unlink()
    with pytest.raises(UserError, match=r"no file .*queries.jsonl"):
        embed_folder(texts, load)


# --- labelled texts ---------------------------------------------------------------------------------


def test_labelled_texts_get_vectors_and_numbers_by_the_names_of_labels(load, tmp_path):
    (tmp_path / "train.csv").write_text('text,label\n"a b",warm\nb,cold\n')
    (tmp_path / "test.csv").write_text("label,text\nwarm,c\n")
    assert embed_folder(tmp_path, load) == {"train": (2, DIM), "test": (1, DIM)}
    assert (rows(tmp_path, "train"), rows(tmp_path, "test")) == ([[0.5, 0.5, 0], [0, 1, 0]], [[0, 0, 1]])
    assert (tmp_path / "label_names.txt").read_text() == "cold\nwarm\n"
    assert [np.load(tmp_path / f"{name}_labels.npy").tolist() for name in ("train", "test")] == [[1, 0], [1]]
    build(labelled, tmp_path / "dataset", root=str(tmp_path))
    (tmp_path / "label_names.txt").write_text("warm\ncold\n")
    with pytest.raises(UserError, match=r"train_labels.npy, .*test_labels.npy: made elsewhere"):
        embed_folder(tmp_path, load)
    embed_folder(tmp_path, load, force=True)
    assert np.load(tmp_path / "train_labels.npy").tolist() == [0, 1]
    (tmp_path / "test.csv").write_text("label,text\nwarm,c\nhot,c\n")
    with pytest.raises(UserError, match=r"test.csv, line 3: the label 'hot' is not in .*label_names.txt"):
        embed_folder(tmp_path, load)


# --- the model --------------------------------------------------------------------------------------


def test_without_the_package_the_error_says_what_to_install(texts, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(UserError, match=r"needs the package wordllama .*: pip install -e '.\[text\]'"):
        embed_text.main([str(texts)])
    assert not (texts / "embeddings").exists()


def test_other_weights_are_refused(monkeypatch, tmp_path):
    wordllama = pytest.importorskip("wordllama")
    monkeypatch.setattr(wordllama, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(UserError, match=r"l2_supercat_256.safetensors is not the file of wordllama-256"):
        embed_text.wordllama()


def test_the_packages_own_class_gives_the_same_vectors(texts, capsys):
    inference = pytest.importorskip("wordllama.inference")
    embed_text.main([str(texts)])
    assert "corpus.npy: float16 [4, 256]" in capsys.readouterr().out
    model, _ = embed_text.wordllama()
    expected = inference.WordLlamaInference(model.table, model.tokenizer)
    expected = expected.embed(["a b b b", "c", "", "strange"])
    found = np.load(texts / "embeddings" / "wordllama-256" / "corpus.npy")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert not found[2].any() and np.abs(found[0]).max() > 0.1
