"""Text as ids of word pieces: words a vocabulary has, anything else in pieces down to single characters.

    >>> vocabulary = [*SPECIAL, "break", "##s", "##e", "s", "."]
    >>> WordPieces(vocabulary).pieces("Breaks.")
    ['break', '##s', '.']

A vocabulary is a list of strings as in BERT's vocab.txt: a piece that continues a word begins with ##. Here
the five special tokens always come first (`specials_first`), so that code need not be told where they are.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from splits.given import read_text
from suite.errors import UserError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL))
# Chinese characters are words of their own, as in BERT: no spaces stand between the words of Chinese text.
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f\U00030000-\U000323af"
WORD = re.compile(rf"[{HAN}]|[^\W_{HAN}]+|[^\w\s]|_")  # else a run of letters and digits, or one other sign
CAPITAL = re.compile(r"(##)?[A-Z]\w*")  # a piece as uncased vocabularies have none
LONGEST_WORD = 100  # longer ones are [UNK], as in BERT


def normalise(text: str) -> str:
    """Lower case without accents, as BERT's uncased vocabularies expect it."""
    parts = unicodedata.normalize("NFD", text.lower())
    return "".join(sign for sign in parts if unicodedata.category(sign) != "Mn")


def words(text: str) -> str:
    """What is left of a text for the tokeniser: its words and signs, one space between them.

    >>> words("A  dog.") == words("a dog .")
    True
    """
    return " ".join(WORD.findall(normalise(text)))


def learn_vocabulary(documents: Iterable[str], size: int) -> list[str]:
    """`size` pieces: special tokens, every character alone and as a continuation, the most frequent words.

    Ties go to the word that sorts first. Raises UserError when the characters alone do not fit.
    """
    counts = Counter(word for text in documents for word in words(text).split())
    characters = sorted({sign for word in counts for sign in word})
    continuing = sorted({"##" + sign for word in counts for sign in word[1:]})
    vocabulary = [*SPECIAL, *characters, *continuing]
    if len(vocabulary) > size:
        raise UserError(
            f"a vocabulary of {size} does not even hold the {len(characters)} characters of the text; "
            f"allowed: from {len(vocabulary)} on (data.vocabulary)"
        )
    longer = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
    return vocabulary + longer[: size - len(vocabulary)]


def read_vocabulary(path: str | Path) -> list[str]:
    """The pieces of a BERT vocab.txt, one a line, special tokens put first.

    Raises UserError when the file is missing, not text, lacks a special token, names a piece twice, or holds
    pieces with capitals, which text in lower case never uses.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no vocabulary {path}: expected BERT's vocab.txt, one piece a line")
    vocabulary = read_text(path).splitlines()
    if missing := [token for token in SPECIAL if token not in vocabulary]:
        raise UserError(f"{path} lacks {', '.join(missing)}: it is not the vocabulary of a BERT")
    if len(set(vocabulary)) < len(vocabulary):
        twice = next(piece for piece, count in Counter(vocabulary).items() if count > 1)
        raise UserError(f"{path} names {twice!r} more than once")
    if cased := [piece for piece in vocabulary if CAPITAL.fullmatch(piece)]:
        raise UserError(
            f"{path} is cased: {len(cased):,} pieces begin with a capital, first {', '.join(cased[:3])}; "
            "text is put in lower case here, so that a BERT has to be uncased"
        )
    return [vocabulary[row] for row in specials_first(vocabulary)]


def specials_first(vocabulary: Sequence[str]) -> list[int]:
    """Row of a vocabulary for each id here: special tokens as in SPECIAL, then all others in their order."""
    others = [row for row, piece in enumerate(vocabulary) if piece not in SPECIAL]
    return [vocabulary.index(token) for token in SPECIAL] + others


class WordPieces:
    """Cuts text into the pieces of a vocabulary, longest first (Wu et al. 2016), as BERT does."""

    def __init__(self, vocabulary: Sequence[str]):
        self.vocabulary = list(vocabulary)
        self.ids = {piece: number for number, piece in enumerate(self.vocabulary)}
        self._cut = cache(self._cut_word)

    def pieces(self, text: str) -> list[str]:
        """The text's pieces; a word that cannot be made of pieces is [UNK]."""
        return [self.vocabulary[number] for number in self.encode(text)]

    def encode(self, text: str) -> list[int]:
        """The text's ids."""
        return [number for word in WORD.findall(normalise(text)) for number in self._cut(word)]

    def _cut_word(self, word: str) -> tuple[int, ...]:
        found, start = [], 0
        while start < len(word) <= LONGEST_WORD:
            for stop in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:stop]
                if piece in self.ids:
                    break
            else:
                return (UNK,)
            found.append(self.ids[piece])
            start = stop
        return tuple(found) or (UNK,)


def choose_masked(tokens: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which positions a masked language model has to predict: bool [n, L].

    tokens: [n, L]. In each row the same share of what is not a special token, rounded, at least one.
    """
    allowed = tokens >= len(SPECIAL)
    count = np.maximum(1, np.round(share * allowed.sum(1))).astype(int)
    order = np.argsort(np.where(allowed, rng.random(tokens.shape), 2), axis=1)
    rank = np.argsort(order, axis=1)
    return (rank < count[:, None]) & allowed
