"""What every state adds to the attention output: norms instead of weights (Kobayashi et al. 2020, arXiv 2004.10102).

A weight says how much a state is looked at, not how much of it arrives: a long value vector under a small weight can
count for more than a short one under a large weight. With A the weights, V the values and W_o cut into heads,

    c[l, i] = sum_h A[h, l, i] V[h, i] W_o[h]        sum_i c[l, i] = the attention output of latent l

holds exactly, and the norm of c[l, i] is the contribution of state i (a layer or a token) to latent l.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..pooling import CrossAttentionPooler


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
    """The trained layer matrix E [L, d] of a multi-layer pooler."""

    norms: np.ndarray
    """[L]: length of each row."""
    cosines: np.ndarray
    """[L, L]: cosine between rows; 0 where a row has no length."""


def layer_matrix(pooler: object) -> LayerMatrix | None:
    """Norms and cosines of E; None for a pooler that has none."""
    rows = getattr(pooler, "layer_matrix", None)
    if rows is None:
        return None
    matrix = rows.detach().float().cpu().numpy()
    norms = np.linalg.norm(matrix, axis=1)
    unit = matrix / np.maximum(norms, 1e-12)[:, None]
    return LayerMatrix(norms, unit @ unit.T)
