"""The table of an evaluation: variants x tasks, averages, intervals, who is best and who is not told apart from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..measures import interval
from ..resampled import Resampled, bootstrap_average_precision, bootstrap_spearman
from ..significance import (
    Test,
    across_tasks,
    all_paired_means,
    all_pairs,
    best_group,
    paired_resampled,
    win_tie_loss,
)
from .examples import Examples
from .published import Published
from .store import ResultStore, Row
from .tasks import Task, metric_words

CLOSE = 1e-4
"""How near what per-example results give must be to mteb's main score for its interval to be the score's."""

NO_EXAMPLES = "its score is of whole samples of texts, so there are no single examples to compare"
EXAMPLES = {"ranking": "queries", "classification": "texts", "pairs": "pairs"}


def score_interval(examples: Examples | None, score: float) -> tuple[float | None, float | None]:
    """The 95 % interval of a main score over examples; (None, None) where single examples do not make up the score.

    By `measures.interval` where the score is the mean of the examples', else by the bootstrap.
    """
    if examples is None or len(examples) < 2:
        return None, None
    if examples.kind == "pairs":
        resampled = resample([examples])
        if not abs(float(resampled.scores[0]) - score) < CLOSE:
            return None, None
        low, high = resampled.interval(0)
        return (low, high) if np.isfinite([low, high]).all() else (None, None)
    if abs(float(examples.values.mean()) - score) >= CLOSE:
        return None, None
    found = interval(examples.values)
    return found.low, found.high


def resample(examples: Sequence[Examples]) -> Resampled:
    """One measure of several variants on the same pairs, and its resamples."""
    predictions = np.array([one.values for one in examples])
    compute = bootstrap_spearman if examples[0].metric == "spearman" else bootstrap_average_precision
    return compute(examples[0].gold, predictions)


def compare_examples(examples: Mapping[str, Examples]) -> list[Test]:
    """Every two variants on one task, by their per-example results; Holm over all pairs. All on the same examples."""
    names, found = list(examples), list(examples.values())
    if len(found) < 2:
        return []
    what = EXAMPLES[found[0].kind]
    if found[0].kind != "pairs":
        return all_paired_means(names, [one.values for one in found], what)
    resampled = resample(found)
    return all_pairs(names, lambda i, j: paired_resampled(resampled, i, j, what))


@dataclass(frozen=True)
class Cell:
    """A score in the table."""

    score: float
    low: float | None = None
    high: float | None = None
    best: bool = False
    tied: bool = False
    """Not told apart from the best by the test within the task."""
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A task in the table, or an average."""

    name: str
    type: str
    metric: str
    split: str
    subset: str
    samples: int | None
    comparable: bool
    data: str

    @property
    def head(self) -> str:
        """What the score is, in words."""
        where = self.split if self.subset == "default" else f"{self.split}, {self.subset}"
        return f"{metric_words(self.metric)}, {where}"


@dataclass(frozen=True)
class Line:
    """A variant in the table, or a published model; `cells` are by task, None where there is nothing."""

    name: str
    source: str
    """Empty for what was evaluated here."""
    cells: tuple[Cell | None, ...]
    averages: Mapping[str, float | None]
    """By task type, and "all": the mean of main scores; None unless all tasks of the type are there."""


@dataclass(frozen=True)
class Table:
    """What the page shows and exports.py writes."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    types: tuple[str, ...]
    notes: tuple[str, ...]
    settings: Mapping[str, Any]


@dataclass
class Evaluation:
    """What was asked for and what came out."""

    settings: Mapping[str, Any]
    tasks: Mapping[str, Task]
    variants: Sequence[str]
    output: Path
    published: Sequence[Published] = ()
    rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    """variant -> task -> row."""
    examples: dict[str, dict[str, Examples]] = field(default_factory=dict)
    """task -> variant -> per-example results."""
    problems: list[dict[str, str]] = field(default_factory=list)
    """What could not be evaluated: task (empty: any), variant (empty: all), problem (one sentence)."""
    not_applicable: dict[str, dict[str, str]] = field(default_factory=dict)
    """variant -> task -> why not."""
    stopped: bool = False

    @classmethod
    def load(cls, output: Path) -> Evaluation:
        """What an evaluation has written into its folder so far. Raises `InputError` if there is none."""
        try:
            told = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))
            tasks = {name: Task.from_json(task) for name, task in told["tasks"].items()}
            rows = [Row.from_json(row) for of in told["scores"].values() for row in of.values()]
            found = cls(told["settings"], tasks, told["variants"], output, [Published(**p) for p in told["published"]])
            found.problems, found.not_applicable = told["problems"], told["not_applicable"]
            found.stopped = told["stopped"]
        except FileNotFoundError as error:
            raise InputError(f"the folder '{output.name}' holds no evaluation: it has no evaluation.json") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"evaluation.json in '{output.name}' is damaged; evaluate into it again") from error
        store = ResultStore(output)
        for row in rows:
            found.add(row, store.examples_of(row))
        return found

    def add(self, row: Row, examples: Examples | None) -> None:
        """A finished row."""
        self.rows.setdefault(row.variant, {})[row.task] = row
        if examples is not None:
            self.examples.setdefault(row.task, {})[row.variant] = examples
        self.__dict__.pop("comparisons", None)

    @cached_property
    def comparisons(self) -> dict[str, list[Test]]:
        """Task -> every two variants on it, by examples; "" -> every two over all tasks. Each list is corrected."""
        found = {task: self._within(task) for task in self.tasks}
        scores = {v: {t: row.main_score for t, row in rows.items()} for v, rows in self.rows.items()}
        return {**{task: tests for task, tests in found.items() if tests}, "": across_tasks(scores)}

    def _within(self, task: str) -> list[Test]:
        examples = self.examples.get(task, {})
        groups: dict[tuple[str, ...], dict[str, Examples]] = {}
        for variant, one in examples.items():  # a query without any result is missing from mteb's list
            groups.setdefault(one.ids, {})[variant] = one
        tests = [test for group in groups.values() for test in compare_examples(group)]
        compared = {(test.a, test.b) for test in tests}
        has = [v for v in self.rows if task in self.rows[v]]
        for a, b in combinations(has, 2):
            if (a, b) not in compared and (b, a) not in compared:
                x, y = (self.rows[v][task].main_score for v in (a, b))
                why = NO_EXAMPLES if a not in examples and b not in examples else "they have no examples in common"
                tests.append(Test(a, b, f"Is one better on {task}?", "none", 0, x, y, x - y, refused=why))
        return tests

    def averages(self, variant: str) -> dict[str, float | None]:
        """The mean of main scores by task type and over "all"; None unless the variant has every task of the type."""
        return _averages({t: row.main_score for t, row in self.rows.get(variant, {}).items()}, self._shown)

    @property
    def _shown(self) -> dict[str, str]:
        """Task -> type, of the tasks that any variant has."""
        return {t.name: t.type for t in self.tasks.values() if any(t.name in rows for rows in self.rows.values())}

    def worst(self, variant: str, task: str, count: int = 10) -> list[dict[str, Any]]:
        """The examples of a task that went worst with a variant, worst first (`Examples.worst`); empty if unknown."""
        found = self.examples.get(task, {}).get(variant)
        return found.worst(count) if found else []

    def table(self) -> Table:
        """Variants in the order asked for, then published models; tasks in the order asked for."""
        shown = self._shown
        columns = tuple(self._column(self.tasks[task]) for task in shown)
        groups = {task: self._best(task) for task in shown}
        lines = []
        for variant in self.variants:
            rows = self.rows.get(variant, {})
            cells = tuple(self._cell(rows[t], groups[t]) if t in rows else None for t in shown)
            lines.append(Line(variant, "", cells, self.averages(variant)))
        for model in dict.fromkeys(one.model for one in self.published):
            known = {one.task: one for one in self.published if one.model == model and one.task in shown}
            if known:
                cells = tuple(Cell(known[t].score, note=known[t].source) if t in known else None for t in shown)
                source = "; ".join(dict.fromkeys(one.source for one in known.values()))
                scores = {task: one.score for task, one in known.items()}
                lines.append(Line(model, source, cells, _averages(scores, shown)))
        types = tuple(dict.fromkeys(shown.values()))
        return Table(columns, tuple(lines), types, tuple(self.notes), self.settings)

    def _best(self, task: str) -> tuple[str, list[str]]:
        scores = {v: rows[task].main_score for v, rows in self.rows.items() if task in rows}
        return best_group(scores, self.comparisons.get(task, []))

    def _cell(self, row: Row, group: tuple[str, list[str]]) -> Cell:
        best, tied = group
        alone = len([v for v in self.rows if row.task in self.rows[v]]) < 2
        is_best = row.variant == best and not alone
        return Cell(row.main_score, row.low, row.high, is_best, row.variant in tied, "; ".join(row.notes))

    def _column(self, task: Task) -> Column:
        row = next(rows[task.name] for rows in self.rows.values() if task.name in rows)
        return Column(
            task.name, task.type, task.metric, task.split, task.subset, row.n or task.samples, row.comparable, row.data
        )

    @property
    def notes(self) -> list[str]:
        """Sentences that belong below the table."""
        rows = [row for of in self.rows.values() for row in of.values()]
        found = [f"{row.task}: {row.data}." for row in rows]
        found += [f"{row.task}: {note}." for row in rows for note in row.notes]
        found += [
            f"{row.variant} read {row.task} with {said} before each text."
            for row in rows
            if (said := ", ".join(f"{prompt!r} ({part})" for part, prompt in row.prompts.items() if prompt))
        ]
        found += [f"{why}." for of in self.not_applicable.values() for why in of.values()]
        found += [f"{one['problem']}." for one in self.problems]
        if any(row.low is not None for row in rows):
            found.append("Intervals are 95 % intervals over the examples of a task.")
        if len(self.rows) > 1:
            found.append(
                "Best and tied: by paired tests on the examples of a task, with Holm's correction over all pairs."
            )
        return list(dict.fromkeys(found))

    def to_json(self, compare: bool = True) -> dict[str, Any]:
        """The document of `evaluate --json`. Without `compare` the tests, which take seconds, are left out."""
        comparisons = (
            [] if not compare else [{"task": t, **x.to_json()} for t, of in self.comparisons.items() for x in of]
        )
        return {
            "scores": {v: {t: row.to_json() for t, row in rows.items()} for v, rows in self.rows.items()},
            "comparisons": comparisons,
            "win_tie_loss": win_tie_loss([x for t, of in self.comparisons.items() if t for x in of]) if compare else {},
            "averages": {v: self.averages(v) for v in self.rows},
            "published": [asdict(one) for one in self.published],
            "notes": self.notes,
            "not_applicable": self.not_applicable,
            "problems": self.problems,
            "stopped": self.stopped,
            "settings": dict(self.settings),
            "variants": list(self.variants),
            "tasks": {name: task.to_json() for name, task in self.tasks.items()},
            "output": str(self.output),
        }


def _averages(scores: Mapping[str, float], shown: Mapping[str, str]) -> dict[str, float | None]:
    """By type and over all; None where a task is missing."""
    wanted = {kind: [t for t in shown if shown[t] == kind] for kind in dict.fromkeys(shown.values())}
    wanted["all"] = list(shown)
    return {k: float(np.mean([scores[t] for t in of])) if set(of) <= set(scores) else None for k, of in wanted.items()}
