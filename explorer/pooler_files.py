"""A pooler's tensors in a variant's folder: `pooler.safetensors`, or, where that is too large, shards and an index."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError
from .pooling import CrossAttentionPooler

FILES = "pooler{suffix}.safetensors"
LARGEST = 9_500_000
"""Bytes of tensors a file; one above 10 MB must be kept apart on the hub (Git LFS)."""


def save_pooler(pooler: CrossAttentionPooler, folder: Path, half: bool = False) -> None:
    """Write a pooler's tensors, in float16 with `half`. A tensor that is larger than `LARGEST` has its own file."""
    from huggingface_hub import save_torch_state_dict

    tensors = {name: tensor.half() if half else tensor for name, tensor in pooler.state_dict().items()}
    save_torch_state_dict(tensors, folder, filename_pattern=FILES, max_shard_size=LARGEST)


def load_pooler(pooler: CrossAttentionPooler, folder: Path) -> None:
    """Read a pooler's tensors in either form.

    Raises:
        InputError: a file is missing or broken, or its tensors do not fit the pooler.
    """
    from huggingface_hub import load_torch_model

    file = folder / FILES.format(suffix="")
    try:
        load_torch_model(pooler, file if file.is_file() else folder, strict=True, filename_pattern=FILES)
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder.name}/{file.name}' is missing or no safetensors file") from error
    except RuntimeError as error:
        raise InputError(f"the pooler of '{folder.name}' does not fit its own variant.json") from error
