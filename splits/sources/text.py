"""English text in masked sequences: the corpus that every Python carries, or a folder of the user's own.

    data: {source: text}                     the language reference and the docstrings of the standard library
    data: {source: text, root: my/texts}     every .txt, .md and .rst file below a folder, one document each

Documents, not sequences, are divided into train and val; what val quotes from train is left out of it. A row
of a split is one *question*: int32 [1 + L], the position that is asked for, then the L tokens of a sequence;
its label is the token that stands there.

    train   each sequence once, whole, with one position; training masks other positions in every step
    val     a fixed share of every sequence is masked, and each masked position is a row: these are scored

Python's own text changes with its version: `corpus.json` records version, size and checksum, and only
results with the same data checksum are comparable.
"""

import ast
import hashlib
import platform
import sys
import sysconfig
import zlib
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pandas as pd
from tqdm import tqdm

from splits.checks import check_share, check_whole
from splits.given import files_below, read_text, refuse_dead, some
from splits.store import DatasetWriter, class_table
from splits.words import wordpieces
from splits.words.wordpieces import CLS, MASK, PAD, SEP, UNK, WordPieces
from suite import files
from suite.errors import UserError

PROVIDES = ("documents",)
WRITES = ("train", "val", "superclasses")
OUTSIDE = True
OPTIONS = {
    "root": None,  # folder of text files; None: the text that every Python carries
    "seed": 0,  # chooses documents of val and what is masked there
    "vocabulary": 4096,  # pieces to learn on the documents of train
    "vocabulary_file": None,  # a BERT vocab.txt to use instead
    "length": 64,  # tokens of a sequence, [CLS] and [SEP] included
    "val_fraction": 0.1,  # of the documents
    "masked": 0.15,  # share of a sequence of val that is masked, BERT's
    "questions": 10_000,  # rows of val at most
}
ALLOWED = {
    "root": {"type": "string"},
    "vocabulary": {"minimum": 1},
    "vocabulary_file": {"type": "string"},
    "length": {"minimum": 10},
    "val_fraction": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "masked": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "questions": {"minimum": 1},
}
SUFFIXES = (".txt", ".md", ".rst")
SPLITS = ("train", "val")
LIBRARY = Path(sysconfig.get_path("stdlib"))
SHORTEST = 8  # tokens: what is left of a document, and shorter, is dropped
RUN = 20  # tokens: what stands in train in a run as long is no test of val; documents quote each other
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # an odd number without pattern, for hashes of runs
Questions = tuple[np.ndarray, np.ndarray, list[str]]  # rows int32 [n, 1 + L], labels int64 [n], documents
NOT_ENGLISH = ("test", "tests", "idlelib", "site-packages", "lib2to3")  # folders of the standard library


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write train and val, the vocabulary as the class table, and corpus.json.

    Raises UserError for a folder without text, text that is not UTF-8, and a corpus too small to divide.
    """
    check_whole("text", options, seed=0, length=SHORTEST + 2, questions=1)
    check_share("text", options, "val_fraction", "masked")
    documents = read_folder(Path(options["root"]).expanduser()) if options["root"] else python_text()
    documents = without_copies(documents)
    chosen = divide(sorted(documents), options["val_fraction"], options["seed"])
    if options["vocabulary_file"]:
        vocabulary = wordpieces.read_vocabulary(options["vocabulary_file"])
    else:
        vocabulary = wordpieces.learn_vocabulary(map(documents.get, chosen["train"]), options["vocabulary"])
    cutter = WordPieces(vocabulary)
    train, val = ({name: cutter.encode(documents[name]) for name in chosen[split]} for split in SPLITS)
    tell_unknown([*train.values(), *val.values()])
    known = np.unique(np.concatenate([runs(ids) for ids in train.values()]))
    parts = {
        "train": {name: [ids] for name, ids in train.items()},
        "val": {name: without_runs(ids, known) for name, ids in val.items()},
    }
    sequences = {name: cut(some, options["length"]) for name, some in parts.items()}
    for name, (tokens, _) in sequences.items():
        if not len(tokens):
            raise UserError(f"the documents of {name} hold no sequence of {SHORTEST} tokens; give more text")
    count = np.bincount(sequences["train"][0].ravel(), minlength=len(vocabulary))
    writer.classes(class_table(vocabulary, list(map(kind, vocabulary)), len(vocabulary), count=count))
    write(writer, "train", *ask_once(*sequences["train"], options))
    write(writer, "val", *ask_masked(*sequences["val"], options))
    joined = "".join(f"{name}\0{documents[name]}\0" for name in sorted(documents))
    files.write_json(
        writer.folder / "corpus.json",
        {
            "root": str(options["root"] or f"Python {platform.python_version()}"),
            "sha256": hashlib.sha256(joined.encode()).hexdigest(),
            "characters": sum(map(len, documents.values())),
            "documents": {name: len(some) for name, some in chosen.items()},
            "tokens": {name: int((tokens > MASK).sum()) for name, (tokens, _) in sequences.items()},
            "quoted_from_train": sum(map(len, val.values()))
            - sum(len(p) for ps in parts["val"].values() for p in ps),
        },
    )


def outside(options: dict) -> dict:
    """What decides the data beside the options: the text files, and a vocabulary.

    Raises UserError for those that are missing.
    """
    found = {}
    if options["root"]:
        root = Path(options["root"]).expanduser()
        if not root.is_dir():
            raise missing(root)
        found["listing"] = files.listing(root, is_text)
    if path := options["vocabulary_file"]:
        found["vocabulary"] = files.outside(path)
        if found["vocabulary"] is None:
            raise UserError(f"no vocabulary {path} (data.vocabulary_file)")
    return found


def missing(root: Path) -> UserError:
    """The error for a folder of texts that is not there."""
    return UserError(f"no folder {root}: data.root is a folder of text files ({', '.join(SUFFIXES)})")


def is_text(path: Path) -> bool:
    """Whether a file's name says that it is a document."""
    return path.suffix.lower() in SUFFIXES


def python_text(library: Path = LIBRARY) -> dict[str, str]:
    """Documents by name: topics of the language reference, and the docstrings of each module of `library`.

    A docstring that occurred before is left out: modules repeat each other.
    """
    documents = {f"topic {name}": text for name, text in topics.items()}
    first: dict[str, Path] = {}  # where each docstring occurs first
    paths = sorted(library.rglob("*.py"))
    paths = [path for path in paths if not set(path.relative_to(library).parts) & set(NOT_ENGLISH)]
    for path in tqdm(paths, desc="reading docstrings", unit="file", mininterval=2):
        if text := [
            found for found in dict.fromkeys(docstrings(path)) if first.setdefault(found, path) is path
        ]:
            documents[f"module {path.relative_to(library).with_suffix('')}"] = "\n\n".join(text)
    return documents


def docstrings(path: Path) -> list[str]:
    """Docstrings of a module, its classes and functions; none for a file that is not Python 3 in UTF-8."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [text for node in ast.walk(tree) if isinstance(node, kinds) and (text := ast.get_docstring(node))]


def read_folder(root: Path) -> dict[str, str]:
    """Documents by their path below `root`.

    Raises UserError for a missing folder, one without text files, and a file that is not UTF-8.
    """
    if not root.is_dir():
        raise missing(root)
    paths = list(filter(is_text, files_below(root)))
    refuse_dead(paths)
    documents, faults = {}, []
    for path in paths:
        try:
            documents[str(path.relative_to(root))] = read_text(path)
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError("; ".join(faults[:5]) + (f" … ({len(faults)} files)" if len(faults) > 5 else ""))
    if empty := [name for name, text in documents.items() if not text.strip()]:
        print(f"text: {len(empty)} files left out, which are empty: {some(empty)}", file=sys.stderr)
    documents = {name: text for name, text in documents.items() if text.strip()}
    if len(documents) < 2:
        raise UserError(
            f"{root} holds {len(documents)} text files ({', '.join(SUFFIXES)}) that are not empty; at least "
            "two are needed, since documents are divided into train and val"
        )
    return documents


def divide(names: list[str], fraction: float, seed: int) -> dict[str, list[str]]:
    """Names of train and val: a share of the documents, at least one on either side."""
    rng = np.random.default_rng([seed, zlib.crc32(b"documents")])
    count = min(len(names) - 1, max(1, round(fraction * len(names))))
    val = set(rng.choice(names, count, replace=False).tolist())
    return dict(zip(SPLITS, ([n for n in names if n not in val], [n for n in names if n in val])))


def tell_unknown(documents: list[list[int]]) -> None:
    """Say on stderr how many tokens are [UNK] where they are more than a hundredth: what no piece spells."""
    tokens = sum(map(len, documents))
    unknown = sum(ids.count(UNK) for ids in documents)
    if unknown > tokens / 100:
        print(
            f"text: {unknown:,} of {tokens:,} tokens are [UNK]: words of more than {wordpieces.LONGEST_WORD} "
            "letters (of a script without spaces, say), or of letters that the vocabulary lacks",
            file=sys.stderr,
        )


def without_copies(documents: dict[str, str]) -> dict[str, str]:
    """The documents, of several with the same text the first: copies would be divided like others.

    Raises UserError when one is left.
    """
    kept = pd.Series(documents, dtype=object).sort_index().drop_duplicates().to_dict()
    if len(kept) < 2:
        raise UserError(f"all {len(documents)} documents have the same text; at least two texts are needed")
    return kept


def runs(ids: list[int]) -> np.ndarray:
    """A hash of the RUN tokens from each position: uint64 [tokens − RUN + 1], none of a shorter text."""
    tokens = np.array(ids, np.uint64)
    count = max(0, len(tokens) - RUN + 1)
    found = np.zeros(count, np.uint64)
    for offset in range(RUN):
        found = found * FACTOR + tokens[offset : offset + count]
    return found


def without_runs(ids: list[int], known: np.ndarray) -> list[list[int]]:
    """What is left of a document without the runs that are known, in one piece or several.

    known: uint64, hashes of `runs`.
    """
    shared = np.zeros(len(ids), bool)
    for start in np.flatnonzero(np.isin(runs(ids), known)):
        shared[start : start + RUN] = True
    edges = np.flatnonzero(np.diff(shared, prepend=True, append=True))  # where what is left begins and ends
    return [ids[start:stop] for start, stop in edges.reshape(-1, 2)]


def cut(documents: dict[str, list[list[int]]], length: int) -> tuple[np.ndarray, list[str]]:
    """(sequences int32 [n, length], the document of each): [CLS] pieces [SEP] [PAD] …

    documents: by name the pieces of text, as tokens; a sequence is of one of them.
    """
    rows, owners = [], []
    for name, parts in documents.items():
        for ids in parts:
            for start in range(0, len(ids), length - 2):
                part = ids[start : start + length - 2]
                if len(part) >= SHORTEST:
                    rows.append([CLS, *part, SEP] + [PAD] * (length - 2 - len(part)))
                    owners.append(name)
    return np.array(rows, np.int32).reshape(-1, length), owners


def ask_once(tokens: np.ndarray, owners: list[str], options: dict) -> Questions:
    """One position of each sequence, nothing masked."""
    rng = np.random.default_rng([options["seed"], zlib.crc32(b"train questions")])
    positions = np.where(tokens > MASK, rng.random(tokens.shape), -1).argmax(1)
    return np.column_stack([positions, tokens]), take(tokens, positions), owners


def ask_masked(tokens: np.ndarray, owners: list[str], options: dict) -> Questions:
    """Every masked position of every sequence.

    Of more questions than are wanted, those of sequences drawn at random.
    """
    rng = np.random.default_rng([options["seed"], zlib.crc32(b"val questions")])
    chosen = wordpieces.choose_masked(tokens, options["masked"], rng)
    order = rng.permutation(len(tokens))
    enough = np.searchsorted(np.cumsum(chosen[order].sum(1)), options["questions"], side="right")
    kept = np.sort(order[: max(1, enough)])
    sequence, position = np.nonzero(chosen[kept])
    asked = np.where(chosen[kept], MASK, tokens[kept])[sequence]
    owners = [owners[row] for row in kept[sequence]]
    return np.column_stack([position, asked]), take(tokens[kept][sequence], position), owners


def take(tokens: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The token at one position of each row: int64 [n]."""
    return tokens[np.arange(len(tokens)), positions].astype(np.int64)


def write(writer: DatasetWriter, name: str, rows: np.ndarray, labels: np.ndarray, owners: list[str]) -> None:
    """Write a split; `document` says which document a row is from."""
    items = pd.DataFrame({"id": [f"{name}-{row:06d}" for row in range(len(rows))], "document": owners})
    writer.split(name, rows.astype(np.int32), labels, items)


def kind(piece: str) -> str:
    """What a piece is, as its superclass: special, character, continuation or word."""
    if piece in wordpieces.SPECIAL:
        return "special"
    if len(piece) == 1:
        return "character"
    return "continuation" if piece.startswith("##") and len(piece) > 2 else "word"
