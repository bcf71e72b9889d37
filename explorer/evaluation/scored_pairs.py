"""Pairs of texts with a score of how alike they are, from CSV, TSV, JSON, JSON Lines or Parquet."""

from __future__ import annotations

import math
import re
from pathlib import Path

from ..corpora.documents import columns_of, find_column
from ..corpora.formats import open_table
from ..corpora.rows import Row, Table, as_text, readable
from ..errors import InputError

FIRST = ("sentence1", "text1", "sentence_1", "text_1", "first", "a")
SECOND = ("sentence2", "text2", "sentence_2", "text_2", "second", "b")
SCORE = ("score", "similarity", "similarity_score", "gold", "label", "rating")
"""Column names by which a role is found, best first."""

ScoredPair = tuple[str, str, float]


def pair_columns(columns: list[str]) -> tuple[str, str, str] | None:
    """The columns of the first text, the second and the score; None unless all are there."""
    first, second, score = (find_column(columns, known) for known in (FIRST, SECOND, SCORE))
    return (first, second, score) if first and second and score else None


def read_scored_pairs(file: Path) -> tuple[list[ScoredPair], tuple[str, ...]]:
    """All pairs of a file, and what was left out. Raises `InputError` for a missing column, text or number."""
    with readable(file):
        table = open_table(file)
        rows = list(table.rows)
    columns = columns_of(rows)
    found = pair_columns(columns)
    if found is None:
        raise InputError(
            f"'{file.name}' needs the columns sentence1, sentence2 and score; it has: {', '.join(columns)}"
        )
    first, second, score = found
    pairs = []
    for row in rows:
        a, b = (as_text(row.cells.get(column)).strip() for column in (first, second))
        if not a or not b:
            raise InputError(f"{table.at(row)} has an empty {first if not a else second}; a pair needs both texts")
        pairs.append((a, b, _number(table, row, score)))
    return pairs, tuple(table.notes)


def _number(table: Table, row: Row, column: str) -> float:
    text = as_text(row.cells.get(column)).strip()
    value = float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) else math.nan
    if not math.isfinite(value):
        raise InputError(f"{table.at(row)} has the {column} '{text[:80]}'; it must be a number")
    return value
