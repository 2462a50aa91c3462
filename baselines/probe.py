"""The suite's linear probe: multinomial logistic regression on frozen features, its penalty chosen by size.

    min_{W, b} mean CE(W x + b, y) + λ/2 ‖W‖²,   x: features of one size, standardised by column

λ is 10^(k/2) for whole k: the one with the best top-1 on a held-out fifth of the training rows, ties to the
larger (`best_penalty`). The search goes outwards until better ones lie on neither side; where it ends at a
limit, the probe says so. What is found for one λ is where the next starts from.

Full-batch L-BFGS along the principal axes of x. It stops by an estimate of how far the objective is above
its minimum, half of gᵀ D⁻¹ g with the gradient g and the diagonal D of a model of the Hessian (`curvature`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

LIMITS = (-16, 4)  # of k: λ from 10⁻⁸ to 100
USUAL = (-4, 0)  # k that are tried for every probe; most of the time goes to λ that are smaller
PATIENCE = 2  # smaller λ in a row that are no better than the best, before the search ends
TOLERANCE = 1e-6  # of a probe's gap; 1e-5 changes about one answer in a thousand
ROUGHLY = 1e-4  # of a candidate's, whose accuracy alone is asked for
ITERATIONS = 5_000  # of L-BFGS; a few hundred are usual
HISTORY = 20  # steps that L-BFGS keeps
BLOCK = {"cpu": 50_000, "cuda": 50_000_000}  # logits at once: what the CPU's cache, the GPU's memory holds

Objective = Callable[[Tensor], tuple[float, Tensor]]  # parameters → value, gradient


@dataclass(frozen=True)
class Probe:
    """A fitted probe: weight float32 [C, m] and bias float32 [C], to which it unpacks like any classifier.

    l2: λ; at_limit: it is the largest or smallest that may be tried; held_out_top1: None where λ was given.
    gap: about how far the objective is above its minimum; gradient: its gradient's norm.
    macs: multiply-accumulates of choosing and fitting.
    """

    weight: np.ndarray
    bias: np.ndarray
    l2: float
    gap: float
    gradient: float
    iterations: int
    macs: int
    held_out_top1: float | None = None
    at_limit: bool = False

    def __iter__(self):
        return iter((self.weight, self.bias))

    @property
    def converged(self) -> bool:
        """Whether L-BFGS came as close to the minimum as is asked for."""
        return self.gap <= TOLERANCE

    @property
    def facts(self) -> dict:
        """How it was fitted, for meta.json."""
        kept = ("l2", "at_limit", "held_out_top1", "gap", "gradient", "iterations", "converged")
        return {name: getattr(self, name) for name in kept}


def choose_probe(
    features: np.ndarray, labels: np.ndarray, num_classes: int, held: np.ndarray, device: str = "cpu"
) -> Probe:
    """The probe of all rows with the penalty that is best on the rows `held`, fitted on the others.

    features: [n, m]; labels: int64 [n]; held: bool [n]. Constant columns get weight 0.
    """
    rows = Rows(features, labels, num_classes, device, first=held)
    path = Path(rows, int(held.sum()))
    l2, top1, at_limit = best_penalty(path.top1)
    return rows.probe(l2, start=path.found[l2], held_out_top1=top1, at_limit=at_limit)


def fit_probe(
    features: np.ndarray, labels: np.ndarray, num_classes: int, l2: float, device: str = "cpu"
) -> Probe:
    """The probe with a given penalty; features, labels: as in `choose_probe`."""
    rows = Rows(features, labels, num_classes, device)
    return rows.probe(l2, start=rows.zeros())


def held_out(n: int, rng: np.random.Generator) -> np.ndarray:
    """A fifth of n rows, chosen at random: bool [n]."""
    held = np.zeros(n, bool)
    held[rng.permutation(n)[: n // 5]] = True
    return held


def best_penalty(top1: Callable[[float], float], usual: tuple[int, int] = USUAL) -> tuple[float, float, bool]:
    """(λ, its top-1, whether it lies on a limit): the best λ = 10^(k/2) by top1(λ), ties to the larger.

    After the k of `usual`, from the largest down, smaller ones until PATIENCE in a row are no better than the
    best; then larger ones, as long as the best is the largest.
    """
    found = {k: top1(10 ** (k / 2)) for k in range(usual[1], usual[0] - 1, -1)}

    def best() -> int:
        return max(found, key=lambda k: (found[k], k))

    while best() < min(found) + PATIENCE and min(found) > LIMITS[0]:
        smaller = min(found) - 1
        found[smaller] = top1(10 ** (smaller / 2))
    while best() == max(found) < LIMITS[1]:
        larger = max(found) + 1
        found[larger] = top1(10 ** (larger / 2))
    return 10 ** (best() / 2), found[best()], best() in LIMITS


# --- the problem ----------------------------------------------------------------------------------


class Rows:
    """Training rows as a probe sees them: standardised, along their principal axes, and a column of ones.

    x: float32 [n, m + 1], rows of `first` in front; y: int64 [n]. Parameters are float32 [C, m + 1], the bias
    last. variance: of each column of x, [m + 1], 1 for the ones.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        num_classes: int,
        device: str,
        first: np.ndarray | None = None,
    ):
        standard, self.mean, self.scale = standardised(features)
        order = slice(None) if first is None else np.argsort(~first, kind="stable")
        x = torch.from_numpy(standard[order]).to(device)
        variance, self.axes = torch.linalg.eigh((x.T @ x / len(x)).double())
        self.x = torch.cat([x @ self.axes.to(x), x.new_ones(len(x), 1)], 1)
        self.y = torch.tensor(np.asarray(labels)[order], device=device)
        self.variance = torch.cat([variance.clamp_min(0), variance.new_ones(1)]).to(x)
        self.num_classes = num_classes
        self.macs = 0  # of all products with x so far

    def zeros(self) -> Tensor:
        """Parameters to begin with."""
        return self.x.new_zeros(self.num_classes, self.x.shape[1])

    def solve(self, l2: float, start: Tensor, rows: slice, tolerance: float) -> "Minimum":
        """Parameters that minimise the objective over some of the rows."""
        x, y = self.x[rows], self.y[rows]
        penalty = torch.full_like(self.variance, l2)
        penalty[-1] = 0  # the bias
        model = curvature(x, start) * self.variance + penalty
        found = minimise(lambda parameters: objective(x, y, parameters, penalty), start, model, tolerance)
        self.macs += (2 * found.evaluations + 1) * x.numel() * self.num_classes
        return found

    def probe(self, l2: float, start: Tensor, **facts: object) -> Probe:
        """The probe of all rows, for features that are not standardised."""
        found = self.solve(l2, start, slice(None), TOLERANCE)
        along_axes, bias = (part.double().cpu().numpy() for part in split(found.parameters))
        weight = along_axes @ self.axes.cpu().numpy().T * self.scale
        bias = bias - weight @ self.mean
        fitted = {"gap": found.gap, "gradient": found.gradient, "iterations": found.iterations}
        fitted |= facts | {"macs": self.macs}
        return Probe(weight.astype(np.float32), bias.astype(np.float32), l2, **fitted)


@dataclass
class Path:
    """Solutions by λ on all rows but the first `held`; each starts from those of the nearest λ."""

    rows: Rows
    held: int
    found: dict[float, Tensor] = field(default_factory=dict)

    def top1(self, l2: float) -> float:
        """Share of the held-out rows that the probe with this λ gets right."""
        nearest = sorted(self.found, key=lambda other: abs(np.log(other / l2)))
        start, *before = [self.found[each] for each in nearest[:2]] or [self.rows.zeros()]
        if before:  # the path goes on about as it went
            start = start + 0.7 * (start - before[0])
        self.found[l2] = self.rows.solve(l2, start, slice(self.held, None), ROUGHLY).parameters
        logits = self.rows.x[: self.held] @ self.found[l2].T
        return float((logits.argmax(1) == self.rows.y[: self.held]).double().mean())


def split(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """(weight [C, m], bias [C])."""
    return parameters[:, :-1], parameters[:, -1]


def standardised(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features with mean 0 and deviation 1 per column, float32 [n, m]; mean [m]; 1 / deviation [m]).

    Columns that are constant become 0, and so is their scale.
    """
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale = np.where(std > 1e-8, 1 / np.maximum(std, 1e-8), 0.0)
    return ((features - mean) * scale).astype(np.float32), mean, scale


def blocks(x: Tensor, num_classes: int) -> list[slice]:
    """Rows of x whose logits are in memory together."""
    rows = max(256, BLOCK.get(x.device.type, BLOCK["cuda"]) // num_classes)
    return [slice(start, start + rows) for start in range(0, len(x), rows)]


def objective(x: Tensor, y: Tensor, parameters: Tensor, penalty: Tensor) -> tuple[float, Tensor]:
    """Mean cross-entropy of logits x · parametersᵀ plus ½ Σ penalty · parameters², and its gradient.

    x: float32 [n, m]; y: int64 [n]; parameters: float32 [C, m]; penalty: [m]. The sum over rows is float64:
    in float32 a line search could not tell values apart near the minimum.
    """
    loss, gradient = x.new_zeros((), dtype=torch.float64), torch.zeros_like(parameters)
    for rows in blocks(x, len(parameters)):
        p, label = torch.softmax(x[rows] @ parameters.T, 1), y[rows, None]
        loss -= p.gather(1, label).clamp_min_(1e-38).log_().sum(dtype=torch.float64)
        p.scatter_add_(1, label, p.new_full(label.shape, -1))
        gradient += p.T @ x[rows]
    shrunk = penalty * parameters
    value = loss / len(x) + (shrunk * parameters).sum(dtype=torch.float64) / 2
    return float(value), gradient / len(x) + shrunk


def curvature(x: Tensor, parameters: Tensor) -> Tensor:
    """Mean of p (1 − p) for each class, [C, 1]: times a column's variance, about the Hessian's diagonal."""
    total = sum(
        (p * (1 - p)).sum(0)
        for p in (torch.softmax(x[rows] @ parameters.T, 1) for rows in blocks(x, len(parameters)))
    )
    return (total / len(x)).clamp_min_(1e-6)[:, None]


# --- L-BFGS ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Minimum:
    """Where L-BFGS ended, about how far above the minimum, and how often it evaluated the objective."""

    parameters: Tensor
    gap: float
    gradient: float
    iterations: int
    evaluations: int


def minimise(
    objective: Objective, start: Tensor, model: Tensor, tolerance: float, iterations: int = ITERATIONS
) -> Minimum:
    """Minimise by L-BFGS until gap = ½ gᵀ D⁻¹ g ≤ tolerance (Nocedal and Wright, algorithm 7.5).

    model: D, the shape of `start`: a diagonal that is about the Hessian's. Steps are halved until the value
    falls enough; where none does, what is remembered misleads and is forgotten, or numbers are no more exact.
    """
    unit = model.sqrt()  # in parameters times this the Hessian is about the identity

    def scaled(parameters: Tensor) -> tuple[float, Tensor]:
        value, gradient = objective(parameters)
        return value, (gradient / unit).flatten()

    at, (value, gradient), memory, done, asked = start, scaled(start), Memory(start.numel(), start), 0, 1
    while (gap := float(gradient.square().sum()) / 2) > tolerance and done < iterations:
        done += 1
        step = memory.direction(gradient)
        slope, length = float(gradient @ step), 1.0
        while length > 1e-4:
            new = at + (length * step).view_as(at) / unit
            after, changed = scaled(new)
            asked += 1
            if after <= value + 1e-4 * length * slope + 1e-10 * abs(value):
                break
            length /= 2
        else:
            if not memory.order:
                break
            memory.order.clear()
            continue
        memory.add(length * step, changed - gradient)
        at, value, gradient = new, after, changed
    norm = float((gradient * unit.flatten()).norm())
    return Minimum(at, gap, norm, done, asked)


class Memory:
    """The last steps s and what they changed in the gradient, y: what L-BFGS knows of the Hessian.

    The two loops of algorithm 7.4 go over inner products of s, y and the gradient, which a few products of
    matrices give at once.
    """

    def __init__(self, size: int, like: Tensor):
        self.s, self.y = like.new_zeros(2, HISTORY, size)
        self.sy, self.yy = np.zeros((2, HISTORY, HISTORY))
        self.order: list[int] = []  # places that are in use, oldest first

    def add(self, s: Tensor, y: Tensor) -> None:
        """Keep a step, the oldest one's place taken when there is none free."""
        if float(s @ y) <= 0:  # no curvature of a convex function
            return
        place = self.order.pop(0) if len(self.order) == HISTORY else len(self.order)
        self.order.append(place)
        self.s[place], self.y[place] = s, y
        self.sy[:, place], self.sy[place] = numbers(self.s @ y), numbers(self.y @ s)
        self.yy[:, place] = self.yy[place] = numbers(self.y @ y)

    def direction(self, gradient: Tensor) -> Tensor:
        """− H⁻¹ · gradient; a step of steepest descent where nothing is kept."""
        if not self.order:
            return -gradient
        s_gradient, y_gradient = numbers(self.s @ gradient), numbers(self.y @ gradient)
        alpha, rest = np.zeros((2, HISTORY))
        for i in reversed(self.order):
            alpha[i] = (s_gradient[i] - self.sy[i] @ alpha) / self.sy[i, i]
        last = self.order[-1]
        first = self.sy[last, last] / self.yy[last, last]
        for i in self.order:
            beta = first * (y_gradient[i] - self.yy[i] @ alpha) + self.sy[:, i] @ rest
            rest[i] = alpha[i] - beta / self.sy[i, i]
        alpha, rest = (torch.from_numpy(each).to(gradient) for each in (first * alpha, rest))
        return alpha @ self.y - first * gradient - rest @ self.s


def numbers(products: Tensor) -> np.ndarray:
    """float64 on the CPU."""
    return products.double().cpu().numpy()
