"""A GPU that is lent for one call at a time, as on a ZeroGPU Space (there the package `spaces` is installed).

`spaces.GPU` runs a function in another process, which holds a GPU meanwhile; what goes in and comes out is pickled.
So only what is worth the wait is handed over, a corpus to encode, and by the variant's name: that process loads the
variant itself. What is short (a query, the layers of one text) stays on this process's processor. It tells no progress
and cannot be stopped from here. Background runs have no GPU there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .store import Cancel, Progress
from .variants import Shelf

if TYPE_CHECKING:
    from .encoder import Encoder

F = TypeVar("F", bound=Callable)

ENOUGH = 256
"""Fewer texts are encoded sooner here than there."""
SECONDS = 120
"""What one call may take; the Space's visitors have a daily share of GPU time."""
DEVICE = "cuda"

Place = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...], bool]
"""What makes the same shelf elsewhere: dtype, backbones, checkpoints, contenders, whether to trust remote code."""


def is_lent() -> bool:
    """Whether this is a Space that lends GPUs."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true") and find_spec("spaces") is not None


def on_gpu(function: F) -> F:
    """`spaces.GPU` on such a Space; elsewhere the function as it is."""
    if not is_lent():
        return function
    import spaces

    return spaces.GPU(duration=SECONDS)(function)


@cache
def _shelf(place: Place) -> Shelf:
    dtype, backbones, checkpoints, contenders, trust = place
    return Shelf(DEVICE, dtype, backbones, checkpoints, contenders, trust)


@on_gpu
def encode_there(place: Place, variant: str, texts: list[str]) -> np.ndarray:
    """Vectors [n, d] of documents, by a variant that is loaded where this runs."""
    return _shelf(place).load(variant).encode(texts, kind="document")


def encode_with(shelf: Shelf) -> Callable[[Encoder, Sequence[str], Progress | None, Cancel | None], np.ndarray]:
    """How `Embeddings` encodes the documents of a shelf's variants: many of them on a GPU that is lent."""

    def encode(encoder: Encoder, texts: Sequence[str], progress: Progress | None, cancel: Cancel | None) -> np.ndarray:
        if len(texts) < ENOUGH:
            return encoder.encode(texts, kind="document", progress=progress, cancel=cancel)
        folders = tuple(str(folder) for folder in shelf.folders[2:])
        # the dtype of the encoder here, as its vectors are kept under the same key
        place = (shelf.place()[1], tuple(shelf.backbone_ids), folders, tuple(shelf.contenders), shelf.trust_remote_code)
        return encode_there(place, encoder.name, list(texts))

    return encode
