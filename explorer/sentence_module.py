"""A variant as the one module of a SentenceTransformer. An export carries this file and those it imports.

    SentenceTransformer(folder, trust_remote_code=True).encode(["a text"])      # needs nothing of this package

pooled_encoder.json names design, what its pooler reads, its sizes, and the backbone where its weights are not beside.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from .designs import Reads, design
from .pooling import CrossAttentionPooler, PoolerConfig, build_pooler
from .states import StateReader
from .token_selection import Tokens, counted_tokens, prompt_length

CONFIG, POOLER, ADAPTER = "pooled_encoder.json", "pooler.safetensors", "adapter"


class PooledEncoderModule(InputModule):
    """Texts -> {"sentence_embedding"} [B, d], unit length."""

    config_file_name = CONFIG
    config_keys: list[str] = [  # noqa: RUF012
        "design", "reads", "tokens", "pooler_sizes", "max_seq_length", "backbone",
    ]  # fmt: skip
    save_in_root = True
    tokenizer: Any

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        design_name: str,
        pooler: Any,
        max_seq_length: int,
        backbone: str = "",
        reads: Reads = "all-tokens",
        tokens: Tokens = "all",
    ) -> None:
        """`backbone`: hub id of the weights if they are not kept beside; then the adapter is. `tokens`: which tokens
        a mean is taken over.
        """
        super().__init__()
        self.chosen = design(design_name, reads)
        self.model, self.pooler, self.tokenizer = model, pooler, tokenizer
        self.design, self.reads = self.chosen.name, self.chosen.reads
        self.tokens, self.max_seq_length, self.backbone = tokens, max_seq_length, backbone
        self.pooler_sizes = asdict(pooler.config) if isinstance(pooler, CrossAttentionPooler) else None
        self.reader = StateReader(model)

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: Any) -> dict[str, Tensor | Any]:
        """Tokens as in training: cut to the length with the end token kept; special tokens in a text stay text."""
        sound = [f"{prompt or ''}{text}".encode("utf-8", "replace").decode("utf-8") for text in inputs]
        options = {"truncation": True, "max_length": self.max_seq_length, "split_special_tokens": True}
        ids = self.tokenizer(sound, return_attention_mask=False, **options).input_ids
        longest = max(map(len, ids))
        tokens = torch.full((len(ids), longest), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for i, row in enumerate(ids):
            tokens[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
        features = {"input_ids": tokens, "attention_mask": mask}
        if self.tokens == "text" and prompt:
            told = self.tokenizer(sound, return_offsets_mapping=True, return_special_tokens_mask=True, **options)
            rows = zip(told.offset_mapping, told.special_tokens_mask, strict=True)
            features["prompt_length"] = torch.tensor([prompt_length(*row, len(prompt)) for row in rows])
        return features

    def forward(self, features: dict[str, Tensor | Any], **_: Any) -> dict[str, Tensor | Any]:
        """Adds "sentence_embedding" [B, d]."""
        self.reader.dtype = next(self.model.parameters()).dtype
        ids, mask = features["input_ids"], features["attention_mask"]
        counted = counted_tokens(ids, mask, self.tokens, self.tokenizer.all_special_ids, features.get("prompt_length"))
        states, mask = self.reader.states(
            ids, mask, self.chosen.attention, self.chosen.states, counted if self.chosen.means else None
        )
        return {**features, "sentence_embedding": self.pooler(states, mask)}

    def get_embedding_dimension(self) -> int:
        """d."""
        return int(self.reader.config.hidden_size)

    get_sentence_embedding_dimension = get_embedding_dimension

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Weights, tokenizer, pooler and configuration into a folder."""
        folder = Path(output_path)
        self.save_weights(folder)
        self.tokenizer.save_pretrained(folder)
        if self.pooler_sizes:
            save_file({k: v.contiguous() for k, v in self.pooler.state_dict().items()}, folder / POOLER)
        told = {name: getattr(self, name) for name in self.config_keys}
        (folder / CONFIG).write_text(json.dumps(told, indent=1), encoding="utf-8")

    def save_weights(self, folder: Path) -> None:
        """The adapter where the backbone's weights are kept elsewhere, else the weights."""
        self.model.save_pretrained(folder / ADAPTER if self.backbone else folder)

    @classmethod
    def load(  # type: ignore[override]
        cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any
    ) -> PooledEncoderModule:
        """From what `save` wrote, in a folder or on the hub. Takes the hub options of sentence-transformers."""
        from transformers import AutoModel, AutoTokenizer

        hub: dict[str, Any] = {name: kwargs.get(name) for name in ("token", "cache_folder", "revision")}
        hub["local_files_only"] = bool(kwargs.get("local_files_only"))
        told = cls.load_config(model_name_or_path, subfolder=subfolder, **hub)
        common: dict[str, Any] = {"cache_dir": hub["cache_folder"], "token": hub["token"]}
        here = {**common, "revision": hub["revision"] or "main", "local_files_only": hub["local_files_only"]}
        options = {**(kwargs.get("model_kwargs") or {}), "use_safetensors": True}
        tokenizer = AutoTokenizer.from_pretrained(model_name_or_path, **here)
        if told["backbone"]:
            model = AutoModel.from_pretrained(told["backbone"], **common, **options)
            model.load_adapter(cls.load_dir_path(model_name_or_path, subfolder=ADAPTER, **hub))
        else:
            model = AutoModel.from_pretrained(model_name_or_path, **here, **options)
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # BERT's unused head
        config = model.config.get_text_config()
        sizes = PoolerConfig(**told["pooler_sizes"]) if told["pooler_sizes"] else None
        pooler = build_pooler(design(told["design"]), config.hidden_size, config.num_hidden_layers, sizes)
        if sizes:
            pooler.load_state_dict(load_file(str(cls.load_file_path(model_name_or_path, POOLER, **hub))))
        reads = told.get("reads", "all-tokens")  # exports made before there was a choice do not say
        tokens = told.get("tokens", "all")
        made = cls(model, tokenizer, told["design"], pooler, told["max_seq_length"], told["backbone"], reads, tokens)
        return made.eval()
