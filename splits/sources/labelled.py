"""Labelled items that are embedded already: vectors of models for a training and a test set, and the labels.

A folder (docs/collections.md), of texts, images or anything else, which itself is not needed:

    train_labels.npy, test_labels.npy           whole numbers from 0, [n]
    label_names.txt                             optional: a name per line, in the order of the labels
    embeddings/<model>/train.npy, test.npy      a row for each label (splits/vectors.py)

`train` has the training items, `val` the test items. Vectors stay where they are: the method
`given_embeddings` opens them. All of it is checked here, before anything is made from it.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from splits.given import read_text, some
from splits.store import DIGEST, DatasetWriter, class_table
from splits.vectors import EMBEDDINGS, Vectors, check_values, listing, models, open_model, opened
from suite.errors import UserError

PROVIDES = ("embeddings",)
WRITES = ("train", "val")
OUTSIDE = True
OPTIONS = {
    "root": "required",  # the folder
    "models": None,  # folders of embeddings/ to take; null: all of them
}
ALLOWED = {
    "root": {"type": "string"},
    "models": {"type": "array", "minItems": 1, "items": {"type": "string"}},
}
ARRAYS = {"train": "train", "val": "test"}  # by split
NAMES = "label_names.txt"
BLOCK = 16_384  # rows that are read at once


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write train and val. Raises UserError, with file and row, for whatever is wrong."""
    root = Path(options["root"]).expanduser()
    paths = {split: labels_path(root, name) for split, name in ARRAYS.items()}
    labels = {split: read_labels(path) for split, path in paths.items()}
    names = class_names(root, labels, paths)
    digests = {split: [hashlib.blake2b(digest_size=16) for _ in labels[split]] for split in labels}
    for model in models(root, options["models"], tuple(ARRAYS.values())):
        for split, vectors in checked_model(root / EMBEDDINGS / model, labels, paths).items():
            add_rows(digests[split], vectors)
    writer.classes(class_table(names, "", len(names)))
    writer.keep_overlap("equal vectors in train and test are as they were given")
    for split, name in ARRAYS.items():
        rows = np.arange(len(labels[split]))
        items = pd.DataFrame({"id": [f"{name}-{row}" for row in rows], "row": rows})
        found = np.array([digest.digest() for digest in digests[split]], DIGEST)
        writer.without_images(split, labels[split], items, found)
    known, asked = (np.load(writer.folder / split / "digests.npy") for split in ARRAYS)
    if both := int(np.isin(asked, known).sum()):
        tqdm.write(f"{root}: {both} of {len(asked)} test items have the very vectors of a training item")


def check_vectors(folder: Path, options: dict) -> list[str]:
    """`checked_model` of a folder that lies anywhere; gives the arrays, of whose order nothing tells."""
    paths = {split: labels_path(Path(options["root"]).expanduser(), name) for split, name in ARRAYS.items()}
    checked_model(folder, {split: read_labels(path) for split, path in paths.items()}, paths)
    return list(ARRAYS.values())


def checked_model(folder: Path, labels: dict[str, np.ndarray], paths: dict[str, Path]) -> dict[str, Vectors]:
    """Vectors of a model by split. Raises UserError unless there is a finite one for each label."""
    found = open_model(folder, ARRAYS)
    for split, vectors in found.items():
        if len(vectors) != len(labels[split]):
            raise UserError(
                f"{vectors.path} has {len(vectors)} rows, but {paths[split]} has {len(labels[split])} labels"
            )
        if zeros := check_values(vectors):
            tqdm.write(f"{vectors.path}: {zeros} rows are all zeros; their cosine with everything is 0")
    return found


def add_rows(digests: list, vectors: Vectors) -> None:
    """Let the digest of each item know its vector by one more model."""
    for start in range(0, len(vectors), BLOCK):
        for digest, row in zip(digests[start : start + BLOCK], vectors.rows(slice(start, start + BLOCK))):
            digest.update(row.tobytes())


def outside(options: dict) -> dict:
    """A listing of the folder. Raises UserError for one that is not there or lacks one of its parts."""
    root = Path(options["root"]).expanduser()
    if not root.is_dir():
        raise UserError(f"no folder {root}: data.root holds labels and embeddings; see docs/collections.md")
    read = [labels_path(root, name) for name in ARRAYS.values()] + [root / NAMES]
    for path in read[:-1]:
        if not path.is_file():
            raise UserError(f"no file {path}, an array of whole numbers from 0; see docs/collections.md")
    read += [root / EMBEDDINGS / model for model in models(root, options["models"], tuple(ARRAYS.values()))]
    return {"listing": listing(root, read)}


def vector_files(options: dict) -> dict[str, str]:
    """The name of each split's array below a model's folder, without .npy."""
    return ARRAYS


def labels_path(root: Path, name: str) -> Path:
    """The file of labels of train or test."""
    return root / f"{name}_labels.npy"


def read_labels(path: Path) -> np.ndarray:
    """int64 [n], from 0. Raises UserError, with the row, for any other array."""
    given = opened(path)
    if given.ndim != 1 or not len(given):
        raise UserError(f"{path} has shape {list(given.shape)}; labels are [rows], one for each item")
    if given.dtype.kind not in "iuf":
        raise UserError(
            f"{path} is {given.dtype}; labels are whole numbers from 0, and their names, if any, the lines "
            f"of {NAMES}"
        )
    right = (given >= 0) & (given < 2**31) & (given == np.floor(given))
    if not right.all():
        row = int(np.flatnonzero(~right)[0])
        raise UserError(f"{path}, row {row}: the label is {given[row]}; allowed: whole numbers from 0")
    return given.astype(np.int64)


def class_names(root: Path, labels: dict[str, np.ndarray], paths: dict[str, Path]) -> list[str]:
    """Names of the classes: the lines of NAMES, or the labels as text.

    Raises UserError for labels without a name, gaps where there are no names, and test items of a class that
    no training item has.
    """
    train, test = labels.values()
    known = np.unique(train)
    if strange := np.setdiff1d(test, known).tolist():
        row = int(np.flatnonzero(test == strange[0])[0])
        raise UserError(
            f"{paths['val']}, row {row}: class {strange[0]} has no item in {paths['train']}"
            + (f" ({len(strange)} such classes: {some(strange)})" if len(strange) > 1 else "")
        )
    path, count = root / NAMES, int(known[-1]) + 1
    if not path.exists():
        if gaps := np.setdiff1d(np.arange(min(count, 2 * len(known))), known).tolist():
            raise UserError(
                f"{paths['train']} has no item of class {gaps[0]}, but one of {count - 1}: number the "
                f"classes 0, 1, 2 …, or name them all in {path}"
            )
        return [str(label) for label in range(count)]
    names = read_text(path).splitlines()
    if len(names) < count:
        row = int(np.flatnonzero(train >= len(names))[0])
        raise UserError(
            f"{paths['train']}, row {row}: the label is {train[row]}, but {path} has {len(names)} names, "
            f"for 0 to {len(names) - 1}"
        )
    return [name.strip() for name in names]
