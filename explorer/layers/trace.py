"""One text's way through a pooler, step by step: what happens, its formula, the shape and the norms it leaves.

steps = trace(pooler, states, tokens=12)   # states [n, d] of one text
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..designs import States, Tokens
from ..pooling import CrossAttentionPooler, MeanPooler, Pooler, normalize


@dataclass(frozen=True)
class Step:
    """One step. `norms` has one number for each of `per` ("layer", "token", "latent"), or one in all ("")."""

    name: str
    formula: str
    shape: tuple[int, ...]
    norms: tuple[float, ...] = ()
    per: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "formula": self.formula,
            "shape": list(self.shape),
            "norms": list(self.norms),
            "per": self.per,
            "note": self.note,
        }


SUMMARY: dict[States, tuple[str, str]] = {
    "tokens": ("state of every token in the last layer", "H = layer L"),
    "last-token": ("state of the end token in the last layer", "H = layer L at the end token"),
    "layer-eos": ("state of the end token in every layer", "H_i = layer i at the end token"),
    "layer-means": ("mean over the tokens in every layer", "H_i = mean of layer i over the tokens"),
}
COUNTED: dict[Tokens, str] = {
    "all": "",
    "without-first": "neither the first token nor special ones",
    "text": "neither the first token, special ones nor the prompt",
}
"""What a mean leaves out, as a note on the step that takes it."""

SUM_ONE = "a distribution a head and latent: sum 1"
ALONE = "over one state: every weight is 1, whatever the queries and keys are"
"""What the weights are."""


def norms(rows: Tensor) -> tuple[float, ...]:
    """Length of each row [..., d]."""
    return tuple(rows.float().norm(dim=-1).flatten().tolist())


@torch.inference_mode()
def trace(
    pooler: Pooler,
    states: Tensor,
    tokens: int,
    read: States,
    note: str = "",
    mask: Tensor | None = None,
    over: Tokens = "all",
) -> list[Step]:
    """The steps of one text from `states` [n, d]; `note` goes to the states (the final norm, where there is one).

    `mask` [n]: the states that the pooler reads, all if it is None; `over`: the tokens that means are taken over.
    """
    per = "token" if read in ("tokens", "last-token") else "layer"
    what, formula = SUMMARY[read]
    left_out = COUNTED[over] if read == "layer-means" else ""
    told = "; ".join(part for part in (left_out, note) if part)
    steps = [
        Step("tokens", "text → tokens, end token last", (tokens,)),
        Step(what, formula, tuple(states.shape), norms(states), per, told),
    ]
    if isinstance(pooler, CrossAttentionPooler):
        return [*steps, *_learned(pooler, states, per)]
    return [*steps, *_fixed(pooler, states, per, mask, COUNTED[over] if isinstance(pooler, MeanPooler) else "")]


def _fixed(pooler: Pooler, states: Tensor, per: str, mask: Tensor | None, note: str) -> list[Step]:
    vector, weights = pooler(states[None], None if mask is None else mask[None], return_weights=True)
    mixed = weights[0, 0, 0] @ states.float()
    return [
        Step("fixed weights", "w, whatever the text says", (len(states),), note=note),
        Step("mix", f"sum of w_i H_i over every {per} i", tuple(mixed.shape), norms(mixed[None])),
        _vector(vector),
    ]


def _learned(pooler: CrossAttentionPooler, states: Tensor, per: str) -> list[Step]:
    states = states.to(pooler.latents.dtype)
    steps, name = _normalized(pooler, states, per)
    keys, values = pooler.keys_values(states[None])  # [1, heads, n, head_dim]
    queries = pooler.queries()
    weights = pooler.attention(keys, None)
    mixed = pooler.mix(weights, values)[0]  # [N, d]
    x = mixed + pooler.latents
    value, gate = pooler.mlp_in(pooler.norm_mlp(x)).chunk(2, dim=-1)
    added = pooler.mlp_out(value * F.gelu(gate))
    mean = (x + added).mean(0)
    return [
        *steps,
        Step("keys", f"K = {name} W_k", tuple(keys[0].shape), _over_heads(keys), per),
        Step("values", f"V = {name} W_v", tuple(values[0].shape), _over_heads(values), per),
        Step(
            "queries of the latents",
            "Q = LN_z(Z) W_q / √head_dim",
            tuple(queries.shape),
            _over_heads(queries[None]),
            "latent",
            "they hold no text: the same for every text",
        ),
        Step("weights", "A = softmax(Q Kᵀ)", tuple(weights[0].shape), note=ALONE if len(states) == 1 else SUM_ONE),
        Step("mix", "concat_heads(A V) W_o", tuple(mixed.shape), norms(mixed), "latent"),
        Step("plus the latents", "X = mix + Z", tuple(x.shape), norms(x), "latent"),
        Step("MLP", "W_2(a ⊙ gelu(g)) + b_2, added to X", tuple(added.shape), norms(added), "latent"),
        Step("mean over the latents", "mean of X", tuple(mean.shape), norms(mean[None])),
        _vector(normalize(mean[None])),
    ]


def _normalized(pooler: CrossAttentionPooler, states: Tensor, per: str) -> tuple[list[Step], str]:
    """The steps from H to what keys and values are made from, and its formula: E comes before or after LN_h."""
    shape = tuple(states.shape)
    normed = norms(pooler.normed(states))
    if pooler.layer_matrix is None:
        return [Step("normalized states", "LN_h(H)", shape, normed, per)], "LN_h(H)"
    plus = "plus the layer matrix"
    if pooler.config.layer_matrix_added == "after-norm":
        alone = Step("normalized states", "LN_h(H)", shape, norms(pooler.norm_states(states)), per)
        return [alone, Step(plus, "LN_h(H) + E", shape, normed, per)], "(LN_h(H) + E)"
    summed = Step(plus, "H + E", shape, norms(states + pooler.layer_matrix), per)
    return [summed, Step("normalized states", "LN_h(H + E)", shape, normed, per)], "LN_h(H + E)"


def _over_heads(rows: Tensor) -> tuple[float, ...]:
    """Length of each row [1, heads, n, head_dim] with its heads side by side."""
    return tuple(rows[0].float().square().sum((0, 2)).sqrt().tolist())


def _vector(vector: Tensor) -> Step:
    return Step("vector", "e = mean / |mean|", (vector.shape[-1],), norms(vector), note="compared by cosine")
