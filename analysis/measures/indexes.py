"""Approximate and compressed search with FAISS: what an index finds at each size, how fast, in which space.

An index holds the normalised prefixes of one size. Refined, its `shortlist` best are ordered by the full
vectors: adaptive retrieval as FAISS does it (paper, section 4.3.1). What can be searched more or less
thoroughly is searched at several settings, plain and refined, so that both can be compared where they find as
much. All are timed in one run on the same queries, as one batch, cutting and normalising them included, after
one search that is not timed. Saved, for I configurations of an index, under <query>/<database>/

    index, search int64 [I]          places in the option `indexes`, and in that index's `search`
    dim int64 [I]; refined bool [I]
    ids int32 [I, n, k]              in the database split, nearest first; -1 where fewer were found
    exact int32 [n, k]               the exact neighbours at the full size
    own int32 [I, n, k]              and at the configuration's own
    rows int64 [n]                   the queries, rows of the query split
    seconds, fastest, slowest float64 [I, T]              for all n queries: the median repeat, and its range
    repeats int64 [I, T]
    build_seconds, bytes_per_item float64 [I]             with one thread; as FAISS writes the index to disk
    bytes_shared float64 [I]         of a refined one, without the second copy of what the full vectors hold

and `threads` int64 [T].
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np
from tqdm import tqdm

from analysis.search.faiss_indexes import (
    BLOCK,
    FLAT,
    OWN,
    Built,
    TooFewItems,
    build,
    configure,
    effective,
    flat,
    holds_vectors,
    refine,
    thread_counts,
    time_searches,
    vectors,
    whole,
)
from baselines.representation import Representation
from splits.store import Dataset
from suite.errors import UserError

READS = ("neighbours",)
ALONE = True
CUTS = True
# Keys of an index: `factory`, FAISS's name for it (github.com/facebookresearch/faiss/wiki/The-index-factory),
# "Binary", one bit per dimension, or "TopBits1", "TopBits2", "TopBits4", "TopBits8", the first bits of each
# dimension's int8 code, which is the same for all sizes (analysis/search/faiss_indexes.py); `search`, FAISS's
# search parameters, or a list of them, each searched; `refine`, whether also refined.
OPTIONS = {
    "splits": [["val", "train"]],  # pairs of queries, database
    "queries": 1000,  # at most so many, evenly spread over the split
    "k": 10,
    "shortlist": 200,  # K of the refined ones
    "seconds": 0.2,  # for which every search is repeated, and three times at least
    "indexes": {
        "exact": {"factory": "Flat", "refine": True},
        "hnsw": {
            "factory": "HNSW32",
            "search": [
                "efSearch=16",
                "efSearch=32",
                "efSearch=64",
                "efSearch=128",
                "efSearch=256",
                "efSearch=512",
            ],
            "refine": True,
        },
        "ivf": {"factory": "IVF64,Flat", "search": ["nprobe=2", "nprobe=8", "nprobe=32"], "refine": True},
        "int8": {"factory": "SQ8"},
        "pq16": {"factory": "PQ16np"},
        "pq8": {"factory": "PQ8np"},
        "binary": {"factory": "Binary"},
    },
}
ALLOWED = {
    "splits": {
        "of": "splits",
        "minItems": 1,
        "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}},
    },
    "queries": {"minimum": 1},
    "k": {"minimum": 1},
    "shortlist": {"not_below": "k"},
    "seconds": {"maximum": 3600},
    "indexes": {
        "minProperties": 1,
        "additionalProperties": {
            "type": "object",
            "required": ["factory"],
            "additionalProperties": False,
            "properties": {
                "factory": {"type": "string"},
                "search": {"type": ["string", "array"], "minItems": 1, "items": {"type": "string"}},
                "refine": {"type": "boolean"},
            },
        },
    },
}
KEYS = {"factory", "search", "refine"}
NORM = 4  # bytes of a prefix's norm, which has to be kept where the prefix itself is only in the full vector


def measure(
    representation: Representation, dataset: Dataset, options: dict, neighbours
) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines. neighbours: what the measure of that name saved."""
    for pair in options["splits"]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(split in dataset for split in pair)):
            raise UserError(
                f"measures.indexes.splits has {pair}; allowed are pairs [queries, database] of the study's "
                f"splits: {', '.join(dataset.splits)}"
            )
    found = {
        "sizes": np.array(representation.sizes, np.int64),
        "threads": np.array(thread_counts(), np.int64),
    }
    for query, database in options["splits"]:
        of_pair = measure_pair(representation, dataset, options, neighbours, query, database)
        found |= {f"{query}/{database}/{name}": values for name, values in of_pair.items()}
    return found


def measure_pair(
    representation: Representation, dataset: Dataset, options: dict, neighbours, query: str, database: str
) -> dict[str, np.ndarray]:
    """What is saved of one pair of splits, by name."""
    count = len(dataset.labels(query))
    rows = np.linspace(0, count - 1, min(count, options["queries"])).astype(np.int64)
    full_view = representation.serving(representation.dim)[0]
    saved = dict(zip(neighbours["sizes"].tolist(), neighbours[f"{query}/{database}/ids"][full_view.draw]))
    parts = []
    for view in dict.fromkeys(representation.serving(m)[0] for m in representation.sizes):
        starts = range(0, len(dataset.labels(database)), BLOCK)
        full = flat(representation.features(database, view, rows=slice(s, s + BLOCK)) for s in starts)
        asked = np.array(representation.features(query, view)[rows], np.float32, order="C")
        sizes = [m for m in representation.sizes if representation.serving(m)[0] == view]
        parts += measure_view(full, asked, sizes, options, full_size=view == full_view)
    if not parts:
        raise UserError(
            f"none of the indexes of measures.indexes.indexes ({', '.join(options['indexes'])}) can be made "
            f"of the {len(dataset.labels(database))} items of {database}; add `exact: {{factory: Flat}}`"
        )
    k = parts[0]["ids"].shape[1]
    return {
        "rows": rows,
        "exact": saved[representation.dim][rows, :k],
        "own": np.stack([saved[part["dim"]][rows, :k] for part in parts]),
        **{key: np.array([part[key] for part in parts]) for key in parts[0]},
    }


def measure_view(
    full: Built, queries: np.ndarray, sizes: list[int], options: dict, full_size: bool
) -> Iterator[dict]:
    """Every wanted index of one view's prefixes: what is saved of a configuration, by name.

    full: of the view's items, see `flat`; queries: float32 [n, d]; full_size: whether the view is of the full
    size, whose vectors alone can refine.
    """
    items = vectors(full.index)
    k, shortlist = min(options["k"], len(items)), min(options["shortlist"], len(items))
    names = list(options["indexes"])
    pairs = list(wanted(options["indexes"], sizes))
    for name, m in tqdm(pairs, desc="indexes", unit="index"):
        given = options["indexes"][name]
        exact = given["factory"] == FLAT and m == items.shape[1]
        try:
            built = full if exact else build(items, given["factory"], m)
        except TooFewItems as error:
            tqdm.write(f"indexes: {name} is left out at size {m}: {error}")
            continue
        plain = whole(full.index) if exact else built.index
        searched = [(False, plain, k, built.bytes, built.bytes)]
        if full_size and given.get("refine") and (m < items.shape[1] or given["factory"] in OWN):
            copied = (4 * m - NORM) * len(items) if holds_vectors(given["factory"]) else 0
            space = built.bytes + items.nbytes
            searched.append(
                (True, refine(plain, full.index, shortlist / k), shortlist, space, space - copied)
            )
        for refined, index, candidates, space, shared in searched:
            for place, search in settings(searches(given), candidates):
                configure(index, search)
                ids, times = time_searches(index, queries, k, options["seconds"])
                yield {
                    "index": names.index(name),
                    "search": place,
                    "dim": m,
                    "refined": refined,
                    "ids": ids.astype(np.int32),
                    "seconds": [np.median(some) for some in times],
                    "fastest": [some.min() for some in times],
                    "slowest": [some.max() for some in times],
                    "repeats": [len(some) for some in times],
                    "build_seconds": built.seconds,
                    "bytes_per_item": space / len(items),
                    "bytes_shared": shared / len(items),
                }


def searches(given: Mapping) -> list[str]:
    """The search parameters of an index, one setting after the other; one that is empty where it has none."""
    found = given.get("search", "")
    return found if isinstance(found, list) else [found]


def settings(found: list[str], candidates: int) -> list[tuple[int, str]]:
    """(place, search parameters) of those that differ when so many candidates are asked for."""
    different: dict[str, int] = {}
    for place, search in enumerate(found):
        different.setdefault(effective(search, candidates), place)
    return [(place, search) for search, place in different.items()]


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
        if given["factory"] in OWN and given.get("search"):
            raise UserError(f"measures.indexes.indexes.{name}: {given['factory']} has no search parameters")
        quantiser = re.fullmatch(r"PQ(\d+)(x\d+)?(np)?", given["factory"])
        parts = int(quantiser[1]) if quantiser else 0
        for m in sizes:
            if not parts or (m % parts == 0 and m > parts):
                yield name, m
