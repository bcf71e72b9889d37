"""A backbone with a fresh adapter and a pooler as the one module of a SentenceTransformer, and the losses.

Texts become tokens as in serving (end token, prompts, length), states come from `Backbone.states`, and gradients reach
adapter and pooler. The backbone is a dedicated one: nothing else may use it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Module
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from torch import Tensor, nn

from .backbone import Backbone
from .designs import Design
from .encoder import TextSettings, pack
from .errors import InputError
from .pooling import CrossAttentionPooler, LayerMatrixPlace, Pooler, PoolerConfig, build_pooler
from .token_selection import Tokens, counted_tokens
from .training_config import TrainingConfig
from .training_data import Pair

ADAPTER = "training"
"""Name of the adapter that is trained."""

CPU_TOKENS = 2048
"""Tokens run at once on a CPU: larger matrices leave the caches, and texts of other lengths only pad each other."""


class TrainableEncoder(Module):
    """{"input_ids", "attention_mask"} [B, T] -> the same and "sentence_embedding" [B, d], unit length."""

    def __init__(self, backbone: Backbone, design: Design, pooler: Pooler, tokens: Tokens = "all") -> None:
        """`tokens`: which a mean is taken over; with "text" the features hold "prompt_length" [B]."""
        super().__init__()
        self.backbone, self.design, self.tokens = backbone, design, tokens
        self.special = backbone.special_tokens
        self.model, self.pooler = backbone.model, pooler
        half = backbone.dtype != torch.float32 and backbone.device.type != "cpu"
        self._autocast = (backbone.device.type, backbone.dtype) if half else None

    def forward(self, features: dict[str, Tensor | Any], **_: Any) -> dict[str, Tensor | Any]:
        ids, mask = features["input_ids"], features["attention_mask"]
        counted = counted_tokens(ids, mask, self.tokens, self.special, features.get("prompt_length"))
        return {**features, "sentence_embedding": self._embed(ids, mask, counted)}

    def _embed(self, ids: Tensor, mask: Tensor, counted: Tensor) -> Tensor:
        """On a CPU in batches of texts of like length: the same vectors, and less padding computed, if any."""
        if self.backbone.device.type != "cpu":
            return self._embed_at_once(ids, mask, counted)
        lengths = mask.sum(1)
        order = lengths.argsort(descending=True, stable=True).tolist()
        rows_of = [range(int(n)) for n in lengths]
        padded = not self.backbone.packs(self.design.attention)
        parts, at = [], 0
        while at < len(order):
            rows = pack(order, at, rows_of, CPU_TOKENS, padded)
            longest = len(rows_of[rows[0]])
            parts.append(self._embed_at_once(*(t[rows, :longest] for t in (ids, mask, counted))))
            at += len(rows)
        back = torch.tensor(order).argsort()
        return torch.cat(parts)[back]

    def _embed_at_once(self, ids: Tensor, mask: Tensor, counted: Tensor) -> Tensor:
        with torch.autocast(*self._autocast) if self._autocast else nullcontext():
            means = counted if self.design.means else None
            states, state_mask = self.backbone.states(ids, mask, **_reading(self.design), counted=means)
            return self.pooler(states, state_mask)

    def trained(self) -> dict[str, nn.Parameter]:
        """Name -> parameter of everything that is trained."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Checkpoints are written by the trainer; this module alone has no file format of its own."""
        raise NotImplementedError("a trained variant is saved by PooledEncoder.save")


def build(config: TrainingConfig, backbone: Backbone) -> TrainableEncoder:
    """Adapter and pooler as the configuration asks, put on a dedicated backbone.

    Both start from the seed, each by itself: the adapter's start does not depend on the design's pooler.
    Raises `InputError` for pooler sizes or a start that the design cannot have.
    """
    torch.manual_seed(config.seed)
    silence_dropout(backbone.model)
    if backbone.device.type == "cpu" and backbone.dtype == torch.bfloat16:
        # torch's fused attention is several times slower than plain products there once gradients are asked for.
        backbone.model.set_attn_implementation("eager")
    backbone.new_adapter(ADAPTER, config.lora_rank, config.lora_alpha, config.lora_dropout)
    torch.manual_seed(config.seed)
    pooler = build_pooler(config.chosen, backbone.width, backbone.layers, pooler_config(config, backbone))
    if isinstance(pooler, CrossAttentionPooler):
        start(pooler, config, backbone)
    module = TrainableEncoder(backbone, config.chosen, pooler.to(backbone.device, torch.float32), config.tokens)
    if config.gradient_checkpointing:
        backbone.model.gradient_checkpointing_enable({"use_reentrant": False})
    with torch.no_grad():  # proves the attention before anything long begins
        backbone.states(*backbone.pad(backbone.tokenize(["x"])), **_reading(config.chosen))
    return module


def start(pooler: CrossAttentionPooler, config: TrainingConfig, backbone: Backbone) -> None:
    """Give a fresh pooler the weights that `pooler_init` names; `random` are those that it has."""
    if config.pooler_init == "paper":
        pooler.init_as_paper()
    elif config.pooler_init != "random":
        last = config.pooler_init == "near-last" and pooler.config.layers > 0
        pooler.init_near_mean(sample_states(backbone, config.chosen, config.tokens) if last else None)


def _reading(design: Design) -> dict[str, Any]:
    """How a design reads the backbone."""
    return {"attention": design.attention, "read": design.states, "adapter": ADAPTER}


def pooler_config(config: TrainingConfig, backbone: Backbone) -> PoolerConfig | None:
    """Sizes of the pooler, those left at 0 by the backbone's width; None for designs without a trainable pooler.

    The layer matrix is added after the norm, where it counts on every backbone; before it in the paper's start.
    """
    asked = {name: getattr(config, name) for name in ("latents", "heads", "head_dim") if getattr(config, name)}
    if not config.chosen.trainable_pooler:
        if asked:
            raise InputError(f"{config.design} has no trainable pooler, so {', '.join(asked)} cannot be set")
        return None
    layers = backbone.layers if config.chosen.pooling == "multi-layer" else 0
    default = PoolerConfig.default(backbone.width, layers)
    head_dim = config.head_dim or default.head_dim
    heads = config.heads or max(1, backbone.width // head_dim)
    place: LayerMatrixPlace = "after-norm" if layers and config.pooler_init != "paper" else "before-norm"
    if layers and config.layer_matrix != "auto":
        place = config.layer_matrix
    return PoolerConfig(backbone.width, config.latents or default.latents, heads, head_dim, layers, place)


SAMPLE = (
    "How do I delete a folder and everything in it?",
    "The cat sat on the mat.",
    "Paris is the capital of France, and its largest city.",
    "Return the smallest number that is larger than all others; raise ValueError if there is none.",
    "good morning",
    "Interest rates rose for the third time this year.",
)
"""Texts of several kinds, to see how long a backbone's states are and where they lie."""


def sample_states(backbone: Backbone, design: Design, tokens: Tokens) -> Tensor:
    """Layer states [B, L, d] of a few texts, by which `near-last` measures what it adds."""
    ids, mask = backbone.pad(backbone.tokenize(SAMPLE))
    counted = counted_tokens(ids, mask, tokens, backbone.special_tokens) if design.means else None
    with torch.no_grad():
        return backbone.states(ids, mask, **_reading(design), counted=counted)[0]


def silence_dropout(model: nn.Module) -> None:
    """Turn the backbone's own dropout off: the paper's backbones have none, and LoRA brings its own."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout_prob", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


# ------------------------------------------------------------------------------------------------------- text to tokens


class Collator:
    """Pairs -> what the trainer takes: `query_input_ids`, `query_attention_mask`, `positive_…`, `negative_1_…`.

    With a guide, `label` [B, columns, d] holds its vectors of the same texts.
    """

    valid_label_columns = ("label",)

    def __init__(self, backbone: Backbone, texts: TextSettings, guide: GuideVectors | None = None) -> None:
        self.backbone, self.texts, self.guide = backbone, texts, guide

    def __call__(self, pairs: Sequence[Pair]) -> dict[str, Tensor]:
        negatives = min(len(pair.negatives) for pair in pairs)
        columns = {"query": [p.query for p in pairs], "positive": [p.positive for p in pairs]}
        columns |= {f"negative_{i + 1}": [p.negatives[i] for p in pairs] for i in range(negatives)}
        batch: dict[str, Tensor] = {}
        for name, texts in columns.items():
            prompts = [self.texts.prompt("document")] * len(pairs)
            if name == "query":
                prompts = [pair.instruction or self.texts.prompt("query") for pair in pairs]
            whole = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
            ids = self.backbone.tokenize(whole, self.texts.max_length)
            batch[f"{name}_input_ids"], batch[f"{name}_attention_mask"] = self.backbone.pad(ids)
            if self.texts.tokens == "text":
                lengths = [
                    self.backbone.prompt_lengths([text], prompt, self.texts.max_length)[0]
                    for prompt, text in zip(prompts, whole, strict=True)
                ]
                batch[f"{name}_prompt_length"] = torch.tensor(lengths, device=self.backbone.device)
        if self.guide is not None:
            label = np.stack([self.guide.vectors(texts, name == "query") for name, texts in columns.items()], axis=1)
            batch["label"] = torch.from_numpy(label).to(self.backbone.device)
        return batch


class GuideVectors:
    """The guide's vectors of all texts of a run, by text."""

    def __init__(self, queries: dict[str, int], documents: dict[str, int], rows: tuple[np.ndarray, np.ndarray]) -> None:
        self._queries, self._documents, self._rows = queries, documents, rows

    def vectors(self, texts: Sequence[str], are_queries: bool) -> np.ndarray:
        """float32 [n, d]."""
        places = self._queries if are_queries else self._documents
        return self._rows[0 if are_queries else 1][[places[text] for text in texts]]


# --------------------------------------------------------------------------------------------------------------- losses


def make_loss(model: Any, config: TrainingConfig, rows: int, micro_batch: int, processes: int) -> nn.Module:
    """In-batch negatives over all processes; GradCache where a process holds fewer rows in memory than it has."""
    options: dict[str, Any] = {"scale": config.scale, "gather_across_devices": processes > 1}
    if micro_batch >= rows:
        return _Guided(model, weight=config.guide_weight, **options)
    return _CachedGuided(model, weight=config.guide_weight, mini_batch_size=micro_batch, **options)


def distance_to_guide(embeddings: Sequence[Tensor], labels: Tensor) -> Tensor:
    """1 - cosine to the guide's vectors, averaged over all texts; a list of columns [B, d], labels [B, columns, d]."""
    ours = torch.stack([e.float() for e in embeddings], dim=1)
    return 1 - nn.functional.cosine_similarity(ours, labels.to(ours.dtype), dim=-1).mean()


class _Guided(MultipleNegativesRankingLoss):
    """The contrastive loss, plus `weight` times the distance to the guide where there is one."""

    def __init__(self, model: Any, weight: float, **options: Any) -> None:
        super().__init__(model, **options)
        self.weight = weight

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None) -> Tensor:
        embeddings = [self.model(features)["sentence_embedding"] for features in sentence_features]
        loss = self.compute_loss_from_embeddings(embeddings, labels)  # type: ignore[arg-type]
        if self.weight and labels is not None:
            loss = loss + self.weight * distance_to_guide(embeddings, labels)
        return loss


class _CachedGuided(CachedMultipleNegativesRankingLoss):
    """The same with GradCache."""

    def __init__(self, model: Any, weight: float, **options: Any) -> None:
        super().__init__(model, **options)
        self.weight = weight

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        loss = super().calculate_loss(reps, labels, with_backward=with_backward)
        if self.weight and labels is not None:
            extra = self.weight * distance_to_guide([torch.cat(column) for column in reps], labels)
            if with_backward:
                extra.backward()
                extra = extra.detach()
            loss = loss + extra
        return loss


def sentence_transformer(module: TrainableEncoder) -> SentenceTransformer:
    """The module as a model that sentence-transformers' trainer takes."""
    return SentenceTransformer(modules=[module], device=str(module.backbone.device))
