"""The Layers service: what the command line, the page and the API ask for, by the names of variants and corpora.

    lab = LayerLab(Comparer(Shelf()))
    lab.read("multi-layer-bidirectional", "a text").layers.mean
    lab.rerank("multi-layer-bidirectional", corpus, "delete a folder", off=[6])

States are computed once a variant and corpus and kept on disk; the last few are held in memory. Thread-safe.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..comparison import Comparer
from ..corpora import Corpus
from ..corpora.library import query_id
from ..designs import States
from ..encoder import Kind, PooledEncoder
from ..errors import InputError
from ..measures import QueryScores
from ..store import Cancel, Progress
from ..token_selection import Tokens, TokenWeights
from . import next_token
from .ablation import DEPTH, Ablation, AblationReport, Reranking, WhyHere, check_switchable
from .next_token import NextToken
from .probe import PairsProbe, Probe, judged_queries, pair_correlations, probe_layers
from .reading import Reading, pooled, read
from .samples import WeightSample, fixed_weights, sample_weights
from .sink_table import SinkTable, sink_table
from .sinks import LESS, TextSinks, sinks_of
from .states import SUMMARIES, LayerStates, probe_tokens, summary

HELD = 2
"""Variants and corpora whose states are held in memory; others are read from disk again."""

StageProgress = Callable[[str, int, int], None]
"""Called with (what is being done, done, in all)."""


class LayerLab:
    """Reads, ablates and probes the variants of a shelf."""

    def __init__(self, comparer: Comparer, states: LayerStates | None = None) -> None:
        self.comparer = comparer
        self.states = states or LayerStates()
        self._held: OrderedDict[tuple[str, str], Ablation] = OrderedDict()
        self._lock = threading.Lock()

    def encoder(self, variant: str) -> PooledEncoder:
        """The variant's encoder. Raises `InputError` for an unknown one, BM25 and models that are no backbone's."""
        return pooled(self.comparer.shelf.load(variant))

    def read(self, variant: str, text: str, kind: Kind = "document") -> Reading:
        """Weights, contributions and steps of one text."""
        self.comparer.limits.check_text(text)
        return read(self.encoder(variant), text, kind)

    def documents(
        self,
        variant: str,
        corpus: Corpus,
        label: str | None = None,
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
    ) -> WeightSample:
        """Weights over the documents of a corpus, or of one of its labels. Raises `InputError` for an unknown label."""
        rows = list(range(len(corpus))) if label is None else rows_of(corpus, label)
        encoder, name = self.encoder(variant), label or "documents"
        if encoder.design.pooling != "multi-layer":
            return fixed_weights(encoder, len(rows), name)
        return sample_weights(encoder, self._states(encoder, corpus, None, progress, cancel)[rows], name)

    def queries(self, variant: str, corpus: Corpus) -> WeightSample:
        """Weights over the queries of a corpus. Raises `InputError` if it has none."""
        texts = [text for text in corpus.queries.values() if text.strip()]
        if not texts:
            raise InputError(f"corpus '{corpus.name}' has no queries")
        encoder = self.encoder(variant)
        return sample_weights(encoder, self.states.queries(encoder, texts), "queries")

    def rerank(
        self,
        variant: str,
        corpus: Corpus,
        query: str,
        off: Sequence[int],
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
    ) -> Reranking:
        """The 100 best documents of a query ordered anew without the layers `off`: quick once states are stored."""
        ablation = self.ablation(variant, corpus, progress, cancel)
        return ablation.rerank(query, off, self._candidates(variant, corpus, query, progress, cancel))

    def why_here(
        self,
        variant: str,
        corpus: Corpus,
        query: str,
        document: str,
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
    ) -> WhyHere:
        """Layer by layer, how removing it moves one document among the 100 best of a query (and itself)."""
        ablation = self.ablation(variant, corpus, progress, cancel)
        return ablation.why_here(query, document, self._candidates(variant, corpus, query, progress, cancel))

    def ablate(
        self,
        variant: str,
        corpus: Corpus,
        k: int = 10,
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
    ) -> AblationReport:
        """nDCG@k over all judged queries without each layer and with each alone. Raises `Cancelled`."""
        check_switchable(self.encoder(variant))
        judged_queries(corpus)  # before anything long
        ablation = self.ablation(variant, corpus, progress, cancel)
        return ablation.single_layers(k, _stage("ablating", progress), cancel)

    def probe(
        self,
        variant: str,
        corpus: Corpus,
        states: States | None = None,
        k: int = 10,
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
        *,
        tokens: Tokens | None = None,
        weights: TokenWeights = "uniform",
    ) -> Probe:
        """nDCG@k of every layer's own vector on the judged queries of a corpus.

        `states`: "layer-eos" or "layer-means", default as the design reads. `tokens`, `weights`: over which tokens
        means are taken and how these count, default as `probe_tokens` says. Raises `InputError`, `Cancelled`.
        """
        judged = judged_queries(corpus)
        encoder = self.encoder(variant)
        chosen = checked_states(encoder, states)
        over = probe_tokens(encoder, chosen, tokens)
        scores = self._scores(encoder, corpus, judged, chosen, k, progress, cancel, tokens=over, weights=weights)
        ranked = self.comparer.compare_many(
            corpus, judged, [variant], k, progress=_encoding(progress), cancel=cancel
        ).quality
        return Probe(
            encoder.name, corpus.name, chosen, len(corpus), scores, ranked[encoder.name], over,
            weights if over else "uniform",
        )  # fmt: skip

    def probe_pairs(
        self,
        variant: str,
        name: str,
        pairs: Sequence[tuple[str, str, float]],
        states: States | None = None,
        *,
        tokens: Tokens | None = None,
        weights: TokenWeights = "uniform",
    ) -> PairsProbe:
        """How well each layer's own vector orders scored pairs of texts; the choices are those of `probe`."""
        encoder = self.encoder(variant)
        chosen = checked_states(encoder, states)
        over = probe_tokens(encoder, chosen, tokens)
        first, second, scores = [a for a, _, _ in pairs], [b for _, b, _ in pairs], [score for _, _, score in pairs]
        read = [self.states.queries(encoder, texts, chosen, tokens=over, weights=weights) for texts in (first, second)]
        own = [encoder.encode(texts, "query")[:, None] for texts in (first, second)]
        found = pair_correlations(read[0], read[1], scores)
        return PairsProbe(
            encoder.name, name, chosen, len(pairs), found, pair_correlations(own[0], own[1], scores)[0], over,
            weights if over else "uniform",
        )  # fmt: skip

    def sinks(self, variant: str, text: str, kind: Kind = "document") -> TextSinks:
        """Which tokens of one text are attention sinks, and what each holds of the mean of every layer."""
        self.comparer.limits.check_text(text)
        return sinks_of(self.encoder(variant), text, kind)

    def sink_table(
        self,
        variant: str,
        corpus: Corpus,
        k: int = 10,
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
    ) -> SinkTable:
        """Layer by layer: norms, what one token holds of the mean, and what that mean retrieves with and without it.

        Without judged queries nothing is retrieved. Raises `InputError`, `Cancelled`.
        """
        encoder = self.encoder(variant)
        table = sink_table(encoder, corpus.name, corpus.passages, _stage("measuring tokens", progress), cancel)
        try:
            judged = judged_queries(corpus)
        except InputError:
            return table
        scores = [
            self._scores(encoder, corpus, judged, "layer-means", k, progress, cancel, tokens=over)
            for over in ("all", LESS)
        ]
        return table.with_scores(*scores)

    def _scores(
        self,
        encoder: PooledEncoder,
        corpus: Corpus,
        judged: Mapping[str, str],
        chosen: States,
        k: int,
        progress: StageProgress | None,
        cancel: Cancel | None,
        *,
        tokens: Tokens | None,
        weights: TokenWeights = "uniform",
    ) -> tuple[QueryScores, ...]:
        """Measures of every layer's own vector."""
        how: dict[str, Any] = {"tokens": tokens, "weights": weights}
        documents = self.states.documents(encoder, corpus, chosen, _stage("reading layers", progress), cancel, **how)
        queries = self.states.queries(encoder, list(judged.values()), chosen, **how)
        return probe_layers(documents, queries, corpus, judged, k, _stage("probing", progress), cancel)

    def next_token(
        self, variant: str, corpus: Corpus, progress: StageProgress | None = None, cancel: Cancel | None = None
    ) -> NextToken:
        """How many next tokens of the first documents each layer guesses. `InputError` if the model guesses none."""
        told = _stage("guessing tokens", progress)
        return next_token.guesses(self.encoder(variant), corpus.name, corpus.passages, told, cancel)

    def has_next_token(self, variant: str) -> bool:
        """Whether `next_token` has an answer for this variant."""
        try:
            self.encoder(variant).backbone.word_head()
        except InputError:
            return False
        return True

    def ablation(
        self,
        variant: str,
        corpus: Corpus,
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
    ) -> Ablation:
        """The switchboard of a variant over a corpus; its states are computed on first use."""
        encoder = self.encoder(variant)
        check_switchable(encoder)
        key = (encoder.key("document") + encoder.key("query"), corpus.content_hash)
        with self._lock:
            held = self._held.get(key)
            # A variant that was unloaded and loaded again is another object; judgments may have changed.
            if held is not None and held.encoder is encoder and held.corpus is corpus:
                self._held.move_to_end(key)
                return held
            known = held.states if held is not None else None
        states = self._states(encoder, corpus, None, progress, cancel) if known is None else known
        made = Ablation(encoder, corpus, states)
        with self._lock:
            self._held[key] = made
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return made

    def _states(
        self,
        encoder: PooledEncoder,
        corpus: Corpus,
        chosen: States | None,
        progress: StageProgress | None,
        cancel: Cancel | None,
    ) -> np.ndarray:
        return self.states.documents(encoder, corpus, chosen, _stage("reading layers", progress), cancel)

    def _candidates(
        self, variant: str, corpus: Corpus, query: str, progress: StageProgress | None, cancel: Cancel | None
    ) -> list[int]:
        found = self.comparer.rank(
            variant,
            corpus,
            [query],
            DEPTH,
            progress=_encoding(progress),
            cancel=cancel,
            left_out=self.comparer.itself(corpus, {query_id(corpus, query): query}),
        )[0]
        return [corpus.position[hit.id] for hit in found]


def checked_states(encoder: PooledEncoder, states: States | None) -> States:
    """What stands for a layer in a probe, as the design reads if nothing is asked for. Raises `InputError`."""
    if states is not None and states not in SUMMARIES:
        raise InputError(f"a layer's vector is one of {', '.join(SUMMARIES)}, not '{states}'")
    return states or summary(encoder)


def rows_of(corpus: Corpus, label: str) -> list[int]:
    """Rows of the documents with that label. Raises `InputError` naming some labels if there is none."""
    rows = [i for i, document in enumerate(corpus.documents) if document.label == label]
    if not rows:
        known = ", ".join(corpus.labels[:12]) + (" …" if len(corpus.labels) > 12 else "")
        raise InputError(f"corpus '{corpus.name}' has no label '{label[:60]}'; it has: {known or 'none'}")
    return rows


def _stage(name: str, progress: StageProgress | None) -> Progress | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def _encoding(progress: StageProgress | None) -> StageProgress | None:
    return None if progress is None else lambda _variant, done, total: progress("encoding", done, total)
