"""What a method hands to the evaluations: features per split, and a linear classifier per size.

    results/embeddings/<study>/<method>-<seed>/<split>.npy       float32 or float16 [n, D]
    results/embeddings/<study>/<method>-<seed>/classifiers.npz   weight and bias per view and size
    results/embeddings/<study>/<method>-<seed>/meta.json         views, conditions, cost; written last

One array serves every size. A *view* says which of its columns form a representation, and for which sizes
a prefix of those columns is meant: MRL has one view with all sizes; fixed feature has one view per size,
side by side; random features have one view (a permutation) per draw, over another method's array.

This module needs numpy alone, so that evaluations start fast.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from suite import files
from suite.errors import UserError

CHECKED = 16_384  # rows whose numbers are looked at together


@dataclass(frozen=True)
class View:
    """Columns of the array that hold one representation.

    sizes: the sizes this view serves; the embedding of size m is the first m of its columns.
    start, stop: its columns; order: if not None, the columns start + order, in that order.
    draw: which of several random draws it belongs to. nested: whether sizes between make sense.
    """

    sizes: tuple[int, ...]
    start: int
    stop: int
    draw: int = 0
    nested: bool = True
    order: tuple[int, ...] | None = None

    @property
    def dim(self) -> int:
        """Number of columns."""
        return len(self.order) if self.order is not None else self.stop - self.start

    @property
    def columns(self) -> slice | np.ndarray:
        """What to index the array's second axis with."""
        if self.order is None:
            return slice(self.start, self.stop)
        return self.start + np.asarray(self.order)

    def prefix(self, m: int) -> slice | np.ndarray:
        """The first `m` columns: what to index the array's second axis with."""
        if self.order is None:
            return slice(self.start, self.start + m)
        return self.start + np.asarray(self.order[:m])


class Representation:
    """One method and seed, opened from its folder; arrays are memory-mapped.

    Raises UserError when the folder is not complete.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "meta.json").exists():
            raise UserError(
                f"no embeddings in {self.folder}: meta.json is missing (it is written last); run "
                f"`snakemake --cores all {self.folder / 'meta.json'}`"
            )
        self.meta = files.read_json(self.folder / "meta.json")
        self.method: str = self.meta["method"]
        self.seed: int = self.meta["seed"]
        self.views = tuple(
            View(**{k: tuple(v) if isinstance(v, list) else v for k, v in view.items()})
            for view in self.meta["views"]
        )

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
        folder = Path(self.meta["array_folder"] or self.folder)
        path = folder / f"{split}.npy"
        if not path.exists():
            raise UserError(f"{self.method}: split {split!r} was not embedded ({path} is missing)")
        return np.load(path, mmap_mode="r")

    def features(
        self, split: str, view: View, dim: int | None = None, rows: slice = slice(None)
    ) -> np.ndarray:
        """The first `dim` columns of a view: [rows, dim] (default all). Raises UserError when dim is longer.

        A view that reorders columns is copied, and only the rows that are asked for.
        """
        dim = view.dim if dim is None else dim
        if dim > view.dim:
            raise UserError(
                f"{self.method}: a prefix of {dim} dimensions was asked of an embedding of {view.dim}"
            )
        array = self.array(split)[rows]
        if view.order is None:
            return array[:, view.start : view.start + dim]
        return array[:, view.columns[:dim]]

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
        with np.load(path) as archive:
            return dict(archive)

    def classifier(self, view: View, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """(weight float32 [C, k], bias float32 [C]) for size `dim` of a view.

        It applies to the first k columns of the view; k is `dim`, except for classifiers that are of rank
        `dim` but read the whole embedding (the SVD of the classifier).
        """
        name = classifier_name(self.views.index(view), dim)
        return self._classifiers[f"weight_{name}"], self._classifiers[f"bias_{name}"]

    def logits(self, split: str, view: View, dim: int, rows: slice = slice(None)) -> np.ndarray:
        """float32 [rows, C]: the method's own classifier at one size. Raises UserError on NaN."""
        weight, bias = self.classifier(view, dim)
        features = self.features(split, view, weight.shape[1], rows)
        logits = features.astype(np.float32, copy=False) @ weight.T + bias
        if not np.isfinite(logits).all():
            raise UserError(f"{self.method}: embeddings of {split} give NaN or infinite logits at size {dim}")
        return logits


def classifier_name(view: int, dim: int) -> str:
    """Suffix of a classifier's arrays in classifiers.npz."""
    return f"{view}_{dim}"


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
    as they are.
    """
    folder = Path(folder)
    arrays = {}
    for (view, dim), (weight, bias) in classifiers.items():
        arrays[f"weight_{classifier_name(view, dim)}"] = np.asarray(weight, np.float32)
        arrays[f"bias_{classifier_name(view, dim)}"] = np.asarray(bias, np.float32)
    files.write_npz(folder / "classifiers.npz", arrays)
    files.write_json(
        folder / "meta.json",
        {
            "method": method,
            "seed": seed,
            "views": [asdict(view) for view in views],
            "splits": splits,
            "array_folder": str(array_folder) if array_folder else None,
            **facts,
        },
    )


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
