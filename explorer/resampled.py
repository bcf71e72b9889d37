"""One number over all examples (Spearman's correlation, average precision) on resamples of them: the bootstrap.

    found = bootstrap_spearman(gold, [x, y])      # scores [v] and their values on resamples [v, R], ties and all
    found.interval(0)                             # of one score
    bootstrap_test(found.samples[0] - found.samples[1])     # p and interval of a difference

Percentiles do here: in simulations such intervals hold the true value about as often as they say. Means of few skewed
examples are another matter: mean_tests.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2_000
BLOCK = 4_000_000  # resampled values held at once: 32 MB
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Resampled:
    """A measure that is computed from all examples together, for several variants on the same examples."""

    measure: str
    scores: np.ndarray
    """[v]: on the examples as they are."""
    samples: np.ndarray
    """[v, R]: on R resamples, the same ones for all variants."""
    n: int
    closer: Callable[[int, int], np.ndarray]
    """(i, j) -> [n]: by how much variant i is nearer to the gold than j, example by example."""

    def interval(self, i: int, confidence: float = 0.95) -> tuple[float, float]:
        """The percentile interval of a variant's score."""
        low, high = np.nanquantile(self.samples[i], [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


def bootstrap_spearman(
    gold: Sequence[float] | np.ndarray,
    predictions: Sequence[Sequence[float]] | np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Resampled:
    """Spearman's correlation of each prediction [v, n] with gold [n], and of their resamples, ties and all.

    A resample is a count for each example; ranks within it are sums of counts, so that nothing is sorted again.
    """
    from scipy import stats

    gold, predictions = np.asarray(gold, float), np.atleast_2d(np.asarray(predictions, float))
    n = len(gold)
    scores = np.array([stats.spearmanr(gold, row).statistic for row in predictions])
    rank_gold, ranks = _Ranks(gold), [_Ranks(row) for row in predictions]
    samples = []
    for counts in _counts(n, resamples, seed):
        g = rank_gold(counts) - (n + 1) / 2
        weighted = counts * g
        spread = (weighted * g).sum(axis=1)
        block = []
        for rank in ranks:
            h = rank(counts) - (n + 1) / 2
            both = np.sqrt(spread * (counts * h * h).sum(axis=1))
            block.append((weighted * h).sum(axis=1) / np.where(both > 0, both, np.nan))
        samples.append(np.array(block))
    gold_places, places = stats.rankdata(gold), stats.rankdata(predictions, axis=1)

    def closer(i: int, j: int) -> np.ndarray:
        return np.abs(places[j] - gold_places) - np.abs(places[i] - gold_places)

    return Resampled("Spearman's correlation", scores, np.concatenate(samples, axis=1), n, closer)


def bootstrap_average_precision(
    gold: Sequence[float] | np.ndarray,
    predictions: Sequence[Sequence[float]] | np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Resampled:
    """Average precision of each prediction [v, n] for the positives of gold [n] (above 0), and of their resamples."""
    from scipy import stats

    positive = np.asarray(gold, float) > 0
    predictions = np.atleast_2d(np.asarray(predictions, float))
    n = len(positive)
    groups = [_Groups(-row) for row in predictions]

    def precisions(counts: np.ndarray) -> np.ndarray:
        found = []
        for group in groups:
            hits, seen = group.sums(counts * positive), np.cumsum(group.sums(counts), axis=1)
            precision = np.cumsum(hits, axis=1) / np.where(seen > 0, seen, 1)
            total = hits.sum(axis=1)
            found.append((hits * precision).sum(axis=1) / np.where(total > 0, total, np.nan))
        return np.array(found)

    scores = precisions(np.ones((1, n)))[:, 0]
    samples = np.concatenate([precisions(counts) for counts in _counts(n, resamples, seed)], axis=1)
    places = stats.rankdata(predictions, axis=1)

    def closer(i: int, j: int) -> np.ndarray:
        return (places[i] - places[j]) * np.where(positive, 1, -1)

    return Resampled("average precision", scores, samples, n, closer)


def bootstrap_test(d: np.ndarray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Two-sided p and the percentile interval (p, low, high) of a difference from its resampled values d [R].

    p is twice the share of resamples on the other side of 0 (of R + 1, the observed one counted); the ends are the
    resamples at which it passes 1 - confidence, so that p is below exactly if 0 lies outside.
    """
    d = np.sort(np.where(np.abs(d) <= ROUNDING, 0.0, d))
    kept = max(1, int(np.ceil(np.round((1 - confidence) / 2 * (len(d) + 1), 6))) - 1)
    return float(bootstrap_p(d[None])[0]), float(d[kept - 1]), float(d[-kept])


def bootstrap_p(d: np.ndarray) -> np.ndarray:
    """Two-sided p [m] from resampled differences [m, R]: how far 0 lies in their tails."""
    R = d.shape[1]
    tail = np.minimum((d <= ROUNDING).sum(axis=1), (d >= -ROUNDING).sum(axis=1))
    return np.minimum(1.0, 2 * (tail + 1) / (R + 1))


def _counts(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Resamples of n examples as counts [r, n], block by block."""
    rng = np.random.default_rng(seed)
    left = resamples
    while left:
        size = min(left, max(1, BLOCK // n))
        drawn = rng.integers(0, n, (size, n)) + np.arange(size)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(float)
        left -= size


class _Groups:
    """Examples with equal values [n], in rising order of the value."""

    def __init__(self, values: np.ndarray) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        first = np.r_[True, ordered[1:] != ordered[:-1]]
        self.starts = np.flatnonzero(first)
        self.of = np.empty(len(values), int)
        self.of[self.order] = np.cumsum(first) - 1

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Weights [r, n] summed within each group: [r, groups]."""
        return np.add.reduceat(weights[:, self.order], self.starts, axis=1)


class _Ranks(_Groups):
    """Mean ranks within a resample given as counts."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """[r, n]: the rank of each example's value among the resampled ones, equal ones sharing their mean."""
        sizes = self.sums(counts)
        middle = np.cumsum(sizes, axis=1) - sizes / 2 + 0.5
        return middle[:, self.of]
