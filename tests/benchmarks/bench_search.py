"""How fast is dense search? FAISS exact search against a numpy matrix product with argpartition; then HNSW and IVF-PQ.

    python tests/benchmarks/bench_search.py        # from the project's folder; about a minute and 2 GB

Prints the median time of a search in milliseconds. "FAISS" is the bare `IndexFlatIP`; "index" is `DenseIndex`, which
also scores the results once more, settles ties, and gives a single query to numpy.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from explorer.retrieval import DenseIndex, Kind

N, D, K = 200_000, 384, 10
N_APPROXIMATE = 50_000


def vectors(n: int, seed: int = 0) -> np.ndarray:
    """n unit vectors [n, D] around 300 centres, with the falling spectrum that text embeddings have."""
    rng = np.random.default_rng(seed)
    spectrum = (1 / np.sqrt(1 + np.arange(D) / 10)).astype(np.float32)
    centres = rng.standard_normal((300, D), dtype=np.float32)
    points = (0.8 * centres[rng.integers(0, 300, n)] + rng.standard_normal((n, D), dtype=np.float32)) * spectrum
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def numpy_search(corpus: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What one would write without a library: all scores [q, n], the k best of each, sorted."""
    scores = queries @ corpus.T
    rows = np.argpartition(scores, -k, axis=1)[:, -k:]
    best = np.take_along_axis(scores, rows, axis=1)
    order = np.argsort(-best, axis=1)
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(rows, order, axis=1)


def medians(searches: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each search; they take turns, so that a busy moment of the machine hits all."""
    times: dict[str, list[float]] = {name: [] for name in searches}
    for turn in range(repeats + 1):
        for name, search in searches.items():
            time.sleep(0.05)  # threads of the search before may still spin, waiting for work
            start = time.perf_counter()
            search()
            if turn:  # the first turn warms up
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: median(found) for name, found in times.items()}


def exact() -> None:
    """FAISS and `DenseIndex` against numpy, for one query and for 64 at once."""
    every = vectors(N + 64)
    corpus, queries = every[:N], every[N:]
    index = DenseIndex(corpus)
    assert (index.search(queries, K)[1] == numpy_search(corpus, queries, K)[1]).mean() > 0.999
    print(f"exact search: {N:,} x {D} float32, k = {K}, {os.cpu_count()} cores, median of several")
    print(f"{'queries':>8} {'numpy':>10} {'FAISS':>10} {'index':>10} {'numpy / FAISS':>14} {'numpy / index':>14}")
    for q, repeats in ((1, 31), (64, 9)):
        batch = queries[:q]
        ms = medians(
            {
                "numpy": partial(numpy_search, corpus, batch, K),
                "faiss": partial(index._store.search, batch, K),
                "index": partial(index.search, batch, K),
            },
            repeats,
        )
        ratios = f"{ms['numpy'] / ms['faiss']:13.2f}x {ms['numpy'] / ms['index']:13.2f}x"
        print(f"{q:8} {ms['numpy']:7.1f} ms {ms['faiss']:7.1f} ms {ms['index']:7.1f} ms {ratios}")


def approximate() -> None:
    """The approximate kinds against exact search: time to build, time to search, recall, memory."""
    every = vectors(N_APPROXIMATE + 200)
    corpus, queries = every[:N_APPROXIMATE], every[N_APPROXIMATE:]
    print(f"\napproximate search: {N_APPROXIMATE:,} x {D}, k = {K}")
    print(f"{'kind':>8} {'build':>10} {'1 query':>11} {'64 queries':>11} {'recall@10':>10} {'memory':>10}")
    kinds: tuple[Kind, ...] = ("exact", "hnsw", "ivfpq")
    for kind in kinds:
        start = time.perf_counter()
        index = DenseIndex(corpus, kind, force=True)
        build = time.perf_counter() - start
        ms = medians(
            {
                "one": partial(index.search, queries[:1], K),
                "many": partial(index.search, queries[:64], K),
            },
            repeats=15,
        )
        recall, memory = index.recall(queries, K), index.bytes / 1e6
        print(f"{kind:>8} {build:8.1f} s {ms['one']:8.2f} ms {ms['many']:8.2f} ms {recall:10.3f} {memory:7.0f} MB")


if __name__ == "__main__":
    exact()
    approximate()
