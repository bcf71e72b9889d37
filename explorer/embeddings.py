"""Vectors computed once per (variant, corpus, text settings), kept on disk, reused after a restart.

    vectors = Embeddings().documents(encoder, corpus)   # float32 [n, d], rows of unit length

A file is keyed by content hashes (weights, prompt, length, dtype, documents), so nothing stale is ever read, and is
written whole or not at all.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .corpora import Corpus
from .errors import Cancelled
from .store import Cancel, Progress, cache_dir, content_hash, whole_file

if TYPE_CHECKING:
    from .encoder import Encoder

log = logging.getLogger(__name__)

QUERIES_KEPT = 20_000
"""Query vectors kept in memory: at 384 dimensions about 30 MB."""


Encode = Callable[["Encoder", Sequence[str], Progress | None, Cancel | None], np.ndarray]


def encode_here(encoder: Encoder, texts: Sequence[str], progress: Progress | None, cancel: Cancel | None) -> np.ndarray:
    """Documents, by the encoder itself."""
    return encoder.encode(texts, kind="document", progress=progress, cancel=cancel)


class Embeddings:
    """The cache. Thread-safe: what two requests need at once is computed once."""

    def __init__(self, encode: Encode | None = None) -> None:
        """`encode`: how documents are encoded, where not by the encoder itself, here."""
        self._encode = encode or encode_here
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()
        self._queries: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()

    def documents(
        self, encoder: Encoder, corpus: Corpus, progress: Progress | None = None, cancel: Cancel | None = None
    ) -> np.ndarray:
        """float32 [n, d] of the corpus in order. Raises `Cancelled`; then nothing is written."""
        path, shape = self.path(encoder, corpus), (len(corpus), encoder.dimension)
        with self._guard:
            # One variant after the other on one corpus: two at once would share the cores and both be late.
            lock = self._locks[corpus.content_hash]
        with _turn(lock, path, cancel):
            stored = read_vectors(path, shape)
            if stored is not None:
                return stored
            vectors = self._encode(encoder, corpus.passages, progress, cancel)
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
            return vectors

    @staticmethod
    def path(encoder: Encoder, corpus: Corpus) -> Path:
        """The file of these vectors."""
        name = f"{content_hash((encoder.key('document'), corpus.content_hash))[:40]}.npy"
        return (corpus.vectors or cache_dir("embeddings")) / name

    def queries(self, encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
        """float32 [q, d]; texts seen lately are not encoded again."""
        key = encoder.key("query")
        with self._guard:
            known = {text: self._queries[key, text] for text in texts if (key, text) in self._queries}
            for text in known:
                self._queries.move_to_end((key, text))
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            fresh = dict(zip(missing, encoder.encode(missing, kind="query"), strict=True))
            known |= fresh
            with self._guard:
                self._queries.update({(key, text): vector for text, vector in fresh.items()})
                while len(self._queries) > QUERIES_KEPT:
                    self._queries.popitem(last=False)
        return np.stack([known[text] for text in texts]) if texts else np.empty((0, encoder.dimension), np.float32)


@contextmanager
def _turn(lock: threading.Lock, path: Path, cancel: Cancel | None) -> Iterator[None]:
    """Hold the lock, but do not wait for it once the file is there or the request was stopped."""
    held = False
    while not path.is_file() and not (held := lock.acquire(timeout=0.2)):
        if cancel is not None and cancel.is_set():
            raise Cancelled("stopped before its turn came")
    try:
        yield
    finally:
        if held:
            lock.release()


def read_vectors(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Stored vectors of that shape; None when there are none or the file is damaged (it is computed again)."""
    try:
        vectors = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, EOFError) as error:
        log.warning("embedding cache %s is damaged and computed again: %s", path.name, error)
        return None
    if vectors.shape != shape or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
        log.warning("embedding cache %s does not fit and is computed again", path.name)
        return None
    return vectors


def cache_bytes() -> int:
    """Bytes of stored embeddings."""
    return sum(file.stat().st_size for file in cache_dir("embeddings").rglob("*.npy"))


def clear_cache() -> int:
    """Delete all stored embeddings; returns the bytes freed. They are computed again when needed."""
    freed = cache_bytes()
    shutil.rmtree(cache_dir("embeddings"), ignore_errors=True)
    return freed
