"""Random features: m coordinates of a fixed-feature embedding chosen at random, averaged over draws.

With a linear probe this is Rand-LP, with 1-NN Rand-FS. (The paper's own "Rand-FS" takes the first m
coordinates; that is `first_features`.)
"""

from baselines.fitting import Fit, probes
from baselines.probe import choose_l2
from baselines.representation import View

KIND = "fitted"
LABEL = "Random features"
SOURCE = "fixed_feature"
OPTIONS = {
    "draws": 10,  # how many random choices to average
    "probe": True,  # fit linear classifiers; False where only neighbours are asked for
}


def fit(source, sizes, options, rng):
    """A permutation of the d coordinates per draw: its first m are a uniform choice of m."""
    views, classifiers = [], {}
    probing = options["probe"]
    l2 = choose_l2(source.features, source.labels, source.num_classes, rng) if probing else None
    for draw in range(options["draws"]):
        order = rng.permutation(source.dim)
        views.append(
            View(tuple(sizes), source.view.start, source.view.stop, draw=draw, order=tuple(order.tolist()))
        )
        if probing:
            classifiers |= probes(source.features[:, order], source, sizes, rng, view=draw, l2=l2)
    return Fit(views, classifiers)
