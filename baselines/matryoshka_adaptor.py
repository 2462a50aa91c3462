"""Matryoshka-Adaptor: a residual network on ready embeddings whose prefixes keep what is similar to what.

After Yoon et al., "Matryoshka-Adaptor: Unsupervised and Supervised Tuning for Smaller Embedding Dimensions"
(EMNLP 2024): f(x) = x + MLP(x). With the cosine s of embeddings as they were, s_m of prefixes of m columns,

    top-k     Σ_i Σ_{j ∈ k nearest of i} Σ_m |s(x_i, x_j) − s_m(f(x_i), f(x_j))|
    pairs     the same of all pairs i, j
    stay      Σ_i |f(x_i) − x_i|
    ranking   Σ_q Σ_{j, k: gain_qj > gain_qk} Σ_m (gain_qj − gain_qk) log(1 + exp(s_m(q, k) − s_m(q, j)))

the first three unsupervised, the last with judgements. Sums are means here, so that weights do not depend on
how much there is. A step's documents are some at random and their nearest neighbours among all that are
trained on, and of queries what is relevant to them; documents of the step without a judgement have gain 0.
Embeddings are normalised first, and zeros stay zeros. Weights and settings are the suite's, not tuned on any
judgements.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus
from tqdm import tqdm

from baselines.fitting import Fit
from baselines.representation import View
from splits.store import Judgements

KIND = "fitted"
LABEL = "Matryoshka-Adaptor"
SOURCE = "fixed_feature"
LABELS = False
OPTIONS = {
    "judgements": None,  # "train": also ranks by the training judgements of the data
    "steps": 400,
    "documents": 50,  # drawn in a step; their neighbours come with them
    "neighbours": 6,  # k
    "queries": 32,  # of a step, with judgements
    "hidden": None,  # width of the MLP; null: as wide as the embedding
    "learning_rate": 0.001,  # of Adam, falling to 0 as a cosine
    "pairs": 1.0,  # weights of the losses beside that of the k nearest
    "stay": 0.1,
    "ranking": 1.0,
    "at_most": 20_000,  # documents that are trained on, drawn at random
}
ALLOWED = {
    "judgements": {"enum": ["train"], "asks": "train_queries"},
    "steps": {"minimum": 1},
    "documents": {"minimum": 2},
    "neighbours": {"minimum": 1},
    "queries": {"minimum": 1},
    "hidden": {"type": "integer", "minimum": 1},
    "learning_rate": {"exclusiveMinimum": 0},
    "at_most": {"minimum": 2},
}
BLOCK = 2048  # rows whose neighbours are sought at once


def fit(source, sizes, options, rng):
    """One network for all sizes, from the embeddings [n, d] of `source` and, if asked, its judgements."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
    chosen = np.sort(rng.permutation(len(source.features))[: options["at_most"]])
    supervised = options["judgements"] is not None
    model = Adaptor(source.dim, options["hidden"] or source.dim, noise).to(device)
    items = torch.from_numpy(source.features[chosen]).to(device)
    near = nearest(normalize(items), min(options["neighbours"], len(items) - 1))
    ranked = Ranked(source.features, source.queries, source.judged, device) if supervised else None
    optimiser = torch.optim.Adam(model.parameters(), options["learning_rate"])
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options["steps"])
    losses = []
    for _ in tqdm(range(options["steps"]), desc="adaptor", unit="step", mininterval=2):
        first = torch.randint(len(items), (options["documents"],), generator=noise).to(device)
        rows, places = torch.cat([first, near[first].flatten()]).unique(return_inverse=True)
        anchors, others = places[: len(first)], places[len(first) :].view(len(first), -1)
        loss = similarity_loss(items[rows], model(items[rows]), anchors, others, sizes, options)
        if ranked:
            loss = loss + options["ranking"] * ranked.loss(
                model, items[rows], sizes, options["queries"], noise
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()
        losses.append(loss.item())
    few = max(1, len(losses) // 10)
    model.eval()

    @torch.inference_mode()
    def transform(block: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(block).to(device)).cpu().numpy()

    kept = sum(parameter.numel() for parameter in model.parameters())
    probe = {m: (m + 1) * source.num_classes for m in sizes}
    return Fit(
        [View(tuple(sizes), 0, source.dim)],
        transform=transform,
        parameters={m: kept + probe[m] for m in sizes},
        parameters_all=kept + sum(probe.values()),
        macs={m: model.hidden * (source.dim + m) for m in sizes},
        facts={
            "loss": [float(np.mean(losses[:few])), float(np.mean(losses[-few:]))],
            "documents": len(chosen),
            "judgements": len(ranked.gain) if ranked else 0,
        },
    )


class Adaptor(nn.Module):
    """f(x) = x + MLP(x) of normalised x, float32 [n, d] → [n, d]; it starts as x, and zeros stay zeros."""

    def __init__(self, dim: int, hidden: int, noise: torch.Generator):
        super().__init__()
        self.hidden = hidden
        self.first = nn.Parameter(torch.randn(hidden, dim, generator=noise) * (2 / dim) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.second = nn.Parameter(torch.zeros(dim, hidden))

    def forward(self, x: Tensor) -> Tensor:
        scale = x.shape[1] ** 0.5  # of numbers that are about 1
        x = normalize(x) * scale
        change = torch.relu(x @ self.first.T + self.bias) @ self.second.T
        return (x + change * x.any(1, keepdim=True)) / scale


def nearest(x: Tensor, k: int) -> Tensor:
    """The k nearest other rows of each row of x [n, d], of length 1: int64 [n, k]."""
    found = []
    for start in range(0, len(x), BLOCK):
        scores = x[start : start + BLOCK] @ x.T
        rows = torch.arange(len(scores), device=x.device)
        scores[rows, start + rows] = -torch.inf
        found.append(scores.topk(k).indices)
    return torch.cat(found)


def similarity_loss(
    before: Tensor, after: Tensor, anchors: Tensor, others: Tensor, sizes: Sequence[int], options: dict
) -> Tensor:
    """The unsupervised losses. before, after: [b, d]; anchors [a], others [a, k]: rows, their neighbours."""
    unit = normalize(before)
    wanted = unit @ unit.T
    loss = options["stay"] * (after - unit).norm(dim=1).mean()
    for m in sizes:
        prefix = normalize(after[:, :m])
        wrong = (prefix @ prefix.T - wanted).abs()
        loss = loss + (wrong[anchors[:, None], others].mean() + options["pairs"] * wrong.mean()) / len(sizes)
    return loss


class Ranked:
    """Training queries, and gains of documents for them, of which a step takes some.

    features [n, d], queries [q, d]; judged: rows of both; documents that the corpus lacks are left out.
    """

    def __init__(self, features: np.ndarray, queries: np.ndarray, judged: Judgements, device: str):
        there = judged.document >= 0
        rows, place = np.unique(judged.document[there], return_inverse=True)
        self.queries, self.items = (torch.from_numpy(x).to(device) for x in (queries, features[rows]))
        gains = (judged.query[there], place, np.maximum(judged.gain[there], 0))
        self.query, self.place, self.gain = (torch.as_tensor(x, device=device) for x in gains)

    def loss(self, model: nn.Module, more: Tensor, sizes: Sequence[int], count: int, noise: torch.Generator):
        """Of `count` queries at random: their judged documents before others, and before those of `more`."""
        some = torch.randperm(len(self.queries), generator=noise)[:count].sort().values.to(more.device)
        mine = torch.isin(self.query, some)
        rows, column = self.place[mine].unique(return_inverse=True)
        gain = torch.zeros(len(some), len(rows) + len(more), device=more.device)
        gain[torch.searchsorted(some, self.query[mine]), column] = self.gain[mine].float()
        asked, found = model(self.queries[some]), model(torch.cat([self.items[rows], more]))
        loss = 0
        query, better = gain.nonzero(as_tuple=True)
        ahead = (gain[query, better, None] - gain[query]).clamp_min(0)  # [pairs, documents]
        for m in sizes:
            scores = normalize(asked[:, :m]) @ normalize(found[:, :m]).T
            each = softplus(scores[query] - scores[query, better, None])
            loss = loss + (ahead * each).sum() / ahead.sum().clamp_min(1e-9) / len(sizes)
        return loss
