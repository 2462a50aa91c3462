"""What a method hands to the evaluations: features per split, and a linear classifier per size.

    results/embeddings/<study>/<method>-<seed>/<split>.npy       float32 or float16 [n, D]
    results/embeddings/<study>/<method>-<seed>/classifiers.npz   weight and bias per view and size
    results/embeddings/<study>/<method>-<seed>/meta.json         views, conditions, cost; written last

One array serves every size. A *view* says which of its columns form a representation, and for which sizes
a prefix of those columns is meant: MRL has one view with all sizes; fixed feature has one view per size,
side by side; random features have one view (a permutation) per draw, over another method's array.

This module needs numpy alone, so that evaluations start fast.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np

from suite import files
from suite.errors import UserError
from suite.layout import Layout

CHECKED = 16_384  # rows whose numbers are looked at together


@dataclass(frozen=True)
class View:
    """Columns of the array that hold one representation.

    sizes: the sizes this view serves; the embedding of size m is the first m of its columns.
    start, stop: its columns; order: if not None, the columns start + order, in that order.
    draw: which of several random draws it belongs to. nested: whether sizes between make sense. whole: a size
    is all of its columns, most of them 0, and says how many are not (sparse codes).
    """

    sizes: tuple[int, ...]
    start: int
    stop: int
    draw: int = 0
    nested: bool = True
    order: tuple[int, ...] | None = None
    whole: bool = False

    @property
    def dim(self) -> int:
        """Number of columns."""
        return len(self.order) if self.order is not None else self.stop - self.start

    @property
    def columns(self) -> slice | np.ndarray:
        """What to index the array's second axis with for all of them."""
        return self.prefix(self.dim)

    def length(self, m: int) -> int:
        """Columns of the embedding of size m."""
        return self.dim if self.whole else m

    def prefix(self, m: int) -> slice | np.ndarray:
        """What to index the array's second axis with for the first m columns: the embedding of size m.

        A slice where they lie side by side, so that nothing is copied; else int64 [m]. Raises UserError when
        the view has fewer columns.
        """
        if m > self.dim:
            raise UserError(f"a prefix of {m} dimensions was asked of an embedding of {self.dim}")
        m = self.length(m)
        if self.order is None:
            return slice(self.start, self.start + m)
        return self.start + np.asarray(self.order[:m])

    @classmethod
    def side_by_side(cls, sizes: Sequence[int]) -> list["View"]:
        """A view for each size, of columns of its own, one after another: no size is a prefix of another."""
        stops = accumulate(sizes)
        return [cls((m,), stop - m, stop, nested=False) for m, stop in zip(sizes, stops)]


class Representation:
    """One method and seed, opened from its folder; arrays are memory-mapped when first asked for.

    Raises UserError when the folder is not complete.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._again = f"remove {self.folder} and run again"
        self.meta = files.read_last(self.folder / "meta.json", "embeddings")
        self.method: str = self.meta["method"]
        self.seed: int = self.meta["seed"]
        self.views = tuple(
            View(**{k: tuple(v) if isinstance(v, list) else v for k, v in view.items()})
            for view in self.meta["views"]
        )
        self._arrays: dict[str, np.ndarray] = {}

    @classmethod
    def of(cls, layout: Layout, method: str, seed: int, data_checksum: str) -> "Representation":
        """That of a method and seed of a study, made from its data.

        Raises UserError when the folder is not complete, or holds another method's, seed's or data's.
        """
        found = cls(layout.embeddings(method, seed))
        if (found.method, found.seed) != (method, seed):
            raise UserError(
                f"{found.folder} holds embeddings of {found.method}, seed {found.seed}; {found._again}"
            )
        if (made_on := found.meta["data_checksum"]) != data_checksum:
            raise UserError(
                f"{method}-{seed} was made on other data (checksum {made_on[:12]}…, now "
                f"{data_checksum[:12]}…); run the study again, or {found._again}"
            )
        return found

    @property
    def checksum(self) -> str | None:
        """A hash that other embeddings have not; None of those that were written before there was one."""
        return files.config_hash(self.meta["files"]) if "files" in self.meta else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes served, increasing."""
        return tuple(sorted({m for view in self.views for m in view.sizes}))

    @property
    def dim(self) -> int:
        """The largest size."""
        return self.sizes[-1]

    @property
    def draws(self) -> int:
        """Number of random draws (1 for everything that is not random)."""
        return 1 + max(view.draw for view in self.views)

    @property
    def splits(self) -> list[str]:
        """Splits that were embedded."""
        return list(self.meta["splits"])

    def array(self, split: str) -> np.ndarray:
        """The whole memory-mapped array [n, D] that the views index."""
        if split not in self._arrays:
            folder, name = Path(self.meta["array_folder"] or self.folder), f"{split}.npy"
            if split not in self.splits:
                raise UserError(f"{self.method}: split {split!r} was not embedded")
            if not (folder / name).exists():
                raise UserError(f"{folder / name} is missing; {self._again}")
            files.check_marks(folder, self.meta.get("files"), name, files.sampled, self._again)
            self._arrays[split] = files.read_npy(folder / name, mapped=True, remove=self.folder)
        return self._arrays[split]

    def features(
        self, split: str, view: View, dim: int | None = None, rows: slice = slice(None)
    ) -> np.ndarray:
        """The first `dim` columns of a view: [rows, dim] (default all). Raises UserError when dim is longer.

        A view that reorders columns is copied, and only the rows that are asked for.
        """
        columns = view.columns if dim is None else view.prefix(dim)
        return self.array(split)[rows][:, columns]

    def at(self, split: str, dim: int) -> Iterator[tuple[int, np.ndarray]]:
        """(draw, features [n, dim]) of every view that serves `dim`, sizes in between included."""
        for view in self.serving(dim):
            yield view.draw, self.features(split, view, dim)

    def serving(self, dim: int) -> list[View]:
        """Views for a size: those that list it, or nested ones that are long enough."""
        listed = [view for view in self.views if dim in view.sizes]
        return listed or [view for view in self.views if view.nested and dim <= view.dim]

    @cached_property
    def _classifiers(self) -> dict[str, np.ndarray]:
        path = self.folder / "classifiers.npz"
        if not path.exists():
            raise UserError(f"{self.method} has no classifiers ({path} is missing)")
        files.check_marks(self.folder, self.meta.get("files"), path.name, files.sha256, self._again)
        return dict(files.Arrays(path, self.folder))

    @property
    def classified(self) -> list[View]:
        """Views with classifiers: of random draws perhaps not all. Raises UserError where there is none."""
        found = [view for view in self.views if self._name(view, view.sizes[0]) in self._classifiers]
        if not found:
            raise UserError(f"{self.method} has no linear classifiers; take it out of what asks for them")
        return found

    def _name(self, view: View, dim: int) -> str:
        return f"weight_{self.views.index(view)}_{dim}"

    def classifier(self, view: View, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """(weight float32 [C, k], bias float32 [C]) for size `dim` of a view.

        It applies to the first k columns of the view; k is `dim`, except for classifiers that are of rank
        `dim` but read the whole embedding (the SVD of the classifier).
        """
        name = self._name(view, dim)
        return self._classifiers[name], self._classifiers[name.replace("weight", "bias")]

    def logits(self, split: str, view: View, dim: int, rows: slice = slice(None)) -> np.ndarray:
        """float32 [rows, C]: the method's own classifier at one size."""
        weight, bias = self.classifier(view, dim)
        features = self.features(split, view, weight.shape[1], rows)
        return features.astype(np.float32, copy=False) @ weight.T + bias


def write_representation(
    folder: str | Path,
    *,
    method: str,
    seed: int,
    views: list[View],
    splits: list[str],
    classifiers: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]],
    array_folder: str | Path | None = None,
    **facts: object,
) -> None:
    """Write classifiers.npz and meta.json; the arrays must lie in `folder` or `array_folder` already.

    classifiers: (index of the view, size) → (weight [C, k], bias [C]). facts: conditions and cost, kept
    as they are. Raises UserError for a classifier with NaN or infinity; arrays are for their writer to check
    (`check_finite`), and nobody who reads them looks again.
    """
    folder = Path(folder)
    arrays = {}
    for (view, dim), parts in classifiers.items():
        for name, part in zip(("weight", "bias"), parts, strict=True):
            arrays[f"{name}_{view}_{dim}"] = part = np.asarray(part, np.float32)
            if not np.isfinite(part).all():
                raise UserError(f"{method}: the classifier of size {dim} holds NaN or infinity ({name})")
    files.write_npz(folder / "classifiers.npz", arrays)
    meta = {
        "method": method,
        "seed": seed,
        "views": [asdict(view) for view in views],
        "splits": splits,
        "array_folder": str(array_folder) if array_folder else None,
        "files": marks(folder, splits, array_folder),
    }
    files.write_json(folder / "meta.json", meta | facts)


def check_unmasked(array: np.ndarray, who: str) -> None:
    """Raise UserError for an array with masked entries: in a file they would be numbers like others."""
    if np.ma.is_masked(array):
        raise UserError(
            f"{who} gives an array with masked entries, which embeddings cannot have: fill them (.filled(0))"
        )


def marks(folder: Path, splits: Iterable[str], array_folder: str | Path | None = None) -> dict[str, str]:
    """Of each file of a representation a mark that another has not: of arrays, hashes of samples."""
    paths = [Path(array_folder or folder) / f"{split}.npy" for split in splits]
    found = {path.name: files.sampled(path) for path in paths if path.exists()}
    return found | {"classifiers.npz": files.sha256(folder / "classifiers.npz")}


def check_finite(features: np.ndarray, what: str) -> None:
    """Raise UserError naming the first rows that hold NaN or infinity. features: [n, d]."""
    blocks = range(0, len(features), CHECKED)
    finite = [np.isfinite(features[start : start + CHECKED]).all(axis=1) for start in blocks]
    bad = np.flatnonzero(~np.concatenate([np.ones(0, bool), *finite]))
    if len(bad):
        raise UserError(
            f"{what}: {len(bad)} of {len(features)} embeddings hold NaN or infinity, first in rows "
            f"{bad[:5].tolist()}"
        )
