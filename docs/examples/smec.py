"""SMEC's sequential compression with learned dimension selection, on frozen embeddings.

    snakemake --cores all results/compare/glyphs/smec.md --config method=docs/examples/smec.py

After Zhang et al., "SMEC: Rethinking Matryoshka Representation Learning for Retrieval Embedding Compression",
EMNLP 2025 (arXiv 2510.12474), from its description:

- Sequential training (SMRL): one halving after the other, d → d/2 → d/4 …; what is trained is frozen and the
  next stage starts from its output, so that sizes do not pull at the same weights.
- Adaptive dimension selection (ADS): a stage learns a logit per dimension; softmax((logits + Gumbel) / τ)
  ranks them, the k largest are kept, and gradients flow through the soft weights.
- Loss of a stage: the ranking loss Σ log(1 + exp(s(i, other class) − s(i, same class))) on cosines of the
  smaller embedding, plus Σ |s_larger(i, j) − s_smaller(i, j)| over the most similar j: neighbours stay.
- Selectable cross-batch memory (S-XBM): these j come from a queue of embeddings of earlier batches, which
  can be kept because the stage's input is frozen.

Not the paper's: one linear layer per stage that starts as the identity, equal weights of the two losses,
classes as relevance, and the settings below. Sizes are no prefixes of each other: each has its own layer.
"""

import torch
from torch.nn.functional import normalize, softplus

LABEL = "SMEC (adaptor)"
SOURCE = "fixed_feature"
STEPS, CLASSES, EACH = 400, 32, 4  # steps a stage; classes a batch and images a class
QUEUE, NEAREST = 1024, 10  # length of the memory, neighbours kept of each image
TEMPERATURE, SCALE, LEARNING_RATE = 1.0, 20.0, 1e-3


class SMEC:
    """A chain of stages, largest size first; each maps the embedding before it to its own size."""

    def fit(self, features, labels, sizes, rng):
        """Train one stage per size below d, from the training features [n, d] and labels [n]."""
        noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
        x = normalize(torch.from_numpy(features), dim=1)
        rows = [torch.from_numpy((labels == label).nonzero()[0]) for label in sorted(set(labels.tolist()))]
        self.sizes, self.stages = sorted(sizes, reverse=True), []
        for size in self.sizes:
            if size < x.shape[1]:
                self.stages.append(train_stage(x, rows, size, noise))
                x = apply_stage(self.stages[-1], x)
            else:
                self.stages.append(None)  # the full size stays as it is

    def transform(self, features):
        """{size: [b, size]}, unit length."""
        x, found = normalize(torch.from_numpy(features), dim=1), {}
        for size, stage in zip(self.sizes, self.stages):
            x = x if stage is None else apply_stage(stage, x)
            found[size] = x.numpy()
        return found


def apply_stage(stage, x):
    """The smaller embedding [n, size] of x [n, larger]."""
    weight, chosen = stage
    return normalize((x @ weight)[:, chosen], dim=1)


def train_stage(x, rows, size, noise):
    """(weight [w, w], chosen dimensions [size]) for embeddings x [n, w]; rows: row numbers by class."""
    width = x.shape[1]
    weight = torch.eye(width, requires_grad=True)
    logits = torch.zeros(width, requires_grad=True)
    optimiser = torch.optim.Adam(
        [{"params": [weight], "lr": LEARNING_RATE}, {"params": [logits], "lr": 20 * LEARNING_RATE}]
    )
    queue = torch.empty(0, dtype=torch.int64)
    for _ in range(STEPS):
        batch, classes = draw_batch(rows, noise)
        mask = select(logits, size, noise)
        z = normalize((x[batch] @ weight) * mask, dim=1)
        loss = ranking_loss(z, classes)
        if len(queue) > NEAREST:
            larger = x[batch] @ x[queue].T
            near = larger.topk(NEAREST, dim=1).indices
            memory = normalize((x[queue] @ weight) * mask, dim=1)
            loss = loss + ((z @ memory.T).gather(1, near) - larger.gather(1, near)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        queue = torch.cat([batch, queue])[:QUEUE]
    return weight.detach(), logits.detach().topk(size).indices.sort().values


def draw_batch(rows, noise):
    """(row numbers, classes) of a batch with several images of each class."""
    classes = torch.randperm(len(rows), generator=noise)[:CLASSES]
    drawn = [rows[c][torch.randint(len(rows[c]), (EACH,), generator=noise)] for c in classes]
    return torch.cat(drawn), classes.repeat_interleave(EACH)


def select(logits, size, noise):
    """0 or 1 per dimension with `size` ones; the gradient is that of the Gumbel-softmax weights."""
    uniform = torch.rand(logits.shape, generator=noise).clamp(1e-9, 1 - 1e-7)
    soft = torch.softmax((logits - (-uniform.log()).log()) / TEMPERATURE, dim=0)
    hard = torch.zeros_like(soft).scatter(0, soft.topk(size).indices, 1.0)
    return hard + size * (soft - soft.detach())


def ranking_loss(z, classes):
    """Mean of log(1 + exp(s_ik − s_ij)) over j of i's class and k of another; s: scaled cosine."""
    cosine, same = SCALE * z @ z.T, classes[:, None] == classes[None, :]
    own = cosine[same & ~torch.eye(len(z), dtype=bool)].reshape(len(z), EACH - 1)
    terms = softplus(cosine[:, None, :] - own[:, :, None])  # [i, j, k]
    return terms[(~same)[:, None, :].expand_as(terms)].mean()
