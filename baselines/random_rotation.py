"""Another run's embeddings, turned at random: every column is then worth the same, whatever it was before.

A prefix of a random rotation is a random projection (Johnson & Lindenstrauss 1984). Nothing is fitted.
"""

import numpy as np

from baselines.fitting import Fit
from baselines.representation import View

KIND = "fitted"
LABEL = "Random rotation"
SOURCE = "fixed_feature"
LABELS = False
OPTIONS = {
    "draws": 3,  # rotations to average; all splits are written once for each
    "probe_draws": None,  # how many of them get probes, by default all
}
ALLOWED = {
    "draws": {"minimum": 1, "maximum": 1000},
    "probe_draws": {"type": "integer", "minimum": 0, "not_above": "draws"},
}


def fit(source, sizes, options, rng):
    """Draws side by side: the features [n, d] of `source` times uniformly random orthogonal matrices."""
    rotations = [random_rotation(source.dim, rng) for _ in range(options["draws"])]
    matrix = np.concatenate(rotations, axis=1).astype(np.float32)
    starts = range(0, matrix.shape[1], source.dim)
    views = [View(tuple(sizes), start, start + source.dim, draw=draw) for draw, start in enumerate(starts)]
    return Fit(
        views,
        transform=lambda block: block @ matrix,
        parameters={m: m * source.dim + (m + 1) * source.num_classes for m in sizes},
        probe_draws=options["probe_draws"],
    )


def random_rotation(dim: int, rng: np.random.Generator) -> np.ndarray:
    """A uniformly random orthogonal matrix, float64 [dim, dim] (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
    return q * np.sign(np.diag(r))
