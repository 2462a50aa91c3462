"""The backbone of the small studies: a residual network for images of 32 pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAPS = True
OPTIONS = {
    "dim": "required",  # d
    "widths": "required",  # channels of each stage: at half the image's side, a quarter …
    "blocks": 1,  # of a stage
}
ALLOWED = {
    "dim": {"type": "integer", "minimum": 1, "maximum": 65536},
    "widths": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 65536}},
    "blocks": {"minimum": 1, "maximum": 1000},
}


def build(name: str, channels: int, **options) -> nn.Module:
    return SmallResNet(channels, **options)


class PointwiseConv2d(nn.Conv2d):
    """A 1×1 convolution, computed by `conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)


class Block(nn.Module):
    """Basic residual block (He et al. 2016): two 3×3 convolutions, the first with the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                PointwiseConv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.norm1(self.conv1(x)))
        return self.act(self.norm2(self.conv2(out)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A residual network for images of about 32×32.

    A strided stem, then one stage per entry of `widths`, each after the first at half the resolution, a 1×1
    convolution to `dim` channels and the average over positions: features are ≥ 0, as ResNet50's are.
    """

    def __init__(self, channels: int, dim: int, widths: Sequence[int], blocks: int):
        super().__init__()
        self.dim = dim
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 5, 2, 2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        stages, inputs = [], widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stages.append(Block(inputs, width, 2 if stage and not block else 1))
                inputs = width
        self.stages = nn.Sequential(*stages)
        self.expand = nn.Sequential(
            nn.Conv2d(widths[-1], dim, 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU(inplace=True)
        )

    @property
    def own_rows(self) -> list[nn.Parameter]:
        """Parameters whose row j makes feature j and no other."""
        conv, norm, _ = self.expand
        return [conv.weight, norm.weight, norm.bias]

    @property
    def feature_layers(self) -> list[nn.Module]:
        """Modules whose channels are the features; layers inside may be as wide by chance."""
        return [self.expand]

    @property
    def depths(self) -> dict[str, list[nn.Module]]:
        """What fine-tuning unfreezes, from the output inwards; each entry adds to those before it."""
        last = self.stages[-1]
        return {"expand": [self.expand], "conv2": [last.conv2, last.norm2], "block": [last], "all": [self]}

    def maps(self, x: Tensor) -> Tensor:
        """[n, channels, H, W] → [n, d, h, w]: a map per feature, which is its mean."""
        return self.expand(self.stages(self.stem(x)))

    def forward(self, x: Tensor) -> Tensor:
        return spatial_mean(self.maps(x))


def spatial_mean(x: Tensor) -> Tensor:
    """Mean over positions [n, C, H, W] → [n, C], in float32: under autocast positions are bfloat16.

    Positions are flattened in the layout they have in memory. The gradient then has that layout too; left to
    itself it is NCHW, and on a CPU the ReLU before takes 25 times as long to mix the two.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    if x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).flatten(1, 2).mean(1, dtype=dtype)
    return x.mean((2, 3), dtype=dtype)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride, padding, dilation) -> Tensor:
    """`F.conv2d`, safe for strided 1×1 convolutions of few channels: [n, C, H, W] → [n, K, H', W'].

    In their backward pass oneDNN writes past its workspace where channels lie last and fill less than
    a block of 16 at most (uxlfoundation/oneDNN issue 6035): wrong gradients or a crash. So positions left
    out are cut off beforehand, which gives the same sums.
    """
    if weight.shape[2:] == (1, 1) and max(stride) > 1 and x.shape[1] < 16:
        x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
    return F.conv2d(x, weight, bias, stride, padding, dilation)
