"""Rankings side by side: one query or many, over one corpus, by several variants.

comparer = Comparer(Shelf())
view = comparer.compare(corpus, "delete a folder and everything in it", ["minilm-published", "bm25"], k=10)
view.results["bm25"][0].id, view.agreement.pairs()
study = comparer.compare_many(corpus, corpus.queries, ["minilm-published", "bm25"], k=10)
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .corpora import Corpus
from .corpora.itself import plain
from .corpora.library import query_id
from .embeddings import Embeddings
from .errors import InputError
from .limits import Limits
from .measures import Agreement, Difference, QueryScores, agreement_matrix, disagreement, paired_difference, quality
from .retrieval import DenseIndex, Hit, LexicalIndex, has_words, hits
from .retrieval import Kind as IndexKind
from .store import Cancel
from .variants import Shelf

VariantProgress = Callable[[str, int, int], None]
"""Called with (variant, texts done, texts in all) while a corpus is encoded."""

INDEXES_KEPT = 12
MAX_K = Limits().k
QUALITY_DEPTH = 100
"""Depth of the rankings that measures over many queries are taken from (nDCG and MRR are cut at k)."""

NO_WORD = "no word of the query occurs in these documents"
"""Why the ranking of BM25 is empty."""


@dataclass(frozen=True)
class Comparison:
    """One query's rankings, best first, by variant."""

    corpus: Corpus
    query: str
    k: int
    results: Mapping[str, list[Hit]]
    notes: Mapping[str, list[str]] = field(default_factory=dict)
    """Of variants that run otherwise than asked, such as in another precision: sentences."""
    left_out: frozenset[str] = frozenset()
    """Ids of the documents that are the query itself, which no ranking has."""

    @property
    def why_nothing(self) -> dict[str, str]:
        """Variant -> why it found nothing, for those that did not."""
        return {name: self._why_empty() for name, ranking in self.results.items() if not ranking}

    def _why_empty(self) -> str:
        if len(self.left_out) >= len(self.corpus):
            return "there is no other document than the query itself"
        if not has_words(self.query):
            return "the query has no word that BM25 reads: it leaves out single letters and the commonest English words"
        return NO_WORD.replace("these", "other") if self.left_out else NO_WORD

    @property
    def rankings(self) -> dict[str, list[str]]:
        """Document ids, best first, by variant."""
        return {name: [hit.id for hit in ranking] for name, ranking in self.results.items()}

    @cached_property
    def agreement(self) -> Agreement:
        """Overlap@k and rank-biased overlap of every pair."""
        return agreement_matrix(self.rankings, self.k)

    def shifts(self, reference: str) -> dict[str, dict[str, int | None]]:
        """Per variant and document: places gained against the reference (positive: ranked higher here).

        None where the reference does not have the document among its k.
        """
        base = {hit.id: hit.rank for hit in self.results[reference]}
        return {
            name: {hit.id: base[hit.id] - hit.rank if hit.id in base else None for hit in ranking}
            for name, ranking in self.results.items()
        }

    def shared_by_all(self) -> set[str]:
        """Documents that stand at the same rank in every column: what "only disagreements" hides."""
        columns = list(self.rankings.values())
        if len(columns) < 2:
            return set()
        return {rows[0] for rows in zip(*columns, strict=False) if len(set(rows)) == 1}

    def quality(self, query_id: str) -> dict[str, QueryScores]:
        """Measures of this one query by variant; empty when nothing is judged relevant to it."""
        judged = self.corpus.judged(query_id)
        if not has_relevant(judged):
            return {}
        return {name: quality({query_id: found}, {query_id: judged}, self.k) for name, found in self.results.items()}

    def to_json(self) -> dict[str, Any]:
        """The document of `search --json`."""
        return {
            "query": self.query,
            "corpus": self.corpus.name,
            "results": {
                name: [
                    {"rank": hit.rank, "id": hit.id, "score": hit.score, "text": self.corpus.document(hit.id).passage}
                    for hit in ranking
                ]
                for name, ranking in self.results.items()
            },
            "agreement": {"k": self.k, "pairs": self.agreement.pairs()},
            "notes": {
                name: [*self.notes.get(name, ()), *([self.why_nothing[name]] if name in self.why_nothing else [])]
                for name in self.results
                if self.notes.get(name) or name in self.why_nothing
            },
            **({"left_out": sorted(self.left_out)} if self.left_out else {}),
        }


@dataclass(frozen=True)
class ManyQueries:
    """Rankings of many queries by variant, with what they say about the variants."""

    corpus: Corpus
    queries: Mapping[str, str]
    k: int
    results: Mapping[str, Mapping[str, list[Hit]]]
    left_out: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Query id -> ids of the documents that are the query itself, where there are any."""

    @cached_property
    def found_nothing(self) -> dict[str, list[str]]:
        """Variant -> ids of the queries for which it found nothing, for variants with any: those count as 0."""
        empty = {name: [q for q in self.queries if not runs[q]] for name, runs in self.results.items()}
        return {name: queries for name, queries in empty.items() if queries}

    @cached_property
    def disagreements(self) -> dict[str, float]:
        """Query id -> 1 - mean pairwise rank-biased overlap, hardest disagreement first."""
        values = {
            query: disagreement(
                {name: [h.id for h in runs[query][: self.k]] for name, runs in self.results.items()}, self.k
            )
            for query in self.queries
        }
        return dict(sorted(values.items(), key=lambda item: -item[1]))

    @cached_property
    def quality(self) -> dict[str, QueryScores]:
        """nDCG@k, MRR@k, Recall@k by variant and query; empty when none of the queries is judged.

        Queries without a relevant document do not count.
        """
        judged = {q: grades for q in self.queries if has_relevant(grades := self.corpus.judged(q))}
        if not judged:
            return {}
        return {name: quality(runs, judged, self.k) for name, runs in self.results.items()}

    def differences(self, reference: str, metric: str) -> dict[str, Difference]:
        """Every other variant minus the reference, paired by query. Empty with fewer than two judged queries."""
        if not self.quality or self.quality[reference].n < 2:
            return {}
        base = self.quality[reference].values(metric)
        return {
            name: paired_difference(scores.values(metric), base)
            for name, scores in self.quality.items()
            if name != reference
        }


def check_query(query: str) -> None:
    """Raises `InputError` for a query without a word."""
    if not query.strip():
        raise InputError("type a query first: there is nothing to search for")


def without(ranking: Sequence[Hit], left_out: Collection[str], k: int) -> list[Hit]:
    """Take documents out of a ranking; those below move up.

    Args:
        ranking: Hits, best first.
        left_out: Ids of documents that are no hits.
        k: How many hits are wanted.

    Returns:
        The first k of the others, ranked from 1.
    """
    kept = [hit for hit in ranking if hit.id not in left_out][:k]
    return [Hit(hit.id, rank, hit.score) for rank, hit in enumerate(kept, start=1)]


def has_relevant(judged: Mapping[str, int]) -> bool:
    """Whether any of these judgments says relevant."""
    return any(grade > 0 for grade in judged.values())


class Comparer:
    """Ranks corpora with variants; keeps indexes in memory and embeddings on disk. Thread-safe."""

    def __init__(self, shelf: Shelf, embeddings: Embeddings | None = None, limits: Limits | None = None) -> None:
        self.shelf = shelf
        self.limits = limits or Limits()
        self.embeddings = embeddings or Embeddings()
        self._indexes: OrderedDict[tuple[str, ...], DenseIndex | LexicalIndex] = OrderedDict()
        self._lock = threading.Lock()

    def index(
        self,
        variant: str,
        corpus: Corpus,
        kind: IndexKind = "exact",
        progress: VariantProgress | None = None,
        cancel: Cancel | None = None,
    ) -> DenseIndex | LexicalIndex:
        """The index of a corpus for a variant, built on first use. BM25 has one of its own kind."""
        if self.shelf.find(variant).source == "lexical":
            return self._kept(("bm25", corpus.content_hash), lambda: LexicalIndex(corpus.passages))
        encoder = self.shelf.load(variant)

        def report(done: int, total: int) -> None:
            if progress is not None:
                progress(variant, done, total)

        def build() -> DenseIndex:
            vectors = self.embeddings.documents(encoder, corpus, report, cancel)
            return DenseIndex(vectors, kind, progress=report, cancel=cancel)

        return self._kept((encoder.key("document"), corpus.content_hash, kind), build)

    def _kept(self, key: tuple[str, ...], build: Callable[[], DenseIndex | LexicalIndex]) -> DenseIndex | LexicalIndex:
        with self._lock:
            if key in self._indexes:
                self._indexes.move_to_end(key)
                return self._indexes[key]
        index = build()
        with self._lock:
            self._indexes[key] = index
            while len(self._indexes) > INDEXES_KEPT:
                self._indexes.popitem(last=False)
        return index

    def rank(
        self,
        variant: str,
        corpus: Corpus,
        queries: Sequence[str],
        k: int,
        kind: IndexKind = "exact",
        progress: VariantProgress | None = None,
        cancel: Cancel | None = None,
        left_out: Sequence[Collection[str]] = (),
    ) -> list[list[Hit]]:
        """Rank documents for each query text, by one variant.

        Args:
            variant: Its name.
            corpus: What is searched.
            queries: Texts.
            k: How many documents each gets.
            kind: The index to search with.
            progress: Told while documents are encoded.
            cancel: Stops that when it is set.
            left_out: For each query ids of documents that are no hits, as `itself` has them; none for none.

        Returns:
            For each query the k best documents, best first.

        Raises:
            InputError: A query is too long or there are too many, or the variant is unknown.
            Cancelled: `cancel` was set.
        """
        self.limits.check_queries(len(queries))
        for query in queries:
            self.limits.check_text(query)
        index = self.index(variant, corpus, kind, progress, cancel)
        deeper = k + max(map(len, left_out), default=0)
        if isinstance(index, LexicalIndex):
            found = index.search(queries, deeper)
        else:
            found = index.search(self.embeddings.queries(self.shelf.load(variant), queries), deeper)
        ranked = [hits(scores, rows, corpus.ids) for scores, rows in zip(*found, strict=True)]
        return [without(*of, k) for of in zip(ranked, left_out, strict=True)] if left_out else ranked

    def itself(self, corpus: Corpus, queries: Mapping[str, str], same_text: bool = False) -> list[frozenset[str]]:
        """Find the documents that are the query itself, and so no answer to it.

        Args:
            corpus: What is searched.
            queries: Id -> text; ids as the corpus has them where it has the query.
            same_text: Also documents with the query's text, under whatever id.

        Returns:
            For each query their ids; mostly none.
        """
        found = []
        for id, text in queries.items():
            own = {id} if id in corpus.itself and plain(corpus.queries[id]) == plain(text) else set()
            found.append(frozenset(own.union(corpus.by_text.get(plain(text), ()) if same_text else ())))
        return found

    def recall(self, variant: str, corpus: Corpus, kind: IndexKind, sample: int = 100) -> float | None:
        """Recall@10 of an approximate index, with evenly spaced documents as queries. BM25 is exact: None."""
        index = self.index(variant, corpus, kind)
        if isinstance(index, LexicalIndex):
            return None
        vectors = self.embeddings.documents(self.shelf.load(variant), corpus)
        return index.recall(vectors[:: max(1, len(vectors) // sample)][:sample], 10)

    def compare(
        self,
        corpus: Corpus,
        query: str,
        variants: Sequence[str],
        k: int = 10,
        kind: IndexKind = "exact",
        progress: VariantProgress | None = None,
        cancel: Cancel | None = None,
        same_text: bool = False,
    ) -> Comparison:
        """One query, one ranking a variant. Raises `InputError` for an empty query, no or unknown variants, a bad k.

        A query that is one of the documents does not find itself; with `same_text` neither documents with its text.
        """
        self.check_query(query)
        names = self.names(variants, k)
        left_out = self.itself(corpus, {query_id(corpus, query): query}, same_text)
        results = {name: self.rank(name, corpus, [query], k, kind, progress, cancel, left_out)[0] for name in names}
        return Comparison(corpus, query, k, results, self.shelf.notes(names), left_out[0])

    def compare_many(
        self,
        corpus: Corpus,
        queries: Mapping[str, str],
        variants: Sequence[str],
        k: int = 10,
        kind: IndexKind = "exact",
        progress: VariantProgress | None = None,
        cancel: Cancel | None = None,
        same_text: bool = False,
    ) -> ManyQueries:
        """Many queries (id -> text), ranked to depth `QUALITY_DEPTH` by every variant.

        Queries that are documents do not find themselves; with `same_text` neither documents with their text.
        """
        queries = {id: text for id, text in queries.items() if text.strip()}
        if not queries:
            raise InputError("there are no queries to run: the corpus has none and none were given")
        self.limits.check_queries(len(queries))
        names = self.names(variants, k)
        results: dict[str, dict[str, list[Hit]]] = {}
        left_out = self.itself(corpus, queries, same_text)
        texts, depth = list(queries.values()), max(k, QUALITY_DEPTH)
        for name in names:
            ranked = self.rank(name, corpus, texts, depth, kind, progress, cancel, left_out)
            results[name] = dict(zip(queries, ranked, strict=True))
        return ManyQueries(
            corpus, queries, k, results, {q: ids for q, ids in zip(queries, left_out, strict=True) if ids}
        )

    def names(self, variants: Sequence[str], k: int) -> list[str]:
        """Full names of the variants asked for, each once. Raises `InputError` for none, unknown ones or a bad k."""
        names = list(dict.fromkeys(self.shelf.find(name).name for name in variants))
        self.limits.check_variants(len(names), k)
        if not names:
            raise InputError("choose at least one variant to search with")
        return names

    def check_query(self, query: str) -> None:
        """Raises `InputError` for a query without a word, or a longer one than is allowed."""
        check_query(query)
        self.limits.check_text(query)
