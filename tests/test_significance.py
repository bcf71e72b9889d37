"""Significance: who wins, in what words, and when a test refuses; the arithmetic has tests of its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from explorer.errors import InputError
from explorer.mean_tests import careful, sign_flips
from explorer.resampled import bootstrap_average_precision, bootstrap_p, bootstrap_spearman, bootstrap_test
from explorer.significance import (
    MIN_EXAMPLES,
    Test,
    across_tasks,
    all_paired_means,
    all_pairs,
    best_group,
    holm,
    holm_corrected,
    paired_means,
    paired_resampled,
    signed_rank,
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


def test_the_winner_comes_from_the_ranks_where_the_mean_disagrees():
    """Twelve small wins, one large loss: ranks 1 to 12 against 13; W- = 13 of 91, the mean is on the other side."""
    x = [0.5 + 0.001 * i for i in range(1, 13)] + [0.1]
    test = dataclasses.replace(signed_rank(x, [0.5] * 13), a="small", b="large")
    assert test.p == pytest.approx(stats.wilcoxon(np.subtract(x, 0.5), method="exact").pvalue)
    assert test.effect == test.lean == pytest.approx((78 - 13) / 91)
    assert test.difference == pytest.approx((0.078 - 0.4) / 13)
    assert test.significant
    assert (test.winner, test.ahead, test.behind) == ("small", "small", "large")
    assert test.disagrees
    assert test.advantage == test.difference < 0 < test.low
    assert test.sentence.startswith("small is better than large by the ranks of the differences, 95 % interval of")
    assert test.sentence.endswith("; but its mean is lower by 0.0248: a few large differences go the other way.")
    assert win_tie_loss([test]) == {
        "small": {"wins": 1, "ties": 0, "losses": 0}, "large": {"wins": 0, "ties": 0, "losses": 1},
    }  # fmt: skip
    assert best_group({"small": 0.47, "large": 0.5}, [test]) == ("large", ["small"])  # no test puts it behind
    assert test.to_json()["winner"] == "small"


def test_the_winner_is_the_same_from_either_side():
    rng = np.random.default_rng(14)
    for _ in range(50):
        x, y = rng.integers(0, 5, 12) / 10, rng.integers(0, 5, 12) / 10 - rng.integers(0, 2) / 5
        one = dataclasses.replace(signed_rank(x, y), a="x", b="y")
        other = dataclasses.replace(signed_rank(y, x), a="y", b="x")
        assert one.winner == other.winner
        if one.leaning:
            assert one.sentence == other.sentence
            assert one.ends == other.ends
        assert (one.winner is not None) == (one.ends is not None and one.ends[0] > 0)


def test_ties_are_exact():
    assert signed_rank([0.6] * 6, [0.5] * 6).p == 0.03125


def test_a_test_that_puts_nobody_ahead():
    test = signed_rank([1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1])
    assert (test.p, test.lean, test.leaning, test.winner) == (1, 0, 0, None)
    assert "which may be chance" in test.sentence


def test_a_test_of_an_older_version_is_read():
    """Their documents have no `lean`: the effect of a signed-rank test stands for it, elsewhere the difference."""
    told = {"question": "", "method": "Wilcoxon signed-rank test", "n": 13, "score_a": 0.4, "score_b": 0.5, "p": 0.01}
    test = Test("a", "b", **told, difference=-0.1, effect=0.7, effect_name="rank-biserial correlation")
    assert (test.winner, test.disagrees) == ("a", True)
    means = Test("a", "b", **told, difference=-0.1, effect=-0.3, effect_name="Cohen's d_z")
    assert (means.winner, means.disagrees) == ("b", False)
    assert Test(**{k: v for k, v in test.to_json().items() if k in Test.__dataclass_fields__}) == test


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


def test_paired_means_are_both_tests():
    values = [RNG.random(25), RNG.random(25) ** 3, RNG.random(25) ** 9]
    tests = all_paired_means(["a", "b", "c"], values)
    assert [(t.a, t.b) for t in tests] == [("a", "b"), ("a", "c"), ("b", "c")]
    for test, (i, j) in zip(tests, [(0, 1), (0, 2), (1, 2)], strict=True):
        found = careful((values[i] - values[j])[None])
        assert (test.p, test.low, test.high) == pytest.approx((found.p[0], found.low[0], found.high[0]))
        assert test.winner in (None, test.a if test.difference > 0 else test.b)
    assert [t.p_holm for t in tests] == holm([t.p for t in tests])


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
    assert one.p == pytest.approx(other.p)
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


def test_p_of_the_bootstrap_is_below_5_percent_where_the_interval_leaves_out_0():
    for shift in np.linspace(-0.3, 0.3, 200):
        p, low, high = bootstrap_test(np.round(np.random.default_rng(15).normal(shift, 0.1, 999), 2))
        assert (p < 0.05) == (low > 0 or high < 0)


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
    rate = np.mean([(sign_flips(of, flips=999).p < 0.05).mean() for of in np.split(d, 10)])
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
