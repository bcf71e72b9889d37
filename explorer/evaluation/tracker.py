"""How far an evaluation is, as records of progress.jsonl (see progress.py).

    {"share", "task", "variant", "texts", "texts_total", "seconds_left", "row"?}

`texts` of `texts_total` are those of what is encoded now (a corpus, the queries, one side of the pairs); a record with
`row` tells a finished row of the table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..progress import report
from .store import Row

TELL = 1.0
"""Seconds between two records of progress."""


class Tracker:
    """How far an evaluation is: in characters over all tasks and variants, told about once a second."""

    def __init__(self, output: Path, work: Mapping[str, int]) -> None:
        self.output, self.work = output, dict(work)
        self.total = sum(self.work.values())
        self.before = self.done = self.skipped = 0.0
        self.task = self.variant = ""
        self.texts = self.texts_total = 0
        self._began = self._told = time.monotonic()
        self._of_call = 0
        self._of_task = 0.0

    def plan(self, variants: int) -> None:
        """So many variants are evaluated on every task."""
        self.total *= max(1, variants)

    def start(self, task: str, variant: str) -> None:
        """A row begins."""
        self.task, self.variant, self.texts, self.texts_total, self._of_task = task, variant, 0, 0, 0.0

    def begin(self, characters: int) -> None:
        """Texts of so many characters are about to be encoded."""
        self._of_task += self._of_call
        self._of_call = characters

    def advance(self, done: int, total: int) -> None:
        """So many of these texts are encoded."""
        self.texts, self.texts_total = done, total
        now = self._of_task + self._of_call * (done / total if total else 1)
        self.done = self.before + min(0.99 * self.work[self.task], now)
        self.tell()

    def kept(self) -> None:
        """The row was there already: it took no time."""
        self.skipped += self.work[self.task]

    def finish(self) -> None:
        """The row is done, or given up."""
        self.before += self.work[self.task]
        self.done, self._of_call, self._of_task = self.before, 0, 0.0
        self.tell()

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 1.0

    def record(self) -> dict[str, Any]:
        """For progress.jsonl."""
        spent, made = time.monotonic() - self._began, self.done - self.skipped
        left = None if made <= 0 else spent / made * max(0.0, self.total - self.done)
        found = {"share": round(self.share, 4), "task": self.task, "variant": self.variant}
        found |= {"texts": self.texts, "texts_total": self.texts_total}
        return found if left is None else {**found, "seconds_left": round(left, 1)}

    def tell(self, force: bool = False) -> None:
        """Write it down, about once a second."""
        if force or time.monotonic() - self._told >= TELL:
            self._told = time.monotonic()
            report(self.record(), self.output)

    def row(self, row: Row) -> None:
        """A row is finished: it goes into the progress as it is."""
        self._told = time.monotonic()
        report({**self.record(), "row": row.to_json()}, self.output)
