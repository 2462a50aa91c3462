"""Files that are never half there, and what is said of those that are damaged or were exchanged.

Everything is written aside and renamed when it is whole. What a result was made with is told by *marks*: a
SHA-256 of files that are read as a whole, a hash of samples of large arrays, and names, sizes and times of
inputs outside the suite.
"""

import errno
import glob
import hashlib
import json
import os
import pickle
import platform
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from suite.errors import UserError
from suite.layout import command

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, none left of a quota, none for so large a file
UNWRITTEN = r"unexpected pos \d+|\d+ requested and \d+ written"
UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # by a file system that cannot reserve space
# What readers of arrays, archives, weights and JSON raise for files that are cut or overwritten.
DAMAGE = (ValueError, EOFError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError)
DAMAGE += (OSError, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError, NotImplementedError)
SAMPLES, SAMPLED = 64, 4096  # pieces of a large file that a mark is of, and bytes of each
DIGESTED = 64 * 2**20  # bytes of an outside file up to which its mark is of its content


# --- writing --------------------------------------------------------------------------------------


@contextmanager
def write_aside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a path beside `path` with the same suffix; rename it to `path` if the block succeeds.

    Raises UserError with the disk and what is free on it when it is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    aside = path.with_name(f".part{os.getpid()}@{platform.node()}.{path.name}")
    try:
        yield aside
        aside.replace(path)
    except Exception as error:
        if is_full(error):
            raise no_space(path) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def remove_abandoned(path: Path) -> None:
    """Delete what killed processes of this machine have left beside `path` while they wrote it."""
    for left in path.parent.glob(f".part*.{glob.escape(path.name)}"):
        found = re.match(r"\.part(\d+)(?:@(.*))?$", left.name.removesuffix(f".{path.name}"))
        if found and found[2] in (None, platform.node()) and not running(int(found[1])):
            left.unlink(missing_ok=True)


def running(process: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # there is one, of somebody else's
    return True


def is_full(error: Exception) -> bool:
    """Whether an error says that something could not be written for want of space."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    # What torch and numpy.save say: that less was written than was to be.
    return isinstance(error, (OSError, RuntimeError)) and bool(re.search(UNWRITTEN, str(error)))


def no_space(path: Path, needed: int | None = None) -> UserError:
    """The error for a file that does not fit on its disk."""
    disk = path.parent.resolve()
    while not disk.is_mount():
        disk = disk.parent
    free = shutil.disk_usage(path.parent).free
    wants = f"needs {needed / 1e6:,.0f} MB" if needed else "does not fit"
    return UserError(
        f"no space for {path}: it {wants}, and the disk {disk} has {free / 1e6:,.0f} MB free (or a quota is "
        "used up); make space and run again"
    )


@contextmanager
def create_npy(path: str | os.PathLike, shape: tuple, dtype) -> Iterator[np.ndarray]:
    """Yield a writable memory-mapped array [shape] that becomes `path` when the block succeeds.

    Its space is reserved first: writing to a mapped file on a full disk kills the process. Raises UserError
    where there is too little.
    """
    with write_aside(path) as aside:
        array = np.lib.format.open_memmap(aside, mode="w+", dtype=dtype, shape=shape)
        reserve(aside, Path(path))
        yield array
        array.flush()
        del array


def reserve(file: Path, path: Path) -> None:
    """Give a file that was laid out the space it will need. path: what it is called in the error."""
    needed = file.stat().st_size
    if not hasattr(os, "posix_fallocate"):  # macOS: what is free now has to do
        if shutil.disk_usage(file.parent).free < needed:
            raise no_space(path, needed)
        return
    with file.open("r+b") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, needed)
        except OSError as error:
            if error.errno in FULL:
                opened.truncate(0)  # give back what was reserved, so that the error says what is free
                raise no_space(path, needed) from error
            if error.errno not in UNSUPPORTED:
                raise


def write_npy(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write one array as .npy, whole or not at all."""
    with write_aside(path) as aside:
        np.save(aside, array, allow_pickle=False)


def write_link(path: str | os.PathLike, target: Path) -> None:
    """Make `path` a link to a file that lies elsewhere."""
    with write_aside(path) as aside:
        aside.symlink_to(target.resolve())


def write_npz(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as an uncompressed .npz (members are read lazily), whole or not at all."""
    with write_aside(path) as aside:
        np.savez(aside, **arrays)


def write_json(path: str | os.PathLike, value: object) -> None:
    """Write indented JSON, whole or not at all."""
    with write_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


# --- reading --------------------------------------------------------------------------------------


@contextmanager
def reading(path: str | os.PathLike, remove: str | os.PathLike | None = None, advice: str = "") -> Iterator:
    """Raise UserError for a file that the block finds damaged.

    remove: the file or folder to remove so that it is made again, by default the file. advice: instead.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except DAMAGE as error:
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise damaged(path, reason, remove, advice) from error


def damaged(
    path: str | os.PathLike, reason: str, remove: str | os.PathLike | None = None, advice: str = ""
) -> UserError:
    """The error for a file of results/ that cannot be used as it is; see `reading`."""
    what = "it" if remove is None else str(remove)
    return UserError(f"{path} is damaged ({reason}): {advice or f'remove {what} and run again'}")


def read_json(path: str | os.PathLike, remove: str | os.PathLike | None = None, advice: str = "") -> dict:
    """Read a JSON object. Raises UserError where the file holds none; see `reading`."""
    with reading(path, remove, advice):
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}, no object")
        return found


def read_last(path: str | os.PathLike, what: str) -> dict:
    """Read the JSON file that is written last and so makes a folder complete.

    what: what the folder holds. Raises UserError with the command to run when the file is missing, and for
    one that is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"no {what} in {path.parent}: {path.name} is missing (it is written last); run `{command(path)}`"
        )
    return read_json(path)


def read_npy(
    path: str | os.PathLike, mapped: bool = False, remove: str | os.PathLike | None = None
) -> np.ndarray:
    """One array, read or memory-mapped. Raises UserError for a damaged file; see `reading`."""
    with reading(path, remove):
        return np.load(path, mmap_mode="r" if mapped else None)


class Arrays(Mapping):
    """Arrays of an .npz by name, each read when it is asked for, and again when it is asked for again.

    hidden: names that are not among them. Raises UserError for a damaged file; see `reading`.
    """

    def __init__(
        self, path: str | os.PathLike, remove: str | os.PathLike | None = None, hidden: Iterable[str] = ()
    ):
        self.path, self._remove, self._hidden = Path(path), remove, frozenset(hidden)
        with reading(path, remove):
            self._archive = np.load(path)
            if not isinstance(self._archive, np.lib.npyio.NpzFile):
                raise ValueError("it is no .npz")

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._archive:
            raise KeyError(f"{name} is not in {self.path}")
        with reading(self.path, self._remove):
            return self._archive[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._archive if name not in self._hidden)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._archive


def read_table(path: str | os.PathLike, advice: str = "", **options: object):
    """A .csv that the suite wrote, as a DataFrame. Raises UserError where it is missing, cut or no table.

    advice: see `reading`; options: as pandas.read_csv takes them.
    """
    import pandas as pd  # which planning a run does without

    if not Path(path).exists():
        raise UserError(f"no table {path}; run `snakemake --cores all {path}`")
    with reading(path, advice=advice):
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if file.read(1) != b"\n":
                raise ValueError("it ends in the middle of a line")
        return pd.read_csv(path, **options)


# --- marks ----------------------------------------------------------------------------------------


def sha256(path: str | os.PathLike) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content(path: str | os.PathLike) -> object:
    """SHA-256 of a file, or of every file of a folder by its name, JSON-like; None where there is nothing."""
    path = Path(path).expanduser()
    if path.is_dir():
        return {str(file.relative_to(path)): sha256(file) for file in sorted(below(path)) if file.is_file()}
    return sha256(path) if path.is_file() else None


def sampled(path: str | os.PathLike) -> str:
    """A hash of a file's size and of pieces of it, evenly spaced: another file has another, at no cost."""
    size = Path(path).stat().st_size
    if size <= SAMPLES * SAMPLED:
        return sha256(path)
    found = hashlib.sha256(str(size).encode())
    with Path(path).open("rb") as file:
        for place in range(SAMPLES):
            file.seek((size - SAMPLED) * place // (SAMPLES - 1))
            found.update(file.read(SAMPLED))
    return found.hexdigest()


def check_marks(
    folder: Path, marks: Mapping[str, str] | None, name: str, mark: Callable, advice: str
) -> None:
    """Raise UserError unless a file of `folder` has the mark that was noted when it was written.

    marks: by name; None and names that are not among them were written before marks were noted. advice: what
    to remove.
    """
    noted = (marks or {}).get(name)
    if noted is not None and mark(folder / name) != noted:
        raise UserError(
            f"{folder / name} is not the file that was written there: it was changed, cut or comes from "
            f"elsewhere; {advice}"
        )


def outside(path: str | os.PathLike) -> object:
    """What changes when an input outside the suite does, JSON-like; None where there is nothing.

    Of a file its SHA-256, of a large one its size and time of change, of a folder that of every file below.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return listing(path)
    if not path.is_file():
        return None
    found = path.stat()
    return sha256(path) if found.st_size <= DIGESTED else [found.st_size, found.st_mtime_ns]


def listing(folder: str | os.PathLike, wanted: Callable[[Path], bool] = lambda path: True) -> str | None:
    """A hash of names, sizes and times of change of the wanted files below a folder; None without any.

    Links are followed: what they lead to counts.
    """
    folder = Path(folder)
    return hash_files((path.relative_to(folder), path) for path in below(folder) if wanted(path))


def hash_files(named: Iterable[tuple[object, Path]]) -> str | None:
    """The same of files that are given, each with the name it is known by; one that is missing counts too."""
    found = []
    for name, path in named:
        try:
            facts = path.stat()
            found.append([str(name), facts.st_size, facts.st_mtime_ns])
        except OSError:
            found.append([str(name)])
    return config_hash(sorted(found)) if found else None


def below(folder: str | os.PathLike) -> Iterator[Path]:
    """Every file below a folder, also behind links to folders, but for links to a folder that they lie in."""
    for place, folders, names in os.walk(folder, followlinks=True):
        real = Path(place).resolve()
        # A link upwards would be followed for ever.
        folders[:] = [name for name in folders if Path(place, name).resolve() not in (real, *real.parents)]
        yield from (Path(place, name) for name in names)


def config_hash(value: object) -> str:
    """Short hash of a JSON-like value, independent of key order.

    >>> config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
