"""The formats of a user's file: text lines, CSV/TSV, JSON Lines, JSON, Parquet; each becomes a `Table`.

    table = open_table(Path("my-documents.csv"))
    for row in table.rows: ...          # Row(number=2, cells={"id": "a", "text": "…"})

Rows come one after another, so that what is wrong at the start of a large file is told without reading its end.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..store import Progress
from .rows import MAX_BYTES, MAX_LINE, Row, Table, file_lines, read_text, show

MAX_DEPTH = 50
"""Levels of JSON inside JSON; far below what makes Python's own recursion fail."""

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


# --- text ---------------------------------------------------------------------------------------------------------


def _text(path: Path, progress: Progress | None) -> Table:
    """One document a non-empty line; its id is the number of the line."""

    def rows() -> Iterator[Row]:
        for number, line in file_lines(path, progress):
            if line.strip():
                yield Row(number, {"id": str(number), "text": line.strip()})

    return Table(path.name, "line", _some(rows(), path, "no text; write one document on each line"))


def _some(rows: Iterator[Row], path: Path, otherwise: str) -> Iterator[Row]:
    """The rows; `InputError` if there is none."""
    first = next(rows, None)
    if first is None:
        raise InputError(f"{show(path.name)} holds {otherwise}")
    yield first
    yield from rows


# --- CSV ----------------------------------------------------------------------------------------------------------


def _delimited(path: Path, progress: Progress | None) -> Table:
    """CSV or TSV with a header; the delimiter is found by looking at the first lines."""
    delimiter, notes, quoting = _delimiter(path), [], csv.QUOTE_MINIMAL
    if delimiter == "\t" and not _quotes_close(path):
        # Tab-separated files are written both with quoting (spreadsheets) and without (MS MARCO); the second kind
        # is known by a quote that never closes.
        quoting = csv.QUOTE_NONE
        notes.append("double quotes were read as text, because they do not pair up")
    rows = _records(path, delimiter, quoting, progress)
    return Table(path.name, "line", _some(rows, path, "a header but no rows; add one row a document"), notes)


def _csv_reader(lines: Iterable[str], delimiter: str, quoting: int, strict: bool = True) -> Any:
    # The limit belongs to the whole process: it is only ever raised, and fits a C long everywhere.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    return csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=strict)  # type: ignore[arg-type]


def _delimiter(path: Path) -> str:
    """The delimiter by which most of the first lines have as many cells as the header; a comma (.tsv: tab) if none."""
    sample = [line for _, line in itertools.islice(file_lines(path), 20)]
    if not any(line.strip() for line in sample):
        raise InputError(f"{show(path.name)} is empty; it must begin with a header line such as id,text")

    def score(delimiter: str) -> tuple[int, int]:
        try:
            widths = [len(cells) for cells in _csv_reader(sample, delimiter, csv.QUOTE_MINIMAL, strict=False) if cells]
        except csv.Error:
            return 0, 0
        return (widths.count(widths[0]), widths[0]) if widths[0] > 1 else (0, 0)

    first = "\t" if path.suffix.lower() == ".tsv" else ","
    return max([first, *DELIMITERS], key=score)


def _quotes_close(path: Path) -> bool:
    try:
        for _ in _csv_reader((line for _, line in file_lines(path)), "\t", csv.QUOTE_MINIMAL):
            pass
    except csv.Error:
        return False
    return True


def _records(path: Path, delimiter: str, quoting: int, progress: Progress | None) -> Iterator[Row]:
    header: list[str] = []
    lines = (line for _, line in file_lines(path, progress))
    for number, cells in _numbered(_csv_reader(lines, delimiter, quoting), path.name):
        if not header:
            header = _header(cells, path.name)
            continue
        if any(cells[len(header) :]) or len(cells) < len(header):
            raise InputError(
                f"{show(path.name)} line {number} has {len(cells)} {'cell' if len(cells) == 1 else 'cells'} "
                f"where the header has {len(header)}; separate cells with {DELIMITERS[delimiter]} and put a cell that "
                "holds one in double quotes"
            )
        yield Row(number, dict(zip(header, cells, strict=False)))


def _numbered(reader: Any, name: str) -> Iterator[tuple[int, list[str]]]:
    """(first line, cells) of every record that is not blank; a quoted cell may run over several lines."""
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{show(name)} line {number} begins a row that cannot be read ({error}); "
                "close every double quote, and write a double quote inside quotes twice"
            ) from None
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield number, cells


def _header(cells: list[str], name: str) -> list[str]:
    """Column names; one without a name (pandas writes its index so) is called by its position."""
    while len(cells) > 1 and not cells[-1].strip():  # delimiters at the end of the line
        cells = cells[:-1]
    names = [cell.strip() or f"column {i}" for i, cell in enumerate(cells, 1)]
    for i, column in enumerate(names):
        if column in names[:i]:
            raise InputError(f"{show(name)} has the column {show(column)} twice in its header; names must differ")
    return names


# --- JSON ---------------------------------------------------------------------------------------------------------


def json_rows(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Row]:
    """One JSON object a line, blank lines left out."""
    for number, line in lines:
        if line.strip():
            where = f"{show(name)} line {number}"
            value = _parse_json(line, where, lambda _, where=where: where)  # type: ignore[misc]
            if not isinstance(value, dict):
                raise InputError(f"{where} holds {_kind(value)}; each line must be one JSON object")
            yield Row(number, _shallow(value, where))


def _json_lines(path: Path, progress: Progress | None) -> Table:
    rows = json_rows(file_lines(path, progress), path.name)
    return Table(path.name, "line", _some(rows, path, "no JSON object; write one on each line"))


def _json(path: Path, progress: Progress | None) -> Table:
    """A JSON array of objects. It is parsed as a whole; JSON Lines is the format for large files."""

    def rows() -> Iterator[Row]:
        items = _parse_json(read_text(path), show(path.name), lambda line: f"{show(path.name)} line {line}")
        if not isinstance(items, list):
            raise InputError(f"{show(path.name)} holds {_kind(items)}; it must be an array of objects [{{…}}, …]")
        for number, item in enumerate(items, 1):
            if not isinstance(item, dict):
                raise InputError(f"{show(path.name)} item {number} is {_kind(item)}; each item must be an object")
            if progress:
                progress(number, len(items))
            yield Row(number, _shallow(item, f"{show(path.name)} item {number}"))

    return Table(path.name, "item", _some(rows(), path, "an empty array; it must hold objects"))


def _parse_json(text: str, where: str, at_line: Callable[[int], str]) -> Any:
    """The value; `InputError` at `at_line(line of the text)` or, where the parser tells no line, at `where`."""

    def refuse(constant: str) -> None:
        raise InputError(f"{where} holds {constant}, which is not JSON; write a number or null")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise _too_deep(where) from None
    except json.JSONDecodeError as error:
        message = f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}"
        raise InputError(f"{at_line(error.lineno)} is not valid JSON ({message}); write valid JSON there") from None
    except InputError:
        raise
    except ValueError:  # Python refuses whole numbers of more than 4,300 digits
        raise InputError(f"{where} holds a number with too many digits; write it as text in quotes") from None


def _shallow(value: dict[str, Any], where: str) -> dict[str, Any]:
    """The object; `InputError` if it is nested deeper than `MAX_DEPTH`."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner = (x for v in level for x in (v.values() if isinstance(v, dict) else v))
        level = [x for x in inner if isinstance(x, dict | list)]
        if not level:
            return value
    raise _too_deep(where)


def _too_deep(where: str) -> InputError:
    return InputError(f'{where} is nested too deep; use plain objects such as {{"text": "…"}}')


def _kind(value: Any) -> str:
    kinds = {list: "an array", dict: "an object", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


# --- Parquet ------------------------------------------------------------------------------------------------------


def _parquet(path: Path, progress: Progress | None) -> Table:
    return Table(path.name, "row", _some(_parquet_rows(path, progress), path, "no rows; add one row a document"))


def _parquet_rows(path: Path, progress: Progress | None) -> Generator[Row, None, None]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            meta = file.metadata
            if sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)) > MAX_BYTES:
                raise InputError(f"{show(path.name)} unpacks to more than {MAX_BYTES // 2**20:,} MiB; split it")
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for cells in batch.to_pylist():
                    number += 1
                    yield Row(number, cells)
                if progress:
                    progress(number, meta.num_rows)
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, ArithmeticError, RecursionError) as error:
        raise InputError(
            f"{show(path.name)} is not a readable Parquet file; write it again or save it as CSV"
        ) from error


# --- any of them --------------------------------------------------------------------------------------------------

_OPENERS: dict[str, Callable[[Path, Progress | None], Table]] = {
    ".txt": _text,
    ".csv": _delimited,
    ".tsv": _delimited,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
}

READABLE = tuple(_OPENERS)
"""Suffixes of the files that can be read."""


def open_table(path: Path, progress: Progress | None = None, suffix: str | None = None) -> Table:
    """The rows of a file, by its suffix (or the one given). Raises `InputError` for another suffix; what is wrong
    inside the file may be raised only when its rows are taken."""
    suffix = suffix or path.suffix.lower()
    if suffix not in _OPENERS:
        raise InputError(
            f"{show(path.name)} cannot be read; give {', '.join(READABLE)}, a BEIR folder or a .zip of one"
        )
    return _OPENERS[suffix](path, progress)
