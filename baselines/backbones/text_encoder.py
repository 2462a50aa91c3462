"""Transformer over a sequence of embedded tokens: float [n, L, d] → [n, L, d]."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from baselines.nested import at_least_float32

OPTIONS = {
    "dim": "required",  # d
    "depth": "required",  # blocks
    "heads": "required",
    "mlp": None,  # width of the hidden layer of a block; None: 4·dim
}
ALLOWED = {
    "dim": {"type": "integer", "minimum": 1, "maximum": 65536},
    "depth": {"type": "integer", "minimum": 1, "maximum": 1000},
    "heads": {"type": "integer", "minimum": 1, "maximum": 65536},
    "mlp": {"type": "integer", "minimum": 1, "maximum": 65536},
}


def build(name: str, channels: int, **options) -> nn.Module:
    return TextEncoder(**options)  # tokens have no channels


class TextEncoder(nn.Module):
    """Transformer blocks (Vaswani et al. 2017), layer norm first, that read in both directions.

    The token embeddings are the caller's: a masked language model ties them to its head. Positions are
    sines, so that no length is fixed.
    """

    def __init__(self, dim: int, depth: int, heads: int, mlp: int | None):
        super().__init__()
        self.dim = dim
        self.norm = nn.LayerNorm(dim)
        look = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        block = partial(nn.TransformerEncoderLayer, dim, heads, mlp or 4 * dim, **look)
        self.blocks = nn.TransformerEncoder(block(), depth, nn.LayerNorm(dim), enable_nested_tensor=False)
        # It copies one block, weights and all; these start apart.
        self.blocks.layers = nn.ModuleList(block() for _ in range(depth))

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """x: float [n, L, d], embedded tokens; padding: bool [n, L], true where nothing stands."""
        x = self.norm(x) + sines(x.shape[1], self.dim, x.device)
        return at_least_float32(self.blocks(x, src_key_padding_mask=padding))


def sines(length: int, dim: int, device: torch.device | str = "cpu") -> Tensor:
    """Sines and cosines of the position at wavelengths from 2π to 2π·10,000: float32 [length, dim]."""
    half = (dim + 1) // 2
    rates = torch.exp(torch.arange(half, device=device) * (-math.log(10_000) / max(1, half - 1)))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :dim]
