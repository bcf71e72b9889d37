"""Scores written where they belong: into a trained variant's own record, and into its model card.

    record_scores(shelf, evaluation, "python -m explorer evaluate …")     # evaluate --record does it

variant.json's "scores" is task -> main score; the card has the metrics, intervals and the published model beside them.
Samples are left out: a variant's record holds nothing that depends on which examples were drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..record import read_record
from ..store import whole_file
from ..variants import PUBLISHED, Shelf
from .results import Evaluation
from .store import Row
from .tasks import metric_words

HEAD = "## Scores"
SECTION = re.compile(rf"^{HEAD}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def record_scores(shelf: Shelf, evaluation: Evaluation, command: str) -> list[str]:
    """Write the scores of every variant that is a folder; returns their names. Raises `InputError` if there is none."""
    beside = evaluation.rows.get(PUBLISHED, {})
    written = []
    for name, rows in evaluation.rows.items():
        folder = shelf.find(name).path
        whole = [row for row in rows.values() if row.sample is None]
        if folder is None or not whole:
            continue
        _into_record(folder, whole)
        _into_card(folder, whole, [beside.get(row.task) for row in whole], command)
        written.append(name)
    if not written:
        raise InputError("nothing was recorded: none of these variants is a trained one with a folder of its own")
    return written


def _into_record(folder: Path, rows: Sequence[Row]) -> None:
    record = read_record(folder)
    record["scores"] = {**(record.get("scores") or {}), **{row.task: round(row.main_score, 6) for row in rows}}
    with whole_file(folder / "variant.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _into_card(folder: Path, rows: Sequence[Row], beside: Sequence[Row | None], command: str) -> None:
    """Put the section into README.md, in the place of an older one, else before "## Use"."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.exists() else f"# {folder.name}\n"
    section = scores_section(rows, beside, command)
    if SECTION.search(text):
        text = SECTION.sub(lambda _: section, text, count=1)
    elif "\n## Use" in text:
        text = text.replace("\n## Use", f"\n{section}## Use", 1)
    else:
        text = f"{text.rstrip()}\n\n{section}"
    with whole_file(card) as temporary:
        temporary.write_text(text, encoding="utf-8")


def scores_section(rows: Sequence[Row], beside: Sequence[Row | None], command: str) -> str:
    """The section of a card: task, measure, score with its interval, and the published model's score."""
    published = any(row is not None for row in beside)
    lines = [
        HEAD,
        "",
        f"| task | measure | score | 95 % interval |{' published model |' if published else ''}",
        f"| --- | --- | ---: | --- |{' ---: |' if published else ''}",
    ]
    for row, other in zip(rows, beside, strict=True):
        spread = "–" if row.low is None or row.high is None else f"{row.low:.4f} to {row.high:.4f}"
        last = f" {'–' if other is None else f'{other.main_score:.4f}'} |" if published else ""
        lines.append(f"| {row.task} | {metric_words(row.metric)} | {row.main_score:.4f} | {spread} |{last}")
    return "\n".join([*lines, "", "Made by:", "", f"    {command}", "", ""])
