"""The user's queries and relevance judgments (qrels), in the formats of BEIR, TREC and plain lists."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import InputError
from . import MAX_DOCUMENTS
from .documents import columns_of, find_column
from .formats import json_rows, open_table
from .rows import HEAD, Row, Table, as_text, file_lines, readable, show, show_all, text_lines

MAX_GRADE = 1000
"""A higher grade is a score or an id in the wrong column."""

QUERY = ("query", "text", "question", "query_text")
QUERY_ID = ("_id", "id", "query_id", "qid")
JUDGED_QUERY = ("query_id", "qid", "query")
JUDGED_DOCUMENT = ("corpus_id", "doc_id", "docid", "docno", "document_id", "pid", "document")
GRADE = ("score", "grade", "relevance", "rel", "label")


# --- queries ------------------------------------------------------------------------------------------------------


def read_queries(source: Path | str) -> dict[str, str]:
    """Queries by id, in order: from pasted text (`str`) or from a file (`Path`).

    Text has one query a line (ids "1", "2", … are line numbers), or `id<TAB>query` on every line, or JSON Lines as in
    BEIR. A file may be that, or .csv, .tsv, .jsonl, .json or .parquet with a column `query` or `text` and maybe an id.
    Raises `InputError` for empty or repeated ids, empty queries, and what cannot be read.
    """
    if isinstance(source, str):
        name = "pasted queries"
        return _collect_queries(_from_lines(text_lines(io.StringIO(source, newline=""), name), name), name, "line")
    if not source.is_file():
        raise InputError(f"there is no file {show(source.name)}; give a file of queries")
    with readable(source):
        if source.suffix.lower() in ("", ".txt") or _is_headless(source):
            return _collect_queries(_from_lines(file_lines(source), source.name), source.name, "line")
        table = open_table(source)
        return _collect_queries(_from_table(table), table.name, table.unit)


def _is_headless(path: Path) -> bool:
    """Whether a .tsv file begins with a query rather than with column names."""
    if path.suffix.lower() != ".tsv":
        return False
    first = next((line for _, line in file_lines(path) if line.strip()), "")
    return find_column(first.split("\t"), QUERY) is None


def _from_lines(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, str, str]]:
    """(line, id, query) of every line that is not blank; tabs on all lines or on none."""
    filled = ((number, line) for number, line in lines if line.strip())
    first = next(filled, None)
    if first is None:
        raise InputError(f"{show(name)} holds no query; write one on each line")
    if first[1].lstrip().startswith("{"):
        yield from _from_table(Table(name, "line", json_rows(itertools.chain([first], filled), name)))
        return
    tabs = "\t" in first[1].strip()
    for number, line in itertools.chain([first], filled):
        if ("\t" in line.strip()) != tabs:
            raise InputError(
                f"{show(name)} line {number} has {'no' if tabs else 'a'} tab, unlike line {first[0]}; "
                "write 'query' or 'id, tab, query' on every line"
            )
        id, _, query = line.strip().partition("\t") if tabs else (str(number), "", line)
        yield number, id.strip(), query.strip()


def _from_table(table: Table) -> Iterator[tuple[int, str, str]]:
    head = list(itertools.islice(table.rows, HEAD))
    header = columns_of(head)
    column = header[0] if len(header) == 1 else find_column(header, QUERY)
    if column is None:
        raise InputError(f"{show(table.name)} has no column 'query' or 'text'; its columns are {show_all(header)}")
    id_column = find_column([name for name in header if name != column], QUERY_ID)
    for ordinal, row in enumerate(itertools.chain(head, table.rows), 1):
        yield row.number, _cell(table, row, id_column) if id_column else str(ordinal), _cell(table, row, column)


def _cell(table: Table, row: Row, column: str) -> str:
    text = as_text(row.cells.get(column))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{table.at(row)} holds half a character; write it whole or leave it out") from None
    return text


def _collect_queries(found: Iterable[tuple[int, str, str]], name: str, unit: str) -> dict[str, str]:
    queries: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, id, query in found:
        where = f"{show(name)} {unit} {number}"
        if not id.strip():
            raise InputError(f"{where} has an empty query id; give every query one")
        if not query.strip():
            raise InputError(f"{where} has an empty query; write one or remove the {unit}")
        if id in queries:
            raise InputError(
                f"{show(name)} has the query id {show(id)} on {unit}s {lines[id]} and {number}; give each its own"
            )
        queries[id], lines[id] = query, number
        if len(queries) > MAX_DOCUMENTS:
            raise InputError(f"{show(name)} has more than {MAX_DOCUMENTS:,} queries; give a smaller file")
    return queries


# --- qrels --------------------------------------------------------------------------------------------------------


def read_qrels(path: Path, queries: Container[str], documents: Container[str]) -> dict[str, dict[str, int]]:
    """Judgments, query id -> document id -> grade, from BEIR's table (query-id, corpus-id, score) or TREC's lines
    (qid 0 docid grade).

    Grades below 0, which TREC uses for junk, become 0. Raises `InputError` for unknown queries and documents, grades
    that are not whole numbers up to `MAX_GRADE`, contradicting judgments, and what cannot be read.
    """
    return qrels_without(path, queries, documents)[0]


def qrels_without(
    path: Path, queries: Container[str], documents: Container[str], skipped: Container[str] = ()
) -> tuple[dict[str, dict[str, int]], int]:
    """As `read_qrels`; judgments of `skipped` documents (rows without text) are left out and counted."""
    if not path.is_file():
        raise InputError(f"there is no file {show(path.name)}; give a file of judgments")
    with readable(path):
        qrels: dict[str, dict[str, int]] = {}
        left_out = 0
        for where, query, document, grade in _judged(path):
            if query not in queries:
                raise InputError(f"{where} names the unknown query {show(query)}; judge queries that are there")
            if document in skipped:
                left_out += 1
                continue
            if document not in documents:
                raise InputError(f"{where} names the unknown document {show(document)}; judge documents of the corpus")
            judged = qrels.setdefault(query, {})
            value = _grade(grade, where)
            if judged.get(document, value) != value:
                raise InputError(
                    f"{where} judges document {show(document)} for query {show(query)} again with another grade; "
                    "keep one"
                )
            judged[document] = value
        return qrels, left_out


def _judged(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """(where, query id, document id, grade) of every judgment."""
    if path.suffix.lower() in (".csv", ".json", ".jsonl", ".ndjson", ".parquet"):
        return _judged_table(open_table(path))
    first = next((line for _, line in file_lines(path) if line.strip()), "")
    if _is_trec(first.split()):
        return _judged_trec(path)
    return _judged_table(open_table(path, suffix=".tsv"))


def _is_trec(cells: Sequence[str]) -> bool:
    return len(cells) == 4 and cells[3].lstrip("+-").isdecimal()


def _judged_trec(path: Path) -> Iterator[tuple[str, str, str, str]]:
    for number, line in file_lines(path):
        cells = line.split()
        where = f"{show(path.name)} line {number}"
        if cells and len(cells) != 4:
            raise InputError(
                f"{where} has {len(cells)} words; a TREC judgment has four: query id, 0, document id, grade"
            )
        if cells:
            yield where, cells[0], cells[2], cells[3]


def _judged_table(table: Table) -> Iterator[tuple[str, str, str, str]]:
    head = list(itertools.islice(table.rows, HEAD))
    header = columns_of(head)
    query, document, grade = (find_column(header, names) for names in (JUDGED_QUERY, JUDGED_DOCUMENT, GRADE))
    if query is None or document is None or grade is None:
        raise InputError(
            f"{show(table.name)} has the columns {show_all(header)}; judgments need query-id, corpus-id and score"
        )
    for row in itertools.chain(head, table.rows):
        yield table.at(row), _cell(table, row, query), _cell(table, row, document), _cell(table, row, grade)


def _grade(text: str, where: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value > MAX_GRADE or value != int(value):
        raise InputError(f"{where} has the grade {show(text)}; a grade is a whole number from 0 to {MAX_GRADE}")
    return max(0, int(value))
