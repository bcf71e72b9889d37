"""Is a mean above 0, and where does it lie? Two tests of means with their intervals, for many means at once.

    found = careful(differences)        # [m, n] -> p, low, high [m]: sign flips and Hall's t, the more careful of both
    careful([of_task_a, of_task_b])     # the mean over the two tasks' means

Percentiles of a bootstrap and Student's t are too short where few examples make a long tail on one side, as differences
of nDCG do: of 20 lognormal values the first holds the mean in 86 % of all cases instead of 95 %, the second in 87 %.
Hall's t mends that (93 %), but rejects equal variants too often where most differences are 0: in 10 to 17 % instead of
5 %. Sign flips are exact for these and no better than Student's t for the others. So both are asked, p is the larger
one, and the interval holds both. What no test can mend: of a tail that every tenth example makes, 20 examples show too
little (87 to 94 %); from 50 on it is 95 %. `tests/test_mean_tests.py` measures all of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError

FLIPS = 9_999
"""Random sign flips; the smallest p that they can give is 1 / 10,000."""

FEWEST_FLIPPED = 6
"""With five values all of one sign p is 2 / 2^5 = 0.0625: sign flips alone would never reject at 5 %."""

BLOCK = 4_000_000  # numbers held at once: 32 MB
ROUNDING = 1e-12  # sums of the same numbers in another order differ in the last digits

Parts = np.ndarray | Sequence[np.ndarray]
"""m sets of values as one array [m, n], or as K arrays [m, n_k] whose means count alike, as tasks do."""


@dataclass(frozen=True, eq=False)
class MeanTest:
    """For each of m sets of values: is their mean 0? A mean of 0 has p < 5 % exactly if it lies outside [low, high]."""

    mean: np.ndarray
    """[m]"""
    p: np.ndarray
    """[m], two-sided."""
    low: np.ndarray
    """[m]: the ends of the confidence interval; infinite where the test can reject nothing."""
    high: np.ndarray


def careful(values: Parts, confidence: float = 0.95, flips: int = FLIPS, seed: int = 0) -> MeanTest:
    """Test means of paired differences by sign flips and by Hall's t, and keep the more careful answer of both.

    - values: differences [m, n], or K arrays [m, n_k] of them, whose means are averaged.
    - confidence: of the interval, as in 0.95.
    - flips: random sign flips; where there are no more than so many in all, each is made once.
    - seed: of the flips.

    Returns the larger p and an interval that holds both; of fewer than `FEWEST_FLIPPED` values, Hall's t alone.
    Raises `InputError` for fewer than two values in a part.
    """
    t = skewed_t(values, confidence)
    if sum(part.shape[1] for part in _parts(values)) < FEWEST_FLIPPED:
        return t
    s = sign_flips(values, confidence, flips, seed)
    return MeanTest(t.mean, np.maximum(t.p, s.p), np.minimum(t.low, s.low), np.maximum(t.high, s.high))


# ---- Hall's t ------------------------------------------------------------------------------------------------------


def skewed_t(values: Parts, confidence: float = 0.95) -> MeanTest:
    """Test means by Student's t after Hall's transformation, which takes the skewness of the values out of it.

    T = mean / standard error is skewed if the values are. With k the skewness of the mean (that of the values over
    sqrt(n)), T + k (T^2 / 3 + 1 / 6) + k^2 T^3 / 27 is not, to the order 1 / n; it rises with T, so that it can be
    turned round for the interval (P. Hall, "On the removal of skewness by transformation", JRSS B 54 (1992), 221-228).
    Student's quantiles stand for Hall's normal ones; freedom over several parts is Welch's and Satterthwaite's.

    Takes and returns what `careful` does. Values that are all alike give an interval of no width.
    """
    from scipy import stats

    parts = _parts(values)
    K, m = len(parts), len(parts[0])
    mean, variance, third, freedom = np.zeros(m), np.zeros(m), np.zeros(m), np.zeros(m)
    unadjusted = np.zeros(m)
    for part in parts:
        n = part.shape[1]
        if n < 2:
            raise InputError(f"a mean needs at least 2 values for its uncertainty; got {n}")
        middle = part.mean(axis=1)
        apart = part - middle[:, None]
        second = (apart**2).mean(axis=1)
        error = second / (n - 1) / K**2
        mean += middle / K
        variance += error
        freedom += error**2 / (n - 1)
        unadjusted += second / n / K**2
        third += (apart**3).mean(axis=1) / n**2 / K**3
    size = np.mean([np.abs(part).mean(axis=1) for part in parts], axis=0)
    alike = np.sqrt(variance) <= ROUNDING * size
    se = np.where(alike, 1.0, np.sqrt(variance))
    skewness = np.where(alike, 0.0, third / np.where(alike, 1.0, unadjusted) ** 1.5)  # [m], of the mean
    freedom = np.where(alike, 1.0, variance**2 / np.where(alike, 1.0, freedom))
    T = mean / se
    straight = T + skewness * (T**2 / 3 + 1 / 6) + skewness**2 * T**3 / 27
    p = np.where(alike, np.where(np.abs(mean) <= ROUNDING * size, 1.0, 0.0), 2 * stats.t.sf(np.abs(straight), freedom))
    half = stats.t.ppf((1 + confidence) / 2, freedom)
    low, high = (np.where(alike, mean, mean - se * _back(end, skewness)) for end in (half, -half))
    return MeanTest(mean, np.minimum(p, 1.0), low, high)


def _back(x: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """The T that Hall's transformation turns into x."""
    k = np.where(np.abs(skewness) < 1e-6, 1.0, skewness)
    return np.where(np.abs(skewness) < 1e-6, x, 3 / k * (np.cbrt(1 + k * (x - k / 6)) - 1))


# ---- sign flips ----------------------------------------------------------------------------------------------------


def sign_flips(values: Parts, confidence: float = 0.95, flips: int = FLIPS, seed: int = 0) -> MeanTest:
    """Test means of paired differences by turning signs at random: exact if the differences lie evenly about the mean.

    If both variants were equally good, each difference could as well have the other sign; p is the share of sign
    arrangements whose mean is at least as far from 0. The observed one counts, so p is never 0 (Phipson & Smyth 2010).

    Turning the signs of some of the differences d - c takes their mean at least as far from 0 exactly if c lies between
    the mean of these d and the mean of the others. So the values c that the test does not reject, the interval, are
    read off the two means of each arrangement (J. Hartigan, "Using subsample values as typical values", JASA 64, 1969).
    `scipy.stats.permutation_test` gives the same p, no interval, and draws anew for each set.
    (A studentised statistic gives the same test: no sign changes the sum of squares, so t rises with the mean.)

    Takes and returns what `careful` does.
    """
    parts = _parts(values)
    m, n = len(parts[0]), sum(part.shape[1] for part in parts)
    weights = np.concatenate([np.full(part.shape[1], 1 / part.shape[1] / len(parts)) for part in parts])  # [n], sum 1
    weighted = np.concatenate(parts, axis=1) * weights  # [m, n]
    total, nothing = weighted.sum(axis=1), ROUNDING * np.abs(weighted).sum(axis=1)[:, None]
    lows, highs = [], []
    for turned in _turned(n, flips, seed, m):  # [n, f], 1 where the sign is turned
        share, sums = weights @ turned, weighted @ turned
        one_sided = (share < weights.min() / 2) | (share > 1 - weights.min() / 2)
        share = np.where(one_sided, 0.5, share)
        means = [np.where(np.abs(of) <= nothing, 0.0, of) / over for of, over in
                 ((sums, share), (total[:, None] - sums, 1 - share))]  # fmt: skip
        lows.append(np.where(one_sided, -np.inf, np.minimum(*means)))
        highs.append(np.where(one_sided, np.inf, np.maximum(*means)))
    low, high = np.concatenate(lows, axis=1), np.concatenate(highs, axis=1)  # [m, F]
    made = low.shape[1] + 1  # with the one observed
    p = (((low <= 0) & (high >= 0)).sum(axis=1) + 1) / made
    kept = int(np.ceil(np.round((1 - confidence) * made, 6))) - 1  # an end is kept if so many arrangements reach it
    if kept < 1:
        return MeanTest(total, p, np.full(m, -np.inf), np.full(m, np.inf))
    low = np.partition(low, kept - 1, axis=1)[:, kept - 1]
    high = -np.partition(-high, kept - 1, axis=1)[:, kept - 1]
    return MeanTest(total, p, low, high)


def _turned(n: int, flips: int, seed: int, m: int) -> Iterator[np.ndarray]:
    """Arrangements of n signs as columns [n, f], block by block: all but the observed one, or random ones."""
    if n < 31 and 2**n <= flips + 1:
        yield ((np.arange(1, 2**n) >> np.arange(n)[:, None]) & 1).astype(float)
        return
    rng = np.random.default_rng(seed)
    left = flips
    while left:
        size = min(left, max(1, BLOCK // max(n, m)))
        yield rng.integers(0, 2, (n, size), dtype=np.int8).astype(float)
        left -= size


def _parts(values: Parts) -> list[np.ndarray]:
    if isinstance(values, np.ndarray):
        return [np.atleast_2d(np.asarray(values, float))]
    return [np.atleast_2d(np.asarray(part, float)) for part in values]
