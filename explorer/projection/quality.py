"""How far a map can be believed, and how the space behind it is shaped.

Ranks and neighbours are those of the original space by cosine. Where every document against every other would take too
long, a seeded sample of documents is measured, each against all others, and the numbers say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Cancelled
from ..store import Cancel, Progress
from .neighbours import shared

CELLS = 100_000_000
"""Pairs of documents whose similarity is looked at: all pairs of 10,000 documents, or of 2,000 with 50,000."""
SILHOUETTE_SAMPLE = 2_000
"""Silhouettes compare all pairs in all dimensions."""
BLOCK_CELLS = 4_000_000  # similarities held at once


@dataclass(frozen=True)
class Quality:
    """Numbers of one map. None where a number is not defined; `reasons` says why, by the name of the field."""

    n: int
    neighbours: int
    measured: int
    """Documents that trustworthiness was measured at."""
    trustworthiness: float | None
    preservation: float | None
    silhouette_space: float | None
    """By label, in the original space (cosine)."""
    silhouette_map: float | None
    """By label, on the map (Euclidean)."""
    mean_cosine: float | None
    effective_rank: float | None
    dimensions: int
    reasons: dict[str, str]
    point_trust: np.ndarray
    """[n]; NaN at documents that were not drawn."""

    def to_json(self) -> dict[str, Any]:
        """All numbers, without those of single documents."""
        return {key: value for key, value in self.__dict__.items() if key != "point_trust"}


def sample_size(n: int) -> int:
    """How many of n documents are measured one by one."""
    return min(n, max(500, CELLS // n))


def usable_k(n: int, k: int) -> int:
    """The neighbours that trustworthiness can be measured with: fewer than half the documents."""
    return min(k, (n - 1) // 2)


def map_neighbours(xy: np.ndarray, k: int, rows: np.ndarray | None = None) -> np.ndarray:
    """The k nearest on the map [n, 2] of the documents `rows` (all if None), themselves left out: int [m, k]."""
    from sklearn.neighbors import NearestNeighbors

    asked = np.arange(len(xy)) if rows is None else rows
    # Documents on one spot may push a document out of its own list; then the last one goes.
    found = NearestNeighbors(n_neighbors=k + 1).fit(xy).kneighbors(xy[asked], return_distance=False)
    drop = found == asked[:, None]
    drop[~drop.any(axis=1), -1] = True
    return found[~drop].reshape(len(asked), k)


def trustworthiness(
    vectors: np.ndarray,
    xy: np.ndarray,
    k: int,
    rows: np.ndarray | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> np.ndarray:
    """Trustworthiness (Venna & Kaski 2001) at each of `rows` (all if None): float [m]; 1 is best, below 0 is possible.

    A document loses where the map puts next to it what is not among its k nearest in the space, by how far it is. The
    mean over all documents is `sklearn.manifold.trustworthiness` with the cosine metric. `vectors` [n, d] are unit
    vectors; k < n / 2. Raises `Cancelled`.
    """
    n = len(vectors)
    rows = np.arange(n) if rows is None else rows
    near = map_neighbours(xy, k, rows)
    lost = np.zeros(len(rows))
    step = max(1, BLOCK_CELLS // n)
    for start in range(0, len(rows), step):
        if cancel is not None and cancel.is_set():
            raise Cancelled(f"measuring was stopped after {start:,} of {len(rows):,} documents")
        part = rows[start : start + step]
        similar = vectors[part] @ vectors.T  # [b, n]
        similar[np.arange(len(part)), part] = -np.inf
        for j in range(k):
            theirs = np.take_along_axis(similar, near[start : start + step, j : j + 1], axis=1)
            rank = 1 + (similar > theirs).sum(axis=1)
            lost[start : start + step] += np.maximum(0, rank - k)
        if progress is not None:
            progress(min(start + step, len(rows)), len(rows))
    return 1 - 2 / (k * (2 * n - 3 * k - 1)) * lost


def preservation(rows_space: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """The share of the k nearest in the space, `rows_space` [n, k], that are among the k nearest on the map: [n]."""
    k = rows_space.shape[1]
    return shared(rows_space, map_neighbours(xy, k).astype(rows_space.dtype)) / k


def silhouette(points: np.ndarray, labels: Sequence[str], metric: str, seed: int = 0) -> tuple[float | None, str]:
    """scikit-learn's mean silhouette of the documents with a label (a seeded sample of many): (value, why none)."""
    from sklearn.metrics import silhouette_score

    given = np.array([bool(label) for label in labels])
    names = np.array(labels, dtype=object)[given]
    kinds = len(set(names))
    if kinds < 2:
        return None, "the documents have no labels" if not kinds else "there is only one label"
    rows = np.flatnonzero(given)
    if len(rows) > SILHOUETTE_SAMPLE:
        rows = np.sort(np.random.default_rng(seed).choice(rows, SILHOUETTE_SAMPLE, replace=False))
        names = np.array(labels, dtype=object)[rows]
        kinds = len(set(names))
    if not 2 <= kinds < len(rows):
        return None, "nearly every document has a label of its own"
    return float(silhouette_score(points[rows], names.astype(str), metric=metric)), ""


def mean_cosine(vectors: np.ndarray) -> float | None:
    """The mean cosine of two different documents, over all pairs of unit vectors [n, d], from their sum alone.

    0 where directions are spread evenly, 1 where all point the same way (a narrow cone). None for one document.
    """
    n = len(vectors)
    if n < 2:
        return None
    total = vectors.sum(axis=0, dtype=np.float64)
    own = np.einsum("nd,nd->", vectors, vectors, dtype=np.float64)
    return float((total @ total - own) / (n * (n - 1)))


def effective_rank(vectors: np.ndarray) -> float | None:
    """exp of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli 2007): 1 to d. None if no spread.

    In how many directions the vectors [n, d] really differ.
    """
    if len(vectors) < 2:
        return None
    # float64: what is equal must have no spread at all
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    small = centred.T @ centred if len(vectors) >= vectors.shape[1] else centred @ centred.T
    values = np.clip(np.linalg.eigvalsh(small), 0, None)
    if values.sum() <= 1e-12 * len(vectors):
        return None
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def measure(
    vectors: np.ndarray,
    rows: np.ndarray,
    xy: np.ndarray,
    labels: Sequence[str],
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Quality:
    """All numbers of the map `xy` [n, 2] of unit `vectors` [n, d], whose nearest neighbours are `rows` [n, k]."""
    n, k = rows.shape
    reasons: dict[str, str] = {}
    trust = np.full(n, np.nan)
    drawn = np.arange(n)
    if sample_size(n) < n:
        drawn = np.sort(np.random.default_rng(seed).choice(n, sample_size(n), replace=False))
    usable = usable_k(n, k)
    flat = not np.ptp(xy, axis=0).any()
    if flat or usable < 1:
        few = f"{n:,} document{'s are' if n > 1 else ' is'} too few to tell neighbours from others"
        reasons["trustworthiness"] = reasons["preservation"] = (
            "all documents lie on one spot" if flat and n > 2 else few
        )
    else:
        trust[drawn] = trustworthiness(vectors, xy, usable, drawn, progress, cancel)
    value, why = silhouette(vectors, labels, "cosine", seed)
    value_map, _ = silhouette(xy, labels, "euclidean", seed)
    if why:
        reasons["silhouette_space"] = reasons["silhouette_map"] = why
    cosine, rank = mean_cosine(vectors), effective_rank(vectors)
    if cosine is None:
        reasons["mean_cosine"] = "there is only one document"
    if rank is None:
        reasons["effective_rank"] = "there is only one document" if n < 2 else "all documents have the same vector"
    return Quality(
        n=n,
        neighbours=usable,
        measured=len(drawn),
        trustworthiness=None if reasons.get("trustworthiness") else float(np.nanmean(trust)),
        preservation=None if reasons.get("preservation") else float(preservation(rows, xy).mean()),
        silhouette_space=value,
        silhouette_map=value_map,
        mean_cosine=cosine,
        effective_rank=rank,
        dimensions=vectors.shape[1],
        reasons=reasons,
        point_trust=trust,
    )
