"""ResNets of torchvision as backbones: the paper's ResNet50, with blurred strides, or smaller ones.

Features are the pooled ones that torchvision's classifier would see: d = 2048 for resnet50 and deeper, 512
for resnet18 and resnet34. Names of parameters are torchvision's, with `.conv` behind a blurred convolution,
so that torchvision's weights and the reference's checkpoints both fit (`load_weights`).
"""

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.backbones.small_resnet import spatial_mean
from splits.given import really
from suite.errors import UserError, unknown

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
MAPS = True
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
WRAPPERS = ("module.", "model.", "network.", "backbone.", "encoder.")


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

    def maps(self, x: Tensor) -> Tensor:
        """[n, channels, H, W] → [n, d, h, w]: a map per feature, which is its mean."""
        net = self.network
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))

    def forward(self, x: Tensor) -> Tensor:
        return spatial_mean(self.maps(x))


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a checkpoint file, without wrappers' names in front (`plain_names`).

    The state dict may be the file's whole content or lie anywhere in it, beside settings, under keys that are
    text. Raises UserError for a file that is missing, holds none or several (weights and their running means,
    say), or more than tensors and plain values.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no checkpoint {path}")
    found = dict(state_dicts(read_tensors(path)))
    if len(found) > 1:
        first = next(iter(found))
        parts = "".join(f"[{part!r}]" for part in first.split("."))
        raise UserError(
            f"{path} holds {len(found)} state dicts: {', '.join(found)}. Save the one that is meant in a "
            f"file of its own, as torch.save(checkpoint{parts}, 'weights.pt')"
        )
    if not found:
        raise UserError(f"{path} holds no state dict (tensors by name)")
    return plain_names(next(iter(found.values())), path)


def read_tensors(path: Path) -> object:
    """What torch.save wrote; raises UserError for a file that is none of it, or would run code when read."""
    try:
        # What most training scripts keep beside the weights: their arguments, a plain record.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for files that are no checkpoints
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named:
            raise UserError(
                f"{path} cannot be read as a checkpoint of tensors: it holds an object of {named[1]}, and to "
                "read it would run its code. Where it was made, save the weights alone: "
                "torch.save(model.state_dict(), 'weights.pt')"
            ) from error
        instead = really(path).replace("; it is a file of torch.save", "")
        told = instead or f": {str(error).partition(chr(10))[0]}"
        raise UserError(f"{path} cannot be read as a checkpoint of tensors{told}") from error


def state_dicts(found: object, name: str = "") -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """(keys that lead there, state dict) of every one within what a file holds."""
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        return  # an optimiser's state has numbers as keys
    if all(isinstance(value, Tensor) for value in found.values()):
        if any("." in key for key in found):  # else random states, say
            yield name, found
        return
    for key, value in found.items():
        yield from state_dicts(value, f"{name}.{key}" if name else key)


def plain_names(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Weights by the names they have in the network itself.

    Without `module.` (of torch's parallel wrappers) in front and `_orig_mod.` (of its compiler) anywhere, and
    without WRAPPERS where they stand in front of every name. Raises UserError where two names become one.
    """
    names = [name.replace("_orig_mod.", "").removeprefix("module.") for name in weights]
    while prefix := next((each for each in WRAPPERS if all(n.startswith(each) for n in names)), None):
        names = [name.removeprefix(prefix) for name in names]
    plain = dict(zip(names, weights.values()))
    if len(plain) < len(weights):
        raise UserError(f"{path} holds two weights of one name, with and without a wrapper's name in front")
    return plain


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
