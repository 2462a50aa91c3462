"""PCA of a fixed-feature network's embeddings, fitted on its training features, with a probe per size."""

import numpy as np

from baselines.fitting import Fit, mapped_parameters, probes
from baselines.representation import View

KIND = "fitted"
LABEL = "PCA"
SOURCE = "fixed_feature"
OPTIONS = {}


def fit(source, sizes, options, rng):
    """Fit on the training features [n, d] of `source`; components in order of variance, centred."""
    x = source.features.astype(np.float64, copy=False)
    mean = x.mean(0)
    _, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    basis = vectors[:, ::-1].astype(np.float32)
    offset = mean.astype(np.float32)

    def transform(block):
        return (block - offset) @ basis

    return Fit(
        [View(tuple(sizes), 0, source.dim)],
        probes(transform(source.features), source, sizes, rng),
        transform=transform,
        **mapped_parameters(sizes, source),
        facts={"centred": True},
    )
