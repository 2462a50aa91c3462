"""Linear probe: multinomial logistic regression on frozen features, fitted by full-batch L-BFGS."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

L2_CANDIDATES = (1e-5, 1e-4, 1e-3, 1e-2)


def fit_probe(
    features: np.ndarray, labels: np.ndarray, num_classes: int, l2: float, iterations: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """(weight float32 [C, m], bias float32 [C]) that minimise mean CE + l2/2 · ‖weight‖².

    features: [n, m]; labels: int64 [n]. The penalty acts on weights for features standardised per column
    (constant columns get weight 0); the standardisation is folded into what is returned.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    standard, mean, scale = standardised(features)
    x = torch.from_numpy(standard).to(device)
    y = torch.tensor(labels, device=device)
    weight = torch.zeros(num_classes, x.shape[1], device=device, requires_grad=True)
    bias = torch.zeros(num_classes, device=device, requires_grad=True)
    minimise(
        lambda: F.cross_entropy(F.linear(x, weight, bias), y) + l2 / 2 * weight.square().sum(),
        [weight, bias],
        iterations,
    )
    fitted = weight.detach().cpu().double().numpy() * scale
    offset = bias.detach().cpu().double().numpy() - fitted @ mean
    return fitted.astype(np.float32), offset.astype(np.float32)


def standardised(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features with mean 0 and deviation 1 per column, float32 [n, m]; mean [m]; 1 / deviation [m]).

    Columns that are constant become 0, and so is their scale.
    """
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale = np.where(std > 1e-8, 1 / np.maximum(std, 1e-8), 0.0)
    return ((features - mean) * scale).astype(np.float32), mean, scale


def minimise(objective: Callable[[], Tensor], parameters: list[Tensor], iterations: int) -> None:
    """Minimise objective() over `parameters` in place, by L-BFGS on the whole objective."""
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=iterations, history_size=10, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = objective()
        loss.backward()
        return loss

    optimiser.step(closure)


def choose_l2(features: np.ndarray, labels: np.ndarray, num_classes: int, rng: np.random.Generator) -> float:
    """The penalty with the best top-1 on a fifth of the training rows, held out; ties to the larger."""
    held = held_out(len(labels), rng)

    def scores(l2: float) -> np.ndarray:
        weight, bias = fit_probe(features[~held], labels[~held], num_classes, l2, iterations=30)
        return features[held] @ weight.T + bias

    return best_l2(L2_CANDIDATES, scores, labels[held])


def best_l2(candidates: Sequence[float], scores: Callable[[float], np.ndarray], labels: np.ndarray) -> float:
    """The penalty whose scores [n, C] of held-out rows have the best top-1; ties to the larger."""
    return max(((scores(l2).argmax(1) == labels).mean(), l2) for l2 in candidates)[1]


def held_out(n: int, rng: np.random.Generator) -> np.ndarray:
    """A fifth of n rows, chosen at random: bool [n]."""
    held = np.zeros(n, bool)
    held[rng.permutation(n)[: n // 5]] = True
    return held
