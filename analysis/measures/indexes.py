"""Approximate and compressed search with FAISS: what an index finds at each size, how fast, in which space.

An index holds the normalised prefixes of one size. Refined, its `shortlist` best are ordered by the full
vectors: adaptive retrieval as FAISS does it (paper, section 4.3.1). All are timed in one run on the same
queries, as one batch, the best of several repeats. Saved, for I configurations of an index:

    index int64 [I]                  place in the option `indexes`
    dim int64 [I]; refined bool [I]
    ids int32 [I, n, k]              in the database split, nearest first; -1 where fewer were found
    exact int32 [n, k]               the exact neighbours at the full size
    own int32 [I, n, k]              and at the configuration's own
    rows int64 [n]                   the queries, rows of the query split
    threads int64 [T]; seconds float64 [I, T]             for all n queries
    build_seconds, bytes_per_item float64 [I]             with one thread; as FAISS writes the index to disk
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np
from tqdm import tqdm

from analysis.search.faiss_indexes import (
    BLOCK,
    FLAT,
    Built,
    build,
    flat,
    normalised,
    refine,
    thread_counts,
    time_searches,
    vectors,
)
from baselines.representation import Representation
from splits.store import Dataset
from suite.errors import UserError

READS = ("neighbours",)
ALONE = True
# Keys of an index: `factory`, FAISS's name for it (github.com/facebookresearch/faiss/wiki/The-index-factory)
# or "Binary", one bit per dimension; `search`, FAISS's search parameters; `refine`, whether also refined.
OPTIONS = {
    "splits": ["val", "train"],  # queries, database
    "queries": 1000,  # at most so many, evenly spread over the split
    "k": 10,
    "shortlist": 200,  # K of the refined ones
    "seconds": 0.2,  # for which every search is repeated, at least
    "indexes": {
        "exact": {"factory": "Flat", "refine": True},
        "hnsw": {"factory": "HNSW32", "search": "efSearch=64", "refine": True},
        "ivf": {"factory": "IVF64,Flat", "search": "nprobe=8", "refine": True},
        "int8": {"factory": "SQ8"},
        "pq16": {"factory": "PQ16np"},
        "pq8": {"factory": "PQ8np"},
        "binary": {"factory": "Binary"},
    },
}
KEYS = {"factory", "search", "refine"}


def measure(
    representation: Representation, dataset: Dataset, options: dict, neighbours
) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines. neighbours: what the measure of that name saved."""
    query, database = options["splits"]
    if query not in dataset or database not in dataset:
        raise UserError(
            f"measures.indexes.splits asks for {query} and {database}; the study has "
            f"{', '.join(dataset.splits)}"
        )
    count = len(dataset.labels(query))
    rows = np.linspace(0, count - 1, min(count, options["queries"])).astype(np.int64)
    full_view = representation.serving(representation.dim)[0]
    saved = dict(zip(neighbours["sizes"].tolist(), neighbours[f"{query}/{database}/ids"][full_view.draw]))
    parts = []
    for view in dict.fromkeys(representation.serving(m)[0] for m in representation.sizes):
        starts = range(0, len(dataset.labels(database)), BLOCK)
        full = flat(representation.features(database, view, rows=slice(s, s + BLOCK)) for s in starts)
        asked = normalised(representation.features(query, view)[rows])
        sizes = [m for m in representation.sizes if representation.serving(m)[0] == view]
        parts += measure_view(full, asked, sizes, options, full_size=view == full_view)
    k = parts[0]["ids"].shape[1]
    return {
        "sizes": np.array(representation.sizes, np.int64),
        "rows": rows,
        "exact": saved[representation.dim][rows, :k],
        "own": np.stack([saved[part["dim"]][rows, :k] for part in parts]),
        "threads": np.array(thread_counts(), np.int64),
        **{key: np.array([part[key] for part in parts]) for key in parts[0]},
    }


def measure_view(
    full: Built, queries: np.ndarray, sizes: list[int], options: dict, full_size: bool
) -> Iterator[dict]:
    """Every wanted index of one view's prefixes: what is saved of a configuration, by name.

    full: of the view's items, see `flat`; queries: float32 [n, d], rows of length 1; full_size: whether the
    view is of the full size, whose vectors alone can refine.
    """
    items = vectors(full.index)
    k, shortlist = min(options["k"], len(items)), min(options["shortlist"], len(items))
    names = list(options["indexes"])
    pairs = list(wanted(options["indexes"], sizes))
    for name, m in tqdm(pairs, desc="indexes", unit="index"):
        given = options["indexes"][name]
        built = full
        if given["factory"] != FLAT or m < items.shape[1]:
            built = build(items, given["factory"], m, given.get("search", ""))
        searched = [(False, built.index)]
        if full_size and given.get("refine") and m < items.shape[1]:
            searched.append((True, refine(built.index, full.index, shortlist / k)))
        for refined, index in searched:
            ids, seconds = time_searches(index, queries, k, options["seconds"])
            space = (built.bytes + refined * items.nbytes) / len(items)
            found = {"index": names.index(name), "dim": m, "refined": refined, "ids": ids.astype(np.int32)}
            yield found | {"seconds": seconds, "build_seconds": built.seconds, "bytes_per_item": space}


def wanted(indexes: Mapping[str, dict], sizes: list[int]) -> Iterator[tuple[str, int]]:
    """(name, size) of every index at every size it can have.

    A product quantiser of p parts needs a size that p divides; at p itself it would be a scalar quantiser.
    """
    for name, given in indexes.items():
        if "factory" not in given or set(given) - KEYS:
            raise UserError(
                f"measures.indexes.indexes.{name} has {', '.join(given)}; it needs factory and may have "
                "search and refine"
            )
        quantiser = re.fullmatch(r"PQ(\d+)(x\d+)?(np)?", given["factory"])
        parts = int(quantiser[1]) if quantiser else 0
        for m in sizes:
            if not parts or (m % parts == 0 and m > parts):
                yield name, m
