"""Exact prefix search against one FAISS flat search per size, or of a file in bounded memory.

The sub-command `search` of `python -m analysis.benchmark`.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from analysis.benchmark import NESTING, make_room
from analysis.search import prefix_search
from analysis.search.prefix import default_query_block
from suite import files
from suite.timing import GEMM_SIDES, gemm_rate, peak_memory, timed

# Queries of ImageNet-4K: 50 for each of its 4,202 classes.
IMAGENET4K_QUERIES = 210_100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `search`."""
    parser.add_argument("--rows", type=int, default=200_000, help="database rows (default 200000)")
    parser.add_argument("--queries", type=int, help="queries (default 2000; 200 with --scale)")
    parser.add_argument("--dims", type=int, nargs="+", default=NESTING, help="sizes (default 8, 16, … 2048)")
    parser.add_argument("--k", type=int, nargs="+", default=[1, 200], help="neighbours (default 1 200)")
    parser.add_argument("--no-faiss", action="store_true", help="leave out the FAISS flat searches")
    disk = parser.add_argument_group("a database on disk")
    disk.add_argument("--scale", action="store_true", help="search a float16 file instead, made for it")
    disk.add_argument("--scale-rows", type=int, default=4_202_000, help="its rows (default 4202000)")
    disk.add_argument(
        "--folder", type=Path, default=Path("results/benchmark"), help="where the file lies meanwhile"
    )
    disk.add_argument("--keep", action="store_true", help="do not delete the file; a kept one is used again")


def run(args: argparse.Namespace) -> pd.DataFrame:
    """One row per k: seconds, rate and share of the sgemm rate, and FAISS or memory beside them."""
    return scale(args) if args.scale else speed(args)


def speed(args: argparse.Namespace) -> pd.DataFrame:
    """Exact prefix search against one FAISS flat search per size, cosine, in memory."""
    rng = np.random.default_rng(args.seed)
    database = rng.standard_normal((args.rows, args.dims[-1]), dtype=np.float32)
    queries = rng.standard_normal((args.queries or 2000, args.dims[-1]), dtype=np.float32)
    table, found = [], {}
    for k in args.k:
        before = sgemm_rate(args.device)
        found[k], spent = timed(partial(search, args, queries, database, k))
        sgemm = (before + sgemm_rate(args.device)) / 2
        rate = 2 * len(queries) * len(database) * args.dims[-1] / 1e9 / spent
        share = rate / sgemm
        table.append(
            conditions(args, queries, database, k)
            | {"seconds": spent[0], "gflops": rate[0], "sgemm_gflops": sgemm[0], "of_sgemm": share[0]}
            | {"cpu_seconds": spent[1], "cpu_of_sgemm": share[1]}
        )
    if not args.no_faiss:
        for row, (spent, same) in zip(table, flat_searches(queries, database, args, found), strict=True):
            row |= {"faiss_seconds": spent[0], "speedup": spent[0] / row["seconds"]}
            row |= {"cpu_faiss_seconds": spent[1], "cpu_speedup": spent[1] / row["cpu_seconds"]}
            row["same_ids"] = same
    return pd.DataFrame(table)


def flat_searches(
    queries: np.ndarray, database: np.ndarray, args: argparse.Namespace, found: dict
) -> list[tuple[np.ndarray, float]]:
    """Per k: what one faiss.IndexFlatL2 search per size took (see timed), and the share of equal ids.

    Only `search` is timed, not slicing, normalising and filling the index; prefix_search does that itself.
    """
    import faiss

    faiss.omp_set_num_threads(args.threads)
    total, same = dict.fromkeys(args.k, 0.0), dict.fromkeys(args.k, 0.0)
    for dim in tqdm(args.dims, desc="faiss", unit="size"):
        x, q = (np.ascontiguousarray(array[:, :dim]) for array in (database, queries))
        faiss.normalize_L2(x)
        faiss.normalize_L2(q)
        index = faiss.IndexFlatL2(dim)
        index.add(x)
        del x
        for k in args.k:
            (_, ids), spent = timed(partial(index.search, q, k))
            total[k] = total[k] + spent
            same[k] += float((ids == found[k].at(dim)[0]).mean()) / len(args.dims)
    return [(total[k], same[k]) for k in args.k]


def scale(args: argparse.Namespace) -> pd.DataFrame:
    """Prefix search of a memory-mapped float16 database, read from disk, and this process's peak memory.

    The projection takes a whole block of queries, as many as one pass serves, over the first rows: with few
    queries most of the time goes to reading.
    """
    rng, shape = np.random.default_rng(args.seed), (args.queries or 200, args.dims[-1])
    queries, table = rng.standard_normal(shape, dtype=np.float32), []
    with database_file(args.folder, args.scale_rows, args.dims[-1], args.seed, args.keep) as path:
        database = np.load(path, mmap_mode="r")
        for k in args.k:
            forget_cached(path)
            _, (seconds, _) = timed(partial(search, args, queries, database, k, progress=True))
            block = default_query_block(len(args.dims), k, args.device)
            many = np.resize(queries, (block, args.dims[-1]))
            part = database[: min(len(database), max(100_000, k))]
            _, (block_seconds, _) = timed(partial(search, args, many, part, k, progress=True))
            hours = -(-IMAGENET4K_QUERIES // block) * block_seconds * len(database) / len(part) / 3600
            table.append(
                conditions(args, queries, database, k)
                | {"seconds": seconds, "ms_per_query": 1000 * seconds / len(queries)}
                | {"peak_rss_gb": peak_memory(), "queries_per_pass": block}
                | {f"hours_for_{IMAGENET4K_QUERIES}": hours}
            )
    return pd.DataFrame(table)


def search(args: argparse.Namespace, queries: np.ndarray, database: np.ndarray, k: int, **given):
    """What is timed."""
    return prefix_search(queries, database, args.dims, k, device=args.device, threads=args.threads, **given)


def conditions(args: argparse.Namespace, queries: np.ndarray, database: np.ndarray, k: int) -> dict:
    """What a row of either table begins with."""
    return {"k": k, "rows": len(database), "queries": len(queries), "sizes": len(args.dims)}


def sgemm_rate(device: str) -> np.ndarray:
    """Best GFLOP/s of float32 matrix products: per second, per CPU second."""
    return 2e-9 * gemm_rate(device, sides=GEMM_SIDES)


@contextmanager
def database_file(folder: Path, rows: int, width: int, seed: int, keep: bool) -> Iterator[Path]:
    """Yield a .npy of float16 Gaussians [rows, width], written in pieces; delete it afterwards unless `keep`.

    Raises UserError when the disk has no room for it.
    """
    path = folder / f"gaussian-{rows}x{width}-{seed}.npy"
    try:
        if not path.exists():
            make_room(folder, 2 * rows * width, "the database takes", "fewer --scale-rows")
            write_gaussians(path, rows, width, np.random.default_rng(seed + 1))
        yield path
    finally:
        if not keep:
            path.unlink(missing_ok=True)


def write_gaussians(path: Path, rows: int, width: int, rng: np.random.Generator) -> None:
    """Write the file through ordinary writes, since written pages of a map count as this process's memory."""
    header = {"descr": "<f2", "fortran_order": False, "shape": (rows, width)}
    with files.write_aside(path) as aside, aside.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for start in tqdm(range(0, rows, 4096), desc="write", unit="piece"):
            piece = rng.standard_normal((min(4096, rows - start), width), dtype=np.float32)
            piece.astype(np.float16).tofile(out)
        out.flush()
        os.fsync(out.fileno())


def forget_cached(path: Path) -> None:
    """Drop a file from the system's cache where that is possible, so that it is read from disk."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
