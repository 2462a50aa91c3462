"""Files that are never half there: everything is written aside and renamed when it is whole."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from suite.errors import UserError
from suite.layout import command


@contextmanager
def write_aside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a path beside `path` with the same suffix; rename it to `path` if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".part{os.getpid()}.{path.name}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def create_npy(path: str | os.PathLike, shape: tuple, dtype) -> Iterator[np.ndarray]:
    """Yield a writable memory-mapped array [shape] that becomes `path` when the block succeeds."""
    with write_aside(path) as aside:
        array = np.lib.format.open_memmap(aside, mode="w+", dtype=dtype, shape=shape)
        yield array
        array.flush()
        del array


def write_npy(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write one array as .npy, whole or not at all."""
    with write_aside(path) as aside:
        np.save(aside, array, allow_pickle=False)


def write_npz(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as an uncompressed .npz (members are read lazily), whole or not at all."""
    with write_aside(path) as aside:
        np.savez(aside, **arrays)


def write_json(path: str | os.PathLike, value: object) -> None:
    """Write indented JSON, whole or not at all."""
    with write_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike) -> dict:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_last(path: str | os.PathLike, what: str) -> dict:
    """Read the JSON file that is written last and so makes a folder complete.

    what: what the folder holds. Raises UserError with the command to run when the file is missing.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"no {what} in {path.parent}: {path.name} is missing (it is written last); run `{command(path)}`"
        )
    return read_json(path)


def sha256(path: str | os.PathLike) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_hash(value: object) -> str:
    """Short hash of a JSON-like value, independent of key order.

    >>> config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
