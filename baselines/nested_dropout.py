"""Nested dropout: the prefix that a step trains is drawn, image by image (Rippel et al. 2014).

    loss = mean_i CE(W (z_i ⊙ 1[j ≤ b_i]) + bias, y_i),   b_i ~ p(b) ∝ ρ^(b−1) (1 − ρ) on {1, …, d}

Late units are seldom drawn, and learn slowly for it. Unit sweeping answers that: when the loss of the next
longer prefix has stopped falling, its unit is frozen and only longer prefixes are drawn from then on.
"""

from math import isfinite
from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn

from baselines.learner import Learner
from baselines.nested import TiedHead, cross_entropy, prefix
from suite.errors import UserError

KIND = "trained"
LABEL = "Nested dropout"
OPTIONS = {
    "rho": 0.98,  # prefixes are about 1 / (1 − ρ) long
    "window": 50,  # steps over which the loss of the next prefix is averaged; 0: no unit sweeping
    "tolerance": 0.01,  # converged: from one window to the next the loss falls by less than this share
}
ALLOWED = {
    "rho": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "tolerance": {"type": "number"},
}


def build(backbone, num_classes, sizes, options):
    """A learner on `backbone` ([n, C, H, W] → [n, d]) with one head for all prefixes."""
    return NestedDropout(backbone, num_classes, sizes, **options)


class NestedDropout(Learner):
    """Trains prefixes of every length 1 … d, d = max(sizes); `swept` units at the front are frozen.

    A frozen unit keeps its own rows: the filter and batch norm that make it (`own_rows` of the backbone)
    and its column of the classifier. Layers before it go on learning for the units behind it.
    """

    def __init__(self, backbone: nn.Module, num_classes: int, sizes, rho, window, tolerance):
        dim = max(sizes)
        super().__init__(backbone, TiedHead(num_classes, (dim,)), sizes)
        if not isinstance(rho, Real) or not 0 < rho < 1:
            raise UserError(f"nested_dropout: rho must lie between 0 and 1, not {rho!r}")
        if not isinstance(window, int) or window < 0:
            raise UserError(f"nested_dropout: window must be a number of steps, 0 for none, not {window!r}")
        if not isinstance(tolerance, Real) or not isfinite(tolerance):
            raise UserError(f"nested_dropout: tolerance must be a share such as 0.01, not {tolerance!r}")
        if window and not hasattr(backbone, "own_rows"):
            raise UserError(
                f"{type(backbone).__name__} does not name the `own_rows` of its features, which unit "
                "sweeping freezes; set window: 0 or choose another backbone"
            )
        self.dim, self.rho, self.window, self.tolerance = dim, rho, window, tolerance
        self.single_process = window > 0  # units are frozen by the loss of this process's images
        # Buffers, so that an unfinished run carries them on.
        self.register_buffer("swept", torch.zeros((), dtype=torch.int64))
        self.register_buffer("window_loss", torch.zeros((), dtype=torch.float64))
        self.register_buffer("previous_loss", torch.tensor(float("inf"), dtype=torch.float64))
        if window:
            for place, (parameter, axis) in enumerate(self.rows()):
                self.register_buffer(f"kept_{place}", parameter.detach().clone())
                parameter.register_hook(
                    lambda grad, axis=axis: grad.masked_fill(self.frozen(grad, axis), 0.0)
                )

    def rows(self) -> list[tuple[nn.Parameter, int]]:
        """Parameters that belong to single units, each with the axis along which units lie."""
        return [(parameter, 0) for parameter in self.backbone.own_rows] + [(self.head.weight, 1)]

    def frozen(self, parameter: Tensor, axis: int) -> Tensor:
        """Whether each entry belongs to a frozen unit: bool, to be broadcast over `parameter`."""
        units = torch.arange(parameter.shape[axis], device=parameter.device)
        shape = [-1 if place == axis else 1 for place in range(parameter.ndim)]
        return (units < self.swept).view(shape)

    def loss(self, images: Tensor, labels: Tensor, label_smoothing: float, rng: np.random.Generator):
        """(mean loss with a prefix drawn for each image, logits [n, C] by size for the log)."""
        z = self.features(images)
        length = self.swept + draw_prefix(rng, len(z), self.rho, self.dim - self.swept)
        loss = self.truncated_loss(z, length[:, None], labels, label_smoothing)
        with torch.no_grad():
            by_size = self.logits(z)
            if self.window and self.training:
                self.window_loss += self.truncated_loss(z, self.swept + 1, labels, label_smoothing)
        return loss, by_size

    def truncated_loss(self, z: Tensor, length: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        """Mean cross-entropy of z_{1:length}, the rest set to 0. length: int64, scalar or [n, 1]."""
        units = torch.arange(self.dim, device=z.device)
        kept = prefix(z, self.dim).masked_fill(units >= length, 0.0)
        return cross_entropy(self.head(kept), labels, label_smoothing)

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Judge the next unit at the end of a window; hold the frozen ones against decay and momentum."""
        if not self.window:
            return
        if step % self.window == 0:
            self.judge()
        for place, (parameter, axis) in enumerate(self.rows()):
            kept = getattr(self, f"kept_{place}")
            parameter.copy_(torch.where(self.frozen(parameter, axis), kept, parameter))

    def judge(self) -> None:
        """Freeze the next unit if the loss of the prefix it ends has converged; the last unit never is."""
        mean = self.window_loss / self.window
        converged = self.previous_loss - mean < self.tolerance * self.previous_loss
        if bool(converged) and int(self.swept) < self.dim - 1:
            self.swept += 1
            for place, (parameter, axis) in enumerate(self.rows()):
                kept, unit = getattr(self, f"kept_{place}"), int(self.swept) - 1
                kept.select(axis, unit).copy_(parameter.select(axis, unit))
            mean = torch.full_like(mean, float("inf"))  # another prefix: nothing to compare with yet
        self.previous_loss.copy_(mean)
        self.window_loss.zero_()


def draw_prefix(rng: np.random.Generator, n: int, rho: float, longest: Tensor) -> Tensor:
    """Lengths b ∈ {1, …, longest} with p(b) ∝ ρ^(b−1): int64 [n], on the device of `longest`.

    By inversion, P(B ≤ b) = (1 − ρ^b) / (1 − ρ^longest), so that each needs one uniform number.
    """
    uniform = torch.from_numpy(rng.random(n)).to(longest.device)
    tail = 1 - uniform * (1 - rho ** longest.double())
    return torch.ceil(torch.log(tail) / np.log(rho)).long().clamp(min=1).minimum(longest)
