"""A folder of embeddings made elsewhere, as a method: what it may hold, and every check on it.

    <split>.npy        [n, D], one row per item in the order of the split's items.csv; prefixes are the sizes
    <split>.npz        instead: `embeddings` [n, D], or [n, m] per size named '8', '16', …; and `ids`
    <split>.ids.txt    one id per line, where the .npz has none: the row order is then checked
    order.npy          optional permutation of the D columns: prefixes are taken in this order
    method.yaml        optional label, seed, cost (anything to be shown), allow (checks to switch off)

train and val are needed; other splits are compared where they are given.
"""

import hashlib
from pathlib import Path

import numpy as np

from analysis.compare.adapters.columns import faults_of_columns
from baselines.representation import View, check_finite
from splits.given import composed, hidden, read_text
from splits.store import Dataset
from splits.vectors import IDS, MAX_DIM, UNREADABLE, advice_for, load_array, reason
from suite.contracts import LARGEST
from suite.errors import UserError, unknown
from suite.study import Study
from suite.values import read_yaml

KIND = "folder"
LABEL = "embeddings from a folder"
OPTIONS = {
    "path": "required",
}
ALLOWED = {
    "path": {"type": "string"},
}

# What a folder may hold besides its splits.
DESCRIPTION, ORDER = "method.yaml", "order.npy"
DESCRIBED = {"label": str, "seed": int, "cost": dict, "allow": list}
NAMES = {str: "text", int: "a whole number", dict: "a mapping", list: "a list"}
# Checks that a method.yaml may switch off, where what they look for is meant.
ALLOWABLE = ("constant_columns", "duplicate_columns", "identical_rows")
NEEDED = ("train", "val")


def describe_folder(folder: Path) -> dict:
    """The folder's method.yaml, {} where there is none; raises UserError for unknown keys."""
    path = folder / DESCRIPTION
    if not path.exists():
        return {}
    found = read_yaml(path) or {}
    if not isinstance(found, dict):
        raise UserError(f"{path} must be a mapping with some of {', '.join(DESCRIBED)}, not {found!r}")
    for key, value in found.items():
        if key not in DESCRIBED:
            raise unknown("key", key, DESCRIBED, path)
        if not isinstance(value, DESCRIBED[key]) or isinstance(value, bool):
            raise UserError(f"{path}: {key} must be {NAMES[DESCRIBED[key]]}, not {value!r}")
    if not 0 <= found.get("seed", 0) <= LARGEST:
        raise UserError(f"{path}: seed is {found['seed']}; allowed: 0 to {LARGEST}")
    for check in found.get("allow", ()):
        if check not in ALLOWABLE:
            raise unknown("check", check, ALLOWABLE, path)
    return found


class Folder:
    """Embeddings made elsewhere, checked against the study's data when opened.

    Raises UserError for whatever is wrong with them; `notes` holds what could not be checked, for the page.
    """

    def __init__(self, folder: str | Path, study: Study, dataset: Dataset):
        self.folder = Path(folder)
        self.description = describe_folder(self.folder)
        self.allowed = tuple(self.description.get("allow", ()))
        self.notes: list[str] = []
        self._ids_inside: dict[str, np.ndarray | None] = {}
        self.splits = self._find_splits(dataset)
        self.arrays = {split: self._open(split) for split in self.splits}
        self.sizes = self._sizes(study)
        self.order = self._order()
        for split in self.splits:
            self._check_rows(split, dataset)
            self._check_values(split)
        self._check_columns()
        self._check_leakage(dataset)

    def _find_splits(self, dataset: Dataset) -> list[str]:
        known = {f"{split}{suffix}" for split in dataset.splits for suffix in (".npy", ".npz", IDS)}
        for path in sorted(self.folder.iterdir()):
            if path.name not in (known | {DESCRIPTION, ORDER}) and not hidden(path.name):
                raise unknown("file", path.name, known | {DESCRIPTION, ORDER}, "docs/compare.md")
        found = []
        for split in dataset.splits:
            here = [path for path in self._candidates(split) if path.exists()]
            if len(here) == 2:
                raise UserError(f"{self.folder} holds both {here[0].name} and {here[1].name}; keep one")
            found += [split] * len(here)
        missing = [split for split in NEEDED if split not in found]
        if missing:
            raise UserError(
                f"{self.folder}: no embeddings of {' and '.join(missing)} (train.npy or train.npz, …); these "
                f"two are needed, and {', '.join(s for s in dataset.splits if s not in NEEDED)} may be there"
            )
        left = [split for split in dataset.splits if split not in found]
        if left:
            self.notes.append(f"No embeddings were given of: {', '.join(left)}.")
        return found

    def _candidates(self, split: str) -> tuple[Path, Path]:
        return self.folder / f"{split}.npy", self.folder / f"{split}.npz"

    def _open(self, split: str) -> dict[int | None, np.ndarray]:
        """Arrays [n, D] by size, or one under None that serves every size."""
        single, several = self._candidates(split)
        try:
            if single.exists():
                arrays = {None: load_array(single)}
            else:
                with np.load(several, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
        # Of a file that holds another kind than its name says, numpy may give a plain array for an archive.
        except (*UNREADABLE, AttributeError, TypeError) as error:
            told = reason(single if single.exists() else several, error)
            raise UserError(f"{self.folder}: {split} cannot be read as numpy arrays{told}") from error
        self._ids_inside[split] = arrays.pop("ids", None)
        if set(arrays) == {"embeddings"}:
            arrays = {None: arrays["embeddings"]}
        if not arrays:
            raise UserError(
                f"{several} holds no embeddings: give `embeddings` [n, D], or an array [n, m] per size "
                "named by it ('8', '16', …)"
            )
        for name, array in arrays.items():
            self._check_array(split, name, array)
        return {None if name is None else int(name): array for name, array in arrays.items()}

    def _check_array(self, split: str, name: str | None, array: np.ndarray) -> None:
        where = f"{self.folder}: {split}" + (f", array {name!r}" if name is not None else "")
        if name is not None and not name.isdigit():
            raise UserError(
                f"{where}: an .npz holds `embeddings`, or one array per size named by it ('8', '16', …), and "
                "perhaps `ids`"
            )
        if array.ndim != 2:
            raise UserError(f"{where}: embeddings are [rows, dimensions]; this has shape {list(array.shape)}")
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise UserError(
                f"{where}: embeddings are float16, float32 or float64; this is {array.dtype} "
                f"({advice_for(array.dtype)})"
            )
        if name is not None and array.shape[1] != int(name):
            raise UserError(f"{where}: the array of size {name} has {array.shape[1]} columns")
        if not 1 <= array.shape[1] <= MAX_DIM:
            raise UserError(f"{where}: {array.shape[1]} dimensions; 1 to {MAX_DIM:,} are possible")

    def _sizes(self, study: Study) -> tuple[int, ...]:
        """Sizes of the study that the arrays serve; raises UserError when splits differ or none is served."""
        shapes = {
            split: {name: array.shape[1] for name, array in arrays.items()}
            for split, arrays in self.arrays.items()
        }
        first = shapes[self.splits[0]]
        for split, found in shapes.items():
            if found != first:
                raise UserError(
                    f"{self.folder}: {self.splits[0]} has dimensions {show(first)} and {split} "
                    f"{show(found)}; all splits must come from the same embedding"
                )
        if None in first:
            sizes = tuple(m for m in study.nesting if m <= first[None])
        else:
            sizes = tuple(sorted(first))
            wrong = [m for m in sizes if m not in study.nesting]
            if wrong:
                raise UserError(
                    f"{self.folder}: sizes {wrong} are not among those of {study.name}: {list(study.nesting)}"
                )
        if not sizes:
            raise UserError(
                f"{self.folder}: {first[None]} dimensions are fewer than the smallest size of {study.name}, "
                f"{study.nesting[0]} (sizes {list(study.nesting)})"
            )
        return sizes

    def _order(self) -> tuple[int, ...] | None:
        path = self.folder / ORDER
        if not path.exists():
            return None
        if None not in self.arrays["train"]:
            raise UserError(f"{path}: an order of dimensions goes with one array for all sizes")
        try:
            order, width = load_array(path), self.arrays["train"][None].shape[1]
        except UNREADABLE as error:
            raise UserError(f"{path} cannot be read as a numpy array{reason(path, error)}") from error
        whole = order.ndim == 1 and order.dtype.kind in "iu"
        if not whole or not np.array_equal(np.sort(order), np.arange(width)):
            raise UserError(f"{path}: must be a permutation of 0 … {width - 1} (whole numbers)")
        return tuple(order.tolist())

    def _check_rows(self, split: str, dataset: Dataset) -> None:
        """One row per item, in the split's order where ids tell."""
        n = len(dataset.labels(split))
        for array in self.arrays[split].values():
            if len(array) != n:
                raise UserError(
                    f"{self.folder}: {split} has {len(array)} rows, but the split has {n} items "
                    f"({dataset.folder / split / 'items.csv'})"
                )
        ids, path = self._ids_inside[split], self.folder / f"{split}{IDS}"
        if ids is None and path.exists():
            ids = read_text(path).splitlines()
        if ids is None:
            self.notes.append(f"Row order of {split} was not checked: no ids were given.")
            return
        given = [
            composed(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
            for value in ids
        ]
        wanted = [composed(value) for value in dataset[split].items["id"]]
        if given == wanted:
            return
        if sorted(given) == sorted(wanted):
            row = next(row for row, pair in enumerate(zip(given, wanted)) if pair[0] != pair[1])
            raise UserError(
                f"{self.folder}: rows of {split} are in another order than the split: row {row} is "
                f"{given[row]}, must be {wanted[row]} ({dataset.folder / split / 'items.csv'})"
            )
        strange = sorted(set(given) - set(wanted))[:3] or "none"
        raise UserError(
            f"{self.folder}: ids of {split} are not those of the split: {len(given)} of {len(wanted)}, "
            f"unknown: {strange}"
        )

    def _check_values(self, split: str) -> None:
        for array in self.arrays[split].values():
            check_finite(array, f"{self.folder}: {split}")
            if array.dtype == np.float64 and np.abs(array).max() > np.finfo(np.float32).max:
                raise UserError(f"{self.folder}: {split} holds numbers beyond float32")

    def _check_columns(self) -> None:
        """Raise UserError for columns that are constant or equal over the training split."""
        for array in self.arrays["train"].values():
            for check, told in faults_of_columns(array):
                self._refuse(check, told)

    def _check_leakage(self, dataset: Dataset) -> None:
        """Raise UserError when a row stands in two splits: no image does."""
        seen: dict[bytes, tuple[str, int]] = {}
        for split in self.splits:
            here = row_digests(max(self.arrays[split].items(), key=by_size)[1])
            shared = [(row, seen[value]) for row, value in enumerate(here) if value in seen]
            if shared:
                row, (other, at) = shared[0]
                self._refuse(
                    "identical_rows",
                    f"{len(shared)} rows of {split} are identical to rows of other splits (row {row} to row "
                    f"{at} of {other}), though no image stands in two splits: were test items embedded "
                    "into train, or files mixed up?",
                )
            seen |= {value: (split, row) for row, value in enumerate(here)}

    def _refuse(self, check: str, message: str) -> None:
        if check not in self.allowed:
            raise UserError(
                f"{self.folder}: {message}; if that is meant, say `allow: [{check}]` in {DESCRIPTION}"
            )
        self.notes.append(f"Allowed by {DESCRIPTION}: {message}.")

    @property
    def views(self) -> list[View]:
        """How the columns of `rows` serve the sizes."""
        if None in self.arrays["train"]:
            width = self.arrays["train"][None].shape[1]
            return [View(self.sizes, 0, width, order=self.order)]
        return View.side_by_side(self.sizes)

    @property
    def width(self) -> int:
        """Columns of `rows`."""
        return max(view.stop for view in self.views)

    def rows(self, split: str, rows: slice = slice(None)) -> np.ndarray:
        """float32 [rows, D]: every size's columns side by side."""
        parts = (array[rows] for _, array in sorted(self.arrays[split].items(), key=by_size))
        return np.hstack([np.asarray(part, np.float32) for part in parts])


def by_size(item: tuple[int | None, np.ndarray]) -> int:
    """Key that puts a split's arrays in the order of their sizes."""
    return item[0] or 0


def show(widths: dict[int | None, int]) -> str:
    """Dimensions of the arrays of a split, for messages."""
    return str(widths[None]) if None in widths else str(sorted(widths))


def row_digests(array: np.ndarray) -> list[bytes]:
    """A hash of each row [n] as float32, in which equal numbers of any type are the same bytes."""
    rows = (np.asarray(row, np.float32) + 0.0 for row in array)  # + 0.0 makes -0.0 equal 0.0
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
