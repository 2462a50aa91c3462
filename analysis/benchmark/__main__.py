"""Speed and memory of the suite's own machinery, measured beside what it is compared with.

    python -m analysis.benchmark search            exact prefix search against nine FAISS flat searches
    python -m analysis.benchmark search --scale    4,202,000 x 2048 in float16 on disk, in bounded memory
    python -m analysis.benchmark adaptive          shortlists, re-ranked, against one search at full size
    python -m analysis.benchmark evaluations       few-shot, long tail, … of 50,000 images and 1,000 classes

Everything a ratio is made of is measured in one run with the same number of threads: ratios can be compared
between machines, seconds cannot. Columns that begin with cpu_ count processor time instead of the clock; they
are the ones to read where other programs share the cores.
"""

import argparse
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from analysis.benchmark import adaptive, evaluations
from analysis.search import default_query_block, known_device, prefix_search
from suite import cli, files
from suite.errors import UserError
from suite.provenance import provenance

DIMS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
# Queries of ImageNet-4K: 50 for each of its 4,202 classes.
IMAGENET4K_QUERIES = 210_100
SGEMM_SIDES = (2048, 3000, 4096)


@dataclass(frozen=True)
class Command:
    """One sub-command: its help line, its options, and what gives its table."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace], pd.DataFrame]


def search_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `search`."""
    parser.add_argument("--rows", type=int, default=200_000, help="database rows (default 200000)")
    parser.add_argument("--queries", type=int, help="queries (default 2000; 200 with --scale)")
    parser.add_argument("--dims", type=int, nargs="+", default=DIMS, help="sizes (default 8, 16, … 2048)")
    parser.add_argument("--k", type=int, nargs="+", default=[1, 200], help="neighbours (default 1 200)")
    parser.add_argument("--no-faiss", action="store_true", help="leave out the FAISS flat searches")
    scale = parser.add_argument_group("a database on disk")
    scale.add_argument("--scale", action="store_true", help="search a float16 file instead, made for it")
    scale.add_argument("--scale-rows", type=int, default=4_202_000, help="its rows (default 4202000)")
    scale.add_argument(
        "--folder", type=Path, default=Path("results/benchmark"), help="where the file lies meanwhile"
    )
    scale.add_argument("--keep", action="store_true", help="do not delete the file; a kept one is used again")


def measure_search(args: argparse.Namespace) -> pd.DataFrame:
    """One row per k: seconds, rate and share of the sgemm rate, and FAISS or memory beside them."""
    return measure_scale(args) if args.scale else measure_speed(args)


def measure_speed(args: argparse.Namespace) -> pd.DataFrame:
    """Exact prefix search against one FAISS flat search per size, cosine, in memory."""
    rng = np.random.default_rng(args.seed)
    database = rng.standard_normal((args.rows, args.dims[-1]), dtype=np.float32)
    queries = rng.standard_normal((args.queries or 2000, args.dims[-1]), dtype=np.float32)
    table, found = [], {}
    for k in args.k:
        before = sgemm_rate(args.device)
        found[k], spent = timed(
            prefix_search, queries, database, args.dims, k, device=args.device, threads=args.threads
        )
        sgemm = (before + sgemm_rate(args.device)) / 2
        rate = 2 * len(queries) * len(database) * args.dims[-1] / 1e9 / spent
        table.append(
            {
                "k": k,
                "rows": len(database),
                "queries": len(queries),
                "sizes": len(args.dims),
                "seconds": spent[0],
                "gflops": rate[0],
                "sgemm_gflops": sgemm[0],
                "of_sgemm": rate[0] / sgemm[0],
                "cpu_seconds": spent[1],
                "cpu_of_sgemm": rate[1] / sgemm[1],
            }
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
            (_, ids), spent = timed(index.search, q, k)
            total[k] = total[k] + spent
            same[k] += float((ids == found[k].at(dim)[0]).mean()) / len(args.dims)
    return [(total[k], same[k]) for k in args.k]


def measure_scale(args: argparse.Namespace) -> pd.DataFrame:
    """Prefix search of a memory-mapped float16 database, read from disk, and this process's peak memory.

    The projection takes a whole block of queries, as many as one pass serves, over the first rows: with few
    queries most of the time goes to reading.
    """
    queries = np.random.default_rng(args.seed).standard_normal(
        (args.queries or 200, args.dims[-1]), dtype=np.float32
    )
    table = []
    with database_file(args.folder, args.scale_rows, args.dims[-1], args.seed, args.keep) as path:
        database = np.load(path, mmap_mode="r")
        for k in args.k:
            forget_cached(path)
            options = {"device": args.device, "threads": args.threads, "progress": True}
            _, (seconds, _) = timed(prefix_search, queries, database, args.dims, k, **options)
            block = default_query_block(len(args.dims), k, args.device)
            many = np.resize(queries, (block, args.dims[-1]))
            part = database[: min(len(database), max(100_000, k))]
            _, (block_seconds, _) = timed(prefix_search, many, part, args.dims, k, **options)
            passes = -(-IMAGENET4K_QUERIES // block)
            table.append(
                {
                    "k": k,
                    "rows": len(database),
                    "queries": len(queries),
                    "sizes": len(args.dims),
                    "seconds": seconds,
                    "ms_per_query": 1000 * seconds / len(queries),
                    "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
                    "queries_per_pass": block,
                    f"hours_for_{IMAGENET4K_QUERIES}": passes
                    * block_seconds
                    * len(database)
                    / len(part)
                    / 3600,
                }
            )
    return pd.DataFrame(table)


@contextmanager
def database_file(folder: Path, rows: int, width: int, seed: int, keep: bool) -> Iterator[Path]:
    """Yield a .npy of float16 Gaussians [rows, width], written in pieces; delete it afterwards unless `keep`.

    Raises UserError when the disk has no room for it.
    """
    path = folder / f"gaussian-{rows}x{width}-{seed}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    size = 2 * rows * width
    free = shutil.disk_usage(folder).free
    if not path.exists() and free < 1.05 * size:
        raise UserError(
            f"the database takes {size / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; "
            f"give another --folder or fewer --scale-rows"
        )
    try:
        if not path.exists():
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


def sgemm_rate(device: str, repeats: int = 3) -> np.ndarray:
    """Best GFLOP/s of torch.mm on square float32 matrices of several sides: per second, per CPU second."""
    rates = []
    for side in SGEMM_SIDES:
        a, b = torch.randn(2, side, side, device=device)
        out = torch.empty(side, side, device=device)
        for _ in range(repeats):
            _, spent = timed(multiply, a, b, out)
            rates.append(2 * side**3 / 1e9 / spent)
    return np.max(rates, axis=0)


def multiply(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
    """a @ b into `out`, finished on return."""
    torch.mm(a, b, out=out)
    if out.is_cuda:
        torch.cuda.synchronize()


def timed(work: Callable, *args, **options) -> tuple[object, np.ndarray]:
    """What `work` returns, and what it took: [seconds by the clock, seconds of all CPU threads]."""
    start = np.array([time.perf_counter(), time.process_time()])
    result = work(*args, **options)
    return result, np.array([time.perf_counter(), time.process_time()]) - start


COMMANDS = {
    "search": Command("exact search at every prefix size", search_arguments, measure_search),
    "adaptive": Command(
        "adaptive retrieval against one search at full size",
        adaptive.add_arguments,
        adaptive.run,
    ),
    "evaluations": Command(
        "evaluations without an index at ImageNet's size",
        evaluations.add_arguments,
        evaluations.run,
    ),
}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UserError for threads, a device or a file name that it cannot use."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=command.help)
        sub.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
        sub.add_argument("--device", default="cpu", help="cpu (default) or cuda")
        sub.add_argument("--seed", type=int, default=0, help="seed of the random data (default 0)")
        sub.add_argument("--out", type=Path, help="also write the table: .csv, or .json with its conditions")
        command.add_arguments(sub)
    args = parser.parse_args(argv)
    if args.threads < 1:
        raise UserError(f"--threads {args.threads}: at least one thread is needed")
    known_device(args.device)
    if args.out and args.out.suffix not in (".csv", ".json"):
        raise UserError(f"--out {args.out}: the name must end in .csv or .json")
    return args


def main(argv: list[str] | None = None) -> None:
    """Measure, print the table, and write it if asked."""
    args = arguments(argv)
    torch.set_num_threads(args.threads)
    table = COMMANDS[args.command].measure(args)
    print(table.T.to_string(header=False, float_format=lambda value: f"{value:.4g}"))
    if args.out:
        write(args, table)


def write(args: argparse.Namespace, table: pd.DataFrame) -> None:
    """Write the table as .csv, or as .json together with the conditions it was measured under."""
    with files.write_aside(args.out) as path:
        if args.out.suffix == ".csv":
            table.to_csv(path, index=False)
        else:
            conditions = provenance(threads=args.threads, device=args.device, seed=args.seed)
            files.write_json(path, {"conditions": conditions, "table": table.to_dict("records")})


if __name__ == "__main__":
    cli.run(main)
