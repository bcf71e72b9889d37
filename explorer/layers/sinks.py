"""Which token holds the mean? Length of every token's state, layer by layer, and what each token adds to the mean.

In causal language models the state of one token, mostly the first, may be a hundred times longer than the others': an
attention sink (Xiao et al. 2024, arXiv 2309.17453) with massive activations (Sun et al. 2024, arXiv 2402.17762). A mean
over the tokens is then that token, whatever the text says.

    found = sinks_of(encoder, "a text")            # norms, shares and sinks [L, T]
    found.sentences                                # the same in words and numbers

The share of token t in the mean m of T states h is exact: m is the sum of all h_t / T, so that the shares
h_t · m / (T |m|²) sum to 1. A token that points away from the mean has a share below 0. Many texts: `sink_table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..attention_check import consecutive
from ..designs import MEANING, Design
from ..encoder import Kind, PooledEncoder
from ..errors import InputError
from ..token_selection import Tokens, counted_tokens
from .words import Spelling, spell

TIMES = 10.0
"""A token is a sink of a layer if its state is longer than so many times the median of the text's other tokens.

Ten times the usual norm is what Darcet et al. (2024, arXiv 2309.16588) found of outlier tokens in vision transformers.
In SmolLM2-135M sinks have 12 to 170 times the median; before them, in layers 3 to 8, the first token has 6 to 9 times.
"""

LESS: Tokens = "without-first"
"""The tokens whose mean is set against that of all."""

NAMED = 3
"""Sinks that a sentence names at most."""

RULE = (
    f"A token counts as a sink (×) if its state is longer than {TIMES:g} times the median of the other tokens’ states."
)

# ---------------------------------------------------------------------------------------------------------- arithmetic


def decompose(states: Tensor, counted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take the mean of each text's states apart into its tokens.

    :param states: [B, T, d], of one layer.
    :param counted: [B, T], 1 for the tokens that the mean is taken over, 0 for others and for padding.
    :return: norms [B, T] of all states; shares [B, T] of the mean, 0 where not counted, sum 1; cosines [B, T] with it.
    """
    states = states.float()
    weights = counted / counted.sum(1, keepdim=True)
    # Padded states may hold anything, even nan: zero weight alone would keep it.
    kept = states.masked_fill(~counted.bool()[..., None], 0.0)
    mean = torch.einsum("bt,btd->bd", weights, kept)
    along = torch.einsum("btd,bd->bt", states, mean)
    norms, length = states.norm(dim=-1), mean.norm(dim=-1, keepdim=True)
    tiny = torch.finfo(torch.float32).tiny
    shares = (weights * along / length.square().clamp(min=tiny)).masked_fill(~counted.bool(), 0.0)
    return norms, shares, along / (norms * length).clamp(min=tiny)


def median_of_others(norms: np.ndarray) -> np.ndarray:
    """[..., T]: for each token the median of the other tokens' norms; nan where there is no other.

    Taking one number out of a sorted row moves those after it by one place, so no row is sorted twice.
    """
    count = norms.shape[-1]
    if count < 2:
        return np.full(norms.shape, np.nan)
    order = np.argsort(norms, axis=-1, kind="stable")
    place = np.argsort(order, axis=-1, kind="stable")  # of each token in the sorted row
    ordered = np.take_along_axis(norms, order, -1)
    low, high = (count - 2) // 2, (count - 1) // 2  # the middle of the count - 1 others
    picked = [np.take_along_axis(ordered, np.where(place <= k, k + 1, k), -1) for k in (low, high)]
    return (picked[0] + picked[1]) / 2


def marked(norms: np.ndarray) -> np.ndarray:
    """bool [..., T]: which tokens are sinks by the rule of `TIMES`, of norms [..., T] of one text."""
    with np.errstate(invalid="ignore"):
        return norms > TIMES * median_of_others(norms)


def measure(encoder: PooledEncoder, ids: Tensor, mask: Tensor, *counted: Tensor) -> np.ndarray:
    """Norms, then shares and cosines for each of `counted` [B, T]: float32 [1 + 2 · len(counted), L, B, T].

    :raise InputError: if the variant was unloaded.
    """
    if encoder._closed:
        raise InputError(f"'{encoder.name}' was unloaded; load it again")

    def take(_: int, states: Tensor) -> Tensor:
        found = [decompose(states, of) for of in counted]
        return torch.stack([found[0][0], *(part for _, *parts in found for part in parts)])

    with torch.inference_mode():
        layers = encoder.backbone.each_layer(ids, mask, encoder.design.attention, take, encoder.adapter)
        return torch.stack(layers, dim=1).cpu().numpy()


# ------------------------------------------------------------------------------------------------------------ one text


@dataclass(frozen=True, eq=False)
class TextSinks:
    """The tokens of one text in every layer of a variant. Layers are numbered 1..L, row 0 is layer 1."""

    variant: str
    design: Design
    tokens: Tokens
    """Over which tokens this variant takes a mean, where it takes one."""
    text: str
    kind: Kind
    spelling: Spelling
    norms: np.ndarray
    """[L, T]: length of each token's state."""
    shares: np.ndarray
    """[L, T]: what each token holds of the mean of all tokens, sum 1."""
    cosines: np.ndarray
    """[L, T]: of each token's state with that mean."""
    rest: np.ndarray
    """[L, T]: shares of the mean without the first token and special ones; 0 for these."""

    @property
    def sinks(self) -> np.ndarray:
        """bool [L, T]"""
        return marked(self.norms)

    @property
    def layers(self) -> list[int]:
        """Numbers of the layers with a sink."""
        return [int(i) + 1 for i in np.flatnonzero(self.sinks.any(1))]

    @property
    def held(self) -> np.ndarray:
        """[L]: what the sinks of a layer hold of its mean together; 0 where there is none."""
        return np.where(self.sinks, self.shares, 0).sum(1)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What stands above the picture: the sinks, the mean without them, and what this variant reads."""
        return (self._sinks_told(), self._rest_told(), self._own_told())

    def _sinks_told(self) -> str:
        count = self.norms.shape[1]
        if not self.layers:
            layer, token = np.unravel_index(self.shares.argmax(), self.shares.shape)
            return (
                f"No token is a sink: none holds more than {percent(self.shares.max())} of the mean in any layer "
                f"({self._name(int(token))} in layer {layer + 1}; if all {count} tokens held alike, each would hold "
                f"{percent(1 / count)})."
            )
        rows = [layer - 1 for layer in self.layers]
        often = Counter(int(token) for row in rows for token in np.flatnonzero(self.sinks[row]))
        names = [self._name(token) for token, _ in often.most_common(NAMED)]
        who = f"one token ({names[0]}) is a sink"
        if len(often) > 1:
            who = f"{len(often)} tokens ({', '.join([*names, *(['…'] if len(often) > NAMED else [])])}) are sinks"
        held = self.held
        row = int(held.argmax())
        many = self.sinks[row].sum() > 1
        longest = int(self.norms[row].argmax())
        others = float(median_of_others(self.norms[row])[longest])
        hold, name = "they hold" if many else "it holds", self._name(longest)
        return (
            f"{sentence_case(in_words(self.layers, len(held)))}, {who}. In layer {row + 1} {hold} {percent(held[row])} "
            f"of the mean of all {count} tokens: the state of {name} has norm {self.norms[row, longest]:,.0f}, the "
            f"others {others:,.0f} (median), and its cosine with the mean is {self.cosines[row, longest]:.4f}."
        )

    def _rest_told(self) -> str:
        layer, token = np.unravel_index(self.rest.argmax(), self.rest.shape)
        count = int((self.rest != 0).any(0).sum())
        return (
            f"In the mean of {MEANING[LESS]} ({count} here) no token holds more than {percent(self.rest.max())} "
            f"({self._name(int(token))} in layer {layer + 1})."
        )

    def _own_told(self) -> str:
        if self.design.pooling == "mean":
            return f"This variant reads the last layer’s mean of {MEANING[self.tokens]}."
        if self.design.states == "layer-means":
            return f"This variant reads every layer’s mean of {MEANING[self.tokens]}."
        return "This variant reads no mean of tokens; a probe of its layers by their means would."

    def _name(self, token: int) -> str:
        return f"“{self.spelling.tokens[token][:24]}”"

    def _longest(self, row: int) -> dict[str, Any]:
        """The token with the longest state of a layer."""
        token = int(self.norms[row].argmax())
        others = float(median_of_others(self.norms[row])[token])
        return {
            "token": self.spelling.tokens[token],
            "norm": float(self.norms[row, token]),
            "norm_others": None if np.isnan(others) else others,
            "share": float(self.shares[row, token]),
            "cosine": float(self.cosines[row, token]),
            "sink": bool(self.sinks[row, token]),
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "text": self.text.encode("utf-8", "replace").decode("utf-8"),
            "kind": self.kind,
            "layers": list(range(1, len(self.norms) + 1)),
            "tokens": [
                {"token": token, "role": role}
                for token, role in zip(self.spelling.tokens, self.spelling.roles, strict=True)
            ],
            "longest": [self._longest(row) for row in range(len(self.norms))],
            "norms": self.norms.tolist(),
            "shares": self.shares.tolist(),
            "cosines": self.cosines.tolist(),
            "shares_without_first": self.rest.tolist(),
            "sinks": [np.flatnonzero(row).tolist() for row in self.sinks],
            "rule": RULE,
            "sentences": list(self.sentences),
        }


def percent(share: float) -> str:
    """A share as people write it: "99.8 %", "12 %", "0.4 %"."""
    value = 100 * float(share)
    return f"{value:.1f} %" if value > 95 or value < 10 else f"{value:.0f} %"


def sentence_case(phrase: str) -> str:
    """With a capital at its beginning."""
    return phrase[:1].upper() + phrase[1:]


def in_words(layers: Sequence[int], last: int) -> str:
    """Layer numbers in order as words: "in layers 3 and 7 to 9", "from layer 12 on" where they reach the last one."""
    runs = consecutive(layers)
    if len(runs) == 1 and len(runs[0]) == last:
        return "in every layer"
    if len(runs) == 1 and len(runs[0]) > 1 and runs[0][-1] == last:
        return f"from layer {runs[0][0]} on"
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"in layer{'' if len(layers) == 1 else 's'} {listed}"


def sinks_of(encoder: PooledEncoder, text: str, kind: Kind = "document") -> TextSinks:
    """Norms and shares of the tokens of one text, prompt included.

    :raise InputError: for an empty text, or a variant that was unloaded.
    """
    backbone = encoder.backbone
    spelling = spell(backbone, text, encoder.texts.prompt(kind), encoder.texts.max_length)
    ids, mask = backbone.pad([spelling.ids])
    norms, shares, cosines, rest, _ = measure(
        encoder, ids, mask, mask, counted_tokens(ids, mask, LESS, backbone.special_tokens)
    )[:, :, 0]
    return TextSinks(
        encoder.name, encoder.design, encoder.texts.tokens, text, kind, spelling, norms, shares, cosines, rest
    )
