"""What every state adds to the attention output: norms instead of weights (Kobayashi et al. 2020, arXiv 2004.10102).

A weight says how much a state is looked at, not how much of it arrives: a long value vector under a small weight can
count for more than a short one under a large weight. With A the weights, V the values and W_o cut into heads,

    c[l, i] = sum_h A[h, l, i] V[h, i] W_o[h]        sum_i c[l, i] = the attention output of latent l

holds exactly, and the norm of c[l, i] is the contribution of state i (a layer or a token) to latent l.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..pooling import CrossAttentionPooler, LayerMatrixPlace


@dataclass(frozen=True, eq=False)
class Contributions:
    """Norms of what n states add to the attention output of one text."""

    norms: np.ndarray
    """[N, n]: norm of c[l, i]."""
    heads: np.ndarray
    """[heads, n]: norm of each head's part alone, mean over the latents."""
    parts: np.ndarray
    """[n, d]: c averaged over the latents; the rows sum to `output`."""
    output: np.ndarray
    """[d]: the attention output, averaged over the latents."""

    @property
    def mean(self) -> np.ndarray:
        """[n]: norm of each state's contribution, mean over the latents."""
        return self.norms.mean(0)

    @property
    def share(self) -> np.ndarray:
        """[n]: `mean` as shares of their sum, comparable with weights; sum 1."""
        return self.mean / max(float(self.mean.sum()), 1e-30)

    @property
    def along(self) -> np.ndarray:
        """[n]: how far each part goes along the output, as a share of it; sum 1, below 0 where it works against it."""
        return self.parts @ self.output / max(float(self.output @ self.output), 1e-30)


@torch.no_grad()
def contributions_of(pooler: CrossAttentionPooler, weights: Tensor, values: Tensor) -> Contributions:
    """Of one text. weights A [heads, N, n]; values V [heads, n, head_dim]."""
    per_head = through_out(pooler, values)  # [heads, n, d]
    norms, parts = [], []
    for vectors in contribution_vectors(weights, per_head):
        norms.append(vectors.norm(dim=-1))
        parts.append(vectors.mean(0))
    summed = torch.stack(parts)  # [n, d]
    heads = weights.float().mean(1) * per_head.norm(dim=-1)  # A is positive: the norm of A f is A times that of f
    return Contributions(
        torch.stack(norms, dim=-1).cpu().numpy(),
        heads.cpu().numpy(),
        summed.cpu().numpy(),
        summed.sum(0).cpu().numpy(),
    )


def through_out(pooler: CrossAttentionPooler, values: Tensor) -> Tensor:
    """V W_o of every head: values [..., heads, n, head_dim] -> float32 [..., heads, n, d]."""
    c = pooler.config
    out = pooler.to_out.weight.view(c.width, c.heads, c.head_dim)
    return torch.einsum("...hnk,dhk->...hnd", values.float(), out.float())


def contribution_vectors(weights: Tensor, per_head: Tensor) -> Iterator[Tensor]:
    """c[:, i] [N, d], one state i after the other; all at once would be n times the memory."""
    for i in range(per_head.shape[1]):
        yield torch.einsum("hl,hd->ld", weights[:, :, i].float(), per_head[:, i])


@dataclass(frozen=True, eq=False)
class LayerMatrix:
    """The trained layer matrix E [L, d] of a multi-layer pooler, and what it contributes to one text's vector."""

    form: LayerMatrixPlace
    """Where it is added: before or after LN_h."""
    norms: np.ndarray
    """[L]: length of each row."""
    cosines: np.ndarray
    """[L, L]: cosine between rows; 0 where a row has no length."""
    state_norms: np.ndarray
    """[L]: length of what each row is added to, H or LN_h(H)."""
    cosine_without: float
    """Cosine of the text's vector to the one with E = 0."""
    moved: float
    """Share of the attention that lies on other layers with E = 0, mean over heads and latents."""
    keys: float
    """Variance over the layers of what E adds to the keys, as a share of the keys' own variance without E."""

    @property
    def sentence(self) -> str:
        """What E contributes, in words."""
        when, formula, beside = (
            ("after", "LN_h(H) + E", "the normalized states")
            if self.form == "after-norm"
            else ("before", "LN_h(H + E)", "the states")
        )
        found = (
            f"Without the layer matrix E this text’s vector would have a cosine of {_near_one(self.cosine_without)} to "
            f"the one shown, and {_percent(self.moved)} of the attention would lie on other layers. What E adds to the "
            f"keys varies over the layers {_percent(self.keys)} as much as they do without it. E is added {when} the "
            f"norm, {formula}; its rows are {_span(self.norms)} long, {beside} {_span(self.state_norms)}."
        )
        return f"{found} So E does next to nothing here." if self.idle else found

    @property
    def idle(self) -> bool:
        """Whether this vector is the same with and without E, for any ranking: cosine above .9999."""
        return self.cosine_without > 0.9999

    def to_json(self) -> dict[str, Any]:
        """Its part of `layers --json`."""
        return {
            "form": self.form,
            "norms": self.norms.tolist(),
            "cosines": self.cosines.tolist(),
            "state_norms": self.state_norms.tolist(),
            "cosine_without": self.cosine_without,
            "attention_moved": self.moved,
            "keys_variance": self.keys,
            "sentence": self.sentence,
        }


@torch.inference_mode()
def layer_matrix(pooler: object, states: Tensor) -> LayerMatrix | None:
    """What E is and what it contributes to one text; None for a pooler that has none.

    Args:
        pooler: any pooler.
        states: H [L, d] of the text.
    """
    if not isinstance(pooler, CrossAttentionPooler) or pooler.layer_matrix is None:
        return None
    states = states.to(pooler.latents.dtype)[None]
    keys, values = pooler.keys_values(states)
    keys_0, values_0 = pooler.keys_values(states, with_matrix=False)
    weights, weights_0 = pooler.attention(keys, None), pooler.attention(keys_0, None)
    vector, vector_0 = pooler.head(pooler.mix(weights, values)), pooler.head(pooler.mix(weights_0, values_0))
    before = pooler.config.layer_matrix_added == "before-norm"
    matrix = pooler.layer_matrix.float().cpu().numpy()
    norms = np.linalg.norm(matrix, axis=1)
    unit = matrix / np.maximum(norms, 1e-12)[:, None]
    return LayerMatrix(
        pooler.config.layer_matrix_added, norms, unit @ unit.T,
        (states if before else pooler.norm_states(states))[0].float().norm(dim=-1).cpu().numpy(),
        min(1.0, float((vector.double() * vector_0.double()).sum())),
        float((weights - weights_0).abs().sum(-1).mean() / 2),
        _spread(keys - keys_0) / max(_spread(keys_0), 1e-30),
    )  # fmt: skip


def _spread(keys: Tensor) -> float:
    """Variance over the layers of keys [1, heads, L, head_dim], summed over heads and dimensions."""
    return float(keys.float().var(dim=2, correction=0).sum())


def _percent(share: float) -> str:
    """A share as "3 %", with more digits where it is small."""
    percent = 100 * share
    return "less than 0.01 %" if percent < 0.01 else f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def _near_one(cosine: float) -> str:
    """A cosine with as many nines as it has: .93, .9998."""
    nines = int(np.ceil(-np.log10(max(1 - cosine, 1e-6))))
    return f"{cosine:.{min(6, max(2, nines + 1))}f}"


def _span(lengths: np.ndarray) -> str:
    """The shortest and the longest, as "0.4 to 36,000"."""
    low, high = float(lengths.min()), float(lengths.max())
    said = [f"{v:,.0f}" if v >= 10 else f"{v:.2g}" for v in (low, high)]
    return said[0] if said[0] == said[1] else " to ".join(said)
