"""Vectors of texts, by a small model inside a Python package: `python -m splits.embed_text data/mine`.

The folder is one of docs/collections.md, with its texts and as yet without vectors:

    corpus.jsonl, queries.jsonl[, train_queries.jsonl]   a collection in BEIR's layout
    train.csv, test.csv                                  or labelled texts, with columns text and label

What comes out lies in embeddings/wordllama-256/ below it: float16 [n, 256], a row for each text, with the
ids of a collection beside it, and model.json, which says how it was made. Of labelled texts the labels are
written as well. The model is WordLlama (256 dimensions, trained for its prefixes of 64 and 128 as well): the
vector of a text is the mean of those of its tokens in a table, without special tokens, not cut off and not
normalised, and all zeros where there are none. A document is its title, a blank and its text. Nothing is
downloaded: `pip install -e '.[text]'` brings the weights.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from splits.given import decoded, hidden, read_table, read_text, some
from splits.sources.collection import NAMES, TRAIN, lines_of, read_texts
from splits.sources.labelled import ARRAYS, labels_path
from splits.sources.labelled import NAMES as LABEL_NAMES
from splits.vectors import EMBEDDINGS, IDS
from suite import cli, files
from suite.errors import UserError

MODEL, PACKAGE, DIM = "wordllama-256", "wordllama", 256
# The model's files inside the package, and their SHA-256: other weights would be another model of this name.
WEIGHTS = {
    "weights/l2_supercat_256.safetensors": "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
    "tokenizers/l2_supercat_tokenizer_config.json": (
        "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68"
    ),
}
PROTOCOL = {
    "document": "title, a blank and text, stripped",
    "query": "its text",
    "vector": "mean of the vectors of the text's tokens, without special tokens, not cut off, not normalised",
    "dtype": "float16, rounded from float32",
}
RECORD = "model.json"  # of a folder of vectors that were made here
BATCH = 256  # texts that are split into tokens at once


@dataclass(frozen=True)
class Texts:
    """Texts that become an array. ids: one for each, where they have any; read: the texts, each time anew."""

    path: Path
    count: int
    read: Callable[[], Iterable[str]]
    ids: Sequence[str] | None = None


def embed_folder(root: Path, load: Callable, force: bool = False) -> dict[str, tuple[int, int]]:
    """The shapes of the arrays that are written, by name.

    load: gives what makes float32 [n, DIM] of a list of texts, and what the record says of it; called once
    the texts are known to be good.
    Raises UserError, with file and line, for texts that cannot be embedded, and, unless `force`, where other
    vectors or labels lie in the place of what would be written.
    """
    folder, labels, names = root / EMBEDDINGS / MODEL, {}, []
    if (root / NAMES["corpus"]).is_file():
        texts = collection(root)
    elif all((root / f"{name}.csv").is_file() for name in ARRAYS.values()):
        texts, labels, names = labelled(root)
    else:
        raise UserError(
            f"no texts in {root}: it needs {' and '.join(NAMES.values())}, or train.csv and test.csv with "
            "columns text and label; see docs/collections.md"
        )
    others = other_files(folder, labels)
    if others and not force:
        raise UserError(
            f"{some(others)}: made elsewhere, or changed since; --force puts vectors of {MODEL} in the place "
            "of what lies there"
        )
    embed, made_by = load()
    with ExitStack() as stack:  # renames in reverse order on the way out: the record comes last
        record = stack.enter_context(files.write_aside(folder / RECORD))
        made, marks = {}, {}
        for name, given in texts.items():
            shape = (given.count, DIM)
            made[name] = stack.enter_context(files.create_npy(folder / f"{name}.npy", shape, np.float16))
            fill(made[name], given, embed, name)
            marks[f"{name}.npy"] = files.sha256(made[name].filename)
            if given.ids is not None:
                aside = stack.enter_context(files.write_aside(folder / f"{name}{IDS}"))
                write_lines(aside, given.ids)
        for path in others:
            path.unlink()
        for path, array in labels.items():
            files.write_npy(path, array)
        if names:
            with files.write_aside(root / LABEL_NAMES) as aside:
                write_lines(aside, names)
        files.write_json(
            record,
            {
                "model": MODEL,
                **made_by,
                **PROTOCOL,
                "texts": {given.path.name: files.sha256(given.path) for given in texts.values()},
                "arrays": marks,
            },
        )
    return {name: array.shape for name, array in made.items()}


def other_files(folder: Path, labels: dict[Path, np.ndarray]) -> list[Path]:
    """Arrays where this would write that it did not write, as far as its record of them tells."""
    path = folder / RECORD
    marks = files.read_json(path).get("arrays", {}) if path.exists() else {}
    there = [path for path in sorted(folder.glob("*.np[yz]")) if not hidden(path.name)]
    there = [path for path in there if files.sha256(path) != marks.get(path.name)]
    return there + [path for path, mine in labels.items() if path.exists() and not same(path, mine)]


def same(path: Path, array: np.ndarray) -> bool:
    """Whether a file holds this array."""
    try:
        return np.array_equal(np.load(path), array)
    except files.DAMAGE:
        return False


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def fill(array: np.ndarray, texts: Texts, embed: Callable, name: str) -> None:
    """Write the vectors of texts into an array [n, DIM], which is then on the disk."""
    start = 0
    with tqdm(total=texts.count, desc=f"embedding {name}", unit="text", mininterval=2) as bar:
        waiting = iter(texts.read())
        while batch := list(islice(waiting, BATCH)):
            array[start : start + len(batch)] = embed(batch)
            start += len(batch)
            bar.update(len(batch))
    array.flush()


# --- texts ------------------------------------------------------------------------------------------


def collection(root: Path) -> dict[str, Texts]:
    """Documents and queries of a folder in BEIR's layout, by the name of their array. Raises UserError."""
    found = {}
    for name in (*NAMES, TRAIN):
        path = root / f"{name}.jsonl"
        if name == TRAIN and not path.is_file():
            continue
        if not path.is_file():
            raise UserError(f"no file {path}, one line of JSON for each query; see docs/collections.md")
        ids, read = read_texts(path).ids, partial(items_of, path, name == "corpus")
        for _ in read():
            pass  # what is wrong with a line is said before anything is embedded
        found[name] = Texts(path, len(ids), read, ids)
    return found


def items_of(path: Path, titled: bool) -> Iterator[str]:
    """The text of each item of a .jsonl, its title in front if `titled`. Raises UserError with the line."""
    for number, line in lines_of(path):
        item = json.loads(decoded(line, f"{path}, line {number}"))
        title, text = (item.get(key) or "" for key in ("title", "text"))
        if "text" not in item or not isinstance(title, str) or not isinstance(text, str):
            raise UserError(f'{path}, line {number}: needs "text" (and may have "title"), in quotes')
        yield f"{title} {text}".strip() if titled else text


def labelled(root: Path) -> tuple[dict[str, Texts], dict[Path, np.ndarray], list[str]]:
    """Texts of train.csv and test.csv by the name of their array, labels by file, and new names.

    Labels are numbered in the order of label_names.txt; where there is none, those of train.csv are, in
    alphabetical order, and are what it should hold. Raises UserError for a label that is not among them.
    """
    tables = {name: read_table(root / f"{name}.csv", "text", "label") for name in ARRAYS.values()}
    place = root / LABEL_NAMES
    new = [] if place.exists() else sorted({*tables["train"]["label"]})
    numbers = {name: number for number, name in enumerate(new or read_text(place).splitlines())}
    texts, labels = {}, {}
    for name, table in tables.items():
        path = root / f"{name}.csv"
        if table.empty:
            raise UserError(f"{path} has no line below its first")
        unknown = table[~table["label"].isin(numbers)]
        for label, line in zip(unknown["label"], unknown["line"]):
            where = root / "train.csv" if new else place
            raise UserError(f"{path}, line {line}: the label {label!r} is not in {where}")
        texts[name] = Texts(path, len(table), partial(iter, table["text"]))
        labels[labels_path(root, name)] = table["label"].map(numbers).to_numpy(np.int64)
    return texts, labels, new


# --- the model --------------------------------------------------------------------------------------


def wordllama() -> tuple["Embedder", dict]:
    """(what makes float32 [n, DIM] of n texts, which package that is).

    Raises UserError where the package is missing or has other weights.
    """
    try:
        import wordllama
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UserError(f"{MODEL} needs the package {PACKAGE} ({error}): pip install -e '.[text]'") from error
    weights, tokenizer = (Path(wordllama.__file__).parent / name for name in WEIGHTS)
    for path, mark in zip((weights, tokenizer), WEIGHTS.values()):
        if files.content(path) != mark:
            raise UserError(
                f"{path} is not the file of {MODEL}; pip install -e '.[text]' brings the right version"
            )
    embedder = Embedder(load_file(weights)["embedding.weight"], Tokenizer.from_file(str(tokenizer)))
    return embedder, {"package": PACKAGE, "version": metadata.version(PACKAGE), "weights": WEIGHTS}


class Embedder:
    """The mean of the rows of `table` [V, d] that a text's tokens name: float32 [n, d], zeros without any.

    One text at a time, so that no vector depends on what else is embedded. tokenizer: as the package
    `tokenizers` has it; tokens beyond the table are its last, as WordLlama has it.
    """

    def __init__(self, table: np.ndarray, tokenizer):
        self.table, self.tokenizer = table.astype(np.float32), tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()

    def __call__(self, texts: list[str]) -> np.ndarray:
        found = np.zeros((len(texts), self.table.shape[1]), np.float32)
        for row, tokens in zip(found, self.tokenizer.encode_batch(texts, add_special_tokens=False)):
            if tokens.ids:
                row[:] = self.table.take(tokens.ids, axis=0, mode="clip").mean(axis=0)
        return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the folder with the texts")
    parser.add_argument(
        "--force", action="store_true", help=f"replace what others have put into embeddings/{MODEL}/"
    )
    args = parser.parse_args(argv)
    for name, shape in embed_folder(args.folder.expanduser(), wordllama, args.force).items():
        print(f"{args.folder / EMBEDDINGS / MODEL / name}.npy: float16 {list(shape)}")


if __name__ == "__main__":
    cli.run(main)
