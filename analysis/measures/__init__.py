"""Raw outcomes per item: one file per measure, whose first lines say what it measures and the names it saves.

A measure is `measure(representation, dataset, options, **read)`, which gives arrays by name: `sizes`, and
what it found at each, mostly [draws, sizes, …] (see `empty`). Tables are computed from what is saved: another
k or another statistic needs no new search. A measure knows the study by its options alone, and may state

    OPTIONS      its options with their defaults; a study changes them under `measures.<name>`
    READS        names of measures, whose saved outcomes it is given as arguments of these names
    SEARCHES     True: it is given `device`, and `resume_dir`, where unfinished searches keep what they found
    ALONE        True: it takes times, so no other job runs beside it
    CUTS         True: it cuts vectors to their first columns itself; sparse codes take no part
    STUDY_SIZES  True: its option `study_sizes` is all sizes the study evaluates, trained or not
"""

import json

import numpy as np

from baselines.representation import Representation
from suite import files
from suite.errors import UserError
from suite.layout import Layout, command

MADE_FROM = "made_from"  # in a file of outcomes; no outcome


def empty(representation: Representation, *shape: int, dtype, draws: int | None = None) -> np.ndarray:
    """Array [draws, sizes, *shape] for outcomes; integers start at −1, so that a gap shows.

    draws: default all of the representation.
    """
    full = (representation.draws if draws is None else draws, len(representation.sizes), *shape)
    return np.full(full, np.nan if np.issubdtype(dtype, np.floating) else -1, dtype)


def write_outcomes(
    layout: Layout, method: str, seed: int, measure: str, found: dict[str, np.ndarray]
) -> None:
    """Write raw outcomes, and among them, as MADE_FROM, what they are of."""
    made_from = np.array(json.dumps(about(layout, method, seed, measure)))
    files.write_npz(layout.outcomes(method, seed, measure), found | {MADE_FROM: made_from})


def read_outcomes(layout: Layout, method: str, seed: int, measure: str) -> files.Arrays:
    """Raw outcomes of one method and measure by name.

    Raises UserError when they were not measured, are damaged, or are of another method, seed or measure, or
    of other embeddings than those that are there.
    """
    path = layout.outcomes(method, seed, measure)
    if not path.exists():
        raise UserError(f"no outcomes in {path}; run `{command(path)}`")
    found = files.Arrays(path, hidden=[MADE_FROM])
    if MADE_FROM in found:
        made_from = json.loads(str(found[MADE_FROM]))
        for key, wanted in about(layout, method, seed, measure).items():
            if made_from[key] != wanted:
                said = "other embeddings" if key == "embeddings" else f"{key} {made_from[key]}, not {wanted}"
                raise UserError(f"{path} holds outcomes of {said}: remove it and run again")
    return found


def about(layout: Layout, method: str, seed: int, measure: str) -> dict:
    """What outcomes are of; the embeddings by their checksum."""
    embeddings = Representation(layout.embeddings(method, seed)).checksum
    return {"method": method, "seed": seed, "measure": measure, "embeddings": embeddings}
