"""Which weights a backbone has: a hash that does not depend on the precision they are loaded in.

One name may stand for different weights: SmolLM2 dequantised from a GGUF file is not the hub's own SmolLM2. What was
trained on one works on the other, but its vectors differ, so a variant's record names the weights it was trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

HASHED_VALUES = 1 << 22
"""Of larger models every tensor is sampled at a stride, which takes a tenth of a second instead of many."""
SMALLEST = 2.0**-14
"""Smaller numbers count as zero: float16 holds them only in part."""


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """Hash named tensors by their values in bfloat16.

    float32 and bfloat16 copies of the same weights have the same hash, and so has a float16 copy of bfloat16 weights.
    A float16 copy of float32 weights has not: what was rounded twice may differ in the last bit.

    Args:
        tensors: a model's state, without adapters.

    Returns:
        64 hexadecimal digits.
    """
    stride = max(1, sum(tensor.numel() for tensor in tensors.values()) // HASHED_VALUES)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().flatten()[::stride].to(torch.bfloat16)
        values = torch.where(values.abs() < SMALLEST, torch.zeros_like(values), values)
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(values.cpu().view(torch.uint8).numpy().data)
    return digest.hexdigest()
