"""Nested dropout on MRL's grid: each step trains one size, drawn uniformly from M, with a tied head.

E[∇ℓ] = (1/|M|) Σ_m ∇ℓ_m: the gradient of MRL-E's loss over |M| in expectation, from one size per step.
"""

import numpy as np
import torch
from torch import Tensor

from baselines.learner import Learner
from baselines.nested import TiedHead, cross_entropy, logits

KIND = "trained"
LABEL = "One size per step"
OPTIONS = {}


def build(backbone, num_classes, sizes, options):
    """A learner on `backbone` ([n, C, H, W] → [n, d]) with one head tied across sizes."""
    return SampledLearner(backbone, TiedHead(num_classes, sizes), sizes)


class SampledLearner(Learner):
    """The nested loss with one of its terms at a time."""

    def loss(self, images: Tensor, labels: Tensor, label_smoothing: float, rng: np.random.Generator):
        """(mean loss at one size, logits [n, C] by size for the log)."""
        drawn = int(rng.choice(self.sizes))
        z = self.features(images)
        loss = cross_entropy(logits(self.head, z, drawn), labels, label_smoothing)
        with torch.no_grad():
            return loss, self.logits(z)
