"""What to do with an embedding: how far to cut it, in which code to keep it, how long a shortlist has to be.

One row per comparison, paired query by query, in nDCG. `question` tells them apart, and analysis/answers.py
says in words what they come to:

    size         a size against the full one
    renormalise  prefixes that are normalised after the cut, against those normalised before it
    nested       prefixes against random columns; dim 0: the area under the curve below the full size
    map          what was made of the embedding afterwards (`new`) against its prefixes; dim 0: as above
    code         a code at a size, alone or re-ranked, against one exact search of the full float32 vectors
    equal_bytes  a code against the prefixes of float32 that take no more bytes
    shortlist    a shortlist that is ordered again, against one full search

`verdict` is of the interval alone, which is 95 % and per row: "not worse" where it lies above −`bound`,
"worse" below, "undecided" across. `bound` is the study's margin, of `shortlist` the part of the full result
that `share` leaves, and 0 where nothing was given up: there "better" stands for "not worse".
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from analysis.evaluations import quantised_retrieval, two_stage_retrieval
from analysis.evaluations.judged_retrieval import BYTES
from analysis.evaluations.nestedness import below
from analysis.metrics import metric, normalised_area, pareto_front
from analysis.run import Items, Run, by_method, by_seed
from analysis.search.faiss_indexes import FLAT
from analysis.statistics import PairedComparison, compare_paired

READS = ("judged_retrieval", "quantised_retrieval", "two_stage_retrieval")
NEEDS = ("judgements",)
LABELS = False
OPTIONS = {
    "share": 0.99,  # of the full search's nDCG, that a shortlist has to give back
    "seed": 0,  # of the bootstrap
}
ALLOWED = {
    "share": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
}
MODEL, COLUMNS, ROTATION = "given_embeddings", "random_features", "random_rotation"
SPLIT, TASK = "queries", "judged_retrieval"


def compare(runs: list[Run]) -> Iterator[dict]:
    """Rows difference of each model, `label`; keys question, bound, verdict, score (nDCG of the new side).

    Also of codes and shortlists: index, factory, search, refined, bytes_per_item, shortlist_k, mflops, and
    `front`: whether nothing that takes as little is better; of `map` and `nested`, `other`: its label.
    """
    methods = by_method(runs)
    for name, mine in methods.items():
        if mine[0].method.baseline == MODEL:
            made = [other for other in methods.values() if other[0].method.source == name]
            yield from of_sizes(mine)
            for other in made:
                yield from of_method(mine, other)
            measured = {measure for method, measure in mine[0].study.measured() if method == name}
            if "indexes" in measured:
                yield from of_codes(mine[0])
            if "two_stages" in measured:
                yield from of_shortlists(mine[0])


def settled(low: float, high: float, bound: float = 0) -> str:
    """What an interval says of a difference, of which −bound would not matter.

    >>> [settled(-0.004, 0.01, 0.01), settled(-0.03, -0.02, 0.01), settled(-0.03, 0, 0.01), settled(0.1, 0.2)]
    ['not worse', 'worse', 'undecided', 'better']
    """
    if low > -bound:
        return "not worse" if bound else "better"
    return "worse" if high < -bound else "undecided"


def rows(
    run: Run,
    question: str,
    dims: Sequence[int],
    new: Sequence[np.ndarray],
    base: Sequence[np.ndarray],
    keys: Sequence[dict] = (),
    **every: object,
) -> Iterator[dict]:
    """A row for each pair of outcomes. new, base: [n] for each of `dims`; keys: of each; every: of all."""
    if not len(dims):
        return
    bound = every.pop("bound", 0.0)
    found = compared(run, np.stack(new), np.stack(base))
    for place, m in enumerate(dims):
        low, high = float(found.low[place]), float(found.high[place])
        its = {"question": question, "low": low, "high": high, "bound": bound}
        its |= {
            "label": run.method.label,
            "verdict": settled(low, high, bound),
            "score": float(np.mean(new[place])),
        }
        its |= every | (dict(keys[place]) if keys else {})
        yield run.row(m, SPLIT, "difference", found.difference[place], found.n, **its)


def compared(run: Run, new: np.ndarray, base: np.ndarray) -> PairedComparison:
    """Both [S, n], paired by query."""
    rng = np.random.default_rng(run.options["seed"])
    return compare_paired(new, base, run.study.margin, rng=rng)


def of_sizes(mine: list[Run]) -> Iterator[dict]:
    """Questions size and renormalise."""
    run = mine[0]
    kept = per_query(mine, lambda run: run.main_items(TASK))
    *smaller, full = sorted(kept)
    new, base = [kept[m] for m in smaller], [kept[full]] * len(smaller)
    yield from rows(run, "size", smaller, new, base, bound=run.study.margin, full=full)
    cut = per_query(mine, only_cut)
    yield from rows(run, "renormalise", smaller, new, [cut[m] for m in smaller])


def only_cut(run: Run) -> Items:
    """The main metric, of vectors that were normalised before they were cut."""
    main = run.main_items(TASK)
    return next(
        each for each in run.items(TASK) if each.metric == main.metric and not each.keys["renormalised"]
    )


def per_query(mine: list[Run], read: Callable[[Run], Items]) -> dict[int, np.ndarray]:
    """Outcomes by size, averaged over draws and seeds: float64 [n]."""
    return {m: values.mean(0) for m, values in by_seed(mine, read).items()}


def of_method(mine: list[Run], other: list[Run]) -> Iterator[dict]:
    """Question nested for random columns of the model, map for what else was made of it."""
    method = other[0].method
    if method.baseline == ROTATION:
        return
    prefix, its = ({m: x.mean(0) for m, x in below(side, TASK).items()} for side in (mine, other))
    dims = [m for m in prefix if m in its]
    nested = method.baseline == COLUMNS
    new, base = (prefix, its) if nested else (its, prefix)
    pairs = [[side[m] for m in dims] for side in (new, base)]
    if len(dims) > 1:
        for side in pairs:
            side.append(normalised_area(dims, np.stack(side).T))
        dims = [*dims, 0]
    yield from rows(
        mine[0],
        "nested" if nested else "map",
        dims,
        *pairs,
        other=short_label(method.label, mine[0].method.label),
    )


def short_label(made: str, model: str) -> str:
    """What was made of a model, without the model's name in front.

    >>> short_label("MiniLM, rotated", "MiniLM"), short_label("rotated", "MiniLM")
    ('rotated', 'rotated')
    """
    return made.removeprefix(f"{model}, ")


def of_codes(run: Run) -> Iterator[dict]:
    """Questions code and equal_bytes."""
    found = list(quantised_retrieval.configurations(run))
    dims, keys = [m for m, _, _, _ in found], [its for _, its, _, _ in found]
    values = [of["ndcg"] for _, _, _, of in found]
    exact = quantised_retrieval.exact(run)
    sides = metric("bytes_per_item").direction, metric("ndcg@10").direction
    points = np.array([[its["bytes_per_item"], x.mean()] for its, x in zip(keys, values)])
    its = [each | {"front": bool(best)} for each, best in zip(keys, pareto_front(points, sides))]
    how = {"bound": run.study.margin, "full_bytes": BYTES * run.representation.dim}
    yield from rows(run, "code", dims, values, [exact] * len(dims), its, **how)
    floats = [place for place, each in enumerate(keys) if each["factory"] == FLAT and not each["refined"]]
    taken = [place for place, each in enumerate(keys) if not each["refined"] and place not in floats]
    pairs = [(place, cut) for place in taken if (cut := largest_within(keys, floats, place)) is not None]
    given = [keys[place] | {"other_dim": dims[cut]} for place, cut in pairs]
    new, base = ([values[pair[side]] for pair in pairs] for side in (0, 1))
    yield from rows(run, "equal_bytes", [dims[place] for place, _ in pairs], new, base, given)


def largest_within(keys: list[dict], floats: list[int], place: int) -> int | None:
    """Of the float32 prefixes the longest that takes no more bytes than a code; None where none does."""
    fits = [each for each in floats if keys[each]["bytes_per_item"] <= keys[place]["bytes_per_item"]]
    return max(fits, key=lambda each: keys[each]["bytes_per_item"], default=None)


def of_shortlists(run: Run) -> Iterator[dict]:
    """Question shortlist."""
    (full, keys, best, _), *plans = two_stage_retrieval.searched(run)
    base = best.mean(0)
    new = [values.mean(0) for _, _, values, _ in plans]
    bound = (1 - run.options["share"]) * base.mean()
    given = [its for _, its, _, _ in plans]
    how = {"bound": bound, "full": full, "full_mflops": keys["mflops"], "full_score": base.mean()}
    yield from rows(run, "shortlist", [m for m, *_ in plans], new, [base] * len(new), given, **how)
