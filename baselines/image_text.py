"""Image–text contrast (ALIGN, Jia et al. 2021), nested: both towers cut to m and normalised, one loss per m.

    L = Σ_{m ∈ M} c_m · ½ (InfoNCE(u^(m), v^(m)) + InfoNCE(v^(m), u^(m))),   u^(m) = x_{1:m} / ‖x_{1:m}‖

u: image, v: text, scores u·v / τ with one learned temperature τ for all sizes. A batch can hold several
images of a class: its caption counts once, and all of them are its positives. With sizes = (d,) it is the
plain model, what random and first features are taken from.
"""

import math
from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.backbones.text_encoder import TextEncoder
from baselines.learner import Learner
from baselines.nested import at_least_float32, nested_loss, prefix
from splits.words.wordpieces import PAD
from suite.errors import UserError

KIND = "trained"
HEADS = False
LABEL = "MRL"
NEEDS = ("captions",)
OPTIONS = {
    "loss_weights": None,  # c_m in the order of nesting; None: all 1, as in the paper
    "vocabulary": 4096,  # token ids of the captions are below this: the data's `vocabulary`
    "depth": 2,  # blocks of the text tower
    "heads": 4,
    "temperature": 0.07,  # where τ starts
}
ALLOWED = {
    "loss_weights": {
        "type": "array",
        "items": {"type": "number", "minimum": 0},
        "contains": {"exclusiveMinimum": 0},
        "per_size": True,
    },
    "vocabulary": {"minimum": 1},
    "depth": {"minimum": 1, "maximum": 1000},
    "heads": {"minimum": 1},
    "temperature": {"exclusiveMinimum": 0},
}
LARGEST_SCALE = 100.0  # 1/τ at most, as in CLIP (Radford et al. 2021)


def build(backbone, num_classes, sizes, options, captions):
    """A learner on `backbone` ([n, C, H, W] → [n, d]) and a text tower of its width.

    captions: int64 [num_classes, T], of the classes that are trained on and no others.
    """
    return TwoTowers(backbone, captions, sizes, **options)


class TwoTowers(Learner):
    """Images and captions in one space: `features` takes either, images [n, C, H, W] or tokens int64 [n, T].

    Raises UserError for data without captions, and token ids that the text tower does not know.
    """

    def __init__(self, backbone, captions, sizes, loss_weights, vocabulary, depth, heads, temperature):
        super().__init__(backbone, None, sizes, loss_weights)
        if not isinstance(temperature, Real) or not 0 < temperature < math.inf:
            raise UserError(f"image_text: temperature must be a number above 0, not {temperature!r}")
        if captions is None:
            raise UserError(
                "image_text needs data with captions: data.source glyph_captions or image_captions"
            )
        self.register_buffer("captions", captions)
        self.from_image = nn.Linear(backbone.dim, backbone.dim, bias=False)
        self.token_embedding = nn.Embedding(vocabulary, backbone.dim)
        self.text_encoder = TextEncoder(backbone.dim, depth, heads, None)
        self.from_text = nn.Linear(backbone.dim, backbone.dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.check_tokens(captions)

    def check_tokens(self, tokens: Tensor) -> None:
        """Raise UserError for ids beyond the text tower's vocabulary."""
        if int(tokens.max()) >= self.token_embedding.num_embeddings:
            raise UserError(
                f"captions hold token {int(tokens.max())}, but image_text.vocabulary is "
                f"{self.token_embedding.num_embeddings}: set it to data.vocabulary"
            )

    def features(self, images: Tensor) -> Tensor:
        """Images float [n, C, H, W], or captions int64 [n, T] → [n, d]."""
        if images.is_floating_point():
            return self.from_image(self.backbone(images))
        self.check_tokens(images)
        padding = images == PAD
        states = self.text_encoder(self.token_embedding(images), padding)
        kept = (~padding).unsqueeze(2).to(states.dtype)
        return self.from_text((states * kept).sum(1) / kept.sum(1))

    def scores(self, images: Tensor, texts: Tensor, m: int) -> Tensor:
        """Cosines of prefixes over the temperature: [n, k] of image features [n, d], text features [k, d]."""
        u, v = (F.normalize(at_least_float32(prefix(z, m)), dim=1) for z in (images, texts))
        with torch.autocast(u.device.type, enabled=False):  # cosines close to each other decide
            return self.log_scale.exp() * (u @ v.T)

    def loss(self, images: Tensor, labels: Tensor, label_smoothing: float, rng: np.random.Generator):
        """(mean nested InfoNCE, by size whether each image's best caption in the batch is its own)."""
        present, own = labels.unique(return_inverse=True)
        z, texts = self.features(images), self.features(self.captions[present])
        positive = own[:, None] == torch.arange(len(present), device=own.device)
        by_size = {m: self.scores(z, texts, m) for m in self.sizes}
        loss = nested_loss(lambda m: info_nce(by_size[m], positive), self.sizes, self.weights)
        return loss, {m: scores.argmax(1) == own for m, scores in by_size.items()}

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Keep 1/τ within its bound; clamped inside the loss it would get no gradient to come back by."""
        self.log_scale.clamp_(max=math.log(LARGEST_SCALE))

    def classifier(self, m: int) -> tuple[Tensor, Tensor]:
        """(weight [C, m], bias [C] of zeros): the normalised captions classify by name.

        Images are not normalised by it, which changes their confidence but not the order of the classes.
        """
        texts = F.normalize(prefix(self.features(self.captions), m), dim=1)
        return texts * self.log_scale.exp(), texts.new_zeros(len(texts))

    @property
    def classifier_parameters(self) -> int:
        """Those of size d: the others are its prefixes, normalised anew."""
        return len(self.captions) * (max(self.sizes) + 1)


def info_nce(scores: Tensor, positive: Tensor) -> Tensor:
    """Mean of both directions: −log softmax of each row's, and of each column's, positives.

    scores: [n, k]; positive: bool [n, k], at least one in every row and column; several of one row or column
    share its weight equally.
    """
    share = positive.to(scores.dtype)
    across = (share / share.sum(1, keepdim=True) * scores.log_softmax(1)).sum(1).mean()
    down = (share / share.sum(0, keepdim=True) * scores.log_softmax(0)).sum(0).mean()
    return -(across + down) / 2
