"""Is a difference one? Paired tests across tasks and within a task, with effect sizes, intervals and Holm's correction.

    across_tasks({"a": {"STS15": 0.85, …}, "b": {…}})     # Wilcoxon signed-rank, as in the paper
    paired_means(x, y)                                    # per-query nDCG, per-text accuracy: sign-flip permutation
    paired_resampled(bootstrap_spearman(gold, [x, y]))    # one correlation over all pairs: bootstrap of the difference

Every test says in words what it asks. Where there is too little to decide anything it refuses and says why: then `p` is
None and `refused` a sentence. Scores are "higher is better"; everything is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from .errors import InputError
from .measures import TIE, paired_bootstrap

LEVEL = 0.05
"""A difference counts as one if its corrected p is below."""

MIN_TASKS = 6
"""With five tasks the smallest two-sided p of the signed-rank test is 2 / 2^5 = 0.0625: no result could pass 5 %."""

MIN_EXAMPLES = 20
"""Fewer examples are refused: their resamples say more about the few than about others of their kind."""

FLIPS = 9_999
"""Random sign flips; the smallest p that they can give is 1 / 10,000."""

RESAMPLES = 2_000
BLOCK = 4_000_000  # resampled values held at once: 32 MB
ROUNDING = 1e-12


@dataclass(frozen=True)
class Test:
    """Is a better than b? What was asked, of how much, and the answer with its uncertainty.

    `difference` is a's score minus b's, [low, high] its 95 % interval, `p` two-sided, `p_holm` corrected for all pairs
    that were compared with it.
    """

    a: str
    b: str
    question: str
    method: str
    n: int
    """Tasks or examples compared."""
    score_a: float
    score_b: float
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    effect: float | None = None
    effect_name: str = ""
    wins: int = 0
    """On how many a is better; then equal and worse."""
    ties: int = 0
    losses: int = 0
    refused: str = ""

    __test__ = False  # not one of pytest's

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 5 %."""
        p = self.p_holm if self.p_holm is not None else self.p
        return p is not None and p < LEVEL

    @property
    def sentence(self) -> str:
        """The answer in words."""
        if self.refused:
            return f"{self.a} and {self.b} cannot be told apart or together: {self.refused}."
        ends = [] if self.low is None or self.high is None else [self.low, self.high]
        if self.difference < 0:
            ends = [-end for end in reversed(ends)]
        within = f", 95 % interval {ends[0]:+.4f} to {ends[1]:+.4f}" if ends else ""
        p = self.p_holm if self.p_holm is not None else self.p
        corrected = " after Holm's correction" if self.p_holm is not None else ""
        tail = f"{abs(self.difference):.4f}{within} (p = {p:.2g}{corrected})"
        better, worse = (self.a, self.b) if self.difference >= 0 else (self.b, self.a)
        if self.significant:
            return f"{better} is better than {worse} by {tail}."
        return f"{better} is ahead of {worse} by {tail}, which may be chance."

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "significant": self.significant, "sentence": self.sentence}


# ---- across tasks --------------------------------------------------------------------------------------------------


def across_tasks(scores: Mapping[str, Mapping[str, float]], what: str = "tasks") -> list[Test]:
    """Every two variants over the tasks both were evaluated on: Wilcoxon signed-rank test, Holm over all pairs.

    `scores`: variant -> task -> main score. Raises `InputError` for scores that are not finite.
    """
    tests = []
    for a, b in combinations(scores, 2):
        shared = [task for task in scores[a] if task in scores[b]]
        x, y = ([scores[v][task] for task in shared] for v in (a, b))
        tests.append(replace(signed_rank(x, y, what), a=a, b=b))
    return holm_corrected(tests)


def signed_rank(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, what: str = "tasks") -> Test:
    """Wilcoxon's signed-rank test of x - y [n] (`scipy.stats.wilcoxon`; exact up to 50 differences without ties).

    Equal scores are left out, as Wilcoxon did. The effect is the matched-pairs rank-biserial correlation (the
    favourable minus the unfavourable share of the rank sum, -1 to 1); the interval is the one that belongs to the test
    (Hodges & Lehmann: pseudomedian of the differences), the difference is the mean one.
    """
    from scipy import stats

    d = _differences(x, y)
    question = f"Over {what} like these, is one variant ahead of the other more often and by more than chance would do?"
    test = _test(question, "Wilcoxon signed-rank test", x, y, d)
    moved = d[np.abs(d) > TIE]
    if len(moved) < MIN_TASKS:
        equal = f" ({len(d) - len(moved)} more are equal)" if len(moved) < len(d) else ""
        reason = f"too few {what} with different scores, {len(moved)}{equal}: even winning all of them would give"
        return replace(test, refused=f"{reason} p = {min(1.0, 2 / 2 ** len(moved)):.3g}; {MIN_TASKS} are needed")
    rounded = np.round(moved, 12)  # differences that are equal but for rounding share a rank
    tied = len(np.unique(np.abs(rounded))) < len(rounded)
    p = float(stats.wilcoxon(rounded, method="approx" if tied or len(moved) > 50 else "exact").pvalue)
    ranks = stats.rankdata(np.abs(rounded))
    effect = float((ranks[rounded > 0].sum() - ranks[rounded < 0].sum()) / ranks.sum())
    low, high = signed_rank_interval(d)
    return replace(test, p=p, low=low, high=high, effect=effect, effect_name="rank-biserial correlation")


def signed_rank_interval(d: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """The differences that the signed-rank test would not reject: an interval for the pseudomedian of d [n].

    Its ends are two of the n (n + 1) / 2 averages of pairs (Walsh); which, the test's null distribution says: exact for
    n up to 50, normal beyond. Covers at least `confidence` (Hollander & Wolfe 1999, section 3.3).
    """
    from scipy import stats

    n = len(d)
    upper = np.triu_indices(n)
    walsh = np.sort(((d[:, None] + d[None, :]) / 2)[upper])
    alpha = (1 - confidence) / 2
    if n <= 50:
        counts = np.ones(1)
        for rank in range(1, n + 1):  # subsets of the ranks 1..n by their sum
            longer = np.zeros(len(counts) + rank)
            longer[: len(counts)] += counts
            longer[rank:] += counts
            counts = longer
        below = np.cumsum(counts) / 2.0**n  # P(W <= w)
        k = int(np.searchsorted(below, alpha, side="right"))  # the smallest w that the test would not reject
    else:
        spread = np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        k = int(np.floor(n * (n + 1) / 4 + stats.norm.ppf(alpha) * spread))
    k = min(max(k, 1), len(walsh)) if n else 1
    return float(walsh[k - 1]), float(walsh[len(walsh) - k])


# ---- within a task: means over examples ----------------------------------------------------------------------------


def paired_means(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, what: str = "examples") -> Test:
    """Is the mean of x [n] above that of y, example by example? A permutation test with a bootstrap interval.

    If both variants were equally good, each difference could as well have the other sign; p is the share of random
    sign flips whose mean differs from 0 at least as much. The effect is Cohen's d_z (mean over standard deviation of
    the differences).
    """
    return all_paired_means(("", ""), [x, y], what)[0]


def all_paired_means(
    names: Sequence[str], values: Sequence[Sequence[float] | np.ndarray], what: str = "examples"
) -> list[Test]:
    """`paired_means` of every two of several variants' values [v][n], Holm over all pairs."""
    pairs = list(combinations(range(len(names)), 2))
    differences = [_differences(values[i], values[j]) for i, j in pairs]
    enough = bool(pairs) and len(differences[0]) >= MIN_EXAMPLES
    p = sign_flip_p(np.array(differences)) if enough else np.ones(len(pairs))
    question = f"On other {what} of this kind, would the same variant have the higher mean?"
    tests = []
    for (i, j), d, chance in zip(pairs, differences, p, strict=True):
        test = _test(question, "paired permutation test (sign flips)", values[i], values[j], d)
        test = replace(test, a=names[i], b=names[j])
        if not enough:
            tests.append(replace(test, refused=f"{len(d)} {what} are too few; {MIN_EXAMPLES} are needed"))
            continue
        found = paired_bootstrap(np.asarray(values[i], float), np.asarray(values[j], float), resamples=RESAMPLES)
        spread = float(d.std(ddof=1))
        effect = found.mean / spread if spread > TIE else 0.0
        test = replace(test, p=float(chance), low=found.low, high=found.high)
        tests.append(replace(test, effect=effect, effect_name="Cohen's d_z"))
    return holm_corrected(tests)


def sign_flip_p(d: np.ndarray, flips: int = FLIPS, seed: int = 0) -> np.ndarray:
    """Two-sided p [m] of m sets of paired differences [m, n] under random sign flips.

    `scipy.stats.permutation_test` gives the same and draws anew for each set; here all sets share the flips, and a
    matrix product does the work. The observed arrangement counts as one, so p is never 0 (Phipson & Smyth 2010).
    """
    d = np.atleast_2d(np.asarray(d, float))
    m, n = d.shape
    observed = np.abs(d.sum(axis=1))
    bound = observed - ROUNDING * np.abs(d).sum(axis=1)  # sums of the same numbers differ in the last digits
    rng = np.random.default_rng(seed)
    reached, left = np.zeros(m), flips
    while left:
        size = min(left, max(1, BLOCK // max(n, m)))
        signs = 1.0 - 2.0 * rng.integers(0, 2, (n, size), dtype=np.int8)
        reached += (np.abs(d @ signs) >= bound[:, None]).sum(axis=1)
        left -= size
    return (reached + 1) / (flips + 1)


# ---- within a task: one number over all examples -------------------------------------------------------------------


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


def paired_resampled(found: Resampled, i: int = 0, j: int = 1, what: str = "pairs") -> Test:
    """Is variant i's score above j's? A bootstrap of the difference over examples.

    p is twice the share of resamples in which the difference lies on the other side of 0 (at least 1 / (R + 1)). The
    effect is Cohen's q for correlations (difference of Fisher's z), else the difference itself. An example counts as
    won by the variant that places it nearer to where the gold places it.
    """
    x, y = float(found.scores[i]), float(found.scores[j])
    question = f"On other {what} of this kind, would the same variant have the higher {found.measure}?"
    near = found.closer(i, j)
    wins, losses = int((near > TIE).sum()), int((near < -TIE).sum())
    ties = found.n - wins - losses
    test = Test("", "", question, "paired bootstrap", found.n, x, y, x - y, wins=wins, ties=ties, losses=losses)
    if found.n < MIN_EXAMPLES:
        return replace(test, refused=f"{found.n} {what} are too few; {MIN_EXAMPLES} are needed")
    d = found.samples[i] - found.samples[j]
    d = d[np.isfinite(d)]
    if not (np.isfinite(x) and np.isfinite(y)) or not len(d):
        return replace(test, refused=f"{found.measure} is not defined here: all values are the same")
    low, high = np.quantile(d, [0.025, 0.975])
    correlation = "correlation" in found.measure
    effect = float(np.arctanh(np.clip(x, -1 + 1e-9, 1 - 1e-9)) - np.arctanh(np.clip(y, -1 + 1e-9, 1 - 1e-9)))
    return replace(
        test,
        p=float(bootstrap_p(d[None])[0]),
        low=float(low),
        high=float(high),
        effect=effect if correlation else x - y,
        effect_name="Cohen's q" if correlation else "difference",
    )


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


# ---- all pairs -----------------------------------------------------------------------------------------------------


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction, in the order given: each p times how many are not smaller, made monotone.

    Raises `InputError` for values that are no probabilities.
    """
    values = np.asarray(p, float)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise InputError("p values must lie between 0 and 1")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(1.0, stepped)
    return corrected.tolist()


def holm_corrected(tests: Sequence[Test]) -> list[Test]:
    """The tests with `p_holm`: the chance of even one false difference among all of them stays below 5 %."""
    answered = [i for i, test in enumerate(tests) if test.p is not None]
    corrected = dict(zip(answered, holm([tests[i].p or 0.0 for i in answered]), strict=True))
    return [replace(test, p_holm=corrected.get(i)) for i, test in enumerate(tests)]


def all_pairs(names: Sequence[str], test: Callable[[int, int], Test]) -> list[Test]:
    """`test(i, j)` for every two of `names`, named and corrected over all pairs."""
    pairs = combinations(range(len(names)), 2)
    return holm_corrected([replace(test(i, j), a=names[i], b=names[j]) for i, j in pairs])


def best_group(scores: Mapping[str, float], tests: Sequence[Test]) -> tuple[str, list[str]]:
    """The variant with the highest score, and those that no test tells apart from it (untested ones are left out).

    Raises `InputError` if there is no score.
    """
    if not scores:
        raise InputError("there are no scores to choose the best of")
    best = max(scores, key=lambda name: scores[name])
    tied = []
    for test in tests:
        if best in (test.a, test.b) and not test.refused and not test.significant:
            tied.append(test.b if test.a == best else test.a)
    return best, [name for name in scores if name in tied]


def win_tie_loss(tests: Sequence[Test]) -> dict[str, dict[str, int]]:
    """For each variant: how many others it beats, is not told apart from, and loses to; refused tests do not count."""
    names = dict.fromkeys(name for test in tests for name in (test.a, test.b))
    counts = {name: {"wins": 0, "ties": 0, "losses": 0} for name in names}
    for test in tests:
        if test.refused:
            continue
        if not test.significant:
            counts[test.a]["ties"] += 1
            counts[test.b]["ties"] += 1
        else:
            better, worse = (test.a, test.b) if test.difference > 0 else (test.b, test.a)
            counts[better]["wins"] += 1
            counts[worse]["losses"] += 1
    return counts


def _differences(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> np.ndarray:
    a, b = np.asarray(x, float), np.asarray(y, float)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"paired scores must be of the same examples; got {a.size} and {b.size}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("scores must be finite numbers")
    return a - b


def _test(question: str, method: str, x: Any, y: Any, d: np.ndarray) -> Test:
    wins, losses = int((d > TIE).sum()), int((d < -TIE).sum())
    means = [float(np.mean(values)) if len(d) else 0.0 for values in (x, y)]
    difference = float(d.mean()) if len(d) else 0.0
    return Test(
        "",
        "",
        question,
        method,
        len(d),
        means[0],
        means[1],
        difference,
        wins=wins,
        ties=len(d) - wins - losses,
        losses=losses,
    )
