"""First features: the first m coordinates of a fixed-feature embedding and of its classifier, as they are.

What happens when an ordinary embedding is truncated; the paper's "Rand-FS" in 1-NN.
"""

from baselines.fitting import Fit
from baselines.representation import View

KIND = "fitted"
LABEL = "First features"
SOURCE = "fixed_feature"
OPTIONS = {}


def fit(source, sizes, options, rng):
    """Nothing is fitted: views and classifiers are slices of the source's."""
    classifiers = {(0, m): (source.weight[:, :m], source.bias) for m in sizes}
    return Fit(
        [View(tuple(sizes), source.view.start, source.view.stop)],
        classifiers,
        parameters_all=max(sizes) * source.num_classes + source.num_classes,  # slices of one matrix
    )
