"""Random features: m coordinates of a fixed-feature embedding chosen at random, averaged over draws.

With a linear probe this is Rand-LP, with 1-NN Rand-FS. (The paper's own "Rand-FS" takes the first m
coordinates; that is `first_features`.)
"""

from baselines.fitting import Fit
from baselines.representation import View

KIND = "fitted"
LABEL = "Random features"
SOURCE = "fixed_feature"
LABELS = False
OPTIONS = {
    "draws": 10,  # how many random choices to average
    "probe_draws": None,  # how many of them get probes, by default all; 0 where only neighbours are asked for
}
ALLOWED = {
    "draws": {"minimum": 10, "maximum": 10000},  # with fewer the chance of the choice would show
    "probe_draws": {"type": "integer", "minimum": 0, "not_above": "draws"},
}


def fit(source, sizes, options, rng):
    """A permutation of the d coordinates per draw: its first m are a uniform choice of m."""
    sizes, start, stop = tuple(sizes), source.view.start, source.view.stop
    orders = [tuple(rng.permutation(source.dim).tolist()) for _ in range(options["draws"])]
    views = [View(sizes, start, stop, draw=draw, order=order) for draw, order in enumerate(orders)]
    return Fit(views, probe_draws=options["probe_draws"])
