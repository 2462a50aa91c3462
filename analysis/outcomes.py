"""Raw outcomes of one method on disk: what a measure saves and a table is scored from."""

import numpy as np

from baselines.representation import Representation
from suite.errors import UserError
from suite.layout import Layout


def empty(representation: Representation, *shape: int, dtype) -> np.ndarray:
    """Array [draws, sizes, *shape] for outcomes; integers start at −1, so that a gap shows."""
    full = (representation.draws, len(representation.sizes), *shape)
    return np.full(full, np.nan if np.issubdtype(dtype, np.floating) else -1, dtype)


def read_outcomes(layout: Layout, method: str, seed: int, measure: str) -> np.lib.npyio.NpzFile:
    """Raw outcomes of one method and measure by name; raises UserError when they were not measured."""
    path = layout.outcomes(method, seed, measure)
    if not path.exists():
        raise UserError(f"no outcomes in {path}; run `snakemake --cores all {path}`")
    return np.load(path)
