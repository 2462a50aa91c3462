"""Random projection of a fixed-feature embedding (Johnson–Lindenstrauss), with a probe per size.

Entries are Gaussian with variance 1/m. All sizes are prefixes of one projection: the factor that makes
the variance 1/m is common to a whole prefix, and neither a probe nor a cosine sees it.
"""

import numpy as np

from baselines.fitting import mapped

KIND = "fitted"
LABEL = "Random projection"
SOURCE = "fixed_feature"
OPTIONS = {}


def fit(source, sizes, options, rng):
    """A Gaussian matrix [d, d]; a prefix of m of its columns projects to m dimensions."""
    dim = source.dim
    projection = (rng.standard_normal((dim, dim)) / np.sqrt(dim)).astype(np.float32)
    return mapped(lambda block: block @ projection, source, sizes)
