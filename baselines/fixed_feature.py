"""Fixed feature: a network of its own for each size m, trained for that size alone.

As in the paper's reference code the classifier sees the first m of the backbone's d pooled features, so
FF-m is MRL with M = {m}: same network, same loss with one term.
"""

from baselines.learner import Learner
from baselines.nested import NestedHeads

KIND = "trained"
LABEL = "FF"
NETWORK_PER_SIZE = True
OPTIONS = {}


def build(backbone, num_classes, sizes, options):
    """A learner on `backbone` ([n, C, H, W] → [n, d]) for one size."""
    return Learner(backbone, NestedHeads(num_classes, sizes), sizes)
