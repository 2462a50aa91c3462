"""What finished blocks of queries have found, kept on disk, so that a search that is killed goes on."""

import hashlib
import logging
from pathlib import Path

import numpy as np

from suite import files

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


class FinishedBlocks:
    """What unfinished work has found, one .npz per block of queries, and key.json that says of which work."""

    def __init__(self, folder: str | Path, key: dict):
        self.folder = folder = Path(folder)
        if (folder / "key.json").exists():
            if files.read_json(folder / "key.json") == key:
                return
            log.warning("%s holds parts of a search of other inputs: they are removed", folder)
            for path in folder.glob("queries-*.npz"):
                path.unlink()
        files.write_json(folder / "key.json", key)

    def _path(self, start: int) -> Path:
        return self.folder / f"queries-{start:09d}.npz"

    def read(self, start: int) -> list[np.ndarray] | None:
        """The arrays found for the block of queries from `start`, or None if it is not finished."""
        if not self._path(start).exists():
            return None
        with np.load(self._path(start)) as block:
            return list(block.values())

    def write(self, start: int, *arrays: np.ndarray) -> None:
        """Keep the arrays found for a finished block."""
        files.write_npz(self._path(start), {str(place): array for place, array in enumerate(arrays)})
