"""Slimmable networks: one set of filters that runs at several widths (Yu et al. 2019).

At a width every convolution uses its leading filters on the leading channels of its input, followed by a
batch norm that belongs to this width alone: the same filter sees other statistics in a thinner network.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from baselines.backbones.small_resnet import conv2d
from suite.errors import UserError


class SlimmableConv2d(nn.Module):
    """A convolution that computes its first `outputs[width]` channels from as many as it is given."""

    def __init__(self, conv: nn.Conv2d, outputs: Sequence[int]):
        super().__init__()
        if conv.groups != 1:
            raise UserError(
                "a grouped convolution has no leading filters to slim to; choose another backbone"
            )
        self.weight, self.bias = conv.weight, conv.bias  # the names they have in the plain network
        self.stride, self.padding, self.dilation = conv.stride, conv.padding, conv.dilation
        self.outputs = tuple(outputs)
        self.width = len(self.outputs) - 1

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.outputs[self.width]
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, : x.shape[1]]
        return conv2d(x, weight, bias, self.stride, self.padding, self.dilation)


class SwitchableBatchNorm2d(nn.ModuleList):
    """A batch norm for each width, statistics and affine parameters of its own, starting from `norm`'s."""

    def __init__(self, norm: nn.BatchNorm2d, outputs: Sequence[int]):
        super().__init__(nn.BatchNorm2d(channels, norm.eps, norm.momentum) for channels in outputs)
        for own in self:
            whole = norm.state_dict().items()
            own.load_state_dict({k: v[: own.num_features] if v.ndim else v for k, v in whole})
        self.width = len(outputs) - 1

    def forward(self, x: Tensor) -> Tensor:
        return self[self.width](x)


class Slimmable(nn.Module):
    """A convolutional backbone made slimmable: `forward` takes the width, as an index into `widths`.

    channels(full, width): how many channels a layer of `full` uses at a width. The last width must use all
    of them; there the network is the plain one. features: how many features each width has, where `channels`
    does not say; the backbone then names its `feature_layers`. Works in place: it keeps its filters.
    """

    def __init__(self, backbone: nn.Module, widths: Sequence[float], channels: Callable, features=None):
        super().__init__()
        exact = set() if features is None else set(feature_layers(backbone))
        self.dim = backbone.dim
        self.widths = tuple(widths)
        for parent in list(backbone.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d)):
                    full = len(layer.weight)
                    outputs = features if layer in exact else [channels(full, width) for width in widths]
                    if min(outputs) < 1 or max(outputs) > full:
                        raise ValueError(f"a layer of {full} channels cannot use {outputs} of them")
                    slimmed = SlimmableConv2d if isinstance(layer, nn.Conv2d) else SwitchableBatchNorm2d
                    setattr(parent, name, slimmed(layer, outputs))
                elif isinstance(layer, (nn.Linear, nn.LayerNorm, nn.MultiheadAttention)):
                    raise UserError(
                        f"slimmable needs a network of convolutions and batch norms, and this one has "
                        f"{type(layer).__name__}; choose another backbone or leave the method out"
                    )
        self.backbone = backbone

    def forward(self, images: Tensor, width: int = -1) -> Tensor:
        """Features at one width: float [n, channels, height, width] → [n, features of that width]."""
        width %= len(self.widths)
        for layer in self.backbone.modules():
            if isinstance(layer, (SlimmableConv2d, SwitchableBatchNorm2d)):
                layer.width = width
        return self.backbone(images)


def feature_layers(backbone: nn.Module) -> list[nn.Module]:
    """Convolutions and batch norms whose channels are the features. Raises UserError when none are named."""
    if not hasattr(backbone, "feature_layers"):
        raise UserError(
            f"{type(backbone).__name__} does not name its `feature_layers`, which slimmable's fair variant "
            "cuts to each size; choose another backbone or variant: paper"
        )
    return [layer for part in backbone.feature_layers for layer in part.modules()]
