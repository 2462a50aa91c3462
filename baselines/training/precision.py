"""The number format that forward passes compute in."""

from contextlib import nullcontext

import torch


def resolve_precision(asked: str, device: str) -> str:
    """`auto` made definite: bfloat16 where the device multiplies in it, else float32."""
    if asked != "auto":
        return asked
    if str(device).startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    native = torch.cpu.get_capabilities()
    return "bfloat16" if native.get("avx512_bf16") or native.get("amx_bf16") else "float32"


def autocast(device: str, precision: str):
    """The context in which forward passes run."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, precision))
