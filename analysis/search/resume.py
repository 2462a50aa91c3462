"""What finished blocks of queries have found, kept on disk, so that a search that is killed goes on."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from suite import files, modules
from suite.errors import UserError

# What finds, and in which order: an edit begins anew.
CODE = ("analysis/search/prefix.py", "analysis/search/rerank.py")

log = logging.getLogger(__name__)


def fingerprint(array: np.ndarray) -> list:
    """Shape, type, and what changes with the content.

    Of a memory-mapped file its path, size, time of change and the array's place in it, since reading it all
    could take as long as searching it; of any other array a hash of every row.
    """
    described = [list(array.shape), str(array.dtype)]
    owner = getattr(array, "_mmap", None)
    if owner is None or array.filename is None:
        digest = hashlib.sha256()
        for start in range(0, len(array), 4096):
            digest.update(array[start : start + 4096].tobytes())
        return [*described, digest.hexdigest()]
    file = Path(array.filename).stat()
    place = array.ctypes.data - np.frombuffer(owner, np.uint8).ctypes.data
    found = file.st_size, file.st_mtime_ns, array.offset + place, list(array.strides)
    return [*described, str(array.filename), *found]


def unreadable(error: UserError) -> str:
    """What is wrong with a damaged file, without what a user would have to do."""
    return str(error).partition(": remove")[0]


class FinishedBlocks:
    """What unfinished work has found, one .npz per block of queries, and key.json that says of which work.

    folder: None keeps nothing. key: gives what a block depends on, as JSON keeps it.
    """

    def __init__(self, folder: str | Path | None, key: Callable[[], dict]):
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        path, wanted = self.folder / "key.json", key() | {"code": modules.content(modules.closure(*CODE))}
        if path.exists():
            try:
                if files.read_json(path) == wanted:
                    return
                log.warning("%s holds parts of a search of other inputs: they are removed", folder)
            except UserError as error:
                log.warning("%s: the parts of a search beside it are removed", unreadable(error))
        if self.folder.exists():
            for part in self.folder.glob("queries-*.npz"):
                part.unlink()
        files.write_json(path, wanted)

    def find(self, start: int, search: Callable[[], Sequence[np.ndarray]]) -> Sequence[np.ndarray]:
        """The arrays of the block of queries from `start`: as they were kept, or what `search` finds now."""
        if self.folder is None:
            return search()
        path = self.folder / f"queries-{start:09d}.npz"
        if path.exists():
            try:
                return list(files.Arrays(path).values())
            except UserError as error:
                log.warning("%s: it is searched again", unreadable(error))
        found = search()
        files.write_npz(path, {str(place): array for place, array in enumerate(found)})
        return found
