"""The table of an evaluation: variants x tasks, averages, intervals, who is best and who is not told apart from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .examples import Examples
from .store import Row
from .tasks import Task

RESAMPLES = 2_000
CLOSE = 1e-4
"""How near the mean of per-example values must be to the main score for its interval to be the score's."""


def score_interval(examples: Examples | None, metric: str, score: float) -> tuple[float | None, float | None]:
    """The 95 % bootstrap interval of a main score; (None, None) where single examples do not make up the score."""
    return None, None


@dataclass
class Evaluation:
    """What was asked for and what came out."""

    settings: Mapping[str, Any]
    tasks: Mapping[str, Task]
    variants: Sequence[str]
    output: Path
    rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    """variant -> task -> row."""
    examples: dict[str, dict[str, Examples]] = field(default_factory=dict)
    """task -> variant -> per-example results."""
    problems: list[dict[str, str]] = field(default_factory=list)
    """Tasks that could not be evaluated: task, variant (empty: with none), one sentence."""
    not_applicable: dict[str, dict[str, str]] = field(default_factory=dict)
    stopped: bool = False

    def add(self, row: Row, examples: Examples | None) -> None:
        """A finished row."""
        self.rows.setdefault(row.variant, {})[row.task] = row
        if examples is not None:
            self.examples.setdefault(row.task, {})[row.variant] = examples

    def to_json(self, compare: bool = True) -> dict[str, Any]:
        """The document of `evaluate --json`."""
        return {
            "scores": {v: {t: row.to_json() for t, row in rows.items()} for v, rows in self.rows.items()},
            "comparisons": [],
            "problems": self.problems,
            "stopped": self.stopped,
            "settings": dict(self.settings),
        }
