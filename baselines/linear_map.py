"""Learned linear map: for each size a map d → m fitted with labels on a frozen embedding.

    min_{A, W, b} CE(W (A z + c) + b, y) + λ/2 (‖W‖² + ‖A‖²),   A: m × d

The question behind it: once an ordinary embedding is trained, does a small projection learned after the
fact do what MRL does? It is logistic regression of rank m. Sizes are fitted apart and lie side by side, so
a smaller one is no prefix of a larger one. λ is chosen for every size, as a probe's is (`best_penalty`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from baselines.fitting import Fit
from baselines.probe import Minimum, best_penalty, blocks, choose_probe, held_out, minimise, standardised
from baselines.representation import View

KIND = "fitted"
LABEL = "Learned linear map"
SOURCE = "fixed_feature"
COUNTS_FIT = True
OPTIONS = {}
USUAL = (-6, -4)  # λ = 10^(k/2) that are tried at every size
TOLERANCE, ROUGHLY = 1e-5, 1e-4  # of the gap (`probe.minimise`), and of a candidate's
ITERATIONS = 2_000  # of L-BFGS


def fit(source, sizes, options, rng):
    """A map per size from the training features [n, d] and labels of `source`.

    A map to more than C dimensions is that to C with zeros behind: the penalised optimum has rank C at most.
    """
    x, mean, scale = standardised(source.features)
    axes, held = principal_axes(x), held_out(len(x), rng)
    classes, dim = source.weight.shape
    found, classifiers, maps, facts, macs = {}, {}, [], {}, 0
    for place, m in enumerate(sizes):
        rank = min(m, classes)
        if rank not in found:
            *found[rank], work = choose_map(x @ axes.T, source.labels, classes, held, rank)
            macs += work
        mapping, weight, bias, facts[m] = found[rank]
        maps.append(
            np.pad(mapping @ axes * scale, ((0, m - rank), (0, 0)))
        )  # acts on features less their mean
        classifiers[place, m] = np.pad(weight, ((0, 0), (0, m - rank))), bias
    matrix, offset = np.concatenate(maps).T.astype(np.float32), mean.astype(np.float32)
    return Fit(
        View.side_by_side(sizes),
        classifiers,
        transform=lambda block: (block - offset) @ matrix,
        # The map has to be kept as well as the classifier.
        parameters={m: m * dim + m * classes + classes for m in sizes},
        fit_macs=macs,
        facts={"maps": facts},
    )


def principal_axes(x: np.ndarray) -> np.ndarray:
    """Orthonormal axes, largest variance first: float32 [d, d], one per row."""
    _, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    return vectors[:, ::-1].T.astype(np.float32)


def choose_map(
    x: np.ndarray, labels: np.ndarray, num_classes: int, held: np.ndarray, m: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict, int]:
    """(map [m, d], weight [C, m], bias [C], how they were found, multiply-accumulates of finding them).

    The penalty is the best on the rows `held`.

    x: float32 [n, d], along its principal axes: the fit begins with the first m of them and their probe.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    probe = choose_probe(x[:, :m], labels, num_classes, held, device)
    first = torch.eye(m, x.shape[1]), *map(torch.from_numpy, probe)
    shared = (first[1].norm() / first[0].norm()).sqrt()  # the penalty is least where both have one norm
    begin = torch.cat([part.flatten() for part in (first[0] * shared, first[1] / shared, first[2])])
    rows = torch.from_numpy(x).to(device), torch.tensor(labels, device=device)
    held = torch.from_numpy(held).to(device)
    fitted = Problem(*(part[~held] for part in rows), m, num_classes)
    asked, answers = (part[held] for part in rows)
    path = {}

    def top1(l2: float) -> float:
        nearest = min(path, key=lambda other: abs(np.log(other / l2)), default=None)
        start = path[nearest].parameters if path else begin.to(device)
        path[l2] = fitted.solve(l2, start, ROUGHLY)
        mapping, weight, bias = fitted.split(path[l2].parameters)
        return float(((asked @ mapping.T @ weight.T + bias).argmax(1) == answers).double().mean())

    l2, best, at_limit = best_penalty(top1, USUAL)
    problem = Problem(*rows, m, num_classes)
    found = problem.solve(l2, path[l2].parameters, TOLERANCE)
    facts = {"l2": l2, "at_limit": at_limit, "held_out_top1": best, "converged": found.gap <= TOLERANCE}
    facts |= {"gap": found.gap, "gradient": found.gradient, "iterations": found.iterations}
    macs = probe.macs + problem.macs(found) + sum(map(fitted.macs, path.values()))
    return (*(part.cpu().numpy() for part in problem.split(found.parameters)), facts, macs)


@dataclass(frozen=True)
class Problem:
    """What a map to m dimensions is fitted on: x float32 [n, d], y int64 [n], C classes.

    Parameters are one vector of the map [m, d], the weight [C, m] and the bias [C].
    """

    x: Tensor
    y: Tensor
    m: int
    num_classes: int

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(map, weight, bias)."""
        sizes = self.m * self.x.shape[1], self.num_classes * self.m, self.num_classes
        mapping, weight, bias = parameters.split(sizes)
        return mapping.view(self.m, -1), weight.view(-1, self.m), bias

    def objective(self, parameters: Tensor, l2: float) -> tuple[float, Tensor]:
        """Its value, and its gradient."""
        mapping, weight, bias = self.split(parameters)
        loss, gradient = self.x.new_zeros((), dtype=torch.float64), torch.zeros_like(parameters)
        of_mapping, of_weight, of_bias = self.split(gradient)
        for rows in blocks(self.x, self.num_classes):
            x, label = self.x[rows], self.y[rows, None]
            z = x @ mapping.T
            p = torch.softmax(z @ weight.T + bias, 1)
            loss -= p.gather(1, label).clamp_min_(1e-38).log_().sum(dtype=torch.float64)
            p.scatter_add_(1, label, p.new_full(label.shape, -1))
            of_mapping += (p @ weight).T @ x
            of_weight += p.T @ z
            of_bias += p.sum(0)
        gradient /= len(self.x)
        penalised = parameters[: -self.num_classes]
        gradient[: -self.num_classes] += l2 * penalised
        value = loss / len(self.x) + l2 / 2 * penalised.square().sum(dtype=torch.float64)
        return float(value), gradient

    def curvature(self, parameters: Tensor, l2: float) -> Tensor:
        """About the diagonal of the Hessian."""
        mapping, weight, bias = self.split(parameters)
        z = self.x @ mapping.T
        p = torch.softmax(z @ weight.T + bias, 1)
        each = (p * (1 - p)).mean(0)[:, None].clamp_min_(1e-6)  # [C, 1]
        of_map = (each * weight.square()).sum(0)[:, None] * self.x.square().mean(0)
        of_weight = each * z.square().mean(0)
        return torch.cat([of_map.flatten() + l2, of_weight.flatten() + l2, each.flatten()])

    def macs(self, found: Minimum) -> int:
        """Multiply-accumulates of finding a minimum: of every evaluation, and of one curvature."""
        n, d = self.x.shape
        return n * self.m * (found.evaluations * (2 * d + 3 * self.num_classes) + d + self.num_classes)

    def solve(self, l2: float, start: Tensor, tolerance: float) -> Minimum:
        """Parameters that minimise the objective."""
        model = self.curvature(start, l2)
        return minimise(lambda at: self.objective(at, l2), start, model, tolerance, ITERATIONS)
