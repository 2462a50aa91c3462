"""Vision transformer (Dosovitskiy et al. 2021) as a backbone: torchvision's class, without its classifier."""

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import ConvStemConfig

from suite.errors import UserError

OPTIONS = {
    "dim": "required",  # d
    "image": "required",  # side of the images in pixels
    "patch": "required",  # side of a patch
    "depth": "required",  # blocks
    "heads": "required",
    "mlp": None,  # width of the hidden layer of a block; None: 4·dim
    "stem": (),  # channels of 3×3 convolutions of stride 2 that make the patches
}
ALLOWED = {
    "dim": {"type": "integer", "minimum": 1, "maximum": 65536},
    "image": {"type": "integer", "minimum": 1, "maximum": 65536},
    "patch": {"type": "integer", "minimum": 1, "maximum": 65536},
    "depth": {"type": "integer", "minimum": 1, "maximum": 1000},
    "heads": {"type": "integer", "minimum": 1, "maximum": 65536},
    "mlp": {"type": "integer", "minimum": 1, "maximum": 65536},
    "stem": {"items": {"type": "integer", "minimum": 1, "maximum": 65536}},
}


def build(name: str, channels: int, **options) -> nn.Module:
    return ViT(channels, **options)


class ViT(nn.Module):
    """Patches through transformer blocks; the features are the class token behind the last layer norm.

    ViT-B/16 is image: 224, patch: 16, dim: 768, depth: 12, heads: 12, mlp: 3072.

    A stem makes the patches instead of one linear map (Xiao et al. 2021): what a transformer learns from few
    images. Raises UserError for sizes that do not fit together.
    """

    def __init__(self, channels, dim, image, patch, depth, heads, mlp, stem):
        super().__init__()
        if image % patch:
            raise UserError(f"backbone: image {image} is not a multiple of patch {patch}")
        if dim % heads:
            raise UserError(f"backbone: dim {dim} is not a multiple of heads {heads}")
        self.dim, self.image = dim, image
        if stem and patch != 2 ** len(stem):
            raise UserError(
                f"backbone: a stem of {len(stem)} convolutions makes patches of {2 ** len(stem)}, not {patch}"
            )
        convolutions = [ConvStemConfig(width, kernel_size=3, stride=2) for width in stem]
        self.vit = VisionTransformer(
            image, patch, depth, heads, dim, mlp or 4 * dim, conv_stem_configs=convolutions or None
        )
        self.vit.heads = nn.Identity()
        if channels != 3:
            grey_input(self.vit, channels)

    @property
    def depths(self) -> dict[str, list[nn.Module]]:
        """What fine-tuning unfreezes, from the output inwards; each entry adds to those before it."""
        encoder = self.vit.encoder
        return {
            "norm": [encoder.ln],
            "mlp": [encoder.layers[-1].mlp, encoder.layers[-1].ln_2],
            "block": [encoder.layers[-1]],
            "all": [self],
        }

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (self.image, self.image):
            raise UserError(
                f"backbone.image is {self.image}, but the images are {x.shape[2]}×{x.shape[3]}: a vision "
                "transformer's positions belong to one size"
            )
        return self.vit(x.contiguous(memory_format=torch.contiguous_format)).float()


def grey_input(vit: VisionTransformer, channels: int) -> None:
    """Replace the first convolution, which in torchvision reads colour images, by one for other images."""
    name, old = next(named for named in vit.named_modules() if isinstance(named[1], nn.Conv2d))
    like = old.out_channels, old.kernel_size, old.stride, old.padding
    new = nn.Conv2d(channels, *like, bias=old.bias is not None)
    nn.init.trunc_normal_(new.weight, std=new.weight[0].numel() ** -0.5)
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    vit.set_submodule(name, new)
