"""Vectors [n, d] -> positions [n, 2]: PCA at once, UMAP from given neighbours, and one map turned onto another.

All of it repeats exactly: the same vectors, settings and seed give the same positions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..errors import Cancelled
from ..store import Cancel, Progress

MIN_DISTANCE, SPREAD = 0.1, 1.0
"""UMAP's own defaults: how close points may lie, and how far the whole reaches."""
FEWEST = 4
"""UMAP arranges no fewer documents than this."""
TELL_EVERY = 0.2  # seconds between two reports on a long computation
EIGEN_WIDTH = 1_000  # up to this many dimensions PCA is exact through the covariance matrix


@dataclass(frozen=True)
class Plane:
    """A PCA: positions `xy` [n, 2] float32 of the documents, and what places further vectors among them."""

    xy: np.ndarray
    mean: np.ndarray
    """[d]"""
    axes: np.ndarray
    """[2, d]; rows of zeros where the vectors spread in fewer than two directions."""
    explained: float
    """Share of the variance that the two axes show, 0 to 1."""

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Positions [m, 2] of further vectors [m, d]."""
        return ((vectors - self.mean) @ self.axes.T).astype(np.float32)


def pca(vectors: np.ndarray, seed: int = 0) -> Plane:
    """The two directions in which `vectors` [n, d] spread most; scikit-learn fixes their signs."""
    n, d = vectors.shape
    parts = min(2, n - 1, d)
    if parts < 1 or identical(vectors):
        return Plane(np.zeros((n, 2), np.float32), vectors[0].copy(), np.zeros((2, d), np.float32), 0.0)
    from sklearn.decomposition import PCA

    solver = "covariance_eigh" if d <= EIGEN_WIDTH else "randomized"
    fitted = PCA(parts, svd_solver=solver, random_state=seed).fit(vectors)
    axes = np.zeros((2, d), np.float32)
    axes[:parts] = fitted.components_
    mean = fitted.mean_.astype(np.float32)
    explained = float(np.nan_to_num(fitted.explained_variance_ratio_.sum()))
    return Plane(((vectors - mean) @ axes.T).astype(np.float32), mean, axes, explained)


def identical(vectors: np.ndarray) -> bool:
    """Whether all rows are the same."""
    return bool((vectors == vectors[0]).all())


# ---------------------------------------------------------------------------------------------------------------- UMAP


def epochs_for(n: int) -> int:
    """Passes over the neighbour graph: UMAP's 500 for few documents, its 200 for many (it starts from a PCA)."""
    return 500 if n <= 2_000 else 200


def umap(
    scores: np.ndarray,
    rows: np.ndarray,
    start: np.ndarray,
    seed: int,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> np.ndarray:
    """UMAP's positions [n, 2] float32 from neighbours (cosines and rows, both [n, k], a document's own left out).

    The two steps of `umap.UMAP.fit`, with its defaults; it begins at `start` [n, 2]. One thread and a seed, so that it
    repeats; several maps can be arranged at once, each in a thread of its own. Needs n >= `FEWEST`, k >= 1.
    Raises `Cancelled`.
    """
    parts, n, total = _umap(), len(rows), epochs_for(len(rows))
    own = np.arange(n, dtype=np.int32)[:, None]
    indices = np.hstack([own, rows.astype(np.int32)])
    distances = np.hstack([np.zeros((n, 1), np.float32), np.maximum(0, 1 - scores).astype(np.float32)])
    random = np.random.RandomState(seed)  # what UMAP draws with
    with _graphs:
        graph, *_ = parts.fuzzy_simplicial_set(
            start, indices.shape[1], random, "cosine", knn_indices=indices, knn_dists=distances
        )
    bar = {"disable": False, "delay": float("inf"), "initial": _Passes.starting(total, progress, cancel)}  # never drawn
    a, b = parts.find_ab_params(SPREAD, MIN_DISTANCE)
    xy, _ = parts.simplicial_set_embedding(
        start, graph, n_components=2, initial_alpha=1.0, a=a, b=b, gamma=1.0, negative_sample_rate=5, n_epochs=total,
        init=spread(start, seed), random_state=random, metric="cosine", metric_kwds={}, densmap=False, densmap_kwds={},
        output_dens=False, parallel=False, tqdm_kwds=bar,
    )  # fmt: skip
    return xy.astype(np.float32)


def spread(start: np.ndarray, seed: int) -> np.ndarray:
    """`start` [n, 2] scaled to a standard deviation of 1; a direction without any spread gets a seeded one.

    UMAP divides by the spread, and points that lie on one another would never part.
    """
    centred = start.astype(np.float64) - start.mean(axis=0)
    width = centred.std(axis=0)
    noise = np.random.default_rng(seed).standard_normal(start.shape)
    flat = width <= 1e-9 * max(float(width.max()), 1e-12)
    return np.where(flat, noise, centred / np.where(flat, 1, width.max())).astype(np.float32)


def prepare() -> None:
    """Import UMAP and have its functions compiled: 10 to 40 seconds once on a machine, then a few in each process."""
    with _compiling:
        if _compiled.is_set():
            return
        rng = np.random.default_rng(0)
        start = rng.standard_normal((64, 2)).astype(np.float32)
        rows = rng.integers(0, 64, (64, 5)).astype(np.int32)
        umap(rng.uniform(0, 1, (64, 5)).astype(np.float32), rows, start, 0)
        _compiled.set()


def start_preparing() -> threading.Thread | None:
    """The thread that prepares, started if need be; None when UMAP is ready."""
    global _preparing
    with _starting:
        if _compiled.is_set():
            return None
        if _preparing is None or not _preparing.is_alive():
            _preparing = threading.Thread(target=prepare, name="prepare-umap", daemon=True)
            _preparing.start()
        return _preparing


_starting = threading.Lock()
_preparing: threading.Thread | None = None
_compiling = threading.Lock()
_compiled = threading.Event()


_graphs = threading.Lock()
"""Some of numba's threading layers end the process where two threads start parallel work at once."""


@cache
def _umap() -> Any:
    """umap-learn's parts, imported on first use, with what it compiles kept on disk beside it.

    Its loop over the neighbour graph is compiled anew so that it runs without Python's lock: maps are arranged on
    several cores, and the page answers meanwhile.
    """
    import numba
    from umap import layouts, umap_

    layouts._nb_optimize_layout_euclidean_single_epoch = numba.njit(
        layouts._optimize_layout_euclidean_single_epoch, fastmath=True, nogil=True, cache=True
    )
    for compiled in (umap_.smooth_knn_dist, umap_.compute_membership_strengths):
        compiled.enable_caching()
    return umap_


class _Passes(int):
    """What UMAP's progress bar counts by: tells the passes as they are counted, and stops UMAP by raising.

    tqdm adds 1 to it after every pass, outside of its locks; raising where it writes would leave one held for ever.
    """

    watch: Callable[[int], None]

    @classmethod
    def starting(cls, total: int, progress: Progress | None, cancel: Cancel | None) -> _Passes:
        """Zero passes of `total`."""
        told = time.monotonic()

        def watch(done: int) -> None:
            nonlocal told
            if cancel is not None and cancel.is_set():
                raise Cancelled(f"UMAP was stopped after {done:,} of {total:,} passes")
            if progress is not None and (time.monotonic() - told > TELL_EVERY or done == total):
                told = time.monotonic()
                progress(done, total)

        made = cls(0)
        made.watch = watch
        return made

    def __add__(self, other: int) -> _Passes:
        made = _Passes(int(self) + other)
        made.watch = self.watch
        self.watch(int(made))
        return made


# ----------------------------------------------------------------------------------------------------------- alignment


@dataclass(frozen=True)
class Turn:
    """Rotates or reflects, scales and moves positions: (xy - centre) @ matrix + target."""

    matrix: np.ndarray
    centre: np.ndarray
    target: np.ndarray

    def __call__(self, xy: np.ndarray) -> np.ndarray:
        """Positions [m, 2] after it."""
        return ((xy - self.centre) @ self.matrix + self.target).astype(np.float32)


def turn_onto(xy: np.ndarray, onto: np.ndarray) -> Turn:
    """The rotation or reflection and shift that lay `xy` [n, 2] best over `onto` [n, 2] (Procrustes), as wide as that.

    The scale of least squares would shrink a map the more, the less it is like the other. Equal positions stay exactly
    as they are; so does a map that is one point.
    """
    nothing = np.zeros(2)
    centre, target = xy.mean(axis=0, dtype=np.float64), onto.mean(axis=0, dtype=np.float64)
    own, other = xy - centre, onto - target
    size = float((own**2).sum())
    if np.array_equal(xy, onto) or size == 0 or not other.any():
        return Turn(np.eye(2), nothing, nothing)
    from scipy.linalg import orthogonal_procrustes

    matrix, _ = orthogonal_procrustes(own, other)
    return Turn(matrix * np.sqrt((other**2).sum() / size), centre, target)
