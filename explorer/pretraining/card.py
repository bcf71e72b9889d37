"""The model card of a pretrained language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from .config import PretrainingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PROMPTS = (
    "She opened the door and",
    "The capital of France is",
    "To install the package, run",
    "In economics, the price of a good",
    "Return a list of",
)
"""Beginnings that the card shows continued."""

CURVE_ROWS = 15


@torch.inference_mode()
def continuations(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> list[tuple[str, str]]:
    """Every prompt with up to 40 sampled tokens (temperature .8, the likeliest tokens of probability .95 together)."""
    torch.manual_seed(seed)
    found = []
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
        ids = model.generate(  # type: ignore[operator]
            **inputs, do_sample=True, temperature=0.8, top_p=0.95, max_new_tokens=40
        )[0]
        text = tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        found.append((prompt, " ".join(str(text).split())))
    return found


def model_card(
    config: PretrainingConfig,
    record: Mapping[str, Any],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    about: str = "",
) -> str:
    """Markdown: what it is, how it was made, how well it predicts, what it writes; `about` is told of the text."""
    held_out, text, hardware = record["held_out"], record["text"], record["hardware"]
    where = hardware.get("gpu") or f"{hardware['threads']} threads of a processor ({hardware['cpu']})"
    curve = record["held_out_curve"]
    stride = -(-len(curve) // CURVE_ROWS) if curve else 1
    rows = "\n".join(f"| {step:,} | {tokens:,} | {loss:.3f} |" for step, tokens, loss in curve[::-stride][::-1])
    samples = "\n".join(f"- **{prompt}** {rest}" for prompt, rest in continuations(model, tokenizer))
    docs = " and the docstrings of Python's standard library" if config.docstrings else ""
    return f"""---
library_name: transformers
pipeline_tag: text-generation
language: en
---

# A small causal language model for teaching

{record["parameters"]:,} parameters: {config.layers} layers of width {config.width}, {config.heads} heads of
{config.head_dim}, tied embeddings of {len(tokenizer):,} byte-level BPE tokens, context {config.context}. Qwen3's
architecture, random start. It shows what a decoder is; it is no assistant and knows next to nothing.

## Training

Next-token prediction on {", ".join(text["files"])}{docs}: {text["passages"]:,} passages ({text["tokens"]:,} tokens), of
which {record["tokens"]:,} tokens were seen in {record["steps"]:,} steps, {record["seconds"] / 60:.0f} minutes
({record["tokens_per_second"]:,} tokens per second) on {where} in {record["precision"]}.
{text["held_out_passages"]:,} passages ({text["held_out_tokens"]:,} tokens) were held out.

    {config.command("DIR")}
{chr(10) + about + chr(10) if about else ""}
| step | tokens | held-out loss |
| ---: | ---: | ---: |
{rows}

`pretraining.json` has the whole curve.

## Prediction of held-out text

Perplexity **{held_out["perplexity"]:.2f}** per token, {held_out["bits_per_byte"]:.3f} bits per byte; the likeliest
token is the right one in {held_out["accuracy"]:.1%} of {held_out["tokens"]:,} tokens.

## What it writes

Sampled once (temperature 0.8, top-p 0.95, seed 0), not selected:

{samples}
"""
