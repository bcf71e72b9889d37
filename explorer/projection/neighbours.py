"""Who stands next to whom in the original space: exact nearest neighbours of all documents, and how they change."""

from __future__ import annotations

import numpy as np

from ..errors import Cancelled, InputError
from ..retrieval import DenseIndex, Found
from ..store import Cancel, Progress

BATCH = 1_024  # documents searched between two looks at the stop signal
CHUNK = 20_000  # rows compared at once: k x k booleans each


def neighbours(
    index: DenseIndex, vectors: np.ndarray, k: int, progress: Progress | None = None, cancel: Cancel | None = None
) -> Found:
    """The k nearest documents of every document, itself left out: (scores float32, rows int32), both [n, min(k, n-1)].

    `index` holds `vectors` [n, d]; scores are cosines, best first. `progress` is called with (documents done, n).
    Raises `InputError` if k is below 1, `Cancelled`.
    """
    n = len(index)
    if k < 1:
        raise InputError(f"the number of neighbours must be at least 1, not {k}")
    wanted = min(k, n - 1)
    scores, rows = np.zeros((n, wanted), np.float32), np.full((n, wanted), -1, np.int32)
    for start in range(0, n if wanted else 0, BATCH):
        if cancel is not None and cancel.is_set():
            raise Cancelled(f"finding neighbours was stopped after {start:,} of {n:,} documents")
        end = min(start + BATCH, n)
        found = index.search(vectors[start:end], wanted + 1)
        scores[start:end], rows[start:end] = _without_self(*found, np.arange(start, end))
        if progress is not None:
            progress(end, n)
    return scores, rows


def _without_self(scores: np.ndarray, rows: np.ndarray, own: np.ndarray) -> Found:
    """Drop each document from its own list; where identical ones pushed it out, the last place goes instead."""
    drop = rows == own[:, None]
    drop[~drop.any(axis=1), -1] = True
    return scores[~drop].reshape(len(own), -1), rows[~drop].reshape(len(own), -1)


def shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many neighbours the rows of a [n, k] and b [n, l] have in common: int [n]. Row -1 means no neighbour."""
    found = np.zeros(len(a), np.int64)
    for start in range(0, len(a), CHUNK):
        part = slice(start, start + CHUNK)
        same = a[part, :, None] == b[part, None, :]
        found[part] = (same & (a[part, :, None] >= 0)).sum(axis=(1, 2))
    return found


def change(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 - Jaccard similarity of the neighbours a [n, k] and b [n, l] of each document: float [n], 0 same, 1 all new.

    Two documents without any neighbour have not changed.
    """
    common = shared(a, b)
    union = (a >= 0).sum(1) + (b >= 0).sum(1) - common
    return np.where(union > 0, 1 - common / np.maximum(union, 1), 0.0)


def most_changed(values: np.ndarray, limit: int) -> np.ndarray:
    """Rows of the `limit` largest values [n], largest first; equal values by row."""
    return np.argsort(-values, kind="stable")[:limit]
