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
    x = source.features.astype(np.float64, copy=False)
    mean = x.mean(0) * options["centre"]
    scatter = x.T @ x / len(x) - np.outer(mean, mean)
    _, vectors = np.linalg.eigh(scatter)
    basis, offset = vectors[:, ::-1].astype(np.float32), mean.astype(np.float32)
    return mapped(lambda block: (block - offset) @ basis, source, sizes, centred=options["centre"])
