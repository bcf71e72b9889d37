"""A multi-layer pooler with layers switched off: masked, and the weights of the others renormalised.

    switched = Switched(pooler)
    vectors = switched.vectors(states, keeps)     # states [m, L, d], keeps [C, L] of 0/1 -> [C, m, d], unit length

Exactly `pooler(states, mask)` for every row of `keeps`, in a fraction of the time: nearly all of the pooler's work is
W_1 on every latent, and W_1 LN_x(X) is linear in X but for one number, the spread of X. X in turn is Z plus a mix of
V W_o, which does not depend on the mask. So W_1 runs once on V W_o, and each setting only mixes the results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import Cancelled
from ..pooling import CrossAttentionPooler, normalize
from ..store import Cancel, Progress
from .contributions import through_out

CHUNK_BYTES = 32 << 20
"""Memory of one batch's inner values: beyond the processor's caches larger batches gain nothing."""


class Switched:
    """Prepared from one multi-layer pooler, in float32 where it is."""

    def __init__(self, pooler: CrossAttentionPooler) -> None:
        self.pooler = pooler
        with torch.inference_mode():
            scale, shift = pooler.norm_mlp.weight.float(), pooler.norm_mlp.bias.float()
            w = pooler.mlp_in.weight.float()
            scaled = w * scale
            self.w = scaled - scaled.mean(1, keepdim=True)  # takes the mean off X: W_1 (γ (X - mean)) = w X
            self.b = w @ shift + pooler.mlp_in.bias.float()
            self.z = pooler.latents.float()
            self.wz = self.z @ self.w.T  # [N, 8d]

    def folds(self, settings: int) -> bool:
        """Whether running W_1 on V W_o of each head and layer pays for that many settings."""
        c = self.pooler.config
        places = c.heads * c.layers
        return places * (c.width + settings * c.latents) < settings * c.latents * c.width

    def vectors(
        self,
        states: np.ndarray | Tensor,
        keeps: np.ndarray | Sequence[Sequence[int]],
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> np.ndarray:
        """float32 [C, m, d]. Raises `Cancelled`, ValueError for a setting that keeps no layer."""
        masks = torch.as_tensor(np.asarray(keeps)).bool()
        if not bool(masks.any(1).all()):
            raise ValueError("a setting that keeps no layer")
        out = np.empty((len(masks), len(states), self.pooler.config.width), np.float32)
        fold = self.folds(len(masks))
        batch = self._batch(fold)
        for start in range(0, len(states), batch):
            if cancel is not None and cancel.is_set():
                raise Cancelled(f"stopped after {start:,} of {len(states):,} texts")
            part = torch.as_tensor(states[start : start + batch]).to(self.z.device)
            with torch.inference_mode():
                made = self._folded(part, masks) if fold else self._plain(part, masks)
                for c, vectors in enumerate(made):
                    out[c, start : start + len(part)] = vectors.cpu().numpy()
            if progress is not None:
                progress(min(start + batch, len(states)), len(states))
        return out

    def _batch(self, fold: bool) -> int:
        """Texts at once."""
        c = self.pooler.config
        rows = c.latents + (c.heads * c.layers if fold else 0)
        return max(1, CHUNK_BYTES // (4 * 8 * c.width * rows))

    def _plain(self, states: Tensor, masks: Tensor) -> Iterator[Tensor]:
        for keep in masks:
            yield self.pooler(states, keep.to(states.device).expand(len(states), -1))

    def _folded(self, states: Tensor, masks: Tensor) -> Iterator[Tensor]:
        p = self.pooler
        keys, values = p.keys_values(states.to(p.latents.dtype))
        per_head = through_out(p, values).flatten(1, 2)  # [B, heads * L, d]
        in_mlp = per_head @ self.w.T  # [B, heads * L, 8d]
        scores = torch.einsum("hld,bhnd->bhln", p.queries(), keys).float()  # [B, heads, N, L]
        inner = in_mlp.new_empty(len(states), *self.wz.shape)  # [B, N, 8d], used anew by every setting
        for keep in masks:
            off = ~keep.to(scores.device)
            weights = scores.masked_fill(off, float("-inf")).softmax(-1)
            mixing = weights.permute(0, 2, 1, 3).flatten(2)  # [B, N, heads * L]
            if int(keep.sum()) == 1:  # all weight on one layer: one mix for all latents
                mixing = mixing[:, :1]
            x = mixing @ per_head + self.z  # [B, N, d]
            variance = (x - x.mean(-1, keepdim=True)).square().mean(-1, keepdim=True)
            spread = (variance + p.norm_mlp.eps).rsqrt()  # [B, N, 1]
            torch.add(mixing @ in_mlp, self.wz, out=inner)
            value, gate = torch.addcmul(self.b, inner, spread, out=inner).chunk(2, dim=-1)
            hidden = value.mul_(F.gelu(gate)).mean(1).to(p.mlp_out.weight.dtype)
            yield normalize(x.mean(1) + p.mlp_out(hidden).float())
