"""Networks from images to features: float [n, channels, height, width] → [n, d]; found by name."""

import inspect

from torch import nn

from suite import modules
from suite.errors import unknown

# Name in a study's `backbone` section → the file of baselines/ whose CLASSES has it. Files are imported when
# they are asked for, so that an edit of one concerns the studies that use it and no others.
BACKBONES = {
    "small_resnet": "small_resnet",
    "resnet18": "resnet",
    "resnet34": "resnet",
    "resnet50": "resnet",
    "resnet101": "resnet",
    "resnet152": "resnet",
    "vit": "vit",
    "text_encoder": "text_encoder",
    "bert_checkpoint": "bert_checkpoint",
}


def build_backbone(settings: dict, channels: int) -> nn.Module:
    """The network a study's `backbone` section names, for images with so many channels.

    The module has `dim`, the width d of its features. Raises UserError for an unknown name or key.
    """
    settings = dict(settings)
    name = settings.pop("name")
    if name not in BACKBONES:
        raise unknown("backbone", name, BACKBONES, "baselines/backbones.py")
    build = modules.load("baselines", BACKBONES[name]).CLASSES[name]
    allowed = [key for key in inspect.signature(build).parameters if key != "channels"]
    for key in settings:
        if key not in allowed:
            raise unknown(f"key of backbone {name}", key, allowed, f"baselines/{BACKBONES[name]}.py")
    return build(channels=channels, **settings)
