"""Indexes over one corpus, dense and lexical, behind one interface: texts or vectors in, ranked rows out.

    index = DenseIndex(vectors)                       # exact; "hnsw" and "ivfpq" for large corpora
    scores, rows = index.search(queries, k=10)        # both [q, k], best first
    ranking = hits(scores[0], rows[0], ids)           # list of Hit, for people and measures

Every index returns `rows` int64 and `scores` float32, both [q, min(k, n)]; a place that has no result holds row -1 and
score 0, after all results. Equal scores are ordered by row, so the same corpus and query always give the same ranking.
Searching is thread-safe; an index never changes once built.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from .errors import Cancelled, InputError
from .store import Cancel, Progress

APPROXIMATE_FROM = 100_000
"""An approximate index is offered for more vectors than this; below, exact search takes milliseconds."""

Kind = Literal["exact", "hnsw", "ivfpq"]
"""How a `DenseIndex` searches: every vector; a navigable graph; the nearest cells, compressed, then re-ranked."""

Found = tuple[np.ndarray, np.ndarray]
"""(scores, rows)."""

SEED = 20240902
HNSW_LINKS = 32  # M of Malkov & Yashunin 2018
HNSW_BUILD_BREADTH = 200  # efConstruction
HNSW_SEARCH_BREADTH = 128  # efSearch, at least
IVFPQ_PROBED = 1 / 16  # the share of cells a query looks into
IVFPQ_REFINED = 20  # candidates re-ranked with their true vectors, per result
IVFPQ_MIN_VECTORS = 39 * 256  # FAISS trains a codebook of 256 on at least 39 examples each
EXACT_SPARE = 16  # candidates beyond k, so that a tie across the cut is seen
ROUNDING = 1e-5  # FAISS scores of unit vectors are off by less than this (float32 sums of up to ~10^4 products)
BLOCK = 4_096  # rows scored at once: bounds memory


@dataclass(frozen=True)
class Hit:
    """One result: the document's id, its place (1 is best) and the score that put it there."""

    id: str
    rank: int
    score: float


def hits(
    scores_row: Sequence[float] | np.ndarray, rows_row: Sequence[int] | np.ndarray, ids: Sequence[str]
) -> list[Hit]:
    """One query's `scores` [k] and `rows` [k] as hits; places without a result (row -1) are dropped."""
    found = [(float(score), int(row)) for score, row in zip(scores_row, rows_row, strict=True) if row >= 0]
    return [Hit(ids[row], rank, score) for rank, (score, row) in enumerate(found, start=1)]


class DenseIndex:
    """Inner-product search over `vectors` [n, d] float32, L2-normalised by the caller (so scores are cosines).

    `kind` is "exact" (FAISS `IndexFlatIP`), "hnsw" (a graph of links: fast, needs n x 270 bytes more) or "ivfpq"
    (cells of compressed vectors: builds faster than the graph). All kinds keep one full copy of the vectors, with which
    every result is scored, so scores do not depend on the kind or on which queries are searched together.

    The approximate kinds save time, not memory, may miss results (measure it with `recall`) and need
    n > `APPROXIMATE_FROM`; `force` lifts that limit. The same vectors give the same index, whatever the threads do. A
    graph takes minutes to build from 10^5 vectors: `progress` is called with (done, n); `cancel` raises `Cancelled`.

    Raises `InputError` for an unknown kind, a wrong shape or type, values that are not finite, too few vectors.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        kind: Kind = "exact",
        *,
        force: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        vectors = _checked(vectors, "vectors")
        if not len(vectors):
            raise InputError("an index needs at least one vector; got none")
        _check_kind(kind, len(vectors), force)
        faiss = _faiss()
        self.kind = kind
        self.n, self.dimension = vectors.shape
        self._store = faiss.IndexFlatIP(self.dimension)
        build = {"exact": self._build_exact, "hnsw": self._build_hnsw, "ivfpq": self._build_ivfpq}[kind]
        self._index = build(vectors, progress, cancel)
        # A view of FAISS's own copy: the caller may free or change theirs.
        self._vectors = faiss.rev_swig_ptr(self._store.get_xb(), vectors.size).reshape(vectors.shape)
        self._longest = float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max()))

    def __len__(self) -> int:
        return self.n

    def search(self, queries: np.ndarray, k: int) -> Found:
        """The `min(k, n)` nearest vectors of each of `queries` [q, d] float32: (scores, rows), both [q, min(k, n)].

        Raises `InputError` if the queries do not fit the index or k is below 1.
        """
        queries, k = _checked(queries, "queries", self.dimension), min(_checked_k(k), self.n)
        if self.kind == "exact":
            return self._exact(queries, k)
        return self._ranked_all(queries, self._candidates(queries, k), k)

    def recall(self, queries: np.ndarray, k: int = 10) -> float:
        """The share of the true k nearest that `search` finds, averaged over `queries` [q, d], q > 0; 1 is exact.

        A result counts as found if it scores at least as high as the true k-th, so ties are never held against it.
        """
        queries, k = _checked(queries, "queries", self.dimension), min(_checked_k(k), self.n)
        if not len(queries):
            raise InputError("recall is measured on at least one query; got none")
        true, _ = self._exact(queries, k)
        scores, rows = self.search(queries, k)
        return float(((scores >= true[:, -1:]) & (rows >= 0)).mean())

    @cached_property
    def bytes(self) -> int:
        """About how much memory the index takes: the vectors, and what the kind adds to them."""
        vectors = 4 * self.n * self.dimension
        if self.kind == "hnsw":
            graph = self._index.hnsw
            return vectors + 4 * graph.neighbors.size() + 12 * self.n  # a level and an offset for each vector
        if self.kind == "ivfpq":
            codes = self.n * (self._index.pq.M + 8)  # a byte each part, and the row
            return vectors + codes + 4 * self.dimension * (self._index.nlist + 256)
        return vectors

    def _exact(self, queries: np.ndarray, k: int) -> Found:
        """Search every vector, with ties across the cut settled by row.

        A single query is one matrix-vector product, for which numpy uses all cores and FAISS one.
        """
        margin = ROUNDING * self._longest * np.linalg.norm(queries, axis=1)
        if len(queries) == 1:
            scores, rows = self._settled(queries[0], k, float(margin[0]))
            return scores[None], rows[None]
        wanted = min(self.n, k + EXACT_SPARE)
        approximate, candidates = self._store.search(queries, wanted)
        scores, rows = self._ranked_all(queries, candidates, k)
        if wanted < self.n:
            # FAISS keeps an arbitrary one of equal scores: where a score outside could equal the k-th, look at all.
            for i in np.flatnonzero(approximate[:, -1] >= scores[:, -1] - margin):
                scores[i], rows[i] = self._settled(queries[i], k, float(margin[i]))
        return scores, rows

    def _settled(self, query: np.ndarray, k: int, margin: float) -> Found:
        """The k best of all vectors for one query [d], whatever ties there are."""
        approximate = self._vectors @ query
        cut = np.partition(approximate, self.n - k)[self.n - k] - margin
        return self._ranked(query, np.flatnonzero(approximate >= cut), k)

    def _candidates(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Rows [q, >= k] that an approximate index proposes, -1 where it found fewer."""
        faiss = _faiss()
        if self.kind == "hnsw":
            breadth = faiss.SearchParametersHNSW(efSearch=max(HNSW_SEARCH_BREADTH, 2 * k))
            return self._index.search(queries, k, params=breadth)[1]
        probe = faiss.SearchParametersIVF(nprobe=max(8, int(self._index.nlist * IVFPQ_PROBED)))
        return self._index.search(queries, min(self.n, k * IVFPQ_REFINED), params=probe)[1]

    def _ranked_all(self, queries: np.ndarray, candidates: np.ndarray, k: int) -> Found:
        """Candidates [q, c] as (scores, rows) [q, k]."""
        scores, rows = _nothing(len(queries), k)
        for i, (query, found) in enumerate(zip(queries, candidates, strict=True)):
            best, where = self._ranked(query, np.sort(found[found >= 0]), k)
            scores[i, : len(best)], rows[i, : len(best)] = best, where
        return scores, rows

    def _ranked(self, query: np.ndarray, rows: np.ndarray, k: int) -> Found:
        """The k best of `rows` (ascending) for one query [d].

        Scores are summed in float64, row by row, and rounded once: equal vectors get equal scores, which a float32
        matrix product does not promise (its order of summation varies with the row and the size of the batch).
        """
        blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
        sums = [np.multiply(self._vectors[block], query, dtype=np.float64).sum(axis=1) for block in blocks]
        scores = np.concatenate([*sums, np.empty(0)]).astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:k]
        return scores[order], rows[order]

    def _build_exact(self, vectors: np.ndarray, progress: Progress | None, cancel: Cancel | None) -> Any:
        self._store.add(vectors)
        return self._store

    def _build_hnsw(self, vectors: np.ndarray, progress: Progress | None, cancel: Cancel | None) -> Any:
        faiss = _faiss()
        index = faiss.IndexHNSW(self._store, HNSW_LINKS)  # adding to the graph adds to the store below it
        index.hnsw.efConstruction = HNSW_BUILD_BREADTH
        # From 1.15 FAISS links the same graph whatever its threads do (PR 5486), also over several adds (PR 5524).
        for start in range(0, self.n, BLOCK):
            if cancel is not None and cancel.is_set():
                raise Cancelled(f"building the HNSW index was stopped after {start:,} of {self.n:,} vectors")
            index.add(vectors[start : start + BLOCK])
            if progress is not None:
                progress(min(start + BLOCK, self.n), self.n)
        return index

    def _build_ivfpq(self, vectors: np.ndarray, progress: Progress | None, cancel: Cancel | None) -> Any:
        faiss = _faiss()
        self._store.add(vectors)
        cells = min(int(4 * self.n**0.5), self.n // 39)  # FAISS wants 39 examples a cell
        parts = _parts(self.dimension)
        coarse = faiss.IndexFlatIP(self.dimension)
        index = faiss.IndexIVFPQ(coarse, self.dimension, cells, parts, 8, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = index.pq.cp.seed = SEED
        index.cp.spherical = True
        index.train(vectors)
        index.add(vectors)
        return index


class LexicalIndex:
    """BM25 over `passages` by bm25s (Lucene's variant, k1 = 1.5, b = 0.75): what embeddings have to beat.

    Words are runs of two or more letters, digits or underscores, in lower case, without Lucene's 33 English stop words,
    cut to their stem by the Snowball English stemmer. Passages without a word, even all of them, are allowed: nothing
    finds them. Raises `InputError` if there is no passage.
    """

    def __init__(self, passages: Sequence[str]) -> None:
        if not len(passages):
            raise InputError("an index needs at least one passage; got none")
        self.n = len(passages)
        words = _words(passages)
        self._bm25: Any = None
        if any(words):
            self._bm25 = _bm25s().BM25()
            self._bm25.index(words, create_empty_token=False, show_progress=False)

    def __len__(self) -> int:
        return self.n

    def search(self, texts: Sequence[str], k: int) -> Found:
        """The best passages for each text: (scores, rows), both [q, min(k, n)].

        Only passages that share a word with the text are results; the places after them hold row -1 and score 0.
        Raises `InputError` if k is below 1.
        """
        k = min(_checked_k(k), self.n)
        scores, rows = _nothing(len(texts), k)
        for i, words in enumerate(_words(texts) if self._bm25 is not None else []):
            known = self._bm25.get_tokens_ids(words)
            if known:
                best, where = _top_positive(self._bm25.get_scores_from_ids(known), k)
                scores[i, : len(best)], rows[i, : len(best)] = best, where
        return scores, rows


def has_words(text: str) -> bool:
    """Whether a text has a word that `LexicalIndex` reads."""
    return any(map(bool, _words([text])))


def _words(texts: Sequence[str]) -> list[list[str]]:
    """The stems of each text, in order."""
    import Stemmer

    # A stemmer is not thread-safe and costs a microsecond: one a call.
    stemmer = Stemmer.Stemmer("english")
    return _bm25s().tokenize(list(texts), stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)


def _top_positive(scores: np.ndarray, k: int) -> Found:
    """The k highest of `scores` [n] that are above 0; equal scores in order of row."""
    cut = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero((scores >= cut) & (scores > 0))
    rows = rows[np.argsort(-scores[rows], kind="stable")[:k]]
    return scores[rows], rows


def _nothing(q: int, k: int) -> Found:
    """[q, k] places without a result."""
    return np.zeros((q, k), np.float32), np.full((q, k), -1, np.int64)


def _parts(dimension: int) -> int:
    """Into how many parts product quantisation cuts a vector: a divisor of d that gives parts of about 16 values.

    FAISS trains those ten times faster than parts of 4 to 12; re-ranking makes up for the coarser codes. Short vectors
    get up to 8 parts, or their codes would be all alike.
    """
    most = max(dimension // 16, min(dimension, 8))
    return max(m for m in range(1, most + 1) if dimension % m == 0)


def _check_kind(kind: str, n: int, force: bool) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"unknown index kind '{kind}'; known: {', '.join(get_args(Kind))}")
    if kind != "exact" and n <= APPROXIMATE_FROM and not force:
        raise InputError(
            f"an approximate index ('{kind}') is for more than {APPROXIMATE_FROM:,} vectors; with {n:,}, use 'exact'"
        )
    if kind == "ivfpq" and n < IVFPQ_MIN_VECTORS:
        raise InputError(f"an 'ivfpq' index is trained on at least {IVFPQ_MIN_VECTORS:,} vectors; got {n:,}")


def _checked(array: np.ndarray, name: str, dimension: int | None = None) -> np.ndarray:
    """`array` [n, d], contiguous, if it is a float32 matrix of finite values (with d = `dimension`)."""
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] == 0:
        shape = list(getattr(array, "shape", ())) or type(array).__name__
        raise InputError(f"{name} must be a matrix [n, d] with d of at least 1; got {shape}")
    if array.dtype != np.float32:
        raise InputError(f"{name} must be float32; got {array.dtype}")
    if dimension is not None and array.shape[1] != dimension:
        raise InputError(f"{name} have {array.shape[1]} dimensions, but the index has {dimension}")
    finite = np.isfinite(np.einsum("nd,nd->n", array, array))  # [n]; a mask [n, d] would be large
    if not finite.all():
        raise InputError(f"{name} must be finite; row {int(np.argmin(finite))} holds NaN or infinity")
    return np.ascontiguousarray(array)


def _checked_k(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k must be a whole number of at least 1; got {k!r}")
    return int(k)


def _faiss() -> Any:
    """FAISS, imported on first use (0.3 s)."""
    import faiss

    # Its own loop for fewer than 20 queries reads all vectors once a query; a matrix product reads them once.
    faiss.cvar.distance_compute_blas_threshold = 2
    return faiss


_importing = threading.Lock()


def _bm25s() -> Any:
    """bm25s, imported on first use (0.7 s), by one thread: two at once have seen it half imported."""
    with _importing:
        import bm25s

    # It sets its own logger to DEBUG, which would print through whatever handler the program installs.
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    return bm25s
