"""Significance: against scipy, against cases worked by hand, and under the null hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from explorer.errors import InputError
from explorer.significance import (
    MIN_EXAMPLES,
    Test,
    across_tasks,
    all_pairs,
    best_group,
    bootstrap_average_precision,
    bootstrap_p,
    bootstrap_spearman,
    holm,
    holm_corrected,
    paired_means,
    paired_resampled,
    sign_flip_p,
    signed_rank,
    signed_rank_interval,
    win_tie_loss,
)

RNG = np.random.default_rng(7)

# ---- Holm ----------------------------------------------------------------------------------------------------------


def test_holm_by_hand():
    # 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1 = 0.04, 0.06, 0.06, 0.04 -> never falling: 0.04, 0.06, 0.06, 0.06
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_keeps_a_single_p_and_stops_at_one():
    assert holm([0.3]) == [0.3]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(InputError, match="between 0 and 1"):
        holm([0.5, 1.2])


def test_refused_tests_do_not_count_in_the_correction():
    told = Test("a", "b", "", "", 9, 1, 0, 1, p=0.02)
    tests = holm_corrected([told, Test("a", "c", "", "", 2, 1, 0, 1, refused="too few")])
    assert [t.p_holm for t in tests] == [0.02, None]


# ---- signed rank ---------------------------------------------------------------------------------------------------


def test_signed_rank_is_scipys():
    x, y = RNG.normal(size=15), RNG.normal(0.3, 1, 15)
    assert signed_rank(x, y).p == pytest.approx(stats.wilcoxon(x, y).pvalue)
    x, y = RNG.normal(size=80), RNG.normal(0.3, 1, 80)
    assert signed_rank(x, y).p == pytest.approx(stats.wilcoxon(x, y).pvalue, rel=0.05)


def test_signed_rank_by_hand():
    # Differences 1, 2, 3, 4, 5, -6: ranks 1..6, W+ = 15, W- = 6; effect (15 - 6) / 21.
    test = signed_rank([1, 2, 3, 4, 5, 0], [0, 0, 0, 0, 0, 6])
    assert test.effect == pytest.approx(9 / 21)
    assert (test.wins, test.ties, test.losses) == (5, 0, 1)
    # Six wins of six: p = 2 / 2^6.
    assert signed_rank([1, 2, 3, 4, 5, 6], [0] * 6).p == pytest.approx(2 / 64)


def test_signed_rank_interval_is_the_textbook_one():
    # n = 6 at 95 %: only the smallest and the largest Walsh average will do (P(W = 0) = 1/64 = 1.6 % a side).
    d = np.array([1.0, 2, 3, 4, 5, 6])
    assert signed_rank_interval(d) == (1.0, 6.0)
    # n = 10: the critical value is 8, so the 9th smallest and 9th largest of 55 averages.
    d = RNG.normal(size=10)
    walsh = np.sort([(d[i] + d[j]) / 2 for i in range(10) for j in range(i, 10)])
    assert signed_rank_interval(d) == pytest.approx((walsh[8], walsh[-9]))


def test_the_interval_and_the_test_agree():
    for shift in np.linspace(-1.2, 1.2, 41):
        d = np.linspace(-1, 1, 11) ** 3 + 0.01 * np.arange(11) + shift
        low, high = signed_rank_interval(d)
        assert (signed_rank(d, np.zeros(11)).p < 0.05) == (low > 0 or high < 0)


def test_too_few_tasks_are_refused_with_the_reason():
    test = signed_rank([1, 2, 3, 4, 5], [0] * 5)
    assert test.p is None
    assert test.refused.startswith("too few tasks with different scores, 5: even winning")
    assert "0.0625" in test.refused
    assert "cannot be told" in test.sentence
    equal = signed_rank([1, 2, 3, 4, 5, 0.5, 0.5], [0, 0, 0, 0, 0, 0.5, 0.5])
    assert "(2 more are equal)" in equal.refused


def test_across_tasks_takes_the_tasks_that_both_have():
    scores = {
        "a": {f"t{i}": 0.5 + 0.01 * i for i in range(8)},
        "b": {f"t{i}": 0.4 + 0.008 * i for i in range(8)},
        "bm25": {"t0": 0.2},
    }
    tests = {(t.a, t.b): t for t in across_tasks(scores)}
    assert tests["a", "b"].n == 8
    assert tests["a", "b"].significant
    assert tests["a", "bm25"].n == 1
    assert tests["a", "bm25"].refused


# ---- means ---------------------------------------------------------------------------------------------------------


def test_sign_flips_agree_with_scipys_exact_test():
    d = RNG.normal(0.4, 1, 12)
    exact = stats.permutation_test(
        (d, np.zeros(12)), lambda x, y, axis: np.mean(x - y, axis), permutation_type="samples", vectorized=True
    ).pvalue
    assert sign_flip_p(d[None])[0] == pytest.approx(exact, abs=0.01)


def test_sign_flips_by_hand():
    # Three equal differences: only +++ and --- of eight reach the observed sum; p = 1/4.
    assert sign_flip_p(np.array([[0.1, 0.1, 0.1]]))[0] == pytest.approx(0.25, abs=0.015)
    assert sign_flip_p(np.zeros((1, 5)))[0] == 1.0


def test_paired_means_say_everything():
    x = RNG.normal(0.55, 0.1, 200)
    y = x - RNG.normal(0.03, 0.05, 200)
    test = paired_means(x, y, "queries")
    assert test.p == pytest.approx(1e-4)
    assert test.low < test.difference < test.high
    assert test.low > 0
    assert test.effect == pytest.approx((x - y).mean() / (x - y).std(ddof=1))
    assert test.wins + test.ties + test.losses == 200
    assert "other queries of this kind" in test.question


def test_swapping_mirrors():
    x, y = RNG.normal(size=50), RNG.normal(0.2, 1, 50)
    one, other = paired_means(x, y), paired_means(y, x)
    assert one.p == other.p
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low), abs=1e-12)


def test_too_few_examples_are_refused():
    assert "19 queries are too few" in paired_means(np.arange(19.0), np.zeros(19), "queries").refused
    found = bootstrap_spearman(np.arange(9), RNG.normal(size=(2, 9)))
    assert "9 pairs are too few" in paired_resampled(found).refused
    assert MIN_EXAMPLES == 20


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(InputError, match="got 3 and 2"):
        paired_means([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match="finite"):
        signed_rank([1, np.nan], [0, 0])


# ---- correlations --------------------------------------------------------------------------------------------------


def test_resampled_spearman_is_scipys_on_every_resample():
    n = 40
    gold = RNG.integers(0, 5, n).astype(float)  # many ties
    predictions = np.round(gold + RNG.normal(0, 1, (2, n)), 1)
    found = bootstrap_spearman(gold, predictions, resamples=25, seed=3)
    drawn = np.random.default_rng(3).integers(0, n, (25, n))
    for r, rows in enumerate(drawn):
        for v in range(2):
            assert found.samples[v, r] == pytest.approx(stats.spearmanr(gold[rows], predictions[v, rows]).statistic)
    assert found.scores[0] == pytest.approx(stats.spearmanr(gold, predictions[0]).statistic)


def test_resampled_average_precision_is_sklearns():
    from sklearn.metrics import average_precision_score

    n = 30
    gold = RNG.integers(0, 2, n)
    predictions = np.round(gold + RNG.normal(0, 1, (1, n)), 1)
    found = bootstrap_average_precision(gold, predictions, resamples=20, seed=5)
    drawn = np.random.default_rng(5).integers(0, n, (20, n))
    for r, rows in enumerate(drawn):
        assert found.samples[0, r] == pytest.approx(average_precision_score(gold[rows], predictions[0, rows]))


def test_a_better_correlation_is_seen():
    gold = RNG.normal(size=400)
    found = bootstrap_spearman(gold, [gold + RNG.normal(0, 0.5, 400), gold + RNG.normal(0, 1.5, 400)])
    test = paired_resampled(found)
    assert test.significant
    assert test.difference > 0
    assert test.low < test.difference < test.high
    assert test.effect_name == "Cohen's q"
    assert test.wins > test.losses


def test_equal_predictions_are_not_told_apart():
    gold = RNG.normal(size=100)
    test = paired_resampled(bootstrap_spearman(gold, [gold**3, gold]))
    assert test.p == 1.0
    assert (test.wins, test.ties, test.losses) == (0, 100, 0)


def test_constant_predictions_are_refused():
    gold = RNG.normal(size=50)
    with np.errstate(all="ignore"), pytest.warns(stats.ConstantInputWarning):
        found = bootstrap_spearman(gold, [np.ones(50), gold])
    assert "not defined" in paired_resampled(found).refused


# ---- the null: the same model, resampled noise -----------------------------------------------------------------------


def test_null_rejections_of_sign_flips():
    d = np.random.default_rng(11).normal(size=(10_000, 60)) ** 3  # symmetric, with heavy tails
    rate = (sign_flip_p(d, flips=999) < 0.05).mean()
    assert rate == pytest.approx(0.05, abs=0.01)


def test_null_rejections_of_signed_rank():
    d = np.random.default_rng(12).normal(size=(20_000, 14))
    rate = (stats.wilcoxon(d, axis=1, method="exact").pvalue < 0.05).mean()
    assert rate == pytest.approx(0.05, abs=0.01)
    ours = [signed_rank(row, np.zeros(14)).p for row in d[:50]]
    assert ours == pytest.approx(stats.wilcoxon(d[:50], axis=1, method="exact").pvalue)


def test_null_rejections_of_the_bootstrap():
    """Two predictions that are equally good: gold and noise of their own."""
    rng = np.random.default_rng(13)
    differences = []
    for _ in range(2_000):
        gold = rng.normal(size=100)
        found = bootstrap_spearman(
            gold, gold + rng.normal(0, 0.8, (2, 100)), resamples=400, seed=int(rng.integers(2**31))
        )
        differences.append(found.samples[0] - found.samples[1])
    rate = (bootstrap_p(np.array(differences)) < 0.05).mean()
    assert rate == pytest.approx(0.05, abs=0.01)


# ---- groups --------------------------------------------------------------------------------------------------------


def test_best_and_its_group():
    def test(i: int, j: int) -> Test:
        p = 0.8 if {i, j} == {0, 1} else 0.001
        scores = [0.9, 0.89, 0.5]
        return Test("", "", "", "", 100, scores[i], scores[j], scores[i] - scores[j], p=p)

    tests = all_pairs(["a", "b", "c"], test)
    assert best_group({"a": 0.9, "b": 0.89, "c": 0.5}, tests) == ("a", ["b"])
    assert win_tie_loss(tests) == {
        "a": {"wins": 1, "ties": 1, "losses": 0},
        "b": {"wins": 1, "ties": 1, "losses": 0},
        "c": {"wins": 0, "ties": 0, "losses": 2},
    }
    assert "may be chance" in tests[0].sentence
    assert tests[0].sentence.startswith("a is ahead of b")
    assert tests[1].sentence.startswith("a is better than c by 0.4000")
