"""Adaptive and funnel retrieval on the clock at the paper's size, beside what is counted (section 4.3.1).

The sub-command `retrieval` of `python -m analysis.benchmark`. Embeddings with a planted hierarchy
(superclass, class, item; the first dimensions carry most) lie on disk in float16, memory-mapped, as many as
ImageNet has: 5 GB by default, 17 GB for ImageNet-4K (--rows 4202000 --classes 4202). Every search reads its
vectors from there, but for what an index of short prefixes would keep: these are in memory. All are timed in
one run on the same queries, as one batch, with equal threads, after one search that is not timed.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
from tqdm import tqdm

from analysis.benchmark import make_room
from analysis.benchmark.adaptive import INDEXES, as_thorough
from analysis.evaluations.index_retrieval import shared
from analysis.measures.indexes import settings
from analysis.metrics import average_precision, funnel_stages, mflops_per_query, relevance
from analysis.search import prefix_search
from analysis.search.faiss_indexes import build, configure
from analysis.search.rerank import Prefixes, follow
from baselines.representation import Representation, View, write_representation
from suite import files
from suite.errors import UserError
from suite.timing import peak_memory, repeated

IMAGENET = 1_281_167  # images to search among
SUPERCLASSES = 30
NOISE = 0.7  # standard deviation of an item around its class, against 1 of classes around their superclass
K = 10  # neighbours of a query
FUNNEL = "C"  # the cascade that begins with as many candidates as the paper's shortlist has
HNSW = INDEXES["hnsw"]
BLOCK = 4096  # rows that are written at once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `retrieval`."""
    parser.add_argument("--rows", type=int, default=IMAGENET, help=f"database rows (default {IMAGENET})")
    parser.add_argument("--classes", type=int, default=1000, help="planted classes (default 1000)")
    parser.add_argument("--dim", type=int, default=2048, help="full size (default 2048)")
    parser.add_argument("--queries", type=int, default=500, help="queries (default 500)")
    parser.add_argument(
        "--shortlist-dims", type=int, nargs="+", default=[8, 16, 32, 64], help="default 8 16 32 64"
    )
    parser.add_argument("--shortlist", type=int, default=200, help="K (default 200)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=2,
        help="repeat each search for so long, three times at least (default 2)",
    )
    parser.add_argument(
        "--hnsw", action="store_true", help="also shortlists by HNSW, whose graph takes minutes"
    )
    parser.add_argument(
        "--hnsw-full",
        action="store_true",
        help="and HNSW at the full size: twice the memory that the file has bytes, half an hour or more",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("results/benchmark"), help="where the file lies meanwhile"
    )
    parser.add_argument(
        "--keep", action="store_true", help="do not delete the file; a kept one is used again"
    )


def run(args: argparse.Namespace) -> pd.DataFrame:
    """A row per search.

    ms_per_query: the median repeat, with its fastest and slowest; mflops: counted, of exact searches.
    exact_recall: the share of the ten exact neighbours at the full size that are found; map@10: by class.
    speedup: against the fastest search at the full size of the same index that finds at least as much (its
    most thorough one where none does), or, where the index was not built at that size, against the exact one;
    speedup_low, speedup_high: by the slowest and fastest repeats of both. counted: of multiply-accumulates.
    """
    wrong = [m for m in args.shortlist_dims if not 0 < m < args.dim]
    if wrong or args.shortlist < K or args.rows < max(args.classes, args.shortlist):
        raise UserError(
            f"--shortlist-dims {args.shortlist_dims} --shortlist {args.shortlist} --rows {args.rows}: "
            f"shortlists are made below the full size {args.dim}, of {K} candidates at least, and no more "
            "than there are rows, which are no fewer than classes"
        )
    folder = args.folder / f"retrieval-{args.rows}x{args.dim}-{args.classes}-{args.seed}"
    try:
        representation = planted(args, folder)
        return against_single(pd.DataFrame(searched(args, representation)))
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


def searched(args: argparse.Namespace, representation: Representation) -> Iterator[dict]:
    """The rows of `run`, without what is found by comparing them."""
    queries, items = (representation.array(split) for split in ("val", "train"))
    asked, labels = (np.load(representation.folder / f"{split}-labels.npy") for split in ("val", "train"))
    prefixes = Prefixes(representation, "val", "train")
    # What an index knows before it is asked.
    prefixes.inverse_norms(representation.views[0], representation.sizes)
    faiss.omp_set_num_threads(args.threads)
    exact = None

    def row(
        index: str, how: str, m: int, search: Callable[[], np.ndarray], mflops: float = np.nan, **facts
    ) -> dict:
        """A search, timed. search: returns int [n, ≥ K], nearest first."""
        nonlocal exact
        ids, seconds = repeated(search, args.seconds)
        exact = ids if exact is None else exact
        times = {"ms_per_query": np.median(seconds), "fastest": seconds.min(), "slowest": seconds.max()}
        found = average_precision(relevance(labels[ids[:, :K]], asked), K).mean()
        return (
            {"index": index, "search": how, "shortlist_dim": m, "dim": args.dim, "rows": args.rows}
            | {"queries": args.queries, "threads": args.threads, "repeats": len(seconds)}
            | {name: 1000 * value / args.queries for name, value in times.items()}
            | {"mflops": mflops, "exact_recall": shared(ids[:, :K], exact).mean(), "map@10": found}
            | {"peak_rss_gb": peak_memory()}
            | facts
        )

    def nearest(m: int, database: np.ndarray, k: int) -> np.ndarray:
        return prefix_search(queries[:, : database.shape[1]], database, [m], k, threads=args.threads).ids[0]

    def ordered(m: int, stages: list[tuple[int, int]], shortlist: Callable[[], np.ndarray]) -> np.ndarray:
        return follow(prefixes, [(m, stages)], [m], shortlist()[None], K)[0]

    yield row("exact", "single", args.dim, partial(nearest, args.dim, items, K), args.rows * args.dim / 1e6)
    for m in tqdm(args.shortlist_dims, desc="shortlists", unit="size"):
        kept = np.ascontiguousarray(items[:, :m])
        for how, stages in {
            "adaptive": [(args.shortlist, args.dim)],
            f"funnel {FUNNEL}": funnel_stages(m, FUNNEL, args.dim),
        }.items():
            shortlist = partial(nearest, m, kept, stages[0][0])
            counted = mflops_per_query(args.rows, m, stages)
            yield row(
                "exact", how, m, partial(ordered, m, stages, shortlist), counted, index_bytes=kept.nbytes
            )
        if args.hnsw:
            yield from graph(args, row, ordered, queries, kept, m)
    if args.hnsw_full:
        yield from graph(args, row, None, queries, items, args.dim)


def graph(
    args: argparse.Namespace, row: Callable, ordered: Callable | None, queries, items, m: int
) -> Iterator[dict]:
    """Rows of HNSW at one size: shortlists that `ordered` orders, or where it is None a search alone."""
    built = build(items, HNSW[0], m, args.threads)
    asked, k = np.array(queries[:, :m], np.float32), args.shortlist if ordered else K
    facts = {"build_seconds": built.seconds, "index_bytes": built.bytes}
    for _, how in settings(HNSW[1], k):
        configure(built.index, how)
        faiss.omp_set_num_threads(args.threads)

        def search() -> np.ndarray:
            return built.index.search(asked, k)[1]

        stages = [(args.shortlist, args.dim)]
        yield row("hnsw", how, m, partial(ordered, m, stages, search) if ordered else search, **facts)


def against_single(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with speedup, its range, and counted; see `run`."""
    at_full = rows[rows["shortlist_dim"] == rows["dim"]].sort_values("ms_per_query")
    for place, row in rows.iterrows():
        single = at_full[at_full["index"] == row["index"]]
        single = single if len(single) else at_full[at_full["index"] == "exact"]
        base = as_thorough(single, row["exact_recall"])
        rows.loc[place, "speedup"] = base["ms_per_query"] / row["ms_per_query"]
        rows.loc[place, "speedup_low"] = base["fastest"] / row["slowest"]
        rows.loc[place, "speedup_high"] = base["slowest"] / row["fastest"]
        rows.loc[place, "counted"] = base["mflops"] / row["mflops"]
    return rows


def planted(args: argparse.Namespace, folder: Path) -> Representation:
    """Embeddings of `rows` items and the queries on disk, float16, and beside them their classes.

    Raises UserError when the disk has no room for them.
    """
    if not (folder / "meta.json").exists():
        make_room(folder, 2 * (args.rows + args.queries) * args.dim, "the database takes", "fewer --rows")
        rng = np.random.default_rng(args.seed)
        strength = (1 / np.sqrt(1 + np.arange(args.dim) / 16)).astype(np.float32)
        above, codes = (
            rng.standard_normal((count, args.dim), dtype=np.float32) for count in (SUPERCLASSES, args.classes)
        )
        codes += above[np.arange(args.classes) % SUPERCLASSES]
        for split, count in (("val", args.queries), ("train", args.rows)):
            labels = rng.integers(args.classes, size=count)
            np.save(folder / f"{split}-labels.npy", labels)
            with files.create_npy(folder / f"{split}.npy", (count, args.dim), np.float16) as out:
                for start in tqdm(range(0, count, BLOCK), desc=f"plant {split}", unit="block"):
                    shown = labels[start : start + BLOCK]
                    noise = rng.standard_normal((len(shown), args.dim), dtype=np.float32)
                    out[start : start + BLOCK] = (codes[shown] + NOISE * noise) * strength
        sizes = tuple(sorted({*args.shortlist_dims, *funnel_sizes(args), args.dim}))
        views, splits = [View(sizes, 0, args.dim)], ["train", "val"]
        write_representation(
            folder, method="planted", seed=args.seed, views=views, splits=splits, classifiers={}
        )
    return Representation(folder)


def funnel_sizes(args: argparse.Namespace) -> set[int]:
    """Sizes at which funnels order."""
    return {dim for m in args.shortlist_dims for _, dim in funnel_stages(m, FUNNEL, args.dim)}
