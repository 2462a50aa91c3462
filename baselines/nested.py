"""The nested objective: one criterion on every prefix of an embedding, summed (paper, Eq. 1).

    L(z) = Σ_{m ∈ M} c_m · ℓ_m(z_{1:m})

ℓ_m is anything computed from a prefix: cross-entropy of a linear head here, InfoNCE or a tied token head
elsewhere. MRL gives each size its own head; MRL-E ties them to the columns of one matrix.
"""

from collections.abc import Callable, Sequence
from math import inf, isfinite
from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.errors import UserError


def nested_loss(criterion: Callable[[int], Tensor], sizes: Sequence[int], weights: Sequence[float]) -> Tensor:
    """Σ_m c_m · criterion(m), weights c_m in the order of sizes; sizes of weight 0 are not computed."""
    terms = [c * criterion(m) if c != 1 else criterion(m) for m, c in zip(sizes, weights, strict=True) if c]
    return torch.stack(terms).sum()


def check_weights(
    sizes: Sequence[int], weights: Sequence[float] | None, total: float | None = None
) -> tuple[float, ...]:
    """The loss weights c_m as a tuple, scaled to the sum `total`; raises UserError when they do not fit.

    >>> check_weights([8, 16], [3, 1], total=2)
    (1.5, 0.5)
    """
    if total is not None:
        if not isinstance(total, Real) or not 0 < total < inf:
            raise UserError(f"loss_total must be a number above 0, not {total!r}")
        own = check_weights(sizes, weights)
        return tuple(c * total / sum(own) for c in own)
    if weights is None:
        return (1.0,) * len(sizes)
    if not isinstance(weights, Sequence) or not all(isinstance(c, Real) and isfinite(c) for c in weights):
        raise UserError(f"loss_weights must be a list of finite numbers, one per size, not {weights!r}")
    if len(weights) != len(sizes):
        raise UserError(
            f"loss_weights has {len(weights)} values for {len(sizes)} sizes {list(sizes)}; "
            "give one weight per size"
        )
    if any(c < 0 for c in weights) or not any(weights):
        raise UserError(f"loss_weights must be ≥ 0 and not all 0, not {list(weights)}")
    return tuple(weights)


def prefix(z: Tensor, m: int) -> Tensor:
    """z_{1:m}: [..., m]. Raises UserError when the embedding is shorter than m."""
    if m > z.shape[-1]:
        raise UserError(f"a prefix of {m} dimensions was asked of an embedding of {z.shape[-1]}")
    return z[..., :m]


class NestedHeads(nn.ModuleDict):
    """MRL: a linear classifier W^(m), b^(m) for each size."""

    def __init__(self, num_classes: int, sizes: Sequence[int]):
        super().__init__({str(m): nn.Linear(m, num_classes) for m in sizes})

    def linear(self, m: int) -> tuple[Tensor, Tensor]:
        """(weight [C, m], bias [C]) of size m."""
        return self[str(m)].weight, self[str(m)].bias


class TiedHead(nn.Linear):
    """MRL-E: W^(m) = W[:, :m] of one matrix W [C, d], one bias; d·C + C parameters."""

    def __init__(self, num_classes: int, sizes: Sequence[int]):
        super().__init__(max(sizes), num_classes)

    def linear(self, m: int) -> tuple[Tensor, Tensor]:
        """(weight [C, m], bias [C]) of size m: slices, not copies."""
        return prefix(self.weight, m), self.bias


def logits(head: NestedHeads | TiedHead, z: Tensor, m: int) -> Tensor:
    """W^(m) z_{1:m} + b^(m): [n, C]."""
    weight, bias = head.linear(m)
    return F.linear(prefix(z, m), weight, bias)


def cross_entropy(scores: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of scores [n, C] against labels int64 [n]."""
    return F.cross_entropy(at_least_float32(scores), labels, label_smoothing=label_smoothing)


def at_least_float32(values: Tensor) -> Tensor:
    """Values in float32, or in their own type where it is wider: losses are not computed in bfloat16."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
