"""What a fitted method starts from and hands back.

Fitted methods never train a network: they change, choose or project the full-size embeddings of another
run, knowing only its training split.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from baselines.probe import Probe, choose_probe, fit_probe, held_out
from baselines.representation import View
from splits.store import Judgements


@dataclass(frozen=True)
class Source:
    """The training side of another run at its full size d.

    features: float32 [n, d]; labels: int64 [n]; weight [C, d] and bias [C]: its own classifier.
    view: which columns of its array these are. queries, judged: of collections that give judgements to learn
    from, float32 [q, d] and which rows of `features` are relevant to them; never those that are measured.
    """

    features: np.ndarray
    labels: np.ndarray
    num_classes: int
    weight: np.ndarray
    bias: np.ndarray
    view: View
    queries: np.ndarray | None = None
    judged: Judgements | None = None

    @property
    def dim(self) -> int:
        """d."""
        return self.features.shape[1]


@dataclass
class Fit:
    """A fitted method: what to do with features, and its own classifiers, if it has any.

    views: over `transform`'s output or, where transform is None, over the source's own array.
    transform: float32 [b, d] → [b, D]. classifiers: (view index, size) → (weight, bias); where there is none
    the suite fits its probe, to as many random draws as `probe_draws` says (None: all).
    macs: multiply-accumulates of the transform by size, where it is more than one product for each column.
    fit_macs: those of the fit, of methods that count them (COUNTS_FIT).
    parameters: classifier parameters by size where they are not those of the arrays: a map of the features
    has to be kept too. parameters_all: of all sizes together where they share some, else the sum.
    """

    views: list[View]
    classifiers: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    transform: Callable[[np.ndarray], np.ndarray] | None = None
    parameters: dict[int, int] | None = None
    parameters_all: int | None = None
    macs: dict[int, int] | None = None
    fit_macs: int = 0
    probe_draws: int | None = None
    facts: dict = field(default_factory=dict)


def mapped(transform: Callable, source: Source, sizes: Sequence[int], **facts: object) -> Fit:
    """One linear map `transform`, d → d, for all sizes, each with a probe on a prefix of what it gives.

    Size m keeps the map's first m columns, m·d, and its probe, m·C + C.
    """
    probe = {m: (m + 1) * source.num_classes for m in sizes}
    return Fit(
        [View(tuple(sizes), 0, source.dim)],
        transform=transform,
        parameters={m: m * source.dim + probe[m] for m in sizes},
        parameters_all=max(sizes) * source.dim + sum(probe.values()),
        facts=facts,
    )


def probes(
    train: np.ndarray,
    views: Sequence[View],
    labels: np.ndarray,
    num_classes: int,
    seed: int,
    *,
    known: Container[tuple[int, int]] = (),
    draws: int | None = None,
    device: str = "cpu",
) -> dict[tuple[int, int], Probe]:
    """(view index, size) → the suite's probe of every view and size that is not `known`.

    train: float [n, D], which the views index; labels: int64 [n]. Penalties are chosen by size on held-out
    rows, the same for all methods of a seed; those of the first random draw serve all `draws` (None: all).
    Where a draw has the same columns as one before, in another order, so has its probe.
    """
    held = held_out(len(labels), np.random.default_rng([seed, 6]))
    found, penalties, first = {}, {}, {}
    for place, m in ((place, m) for place, view in enumerate(views) for m in view.sizes):
        view = views[place]
        if (place, m) in known or (draws is not None and view.draw >= draws):
            continue
        columns = np.arange(train.shape[1])[view.prefix(m)]
        order = np.argsort(columns)
        if (alike := columns[order].tobytes()) in first:
            probe = first[alike]
            weight = np.empty_like(probe.weight)
            weight[:, order] = probe.weight
            found[place, m] = replace(probe, weight=weight, macs=0)
            continue
        given = np.asarray(train[:, columns], np.float32), labels, num_classes
        if view.draw and m in penalties:
            probe = fit_probe(*given, penalties[m], device)
        else:
            probe = choose_probe(*given, held, device)
            penalties[m] = probe.l2
        found[place, m] = probe
        first[alike] = replace(probe, weight=probe.weight[:, order])
    return found
