"""Tiny random models of every architecture we claim to support, and tokenizers of every kind, made on the spot.

The weights are drawn ten times wider than usual, so that attention changes states by much more than rounding does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerFast

from explorer.backbone import Backbone

WIDTH, HEADS = 32, 4
WINDOW = 8
"""Local attention of the models that have it: shorter than the texts of the tests."""

_DECODER = {
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "max_position_embeddings": 128,
    "head_dim": 8,
    "initializer_range": 0.2,
}
_GEMMA = {**_DECODER, "sliding_window": WINDOW, "query_pre_attn_scalar": 8, "num_hidden_layers": 4}
_ENCODER = {
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
_ROBERTA = {**_ENCODER, "max_position_embeddings": 130}
"""Positions begin at pad + 1 = 2."""
_DEBERTA = {
    **_ENCODER,
    "relative_attention": True,
    "pos_att_type": ["c2p", "p2c"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_CONFIGS: dict[str, dict[str, Any]] = {
    "qwen2": {k: v for k, v in _DECODER.items() if k != "head_dim"},
    "qwen3": _DECODER,
    "llama": _DECODER,
    "mistral": {**_DECODER, "sliding_window": WINDOW},
    "gemma2": {**_GEMMA, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "gemma3_text": {**_GEMMA, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "gpt2": {"n_embd": WIDTH, "n_head": HEADS, "n_layer": 3, "n_positions": 128, "initializer_range": 0.2},
    "embeddinggemma": {
        **_GEMMA,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "use_bidirectional_attention": True,  # the configuration halves the window: 8 // 2 + 1 = 5, exclusive
    },
    "bert": _ENCODER,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": {**_ROBERTA, "relative_attention_num_buckets": 32},
    "modernbert": {
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "max_position_embeddings": 128,
        "local_attention": 2 * WINDOW,
        "initializer_range": 0.2,
        "initializer_cutoff_factor": 2.0,
    },
}
ARCHITECTURES = tuple(_CONFIGS)
KERNELS = {name: ("eager",) if name in ("gemma2", "mpnet") else ("sdpa", "eager") for name in ARCHITECTURES}
CASES = [(name, kernel) for name in ARCHITECTURES for kernel in KERNELS[name]]
"""Every (architecture, kernel) that works with both attentions. Gemma 2 caps its scores and MPNet adds to them, which
only the eager kernel does."""
ONE_ATTENTION: dict[str, str] = {"bloom": "causal", "falcon": "causal", "deberta": "bidirectional"} | {
    "deberta-v2": "bidirectional"
}
"""Architectures that run with the attention of their pretraining alone."""
HYBRIDS: dict[str, list[int]] = {"lfm2": [1, 3], "qwen3_next": [1, 3]}
"""Architectures with layers that no mask can turn: their numbers (convolutions, linear attention)."""
_CONFIGS |= {
    "bloom": {"hidden_size": WIDTH, "n_head": HEADS, "n_layer": 3, "initializer_range": 0.2},
    "falcon": {
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_hidden_layers": 3,
        "initializer_range": 0.2,
        "alibi": False,
    },
    "deberta": _DEBERTA,
    "deberta-v2": {**_DEBERTA, "position_buckets": 16},
    "lfm2": {
        **{k: v for k, v in _DECODER.items() if k != "head_dim"},
        "layer_types": ["conv", "full_attention", "conv"],
        "block_auto_adjust_ff_dim": False,
    },
    "qwen3_next": {
        **_DECODER,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    },
}
KERNELS |= dict.fromkeys((*ONE_ATTENTION, *HYBRIDS), ("eager",))

_TOKENIZER_OF = {"gpt2": "gpt", "qwen2": "qwen", "qwen3": "qwen"} | dict.fromkeys(
    ("bert", "modernbert", "roberta", "xlm-roberta", "camembert", "mpnet", "deberta", "deberta-v2"), "bert"
)

# kind -> (tokens it has, what its post-processor adds)
_KINDS: dict[str, tuple[dict[str, str], str | None]] = {
    "gpt": ({"eos_token": "<|endoftext|>"}, None),  # adds nothing, has no padding token
    "qwen": ({"eos_token": "<|im_end|>", "pad_token": "<|pad|>"}, None),
    "llama": ({"bos_token": "<s>", "eos_token": "</s>"}, "<s> $A"),  # begins texts, does not end them
    "closed": ({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}, "<s> $A </s>"),
    "bert": ({"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}, "[CLS] $A [SEP]"),
    "endless": ({"bos_token": "<s>", "pad_token": "<pad>"}, "<s> $A"),  # has no end token at all
}
TOKENIZERS = tuple(_KINDS)


def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: one token a byte, special tokens from id 256."""
    tokens, template = _KINDS[kind]
    vocabulary = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(tokens.values()))
    if template is None:
        made.post_processor = processors.ByteLevel(trim_offsets=False)
    else:
        used = [(token, made.token_to_id(token)) for token in tokens.values() if token in template]
        made.post_processor = processors.TemplateProcessing(single=template, pair=f"{template} $B", special_tokens=used)
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=128, **tokens)


def model(architecture: str, kernel: str = "sdpa", seed: int = 0) -> PreTrainedModel:
    """A random model of that architecture, width 32, 3 or 4 layers."""
    torch.manual_seed(seed)
    special = {"pad_token_id": 1 if _CONFIGS[architecture] is _ROBERTA or architecture == "mpnet" else 0}
    special |= {"bos_token_id": 256, "eos_token_id": 257}
    if architecture == "modernbert":
        special |= {"cls_token_id": 256, "sep_token_id": 257}
    kind = {"embeddinggemma": "gemma3_text"}.get(architecture, architecture)
    config = AutoConfig.for_model(kind, vocab_size=300, **special, **_CONFIGS[architecture])
    return AutoModel.from_config(config, attn_implementation=kernel, dtype=torch.float32).eval()


def backbone(architecture: str, kernel: str = "sdpa", seed: int = 0) -> Backbone:
    """That model with a fitting tokenizer, in float32."""
    kind = _TOKENIZER_OF.get(architecture, "llama")
    return Backbone(model(architecture, kernel, seed), tokenizer(kind), f"tiny/{architecture}")


def save_backbone(folder: Path, architecture: str, seed: int = 0) -> Path:
    """The same as a folder that `Backbone.load` takes."""
    model(architecture, KERNELS[architecture][0], seed).save_pretrained(folder)
    tokenizer(_TOKENIZER_OF.get(architecture, "llama")).save_pretrained(folder)
    return folder


def save_adapter(folder: Path, base: PreTrainedModel, seed: int, rank: int = 4, scale: float = 0.1) -> Path:
    """A LoRA adapter with random A and B for a copy of `base`, in peft's format."""
    import copy

    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    if base.config.model_type == "bert":
        config.exclude_modules = r"pooler.*"  # its unused head
    config.fan_in_fan_out = base.config.model_type == "gpt2"
    adapted = get_peft_model(copy.deepcopy(base), config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=scale)
    adapted.save_pretrained(folder)
    return folder


def batch(rows: list[int], length: int | None = None, side: str = "right", seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Random ids and mask of texts with these lengths, padded to `length`; ids do not depend on padding or side."""
    longest = length or max(rows)
    generator = torch.Generator().manual_seed(seed)
    ids, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.long)
    for i, n in enumerate(rows):
        span = slice(0, n) if side == "right" else slice(longest - n, longest)
        ids[i, span] = torch.randint(1, 255, (n,), generator=generator)
        mask[i, span] = 1
    return ids, mask
