"""Efficient MRL: the classifiers of all sizes are the leading columns of one matrix, W^(m) = W[:, :m].

The classifier has d·C + C parameters instead of MRL's Σ m·C + |M|·C (Kusupati et al. 2022, section 3).
"""

from baselines.learner import Learner
from baselines.nested import TiedHead

KIND = "trained"
LABEL = "MRL-E"
OPTIONS = {
    "loss_weights": None,  # c_m in the order of nesting; None: all 1, as in the paper
    "loss_total": None,  # Σ c_m to which they are scaled, so that the network's gradient keeps its scale
}
ALLOWED = {
    "loss_weights": {
        "type": "array",
        "items": {"type": "number", "minimum": 0},
        "contains": {"exclusiveMinimum": 0},
        "per_size": True,
    },
    "loss_total": {"type": "number", "exclusiveMinimum": 0},
}


def build(backbone, num_classes, sizes, options):
    """A learner on `backbone` ([n, C, H, W] → [n, d]) with one head tied across sizes."""
    weights = options["loss_weights"], options["loss_total"]
    return Learner(backbone, TiedHead(num_classes, sizes), sizes, *weights)
