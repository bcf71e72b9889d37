"""How well a causal language model predicts text that it was not trained on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

AT_ONCE = 4096
"""Tokens of one forward pass."""


@dataclass(frozen=True)
class Perplexity:
    """Of the next token, over all predicted tokens of sequences of equal length."""

    perplexity: float
    bits_per_byte: float
    """Cross-entropy in bits by the bytes of the text: comparable between tokenizers."""
    accuracy: float
    """Share of the tokens that were the likeliest one."""
    tokens: int
    """Predicted tokens: all but the first of each sequence."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@torch.inference_mode()
def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: np.ndarray, device: torch.device
) -> Perplexity:
    """Perplexity on packed text [n, context]; the model's own precision, the loss in float32."""
    model = model.to(device=device).eval()  # type: ignore[call-arg]
    loss = right = count = 0.0
    context = rows.shape[1]
    step = max(1, AT_ONCE // context)
    for at in range(0, len(rows), step):
        ids = torch.from_numpy(rows[at : at + step].astype(np.int64)).to(device)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float().flatten(0, 1)
        targets = ids[:, 1:].flatten()
        loss += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        right += int((logits.argmax(-1) == targets).sum())
        count += len(targets)
    predicted = rows[:, 1:]
    text = tokenizer.batch_decode(predicted.tolist(), skip_special_tokens=True)
    size = sum(len(part.encode("utf-8", "replace")) for part in text)
    return Perplexity(
        round(math.exp(loss / count), 3), round(loss / math.log(2) / size, 4), round(right / count, 4), int(count)
    )


def of_saved(
    name: str, files: tuple[str, ...], docstrings: bool, share: float, context: int, device: str
) -> Perplexity:
    """Of a model by path or name, on the passages of text files that a pretraining run with this share holds out.

    A share of 1 takes all passages. Raises `InputError` for a model or text that cannot be read.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as hf_logging

    from ..backbone import pick_device
    from ..hub import check_on_hub, loading, resolve
    from .text import is_held_out, pack, read_passages

    if not 0 < share <= 1:
        raise InputError(f"held_out must be above 0 and at most 1, not {share}")
    held_out = [p for p in read_passages(files, docstrings) if share == 1 or is_held_out(p, share)]
    if not held_out:
        raise InputError(f"no passage of the text is held out with a share of {share:g}; --held-out 1 takes all")
    hf_logging.disable_progress_bar()
    where = resolve(name)
    local = Path(where).is_dir()
    if not local:
        check_on_hub(name)
    with loading(name):
        model = AutoModelForCausalLM.from_pretrained(where, use_safetensors=True, local_files_only=local)
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=local)
    length = min(context or 512, getattr(model.config, "max_position_embeddings", 512))
    return measure(model, tokenizer, pack(held_out, tokenizer, length), pick_device(device))
