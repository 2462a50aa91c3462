"""Text as data: divided by document, asked token by token, without what is quoted."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from small import build

from splits.sources import text
from splits.words.wordpieces import CLS, MASK, PAD, SEP, SPECIAL, WordPieces
from suite import files
from suite.errors import UserError


def test_a_document_is_in_one_split_only(corpus):
    root, dataset = corpus
    documents = {name: set(dataset[name].items["document"]) for name in ("train", "val")}
    assert len(documents["train"]) == 9 and len(documents["val"]) == 3
    assert not documents["train"] & documents["val"]
    # And it is its own text that stands there, but for what is masked.
    pieces = WordPieces(dataset.classes["name"].tolist())
    for split in (dataset["train"], dataset["val"]):
        for row, name in zip(split.images[:40, 1:], split.items["document"]):
            tokens = row[~np.isin(row, (CLS, SEP, PAD))]
            runs = sliding_window_view(pieces.encode((root / name).read_text()), len(tokens))
            assert ((runs == tokens) | (tokens == MASK)).all(1).any()


def test_rows_ask_for_the_token_that_is_hidden(corpus):
    _, dataset = corpus
    val, train = dataset["val"], dataset["train"]
    for row, label in zip(val.images, val.labels):
        assert row[1 + row[0]] == MASK and label >= len(SPECIAL)
    position, tokens = train.images[:, 0], train.images[:, 1:]
    assert np.array_equal(tokens[np.arange(len(tokens)), position], train.labels)
    assert not (tokens == MASK).any() and len(train) == len(np.unique(tokens, axis=0)) + repeated(tokens)
    # Every masked position of a sequence is a row, and there are 15 % of them.
    sequences, counts = np.unique(val.images[:, 1:], axis=0, return_counts=True)
    assert np.array_equal((sequences == MASK).sum(1), counts) or repeated(val.images[:, 1:])
    words = (sequences >= MASK).sum(1)
    np.testing.assert_array_equal((sequences == MASK).sum(1), np.maximum(1, np.round(0.15 * words)))


def repeated(rows):
    """How many rows are copies of earlier ones."""
    return len(rows) - len(np.unique(rows, axis=0))


def test_the_corpus_inside_python_is_divided_by_document():
    documents = text.python_text(Path(json.__file__).parent)
    chosen = text.divide(sorted(documents), 0.1, 0)
    assert sum("module" in name for name in documents) >= 4 and not set(chosen["train"]) & set(chosen["val"])
    assert sum("topic" in name for name in documents) > 50
    assert chosen == text.divide(sorted(documents), 0.1, 0) != text.divide(sorted(documents), 0.1, 1)


def test_what_val_quotes_from_train_is_left_out_of_it(tmp_path):
    rng = np.random.default_rng(0)
    words = [f"{a}{b}" for a in "bcdfgh" for b in "aeiou"]
    own = [list(rng.choice(words, 90)) for _ in range(12)]
    for i, some in enumerate(own):
        quoted = own[(i + 1) % 12][30:60] + own[(i + 5) % 12][:25]  # each quotes two others
        (tmp_path / f"{i:02d}.txt").write_text(" ".join(some[:45] + quoted + some[45:]))
    (tmp_path / "copy.txt").write_text((tmp_path / "00.txt").read_text())
    given = {"root": str(tmp_path), "length": 40, "vocabulary": 60, "val_fraction": 0.4}
    dataset = build(text, tmp_path / "dataset", **given)
    documents = {name: set(dataset[name].items["document"]) for name in ("train", "val")}
    assert len(documents["train"] | documents["val"]) == 12  # the copy is none of its own
    cutter = WordPieces(dataset.classes["name"].tolist())
    train = [cutter.encode((tmp_path / name).read_text()) for name in documents["train"]]
    stands = {tuple(ids[i : i + text.RUN]) for ids in train for i in range(len(ids) - text.RUN + 1)}
    whole = {name: cutter.encode((tmp_path / name).read_text()) for name in documents["val"]}
    assert any(tuple(ids[i : i + text.RUN]) in stands for ids in whole.values() for i in range(len(ids)))
    known = np.unique(np.concatenate([text.runs(ids) for ids in train]))
    kept = 0
    for ids in whole.values():
        parts = text.without_runs(ids, known)
        kept += sum(map(len, parts))
        for part in parts:
            assert not any(tuple(part[i : i + text.RUN]) in stands for i in range(len(part)))
    # And what is written: every sequence of val, with the tokens that its rows ask for.
    sequences = {}
    for row, label in zip(dataset["val"].images.tolist(), dataset.labels("val").tolist()):
        sequences.setdefault(tuple(row[1:]), row[1:])[row[0]] = label
    assert len(sequences) > 1
    for ids in sequences.values():
        ids = [token for token in ids if token not in (CLS, SEP, PAD)]
        assert not any(tuple(ids[i : i + text.RUN]) in stands for i in range(len(ids)))
    facts = files.read_json(tmp_path / "dataset" / "corpus.json")
    assert facts["quoted_from_train"] == sum(map(len, whole.values())) - kept > 0


def test_text_that_is_everywhere_the_same_is_refused(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text("the same words in every file of the folder")
    with pytest.raises(UserError, match="all 4 documents have the same text"):
        build(text, tmp_path / "dataset", root=str(tmp_path))


def test_docstrings_are_found_wherever_python_lies(tmp_path):
    library = tmp_path / "tests" / "site-packages" / "lib"
    (library / "test").mkdir(parents=True)
    (library / "one.py").write_text('"""What the module does."""\n')
    (library / "test" / "two.py").write_text('"""Not English text."""\n')
    modules = [name for name in text.python_text(library) if name.startswith("module")]
    assert modules == ["module one"]


@pytest.mark.parametrize(
    "files, message",
    [
        ({}, "holds 0 text files"),
        ({"a.txt": b"one document"}, "holds 1 text files"),
        ({"a.txt": b"good text", "b.txt": b"bad \xff text"}, "b.txt is not UTF-8 text: byte 4 is 0xff"),
        ({"a.txt": b"too short", "b.txt": b"as well"}, "hold no sequence of 8 tokens"),
    ],
)
def test_unreadable_text_is_refused_before_anything_is_trained(files, message, tmp_path):
    (tmp_path / "texts").mkdir()
    for name, content in files.items():
        (tmp_path / "texts" / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        build(text, tmp_path / "dataset", root=str(tmp_path / "texts"))
    with pytest.raises(UserError, match="no folder"):
        build(text, tmp_path / "dataset", root=str(tmp_path / "nowhere"))
