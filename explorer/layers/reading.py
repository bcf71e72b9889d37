"""What a variant reads of one text: weights over layers and over tokens, contributions, and every step between.

    reading = read(encoder, "a text")         # a PooledEncoder of whatever design
    reading.layers.mean                       # [L], sum 1: layers are numbered 1..L, as in the paper
    reading.layers.heads, reading.layers.latents, reading.tokens.mean, reading.contributions.share

A trained pooler reads either the layers or the tokens; over the other, and for designs without a trained pooler over
both, the weights are fixed by the design, and a sentence says so. Attention is not explanation: what a layer does to
rankings is tested in ablation.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..backbone import Backbone
from ..designs import MEANING, Design, Tokens
from ..encoder import Encoder, Kind, PooledEncoder
from ..errors import InputError
from ..pooling import CrossAttentionPooler
from ..token_selection import counted_tokens
from .contributions import Contributions, LayerMatrix, contributions_of, layer_matrix
from .latents import LatentGroups, group_latents
from .trace import Step, trace
from .words import Spelling, spell

NOT_EXPLANATION = "Attention is not explanation: a weight says what is looked at, not what it does to a ranking."
"""Stands by every picture of weights; the ablation tests it."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A of one text: what every latent of every head reads of n layers or tokens."""

    values: np.ndarray
    """[heads, N, n], sum 1 over n. A fixed distribution has one head and one latent."""
    learned: bool
    """Whether a trained pooler chose them for this text; else the design fixes them."""
    sentence: str = ""
    """What fixed weights amount to."""

    @property
    def mean(self) -> np.ndarray:
        """[n]: over heads and latents."""
        return self.values.mean((0, 1))

    @property
    def heads(self) -> np.ndarray:
        """[heads, n]: mean over latents."""
        return self.values.mean(1)

    @property
    def latents(self) -> np.ndarray:
        """[N, n]: mean over heads."""
        return self.values.mean(0)

    @property
    def uniform(self) -> float:
        """1/n: the weight of each if all were read alike."""
        return 1 / self.values.shape[-1]

    @cached_property
    def entropy(self) -> np.ndarray:
        """[heads, N] in bits: 0 reads one place alone, log2 n reads all alike."""
        safe = np.where(self.values > 0, self.values, 1)
        return np.maximum(0, -(self.values * np.log2(safe)).sum(-1))

    @property
    def effective(self) -> float:
        """2^entropy of the mean: over how many places the weight is spread, between 1 and n."""
        mean = self.mean[self.mean > 0]
        return float(2 ** -(mean * np.log2(mean)).sum())

    @cached_property
    def groups(self) -> LatentGroups:
        """Latents grouped by what they read."""
        return group_latents(self.latents)

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": self.mean.tolist(),
            "heads": self.heads.tolist(),
            "latents": self.latents.tolist(),
            "uniform": self.uniform,
            "entropy": {
                "unit": "bits",
                "heads": self.entropy.mean(1).tolist(),
                "latents": self.entropy.mean(0).tolist(),
                "mean": float(self.entropy.mean()),
                "uniform": float(np.log2(self.values.shape[-1])),
            },
            "effective": self.effective,
            "learned": self.learned,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, eq=False)
class Reading:
    """What one variant reads of one text."""

    variant: str
    design: Design
    text: str
    kind: Kind
    spelling: Spelling
    layers: Weights
    tokens: Weights
    vector: np.ndarray
    """[d], unit length: the embedding, the same that search uses."""
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    """Sentences: where the text was cut, where the final norm applies."""
    contributions: Contributions | None = None
    """Of what the trained pooler reads, layers or tokens; None without a trained pooler."""
    matrix: LayerMatrix | None = None
    """E of a multi-layer pooler, and what it contributes to this text's vector."""

    @property
    def over(self) -> str:
        """What the pooler itself reads: "layers" or "tokens"."""
        return "layers" if self.design.pooling == "multi-layer" else "tokens"

    @property
    def words(self) -> np.ndarray:
        """[W]: mean weight of each word of `spelling`."""
        return self.spelling.join(self.tokens.mean)

    def to_json(self) -> dict[str, Any]:
        """The document of `layers --json`."""
        roles = zip(self.spelling.tokens, self.spelling.roles, self.tokens.mean.tolist(), strict=True)
        words = zip(self.spelling.words, self.words.tolist(), strict=True)
        groups, c, e = self.layers.groups, self.contributions, self.matrix
        return {
            "variant": self.variant,
            "text": self.text.encode("utf-8", "replace").decode("utf-8"),
            "kind": self.kind,
            "over": self.over,
            "layers": list(range(1, self.layers.values.shape[-1] + 1)),
            **self.layers.to_json(),
            "groups": {"latents": groups.labels.tolist(), "means": groups.means.tolist(), "sizes": groups.sizes},
            "tokens": [{"token": t, "role": r, "weight": w} for t, r, w in roles],
            "words": [{"word": w.text, "role": w.role, "start": w.start, "end": w.end, "weight": v} for w, v in words],
            "token_weights": {"learned": self.tokens.learned, "sentence": self.tokens.sentence}
            | ({"heads": self.tokens.heads.tolist()} if self.tokens.learned else {}),
            "contributions": None
            if c is None
            else {
                "mean": c.mean.tolist(),
                "share": c.share.tolist(),
                "along": c.along.tolist(),
                "heads": c.heads.tolist(),
            },
            "layer_matrix": None if e is None else e.to_json(),
            "steps": [step.to_json() for step in self.steps],
            "notes": list(self.notes),
            "caution": NOT_EXPLANATION,
        }


def pooled(encoder: Encoder) -> PooledEncoder:
    """The encoder, if it is one whose layers can be read. Raises `InputError` for one that keeps them to itself."""
    if not isinstance(encoder, PooledEncoder):
        raise InputError(f"'{encoder.name}' keeps its layers to itself; choose a variant of a backbone")
    return encoder


@torch.inference_mode()
def read(encoder: Encoder, text: str, kind: Kind = "document") -> Reading:
    """Weights, contributions and steps of one text. Raises `InputError` for an empty text or an unfit encoder."""
    encoder = pooled(encoder)
    backbone, design = encoder.backbone, encoder.design
    spelling = spell(backbone, text, encoder.texts.prompt(kind), encoder.texts.max_length)
    ids, mask = backbone.pad([spelling.ids])
    whole = [encoder.texts.prompt(kind) + text]
    lengths = encoder.prompt_lengths(whole, kind)
    prompts = None if lengths is None else torch.tensor(lengths, device=ids.device)
    states, state_mask = encoder.states(ids, mask, prompts)
    vector, a = encoder.pooler(states, state_mask, return_weights=True)
    tokens = encoder.texts.tokens
    counted = counted_tokens(ids, mask, tokens, backbone.special_tokens, prompts)[0].cpu().numpy()
    learned = design.trainable_pooler and not design.one_token
    before = len(spelling.ids) - 1 if design.one_token else 0
    a = F.pad(a, (before, 0))  # where the end token alone is read, the tokens before it have weight 0
    fixed = "" if learned else token_sentence(design, counted, tokens)
    own = Weights((a[0, :1, :1] if design.one_token else a[0]).float().cpu().numpy(), learned, fixed)
    contributions = None
    if isinstance(encoder.pooler, CrossAttentionPooler):
        _, values = encoder.pooler.keys_values(states.to(encoder.pooler.latents.dtype))
        contributions = contributions_of(encoder.pooler, a[0], F.pad(values[0], (0, 0, before, 0)))
    multi = design.pooling == "multi-layer"
    norm = final_norm(backbone)
    return Reading(
        encoder.name, design, text, kind, spelling,
        own if multi else last_layer_alone(backbone.layers),
        through_summary(design, counted, tokens) if multi else own,
        vector[0].float().cpu().numpy(),
        tuple(trace(encoder.pooler, states[0], len(spelling.ids), design.states, norm, state_mask[0], tokens)),
        tuple(note for note in (spelling.note, norm, *encoder.notes) if note),
        contributions, layer_matrix(encoder.pooler, states[0]),
    )  # fmt: skip


def last_layer_alone(layers: int) -> Weights:
    """The weights over layers of every design that reads the last one."""
    values = np.zeros((1, 1, layers), np.float32)
    values[..., -1] = 1
    return Weights(values, False, f"This design reads the last layer alone: weight 1 on layer {layers}, for any text.")


def through_summary(design: Design, counted: np.ndarray, tokens: Tokens = "all") -> Weights:
    """The weights over tokens of a multi-layer design, which sees one state of every layer.

    `counted` [T]: 1 for the tokens that its means are taken over, 0 for others.
    """
    values = (counted / counted.sum()).astype(np.float32)[None, None]
    if design.states == "layer-eos":
        values = np.zeros((1, 1, len(counted)), np.float32)
        values[..., -1] = 1
    return Weights(values, False, token_sentence(design, counted, tokens))


def token_sentence(design: Design, counted: np.ndarray, tokens: Tokens = "all") -> str:
    """What fixed weights over tokens amount to: those of all designs but last-layer poolers that read all tokens."""
    if design.one_token:
        return "This release reads one token, the end token: its weights are 1 by construction, for any text."
    of, count = len(counted), int(counted.sum())
    left_out = "" if count == of else f", 0 on the other {of - count}"
    if design.pooling == "eos":
        return "This design reads the end token alone: weight 1 on it, for any text."
    if design.pooling == "mean":
        if tokens == "all":
            return f"This design reads all tokens alike: weight 1/{of} on each of the {of}."
        return f"This variant reads {MEANING[tokens]} alike: weight 1/{count} on each of these {count}{left_out}."
    if design.states == "layer-eos":
        return "Of every layer this design reads the end token alone: weight 1 on it, for any text."
    if tokens == "all":
        return f"Of every layer this design reads the mean of all tokens: weight 1/{of} on each of the {of}."
    return (
        f"Of every layer this variant reads the mean of {MEANING[tokens]}: weight 1/{count} on each of these "
        f"{count}{left_out}."
    )


def final_norm(backbone: Backbone) -> str:
    """A sentence if the backbone ends with a norm, which makes its last layer's state unlike the others'."""
    if not any("norm" in type(child).__name__.lower() for child in backbone.model.children()):
        return ""
    return (
        f"Layer {backbone.layers} is read after the model's final norm, the layers below as they are: "
        "its length does not compare with theirs."
    )


@dataclass(frozen=True, eq=False)
class WeightDifference:
    """Weights of one reading minus those of another."""

    mean: np.ndarray
    """[n]"""
    heads: np.ndarray | None
    """[heads, n]; None where the two have different numbers of heads."""


def difference(a: Weights, b: Weights) -> WeightDifference:
    """a minus b over the same places. Raises `InputError` if they are over different numbers of them."""
    if a.values.shape[-1] != b.values.shape[-1]:
        raise InputError(
            f"weights over {a.values.shape[-1]} and over {b.values.shape[-1]} places have no difference; "
            "compare variants with the same number of layers"
        )
    alike = a.values.shape[0] == b.values.shape[0]
    return WeightDifference(a.mean - b.mean, a.heads - b.heads if alike else None)


def check_layers(numbers: Sequence[int], layers: int) -> list[int]:
    """Layer numbers, each once and in order. Raises `InputError` for one outside 1..L."""
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 1 <= number <= layers:
            raise InputError(f"there is no layer {number}; this backbone has layers 1 to {layers}")
    return sorted({int(n) for n in numbers})
