"""Vectors of a model that lie with the data: they are searched where they are, nothing is trained."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from splits.store import Dataset
from splits.vectors import EMBEDDINGS, Vectors, models, open_model
from suite import contracts
from suite.errors import UserError, unknown

KIND = "ready"
LABEL = "Prefix"
NEEDS = ("embeddings",)
LABELS = False
OPTIONS = {
    "model": None,  # a folder of embeddings/; null: the only one
    "trained": None,  # sizes that the model was trained for, where they are known
}
ALLOWED = {
    "model": {"type": ["string", "null"]},
    "trained": {"type": "array", "items": {"type": "integer", "minimum": 1}},
}


def arrays(dataset: Dataset, options: dict) -> dict[str, tuple[Vectors, np.ndarray | None]]:
    """By split, vectors and which of their rows it has, int64 [n]; None: all of them, in their order.

    Raises UserError for a model that is not there, where several are and none is named, and for a size that
    it cannot have been trained for.
    """
    source = dataset.manifest["options"]
    names = contracts.SOURCE.load(dataset.manifest["source"]).vector_files(source)
    root = Path(source["root"]).expanduser()
    folder, there = root / EMBEDDINGS, models(root, source["models"], tuple(names.values()))
    model = options["model"] or there[0]
    if options["model"] is None and len(there) > 1:
        raise UserError(
            f"{folder} has {len(there)} models: {', '.join(there)}; name one of them as `model` of the method"
        )
    if model not in there:
        raise unknown("model", model, there, folder)
    found = opened(dataset, folder / model, names)
    dim = next(iter(found.values()))[0].dim
    if options["trained"] and max(options["trained"]) > dim:
        raise UserError(
            f"{folder / model} has vectors of {dim} dimensions; it cannot be trained for {options['trained']}"
        )
    return found


def opened(
    dataset: Dataset, folder: Path, names: Mapping[str, str]
) -> dict[str, tuple[Vectors, np.ndarray | None]]:
    """The same of any folder of vectors. names: of each split's array, without .npy."""
    found = open_model(folder, names)
    rows = {split: dataset[split].items["row"].to_numpy() for split in found}
    every = {split: np.array_equal(some, np.arange(len(found[split]))) for split, some in rows.items()}
    return {split: (vectors, None if every[split] else rows[split]) for split, vectors in found.items()}
