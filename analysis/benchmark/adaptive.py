"""Adaptive retrieval against one search at full size, on the clock, beside what is counted.

The sub-command `adaptive` of `python -m analysis.benchmark`. A shortlist at a short prefix is ordered by the
full vectors; the same FAISS index at the full size is searched with the same number of threads in the same
run, and where an index can be searched more or less thoroughly, two searches are compared that find as much.
Without --database the embeddings are planted: classes around codes whose strength falls along the dimensions,
so that short prefixes mean something. How long a search takes does not depend on that; what it finds does.
"""

import argparse
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
from tqdm import tqdm

from analysis.evaluations.index_retrieval import shared
from analysis.measures.indexes import settings
from analysis.metrics import mflops_per_query
from analysis.search.faiss_indexes import FLAT, build, configure, flat, refine, vectors, whole
from suite.errors import UserError
from suite.timing import repeated

INDEXES = {  # FAISS's name of each, and how thoroughly it is searched
    "exact": (FLAT, [""]),
    "hnsw": ("HNSW32", [f"efSearch={ef}" for ef in (16, 32, 64, 128, 256, 512)]),
    "ivf": ("IVF1024,Flat", [f"nprobe={lists}" for lists in (8, 32, 128)]),
}
CLASSES = 1000
BLOCK = 16_384  # rows that are made or read at once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `adaptive`."""
    parser.add_argument("--rows", type=int, default=500_000, help="database rows (default 500000)")
    parser.add_argument("--dim", type=int, default=2048, help="full size (default 2048)")
    parser.add_argument("--queries", type=int, default=1000, help="queries (default 1000)")
    dims = [8, 16, 32, 64]
    parser.add_argument("--shortlist-dims", type=int, nargs="+", default=dims, help="default 8 16 32 64")
    parser.add_argument("--shortlist", type=int, default=200, help="K (default 200)")
    parser.add_argument("--k", type=int, default=10, help="neighbours (default 10)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=5,
        help="repeat each search for so long, three times at least (default 5)",
    )
    slow = "default exact; hnsw at 2048 dimensions takes minutes to build"
    parser.add_argument("--index", nargs="+", choices=INDEXES, default=["exact"], help=slow)
    parser.add_argument("--database", type=Path, help="a .npy of embeddings [N, d] instead of planted ones")
    parser.add_argument("--query-file", type=Path, help="a .npy of queries [n, d] for --database")


def run(args: argparse.Namespace) -> pd.DataFrame:
    """A row per index, size and search parameters.

    ms_per_query: the median repeat, cutting and normalising queries included, after one that is not timed;
    fastest, slowest. exact_recall: share of the exact neighbours that are found. speedup: milliseconds of the
    same index at the full size that finds at least as much (its most thorough search where none does),
    divided by these; counted: its multiply-accumulates divided by these, for exact search.
    """
    full, queries = embeddings(args)
    items = vectors(full)
    wrong = [m for m in args.shortlist_dims if not 0 < m < full.d]
    if wrong:
        raise UserError(f"--shortlist-dims {wrong}: shortlists are made below the full size {full.d}")
    faiss.omp_set_num_threads(args.threads)
    exact = whole(full).search(queries, args.k)[1]
    table = []
    for name in args.index:
        for m in tqdm([full.d, *args.shortlist_dims], desc=name, unit="size"):
            index, built = prepared(name, m, full, items, args)
            shortlist = args.shortlist if m < full.d else 0
            stages = [(shortlist, full.d)] if shortlist else []
            counted = mflops_per_query(full.ntotal, m, stages) if name == "exact" else np.nan
            for _, search in settings(INDEXES[name][1], shortlist or args.k):
                configure(index, search)
                faiss.omp_set_num_threads(args.threads)
                (_, ids), seconds = repeated(partial(index.search, queries, args.k), args.seconds)
                times = {
                    "ms_per_query": np.median(seconds),
                    "fastest": seconds.min(),
                    "slowest": seconds.max(),
                }
                table.append(
                    {"index": name, "search": search or "default", "shortlist_dim": m, "dim": full.d}
                    | {"shortlist_k": shortlist, "rows": full.ntotal, "queries": len(queries)}
                    | {"threads": args.threads, "repeats": len(seconds)}
                    | {key: 1000 * value / len(queries) for key, value in times.items()}
                    | {"mflops": counted, "exact_recall": shared(ids, exact).mean(), "build_seconds": built}
                )
    return pd.concat([against_single(rows) for _, rows in pd.DataFrame(table).groupby("index", sort=False)])


def against_single(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one index with speedup and counted; see `run`."""
    single = rows[rows["shortlist_dim"] == rows["dim"]].sort_values("ms_per_query")
    for place, row in rows.iterrows():
        base = as_thorough(single, row["exact_recall"])
        rows.loc[place, "speedup"] = base["ms_per_query"] / row["ms_per_query"]
        rows.loc[place, "counted"] = base["mflops"] / row["mflops"]
    return rows


def as_thorough(single: pd.DataFrame, recall: float) -> pd.Series:
    """The first row that finds at least as much, or else the most thorough one. single: fastest first."""
    enough = single[single["exact_recall"] >= recall]
    return enough.iloc[0] if len(enough) else single.loc[single["exact_recall"].idxmax()]


def prepared(name: str, dim: int, full: faiss.IndexFlatL2, items: np.ndarray, args: argparse.Namespace):
    """(what to search, seconds to build it): one search at the full size, a refined shortlist below it."""
    if name == "exact" and dim == full.d:
        return whole(full), 0.0
    built = build(items, INDEXES[name][0], dim, args.threads)
    if dim == full.d:
        return built.index, built.seconds
    return refine(built.index, full, args.shortlist / args.k), built.seconds


def embeddings(args: argparse.Namespace) -> tuple[faiss.IndexFlatL2, np.ndarray]:
    """(the database's vectors, normalised, in the only copy there is; queries float32 [n, d], as they are).

    Raises UserError when one of --database and --query-file is given without the other.
    """
    if (args.database is None) != (args.query_file is None):
        raise UserError("--database and --query-file go together: both hold embeddings of one network")
    if args.database is not None:
        stored, asked = (np.load(path, mmap_mode="r") for path in (args.database, args.query_file))
        starts = tqdm(range(0, len(stored), BLOCK), desc="read", unit="block")
        full = flat(stored[start : start + BLOCK] for start in starts).index
        return full, np.array(asked[: args.queries], np.float32, order="C")
    rng = np.random.default_rng(args.seed)
    strength = 1 / np.sqrt(1 + np.arange(args.dim) / 16)
    codes = (rng.standard_normal((CLASSES, args.dim)) * strength).astype(np.float32)
    starts = tqdm(range(0, args.rows, BLOCK), desc="plant", unit="block")
    full = flat(planted(codes, strength, min(BLOCK, args.rows - start), rng) for start in starts).index
    return full, planted(codes, strength, args.queries, rng).astype(np.float32)


def planted(codes: np.ndarray, strength: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [count, d]: codes of random classes with half as much noise in every dimension."""
    noise = 0.5 * rng.standard_normal((count, codes.shape[1]), dtype=np.float32) * strength.astype(np.float32)
    return codes[rng.integers(len(codes), size=count)] + noise
