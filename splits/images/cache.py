"""Splits of millions of image files: decoded once, by all cores, and continued where it was stopped.

Workers write into the memory-mapped file themselves and hand back a digest of each image, so that neither the
images pass between processes nor are the hundreds of gigabytes read again to compare splits. What is done is
noted chunk by chunk beside the file:

    results/data/<study>/<split>/unfinished/{images,digests,done}.npy, plan.json

and when everything is, `images.npy`, `digests.npy` and `plan.json` take their place in the split: what the
same plan has made is not made again.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from splits.images.listing import read_bytes
from splits.images.pictures import Format, decode
from splits.store import DIGEST, DatasetWriter, digest
from suite import files

CHUNK = 64  # files per job: some seconds of work are lost when the build is stopped
WAITING = 4  # jobs per process that are handed out at a time, so that memory stays bounded


def write_split(
    writer: DatasetWriter, name: str, table: pd.DataFrame, root: Path, target: Format, threads: int
) -> None:
    """Decode every file of `table` and write the split `name`, starting where an earlier call stopped.

    table: one row per image with label, id, path (relative to `root`, see listing.read_bytes) and
    further columns for items.csv. Raises UserError naming a file that cannot be decoded; what is done by then
    is kept.
    """
    labels = table["label"].to_numpy(np.int64)
    with writer.filled(name, (len(table), *target.shape), labels, table.drop(columns=["label", "path"])):
        fill(writer.folder / name, table["path"].tolist(), Path(root), target, threads)


def fill(folder: Path, paths: list[str], root: Path, target: Format, threads: int) -> None:
    """Write folder/images.npy [n, size, size, channels] and folder/digests.npy [n]."""
    work = folder / "unfinished"
    plan = {"format": repr(target), "root": str(root), "paths": hash_of(paths)}
    if follows(folder, plan) and (folder / "images.npy").exists():
        return
    if not follows(work, plan):
        begin(work, len(paths), target, plan)
    opened.cache_clear()  # another plan's array may have had the same name
    done = np.load(work / "done.npy", mmap_mode="r+")
    digests = np.load(work / "digests.npy", mmap_mode="r+")
    chunks = [slice(start, min(start + CHUNK, len(paths))) for start in range(0, len(paths), CHUNK)]
    left = [rows for rows in chunks if not done[rows].all()]
    jobs = ((str(work / "images.npy"), rows, paths[rows], str(root), target) for rows in left)
    with tqdm(total=len(paths), initial=int(done.sum()), desc=f"decoding {folder.name}", unit="image") as bar:
        for rows, found in run_all(decode_into, jobs, threads):
            digests[rows] = np.frombuffer(found, DIGEST)
            done[rows] = True  # after the images: what is noted as done is there
            bar.update(rows.stop - rows.start)
    for array in (digests, done):
        array.flush()
    (folder / "plan.json").unlink(missing_ok=True)  # it must not vouch for half-renamed files
    for name in ("images.npy", "digests.npy", "plan.json"):
        (work / name).replace(folder / name)
    (work / "done.npy").unlink()
    work.rmdir()


def follows(folder: Path, plan: dict) -> bool:
    """Whether what lies in `folder` was made to this plan."""
    return (folder / "plan.json").exists() and files.read_json(folder / "plan.json") == plan


def begin(work: Path, n: int, target: Format, plan: dict) -> None:
    """Lay out the files of a new filling; the plan, which makes them count, last."""
    (work / "plan.json").unlink(missing_ok=True)
    for name, shape, dtype in (
        ("images", (n, *target.shape), np.uint8),
        ("digests", (n,), DIGEST),
        ("done", (n,), bool),
    ):
        with files.create_npy(work / f"{name}.npy", shape, dtype):
            pass  # zeros, and on most file systems no bytes, until something is written
    files.write_json(work / "plan.json", plan)


def decode_into(job: tuple[str, slice, list[str], str, Format]) -> tuple[slice, bytes]:
    """Decode the files of one job into their rows; returns the rows and the images' digests, one by one."""
    array, rows, paths, root, target = job
    out = opened(array)
    digests = []
    for row, path in zip(range(rows.start, rows.stop), paths):
        image = decode(f"{root}/{path}", read_bytes(path, root), target)
        out[row] = image
        digests.append(digest(image))
    return rows, b"".join(digests)


@lru_cache(maxsize=1)
def opened(path: str) -> np.ndarray:
    """The array a worker writes to, mapped once."""
    return np.load(path, mmap_mode="r+")


def run_all(work: Callable, jobs: Iterator, threads: int) -> Iterator:
    """Yield work(job) of every job in order, over so many processes."""
    if threads == 1:
        yield from map(work, jobs)
        return
    with ProcessPoolExecutor(threads) as pool:
        waiting: deque[Future] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(work, job))
                if len(waiting) >= WAITING * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def hash_of(lines: list[str]) -> str:
    """SHA-256 of lines of text."""
    overall = hashlib.sha256()
    for line in lines:
        overall.update(line.encode() + b"\n")
    return overall.hexdigest()
