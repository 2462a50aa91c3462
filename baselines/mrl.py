"""Matryoshka representation learning: every prefix of one embedding, each with a classifier of its own.

min Σ_{m ∈ M} c_m · CE(W^(m) z_{1:m} + b^(m), y),   z = F(x)      (Kusupati et al. 2022, Eq. 1)
"""

from baselines.learner import Learner
from baselines.nested import NestedHeads

KIND = "trained"
LABEL = "MRL"
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
    """A learner on `backbone` ([n, C, H, W] → [n, d]) with a head per size."""
    weights = options["loss_weights"], options["loss_total"]
    return Learner(backbone, NestedHeads(num_classes, sizes), sizes, *weights)
