"""The sink table: layer by layer, how long the first token's state is, what one token holds of the mean, and what that
mean retrieves with and without it.

    table = sink_table(encoder, corpus.name, corpus.passages)
    table.sentence, table.layers[11].share
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..encoder import PooledEncoder, pack
from ..errors import Cancelled, InputError
from ..measures import QueryScores
from ..store import Cancel, Progress
from ..token_selection import counted_tokens
from .probe import METRIC
from .sinks import LESS, RULE, in_words, marked, measure, median_of_others, percent, sentence_case

TEXTS = 200
"""Texts of a corpus that are read at most."""


@dataclass(frozen=True)
class LayerSinks:
    """One layer over many texts."""

    layer: int
    first: float
    """Norm of the first token's state, median over the texts."""
    others: float
    """Median norm of the other tokens, median over the texts."""
    share: float
    """What the first token holds of the mean of all tokens, mean over the texts."""
    cosine: float
    """Of the first token's state with that mean, mean over the texts."""
    sinks: float
    """Sinks in a text, mean."""
    most: float
    """What the token that holds most holds of the mean, mean over the texts."""
    most_without: float
    """The same for the mean without the first token and special ones."""


@dataclass(frozen=True)
class SinkTable:
    """Every layer over the texts of a corpus, and what each layer's mean retrieves."""

    variant: str
    corpus: str
    texts: int
    even: float
    """What a token would hold if all tokens of a text held alike, mean over the texts."""
    layers: tuple[LayerSinks, ...]
    scores: tuple[QueryScores, ...] = ()
    """Retrieval by each layer's mean of all tokens; empty without judged queries."""
    scores_without: tuple[QueryScores, ...] = ()
    """The same without the first token and special ones."""

    def with_scores(self, scores: Sequence[QueryScores], without: Sequence[QueryScores]) -> SinkTable:
        """The same table with what was measured on judged queries."""
        return replace(self, scores=tuple(scores), scores_without=tuple(without))

    @property
    def sunk(self) -> list[int]:
        """Numbers of the layers in which most texts have a sink."""
        return [row.layer for row in self.layers if row.sinks >= 0.5]

    @property
    def ndcg(self) -> list[float]:
        """nDCG@k of each layer's mean of all tokens."""
        return [scores.mean(METRIC) for scores in self.scores]

    @property
    def ndcg_without(self) -> list[float]:
        """The same without the first token and special ones."""
        return [scores.mean(METRIC) for scores in self.scores_without]

    @property
    def sentence(self) -> str:
        """What the table says, in numbers."""
        if not self.sunk:
            worst = max(self.layers, key=lambda row: row.most)
            return (
                f"In no layer do most texts have a sink: one token holds at most {percent(worst.most)} of the mean, in "
                f"layer {worst.layer} (mean over {self.texts:,} texts; tokens alike would hold {percent(self.even)})."
            )
        rows = [row for row in self.layers if row.layer in self.sunk]
        counts, held = ([getattr(row, name) for row in rows] for name in ("sinks", "most"))
        where = sentence_case(in_words(self.sunk, len(self.layers)))
        told = (
            f"{where} a text has {span(counts, '{:.1f}'.format)} sinks, and one token holds {span(held, percent)} of "
            f"the mean of all tokens (means over {self.texts:,} texts)."
        )
        if not self.scores:
            return told
        all_of, less = ([scores[row.layer - 1] for row in rows] for scores in (self.ndcg, self.ndcg_without))
        return (
            f"{told} The means of these layers have an {METRIC}@{self.scores[0].k} of {span(all_of, number)}, without "
            f"the first token and special ones of {span(less, number)}."
        )

    def to_json(self) -> dict[str, Any]:
        rows = []
        for i, row in enumerate(self.layers):
            scored = {"ndcg": self.ndcg[i], "ndcg_without_first": self.ndcg_without[i]} if self.scores else {}
            rows.append(
                {
                    "layer": row.layer,
                    "norm_first": row.first,
                    "norm_others": row.others,
                    "share_first": row.share,
                    "cosine_first": row.cosine,
                    "sinks": row.sinks,
                    "share_most": row.most,
                    "share_most_without_first": row.most_without,
                    **scored,
                }
            )
        return {
            "variant": self.variant,
            "corpus": self.corpus,
            "texts": self.texts,
            "even_share": self.even,
            "metric": f"{METRIC}@{self.scores[0].k}" if self.scores else None,
            "queries": self.scores[0].n if self.scores else None,
            "layers": rows,
            "rule": RULE,
            "sentence": self.sentence,
        }


def number(score: float) -> str:
    """A score with three digits."""
    return f"{score:.3f}"


def span(values: Sequence[float], shown: Callable[[float], str]) -> str:
    """The lowest and the highest of some values, or the one that they all are."""
    low, high = shown(min(values)), shown(max(values))
    return low if low == high else f"{low} to {high}"


def sink_table(
    encoder: PooledEncoder,
    corpus: str,
    texts: Sequence[str],
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> SinkTable:
    """Norms and shares of the first `TEXTS` texts of a corpus as documents, layer by layer.

    :raise Cancelled: if `cancel` was set.
    :raise InputError: if there is no text, or the variant was unloaded.
    """
    backbone, prompt = encoder.backbone, encoder.texts.document_prompt
    chosen = [prompt + text for text in texts[:TEXTS] if text.strip()]
    if not chosen:
        raise InputError(f"corpus '{corpus}' has no texts")
    rows = sorted(backbone.tokenize(chosen, encoder.texts.max_length), key=len, reverse=True)
    found = []  # [7, L] of each text
    at = 0
    while at < len(rows):
        if cancel is not None and cancel.is_set():
            raise Cancelled(f"stopped after {at} of {len(rows)} texts")
        batch = [rows[i] for i in pack(range(len(rows)), at, rows, encoder.token_budget)]
        ids, mask = backbone.pad(batch)
        measured = measure(encoder, ids, mask, mask, counted_tokens(ids, mask, LESS, backbone.special_tokens))
        found += [_of_one(measured[:, :, i, : len(row)]) for i, row in enumerate(batch)]
        at += len(batch)
        if progress is not None:
            progress(at, len(rows))
    each = np.stack(found)  # [m, 7, L]
    medians, means = np.nanmedian(each[:, :2], axis=0), each[:, 2:].mean(0)
    layers = tuple(LayerSinks(i + 1, *medians[:, i].tolist(), *means[:, i].tolist()) for i in range(each.shape[-1]))
    even = float(np.mean([1 / len(row) for row in rows]))
    return SinkTable(encoder.name, corpus, len(rows), even, layers)


def _of_one(measured: np.ndarray) -> np.ndarray:
    """[7, L] in the order of `LayerSinks`, of what was measured of one text [5, L, T]."""
    norms, shares, cosines, rest, _ = measured
    others = median_of_others(norms)
    counts = marked(norms).sum(1)
    return np.stack([norms[:, 0], others[:, 0], shares[:, 0], cosines[:, 0], counts, shares.max(1), rest.max(1)])
