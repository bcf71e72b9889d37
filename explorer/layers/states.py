"""One state a layer of every text, kept on disk: what ablations and probes work on, so the backbone runs once.

    states = LayerStates().documents(encoder, corpus)     # float32 [n, L, d]

The state of a layer is its end token or the mean of its tokens, as the design's attention has it (`summary`). Whatever
makes the vectors of `embeddings.py` sound (keys of content hashes, whole files, one computation at a time, progress,
an early stop) holds here too: the states are stored as the vectors of an encoder whose pooler lays them end to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import torch

from ..corpora import Corpus
from ..designs import States
from ..embeddings import Embeddings
from ..encoder import Kind, PooledEncoder
from ..errors import InputError
from ..precision import Precision
from ..store import Cancel, Progress, content_hash
from ..token_selection import Tokens, TokenWeights

LARGEST = 2 << 30
"""Bytes of states at most: they are held in memory."""

SUMMARIES: tuple[States, ...] = ("layer-eos", "layer-means")


def summary(encoder: PooledEncoder) -> States:
    """How a layer becomes one state: as the pooler reads it, and for other poolers as a multi-layer one would."""
    if encoder.design.pooling == "eos":
        return "layer-eos"
    if encoder.design.pooling == "mean":
        return "layer-means"
    return "layer-eos" if encoder.design.attention == "causal" else "layer-means"


def probe_tokens(encoder: PooledEncoder, read: States, tokens: Tokens | None = None) -> Tokens | None:
    """Over which tokens the means of a probe are taken; None where it reads the end tokens.

    If nothing is asked for, neither the first token nor special ones: a layer's mean may be little else than its first
    token (see `sinks`). A variant that leaves out more is probed as it reads.
    """
    if read != "layer-means":
        return None
    own = encoder.texts.tokens
    return tokens or ("without-first" if own == "all" else own)


class StatesEncoder(PooledEncoder):
    """A variant without its pooler: its "vector" is the states of all layers, laid end to end [L * d].

    `tokens`: which tokens a layer's mean is taken over, those of the variant if it is None; `weights`: how they count.
    Neither matters to states of end tokens.
    """

    def __init__(
        self, encoder: PooledEncoder, read: States, tokens: Tokens | None = None, weights: TokenWeights = "uniform"
    ) -> None:
        """Raises `InputError` for tokens or weights that are none."""
        if weights not in get_args(TokenWeights):
            raise InputError(f"token weights '{weights}' are none of: {', '.join(get_args(TokenWeights))}")
        self.__dict__.update(encoder.__dict__)
        self.whole = encoder
        self.read, self.weights, self.unit = read, weights, weights == "unit"
        self.texts = replace(encoder.texts, tokens=tokens or encoder.texts.tokens)
        self.layers, self.width = encoder.backbone.layers, encoder.backbone.width
        self.dimension = self.layers * self.width

    def key(self, kind: Kind) -> str:
        own = self.texts.tokens, self.weights
        differs = self.read == "layer-means" and own != (self.whole.texts.tokens, "uniform")
        return content_hash((self.whole.key(kind), "states", self.read, *(own if differs else ())))

    def forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        prompts: torch.Tensor | None = None,
        exact: bool | None = None,
    ) -> torch.Tensor:
        if self.whole._closed:  # what was copied from it says how it was when this was made
            raise InputError(f"'{self.name}' was unloaded; load it again")
        return self.states(ids, mask, prompts, read=self.read, exact=exact)[0].flatten(1)

    def counted(self, ids: torch.Tensor, mask: torch.Tensor, prompts: torch.Tensor | None) -> torch.Tensor:
        """Tokens [B, T] that a mean is taken over, or their weights in it."""
        found = super().counted(ids, mask, prompts)
        return found.cumsum(-1) * found if self.weights == "position" else found  # SGPT (Muennighoff 2022)

    @property
    def precision(self) -> Precision:
        """That of the whole variant: the states are those that its vectors are made of."""
        return self.whole.precision

    def close(self) -> None:
        """The encoder it was made of is closed by whoever made that."""

    def save(self, folder: Any, half: bool = False, **record: Any) -> None:
        raise TypeError("what has no pooler is not saved")


class LayerStates:
    """The cache of states. Thread-safe."""

    def __init__(self, embeddings: Embeddings | None = None) -> None:
        self._stored = embeddings or Embeddings()

    def documents(
        self,
        encoder: PooledEncoder,
        corpus: Corpus,
        read: States | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
        *,
        tokens: Tokens | None = None,
        weights: TokenWeights = "uniform",
    ) -> np.ndarray:
        """float32 [n, L, d] of a corpus in order; `tokens` and `weights` as `StatesEncoder` takes them.

        Raises `Cancelled`, and `InputError` if they are too many to hold.
        """
        plain = StatesEncoder(encoder, read or summary(encoder), tokens, weights)
        size = 4 * len(corpus) * plain.dimension
        if size > LARGEST:
            raise InputError(
                f"the states of {plain.layers} layers for {len(corpus):,} documents take {size / 1e9:.1f} GB, "
                f"more than {LARGEST / 1e9:.1f}; choose a smaller corpus, up to "
                f"{LARGEST // (4 * plain.dimension):,} documents with this backbone"
            )
        flat = self._stored.documents(plain, corpus, progress, cancel)
        return flat.reshape(len(corpus), plain.layers, plain.width)

    def is_stored(
        self,
        encoder: PooledEncoder,
        corpus: Corpus,
        read: States | None = None,
        *,
        tokens: Tokens | None = None,
        weights: TokenWeights = "uniform",
    ) -> bool:
        """Whether `documents` would answer from disk."""
        plain = StatesEncoder(encoder, read or summary(encoder), tokens, weights)
        return self._stored.path(plain, corpus).is_file()

    @staticmethod
    def queries(
        encoder: PooledEncoder,
        texts: Sequence[str],
        read: States | None = None,
        *,
        tokens: Tokens | None = None,
        weights: TokenWeights = "uniform",
    ) -> np.ndarray:
        """float32 [q, L, d] of query texts."""
        plain = StatesEncoder(encoder, read or summary(encoder), tokens, weights)
        return plain.encode(texts, kind="query").reshape(len(texts), plain.layers, plain.width)
