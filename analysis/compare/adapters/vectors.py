"""A folder of vectors of another model, for data that come with embeddings: like one of their `embeddings/`.

    corpus.npy, queries.npy    of a text collection (splits/vectors.py)
    train.npy, test.npy        of labelled vectors
    method.yaml                optional label and cost (anything to be shown)

It is checked as the study's own models are, and searched where it lies.
"""

from pathlib import Path

import numpy as np

from analysis.compare.adapters.folder import DESCRIPTION, describe_folder
from baselines.given_embeddings import opened
from splits.store import Dataset
from splits.vectors import Vectors, array_path
from suite import contracts
from suite.errors import UserError, unknown

KIND = "ready"
LABEL = "vectors from a folder"
NEEDS = ("embeddings",)
LABELS = False
OPTIONS = {
    "path": "required",
}
ALLOWED = {
    "path": {"type": "string"},
}
DESCRIBED = ("label", "cost")


def described(folder: Path) -> dict:
    """The folder's method.yaml, {} where there is none. Raises UserError for keys that vectors have not."""
    found = describe_folder(folder)
    for key in found:
        if key not in DESCRIBED:
            raise unknown("key", key, DESCRIBED, folder / DESCRIPTION)
    return found


def arrays(dataset: Dataset, options: dict) -> dict[str, tuple[Vectors, np.ndarray | None]]:
    """By split, vectors and which of their rows it has; see `given_embeddings.arrays`."""
    return opened(dataset, Path(options["path"]), files(dataset))


def facts(dataset: Dataset, options: dict) -> dict:
    """What the page says of them: notes, and costs that are stated.

    Raises UserError for vectors that are not those of the study's items, as its source checks its own.
    """
    folder, names = Path(options["path"]), files(dataset)
    for name in names.values():
        if not array_path(folder, name).exists():
            raise UserError(
                f"{folder} has no {name}.npy: vectors of {dataset.manifest['source']} data are "
                f"{' and '.join(f'{each}.npy' for each in names.values())}, as in embeddings/<model>/; see "
                "docs/collections.md"
            )
    source = contracts.SOURCE.load(dataset.manifest["source"])
    unchecked = " and ".join(source.check_vectors(folder, dataset.manifest["options"]))
    notes = [f"Row order of {unchecked} was not checked: no ids were given."] if unchecked else []
    return {"notes": notes, "cost": {"stated": described(folder).get("cost", {})}}


def files(dataset: Dataset) -> dict[str, str]:
    """The name of each split's array, without .npy: of those that are measured or searched."""
    source = contracts.SOURCE.load(dataset.manifest["source"])
    given = source.vector_files(dataset.manifest["options"])
    return {split: name for split, name in given.items() if split != "train_queries"}
