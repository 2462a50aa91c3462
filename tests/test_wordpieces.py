"""Word pieces: cutting text, learning and reading vocabularies."""

import numpy as np
import pytest

from splits.words.wordpieces import SPECIAL, UNK, WordPieces, choose_masked, learn_vocabulary, read_vocabulary
from suite.errors import UserError


def test_word_pieces_are_the_longest_that_match():
    pieces = WordPieces([*SPECIAL, "un", "##able", "##ab", "##le", "##a", "a", "."])
    assert pieces.pieces("Unable a.") == ["un", "##able", "a", "."]
    assert pieces.encode("unknown") == [UNK]
    assert pieces.pieces("ÁA") == ["a", "##a"]  # lower case, without accents


def test_a_learned_vocabulary_spells_every_word_of_its_text():
    documents = ["a rose is a rose", "rows of roses"]
    vocabulary = learn_vocabulary(documents, 30)
    assert vocabulary[:5] == list(SPECIAL) and vocabulary[-5:] == ["rose", "is", "of", "roses", "rows"]
    pieces = WordPieces(vocabulary)
    assert pieces.pieces("rose rewo") == ["rose", "r", "##e", "##w", "##o"]
    assert UNK not in pieces.encode(" ".join(documents))
    with pytest.raises(UserError, match="a vocabulary of 9 does not even hold"):
        learn_vocabulary(documents, 9)


def test_bert_vocabulary_files_are_checked(tmp_path):
    path = tmp_path / "vocab.txt"
    with pytest.raises(UserError, match="no vocabulary"):
        read_vocabulary(path)
    path.write_text("[PAD]\n[UNK]\nthe\n[CLS]\n[SEP]\n[MASK]\na\n")
    assert read_vocabulary(path) == [*SPECIAL, "the", "a"]
    path.write_text("[PAD]\n[UNK]\nthe\n")
    with pytest.raises(UserError, match=r"lacks \[CLS\], \[SEP\], \[MASK\]"):
        read_vocabulary(path)
    path.write_text("\n".join([*SPECIAL, "<S>", "the", "The", "##T"]))
    with pytest.raises(UserError, match="is cased: 2 pieces begin with a capital, first The, ##T"):
        read_vocabulary(path)
    path.write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(UserError, match="not UTF-8 text: byte 6 is 0xff"):
        read_vocabulary(path)


def test_choose_masked_takes_a_share_and_never_a_special_token():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 30, (50, 40))
    chosen = choose_masked(tokens, 0.15, rng)
    allowed = tokens >= len(SPECIAL)
    assert not (chosen & ~allowed).any()
    assert np.array_equal(chosen.sum(1), np.maximum(1, np.round(0.15 * allowed.sum(1))))
    assert not choose_masked(np.zeros((2, 5), int), 0.15, rng).any()
