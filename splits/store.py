"""A study's data on disk: named splits of images with int64 labels, and one table of classes.

    results/data/<study>/classes.csv            label, name, superclass, seen, and what else a source knows
    results/data/<study>/<split>/images.npy     uint8 [n, height, width, channels], memory-mapped;
                                                of text: int32 [n, length], token ids
    results/data/<study>/<split>/labels.npy     int64 [n]
    results/data/<study>/<split>/items.csv      one row per image: id, and what else a source knows
    results/data/<study>/<split>/digests.npy    of large splits: one of each image (images/pictures.py)
    results/data/<study>/judgements.csv         of collections: query, document (rows of the splits), gain
    results/data/<study>/train_judgements.csv   the same of the queries that maps may be fitted to
    results/data/<study>/manifest.json          counts, checksums, source options; written last

Nothing downstream knows where an image came from. Row order is part of the data: the `stream` split is in
the order in which it is to be seen.
"""

import copy
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from suite import files
from suite.errors import UserError, unknown
from suite.roles import ROLES

DIGEST = np.dtype("V16")  # of one image
# Marks of the files of a split and of the classes: images are many, the others are read as a whole.
OF_SPLITS = dict.fromkeys(("labels.npy", "items.csv"), files.sha256) | {"images.npy": files.sampled}
JUDGEMENTS = {
    "queries": "judgements.csv",
    "train_queries": "train_judgements.csv",
}  # of the queries of a split
MARKS = OF_SPLITS | dict.fromkeys(("classes.csv", *JUDGEMENTS.values()), files.sha256)
JUDGED = ("query", "document", "gain")  # columns of judgements.csv
FORMS = ((np.dtype(np.uint8), 4), (np.dtype(np.int32), 2))  # images; token ids


@dataclass(frozen=True)
class Split:
    """One named split, read when it is asked for.

    marks: of its files, as the manifest has them; a file that has another one is refused with UserError.
    """

    name: str
    folder: Path
    marks: dict | None = None

    @cached_property
    def images(self) -> np.ndarray:
        """uint8 [n, height, width, channels] or int32 [n, length], memory-mapped."""
        path = checked(self.folder, self.marks, "images.npy", self.folder.parent)
        return files.read_npy(path, mapped=True, remove=self.folder.parent)

    @cached_property
    def labels(self) -> np.ndarray:
        """int64 [n], not to be written to."""
        path = checked(self.folder, self.marks, "labels.npy", self.folder.parent)
        labels = files.read_npy(path, remove=self.folder.parent)
        labels.flags.writeable = False
        return labels

    @cached_property
    def items(self) -> pd.DataFrame:
        """One row per image: `id` (unique within the study) and the source's own columns."""
        path = checked(self.folder, self.marks, "items.csv", self.folder.parent)
        return pd.read_csv(path, dtype={"id": str}, keep_default_na=False)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Judgements:
    """Which documents are relevant to which queries, by how much.

    query, document: int64 [J], rows of their split and of `corpus`, -1 for a document that the corpus
    lacks; gain: int64 [J], above 0 where it is relevant. queries: how many there are.
    """

    query: np.ndarray
    document: np.ndarray
    gain: np.ndarray
    queries: int


class Dataset:
    """The splits and classes of one study, read lazily from its folder."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.manifest = files.read_last(self.folder / "manifest.json", "data")
        self._opened: dict[str, Split] = {}

    @property
    def splits(self) -> list[str]:
        """Names of the splits this study has, in the order of ROLES."""
        return list(self.manifest["splits"])

    @cached_property
    def classes(self) -> pd.DataFrame:
        """label (int64, the index), name, superclass (name, "" = none), seen (bool), source columns."""
        classes = pd.read_csv(
            checked(self.folder, self.manifest.get("files"), "classes.csv", self.folder),
            dtype={"label": np.int64, "name": str, "superclass": str},
            keep_default_na=False,
        )
        return classes.set_index("label", drop=False)

    @cached_property
    def judgements(self) -> Judgements:
        """Those of the queries; raises UserError where the data have none."""
        return self._judgements("queries")

    @cached_property
    def train_judgements(self) -> Judgements:
        """Those of the queries that maps may be fitted to; raises UserError where the data have none."""
        return self._judgements("train_queries")

    def _judgements(self, split: str) -> Judgements:
        path = checked(self.folder, self.manifest.get("files"), JUDGEMENTS[split], self.folder)
        table = pd.read_csv(path, dtype=np.int64)
        return Judgements(*(table[name].to_numpy() for name in JUDGED), len(self.labels(split)))

    @property
    def num_classes(self) -> int:
        """Classes that are trained on; their labels are 0 … num_classes − 1, unseen ones follow."""
        return int(self.manifest["seen_classes"])

    @property
    def checksum(self) -> str:
        """One hash over every image and label: two results are comparable when it is the same."""
        return self.manifest["checksum"]

    def __getitem__(self, name: str) -> Split:
        if name not in self:
            raise unknown("split", name, self.splits, self.folder / "manifest.json")
        marks = self.manifest["splits"][name].get("files")
        return self._opened.setdefault(name, Split(name, self.folder / name, marks))

    def labels(self, name: str) -> np.ndarray:
        """int64 [n], without opening the images; read once, so it cannot be written to."""
        return self[name].labels

    def subset(self, splits: Iterable[str]) -> "Dataset":
        """This dataset with some of its splits: those that a method was embedded for, say."""
        kept = set(splits)
        chosen = copy.copy(self)
        chosen.manifest = self.manifest | {
            "splits": {name: facts for name, facts in self.manifest["splits"].items() if name in kept}
        }
        return chosen

    def __contains__(self, name: str) -> bool:
        return name in self.manifest["splits"]


def checked(folder: Path, marks: dict | None, name: str, data: Path) -> Path:
    """Path of a file of a study's data. Raises UserError where it is missing or not the one that was written.

    data: the folder of all of the study's data.
    """
    again = f"remove {data} and run again"
    if not (folder / name).exists():
        raise UserError(f"{folder / name} is missing; {again}")
    files.check_marks(folder, marks, name, MARKS[name], again)
    return folder / name


def class_table(
    names: Sequence[str], superclasses: str | Sequence[str], seen: int, **more: Sequence
) -> pd.DataFrame:
    """The table that `DatasetWriter.classes` takes: labels 0, 1, … in the order of the names.

    seen: how many classes are trained on; they come first. superclasses: "" for a class that has none.
    more: the source's own columns.
    """
    labels = np.arange(len(names))
    columns = {"label": labels, "name": names, "superclass": superclasses, "seen": labels < seen}
    return pd.DataFrame(columns | more)


class DatasetWriter:
    """Writes a study's data; `finish` checks it and writes the manifest that makes it readable."""

    def __init__(self, folder: Path, source: str, options: dict):
        self.folder = Path(folder)
        self.source = source
        self.options = options
        self.folder.mkdir(parents=True, exist_ok=True)
        self._written: dict[str, dict] = {}
        self._official: str | None = None
        self._of_all = ["classes.csv"]  # files that belong to no split

    def _begin(self) -> None:
        """Remove the manifest of data that are about to be replaced: not before something is written."""
        (self.folder / "manifest.json").unlink(missing_ok=True)

    def keep_overlap(self, reason: str) -> None:
        """Let official test sets be what they are: images in two of them are counted, not refused."""
        self._official = reason

    def classes(self, classes: pd.DataFrame) -> None:
        """Write the class table: columns label (0 … C−1, seen classes first), name, superclass, seen."""
        missing = {"label", "name", "superclass", "seen"} - set(classes.columns)
        if missing:
            raise ValueError(f"class table lacks {sorted(missing)}")
        if not np.array_equal(classes["label"], np.arange(len(classes))):
            raise ValueError("class labels must be 0, 1, 2, … in order")
        if not classes["seen"].is_monotonic_decreasing:
            raise ValueError("seen classes come first, so that a classifier's columns are their labels")
        self._begin()
        with files.write_aside(self.folder / "classes.csv") as path:
            classes.to_csv(path, index=False)
        self._classes = classes

    def judgements(self, table: pd.DataFrame, split: str = "queries") -> None:
        """Write relevance judgements: int64 query and document, rows of the split and `corpus`, and gain."""
        if list(table.columns) != list(JUDGED) or any(table.dtypes != np.int64):
            raise ValueError(f"judgements have columns {', '.join(JUDGED)}, of int64")
        self._begin()
        with files.write_aside(self.folder / JUDGEMENTS[split]) as path:
            table.to_csv(path, index=False)
        self._of_all.append(JUDGEMENTS[split])

    def split(self, name: str, images: np.ndarray, labels: np.ndarray, items: pd.DataFrame) -> None:
        """Write a split that fits in memory; see `create` for one that does not."""
        with self.create(name, images.shape, labels, items, images.dtype) as out:
            out[:] = images

    @contextmanager
    def create(
        self, name: str, shape: tuple[int, ...], labels: np.ndarray, items: pd.DataFrame, dtype=np.uint8
    ) -> Iterator[np.ndarray]:
        """Yield a memory-mapped array to fill: uint8 [n, height, width, channels] or int32 [n, length]."""
        if (np.dtype(dtype), len(shape)) not in FORMS:
            raise TypeError(
                f"{name}: images are uint8 [n, H, W, C] or tokens int32 [n, length], not {dtype} {shape}"
            )
        with self.filled(name, shape, labels, items):
            for about_other_images in ("digests.npy", "plan.json"):
                (self.folder / name / about_other_images).unlink(missing_ok=True)
            with files.create_npy(self.folder / name / "images.npy", shape, dtype) as out:
                yield out

    @contextmanager
    def filled(
        self, name: str, shape: tuple[int, ...], labels: np.ndarray, items: pd.DataFrame
    ) -> Iterator[None]:
        """Check and write what belongs to a split; the block writes images.npy (and digests.npy) itself."""
        if name not in ROLES:
            raise unknown("split", name, ROLES, "suite/roles.py")
        labels = np.asarray(labels)
        if labels.dtype != np.int64:
            raise TypeError(f"labels of {name} must be int64, not {labels.dtype}")
        if not (len(labels) == len(items) == shape[0]) or "id" not in items:
            raise ValueError(f"{name}: images, labels and items (with `id`) must have one row each")
        self._begin()
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        yield
        files.write_npy(folder / "labels.npy", labels)
        with files.write_aside(folder / "items.csv") as path:
            items.to_csv(path, index=False)
        self._written[name] = {"n": int(shape[0]), "image": [int(s) for s in shape[1:]]}

    def without_images(self, name: str, labels: np.ndarray, items: pd.DataFrame, digests: np.ndarray) -> None:
        """Write a split of items that have no images here, such as vectors of the user's own.

        digests: what tells an item from others, DIGEST [n].
        """
        shape = (len(labels), 0)
        with self.filled(name, shape, labels, items):
            files.write_npy(self.folder / name / "digests.npy", digests)
            files.write_npy(self.folder / name / "images.npy", np.empty(shape, np.int32))

    def finish(self) -> None:
        """Check that splits do not overlap and write manifest.json.

        Raises UserError naming the rows when the same image stands in two splits, or when an unseen class
        occurs in a split that is trained on.
        """
        digests = {name: split_digests(self.folder / name) for name in self._written}
        overlap = shared_images(digests)
        if overlap and not self._official:
            (name, row), (other, other_row) = min(overlap, key=lambda pair: pair[0])
            raise UserError(f"splits overlap: {name} row {row} is the same image as {other} row {other_row}")
        unseen = set(self._classes.loc[~self._classes["seen"].astype(bool), "label"])
        overall = hashlib.sha256()
        for name in sorted(self._written):
            labels = np.load(self.folder / name / "labels.npy")
            present = set(np.unique(labels).tolist())
            if name in ("train", "val", "v2", "sketch", "r", "a") and present & unseen:
                raise UserError(f"split {name} holds unseen classes {sorted(present & unseen)[:5]}")
            if name in ("database", "query") and present - unseen:
                raise UserError(f"split {name} holds seen classes {sorted(present - unseen)[:5]}")
            digest = hashlib.sha256(digests[name].tobytes() + labels.tobytes()).hexdigest()
            self._written[name] |= {"sha256": digest, "classes": len(present)}
            self._written[name]["files"] = {
                file: mark(self.folder / name / file) for file, mark in OF_SPLITS.items()
            }
            overall.update(digest.encode())
        marks = {name: MARKS[name](self.folder / name) for name in self._of_all}
        for name in JUDGEMENTS.values():
            overall.update(marks.get(name, "").encode())
        shared = dict(Counter(f"{name} in {other}" for (name, _), (other, _) in overlap))
        official = {"overlap": {"kept_because": self._official, "images": shared}} if self._official else {}
        files.write_json(
            self.folder / "manifest.json",
            {
                "source": self.source,
                "options": self.options,
                "seen_classes": int(self._classes["seen"].sum()),
                "unseen_classes": int((~self._classes["seen"].astype(bool)).sum()),
                "checksum": overall.hexdigest(),
                "files": marks,
                "splits": {name: self._written[name] for name in ROLES if name in self._written},
                **official,
            },
        )


def digest(image: np.ndarray) -> bytes:
    """128-bit digest of one image's bytes."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def split_digests(folder: Path) -> np.ndarray:
    """A digest per image of a split, DIGEST [n]: those that were made with it, or made now, one by one."""
    if (folder / "digests.npy").exists():
        return np.load(folder / "digests.npy")
    return np.array([digest(image) for image in np.load(folder / "images.npy", mmap_mode="r")], DIGEST)


def shared_images(digests: dict[str, np.ndarray]) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """((split, row), (split, row)) of every image that is also in an earlier split, and where it is there.

    digests: DIGEST [n] per split. Needs some 50 bytes per image, so millions are no trouble.
    """
    names = list(digests)
    if not names:
        return []
    keys = np.concatenate([digests[name] for name in names]).view(np.uint64).reshape(-1, 2)
    owner = np.repeat(np.arange(len(names)), [len(digests[name]) for name in names])
    row = np.concatenate([np.arange(len(digests[name])) for name in names])
    order = np.lexsort((row, owner, keys[:, 1], keys[:, 0]))
    keys, owner, row = keys[order], owner[order], row[order]
    starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(1)])
    first = np.repeat(starts, np.diff(np.r_[starts, len(keys)]))  # of each run of equal images
    where = np.flatnonzero(owner != owner[first])
    return [
        ((names[owner[i]], int(row[i])), (names[owner[first[i]]], int(row[first[i]]))) for i in where.tolist()
    ]
