"""CSR: ready embeddings as sparse codes; a size is how many numbers of a long code are not 0.

After Wen et al., "Beyond Matryoshka: Revisiting Sparse Coding for Adaptive Representation" (ICML 2025): an
autoencoder with h units of which only the k most active count,

    z_k = ReLU(top k of W (x − b) + c),   x̂_k = Wᵀ z_k + b
    L = |x − x̂_k|² + |x − x̂_4k|² / 8 + a of the dead + w · contrast

where units that were not active for a while are given what x̂_k lacks of x to explain (a), and the contrast
is that of each code of a batch with all others, −log softmax(cos(z, z') / 0.2): of itself or, with
judgements, of a query with a document that is relevant to it.

What a size costs decides which k it has: a number and its place are 4 + 2 bytes, so that size m, 4 m bytes of
float32, is k = ⌊2 m / 3⌋ numbers; codes of equal bytes stand at equal places. One network serves all sizes, k
is drawn anew at each step, and the code of a smaller k is that of a larger one without its least numbers.
Codes are written as arrays of h columns for each size, most of them 0. Settings are the suite's.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from tqdm import tqdm

from baselines.fitting import Fit
from baselines.representation import View

KIND = "fitted"
LABEL = "CSR (sparse codes)"
SOURCE = "fixed_feature"
LABELS = False
SPARSE = True
OPTIONS = {
    "judgements": None,  # "train": codes of training queries and of what is relevant to them are made alike
    "times": 4,  # h over d
    "steps": 400,
    "batch": 128,
    "learning_rate": 0.001,  # of Adam, falling to 0 as a cosine
    "contrast": 0.1,  # w
    "at_most": 200_000,  # embeddings that are trained on, drawn at random
}
ALLOWED = {
    "judgements": {"enum": ["train"], "asks": "train_queries"},
    "times": {"minimum": 1, "maximum": 64},
    "steps": {"minimum": 1},
    "batch": {"minimum": 2},
    "learning_rate": {"exclusiveMinimum": 0},
    "at_most": {"minimum": 2},
}
BYTES = 6  # of a number that is not 0: float32, and its place in 16 bits
MOST = 2**16  # units that 16 bits tell apart
TEMPERATURE = 0.2
DEAD = 30  # steps without being active
REVIVED, SHARE = 512, 1 / 32  # units that explain the rest, and the weight of that
BLOCK = 4096  # rows that are counted at once


def fit(source, sizes, options, rng):
    """One autoencoder for all sizes, from the embeddings [n, d] of `source` and, if asked, its judgements."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
    chosen = np.sort(rng.permutation(len(source.features))[: options["at_most"]])
    items = normalize(torch.from_numpy(source.features[chosen]).to(device))
    pairs = relevant_pairs(source, device) if options["judgements"] else None
    width = min(options["times"] * source.dim, MOST)
    model = Autoencoder(source.dim, width, items.mean(0), noise).to(device)
    optimiser = torch.optim.Adam(model.parameters(), options["learning_rate"])
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options["steps"])
    counts, losses = [nonzeros(m) for m in sizes], []
    for _ in tqdm(range(options["steps"]), desc="sparse codes", unit="step", mininterval=2):
        k = counts[int(torch.randint(len(counts), (1,), generator=noise))]
        rows = torch.randint(len(items), (options["batch"],), generator=noise).to(device)
        loss, code = model.loss(items[rows], k)
        other = code
        if pairs:
            some = torch.randint(len(pairs[0]), (options["batch"],), generator=noise).to(device)
            code, other = (sparse(model.active(side[some]), k) for side in pairs)
        code, other = normalize(code), normalize(other)
        loss = loss + options["contrast"] * cross_entropy(
            code @ other.T / TEMPERATURE, torch.arange(len(code), device=device)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()
        losses.append(loss.item())

    @torch.inference_mode()
    def transform(block: np.ndarray) -> np.ndarray:
        x = normalize(torch.from_numpy(block).to(device))
        active = model.active(x) * x.any(1, keepdim=True)  # zeros stay zeros
        return torch.cat([sparse(active, k) for k in counts], 1).cpu().numpy()

    found = np.zeros(len(sizes))
    for start in range(0, len(source.features), BLOCK):
        codes = transform(source.features[start : start + BLOCK])
        found += np.count_nonzero(codes.reshape(len(codes), len(sizes), width), axis=2).sum(0)
    few, kept = max(1, len(losses) // 10), sum(parameter.numel() for parameter in model.parameters())
    probe = dict.fromkeys(sizes, (width + 1) * source.num_classes)
    starts = range(0, len(sizes) * width, width)
    return Fit(
        [View((m,), at, at + width, nested=False, whole=True) for m, at in zip(sizes, starts)],
        transform=transform,
        parameters={m: kept + probe[m] for m in sizes},
        parameters_all=kept + sum(probe.values()),
        macs=dict.fromkeys(sizes, width * source.dim),
        facts={
            "loss": [float(np.mean(losses[:few])), float(np.mean(losses[-few:]))],
            "units": width,
            "k": dict(zip(map(str, sizes), counts)),
            "nonzeros": dict(zip(map(str, sizes), (found / len(source.features)).tolist())),
            "bytes_per_item": {str(m): BYTES * k for m, k in zip(sizes, counts)},
        },
    )


def nonzeros(m: int) -> int:
    """k of size m: as many numbers with their places as take no more bytes than m float32.

    >>> nonzeros(48), nonzeros(64)
    (32, 42)
    """
    return max(1, 4 * m // BYTES)


def relevant_pairs(source, device: str) -> tuple[Tensor, Tensor]:
    """Queries and documents that are relevant to them, row by row: float32 [pairs, d] each, of length 1."""
    judged = source.judged
    some = (judged.gain > 0) & (judged.document >= 0)
    sides = source.queries[judged.query[some]], source.features[judged.document[some]]
    return tuple(normalize(torch.from_numpy(side).to(device)) for side in sides)


def sparse(active: Tensor, k: int) -> Tensor:
    """Activities [n, h], not negative, of which the k largest of each row are kept and all others are 0."""
    largest = active.topk(min(k, active.shape[1]), dim=1)
    return torch.zeros_like(active).scatter(1, largest.indices, largest.values)


class Autoencoder(nn.Module):
    """h units that read x [n, d] and, weighted by how active they are, add up to it again."""

    def __init__(self, dim: int, width: int, mean: Tensor, noise: torch.Generator):
        super().__init__()
        self.weight = nn.Parameter(normalize(torch.randn(width, dim, generator=noise)))
        self.before = nn.Parameter(mean.clone())
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("idle", torch.zeros(width))  # steps since a unit was active

    def active(self, x: Tensor) -> Tensor:
        """How active each unit is: float32 [n, h], 0 or more."""
        return torch.relu((x - self.before) @ self.weight.T + self.bias)

    def decoded(self, code: Tensor) -> Tensor:
        """float32 [n, d]."""
        return code @ self.weight + self.before

    def loss(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(what is lost of x [n, d] by codes of k and 4 k numbers and of the dead; the codes [n, h] of k)."""
        active = self.active(x)
        code = sparse(active, k)
        rest = x - self.decoded(code)
        found = rest.square().sum(1).mean()
        found = found + (x - self.decoded(sparse(active, 4 * k))).square().sum(1).mean() / 8
        used = (code > 0).any(0)
        self.idle = torch.where(used, torch.zeros_like(self.idle), self.idle + 1)
        if (dead := self.idle > DEAD).any():
            left = rest.detach()
            error = (sparse(active * dead, REVIVED) @ self.weight - left).square().sum(1).mean()
            found = found + SHARE * error / left.square().sum(1).mean().clamp_min(1e-9)
        return found, code
