"""SVD of a fixed-feature network, twice (paper, section 4.1; docs/protocols.md, "Training").

Linear classification: the rank-m factorisation of FF-d's classifier, Ŵ = U_m S_m V_mᵀ, bias kept. It reads
the whole embedding, so its cost is m·(C + d); for m ≥ min(C, d) it is the classifier itself.
1-NN, retrieval and the suite's probe: FF-d's features in the basis of the right singular vectors of the
training features, not centred; `pca` with `centre: false` has the same.
"""

import numpy as np

from baselines.fitting import Fit
from baselines.representation import View

KIND = "fitted"
LABEL = "SVD"
SOURCE = "fixed_feature"
OPTIONS = {}


def fit(source, sizes, options, rng):
    """Fit on the training features [n, d] and the classifier [C, d] of `source`."""
    # Right singular vectors from the d × d Gram matrix: n may be millions.
    x = source.features.astype(np.float64, copy=False)
    _, vectors = np.linalg.eigh(x.T @ x)
    basis = vectors[:, ::-1].copy()
    u, s, vt = np.linalg.svd(source.weight.astype(np.float64), full_matrices=False)
    classifiers = {}
    for m in sizes:
        low_rank = (u[:, :m] * s[:m]) @ vt[:m]
        classifiers[0, m] = (low_rank @ basis, source.bias)  # acts on the rotated features
    classes, dim = source.weight.shape
    parameters = {m: min(m * (classes + dim), classes * dim) + classes for m in sizes}
    return Fit(
        [View(tuple(sizes), 0, dim)],
        classifiers,
        transform=lambda block: block @ basis.astype(np.float32),
        parameters=parameters,
        parameters_all=max(parameters.values()),  # the factors of a lower rank are their leading columns
        facts={"centred": False, "classifier_rank": {m: min(m, classes, dim) for m in sizes}},
    )
