"""Efficient MRL: the classifiers of all sizes are the leading columns of one matrix, W^(m) = W[:, :m].

The classifier has d·C + C parameters instead of MRL's Σ m·C + |M|·C (Kusupati et al. 2022, section 3).
"""

from baselines.learner import Learner
from baselines.nested import TiedHead

KIND = "trained"
LABEL = "MRL-E"
OPTIONS = {
    "loss_weights": None,  # c_m in the order of nesting; None: all 1, as in the paper
}


def build(backbone, num_classes, sizes, options):
    """A learner on `backbone` ([n, C, H, W] → [n, d]) with one head tied across sizes."""
    return Learner(backbone, TiedHead(num_classes, sizes), sizes, options["loss_weights"])
