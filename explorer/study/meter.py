"""How far a study is, as records of progress.jsonl (see progress.py).

    {"share", "seconds_left"?, "run": "eos-causal:0", "part": "training" | "evaluation", "of": {…}}

`of` is what the part itself tells: step, steps and loss of a training, task and texts of an evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import progress
from .plan import Cell
from .results import Study

TELL = 1.0
"""Seconds between two records."""
GUESS = 0.3
"""An evaluation takes so much of a training's time, until both were measured."""
PASSED_ON = ("step", "steps", "loss", "dev", "task", "texts", "texts_total", "row")


class Meter:
    """Counts parts, each weighing what such a part took on average so far."""

    def __init__(self, output: Path, cells: Sequence[Cell], to_train: Sequence[Cell]) -> None:
        self.output = output
        self.parts = [(cell, part) for cell in cells for part in ("training", "evaluation")
                      if part == "evaluation" or cell in to_train]  # fmt: skip
        self.took: dict[str, list[float]] = {"training": [], "evaluation": []}
        self.done: set[tuple[Cell, str]] = set()
        self.now: tuple[Cell, str] | None = None
        self._told = 0.0
        self._within = 0.0
        self._left: float | None = None

    def begin(self, cell: Cell, part: str) -> None:
        """A part begins; those before it in the list are over, whether they went well or not."""
        self.now = (cell, part)
        if self.now in self.parts:
            self.done |= set(self.parts[: self.parts.index(self.now)])
        self._within, self._left = 0.0, None
        progress.report(self.record({}), self.output)

    def end(self, seconds: float) -> None:
        """The part was done in so many seconds."""
        if self.now is None:
            return
        if self.now[0].seed is not None:
            self.took[self.now[1]].append(seconds)
        self.done.add(self.now)
        self._within, self._left = 0.0, None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """What a part reports meanwhile becomes a record of the study."""
        with progress.part_of(self.output, self.tell):
            yield

    def tell(self, record: Mapping[str, Any]) -> progress.Record | None:
        """The study's record for one of its part, about once a second."""
        self._within = progress.share(record) or self._within
        self._left = progress.seconds_left(record)
        if time.monotonic() - self._told < TELL and "row" not in record and "dev" not in record:
            return None
        self._told = time.monotonic()
        return self.record(record)

    def weight(self, part: str) -> float:
        """Seconds of such a part, or its proportion to the other kind."""
        took = self.took[part]
        if took:
            return sum(took) / len(took)
        other = self.took["evaluation" if part == "training" else "training"]
        known = sum(other) / len(other) if other else 1.0
        if part == "training":
            return known / GUESS if other else 1.0
        return known * GUESS

    def record(self, of: Mapping[str, Any]) -> progress.Record:
        """How far the study is."""
        weights = {one: self.weight(one[1]) for one in self.parts}
        total = sum(weights.values())
        done = sum(weights[one] for one in self.done if one in weights)
        if self.now in weights and self.now not in self.done:
            done += self._within * weights[self.now]
        found: progress.Record = {"share": round(done / total, 4) if total else 1.0}
        if self.now:
            found |= {"run": self.now[0].key, "part": self.now[1]}
        if self._left is not None and self.now and all(self.took.values()):
            later = sum(w for one, w in weights.items() if one not in self.done and one != self.now)
            found["seconds_left"] = round(self._left + later, 1)
        return {**found, "of": {name: of[name] for name in PASSED_ON if name in of}}

    def finish(self, study: Study) -> None:
        """The last record."""
        if study.finished:
            progress.report({"share": 1.0}, self.output)
