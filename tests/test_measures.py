"""Agreement, quality and intervals: values worked by hand first, then invariants."""

import math
import random

import numpy as np
import pytest

from explorer.errors import InputError
from explorer.measures import (
    EXPLAIN,
    METRICS,
    agreement_matrix,
    disagreement,
    interval,
    overlap_at,
    paired_difference,
    quality,
    rank_biased_overlap,
)
from explorer.retrieval import Hit
from explorer.significance import paired_means


def ranking(*ids: str) -> list[Hit]:
    return [Hit(id, rank, 1 / rank) for rank, id in enumerate(ids, start=1)]


# ---- agreement ----


@pytest.mark.parametrize(
    ("a", "b", "k", "expected"),
    [
        ("abcd", "badc", 4, 1),  # order does not matter
        ("abcd", "abxy", 4, 0.5),
        ("abcd", "dcba", 2, 0),  # only the first k
        ("abc", "abc", 10, 1),  # shorter than k, and the same
        ("ab", "abcd", 10, 0.5),  # 2 of the longer one's 4
        ("a", "", 3, 0),
        ("", "", 3, 1),
    ],
)
def test_overlap_by_hand(a, b, k, expected):
    assert overlap_at(a, b, k) == overlap_at(b, a, k) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # p = 1/2, so (1 - p) / p = 1. Agreement at depths 1, 2, 3 is 1, 1/2, 1.
        ("abc", "acb", 1 / 2 + 1 / 2 / 4 + 1 / 8 + 1 / 8),
        # s = 2, l = 4; X = 1, 1, 2, 2. Seen, assumed of the shorter, beyond.
        (
            "ab",
            "acbd",
            (1 / 2 + 1 / 2 / 4 + 2 / 3 / 8 + 2 / 4 / 16) + (1 / 6 / 8 + 2 / 8 / 16) + (1 / 4 + 1 / 2) / 16,
        ),
        # s = 1, l = 3; X = 1, 1, 1: a prefix is extrapolated to full agreement.
        ("a", "abc", 1),
        ("ab", "ba", 0 / 2 + 1 / 4 + 1 / 4),
        ("ab", "cd", 0),
        ("abcde", "abcde", 1),
        ("", "", 1),
        ("", "ab", 0),
    ],
)
def test_rbo_by_hand(a, b, expected):
    assert rank_biased_overlap(a, b, p=0.5) == pytest.approx(expected, abs=1e-12)
    assert rank_biased_overlap(b, a, p=0.5) == pytest.approx(expected, abs=1e-12)


def test_rbo_is_the_sum_of_the_paper_on_random_rankings():
    """Equation 32 written down once more, with sets and no running count."""
    rng = random.Random(0)
    for _ in range(200):
        p = rng.uniform(0.05, 0.95)
        a, b = (rng.sample(range(15), rng.randint(1, 12)) for _ in range(2))
        shorter, longer = sorted(([str(i) for i in a], [str(i) for i in b]), key=len)
        s, l = len(shorter), len(longer)
        x = [len(set(shorter[:d]) & set(longer[:d])) for d in range(l + 1)]
        total = sum(x[d] / d * p**d for d in range(1, l + 1))
        total += sum(x[s] * (d - s) / (s * d) * p**d for d in range(s + 1, l + 1))
        expected = (1 - p) / p * total + ((x[l] - x[s]) / l + x[s] / s) * p**l
        assert rank_biased_overlap(shorter, longer, p) == pytest.approx(expected, abs=1e-12)
        assert 0 <= expected <= 1 + 1e-12


def test_rbo_weighs_the_top():
    base = list("abcdefghij")
    top, bottom = list("bacdefghij"), list("abcdefghji")
    assert rank_biased_overlap(base, top) < rank_biased_overlap(base, bottom) < 1
    assert rank_biased_overlap(base, base) == 1
    # The smaller p, the more the first place decides.
    assert rank_biased_overlap("ab", "ac", p=0.01) == pytest.approx(1, abs=0.01)
    assert rank_biased_overlap("ab", "cb", p=0.01) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("p", [0, 1, -0.5, 2, math.nan])
def test_rbo_names_a_bad_p(p):
    with pytest.raises(InputError, match="between 0 and 1"):
        rank_biased_overlap("ab", "ab", p)


def test_bad_k_and_repeated_documents_are_refused():
    for k in (0, -3, 1.5, True):
        with pytest.raises(InputError, match="k must be a whole number"):
            overlap_at("ab", "ab", k)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="twice"):
        overlap_at("aab", "ab", 3)
    with pytest.raises(ValueError, match="twice"):
        rank_biased_overlap("ab", "bb")


def test_agreement_matrix():
    found = agreement_matrix({"x": list("abc"), "y": list("acb"), "z": list("def")}, k=2)
    assert found.names == ("x", "y", "z")
    for matrix in (found.overlap, found.rbo):
        assert (matrix == matrix.T).all()
        assert (np.diag(matrix) == 1).all()
    assert found.overlap.tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]
    assert found.rbo[0, 1] == rank_biased_overlap("ab", "ac")  # cut at k, like the overlap
    pairs = found.pairs()
    assert [(p["a"], p["b"]) for p in pairs] == [("x", "y"), ("x", "z"), ("y", "z")]
    assert pairs[0] == {"a": "x", "b": "y", "overlap": 0.5, "rbo": found.rbo[0, 1]}
    assert agreement_matrix({"x": ["a"]}, k=2).pairs() == []
    assert agreement_matrix({}, k=2).rbo.shape == (0, 0)


def test_disagreement():
    assert disagreement({"x": list("abc"), "y": list("abc")}, k=3) == pytest.approx(0)
    assert disagreement({"x": list("abc"), "y": list("def")}, k=3) == 1
    assert disagreement({"x": list("abc"), "y": list("abc"), "z": list("def")}, k=3) == pytest.approx(2 / 3)
    assert disagreement({"x": list("abc")}, k=3) == disagreement({}, k=3) == 0
    assert disagreement({"x": list("abcd"), "y": list("abdc")}, k=2) == pytest.approx(0)


# ---- quality ----


def test_graded_ndcg_by_hand():
    # Gains 1, 0, 2 at ranks 1, 2, 3; ideal 2, 1. An unjudged document ("x") has no gain.
    scores = quality({"q": ranking("b", "x", "a")}, {"q": {"a": 2, "b": 1, "c": 0}})
    assert scores.mean("nDCG") == pytest.approx((1 + 2 / 2) / (2 + 1 / math.log2(3)), abs=1e-6)
    assert scores.mean("MRR") == scores.mean("Recall") == 1
    assert scores.n == 1


@pytest.mark.parametrize(("k", "mrr", "recall"), [(1, 0, 0), (3, 0, 0), (4, 0.25, 0.5), (5, 0.25, 1), (50, 0.25, 1)])
def test_measures_are_cut_at_k(k, mrr, recall):
    scores = quality({"q": ranking("x", "y", "z", "a", "b")}, {"q": {"a": 1, "b": 1}}, k=k)
    assert scores.mean("MRR") == mrr
    assert scores.mean("Recall") == recall
    assert (scores.mean("nDCG") > 0) == (k >= 4)
    assert scores.k == k


def test_which_queries_count():
    qrels = {"found": {"a": 1}, "missing": {"a": 1}, "empty": {"a": 3}, "nothing relevant": {"a": 0}}
    run = {"found": ranking("a"), "empty": [], "nothing relevant": ranking("a"), "unjudged": ranking("a")}
    scores = quality(run, qrels)
    for metric in METRICS:
        assert scores.per_query[metric] == {"found": 1, "missing": 0, "empty": 0}
        assert scores.values(metric).tolist() == [1, 0, 0]
        assert scores.mean(metric) == pytest.approx(1 / 3)
    assert scores.n == 3


def test_the_rank_decides_even_where_scores_tie_or_the_list_is_shuffled():
    qrels = {"q": {"a": 1}}
    tied = [Hit("z", 1, 0.0), Hit("a", 2, 0.0), Hit("b", 3, 0.0)]  # pytrec_eval would sort equal scores z, b, a
    assert quality({"q": tied}, qrels).mean("MRR") == 0.5
    assert quality({"q": tied[::-1]}, qrels).mean("MRR") == 0.5
    rising = [Hit("z", 1, -5.0), Hit("a", 2, 7.0)]
    assert quality({"q": rising}, qrels, k=1).mean("MRR") == 0


def test_ids_may_be_any_text():
    odd = "dé x\t日本 #1"
    assert quality({odd: ranking("x", odd)}, {odd: {odd: 1}}).mean("MRR") == 0.5


def test_quality_refuses_what_it_cannot_score():
    unusable: list[dict[str, dict[str, int]]] = [{}, {"q": {}}, {"q": {"a": 0, "b": -1}}]
    for qrels in unusable:
        with pytest.raises(InputError, match="at least one query with a relevant document"):
            quality({"q": ranking("a")}, qrels)
    with pytest.raises(InputError, match="k must be"):
        quality({"q": ranking("a")}, {"q": {"a": 1}}, k=0)
    with pytest.raises(ValueError, match="twice"):
        quality({"q": [Hit("a", 1, 1.0), Hit("a", 2, 0.5)]}, {"q": {"a": 1}})
    with pytest.raises(InputError, match="unknown metric 'MAP'; known: nDCG, MRR, Recall"):
        quality({"q": ranking("a")}, {"q": {"a": 1}}).mean("MAP")


def test_a_perfect_ranking_is_best_and_reversing_it_is_worse():
    rng = random.Random(1)
    for _ in range(20):
        grades = {f"d{i}": rng.randint(0, 3) for i in range(12)} | {"sure": 2}
        best = sorted(grades, key=lambda d: -grades[d])
        perfect = quality({"q": ranking(*best)}, {"q": grades}).mean("nDCG")
        assert perfect == pytest.approx(1)
        assert quality({"q": ranking(*best[::-1])}, {"q": grades}).mean("nDCG") < perfect


def test_every_measure_is_explained_in_one_sentence():
    assert set(EXPLAIN) == {*METRICS, "overlap", "RBO"}
    for text in EXPLAIN.values():
        assert text.endswith(".")
        assert ". " not in text


# ---- how sure ----


def test_counts_and_mean_by_hand():
    found = paired_difference([1, 0.5, 0.2, 0.1 + 0.2], [0, 0.5, 0.6, 0.3])
    assert (found.wins, found.ties, found.losses, found.n) == (1, 2, 1, 4)
    assert found.mean == pytest.approx((1 - 0.4) / 4)
    assert found.low <= found.mean <= found.high


def test_a_share_has_wilsons_interval():
    # Nine of ten right: (0.9 + z^2 / 20 ± z sqrt(0.09 / 10 + z^2 / 400)) / (1 + z^2 / 10) with z = 1.959964.
    found = interval([1] * 9 + [0])
    assert (found.mean, found.low, found.high) == pytest.approx((0.9, 0.59585, 0.98212), abs=1e-5)
    # All right does not mean that the next one will be: 1 / (1 + z^2 / 20) is the lower end.
    whole = interval([1.0] * 20)
    assert (whole.mean, whole.low, whole.high) == pytest.approx((1, 1 / (1 + 3.84146 / 20), 1), abs=1e-5)
    assert interval([0, 1], confidence=0.4).low > interval([0, 1]).low


def test_an_interval_of_scores_stays_among_them():
    found = interval([1.0] * 18 + [0.5, 0.9])
    assert found.high == 1
    assert found.low < 0.9  # Student's t: .918; one half among twenty shows how far down the next may be
    assert interval([5.0, 7.0, 9.0]).high > 9  # no scores between 0 and 1


def test_equal_differences_have_no_width():
    found = paired_difference(np.linspace(0, 0.7, 9) + 0.1, np.linspace(0, 0.7, 9))
    assert found.low == found.mean == found.high == pytest.approx(0.1)
    assert found.wins == 9
    same = paired_difference([0.3, 0.4], [0.3, 0.4])
    assert (same.mean, same.low, same.high, same.ties) == (0, 0, 0, 2)


def test_interval_contains_the_mean_and_swapping_mirrors_it():
    rng = np.random.default_rng(3)
    for _ in range(10):
        x, y = rng.random(50) ** 3, rng.random(50)
        one, other = paired_difference(x, y), paired_difference(y, x)
        assert one.low < one.mean < one.high
        assert (one.low, one.mean, one.high) == pytest.approx((-other.high, -other.mean, -other.low))
        assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)


def test_interval_narrows_with_more_queries_and_less_confidence():
    x = np.random.default_rng(4).random(400)

    def width(found):
        return found.high - found.low

    assert width(interval(x, confidence=0.8)) < width(interval(x)) < width(interval(x[:100]))
    # Near the normal approximation, which holds for so many.
    assert width(interval(x)) == pytest.approx(2 * 1.96 * x.std() / 20, rel=0.05)


def test_a_difference_is_repeatable_and_belongs_to_the_test():
    rng = np.random.default_rng(6)
    for shift in np.linspace(-0.2, 0.2, 21):
        x, y = rng.random(25) ** 4 + shift, rng.random(25) ** 4
        found, test = paired_difference(x, y), paired_means(x, y)
        assert found == paired_difference(x, y)
        assert (found.low, found.high) == (test.low, test.high)
        assert (test.p < 0.05) == (found.low > 0 or found.high < 0)


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize("kind", ["mostly 1", "beta", "right or wrong"])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(kind, n):
    """Percentiles of a bootstrap cover 82, 88 and 93 % of these at n = 20, and 91 to 94 % at n = 50."""
    rng = np.random.default_rng(n)
    x, truth = {
        "mostly 1": (np.where(rng.random((1000, n)) < 0.8, 1.0, rng.random((1000, n))), 0.9),
        "beta": (rng.beta(5, 1, (1000, n)), 5 / 6),
        "right or wrong": ((rng.random((1000, n)) < 0.92).astype(float), 0.92),
    }[kind]
    covered = [found.low <= truth <= found.high for found in map(interval, x)]
    assert 0.935 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([], [], {}, "at least 2 queries; got 0"),
        ([1], [1], {}, "at least 2 queries; got 1"),
        ([1, 2], [1, 2, 3], {}, "of the same queries; got 2 and 3"),
        ([1, math.nan], [1, 2], {}, "number 2 is not"),
        ([1, 2], [1, 3], {"confidence": 95}, "between 0 and 1"),
    ],
)
def test_unusable_samples_are_named(x, y, options, message):
    with pytest.raises(InputError, match=message):
        paired_difference(x, y, **options)
