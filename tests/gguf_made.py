"""Small GGUF files, made on the spot: a Llama of two layers with a byte-level tokenizer, in a quantised type."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from tokenizers import pre_tokenizers

WIDTH, HEADS, LAYERS, INNER = 64, 4, 2, 128
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = [*BYTES, "th", "<|im_start|>", "<|im_end|>"]
CONTROL, NORMAL = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL


def tensors(seed: int = 0, layers: int = LAYERS) -> dict[str, np.ndarray]:
    """A Llama's random weights by the names they have in GGUF files; its word embeddings are tied."""
    draw = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return draw.normal(0, 0.2, (rows, columns)).astype(np.float32)

    found = {"token_embd.weight": matrix(len(TOKENS), WIDTH), "output_norm.weight": np.ones(WIDTH, np.float32)}
    for i in range(layers):
        found |= {
            f"blk.{i}.attn_norm.weight": np.ones(WIDTH, np.float32),
            f"blk.{i}.attn_q.weight": matrix(WIDTH, WIDTH),
            f"blk.{i}.attn_k.weight": matrix(WIDTH // 2, WIDTH),
            f"blk.{i}.attn_v.weight": matrix(WIDTH // 2, WIDTH),
            f"blk.{i}.attn_output.weight": matrix(WIDTH, WIDTH),
            f"blk.{i}.ffn_norm.weight": np.ones(WIDTH, np.float32),
            f"blk.{i}.ffn_gate.weight": matrix(INNER, WIDTH),
            f"blk.{i}.ffn_up.weight": matrix(INNER, WIDTH),
            f"blk.{i}.ffn_down.weight": matrix(WIDTH, INNER),
        }
    return found


def write(
    path: Path,
    weights: dict[str, np.ndarray] | None = None,
    architecture: str = "llama",
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.Q8_0,
    parts: int = 1,
) -> Path:
    """Write these weights, or random ones: matrices quantised as `kind`, norms in float32."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(TOKENS))
    if parts > 1:
        writer.add_uint16("split.count", parts)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    writer.add_token_types([CONTROL if token.startswith("<|") else NORMAL for token in TOKENS])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(TOKENS.index("<|im_start|>"))
    writer.add_eos_token_id(TOKENS.index("<|im_end|>"))
    writer.add_pad_token_id(TOKENS.index("<|im_end|>"))
    for name, values in (tensors() if weights is None else weights).items():
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
