"""Texts of a batch one after another in one row, so that no padding is computed.

A batch of texts of different lengths is mostly padding: 64 questions of 14 tokens, padded to the longest of them, are
2,300 tokens for 880. In a packed row every layer computes real tokens alone, and attention, which is the only part of
a transformer in which tokens meet, is computed text by text: texts of equal length together, without a mask.

    layout = Layout.of(mask)                         # mask [B, T], padded on either side
    with packed(model, layout, causal=True) as forward:
        hidden = model(input_ids=layout.flatten(ids), …)         # [1, S, …], S = tokens of all texts
    states = layout.unflatten(hidden)                # [B, T, …], zeros where there is padding

It works where all attention of a model goes through the interface of transformers; `forward.calls` counts how often.
An exported variant carries this file: it needs torch and transformers alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KERNEL = "pooling_explorer_packed"
"""What the attention is called in the interface of transformers."""

HARMLESS = {"is_causal", "sliding_window", "output_attentions", "use_cache", "position_ids", "deterministic"}
"""Arguments of an attention that change nothing for a text within a window; any other one that is set is refused."""


class CannotPack(Exception):
    """The model's attention asks for something that the packed one does not have."""


@dataclass(frozen=True)
class Layout:
    """Where each text of a batch [B, T] stands in a row of S tokens: texts sorted by length, longest first."""

    shape: tuple[int, int]
    index: Tensor
    """[S] Place in the flattened batch, B * T, of each token of the row."""
    runs: list[tuple[int, int]]
    """(texts, tokens of each) for each run of texts of equal length."""
    rows: Tensor
    """[S] Row of the batch that each token belongs to."""
    ends: Tensor
    """[B] Place in the row of the last token of each text of the batch."""

    @classmethod
    def of(cls, mask: Tensor) -> Layout:
        """Lay out a batch. `mask` [B, T]: 1 for real tokens, which stand together in each row."""
        lengths = mask.sum(1)
        order = lengths.argsort(descending=True, stable=True)
        where = mask[order].nonzero()  # [S, 2]
        rows = order[where[:, 0]]
        ends = torch.empty_like(lengths)
        ends[order] = lengths[order].cumsum(0) - 1
        runs = [(len(list(same)), length) for length, same in groupby(lengths[order].tolist())]
        return cls((mask.shape[0], mask.shape[1]), rows * mask.shape[1] + where[:, 1], runs, rows, ends)

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return self.runs[0][1]

    @property
    def saves(self) -> bool:
        """Whether the batch has any padding."""
        return len(self.runs) > 1 or self.longest < self.shape[1]

    def flatten(self, batch: Tensor) -> Tensor:
        """Take the real tokens' entries of [B, T, ...]: a row [1, S, ...]."""
        return batch.flatten(0, 1)[self.index][None]

    def unflatten(self, row: Tensor) -> Tensor:
        """Put a row [1, S, d] back: [B, T, d], zeros for padding."""
        flat = row.new_zeros(self.shape[0] * self.shape[1], row.shape[-1])
        return flat.index_copy(0, self.index, row[0]).view(*self.shape, -1)

    def mean_weights(self, counted: Tensor) -> Tensor:
        """Weights [B, S] that turn a row [S, d] into the mean of each text over `counted` [B, T]."""
        weights = torch.zeros(self.shape[0], len(self.index), device=counted.device)
        share = counted / counted.sum(1, keepdim=True)
        weights[self.rows, torch.arange(len(self.index), device=counted.device)] = self.flatten(share)[0].float()
        return weights


@dataclass
class Forward:
    """One packed forward that is under way."""

    layout: Layout
    causal: bool
    calls: int = 0
    """How many attentions were computed."""


_running = threading.local()


@contextmanager
def packed(model: PreTrainedModel, layout: Layout, causal: bool) -> Iterator[Forward]:
    """Let the model compute attention text by text meanwhile. Not for two threads and one model at once."""
    from transformers import AttentionInterface

    AttentionInterface.register(KERNEL, packed_attention)
    before = model.config._attn_implementation
    _running.forward = Forward(layout, causal)
    try:
        model.config._attn_implementation = KERNEL
        yield _running.forward
    finally:
        model.config._attn_implementation = before
        _running.forward = None


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of every text to itself, as the interface of transformers calls it.

    Args:
        query, key, value: [1, heads, S, head_dim]; keys and values may have fewer heads than queries.
        scaling: of the scores; the root of head_dim, inverted, if it is None.

    Returns:
        [1, S, heads, head_dim], and None for the weights.

    Raises:
        CannotPack: the model asks for more than that, such as capped scores or a bias.
    """
    forward: Forward = _running.forward
    asked = {name for name, value in others.items() if value is not None and name not in HARMLESS}
    if attention_mask is not None or dropout or asked:
        raise CannotPack(f"attention with {', '.join(sorted(asked)) or 'a mask or dropout'}")
    forward.calls += 1
    query, key = query.to(value.dtype), key.to(value.dtype)
    # Products of our own where torch's fused attention is several times slower: with gradients, on a CPU, in bfloat16.
    plain = torch.is_grad_enabled() and value.device.type == "cpu" and value.dtype == torch.bfloat16
    attend = _products if plain else _fused
    runs = forward.layout.runs
    sizes = [texts * tokens for texts, tokens in runs]
    queries, keys, values = (t[0].split(sizes, dim=1) for t in (query, key, value))
    out = [
        attend(_by_text(q, run), _by_text(k, run), _by_text(v, run), scaling, forward.causal)
        for q, k, v, run in zip(queries, keys, values, runs, strict=True)
    ]
    return torch.cat(out)[None], None


def _by_text(heads: Tensor, run: tuple[int, int]) -> Tensor:
    """[heads, n * T, head_dim] -> [n, heads, T, head_dim]."""
    return heads.unflatten(1, run).transpose(0, 1)


def _fused(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, causal: bool) -> Tensor:
    """torch's own attention: [n * T, heads, head_dim]."""
    out = F.scaled_dot_product_attention(
        query, key, value, is_causal=causal, scale=scaling, enable_gqa=key.shape[1] != query.shape[1]
    )
    return out.transpose(1, 2).flatten(0, 1)


def _products(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, causal: bool) -> Tensor:
    """The same by plain products; heads that share keys stand below each other."""
    n, heads, tokens, width = query.shape
    shared = heads // key.shape[1]
    query = query.reshape(n, -1, shared * tokens, width)  # consecutive heads share: [n, kv heads, shared * T, head_dim]
    scores = (query @ key.transpose(-1, -2)).float() * (width**-0.5 if scaling is None else scaling)
    if causal:
        later = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).triu(1).repeat(shared, 1)
        scores = scores.masked_fill(later, float("-inf"))
    out = scores.softmax(-1).to(value.dtype) @ value
    return out.view(n, heads, tokens, width).transpose(1, 2).flatten(0, 1)
