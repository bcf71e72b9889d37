"""From runs to numbers: means over seeds, two kinds of intervals, tests of all pairs.

Within a task the per-example results are averaged over the seeds of a design and compared example by example; a score
that is one number over all examples (Spearman) is computed for every seed and averaged, on the same resamples for all.
A task type is tested by the paper's test (Wilcoxon across its tasks) where it has six tasks; over the examples of its
tasks where it has fewer, by means if all its scores are means of examples and by a bootstrap if not; over seeds alone
where there are no single examples (clustering). Designs among each other and designs against baselines are two
families, each corrected by Holm over all its pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from ..evaluation.examples import Examples
from ..evaluation.results import EXAMPLES
from ..mean_tests import careful
from ..measures import TIE
from ..resampled import RESAMPLES, Resampled, bootstrap_average_precision, bootstrap_spearman, bootstrap_test
from ..significance import (
    MEANS,
    MIN_EXAMPLES,
    MIN_TASKS,
    Test,
    across_tasks,
    all_paired_means,
    all_pairs,
    holm_corrected,
    paired_resampled,
)
from ..store import content_hash
from .estimates import estimate, gap, mean_interval
from .evidence import Evidence, Found
from .results import ALL, Entry, Pair, SeedGap

MIN_SEEDS = 3
"""Seeds of each design for a test over seeds alone."""
FITS = 1e-3
"""How near single examples must come to the main score for their resamples to be of the score."""
BLOCK = 4_000_000


@dataclass
class Measured:
    """A line of the table before it is one: all seeds of a design, or a baseline."""

    name: str
    baseline: bool
    seeds: list[int] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    """task -> one main score a seed."""
    examples: dict[str, list[Examples]] = field(default_factory=dict)

    def mean(self, task: str) -> float:
        return float(np.mean(self.scores[task]))

    def averaged(self, tasks: Sequence[str]) -> list[float] | None:
        """The mean over tasks, one number a seed; None unless every seed has every task."""
        if not tasks or not all(len(self.scores.get(task, ())) == max(1, len(self.seeds)) for task in tasks):
            return None
        return [float(np.mean(row)) for row in zip(*(self.scores[task] for task in tasks), strict=True)]


def measured(evidence: Evidence) -> list[Measured]:
    """Designs, then baselines, with what they scored; what has no score is left out."""
    by_name: dict[str, Measured] = {}
    for one in evidence.found:
        if not one.rows:
            continue
        line = by_name.setdefault(one.cell.name, Measured(one.cell.name, one.cell.seed is None))
        if one.cell.seed is not None:
            line.seeds.append(one.cell.seed)
        _take(line, one, evidence.tasks)
    return sorted(by_name.values(), key=lambda line: line.baseline)


def _take(line: Measured, one: Found, tasks: Iterable[str]) -> None:
    for task in tasks:
        if task in one.rows and one.scores is not None:
            line.scores.setdefault(task, []).append(one.rows[task].main_score)
            examples = one.scores.examples(task)
            if examples is not None:
                line.examples.setdefault(task, []).append(examples)


# ---- examples ------------------------------------------------------------------------------------------------------


@dataclass
class Sampled:
    """One task: the score of each entry [v], averaged over seeds, on the examples as they are and on resamples."""

    names: list[str]
    resampled: Resampled
    values: np.ndarray | None
    """[v, n]: per example, where the score is their mean."""
    what: str

    @property
    def samples(self) -> dict[str, np.ndarray]:
        """Entry -> [R]."""
        return dict(zip(self.names, self.resampled.samples, strict=True))

    def examples(self, name: str) -> np.ndarray | None:
        """The values of an entry [n]; None where the score is not their mean, or there is no such entry."""
        return None if self.values is None or name not in self.names else self.values[self.names.index(name)]

    def tests(self) -> list[Test]:
        """Every two entries, not corrected yet."""
        if self.values is not None:
            return all_paired_means(self.names, list(self.values), self.what)
        return all_pairs(self.names, lambda i, j: paired_resampled(self.resampled, i, j, self.what))


def sampled(task: str, lines: Sequence[Measured]) -> Sampled | None:
    """The resamples of a task; None where the main score is not made of single examples."""
    groups = {
        line.name: line.examples[task]
        for line in lines
        if task in line.examples and len(line.examples[task]) == len(line.scores[task])
    }
    if not groups:
        return None
    kind = next(iter(groups.values()))[0].kind
    seed = int(content_hash([task])[:8], 16)  # tasks of equal size must not share their resamples
    made = (_pairs if kind == "pairs" else _means)(groups, EXAMPLES[kind], seed)
    if made is None:
        return None
    means = {line.name: line.mean(task) for line in lines if line.name in groups}
    fits = all(abs(s - means[name]) < FITS for name, s in zip(made.names, made.resampled.scores, strict=True))
    return made if fits else None


def _pairs(groups: Mapping[str, list[Examples]], what: str, seed: int) -> Sampled | None:
    """One number over all pairs, for every seed on the same resamples; then the mean over seeds."""
    every = [one for of in groups.values() for one in of]
    if any(len(one) != len(every[0]) or not np.array_equal(one.gold, every[0].gold) for one in every):
        return None
    compute = bootstrap_spearman if every[0].metric == "spearman" else bootstrap_average_precision
    found = compute(every[0].gold, np.array([one.values for one in every]), seed=seed)
    ends = np.cumsum([len(of) for of in groups.values()])
    rows = [range(end - len(of), end) for end, of in zip(ends, groups.values(), strict=True)]
    reference = rows[0][0]

    def nearness(i: int) -> np.ndarray:
        return np.mean([found.closer(row, reference) for row in rows[i]], axis=0)

    def closer(i: int, j: int) -> np.ndarray:
        return nearness(i) - nearness(j)

    scores = np.array([found.scores[list(of)].mean() for of in rows])
    samples = np.array([found.samples[list(of)].mean(axis=0) for of in rows])
    return Sampled(list(groups), Resampled(found.measure, scores, samples, found.n, closer), None, what)


def _means(groups: Mapping[str, list[Examples]], what: str, seed: int) -> Sampled | None:
    """Per-example results averaged over seeds, of the examples that all have."""
    every = [one for of in groups.values() for one in of]
    common = set(every[0].ids).intersection(*(one.ids for one in every))
    ids = [id for id in every[0].ids if id in common]
    if len(ids) < 2:
        return None
    values = np.array([np.mean([_by_id(one, ids) for one in of], axis=0) for of in groups.values()])  # [v, n]
    n = len(ids)
    rng = np.random.default_rng(seed)
    samples, left = [], RESAMPLES
    while left:
        size = min(left, max(1, BLOCK // n))
        samples.append(values @ rng.multinomial(n, np.full(n, 1 / n), size).T / n)
        left -= size
    found = Resampled(
        "mean", values.mean(axis=1), np.concatenate(samples, axis=1), n, lambda i, j: values[i] - values[j]
    )
    return Sampled(list(groups), found, values, what)


def _by_id(one: Examples, ids: Sequence[str]) -> np.ndarray:
    if list(one.ids) == list(ids):
        return one.values
    places = {id: i for i, id in enumerate(one.ids)}
    return one.values[[places[id] for id in ids]]


# ---- estimates -----------------------------------------------------------------------------------------------------


def seed_gap(a: Measured, b: Measured, tasks: Sequence[str]) -> SeedGap | None:
    """What chance in training leaves of the difference of two means over tasks; None where it is unknown."""
    x, y = a.averaged(tasks), b.averaged(tasks)
    if x is None or y is None:
        return None
    return gap(None if a.baseline else x, None if b.baseline else y, float(np.mean(x) - np.mean(y)))


# ---- tests of all pairs --------------------------------------------------------------------------------------------


def families(tests: Iterable[Test], baselines: set[str]) -> list[Test]:
    """Holm's correction among designs, and apart from it of designs against baselines."""
    tests = list(tests)
    among = [test for test in tests if test.a not in baselines and test.b not in baselines]
    against = [test for test in tests if (test.a in baselines) != (test.b in baselines)]
    return [*holm_corrected(among), *holm_corrected(against)]


@dataclass
class Analysis:
    """The table and the tests."""

    lines: list[Measured]
    types: Mapping[str, Sequence[str]]
    """Task type -> tasks."""

    def __post_init__(self) -> None:
        self.by_name = {line.name: line for line in self.lines}
        self.baselines = {line.name for line in self.lines if line.baseline}
        self.tasks = [task for of in self.types.values() for task in of]
        self.sampled = {task: found for task in self.tasks if (found := sampled(task, self._having([task])))}

    def _having(self, tasks: Sequence[str]) -> list[Measured]:
        return [line for line in self.lines if all(task in line.scores for task in tasks)]

    def entries(self, pairs: Sequence[Pair]) -> list[Entry]:
        """The table, with the best designs and those not told apart from them marked by `pairs`."""
        made = []
        for line in self.lines:
            cells = {task: estimate(line.scores[task], self._interval(line, [task])) for task in line.scores}
            averages = {}
            for name, tasks in {**self.types, ALL: self.tasks}.items():
                scores = line.averaged(tasks)
                if scores is not None:
                    averages[name] = estimate(scores, self._interval(line, tasks))
            made.append(Entry(line.name, line.baseline, tuple(line.seeds), cells, averages))
        return _marked(made, pairs)

    def _interval(self, line: Measured, tasks: Sequence[str]) -> tuple[float, float] | None:
        """Over examples, of the mean of scores over tasks; percentiles of resamples where a score is not a mean."""
        values = self._values(line, tasks)
        if values is not None:
            return mean_interval(values)
        samples = self._samples(line, tasks)
        if samples is None or not np.isfinite(samples).any():
            return None
        low, high = np.nanquantile(samples, [0.025, 0.975])
        return float(low), float(high)

    def _values(self, line: Measured, tasks: Sequence[str]) -> list[np.ndarray] | None:
        """The examples' values of each task, if the scores of all of them are means of such; else None."""
        found = [self.sampled[task].examples(line.name) for task in tasks if task in self.sampled]
        usable = [values for values in found if values is not None]
        return usable if tasks and len(usable) == len(tasks) else None

    def _samples(self, line: Measured, tasks: Sequence[str]) -> np.ndarray | None:
        """The mean of scores over tasks on resamples [R]; None where any of the tasks has none."""
        found = [self.sampled[task].samples.get(line.name) for task in tasks if task in self.sampled]
        usable = [samples for samples in found if samples is not None]
        return np.mean(usable, axis=0) if len(usable) == len(tasks) else None

    def pairs(self) -> list[Pair]:
        """Every two entries within each task, within each type, and over all tasks."""
        found = []
        for task in self.tasks:
            found += self._scope(f"task:{task}", [task], self._within(task))
        for kind, tasks in self.types.items():
            found += self._scope(f"type:{kind}", tasks, self._of_type(tasks))
        if len(self.tasks) > 1:
            found += self._scope(ALL, self.tasks, self._across(self.tasks))
        return found

    def _scope(self, scope: str, tasks: Sequence[str], tests: Iterable[Test]) -> list[Pair]:
        corrected = families(tests, self.baselines)
        return [Pair(scope, t, seed_gap(self.by_name[t.a], self.by_name[t.b], tasks)) for t in corrected]

    def _within(self, task: str) -> list[Test]:
        lines = self._having([task])
        if task in self.sampled:
            tests = self.sampled[task].tests()
            known = {frozenset((test.a, test.b)) for test in tests}
            rest = [t for t in self._over_seeds(lines, [task]) if frozenset((t.a, t.b)) not in known]
            return [*tests, *rest]
        return self._over_seeds(lines, [task])

    def _of_type(self, tasks: Sequence[str]) -> list[Test]:
        if len(tasks) >= MIN_TASKS:
            return self._across(tasks)
        lines = self._having(tasks)
        if all(self._samples(line, tasks) is not None for line in lines):
            return self._stratified(lines, tasks)
        return self._over_seeds(lines, tasks)

    def _across(self, tasks: Sequence[str]) -> list[Test]:
        """Wilcoxon's test on scores averaged over seeds, as in the paper."""
        return across_tasks({line.name: {t: line.mean(t) for t in tasks if t in line.scores} for line in self.lines})

    def _stratified(self, lines: Sequence[Measured], tasks: Sequence[str]) -> list[Test]:
        """The mean over tasks, tested over the examples of every task: as a mean of means, or on their resamples."""
        question = f"On other examples of {_these(tasks)}, would the same variants have the higher mean score?"
        n = sum(self.sampled[task].resampled.n for task in tasks)
        enough = all(self.sampled[task].resampled.n >= MIN_EXAMPLES for task in tasks)
        values = [of for line in lines if (of := self._values(line, tasks)) is not None]
        means = _means_apart(values) if enough and len(values) == len(lines) else {}
        method = f"{MEANS}, by task" if len(values) == len(lines) else "paired bootstrap over examples, by task"

        def test(i: int, j: int) -> Test:
            a, b = lines[i], lines[j]
            x, y = (float(np.mean([line.mean(t) for t in tasks])) for line in (a, b))
            made = _won(Test("", "", question, method, n, x, y, x - y), a, b, tasks)
            if not enough:
                return replace(made, refused=f"a task has fewer than {MIN_EXAMPLES} examples")
            if means:
                p, low, high = means[i, j]
                return replace(made, p=p, low=low, high=high, effect=x - y, effect_name="difference")
            samples = [self._samples(line, tasks) for line in (a, b)]
            apart = np.asarray(samples[0]) - np.asarray(samples[1])
            apart = apart[np.isfinite(apart)]
            if not len(apart):
                return replace(made, refused="the score is not defined on resamples: all values are the same")
            p, low, high = bootstrap_test(apart)
            return replace(made, p=p, low=low, high=high, effect=x - y, effect_name="difference")

        return _every(lines, test)

    def _over_seeds(self, lines: Sequence[Measured], tasks: Sequence[str]) -> list[Test]:
        """Where there are no single examples: would trainings with other seeds differ the same way on these data?"""
        question = f"With other seeds, would the same design have the higher mean score on {_these(tasks)}?"

        def test(i: int, j: int) -> Test:
            a, b = lines[i], lines[j]
            x, y = (float(np.mean([line.mean(t) for t in tasks])) for line in (a, b))
            found = seed_gap(a, b, tasks)
            seeds = [len(line.seeds) for line in (a, b) if not line.baseline]
            made = _won(Test("", "", question, "Welch's t test over seeds", sum(seeds), x, y, x - y), a, b, tasks)
            if found is None or min(seeds, default=0) < MIN_SEEDS:
                give = "gives" if len(tasks) == 1 else "give"
                why = f"{_these(tasks)} {give} no results by single example, {len(tasks)} of {MIN_TASKS} tasks and"
                return replace(made, refused=f"{why} {min(seeds, default=0)} of {MIN_SEEDS} seeds are too few")
            if found.p is None:
                return replace(made, refused="all seeds gave the very same scores, so chance in training is unknown")
            return replace(made, p=found.p, low=found.low, high=found.high, effect=x - y, effect_name="difference")

        return _every(lines, test)


def _every(lines: Sequence[Measured], test: Callable[[int, int], Test]) -> list[Test]:
    pairs = combinations(range(len(lines)), 2)
    return [replace(test(i, j), a=lines[i].name, b=lines[j].name) for i, j in pairs]


def _means_apart(values: Sequence[Sequence[np.ndarray]]) -> dict[tuple[int, int], tuple[float, float, float]]:
    """(p, low, high) of the difference of every two lines' means over tasks, from examples' values [line][task][n]."""
    pairs = list(combinations(range(len(values)), 2))
    if not pairs:
        return {}
    tasks = range(len(values[0]))
    found = careful([np.array([values[i][task] - values[j][task] for i, j in pairs]) for task in tasks])
    return dict(zip(pairs, zip(found.p.tolist(), found.low.tolist(), found.high.tolist(), strict=True), strict=True))


def _won(test: Test, a: Measured, b: Measured, tasks: Sequence[str]) -> Test:
    """With the number of tasks on which a's mean is above, equal, below."""
    d = np.array([a.mean(task) - b.mean(task) for task in tasks])
    wins, losses = int((d > TIE).sum()), int((d < -TIE).sum())
    return replace(test, wins=wins, ties=len(d) - wins - losses, losses=losses)


def _these(tasks: Sequence[str]) -> str:
    return tasks[0] if len(tasks) == 1 else f"these {len(tasks)} tasks"


def _marked(entries: Sequence[Entry], pairs: Sequence[Pair]) -> list[Entry]:
    """The best design of each column, and those not told apart from it; with one design there is nothing to mark."""
    apart = {(pair.scope, frozenset((pair.test.a, pair.test.b))): pair.told_apart for pair in pairs}
    designs = [entry for entry in entries if not entry.baseline]
    columns = [("cells", task, f"task:{task}") for entry in designs for task in entry.cells]
    columns += [("averages", t, ALL if t == ALL else f"type:{t}") for entry in designs for t in entry.averages]
    marked = {(entry.name, where): dict(getattr(entry, where)) for entry in entries for where in ("cells", "averages")}
    for where, name, scope in dict.fromkeys(columns):
        means = {e.name: getattr(e, where)[name].mean for e in designs if name in getattr(e, where)}
        if len(means) < 2:
            continue
        best = max(means, key=lambda design: means[design])
        for design in means:
            tied = design != best and not apart.get((scope, frozenset((design, best))), False)
            shown = marked[design, where]
            shown[name] = replace(shown[name], best=design == best, tied=tied)
    return [replace(e, cells=marked[e.name, "cells"], averages=marked[e.name, "averages"]) for e in entries]
