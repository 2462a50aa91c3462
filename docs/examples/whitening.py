"""Whitening + PCA: principal components scaled to equal variance, a method in twenty lines.

    snakemake --cores all results/compare/glyphs/whitening.md --config method=docs/examples/whitening.py

x ↦ Λ^(−1/2) Vᵀ (x − μ), components in order of their variance. The ridge keeps directions that hold almost
nothing from being blown up to the size of the others. It starts from what a study has for methods without
SOURCE: the saved network of the fixed feature or, where data come with embeddings, the only model's.
"""

import numpy as np

LABEL = "Whitening + PCA"
RIDGE = 1e-3  # of the mean variance


def fit(features, labels, sizes, rng):
    """(mean [d], projection [d, d]) from the training features [n, d]; labels are not needed."""
    mean = features.mean(0, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.cov(features - mean, rowvar=False))
    variances, directions = variances[::-1], directions[:, ::-1]
    return mean, directions / np.sqrt(variances.clip(0) + RIDGE * variances.mean())


def transform(fitted, features):
    """float32 [b, d]: the first m columns are the embedding of size m."""
    mean, projection = fitted
    return ((features - mean) @ projection).astype(np.float32)
