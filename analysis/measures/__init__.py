"""Raw outcomes of one method, saved once: what every evaluation is computed from; one file per measure.

    measure(representation, dataset, options, **read) -> {name: array}

Arrays begin [draws, sizes, …], and `sizes` says which sizes. A measure that starts from what others saved
names them in READS and gets their outcomes as arguments of these names; one that SEARCHES gets `device` and
`resume_dir`; one that takes times is ALONE; STUDY_SIZES gives it the option `study_sizes`.
"""

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
