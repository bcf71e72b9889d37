"""Wilcoxon's test against all 2^n signs, with ties and zeros; its interval against the test itself."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from explorer.signed_ranks import signed_rank_test


def enumerated_p(d: np.ndarray) -> float:
    """The share of all sign arrangements of the ranks whose sum is at least as far from its middle."""
    d = d[d != 0]
    ranks = stats.rankdata(np.abs(d))
    signs = np.array(list(product((-1, 1), repeat=len(d))))
    return float((np.abs(signs @ ranks) >= abs(np.sign(d) @ ranks) - 1e-9).mean())


def drawn(seed: int, count: int, smallest: int = 6, largest: int = 10) -> list[np.ndarray]:
    """Whole differences with many ties and zeros, of which at least `smallest` are not 0."""
    rng = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    while len(found) < count:
        d = rng.integers(-3, 7, rng.integers(smallest, largest + 1))
        if np.count_nonzero(d) >= smallest:
            found.append(d.astype(float))
    return found


def test_p_counts_all_signs_with_ties_and_zeros():
    for d in [*drawn(1, 60, smallest=1), *np.random.default_rng(2).normal(0.5, 1, (10, 9))]:
        assert signed_rank_test(d).p == pytest.approx(enumerated_p(d), abs=1e-12)


def test_by_hand():
    # Six equal wins: only ++++++ and ------ of 2^6 reach that far.
    assert signed_rank_test(np.full(6, 0.1)).p == 2 / 64
    # Sizes 1 2 2 3, the 3 negative: ranks 1, 2.5, 2.5, 4; W+ = 6, W- = 4. Of the 16 subset sums (0, 1, 2.5, 2.5, 3.5,
    # 3.5, 4, 5, 5, 6, 6.5, 6.5, 7.5, 7.5, 9, 10) seven are at most 4.
    found = signed_rank_test(np.array([1.0, 2, 2, -3]))
    assert found.p == 2 * 7 / 16
    assert found.effect == pytest.approx(2 / 10)
    assert signed_rank_test(np.zeros(3)).p == 1
    assert signed_rank_test(np.array([])).p == 1


def test_without_ties_it_is_scipys_exact_test():
    for n in (7, 20, 50):
        d = np.random.default_rng(n).normal(0.3, 1, n)
        assert signed_rank_test(d).p == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)


def test_many_differences_take_the_normal_approximation_with_tied_ranks():
    d = np.random.default_rng(3).integers(-4, 6, 400).astype(float)
    assert signed_rank_test(d).p == pytest.approx(stats.wilcoxon(d, method="asymptotic").pvalue)


def test_equal_but_for_rounding_is_equal():
    d = np.array([0.1 + 0.2, 0.3, -0.3, 0.7 - 0.4, 0.3, 0.3, 1e-12, 0.0])
    assert signed_rank_test(d) == signed_rank_test(np.array([0.3, 0.3, -0.3, 0.3, 0.3, 0.3]))


def test_the_interval_is_the_textbook_one_without_ties():
    # n = 6 at 95 %: only the smallest and the largest Walsh average will do (P(W = 0) = 1/64 = 1.6 % a side).
    found = signed_rank_test(np.array([1.0, 2, 3, 4, 5, 6]))
    assert (found.low, found.high) == (1, 6)
    # n = 10: the critical value is 8, so the 9th smallest and 9th largest of 55 averages.
    d = np.random.default_rng(4).normal(size=10)
    walsh = np.sort([(d[i] + d[j]) / 2 for i in range(10) for j in range(i, 10)])
    found = signed_rank_test(d)
    assert (found.low, found.high) == pytest.approx((walsh[8], walsh[-9]))


def test_the_interval_holds_what_the_test_does_not_reject():
    """The ends are averages of two differences: the same test of d - c rejects beyond them, and not between them."""
    for d in drawn(5, 25, smallest=6, largest=8):
        found, moved = signed_rank_test(d), d[d != 0]
        walsh = np.unique([(x + y) / 2 for x in moved for y in moved])
        centres = np.r_[walsh[0] - 1, (walsh[1:] + walsh[:-1]) / 2, walsh[-1] + 1]
        inside = (found.low < centres) & (centres < found.high)
        assert [enumerated_p(moved - c) >= 0.05 for c in centres] == inside.tolist()


def test_p_below_5_percent_is_0_outside_the_interval():
    rejected = 0
    for d in drawn(6, 300, largest=18):
        found = signed_rank_test(d / 10)
        outside = found.low > 0 or found.high < 0
        assert (found.p < 0.05) == outside, d
        assert not outside or (found.low > 0) == (found.effect > 0)
        rejected += outside
    assert 50 < rejected < 250


def test_zeros_change_neither_the_test_nor_the_interval():
    for d in drawn(7, 20):
        assert signed_rank_test(d) == signed_rank_test(d[d != 0]) == signed_rank_test(np.r_[0, d, np.zeros(30)])


def test_swapping_mirrors():
    for d in drawn(8, 20):
        one, other = signed_rank_test(d), signed_rank_test(-d)
        assert (one.p, one.effect, one.low, one.high) == (other.p, -other.effect, -other.high, -other.low)


def test_no_null_is_rejected_in_more_than_5_percent():
    """Eight differences of one size, all 2^8 signs: the normal approximation rejects 7 %."""
    signs = np.array(list(product((-1.0, 1.0), repeat=8)))
    assert np.mean([signed_rank_test(0.1 * d).p < 0.05 for d in signs]) == 2 / 2**8


def test_the_interval_covers_the_middle():
    """Of rounded differences about 1; 95 % or a little more, for the test is discrete."""
    rng = np.random.default_rng(9)
    found = [signed_rank_test(1 + rng.integers(-8, 9, 12) / 10) for _ in range(600)]
    assert 0.94 <= np.mean([one.low <= 1 <= one.high for one in found]) <= 0.985
