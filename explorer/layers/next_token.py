"""What does each layer know of the next token? The share of tokens that its states guess right.

A language model is trained for this at its last layer alone. Beside the probes of `probe.py` it shows what layers are
for: the same model guesses the next token best at its end, and may tell texts apart better before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..encoder import PooledEncoder
from ..errors import Cancelled, InputError
from ..store import Cancel, Progress

TEXTS = 100
"""Texts that are read at most: a share of some thousand tokens is sure to about a percent."""
BATCH = 8


@dataclass(frozen=True)
class NextToken:
    """Share of next tokens guessed right by the states of each layer, layer 1 first."""

    variant: str
    corpus: str
    texts: int
    tokens: int
    scores: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "corpus": self.corpus,
            "texts": self.texts,
            "tokens": self.tokens,
            "metric": "next token right",
            "layers": list(range(1, len(self.scores) + 1)),
            "scores": list(self.scores),
            "best": int(np.argmax(self.scores)) + 1,
        }


def guesses(
    encoder: PooledEncoder,
    corpus: str,
    texts: Sequence[str],
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> NextToken:
    """How many next tokens each layer guesses under causal attention, with the variant's adapter if it has one.

    The first `TEXTS` texts, without prompts. Raises `InputError` for a model that has no such guess, `Cancelled`.
    """
    backbone, chosen = encoder.backbone, texts[:TEXTS]
    backbone.word_head()  # before anything long
    rows = backbone.tokenize(chosen, encoder.texts.max_length)
    right, seen = np.zeros(backbone.layers, dtype=np.int64), 0
    for at in range(0, len(rows), BATCH):
        if cancel is not None and cancel.is_set():
            raise Cancelled(f"stopped after {at} of {len(rows)} texts")
        ids, mask = backbone.pad(rows[at : at + BATCH])
        guessed = backbone.next_tokens(ids, mask, encoder.adapter)[:, :, :-1]  # [B, L, T - 1]
        # The end token of a cut text is no token of it.
        counted = mask[:, 1:].bool() & (ids[:, 1:] != backbone.tokenizer.eos_token_id)
        right += ((guessed == ids[:, None, 1:]) & counted[:, None]).sum((0, 2)).cpu().numpy()
        seen += int(counted.sum())
        if progress is not None:
            progress(min(at + BATCH, len(rows)), len(rows))
    if not seen:
        raise InputError(f"corpus '{corpus}' has no text of two tokens")
    return NextToken(encoder.name, corpus, len(chosen), seen, tuple((right / seen).tolist()))
