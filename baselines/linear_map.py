"""Learned linear map: for each size a map d → m fitted with labels on a frozen embedding.

    min_{A, W, b} CE(W (A z + c) + b, y) + λ/2 (‖W‖² + ‖A‖²),   A: m × d

The question behind it: once an ordinary embedding is trained, does a small projection learned after the
fact do what MRL does? It is logistic regression of rank m. Sizes are fitted apart and lie side by side, so
a smaller one is no prefix of a larger one. One λ serves all sizes: the best for the smallest, where it
matters most.
"""

import numpy as np
import torch
from torch.nn import functional as F

from baselines.fitting import Fit
from baselines.probe import best_l2, held_out, minimise, standardised
from baselines.representation import View

KIND = "fitted"
LABEL = "Learned linear map"
SOURCE = "fixed_feature"
OPTIONS = {
    "iterations": 60,  # of L-BFGS for each size
}
CANDIDATES = (1e-4, 1e-3, 3e-3, 1e-2)  # of λ


def fit(source, sizes, options, rng):
    """A map per size from the training features [n, d] and labels of `source`.

    The penalty is that with the best top-1 of the smallest map on held-out training rows; ties to the larger.
    """
    x, mean, scale = standardised(source.features)
    axes, labels = principal_axes(x), source.labels
    classes, dim = source.weight.shape
    held = held_out(len(x), rng)

    def scores(l2: float) -> np.ndarray:
        start = axes[: sizes[0]]
        mapping, weight, bias = fit_map(x[~held], labels[~held], classes, start, l2, options["iterations"])
        return x[held] @ mapping.T @ weight.T + bias

    l2 = best_l2(CANDIDATES, scores, labels[held])
    classifiers, maps = {}, []
    for place, m in enumerate(sizes):
        mapping, *classifier = fit_map(x, labels, classes, axes[:m], l2, options["iterations"])
        maps.append(mapping * scale)  # acts on features less their mean
        classifiers[place, m] = tuple(classifier)
    matrix, offset = np.concatenate(maps).T.astype(np.float32), mean.astype(np.float32)
    return Fit(
        View.side_by_side(sizes),
        classifiers,
        transform=lambda block: (block - offset) @ matrix,
        # The map has to be kept as well as the classifier.
        parameters={m: m * dim + m * classes + classes for m in sizes},
        facts={"l2": l2},
    )


def principal_axes(x: np.ndarray) -> np.ndarray:
    """Orthonormal axes, largest variance first: float32 [d, d], one per row.

    Not scaled to unit variance: L-BFGS would blow up the axes that hold noise.
    """
    _, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    return vectors[:, ::-1].T.astype(np.float32)


def fit_map(
    x: np.ndarray, labels: np.ndarray, num_classes: int, start: np.ndarray, l2: float, iterations: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(map [m, d], weight [C, m], bias [C]), fitted together by full-batch L-BFGS.

    x: float32 [n, d], standardised; labels: int64 [n]; start: the map to begin from, [m, d].
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    features, y = torch.from_numpy(x).to(device), torch.tensor(labels, device=device)
    mapping = torch.tensor(np.ascontiguousarray(start), device=device, requires_grad=True)
    weight = torch.zeros(num_classes, len(start), device=device, requires_grad=True)
    bias = torch.zeros(num_classes, device=device, requires_grad=True)

    def objective():
        penalty = l2 / 2 * (weight.square().sum() + mapping.square().sum())
        return F.cross_entropy(F.linear(F.linear(features, mapping), weight, bias), y) + penalty

    minimise(objective, [mapping, weight, bias], iterations)
    return tuple(part.detach().cpu().numpy() for part in (mapping, weight, bias))
