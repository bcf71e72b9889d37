"""Does it matter what the pooler reads? Layers switched off, and what that does to vectors, rankings and quality.

    ablation = Ablation(encoder, corpus, states)              # states [n, L, d] from LayerStates
    ablation.rerank("delete a folder", off=[6], candidates=rows)    # the same documents, ranked without layer 6
    ablation.why_here("delete a folder", "shutil.rmtree", rows)     # layer by layer: score and rank without it
    ablation.single_layers()                                  # nDCG@10 without each layer, and with it alone

A layer that is off is masked, and the weights of the others are renormalised, in queries and documents alike. All of it
is computed from stored states: the backbone runs for the query alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparison import check_query
from ..corpora import Corpus
from ..encoder import PooledEncoder
from ..errors import InputError
from ..measures import Difference, QueryScores, paired_difference
from ..pooling import CrossAttentionPooler
from ..retrieval import Hit
from ..store import Cancel, Progress
from .probe import METRIC, judged_queries, retrieval_quality
from .reading import check_layers
from .samples import sample_weights
from .states import LayerStates
from .switching import Switched

DEPTH = 100
"""Documents that a live re-ranking orders anew."""

SEED = 20240902


@dataclass(frozen=True)
class Reranking:
    """One query's candidates, best first, with all layers and without some."""

    query: str
    off: tuple[int, ...]
    intact: tuple[Hit, ...]
    ablated: tuple[Hit, ...]
    query_cosine: float
    """Cosine between the query's vector without the layers and its intact one."""
    document_cosine: float
    """The same, mean over the candidates."""

    @property
    def moves(self) -> dict[str, int]:
        """Document id -> places gained by switching off (positive: ranked higher)."""
        before = {hit.id: hit.rank for hit in self.intact}
        return {hit.id: before[hit.id] - hit.rank for hit in self.ablated}

    def to_json(self, k: int = 10) -> dict[str, Any]:
        moves = self.moves
        return {
            "query": self.query,
            "off": list(self.off),
            "candidates": len(self.intact),
            "query_cosine": self.query_cosine,
            "document_cosine": self.document_cosine,
            "intact": [{"rank": h.rank, "id": h.id, "score": h.score} for h in self.intact[:k]],
            "ablated": [{"rank": h.rank, "id": h.id, "score": h.score, "moved": moves[h.id]} for h in self.ablated[:k]],
        }


@dataclass(frozen=True)
class LayerMove:
    """What happens to one document's score and rank when one layer is switched off."""

    layer: int
    query_weight: float
    document_weight: float
    """Mean weight of the layer in the query and in the document."""
    score: float
    rank: int


@dataclass(frozen=True)
class WhyHere:
    """Why one document stands where it does: layer by layer, score and rank without it."""

    query: str
    document: str
    candidates: int
    """Documents among which it is ranked: the best ones of the intact ranking, and the document."""
    score: float
    rank: int
    moves: tuple[LayerMove, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.query,
            "document": self.document,
            "candidates": self.candidates,
            "score": self.score,
            "rank": self.rank,
            "without": [
                {
                    "layer": m.layer,
                    "score": m.score,
                    "score_change": m.score - self.score,
                    "rank": m.rank,
                    "places_gained": self.rank - m.rank,
                    "query_weight": m.query_weight,
                    "document_weight": m.document_weight,
                }
                for m in self.moves
            ],
        }


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over n layers, and how often chance alone gives one as strong (permutation test)."""

    rho: float
    p: float
    n: int


@dataclass(frozen=True)
class LayerEffect:
    """One layer over all judged queries."""

    layer: int
    weight: float
    """Mean weight over the documents."""
    removed: QueryScores
    """Without this layer."""
    alone: QueryScores
    """With no other."""
    removed_cosine: float
    alone_cosine: float
    """Mean cosine of the documents' vectors to the intact ones."""


@dataclass(frozen=True)
class AblationReport:
    """Every layer removed, and every layer alone, over all judged queries of a corpus."""

    variant: str
    corpus: str
    documents: int
    intact: QueryScores
    layers: tuple[LayerEffect, ...]

    @property
    def effects(self) -> list[float]:
        """nDCG@k lost by removing each layer; below 0 where the variant is better without it."""
        return [self.intact.mean(METRIC) - e.removed.mean(METRIC) for e in self.layers]

    def difference(self, layer: int) -> Difference | None:
        """Without the layer minus intact, paired by query; None with fewer than two queries."""
        if self.intact.n < 2:
            return None
        return paired_difference(self.layers[layer - 1].removed.values(METRIC), self.intact.values(METRIC))

    @property
    def predicts_removed(self) -> Correlation | None:
        """Mean weight against what removing costs: do weights predict the effect?"""
        return rank_correlation([e.weight for e in self.layers], self.effects)

    @property
    def predicts_alone(self) -> Correlation | None:
        """Mean weight against the quality of the layer alone."""
        return rank_correlation([e.weight for e in self.layers], [e.alone.mean(METRIC) for e in self.layers])

    def to_json(self) -> dict[str, Any]:
        rows = []
        for e, effect in zip(self.layers, self.effects, strict=True):
            d = self.difference(e.layer)
            rows.append(
                {
                    "layer": e.layer,
                    "weight": e.weight,
                    "removed": e.removed.mean(METRIC),
                    "alone": e.alone.mean(METRIC),
                    "effect": effect,
                    "removed_minus_intact": None if d is None else [d.mean, d.low, d.high],
                    "removed_cosine": e.removed_cosine,
                    "alone_cosine": e.alone_cosine,
                }
            )
        found = {"removed": self.predicts_removed, "alone": self.predicts_alone}
        return {
            "variant": self.variant,
            "corpus": self.corpus,
            "documents": self.documents,
            "queries": self.intact.n,
            "metric": f"{METRIC}@{self.intact.k}",
            "intact": self.intact.mean(METRIC),
            "layers": rows,
            "correlation_of_weight": {
                name: None if c is None else {"rho": c.rho, "p": c.p, "layers": c.n} for name, c in found.items()
            },
        }


def check_switchable(encoder: PooledEncoder) -> None:
    """Raises `InputError` for a design without a choice of layers."""
    if encoder.design.pooling != "multi-layer":
        raise InputError(
            f"'{encoder.name}' reads the last layer alone, so there is no layer to switch off; choose a multi-layer "
            "variant, or see in the probe what each layer is worth"
        )


def kept(off: Sequence[int], layers: int) -> np.ndarray:
    """[L] of 0/1 with `off` (numbers 1..L) switched off. Raises `InputError` if none is left."""
    keep = np.ones(layers, int)
    keep[[n - 1 for n in check_layers(off, layers)]] = 0
    if not keep.any():
        raise InputError("all layers are off: leave at least one on")
    return keep


class Ablation:
    """One multi-layer variant over one corpus, from its stored states."""

    def __init__(self, encoder: PooledEncoder, corpus: Corpus, states: np.ndarray) -> None:
        """states [n, L, d] in the order of the corpus. Raises `InputError` for a design that reads one layer."""
        check_switchable(encoder)
        assert isinstance(encoder.pooler, CrossAttentionPooler)
        self.encoder, self.corpus, self.states = encoder, corpus, states
        self.layers = encoder.backbone.layers
        self.switched = Switched(encoder.pooler)

    def rerank(self, query: str, off: Sequence[int], candidates: Sequence[int]) -> Reranking:
        """Order the candidates (rows of the corpus) with all layers, and without the layers `off`.

        Raises `InputError` for an empty query, an unknown layer, or none left.
        """
        check_query(query)
        keeps = np.stack([np.ones(self.layers, int), kept(off, self.layers)])
        q, d = self._vectors(query, candidates, keeps)  # [2, d], [2, m, d]
        ids = [self.corpus.ids[row] for row in candidates]
        return Reranking(
            query, tuple(check_layers(off, self.layers)), ordered(d[0] @ q[0], ids), ordered(d[1] @ q[1], ids),
            float(q[0] @ q[1]), float((d[0] * d[1]).sum(1).mean()),
        )  # fmt: skip

    def why_here(self, query: str, document: str, candidates: Sequence[int]) -> WhyHere:
        """Score and rank of one document without each layer. Raises `InputError` for an unknown document."""
        check_query(query)
        self.corpus.document(document)
        row = self.corpus.position[document]
        candidates = [*candidates, *([] if row in candidates else [row])]
        keeps = np.vstack([np.ones((1, self.layers), int), 1 - np.eye(self.layers, dtype=int)])
        if self.layers == 1:
            raise InputError("this backbone has one layer: there is nothing left without it")
        q, d = self._vectors(query, candidates, keeps)
        ids = [self.corpus.ids[r] for r in candidates]
        found = [next(h for h in ordered(d[c] @ q[c], ids) if h.id == document) for c in range(len(keeps))]
        weights = sample_weights(
            self.encoder, np.stack([self._query_states([query])[0], self.states[row]]), "query and document"
        ).values
        moves = tuple(
            LayerMove(i, float(weights[0, i - 1]), float(weights[1, i - 1]), found[i].score, found[i].rank)
            for i in range(1, self.layers + 1)
        )
        return WhyHere(query, document, len(candidates), found[0].score, found[0].rank, moves)

    def single_layers(
        self, k: int = 10, progress: Progress | None = None, cancel: Cancel | None = None
    ) -> AblationReport:
        """nDCG@k with all layers, without each one and with each one alone, over all judged queries.

        `progress` counts texts. Raises `Cancelled`, and `InputError` without judged queries or with one layer.
        """
        if self.layers == 1:
            raise InputError("this backbone has one layer: there is nothing left without it")
        judged = judged_queries(self.corpus)
        each = np.eye(self.layers, dtype=int)
        keeps = np.vstack([np.ones((1, self.layers), int), 1 - each, each])
        queries = self.switched.vectors(self._query_states(list(judged.values())), keeps, cancel=cancel)
        documents = self.switched.vectors(self.states, keeps, progress, cancel)
        scores = [retrieval_quality(documents[c], queries[c], self.corpus, judged, k) for c in range(len(keeps))]
        cosines = np.einsum("cnd,nd->c", documents, documents[0]) / len(self.states)
        weights = sample_weights(self.encoder, self.states, "documents").mean
        effects = tuple(
            LayerEffect(
                i, float(weights[i - 1]), scores[i], scores[self.layers + i],
                float(cosines[i]), float(cosines[self.layers + i]),
            )
            for i in range(1, self.layers + 1)
        )  # fmt: skip
        return AblationReport(self.encoder.name, self.corpus.name, len(self.corpus), scores[0], effects)

    def _vectors(self, query: str, rows: Sequence[int], keeps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Query [C, d] and documents [C, m, d] under C settings."""
        together = np.concatenate([self._query_states([query]), self.states[list(rows)]])
        vectors = self.switched.vectors(together, keeps)
        return vectors[:, 0], vectors[:, 1:]

    def _query_states(self, texts: Sequence[str]) -> np.ndarray:
        return LayerStates.queries(self.encoder, texts)


def ordered(scores: np.ndarray, ids: Sequence[str]) -> tuple[Hit, ...]:
    """Documents by score, best first; equal scores in the order given."""
    order = np.argsort(-scores, kind="stable")
    return tuple(Hit(ids[i], rank, float(scores[i])) for rank, i in enumerate(order, start=1))


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> Correlation | None:
    """Spearman's rho with the p of a permutation test (scipy), exact up to seven layers.

    None where there is no such thing: fewer than three layers, or values that are all equal.
    """
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    from scipy import stats

    other = stats.rankdata(y) - (len(y) + 1) / 2

    def rho(values: np.ndarray, axis: int = -1) -> np.ndarray:
        ranks = stats.rankdata(values, axis=axis) - (len(y) + 1) / 2
        return (ranks * other).sum(axis) / np.sqrt((ranks**2).sum(axis) * (other**2).sum())

    test = stats.permutation_test(
        (np.asarray(x, float),), rho, permutation_type="pairings", vectorized=True,
        n_resamples=9999, rng=np.random.default_rng(SEED),
    )  # fmt: skip
    return Correlation(float(stats.spearmanr(x, y).statistic), float(test.pvalue), len(x))
