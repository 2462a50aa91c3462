"""MRL heads on a trained fixed-feature network, unfrozen to a chosen depth (paper, section 5).

How much of an ordinary network has to move before its prefixes work: from the classifiers alone to all
layers. The depths are the backbone's (`depths` in baselines/backbones/), each including those before it.
"""

from torch import nn

from baselines.learner import Learner
from baselines.nested import NestedHeads
from suite.errors import UserError, unknown

KIND = "trained"
LABEL = "Fine-tuned FF"
STARTS_FROM = "fixed_feature"
OPTIONS = {
    "unfreeze": "head",  # the deepest part that is trained; `head` is the classifiers alone
}


def build(backbone, num_classes, sizes, options):
    """A learner on `backbone` ([n, C, H, W] → [n, d]) with a head per size; see `start_from`."""
    return FineTuned(backbone, NestedHeads(num_classes, sizes), sizes, options["unfreeze"])


class FineTuned(Learner):
    """MRL whose backbone is trained from its last layers up to `unfreeze` only.

    Frozen parts get no gradient, and their batch norms keep the statistics they came with.
    """

    def __init__(self, backbone: nn.Module, head: NestedHeads, sizes, unfreeze: str):
        super().__init__(backbone, head, sizes)
        depths = getattr(backbone, "depths", None)
        if depths is None:
            raise UserError(f"{type(backbone).__name__} does not name its `depths` for fine-tuning")
        names = ["head", *depths]
        if unfreeze not in names:
            raise unknown("depth to unfreeze", unfreeze, names, "`depths` in baselines/backbones/")
        self.trained = [part for name in names[1 : names.index(unfreeze) + 1] for part in depths[name]]
        backbone.requires_grad_(False)
        for part in self.trained:
            part.requires_grad_(True)

    def start_from(self, learner: Learner) -> None:
        """Take over a trained network's backbone; the heads stay fresh."""
        self.backbone.load_state_dict(learner.backbone.state_dict())

    def train(self, mode: bool = True):
        """Training mode for what is trained; the frozen parts stay in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        for part in self.trained:
            part.train(mode)
        return self
