"""Arrays of vectors that people bring: opened, checked, and given in a type that can be searched.

    <name>.npy         [n, D]: float16, float32 or float64, of any byte order, rows or columns first; or int8
    <name>.npz         the same, if there is no .npy: one array, which is read into memory
    <name>.scale.npy   with int8: what its numbers are multiplied by; one number, [D], or [n, 1]
    <name>.ids.txt     optional, one id per line: the order of the rows is then checked

An .npy is mapped into memory, never read as a whole. Those of several models lie side by side, in a folder
each below `embeddings/`, with an array for every split.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splits.given import composed, hidden, read_text, really, some
from suite import files
from suite.errors import UserError, unknown

EMBEDDINGS = "embeddings"  # the folder of the models
MAX_DIM = 65_536
SCALE, IDS = ".scale.npy", ".ids.txt"
UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile)  # what numpy raises for damaged files
CHECKED = 16_384  # rows that are looked at together


@dataclass(frozen=True)
class Vectors:
    """Vectors of one file. array: as it lies there, [n, D]; scale: of int8, [1 or n, 1 or D], else None."""

    path: Path
    array: np.ndarray
    scale: np.ndarray | None = None

    @property
    def dim(self) -> int:
        """D."""
        return self.array.shape[1]

    @property
    def as_stored(self) -> bool:
        """Whether the file can be searched where it lies, without a copy in another type."""
        return self.array.dtype in (np.float16, np.float32) and self.path.suffix == ".npy"

    def __len__(self) -> int:
        return len(self.array)

    def rows(self, rows: slice | np.ndarray) -> np.ndarray:
        """float32 [rows, D]; float16 where that is how they are stored."""
        part = self.array[rows]
        if self.scale is not None:
            part = part * (self.scale if len(self.scale) == 1 else self.scale[rows])
        return part if part.dtype == np.float16 and self.as_stored else part.astype(np.float32)


def models(root: Path, chosen: list[str] | None, arrays: Sequence[str]) -> list[str]:
    """Models whose vectors are there, or the chosen ones of them. Raises UserError where one is not.

    arrays: names of those that each has, for the error.
    """
    folder = root / EMBEDDINGS
    there = sorted(path.name for path in folder.glob("*") if path.is_dir() and not hidden(path.name))
    if not there:
        wanted = " and ".join(f"{name}.npy" for name in dict.fromkeys(arrays))
        raise UserError(
            f"no vectors in {folder}: they lie in {EMBEDDINGS}/<model>/, as {wanted}; see docs/collections.md"
        )
    for name in chosen or ():
        if name not in there:
            raise unknown("model", name, there, folder)
    return chosen or there


def open_model(folder: Path, arrays: Mapping[str, str]) -> dict[str, Vectors]:
    """Vectors of a model by split. Raises UserError where they differ in their dimensions.

    arrays: the name of each split's file, without .npy.
    """
    found = {split: open_vectors(folder, name) for split, name in arrays.items()}
    first, *others = found.values()
    for other in others:
        if other.dim != first.dim:
            raise UserError(
                f"{folder}: {first.path.name} has vectors of {first.dim} dimensions, {other.path.name} of "
                f"{other.dim}; both must come from the same model"
            )
    return found


def listing(root: Path, read: Sequence[Path]) -> str | None:
    """A hash of names, sizes and times of change of what is read below a root: files, and all in folders."""

    def is_read(path: Path) -> bool:
        return not hidden(path.relative_to(root)) and any(path.is_relative_to(part) for part in read)

    return files.listing(root, is_read)


def open_vectors(folder: Path, name: str) -> Vectors:
    """The vectors `name` of a folder. Raises UserError for any other file, and int8 without a scale."""
    path = array_path(folder, name)
    array = opened(path)
    if array.ndim != 2 or not len(array) or not 1 <= array.shape[1] <= MAX_DIM:
        raise UserError(
            f"{path} has shape {list(array.shape)}; vectors are [rows, dimensions], of 1 to {MAX_DIM:,} "
            "dimensions"
        )
    if array.dtype not in (np.float16, np.float32, np.float64, np.int8):
        kind = array.dtype
        if kind.newbyteorder("=") in (np.float16, np.float32, np.float64):
            return Vectors(path, array)
        raise UserError(
            f"{path}: vectors are float16, float32, float64, or int8 with a scale; this is {kind} "
            f"({advice_for(kind)})"
        )
    scale_path = folder / f"{name}{SCALE}"
    if array.dtype != np.int8:
        if scale_path.exists():
            raise UserError(f"{scale_path} is there, but {path.name} is {array.dtype}; only int8 has a scale")
        return Vectors(path, array)
    if not scale_path.exists():
        raise UserError(
            f"{path} is int8, but {scale_path.name} is missing: save what its numbers are to be multiplied "
            f"by, one number (1.0 if nothing), [{array.shape[1]}] by dimension, or [{len(array)}, 1] by row"
        )
    return Vectors(path, array, opened_scale(scale_path, array.shape))


def array_path(folder: Path, name: str) -> Path:
    """The file of the vectors `name`. Raises UserError where there are two, or one that is not read."""
    usual, archive, table = (folder / f"{name}.{kind}" for kind in ("npy", "npz", "parquet"))
    if usual.exists() and archive.exists():
        raise UserError(f"{usual} and {archive.name} are both there: which one is meant? Remove the other")
    if usual.exists() or archive.exists():
        return usual if usual.exists() else archive
    if table.exists():
        raise UserError(
            f"{table} is not read: save its column of vectors as {usual.name}, with … for the column's name, "
            f"np.save({usual.name!r}, np.stack(pandas.read_parquet({table.name!r})['…']))"
        )
    return usual


def opened_scale(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The scale of int8 vectors of this shape, float64 [1 or n, 1 or D]. Raises UserError for any other."""
    scale = opened(path)
    rows, dim = shape
    if scale.dtype.kind != "f" or scale.shape not in ((), (1,), (dim,), (rows, 1)):
        raise UserError(
            f"{path} is {scale.dtype} {list(scale.shape)}; a scale is of floats, one number, [{dim}] by "
            f"dimension, or [{rows}, 1] by row"
        )
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise UserError(f"{path} holds numbers that are not above 0 and finite")
    return np.atleast_2d(scale.astype(np.float64))


def opened(path: Path) -> np.ndarray:
    """One array of an .npy, memory-mapped, or of an .npz. Raises UserError for any other file."""
    try:
        return load_array(path)
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as a numpy array{reason(path, error)}") from error


def check_ids(folder: Path, name: str, items: Path, ids: Sequence[str], lines: Sequence[int]) -> bool:
    """Whether there was a file of ids to check. Raises UserError, with both lines, unless it has these ids.

    items: the file that the ids are from, and their lines there.
    """
    path = folder / f"{name}{IDS}"
    if not path.exists():
        return False
    given = read_text(path).splitlines()
    for number, (found, wanted) in enumerate(zip(given, ids)):
        if composed(found) != composed(wanted):
            raise UserError(
                f"{path}, line {number + 1}: {found!r}, but {items}, line {lines[number]}, is {wanted!r}; "
                f"rows of {name}.npy must stand in that order"
            )
    if len(given) != len(ids):
        raise UserError(f"{path} has {len(given)} ids, but {items} has {len(ids)}")
    return True


def check_values(vectors: Vectors, items: Path | None = None, lines: Sequence[int] = ()) -> int:
    """How many rows are all zeros. Raises UserError for NaN, infinity, and numbers beyond float32.

    items: the file whose lines the rows are about, where there is one.
    """
    largest, zeros = float(np.finfo(np.float32).max), 0
    for start in range(0, len(vectors), CHECKED):
        with np.errstate(over="ignore", invalid="ignore"):
            block = vectors.rows(slice(start, start + CHECKED))
            squares = np.einsum("nd,nd->n", block, block, dtype=np.float64)
        for row in np.flatnonzero(~(squares <= largest)):
            stored = np.asarray(vectors.array[start + row], np.float64)
            what = (
                "numbers too large for float32, or to square in it"
                if np.isfinite(stored).all()
                else "NaN or infinity"
            )
            line = f" ({items}, line {lines[start + row]})" if items else ""
            raise UserError(f"{vectors.path}, row {start + row}{line}: {what}")
        zeros += int((squares == 0).sum())
    return zeros


def load_array(path: Path) -> np.ndarray:
    """One array of an .npy, memory-mapped, or of an .npz; raises one of UNREADABLE for any other file."""
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix == ".npz" and not isinstance(found, np.ndarray):
        with found:
            if len(found.files) != 1:
                raise ValueError(f"it holds {len(found.files)} arrays ({some(found.files)}), not one")
            return found[found.files[0]]
    if not isinstance(found, np.ndarray):
        raise ValueError("it holds several arrays")
    return found


def reason(path: Path, error: Exception) -> str:
    """Why a file is no array: what it is instead, or what numpy says, but for its advice to unpickle it."""
    if path.suffix == ".npz" and str(error).startswith("it holds "):
        return f": {error}"
    return really(path) or ("; it is no numpy file" if "pickled data" in str(error) else f": {error}")


def advice_for(dtype: np.dtype) -> str:
    """How numbers of another type become embeddings."""
    if dtype.kind == "V":
        return "bfloat16, which numpy keeps as bytes: save tensor.float().numpy() or array.astype(np.float32)"
    if dtype == np.uint8:
        return "of bits that are packed, save np.unpackbits(array, axis=1).astype(np.float32)"
    return "convert it with .astype(np.float32)"
