"""PCA of another network's embeddings, fitted on its training features, with a probe per size."""

import numpy as np

from baselines.fitting import mapped

KIND = "fitted"
LABEL = "PCA (centred)"  # a row with `centre: false` says so in a label of its own
SOURCE = "fixed_feature"
LABELS = False
OPTIONS = {
    "centre": True,  # False: axes of the features as they are, a rotation that changes no cosine at full size
}


def fit(source, sizes, options, rng):
    """Axes of the training features [n, d] of `source`: in order of variance, or of energy if not centred."""
    _, axes, mean = principal(source.features, options["centre"])
    basis, offset = axes.astype(np.float32), mean.astype(np.float32)
    return mapped(lambda block: (block - offset) @ basis, source, sizes, centred=options["centre"])


def principal(features: np.ndarray, centre: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(variances [d], largest first; their axes [d, d], a column each; mean [d]) of features [n, d], float64.

    Without `centre` the mean is 0, and variances are energies.
    """
    x = features.astype(np.float64, copy=False)
    mean = x.mean(0) * centre
    scatter = x.T @ x / len(x) - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(scatter)
    return values[::-1], vectors[:, ::-1], mean
