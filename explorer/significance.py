"""Is a difference one? Paired tests across tasks and within a task, with effect sizes, intervals and Holm's correction.

    across_tasks({"a": {"STS15": 0.85, …}, "b": {…}})     # Wilcoxon signed-rank, as in the paper
    paired_means(x, y)                                    # per-query nDCG, per-text accuracy: sign flips and Hall's t
    paired_resampled(bootstrap_spearman(gold, [x, y]))    # one correlation over all pairs: bootstrap of the difference

Every test says in words what it asks, and who is ahead by the number that it tests. Before Holm's correction p is below
5 % exactly if the interval leaves out 0. Where there is too little to decide anything a test refuses and says why: then
`p` is None and `refused` a sentence. Scores are "higher is better"; everything is deterministic. The arithmetic lies in
signed_ranks.py, mean_tests.py and resampled.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from .errors import InputError
from .mean_tests import careful
from .measures import TIE
from .resampled import Resampled, bootstrap_test
from .signed_ranks import moved, signed_rank_test

LEVEL = 0.05
"""A difference counts as one if its corrected p is below."""

MIN_TASKS = 6
"""With five tasks the smallest two-sided p of the signed-rank test is 2 / 2^5 = 0.0625: no result could pass 5 %."""

MIN_EXAMPLES = 20
"""Fewer examples are refused: they say more about the few than about others of their kind."""

MEANS = "paired test of means (sign flips and Hall's t)"
RANKS = "Wilcoxon signed-rank test"
RANK_BISERIAL = "rank-biserial correlation"


@dataclass(frozen=True)
class Test:
    """Is a better than b? What was asked, of how much, and the answer with its uncertainty.

    `difference` is a's score minus b's, [low, high] a 95 % interval, `p` two-sided, `p_holm` corrected for all pairs
    that were compared with it. `low` and `high` belong to what was tested: the difference or, for the signed-rank test,
    the typical difference (pseudomedian) of the tasks on which the two differ.
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
    lean: float | None = None
    """The tested number, if it is not the difference: above 0 it speaks for a, below for b."""

    __test__ = False  # not one of pytest's

    @property
    def leaning(self) -> float:
        """The number whose sign says who is ahead: what was tested, and the difference where it decides nothing.

        Documents of older versions have no `lean`; there the effect of the signed-rank test is it.
        """
        lean = self.effect if self.lean is None and self.effect_name == RANK_BISERIAL else self.lean
        return lean or self.difference

    @property
    def ahead(self) -> str:
        """The variant that the tested number puts ahead; a if it puts none."""
        return self.b if self.leaning < 0 else self.a

    @property
    def behind(self) -> str:
        """The other one."""
        return self.a if self.leaning < 0 else self.b

    @property
    def winner(self) -> str | None:
        """The variant that is better by the test; None if they are not told apart."""
        return self.ahead if self.significant else None

    @property
    def advantage(self) -> float:
        """The score of the one ahead minus that of the other; below 0 where the mean disagrees with the test."""
        return -self.difference if self.leaning < 0 else self.difference

    @property
    def disagrees(self) -> bool:
        """Whether the one ahead by the tested number has the lower mean score."""
        return self.advantage < -TIE

    @property
    def ends(self) -> tuple[float, float] | None:
        """[low, high] as the one ahead sees it; None without an interval."""
        if self.low is None or self.high is None:
            return None
        return (0.0 - self.high, 0.0 - self.low) if self.leaning < 0 else (self.low, self.high)  # never -0

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
        p = self.p_holm if self.p_holm is not None else self.p
        corrected = " after Holm's correction" if self.p_holm is not None else ""
        chance = f"(p = {p:.2g}{corrected})"
        ranked = self.effect_name == RANK_BISERIAL
        within = ""
        if self.ends is not None:
            of = " of the typical difference" if ranked else ""
            within = f", 95 % interval{of} {self.ends[0]:+.4f} to {self.ends[1]:+.4f}"
        better = "is better than" if self.significant else "is ahead of"
        perhaps = "" if self.significant else ", which may be chance"
        if self.disagrees:
            by = "the ranks of the differences" if ranked else "what was tested"
            but = f"its mean is lower by {abs(self.difference):.4f}: a few large differences go the other way"
            return f"{self.ahead} {better} {self.behind} by {by}{within} {chance}{perhaps}; but {but}."
        return f"{self.ahead} {better} {self.behind} by {self.advantage:.4f}{within} {chance}{perhaps}."

    def to_json(self) -> dict[str, Any]:
        """All fields, and what follows from them."""
        told = {"significant": self.significant, "winner": self.winner, "sentence": self.sentence}
        return {**asdict(self), **told}


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
    """Test x - y [n] by Wilcoxon's signed ranks, exact up to 100 differences, ties and all.

    Equal scores are left out, as Wilcoxon did, of the test and of its interval (Hodges & Lehmann: pseudomedian of the
    other differences). The effect is the matched-pairs rank-biserial correlation (the favourable minus the unfavourable
    share of the rank sum, -1 to 1); its sign says who is ahead, whatever the mean difference says.
    """
    d = _differences(x, y)
    question = f"Over {what} like these, is one variant ahead of the other more often and by more than chance would do?"
    test = _test(question, RANKS, x, y, d)
    apart = len(moved(d))
    if apart < MIN_TASKS:
        equal = f" ({len(d) - apart} more are equal)" if apart < len(d) else ""
        reason = f"too few {what} with different scores, {apart}{equal}: even winning all of them would give"
        return replace(test, refused=f"{reason} p = {min(1.0, 2 / 2**apart):.3g}; {MIN_TASKS} are needed")
    found = signed_rank_test(d)
    return replace(
        test, p=found.p, low=found.low, high=found.high, effect=found.effect, effect_name=RANK_BISERIAL,
        lean=found.effect,
    )  # fmt: skip


# ---- within a task: means over examples ----------------------------------------------------------------------------


def paired_means(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, what: str = "examples") -> Test:
    """Test whether the mean of x [n] is above that of y, example by example, and give its interval.

    By sign flips (each difference could as well have the other sign) and by Hall's t (which knows that the tail on one
    side may be longer); the more careful of both answers stands (`mean_tests.careful`). The effect is Cohen's d_z (mean
    over standard deviation of the differences). `what` names the examples in sentences.

    Fewer than `MIN_EXAMPLES` are refused. Raises `InputError` unless x and y are finite and of one length.
    """
    return all_paired_means(("", ""), [x, y], what)[0]


def all_paired_means(
    names: Sequence[str], values: Sequence[Sequence[float] | np.ndarray], what: str = "examples"
) -> list[Test]:
    """`paired_means` of every two of several variants' values [v][n], Holm over all pairs."""
    pairs = list(combinations(range(len(names)), 2))
    differences = [_differences(values[i], values[j]) for i, j in pairs]
    enough = bool(pairs) and len(differences[0]) >= MIN_EXAMPLES
    found = careful(np.array(differences)) if enough else None
    question = f"On other {what} of this kind, would the same variant have the higher mean?"
    tests = []
    for place, ((i, j), d) in enumerate(zip(pairs, differences, strict=True)):
        test = replace(_test(question, MEANS, values[i], values[j], d), a=names[i], b=names[j])
        if found is None:
            tests.append(replace(test, refused=f"{len(d)} {what} are too few; {MIN_EXAMPLES} are needed"))
            continue
        spread = float(d.std(ddof=1))
        effect = test.difference / spread if spread > TIE else 0.0
        p, low, high = (float(of[place]) for of in (found.p, found.low, found.high))
        tests.append(replace(test, p=p, low=low, high=high, effect=effect, effect_name="Cohen's d_z"))
    return holm_corrected(tests)


# ---- within a task: one number over all examples -------------------------------------------------------------------


def paired_resampled(found: Resampled, i: int = 0, j: int = 1, what: str = "pairs") -> Test:
    """Test whether variant i's score is above j's by a bootstrap of the difference over examples (`bootstrap_test`).

    The effect is Cohen's q for correlations (difference of Fisher's z), else the difference itself. An example counts
    as won by the variant that places it nearer to where the gold places it.
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
    p, low, high = bootstrap_test(d)
    correlation = "correlation" in found.measure
    effect = float(np.arctanh(np.clip(x, -1 + 1e-9, 1 - 1e-9)) - np.arctanh(np.clip(y, -1 + 1e-9, 1 - 1e-9)))
    return replace(
        test,
        p=p,
        low=low,
        high=high,
        effect=effect if correlation else x - y,
        effect_name="Cohen's q" if correlation else "difference",
    )


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
    """The variant with the highest score, and those that no test puts behind it (untested ones are left out).

    Raises `InputError` if there is no score.
    """
    if not scores:
        raise InputError("there are no scores to choose the best of")
    best = max(scores, key=lambda name: scores[name])
    tied = []
    for test in tests:
        if best in (test.a, test.b) and not test.refused and test.winner != best:
            tied.append(test.b if test.a == best else test.a)
    return best, [name for name in scores if name in tied]


def win_tie_loss(tests: Sequence[Test]) -> dict[str, dict[str, int]]:
    """For each variant: how many others it beats, is not told apart from, and loses to; refused tests do not count."""
    names = dict.fromkeys(name for test in tests for name in (test.a, test.b))
    counts = {name: {"wins": 0, "ties": 0, "losses": 0} for name in names}
    for test in tests:
        if test.refused:
            continue
        if test.winner is None:
            counts[test.a]["ties"] += 1
            counts[test.b]["ties"] += 1
        else:
            counts[test.ahead]["wins"] += 1
            counts[test.behind]["losses"] += 1
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
