"""How good would each layer be on its own? Retrieval with every layer's own vector, on a judged corpus; likeness of
texts by it, on scored pairs.

The paper's motivation: what a text is about is not best readable from the last layer alone. No pooler takes part; a
layer's vector is its end token's state or the mean of its tokens', of unit length. Unless another choice is asked for,
the mean leaves out the first token and special ones: in many language models the mean of all is the first token (see
`sinks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparison import has_relevant, without
from ..corpora import Corpus
from ..designs import States
from ..errors import Cancelled, InputError
from ..measures import QueryScores, quality
from ..retrieval import DenseIndex, hits
from ..store import Cancel, Progress
from ..token_selection import MEANING, Tokens, TokenWeights

METRIC = "nDCG"

WEIGHTED: dict[TokenWeights, str] = {
    "uniform": "",
    "position": ", later ones weighing more",
    "unit": ", each brought to length one",
}


def vector_in_words(read: States, tokens: Tokens | None, weights: TokenWeights = "uniform") -> str:
    """What stands for a layer, as a phrase: "the end token" or "the mean of all tokens"."""
    if read == "layer-eos" or tokens is None:
        return "the end token"
    return f"the mean of {MEANING[tokens]}{WEIGHTED[weights]}"


@dataclass(frozen=True)
class Probe:
    """Measures of every layer's own vector, layer 1 first, and of the variant as it is."""

    variant: str
    corpus: str
    read: States
    documents: int
    scores: tuple[QueryScores, ...]
    own: QueryScores
    tokens: Tokens | None = None
    """Over which tokens a layer's mean is taken; None for end tokens."""
    weights: TokenWeights = "uniform"

    @property
    def vector(self) -> str:
        """What stands for a layer, as a phrase."""
        return vector_in_words(self.read, self.tokens, self.weights)

    @property
    def ndcg(self) -> list[float]:
        """nDCG@k of each layer, mean over the queries."""
        return [scores.mean(METRIC) for scores in self.scores]

    @property
    def best(self) -> int:
        """The layer with the highest nDCG@k, the lowest such one where several have it."""
        return int(np.argmax(self.ndcg)) + 1

    def to_json(self) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "corpus": self.corpus,
            "documents": self.documents,
            "queries": self.own.n,
            "read": self.read,
            "tokens": self.tokens,
            "token_weights": self.weights,
            "vector": self.vector,
            "metric": f"{METRIC}@{self.own.k}",
            "layers": list(range(1, len(self.scores) + 1)),
            "scores": self.ndcg,
            "variant_score": self.own.mean(METRIC),
            "best": self.best,
        }


@dataclass(frozen=True)
class PairsProbe:
    """Spearman's correlation of cosine and score for every layer's own vector, layer 1 first, and for the variant."""

    variant: str
    name: str
    read: States
    pairs: int
    scores: tuple[float, ...]
    own: float
    tokens: Tokens | None = None
    """Over which tokens a layer's mean is taken; None for end tokens."""
    weights: TokenWeights = "uniform"

    def to_json(self) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "name": self.name,
            "pairs": self.pairs,
            "read": self.read,
            "tokens": self.tokens,
            "token_weights": self.weights,
            "vector": vector_in_words(self.read, self.tokens, self.weights),
            "metric": "Spearman",
            "layers": list(range(1, len(self.scores) + 1)),
            "scores": list(self.scores),
            "variant_score": self.own,
            "best": int(np.argmax(self.scores)) + 1,
        }


def pair_correlations(first: np.ndarray, second: np.ndarray, scores: Sequence[float]) -> tuple[float, ...]:
    """Spearman's correlation of cosines and scores, for each layer of states [n, L, d] and [n, L, d].

    Raises `InputError` where it is not defined: fewer than three pairs, or scores that are all alike.
    """
    from scipy.stats import spearmanr

    if len(scores) < 3 or len(set(scores)) < 2:
        raise InputError(f"{len(scores)} pairs with {len(set(scores))} different scores say nothing; give 3 or more")
    found = []
    for i in range(first.shape[1]):
        cosines = (unit(first[:, i]) * unit(second[:, i])).sum(1)
        # Cosines that are all alike tell no pair from another.
        found.append(float(spearmanr(cosines, scores).statistic) if np.ptp(cosines) > 0 else 0.0)
    return tuple(found)


def judged_queries(corpus: Corpus) -> dict[str, str]:
    """The queries with a relevant document, id -> text. Raises `InputError` if there are none."""
    judged = {q: text for q, text in corpus.queries.items() if has_relevant(corpus.judged(q)) and text.strip()}
    if not judged:
        raise InputError(
            f"corpus '{corpus.name}' has no judged queries, without which quality cannot be told: judge some in Compare"
        )
    return judged


def retrieval_quality(
    documents: np.ndarray, queries: np.ndarray, corpus: Corpus, judged: Mapping[str, str], k: int
) -> QueryScores:
    """Measures of unit vectors: documents [n, d], queries [q, d] in the order of `judged`.

    Queries that are documents do not find themselves.
    """
    found = DenseIndex(documents).search(queries, k + bool(corpus.itself))
    ranked = (hits(scores, rows, corpus.ids) for scores, rows in zip(*found, strict=True))
    run = {q: without(of, {q} & corpus.itself, k) for q, of in zip(judged, ranked, strict=True)}
    return quality(run, {q: corpus.judged(q) for q in judged}, k)


def probe_layers(
    documents: np.ndarray,
    queries: np.ndarray,
    corpus: Corpus,
    judged: Mapping[str, str],
    k: int = 10,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> tuple[QueryScores, ...]:
    """Measures of each layer from states: documents [n, L, d], queries [q, L, d]. Raises `Cancelled`."""
    layers = documents.shape[1]
    scores = []
    for i in range(layers):
        if cancel is not None and cancel.is_set():
            raise Cancelled(f"stopped after {i} of {layers} layers")
        scores.append(retrieval_quality(unit(documents[:, i]), unit(queries[:, i]), corpus, judged, k))
        if progress is not None:
            progress(i + 1, layers)
    return tuple(scores)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows [m, d] with length one, contiguous."""
    return np.ascontiguousarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
