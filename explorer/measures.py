"""Numbers about rankings: how much two of them agree, how good they are, and how sure one can be of a difference.

    agreement_matrix({"a": ids_a, "b": ids_b}, k=10).pairs()  # overlap and RBO of each two rankings
    scores = quality(run, corpus.qrels, k=10)                 # nDCG, MRR and Recall per query, by pytrec_eval
    paired_difference(scores_a.values("nDCG"), scores_b.values("nDCG"))  # the difference and its confidence interval

A ranking is a sequence of distinct document ids, best first. Everything here is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .errors import InputError
from .mean_tests import careful, skewed_t
from .retrieval import Hit

METRICS = ("nDCG", "MRR", "Recall")
"""What `quality` measures, each cut at k."""

EXPLAIN: dict[str, str] = {
    "nDCG": "How close the first k results are to the best possible order, counting results near the top more and "
    "better-judged documents more: 1 is perfect, 0 means that nothing relevant was found.",
    "MRR": "How early the first relevant document comes: 1 if it is always the first result, 0.5 if always the second, "
    "0 if none is among the first k; averaged over the queries.",
    "Recall": "The share of all relevant documents that are among the first k results, in whatever order.",
    "overlap": "The share of the first k results that two rankings have in common, in whatever order.",
    "RBO": "Rank-biased overlap: how alike two rankings are when agreement at the top counts most; 1 is the same "
    "order, 0 is nothing in common.",
}
"""One sentence for each measure, for a reader who has not met it."""

TIE = 1e-9
"""Two scores that differ by less are a tie: the rest is rounding."""


# ---- agreement ------------------------------------------------------------------------------------------------------


def overlap_at(a: Sequence[str], b: Sequence[str], k: int) -> float:
    """|A_k ∩ B_k| / k', with k' = min(k, length of the longer ranking).

    So two short rankings of the same documents agree fully (1), a short one cannot agree fully with a longer one, and
    two empty rankings agree (1). Raises `InputError` for k below 1, ValueError if a ranking repeats a document.
    """
    a, b = _cut(a, k), _cut(b, k)
    longest = max(len(a), len(b))
    return len(set(a) & set(b)) / longest if longest else 1.0


def rank_biased_overlap(a: Sequence[str], b: Sequence[str], p: float = 0.9) -> float:
    """RBO_EXT of Webber, Moffat & Zobel (2010), "A similarity measure for indefinite rankings", equation 32.

    The agreement at depth d, |A_d ∩ B_d| / d, averaged over all depths with weights falling as p^d; past the end of the
    rankings it is extrapolated from what was seen. With p = 0.9 the first ten places carry 86 % of the weight. The
    rankings may differ in length: the longer is L (length l), the shorter S (length s). In [0, 1]: 1 for equal rankings
    (two empty ones too), 0 for disjoint ones. Raises `InputError` for p outside (0, 1), ValueError if a ranking repeats
    a document.
    """
    if not 0 < p < 1:
        raise InputError(f"p of rank-biased overlap must lie between 0 and 1; got {p!r}")
    shorter, longer = sorted((_cut(a), _cut(b)), key=len)
    s, l = len(shorter), len(longer)
    if s == 0:
        return 1.0 if l == 0 else 0.0
    x = _overlaps(shorter, longer)  # x[d] = X_d, the size of the intersection at depth d
    seen = sum(x[d] / d * p**d for d in range(1, l + 1))
    assumed = sum(x[s] * (d - s) / (s * d) * p**d for d in range(s + 1, l + 1))
    beyond = ((x[l] - x[s]) / l + x[s] / s) * p**l
    return float(min(1.0, (1 - p) / p * (seen + assumed) + beyond))  # rounding can pass 1 by 1e-16


def _overlaps(shorter: Sequence[str], longer: Sequence[str]) -> list[int]:
    """X_0 .. X_l: how many documents the two rankings share down to each depth; the shorter one counts whole past s."""
    x, in_shorter, in_longer = [0], set[str](), set[str]()
    for d, document in enumerate(longer):
        in_longer.add(document)
        x.append(x[-1] + (document in in_shorter))
        if d < len(shorter):
            in_shorter.add(shorter[d])
            x[-1] += shorter[d] in in_longer
    return x


@dataclass(frozen=True, eq=False)
class Agreement:
    """How much each two of several rankings agree: symmetric matrices [n, n] with ones on the diagonal."""

    names: tuple[str, ...]
    overlap: np.ndarray
    rbo: np.ndarray
    k: int

    def pairs(self) -> list[dict[str, str | float]]:
        """One row {a, b, overlap, rbo} for each two rankings, in the order of `names`."""
        return [
            {
                "a": self.names[i],
                "b": self.names[j],
                "overlap": float(self.overlap[i, j]),
                "rbo": float(self.rbo[i, j]),
            }
            for i, j in combinations(range(len(self.names)), 2)
        ]


def agreement_matrix(rankings: Mapping[str, Sequence[str]], k: int) -> Agreement:
    """`overlap_at` k and `rank_biased_overlap` (of the first k) for each two rankings, by name."""
    names, cut = tuple(rankings), [_cut(ranking, k) for ranking in rankings.values()]
    overlap, rbo = np.eye(len(names)), np.eye(len(names))
    for i, j in combinations(range(len(names)), 2):
        overlap[i, j] = overlap[j, i] = overlap_at(cut[i], cut[j], k)
        rbo[i, j] = rbo[j, i] = rank_biased_overlap(cut[i], cut[j])
    return Agreement(names, overlap, rbo, k)


def disagreement(rankings: Mapping[str, Sequence[str]], k: int) -> float:
    """1 - the mean RBO over all pairs of rankings, cut at k: 0 if all are equal, or if there are fewer than two."""
    cut = [_cut(ranking, k) for ranking in rankings.values()]
    rbo = [rank_biased_overlap(a, b) for a, b in combinations(cut, 2)]
    return 1 - sum(rbo) / len(rbo) if rbo else 0.0


def _cut(ranking: Sequence[str], k: int | None = None) -> Sequence[str]:
    """The first k documents of a ranking, which must be distinct."""
    if k is not None:
        _check_k(k)
        ranking = ranking[:k]
    if len(set(ranking)) != len(ranking):
        raise ValueError("a ranking names a document twice")
    return ranking


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k must be a whole number of at least 1; got {k!r}")


# ---- quality --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QueryScores:
    """What `quality` measured: metric -> query id -> score in [0, 1], for the same queries in the same order."""

    per_query: Mapping[str, Mapping[str, float]]
    k: int

    @property
    def n(self) -> int:
        """How many queries were scored."""
        return len(self.per_query[METRICS[0]])

    def values(self, metric: str) -> np.ndarray:
        """Scores [n] in the order of the judgments: two runs over the same judgments are paired place by place."""
        if metric not in self.per_query:
            raise InputError(f"unknown metric '{metric}'; known: {', '.join(self.per_query)}")
        return np.fromiter(self.per_query[metric].values(), dtype=float)

    def mean(self, metric: str) -> float:
        """The mean over the queries."""
        return float(self.values(metric).mean())


def quality(run: Mapping[str, Sequence[Hit]], qrels: Mapping[str, Mapping[str, int]], k: int = 10) -> QueryScores:
    """nDCG, MRR and Recall of the first k hits per query, by trec_eval (pytrec_eval).

    `qrels` holds query id -> document id -> grade. Queries count that have a document of grade 1 or more; one that is
    judged but missing from `run`, or found nothing, scores 0; one that is in `run` alone is left out. Documents without
    a judgment are not relevant. nDCG takes the grade itself as gain and log2(rank + 1) as discount, MRR and Recall any
    grade above 0 as relevant. Hits are taken in the order of their ranks, whatever their scores.

    Raises `InputError` if no query counts or k is below 1, ValueError if hits repeat a document.
    """
    import pytrec_eval

    _check_k(k)
    judged = {query: dict(grades) for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())}
    if not judged:
        raise InputError("quality needs at least one query with a relevant document (grade 1 or more); there is none")
    places = {query: _places(run[query], k) for query in judged if query in run}
    names = {"nDCG": f"ndcg_cut_{k}", "MRR": "recip_rank", "Recall": f"recall_{k}"}
    measured = pytrec_eval.RelevanceEvaluator(judged, set(names.values())).evaluate(places)
    per_query = {
        metric: {query: measured.get(query, {}).get(name, 0.0) for query in judged} for metric, name in names.items()
    }
    return QueryScores(per_query, k)


def _places(ranking: Sequence[Hit], k: int) -> dict[str, float]:
    """The first k hits as pytrec_eval takes them: document id -> a number that falls with the rank.

    It sorts by score and breaks ties by id, last first; minus the rank has no ties and keeps our order. The cut at k
    makes its reciprocal rank, which has no cut of its own, that of the first k.
    """
    places = {hit.id: -float(hit.rank) for hit in sorted(ranking, key=lambda hit: hit.rank)[:k]}
    if len(places) < min(k, len(ranking)):
        raise ValueError("a ranking names a document twice")
    return places


# ---- how sure -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A mean over n queries, and the confidence interval [low, high] for queries like these."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference(Interval):
    """The mean of x - y over n paired queries with its interval, and for how many x is better, equal, worse."""

    wins: int
    ties: int
    losses: int


def interval(x: Sequence[float] | np.ndarray, *, confidence: float = 0.95) -> Interval:
    """Give the mean of scores x [n] with its interval: how far it could move with other queries of the same kind.

    Hall's t, which knows that a few low scores among many high ones (or the reverse) make the mean less certain on one
    side (`mean_tests.skewed_t`); Wilson's interval for a share, where all scores are 0 or 1 (`scipy.stats.binomtest`).
    Cut to [0, 1] where all scores lie in it. Equal scores other than 0 and 1 give an interval of no width.

    Of 20 queries or more 93 to 98 % of these 95 % intervals hold the true mean, for scores as uneven as nDCG, MRR and
    Recall are; intervals of fewer queries say less than they seem to.

    Raises `InputError` for n below 2, values that are not finite, confidence outside (0, 1).
    """
    values = _sample(x, "scores")
    _check_confidence(confidence)
    mean, n = float(values.mean()), len(values)
    if np.isin(values, (0.0, 1.0)).all():
        from scipy import stats

        share = stats.binomtest(int(values.sum()), n).proportion_ci(confidence, method="wilson")
        return Interval(mean, float(share.low), float(share.high), n)
    if np.ptp(values) <= TIE:  # nothing varies but by rounding
        return Interval(mean, mean, mean, n)
    found = skewed_t(values[None], confidence)
    low, high = float(found.low[0]), float(found.high[0])
    if values.min() >= 0 and values.max() <= 1:
        low, high = max(low, 0.0), min(high, 1.0)
    return Interval(mean, low, high, n)


def paired_difference(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, *, confidence: float = 0.95, seed: int = 0
) -> Difference:
    """Is x better than y? Give the mean of x - y [n], paired by query, with its interval.

    An interval that leaves out 0 speaks for a true difference at that confidence. It is the one of
    `significance.paired_means`: sign flips and Hall's t, the more careful of both (`mean_tests.careful`). Swapping x
    and y mirrors the result. A query counts as tied where they differ by no more than rounding. Fewer than 20 queries
    say less than their interval seems to: a rare large difference may be missing among them.

    Raises `InputError` as `interval`, and if x and y differ in length.
    """
    a, b = _sample(x, "scores"), _sample(y, "scores")
    if len(a) != len(b):
        raise InputError(f"paired scores must be of the same queries; got {len(a)} and {len(b)}")
    _check_confidence(confidence)
    d = a - b
    mean = float(d.mean())
    wins, losses = int((d > TIE).sum()), int((d < -TIE).sum())
    ties = len(d) - wins - losses
    if np.ptp(d) <= TIE:
        return Difference(mean, mean, mean, len(d), wins, ties, losses)
    found = careful(d[None], confidence, seed=seed)
    return Difference(mean, float(found.low[0]), float(found.high[0]), len(d), wins, ties, losses)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, as in 0.95; got {confidence!r}")


def _sample(x: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    """`x` as float64 [n], n at least 2, all finite."""
    values = np.asarray(x, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise InputError(f"a confidence interval needs {name} of at least 2 queries; got {values.size}")
    if not np.isfinite(values).all():
        raise InputError(f"{name} must be finite; number {int(np.argmin(np.isfinite(values))) + 1} is not")
    return values
