"""Tests of means: against all 2^n signs, against formulas worked by hand, and on samples whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from scipy import stats

from explorer.errors import InputError
from explorer.mean_tests import MeanTest, careful, sign_flips, skewed_t

# ---- sign flips ----------------------------------------------------------------------------------------------------


def enumerated_p(d: np.ndarray) -> float:
    signs = np.array(list(product((-1, 1), repeat=len(d))))
    return float((np.abs(signs @ d) >= abs(d.sum()) - 1e-9).mean())


def drawn(seed: int, count: int) -> list[np.ndarray]:
    """Up to ten differences with ties and zeros."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-3, 7, rng.integers(2, 11)) / 10 for _ in range(count)]


def test_sign_flips_are_counted_exactly_with_ties_and_zeros():
    for d in [*drawn(1, 100), *np.random.default_rng(2).lognormal(size=(20, 10)) - 1.2, np.full(6, 0.1)]:
        assert sign_flips(d[None]).p[0] == pytest.approx(enumerated_p(d), abs=1e-12)


def test_six_equal_wins_by_hand():
    found = sign_flips(np.full((1, 6), 0.1))
    assert found.p[0] == 2 / 64
    assert (found.low[0], found.high[0]) == pytest.approx((0.1, 0.1))


def test_the_interval_of_sign_flips_holds_what_they_do_not_reject():
    for d in [d for d in drawn(3, 60) if len(d) >= 6 and np.ptp(d) > 0]:
        found = sign_flips(d[None])
        low, high = found.low[0], found.high[0]
        assert enumerated_p(d - (low - 1e-6)) < 0.05 <= enumerated_p(d - (low + 1e-6))
        assert enumerated_p(d - (high + 1e-6)) < 0.05 <= enumerated_p(d - (high - 1e-6))


def test_five_values_reject_nothing():
    found = sign_flips(np.full((1, 5), 0.1))
    assert (found.p[0], found.low[0], found.high[0]) == (2 / 32, -np.inf, np.inf)
    assert np.isfinite(careful(np.array([[0.1, 0.2, 0.3, 0.4, 0.5]])).low[0])  # Hall's t alone


def test_random_flips_agree_with_scipys_test():
    d = np.random.default_rng(4).normal(0.4, 1, 20)
    expected = stats.permutation_test(
        (d, np.zeros(20)), lambda x, y, axis: np.mean(x - y, axis), permutation_type="samples", vectorized=True, rng=1
    ).pvalue
    assert sign_flips(d[None]).p[0] == pytest.approx(expected, abs=0.01)


# ---- Hall's t ------------------------------------------------------------------------------------------------------


def test_halls_t_by_hand():
    # 0 0 0 1: mean 1/4, variance 3/16 (over n), standard error sqrt(3/16 / 3) = 1/4, T = 1; third moment 3/32, skewness
    # (3/32) / (3/16)^1.5 = 1.1547, of the mean k = 0.57735: T + k (1/3 + 1/6) + k^2 / 27 = 1.30102.
    found = skewed_t(np.array([[0.0, 0, 0, 1]]))
    assert found.p[0] == pytest.approx(2 * stats.t.sf(1.30102, 3), rel=1e-5)
    # Turned round: the ends are where the transformed T is Student's quantile.
    for end, quantile in ((found.low[0], 3.18245), (found.high[0], -3.18245)):
        T, k = (0.25 - end) / 0.25, 0.57735
        assert T + k * (T**2 / 3 + 1 / 6) + k**2 * T**3 / 27 == pytest.approx(quantile, rel=1e-4)


def test_without_skewness_it_is_students():
    x = np.r_[np.linspace(-1, 1, 21) ** 3 + 0.2]
    expected = stats.ttest_1samp(x, 0)
    found = skewed_t(x[None])
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(expected.confidence_interval()))


def test_two_parts_are_welchs():
    x, y = np.linspace(-1, 1, 12), 3 * np.linspace(-1, 1, 30) + 0.7
    expected = stats.ttest_ind(x, y, equal_var=False)
    found = skewed_t([x[None], -y[None]])  # half of the difference of the means
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert 2 * found.low[0] == pytest.approx(expected.confidence_interval().low)


def test_values_that_are_all_alike():
    found = skewed_t(np.array([[0.1] * 7, [0.0] * 7]))
    assert found.p.tolist() == [0, 1]
    assert found.low.tolist() == found.high.tolist() == pytest.approx([0.1, 0])
    with pytest.raises(InputError, match="at least 2 values"):
        skewed_t([np.zeros((1, 3)), np.zeros((1, 1))])


# ---- both ----------------------------------------------------------------------------------------------------------


def test_p_below_5_percent_is_0_outside_the_interval():
    rng = np.random.default_rng(5)
    rejected = 0
    for n in (*range(2, 16), 20, 40):
        d = np.where(rng.random((200, n)) < 0.5, rng.integers(-2, 5, (200, n)) / 10, 0.0)
        for values in (d, [d, np.round(rng.lognormal(size=(200, 20)) - 1.5, 1)]):
            for test in (skewed_t, lambda v: sign_flips(v, flips=999), lambda v: careful(v, flips=999)):
                found = test(values)
                outside = (found.low > 0) | (found.high < 0)
                assert ((found.p < 0.05) == outside).all()
                assert ((found.low > 0) == (outside & (found.mean > 0))).all()
                rejected += outside.mean()
    assert 5 < rejected < 60


def test_the_more_careful_answer_of_both():
    d = np.random.default_rng(6).lognormal(size=(50, 25)) - 1
    one, other, both = skewed_t(d), sign_flips(d), careful(d)
    assert (both.p >= one.p).all()
    assert (both.p >= other.p).all()
    assert (both.low == np.minimum(one.low, other.low)).all()
    assert (both.high == np.maximum(one.high, other.high)).all()


def test_swapping_mirrors_and_moving_moves():
    d = np.random.default_rng(7).lognormal(size=(20, 30)) - 1
    found, turned, moved = careful(d), careful(-d), careful(d + 5)
    assert found.p == pytest.approx(turned.p)
    assert found.low == pytest.approx(-turned.high)
    assert moved.low == pytest.approx(found.low + 5)
    assert moved.high == pytest.approx(found.high + 5)


# ---- coverage: 95 % of the intervals are to hold the mean ----------------------------------------------------------

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def mostly_zero(share: float, draw: Draw) -> Draw:
    return lambda rng, shape: np.where(rng.random(shape) < share, draw(rng, shape), 0.0)


SKEWED: dict[str, tuple[Draw, float]] = {
    "exponential": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "chi-square of 1": (lambda rng, shape: rng.normal(size=shape) ** 2, 1.0),
    "lognormal": (lambda rng, shape: rng.lognormal(size=shape), np.exp(0.5)),
    "60 % zeros, exponential": (mostly_zero(0.4, lambda rng, shape: rng.exponential(size=shape)), 0.4),
    "80 % zeros, exponential": (mostly_zero(0.2, lambda rng, shape: rng.exponential(size=shape)), 0.2),
}
EVEN: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "60 % zeros": mostly_zero(0.4, lambda rng, shape: rng.normal(size=shape)),
    "90 % zeros": mostly_zero(0.1, lambda rng, shape: rng.normal(size=shape)),
    "won or lost, 90 % equal": mostly_zero(0.1, lambda rng, shape: rng.choice([-1.0, 1.0], shape)),
    "Student's t of 3": lambda rng, shape: rng.standard_t(3, size=shape),
}


def covered(found: MeanTest, mean: float) -> float:
    return float(((found.low <= mean) & (mean <= found.high)).mean())


@pytest.mark.parametrize("n", [20, 30, 50, 100])
@pytest.mark.parametrize("name", SKEWED)
def test_intervals_of_skewed_means_cover(name, n):
    """At n = 20 percentiles of a bootstrap cover 83 to 90 % of these, sign flips 82 to 93 %."""
    draw, mean = SKEWED[name]
    x = draw(np.random.default_rng(n), (2_000, n))
    assert 0.92 <= covered(careful(x, flips=999), mean) <= 0.99
    if n == 20 and name != "exponential":
        assert covered(sign_flips(x, flips=999), mean) < 0.91


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize("name", EVEN)
def test_equal_variants_are_told_apart_in_5_percent_or_less(name, n):
    d = EVEN[name](np.random.default_rng(n), (2_000, n))
    assert (careful(d, flips=999).p < 0.05).mean() <= 0.062  # 0.05 and 2.5 of its standard errors


def test_neither_alone_would_do():
    rng = np.random.default_rng(8)
    even = EVEN["90 % zeros"](rng, (2_000, 50))
    assert (skewed_t(even).p < 0.05).mean() > 0.13
    assert (sign_flips(even, flips=999).p < 0.05).mean() < 0.05
    draw, mean = SKEWED["lognormal"]
    skewed = draw(rng, (2_000, 20)) - mean
    assert (sign_flips(skewed, flips=999).p < 0.05).mean() > 0.1
    assert (skewed_t(skewed).p < 0.05).mean() < 0.09


def test_a_mean_over_two_tasks_is_covered_too():
    rng = np.random.default_rng(9)
    parts = [rng.exponential(size=(2_000, 20)), rng.lognormal(size=(2_000, 60))]
    assert 0.93 <= covered(careful(parts, flips=999), (1 + np.exp(0.5)) / 2) <= 0.98
