"""From rows to documents: which column is what, which rows are left out, which are refused."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from . import Document
from .rows import HEAD, Row, Table, as_text, show, show_all

KNOWN = {
    "text": ("text", "content", "contents", "body", "passage", "abstract", "document", "description", "sentence"),
    "id": ("_id", "id", "doc_id", "docid", "docno", "document_id", "corpus_id", "passage_id", "pid"),
    "title": ("title", "name", "headline"),
    "label": ("label", "labels", "category", "topic", "class"),
}
"""Column names by which a role is guessed, best first; upper case, spaces and hyphens do not matter."""


@dataclass(frozen=True)
class Columns:
    """Which column of a file plays which role; the others become `Document.fields`.

    Raises `InputError` if `text` is empty or is also the title (every passage would say it twice).
    """

    text: str
    id: str | None = None
    title: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if not self.text:
            raise InputError("no text column was chosen; choose the column that holds the documents")
        if self.text == self.title:
            raise InputError(f"column {show(self.text)} was chosen as text and as title; choose another or no title")

    @property
    def used(self) -> set[str]:
        """The columns that play a role."""
        return {name for name in (self.text, self.id, self.title, self.label) if name}


@dataclass(frozen=True)
class Reading:
    """Documents in file order; `skipped` are the ids of the rows left out because they have no text."""

    documents: tuple[Document, ...]
    skipped: frozenset[str]
    notes: tuple[str, ...]


def find_column(header: Sequence[str], known: Sequence[str]) -> str | None:
    """The column whose name comes first in `known`, if any."""
    normal = {re.sub(r"[\s-]+", "_", column.strip().lower()): column for column in reversed(header)}
    return next((normal[name] for name in known if name in normal), None)


def guess_columns(header: Sequence[str], rows: Sequence[Mapping[str, Any]] = ()) -> Columns:
    """Roles by well-known names (`KNOWN`).

    If no column has a known name for text, it is the column with the most text in `rows`, or without rows the first,
    among those that have no other role; a title alone is the text. Raises `InputError` if there is no column.
    """
    if not header:
        raise InputError("there are no columns to choose from; the file must name its columns")
    text, id, title, label = (find_column(header, KNOWN[role]) for role in ("text", "id", "title", "label"))
    if text is None:
        free = [column for column in header if column not in (id, title, label)] or [title or label or header[0]]
        text = max(free, key=lambda column: sum(len(as_text(row.get(column))) for row in rows))
    roles = [None if role == text else role for role in (id, title, label)]
    return Columns(text, *roles)


def columns_of(rows: Sequence[Row]) -> list[str]:
    """All column names of these rows, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.cells))


def documents_from(table: Table, columns: Columns | None, limit: int) -> Reading:
    """All documents of a table.

    Without an id column ids are "1", "2", … in file order. Rows with neither text nor title are skipped, and a note
    says which. Raises `InputError` for a missing column, an empty or repeated id, more than `limit` documents, and
    a file without text.
    """
    head = list(itertools.islice(table.rows, HEAD))
    columns, notes = _choose(table, head, columns)
    documents: list[Document] = []
    lines: dict[str, int] = {}
    empty: list[tuple[int, str]] = []
    for ordinal, row in enumerate(itertools.chain(head, table.rows), 1):
        document = _document(table, row, columns, ordinal)
        if document.id in lines:
            raise InputError(
                f"{show(table.name)} has the id {show(document.id)} on {table.unit}s {lines[document.id]} and "
                f"{row.number}; every id must be there once"
            )
        lines[document.id] = row.number
        if not document.passage:
            empty.append((row.number, document.id))
            continue
        documents.append(document)
        if len(documents) > limit:
            raise InputError(f"{show(table.name)} has more than {limit:,} documents; give a smaller file")
    if not documents:
        raise InputError(f"{show(table.name)} has no text in column {show(columns.text)}; choose another column")
    notes += table.notes
    if empty:
        notes.append(_skipped_note([number for number, _ in empty], table.unit))
    return Reading(tuple(documents), frozenset(id for _, id in empty), tuple(notes))


def _choose(table: Table, head: Sequence[Row], columns: Columns | None) -> tuple[Columns, list[str]]:
    """The columns to read, checked or guessed, and a note if the text column was a mere guess."""
    header = columns_of(head)
    if columns is None:
        if not header:
            raise InputError(f"{show(table.name)} has no columns; each object must hold a text")
        columns = guess_columns(header, [row.cells for row in head])
        if len(header) > 1 and find_column([columns.text], KNOWN["text"]) is None:
            return columns, [f"column {show(columns.text)} was read as text, for none has a usual name such as 'text'"]
        return columns, []
    for column in (columns.text, columns.id, columns.title, columns.label):
        if column and column not in header:
            raise InputError(f"{show(table.name)} has no column {show(column)}; its columns are {show_all(header)}")
    return columns, []


def _document(table: Table, row: Row, columns: Columns, ordinal: int) -> Document:
    """One row's document. Text stays as it is, spaces included, so that writing and reading gives the same."""
    cells = row.cells
    values = {name: as_text(value) for name, value in cells.items()}
    metadata = cells.get("metadata")  # BEIR keeps further fields there
    inner = {k: as_text(v) for k, v in metadata.items()} if isinstance(metadata, dict) else {}
    _check_characters(table, row, [*values, *values.values(), *inner])
    id = values.get(columns.id, "") if columns.id else str(ordinal)
    if not id.strip():
        raise InputError(f"{table.at(row)} has an empty id in column {show(columns.id)}; give every document one")
    used = columns.used | ({"metadata"} if inner else set())
    fields = {name: value for name, value in values.items() if name not in used and value}
    return Document(
        id=id,
        text=values.get(columns.text, ""),
        title=values.get(columns.title, "") if columns.title else "",
        label=values.get(columns.label, "") if columns.label else "",
        fields={**fields, **inner},
    )


def _check_characters(table: Table, row: Row, texts: Sequence[str]) -> None:
    r"""JSON can spell half a character ("\ud83d"), which no file or tokenizer can hold."""
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise InputError(f"{table.at(row)} holds half a character ({half}); write it whole or leave it out") from None


def _skipped_note(numbers: Sequence[int], unit: str) -> str:
    listed = ", ".join(map(str, numbers[:10])) + (f" and {len(numbers) - 10:,} more" if len(numbers) > 10 else "")
    if len(numbers) == 1:
        return f"1 row without text was skipped: {unit} {listed}"
    return f"{len(numbers):,} rows without text were skipped: {unit}s {listed}"
