"""PCA of a fixed-feature network's embeddings, fitted on its training features, with a probe per size."""

import numpy as np

from baselines.fitting import mapped

KIND = "fitted"
LABEL = "PCA"
SOURCE = "fixed_feature"
OPTIONS = {}


def fit(source, sizes, options, rng):
    """Fit on the training features [n, d] of `source`; components in order of variance, centred."""
    x = source.features.astype(np.float64, copy=False)
    _, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    basis = vectors[:, ::-1].astype(np.float32)
    offset = x.mean(0).astype(np.float32)
    return mapped(lambda block: (block - offset) @ basis, source, sizes, rng, centred=True)
