"""What a fitted method starts from and hands back.

Fitted methods never train a network: they change, choose or project the full-size embeddings of another
run, knowing only its training split.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from baselines.probe import choose_l2, fit_probe
from baselines.representation import View


@dataclass(frozen=True)
class Source:
    """The training side of another run at its full size d.

    features: float32 [n, d]; labels: int64 [n]; weight [C, d] and bias [C]: its own classifier.
    view: which columns of its array these are.
    """

    features: np.ndarray
    labels: np.ndarray
    num_classes: int
    weight: np.ndarray
    bias: np.ndarray
    view: View

    @property
    def dim(self) -> int:
        """d."""
        return self.features.shape[1]


@dataclass
class Fit:
    """A fitted method: what to do with features, and a classifier per view and size.

    views: over `transform`'s output or, where transform is None, over the source's own array.
    transform: float32 [b, d] → [b, D]. classifiers: (view index, size) → (weight, bias).
    parameters: classifier parameters by size where they are not those of the arrays: a map of the features
    has to be kept too. parameters_all: of all sizes together where they share some, else the sum.
    """

    views: list[View]
    classifiers: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]
    transform: Callable[[np.ndarray], np.ndarray] | None = None
    parameters: dict[int, int] | None = None
    parameters_all: int | None = None
    facts: dict = field(default_factory=dict)


def probes(features: np.ndarray, source: Source, sizes, rng, view: int = 0, l2: float | None = None) -> dict:
    """(view, m) → (weight, bias): a linear probe per size m on a prefix of `features` [n, D].

    The penalty is chosen once, at full size.
    """
    if l2 is None:
        l2 = choose_l2(features, source.labels, source.num_classes, rng)
    return {(view, m): fit_probe(features[:, :m], source.labels, source.num_classes, l2) for m in sizes}


def mapped(
    transform: Callable, source: Source, sizes: Sequence[int], rng: np.random.Generator, **facts: object
) -> Fit:
    """One linear map `transform`, d → d, for all sizes, and for each a probe on a prefix of what it gives.

    Size m keeps the map's first m columns, m·d, and its probe, m·C + C.
    """
    probe = {m: (m + 1) * source.num_classes for m in sizes}
    return Fit(
        [View(tuple(sizes), 0, source.dim)],
        probes(transform(source.features), source, sizes, rng),
        transform=transform,
        parameters={m: m * source.dim + probe[m] for m in sizes},
        parameters_all=max(sizes) * source.dim + sum(probe.values()),
        facts=facts,
    )
