"""ResNets of torchvision as backbones: the paper's ResNet50, with blurred strides, or smaller ones.

Features are the pooled ones that torchvision's classifier would see: d = 2048 for resnet50 and deeper, 512
for resnet18 and resnet34. Names of parameters are torchvision's, with `.conv` behind a blurred convolution,
so that torchvision's weights and the reference's checkpoints both fit (`load_weights`).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.backbones.small_resnet import spatial_mean
from suite.errors import UserError, unknown

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
OPTIONS = {
    "dim": "required",  # d: 512 for resnet18 and resnet34, 2048 for the others
    "blur_pool": False,  # blurred strides, as in the paper's recipe
    "stem": "imagenet",  # or small, for images of about 32×32
    "init_weights": None,  # file with a state dict to start from
}
ALLOWED = {
    "dim": {"type": "integer", "minimum": 1, "maximum": 65536},
    "stem": {"enum": ["imagenet", "small"]},
    "init_weights": {"type": "string"},
}
STEMS = ("imagenet", "small")
SHOWN = 4  # names of parameters in an error


class BlurredConv2d(nn.Module):
    """A strided convolution after a 3×3 binomial blur, against aliasing (Zhang 2019)."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("blur_filter", torch.outer(line, line).repeat(conv.in_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]  # of a slimmed network fewer than the convolution has at most
        blurred = F.conv2d(x, self.blur_filter[:channels].to(x.dtype), padding=1, groups=channels)
        return self.conv(blurred)


def build(name: str, channels: int, **options) -> nn.Module:
    return ResNet(name, channels, **options)


def blur_strides(module: nn.Module) -> None:
    """Put a blur before every strided convolution of 16 channels and more: all but the stem's."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and max(child.stride) > 1 and child.in_channels >= 16:
            setattr(module, name, BlurredConv2d(child))
        else:
            blur_strides(child)


class ResNet(nn.Module):
    """A torchvision ResNet without its classifier.

    stem: "imagenet" has a 7×7 convolution and pooling that divide the side by four, "small" a 3×3 convolution
    that keeps it. The classifier of init_weights (torchvision's, say) is left out.

    Raises UserError when `dim` is not the network's or the weights do not fit.
    """

    def __init__(
        self, arch: str, channels: int, dim: int, blur_pool: bool, stem: str, init_weights: str | None
    ):
        super().__init__()
        # torchvision's zero-initialised last batch norms make every block start as the identity.
        network = torchvision.models.get_model(arch, weights=None, zero_init_residual=False)
        self.dim = network.fc.in_features
        if dim != self.dim:
            raise UserError(f"{arch} has features of {self.dim} dimensions; backbone.dim is {dim}")
        network.fc = nn.Identity()
        if stem not in STEMS:
            raise unknown("stem", stem, STEMS, "baselines/backbones/resnet.py")
        if stem == "small":
            network.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
            network.maxpool = nn.Identity()
        elif channels != 3:
            network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        if blur_pool:
            blur_strides(network)
        self.network = network
        if init_weights is not None:
            load_weights(network, read_state_dict(init_weights), init_weights)

    @property
    def feature_layers(self) -> list[nn.Module]:
        """Modules whose channels are the features: what the last stage's blocks add up."""
        blocks = self.network.layer4
        last = 3 if hasattr(blocks[0], "conv3") else 2
        ends = [getattr(block, f"{kind}{last}") for block in blocks for kind in ("conv", "bn")]
        return [*ends, blocks[0].downsample]

    @property
    def depths(self) -> dict[str, list[nn.Module]]:
        """What fine-tuning unfreezes, from the output inwards; each entry adds to those before it."""
        last = self.network.layer4[-1]
        numbers = range(3, 0, -1) if hasattr(last, "conv3") else range(2, 0, -1)
        parts = {f"conv{i}": [getattr(last, f"conv{i}"), getattr(last, f"bn{i}")] for i in numbers}
        return parts | {"layer4": [self.network.layer4], "all": [self]}

    def forward(self, x: Tensor) -> Tensor:
        net = self.network
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return spatial_mean(x)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a checkpoint file, without `module.` in front of the names.

    The state dict may be the file's whole content or lie under "state_dict" or "model". Raises UserError for
    a file that is missing or holds something else.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no checkpoint {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for files that are no checkpoints
        raise UserError(f"{path} cannot be read as a checkpoint of tensors: {error}") from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{path} holds no state dict (tensors by name)")
    return {name.removeprefix("module."): value for name, value in found.items()}


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], where: str | Path) -> None:
    """Fill a torchvision ResNet without classifier; names beginning with `fc.` are left out.

    Weights of plain convolutions go into blurred ones. Raises UserError naming what is missing, unknown or of
    another shape.
    """
    wanted = network.state_dict()
    given = {name: value for name, value in weights.items() if not name.startswith("fc.")}
    for name in wanted:
        plain = name.replace(".conv.weight", ".weight")
        if name not in given and plain in given and name != plain:
            given[name] = given.pop(plain)
        elif name.endswith("blur_filter") or name.endswith("num_batches_tracked"):
            given.setdefault(name, wanted[name])
    faults = {
        "missing": [name for name in wanted if name not in given],
        "unknown": [name for name in given if name not in wanted],
        "of another shape": [
            f"{name} {tuple(value.shape)} instead of {tuple(wanted[name].shape)}"
            for name, value in given.items()
            if name in wanted and value.shape != wanted[name].shape
        ],
    }
    said = [
        f"{len(names)} {what} ({', '.join(names[:SHOWN])}{' …' if len(names) > SHOWN else ''})"
        for what, names in faults.items()
        if names
    ]
    if any(name.endswith("blur_filter") for name in faults["unknown"]):
        said.append("the checkpoint has blurred strides: set backbone.blur_pool")
    if said:
        raise UserError(f"{where} does not fit the network: {'; '.join(said)}")
    network.load_state_dict(given)
