"""Masked language modelling with the token head tied to the token embeddings (Devlin et al. 2019), nested.

    L = Σ_{m ∈ M} c_m · CE(E[:, :m] z_{1:m} + b, token),   z: the last layer at a masked position

The head of size m is the first m columns of the embedding matrix E [V, d], through which tokens also come
in: nested, that is MRL-E by construction (paper, section 3 and 4.1: BERT).
"""

from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.learner import Learner
from baselines.nested import TiedHead, cross_entropy, nested_loss
from splits.words.wordpieces import MASK, PAD, SPECIAL, choose_masked
from suite.errors import UserError

KIND = "trained"
HEADS = False
LABEL = "MRL (tied token head)"
OPTIONS = {
    "loss_weights": None,  # c_m in the order of nesting; None: all 1, as in the paper
    "masked": 0.15,  # share of the tokens that have to be predicted in a step, BERT's
}
ALLOWED = {
    "loss_weights": {
        "type": "array",
        "items": {"type": "number", "minimum": 0},
        "contains": {"exclusiveMinimum": 0},
        "per_size": True,
    },
    "masked": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
}
KEPT, REPLACED = 0.1, 0.1  # of these, the share left as it is, and the share made a random token (BERT's)
INITIAL = 0.02  # deviation of the first embeddings, BERT's


def build(backbone, num_classes, sizes, options):
    """A learner on `backbone` (embedded tokens [n, L, d] → [n, L, d]); a class is a token."""
    return MaskedLM(backbone, num_classes, sizes, **options)


class MaskedLM(Learner):
    """Predicts tokens that it cannot see. Rows are those of the source `text`: a position, then the tokens.

    A backbone that comes with token embeddings (`token_embedding` [V, d]) gives them to the head.
    Raises UserError when these are of another vocabulary than the data.
    """

    def __init__(self, backbone: nn.Module, num_classes: int, sizes, masked, loss_weights=None):
        head = TiedHead(num_classes, (backbone.dim,))  # d columns whatever the sizes: tokens come in by them
        super().__init__(backbone, head, sizes, loss_weights)
        if not isinstance(masked, Real) or not 0 < masked < 1:
            raise UserError(f"masked_lm: masked is {masked!r}, allowed: between 0 and 1")
        self.masked = masked
        nn.init.normal_(head.weight, std=INITIAL)
        nn.init.zeros_(head.bias)
        if (known := getattr(backbone, "token_embedding", None)) is not None:
            if len(known) != num_classes:
                raise UserError(
                    f"the backbone's vocabulary has {len(known):,} tokens, that of the data {num_classes:,}: "
                    "set data.vocabulary_file to the vocab.txt beside the checkpoint"
                )
            head.weight.data.copy_(known)

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """None: the head's matrix is the embeddings that tokens come in by."""
        return []

    def encode(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [n, L] → the last layer [n, L, d]."""
        return self.backbone(F.embedding(tokens, self.head.weight), tokens == PAD)

    def features(self, images: Tensor) -> Tensor:
        """The last layer at the position asked for, which is masked if it is not yet: [n, d].

        images: int64 [n, 1 + L]. Neighbouring rows that ask about the same sequence share a forward pass.
        """
        position, tokens = images[:, 0], images[:, 1:]
        tokens = tokens.scatter(1, position[:, None], MASK)
        distinct, row = torch.unique_consecutive(tokens, dim=0, return_inverse=True)
        return self.encode(distinct)[row, position]

    def loss(self, images: Tensor, labels: Tensor, label_smoothing: float, rng: np.random.Generator):
        """(mean nested loss over the masked positions, hits bool [k] there by size)."""
        shown, hidden = hide(images[:, 1:], self.masked, self.head.out_features, rng)
        z, targets = self.encode(shown)[hidden], images[:, 1:][hidden]
        by_size = self.logits(z)
        loss = nested_loss(
            lambda m: cross_entropy(by_size[m], targets, label_smoothing), self.sizes, self.weights
        )
        return loss, {m: values.argmax(1) == targets for m, values in by_size.items()}


def hide(tokens: Tensor, share: float, vocabulary: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(tokens as the network sees them int64 [n, L], the positions it is scored on bool [n, L]).

    Of the chosen positions eight in ten are masked, one shows a random token, one what stands there.
    """
    chosen = choose_masked(tokens.cpu().numpy(), share, rng)
    fate = rng.random(chosen.shape)
    random = rng.integers(len(SPECIAL), vocabulary, chosen.shape)
    hidden, fate, random = (torch.from_numpy(a).to(tokens.device) for a in (chosen, fate, random))
    shown = torch.where(hidden & (fate >= KEPT), torch.where(fate < KEPT + REPLACED, random, MASK), tokens)
    return shown, hidden
