"""What training and embedding need of a method: a network with a loss, features, and linear classifiers."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.nested import check_weights, cross_entropy, logits, nested_loss
from baselines.representation import View


def recordable(loss: Callable) -> Callable:
    """Marks a loss that draws nothing and does the same operations at every step.

    A GPU may then record a step and replay it (baselines/training/recorded.py).
    """
    loss.recordable = True
    return loss


class Learner(nn.Module):
    """A backbone with a nested classifier, trained with the nested cross-entropy.

    head: NestedHeads or TiedHead; None where `classifier` is overridden. weights: c_m in the order of sizes,
    default all 1. total: Σ c_m that they are scaled to, default their own.

    Methods that train otherwise subclass it and override `loss` (and, where their features are not one
    forward of the backbone, `features`, `features_at`, `views` and `forwards`).
    """

    forwards = 1  # passes that serve all sizes of one image
    single_process = False  # whether processes cannot share a training: a method decides by its own batches

    def __init__(
        self, backbone: nn.Module, head: nn.Module | None, sizes: Sequence[int], weights=None, total=None
    ):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.sizes = tuple(sizes)
        self.weights = check_weights(sizes, weights, total)

    def features(self, images: Tensor) -> Tensor:
        """images: float [n, channels, height, width] → what is stored as embedding [n, D]."""
        return self.backbone(images)

    def features_at(self, images: Tensor, m: int) -> Tensor:
        """What has to be computed when only size m is wanted; its multiply-accumulates are m's cost."""
        return self.features(images)

    @recordable
    def loss(
        self, images: Tensor, labels: Tensor, label_smoothing: float, rng: np.random.Generator
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """(mean loss over the batch, and by size for the log the logits [n, C]).

        labels: int64 [n]; rng: this step's own generator, for methods that draw something, so that a
        resumed run draws the same. A method that predicts something else than the labels gives hits
        instead of logits: bool [k], whether each of its k predictions was right.
        """
        by_size = self.logits(self.features(images))
        loss = nested_loss(
            lambda m: cross_entropy(by_size[m], labels, label_smoothing), self.sizes, self.weights
        )
        return loss, by_size

    @property
    def loss_is_recordable(self) -> bool:
        """Whether its method's loss is marked by `recordable`."""
        return getattr(type(self).loss, "recordable", False)

    def logits(self, z: Tensor) -> dict[int, Tensor]:
        """By size, its classifier's logits [..., C] for features z [..., d]."""
        return {m: logits(self.head, z, m) for m in self.sizes}

    def after_step(self, step: int, steps: int) -> None:
        """Called after every optimiser step, counted from 1; methods with a schedule override it."""

    @property
    def views(self) -> list[View]:
        """How the columns of `features` serve the sizes."""
        return [View(self.sizes, 0, max(self.sizes))]

    def classifier(self, m: int) -> tuple[Tensor, Tensor]:
        """(weight [C, m], bias [C]) of size m."""
        return self.head.linear(m)

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """What `training.head_rate` is about: parameters that nothing but the classifiers is made of."""
        return [] if self.head is None else list(self.head.parameters())

    def trained_logits(self, images: Tensor) -> dict[int, Tensor]:
        """Logits [n, C] by size, of the sizes that training optimises: what settings are chosen by."""
        z = self.features(images)
        return {
            m: F.linear(z[:, view.prefix(m)], *self.classifier(m)) for view in self.views for m in view.sizes
        }

    @property
    def classifier_parameters(self) -> int:
        """Numbers to keep for the classifiers of all sizes together; those that sizes share count once."""
        return sum(parameter.numel() for parameter in self.head.parameters())
