"""Time and memory of every evaluation that needs no index, on planted embeddings of ImageNet's size.

The sub-command `evaluations` of `python -m analysis.benchmark`. Nothing is trained and no image is decoded:
embeddings lie on disk, memory-mapped, and each measure and each table is a process of its own, as in the
workflow. Logits are not on disk: they are made from embeddings and classifiers in blocks, and that is timed.
"""

import argparse
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from analysis.benchmark import NESTING, make_room, planted
from analysis.measure import measure
from analysis.tabulate import tabulate
from suite import files
from suite.errors import UserError
from suite.layout import Layout
from suite.study import Study
from suite.timing import peak_memory, timed

# Images of ImageNet-1K, its relatives, and a stream as long as val.
COUNTS = {"train": 1_281_167, "val": 50_000, "v2": 10_000, "sketch": 50_889, "r": 30_000, "a": 7_500}
COUNTS["stream"] = COUNTS["val"]
SEEN, UNSEEN, SUPERCLASSES = 1000, 1000, 30
TIMED = ("predict", "classmeans")  # neighbours have a benchmark of their own
FROM_PREDICTIONS = ("robustness", "superclass", "disagreement", "adaptive_classification", "paired")
CONFIG = {
    "name": "imagenet_sized",
    "title": "planted embeddings of ImageNet's size",
    "data": {"source": "glyphs"},
    "nesting": list(NESTING),
    "seeds": [0],
    "backbone": {"name": "small_resnet", "dim": NESTING[-1], "widths": [1]},
    "training": {"epochs": 1, "batch_size": 1, "learning_rate": 1.0},
    # Fixed feature is only there to be compared with: its class means cost what MRL's do.
    "methods": {"mrl": None, "fixed_feature": {"tasks": list(FROM_PREDICTIONS)}},
    "tasks": {"fewshot": None, "longtail": None, **dict.fromkeys(FROM_PREDICTIONS)}
    | {"paired": {"against": ["fixed_feature"], "outcomes": ["linear"]}},
    "figures": [],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `evaluations`."""
    parser.add_argument(
        "--folder", type=Path, default=Path("results/benchmark"), help="where the files lie meanwhile (7 GB)"
    )
    parser.add_argument("--keep", action="store_true", help="do not delete them; kept ones are used again")
    parser.add_argument(
        "--fraction", type=float, default=1.0, help="share of ImageNet's images (default 1), to try it out"
    )


def run(args: argparse.Namespace) -> pd.DataFrame:
    """One row per measure and per table: seconds, processor seconds and peak memory of its process."""
    study = Study(CONFIG)
    layout = Layout(study.name, args.folder / f"evaluations-{args.fraction:g}-{args.seed}")
    try:
        build(study, layout, args.fraction, args.seed)
        jobs = [(measure_one, name, f"measure {name}: MRL") for name in TIMED]
        jobs += [(tabulate_one, task, f"table {task}") for task in study.tasks]
        # What the tables compare with, not timed.
        measure_one(layout, "predict", "fixed_feature")
        os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read by the processes below
        rows = [
            {"job": label, "threads": args.threads, **in_process(job, layout, name)}
            for job, name, label in tqdm(jobs, unit="job")
        ]
    finally:
        if not args.keep:
            shutil.rmtree(layout.root, ignore_errors=True)
    whole = {"job": "all", "threads": args.threads, "peak_rss_gb": max(row["peak_rss_gb"] for row in rows)}
    whole |= {key: sum(row[key] for row in rows) for key in ("seconds", "cpu_seconds")}
    return pd.DataFrame([*rows, whole])


def build(study: Study, layout: Layout, fraction: float, seed: int) -> None:
    """Write splits, embeddings in float16 and classifiers, unless they are there from before.

    Raises UserError when the disk has no room for them.
    """
    if (layout.embeddings("fixed_feature", 0) / "meta.json").exists():
        return
    counts = {name: max(int(n * fraction), 10 * SEEN) for name, n in COUNTS.items()}
    size = 2 * NESTING[-1] * (sum(counts.values()) + 2 * (sum(counts.values()) - counts["train"]))
    make_room(layout.root, size, "the embeddings take", "a smaller --fraction")
    rng = np.random.default_rng(seed)
    # Images of 16 random bytes: only their labels are read, and no two may be the same.
    dataset = planted.write_dataset(
        layout, counts, rng, seen=SEEN, unseen=UNSEEN, superclasses=SUPERCLASSES, image=(1, 16, 1)
    )
    codes = planted.plant(dataset, study.dim, rng)
    labels = {name: dataset.labels(name) for name in dataset.splits}
    tested = {name: labels[name] for name in labels if name not in ("train", "stream")}
    for name, splits in (("mrl", labels), ("fixed_feature", tested)):
        method, options = study.methods[name], {"dtype": np.float16, "splits": splits}
        planted.write_method(layout, method, 0, dataset, codes, rng, **options)


def measure_one(layout: Layout, name: str, method: str = "mrl") -> None:
    """Measure one method and save what was found."""
    files.write_npz(layout.outcomes(method, 0, name), measure(Study(CONFIG), layout, method, 0, name))


def tabulate_one(layout: Layout, task: str) -> None:
    """One table."""
    with files.write_aside(layout.table(task)) as path:
        tabulate(Study(CONFIG), task, layout).to_csv(path, index=False)


def in_process(job, layout: Layout, name: str) -> dict:
    """Run a job in a fresh process; its seconds, processor seconds and peak resident memory.

    Pages of memory-mapped files count as resident too. What the job raises is raised here; UserError when
    its process was killed.
    """
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            return process.submit(report, job, layout, name).result()
    except BrokenProcessPool:
        raise UserError(f"{name} failed: its process was killed") from None


def report(job, layout: Layout, name: str) -> dict:
    """What the process of `in_process` does."""
    _, (seconds, _) = timed(partial(job, layout, name))
    # Processor time of the whole process, its imports included.
    return {"seconds": seconds, "cpu_seconds": time.process_time(), "peak_rss_gb": peak_memory()}
