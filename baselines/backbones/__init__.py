"""Networks from images to features: float [n, channels, height, width] → [n, d]; one file each.

A file states its keys in a study's `backbone` section as OPTIONS and defines

    build(name, channels, **options) -> nn.Module      with `dim`, the width d of its features
"""

from torch import nn

from suite.contracts import BACKBONE, backbone_module, backbone_options


def build_backbone(settings: dict, channels: int) -> nn.Module:
    """The network a study's `backbone` section names, for images with so many channels.

    Raises UserError for an unknown name or key.
    """
    name = settings["name"]
    return BACKBONE.load(backbone_module(name)).build(name, channels, **backbone_options(settings))
