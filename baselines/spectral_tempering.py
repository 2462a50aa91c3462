"""Principal axes with their variances evened out in part: x → Λ^(−γ/2) Vᵀ x, a prefix of it at every size.

V and Λ are axes and energies of the training features. γ = 0 is a rotation, `pca` with the same `centre`;
γ = 1 evens all variances out (whitening); in between, strong directions count more, but less than they did.
"""

import numpy as np

from baselines.fitting import mapped
from baselines.pca import principal

KIND = "fitted"
LABEL = "Spectral tempering"  # rows with other gammas say so in labels of their own
SOURCE = "fixed_feature"
LABELS = False
OPTIONS = {
    "gamma": 0.5,  # 0: a rotation; 1: whitening
    "centre": False,  # True: axes of the variance, and features less their mean
}
ALLOWED = {
    "gamma": {"maximum": 1},
}


def fit(source, sizes, options, rng):
    """Axes of the training features [n, d] of `source`, over their standard deviation to the power gamma.

    Directions without any variance stay at 0.
    """
    values, axes, mean = principal(source.features, options["centre"])
    there = values > values[0] * len(values) * np.finfo(np.float32).eps
    scale = np.where(there, np.where(there, values, 1) ** (-options["gamma"] / 2), 0)
    basis, offset = (axes * scale).astype(np.float32), mean.astype(np.float32)
    return mapped(
        lambda block: (block - offset) @ basis,
        source,
        sizes,
        centred=options["centre"],
        directions=int(there.sum()),
    )
