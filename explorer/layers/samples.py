"""What the multi-layer pooler reads of many texts: each layer's weight as a distribution, and two groups compared.

sample = sample_weights(encoder, states, "documents")     # states [m, L, d], as LayerStates has them
sample.quartiles, contrast(sample, other).mean
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..encoder import PooledEncoder
from ..errors import InputError
from ..pooling import CrossAttentionPooler
from .reading import last_layer_alone

BATCH_BYTES = 64 << 20
"""Memory of the weights of one batch."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class WeightSample:
    """Weights over layers of a group of texts."""

    name: str
    """The group: "documents", "queries", a label."""
    values: np.ndarray
    """[m, L]: mean weight of each layer, text by text."""
    heads: np.ndarray
    """[heads, L]: mean over texts and latents."""
    latents: np.ndarray
    """[N, L]: mean over texts and heads."""
    learned: bool
    sentence: str = ""
    """What fixed weights amount to."""

    @property
    def n(self) -> int:
        """Texts."""
        return len(self.values)

    @property
    def mean(self) -> np.ndarray:
        """[L]"""
        return self.values.mean(0)

    @property
    def quantiles(self) -> np.ndarray:
        """[5, L]: 5 %, first quartile, median, third quartile, 95 %."""
        return np.quantile(self.values, QUANTILES, axis=0)

    def to_json(self) -> dict[str, Any]:
        low, first, median, third, high = self.quantiles.tolist()
        return {
            "name": self.name,
            "texts": self.n,
            "learned": self.learned,
            "sentence": self.sentence,
            "mean": self.mean.tolist(),
            "median": median,
            "quartiles": [first, third],
            "p5": low,
            "p95": high,
            "heads": self.heads.tolist(),
            "latents": self.latents.tolist(),
        }


def sample_weights(encoder: PooledEncoder, states: np.ndarray, name: str) -> WeightSample:
    """Weights of every text from its layer states [m, L, d]; fixed ones for designs that read the last layer alone."""
    if not len(states):
        raise InputError(f"there are no texts in the group '{name}'")
    pooler = encoder.pooler
    if encoder.design.pooling != "multi-layer" or not isinstance(pooler, CrossAttentionPooler):
        return fixed_weights(encoder, len(states), name)
    c = pooler.config
    batch = max(1, BATCH_BYTES // (4 * c.heads * c.latents * c.layers))
    heads, latents = np.zeros((c.heads, c.layers)), np.zeros((c.latents, c.layers))
    values = np.empty((len(states), c.layers), np.float32)
    for start in range(0, len(states), batch):
        with torch.inference_mode():
            part = torch.as_tensor(states[start : start + batch]).to(encoder.backbone.device, pooler.latents.dtype)
            a = pooler.attention(pooler.keys_values(part)[0], None)  # [B, heads, N, L]
            values[start : start + len(part)] = a.mean((1, 2)).cpu().numpy()
            heads += a.mean(2).sum(0).cpu().numpy()
            latents += a.mean(1).sum(0).cpu().numpy()
    return WeightSample(name, values, heads / len(states), latents / len(states), True)


def fixed_weights(encoder: PooledEncoder, count: int, name: str) -> WeightSample:
    """The weights of `count` texts for a design that reads the last layer alone; no text is needed to know them."""
    fixed = last_layer_alone(encoder.backbone.layers)
    values = np.repeat(fixed.mean[None], count, 0)
    return WeightSample(name, values, fixed.heads, fixed.latents, False, fixed.sentence)


@dataclass(frozen=True, eq=False)
class Contrast:
    """Mean weights of group a minus those of group b, with the interval in which the true difference lies."""

    a: str
    b: str
    texts: tuple[int, int]
    mean: np.ndarray
    """[L]"""
    low: np.ndarray
    high: np.ndarray
    """[L]: 95 % interval (Welch); equal to `mean` where a group has one text or nothing varies."""
    heads: np.ndarray | None
    """[heads, L]; None where the two have different numbers of heads."""
    latents: np.ndarray | None

    def to_json(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "texts": list(self.texts),
            "mean": self.mean.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "heads": None if self.heads is None else self.heads.tolist(),
        }


def contrast(a: WeightSample, b: WeightSample) -> Contrast:
    """a minus b: two labels, queries and documents, or two variants. Raises `InputError` if their layers differ."""
    if a.values.shape[1] != b.values.shape[1]:
        raise InputError(
            f"'{a.name}' has weights of {a.values.shape[1]} layers and '{b.name}' of {b.values.shape[1]}: "
            "only variants with the same number of layers compare"
        )
    mean = a.mean - b.mean
    margin = np.zeros_like(mean)
    if min(a.n, b.n) > 1:
        from scipy import stats

        va, vb = a.values.var(0, ddof=1) / a.n, b.values.var(0, ddof=1) / b.n
        freedom = (va + vb) ** 2 / np.maximum(va**2 / (a.n - 1) + vb**2 / (b.n - 1), 1e-30)
        margin = stats.t.ppf(0.975, np.maximum(freedom, 1)) * np.sqrt(va + vb)
    return Contrast(
        a.name, b.name, (a.n, b.n), mean, mean - margin, mean + margin,
        a.heads - b.heads if a.heads.shape == b.heads.shape else None,
        a.latents - b.latents if a.latents.shape == b.latents.shape else None,
    )  # fmt: skip
