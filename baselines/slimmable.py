"""Slimmable networks as a way to several feature sizes (Yu et al. 2019).

    loss = Σ_w CE(W[:, :d_w] F_w(x) + b, y),   F_w: the network at width w, with d_w features

`paper`: widths ¼, ½, ¾ and 1; size m is the first m features of width 1 with the first m columns of W,
which nothing was trained for. `fair`: a width for each size m, whose network has exactly m features; it
costs a forward pass per size.
"""

import math
from functools import partial
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from baselines.learner import Learner, recordable
from baselines.nested import TiedHead, cross_entropy, logits
from baselines.representation import View
from baselines.slimming import Slimmable
from suite.errors import UserError, unknown

KIND = "trained"
LABEL = "Slimmable"
OPTIONS = {
    "variant": "paper",  # or fair
    "widths": [0.25, 0.5, 0.75, 1.0],  # of the paper's variant
    "thinnest": 0.25,  # of the fair variant: no layer inside gets narrower than this share
}
ALLOWED = {
    "variant": {"enum": ["paper", "fair"]},
    "widths": {"minItems": 1, "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}},
    "thinnest": {"exclusiveMinimum": 0, "maximum": 1},
}


def build(backbone, num_classes, sizes, options):
    """A learner on `backbone` ([n, C, H, W] → [n, d]), which is made slimmable."""
    if options["variant"] not in VARIANTS:
        raise unknown("variant of slimmable", options["variant"], VARIANTS, "baselines/slimmable.py")
    return VARIANTS[options["variant"]](backbone, num_classes, sizes, options)


class SlimmableLearner(Learner):
    """Every step runs every width, widest first; their gradients add up to one optimiser step.

    A variant's `logged` gives the logits by size, as the size will be used, of the features [n, d_w] per
    width, widest first.
    """

    def __init__(self, backbone: Slimmable, num_classes: int, sizes):
        # One matrix, sliced by width, as in the original slimmable networks.
        super().__init__(backbone, TiedHead(num_classes, (backbone.dim,)), sizes)

    def by_width(self, images: Tensor) -> list[Tensor]:
        """Features [n, d_w] of every width, widest first."""
        return [self.backbone(images, width) for width in reversed(range(len(self.backbone.widths)))]

    def trained_logits(self, images: Tensor) -> dict[int, Tensor]:
        """Logits [n, C] of every width, by its number of features: no truncated prefix is trained for."""
        return {z.shape[1]: logits(self.head, z, z.shape[1]) for z in self.by_width(images)}

    @recordable
    def loss(self, images: Tensor, labels: Tensor, label_smoothing: float, rng: np.random.Generator):
        """(Σ over widths of the mean cross-entropy, logits [n, C] by size for the log)."""
        features = self.by_width(images)
        by_width = [logits(self.head, z, z.shape[1]) for z in features]
        loss = torch.stack([cross_entropy(scores, labels, label_smoothing) for scores in by_width]).sum()
        with torch.no_grad():
            return loss, self.logged(features)


class PaperVariant(SlimmableLearner):
    """The widest network, truncated."""

    def __init__(self, backbone, num_classes, sizes, options):
        widths = options["widths"]
        if not isinstance(widths, list) or not all(isinstance(w, Real) and 0 < w <= 1 for w in widths):
            raise UserError(f"slimmable: widths must be a list of shares between 0 and 1, not {widths!r}")
        if widths != sorted(set(widths)) or widths[-1:] != [1]:
            raise UserError(
                f"slimmable: widths must increase and end with 1, the whole network, not {widths}"
            )
        super().__init__(Slimmable(backbone, widths, scaled), num_classes, sizes)

    def logged(self, features):
        return self.logits(features[0])


class FairVariant(SlimmableLearner):
    """A sub-network for each size, with a forward pass of its own; features side by side."""

    def __init__(self, backbone, num_classes, sizes, options):
        thinnest = options["thinnest"]
        if not isinstance(thinnest, Real) or not 0 < thinnest <= 1:
            raise UserError(f"slimmable: thinnest must be a share between 0 and 1, not {thinnest!r}")
        channels = partial(thinned, dim=backbone.dim, thinnest=thinnest)
        super().__init__(Slimmable(backbone, sizes, channels, features=sizes), num_classes, sizes)
        self.forwards = len(self.sizes)

    def logged(self, features):
        return {m: logits(self.head, z, m) for m, z in zip(reversed(self.sizes), features)}

    def features(self, images):
        """[n, Σ m]: the sub-networks' features, smallest first."""
        return torch.cat([self.features_at(images, m) for m in self.sizes], dim=1)

    def features_at(self, images, m):
        """[n, m]: one sub-network's."""
        return self.backbone(images, self.sizes.index(m))

    @property
    def views(self):
        return View.side_by_side(self.sizes)


def scaled(full: int, width: float) -> int:
    """The share `width` of a layer's channels, at least one.

    >>> [scaled(64, width) for width in (0.25, 1.0)]
    [16, 64]
    """
    return max(1, round(full * width))


def thinned(full: int, size: int, dim: int, thinnest: float) -> int:
    """Channels of a layer inside the sub-network with `size` of `dim` features.

    The share √(size / dim), so that multiply-accumulates go about with the size, but at least `thinnest`.

    >>> [thinned(64, 64, 256, 0.25), thinned(64, 8, 256, 0.25)]
    [32, 16]
    """
    return scaled(full, max(thinnest, math.sqrt(size / dim)))


VARIANTS = {"paper": PaperVariant, "fair": FairVariant}
