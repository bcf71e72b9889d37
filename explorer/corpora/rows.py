"""Rows of a user's file, whatever its format: text lines, CSV/TSV, JSON Lines, JSON, Parquet.

    table = open_table(Path("my-documents.csv"))
    for row in table.rows: ...          # Row(number=2, cells={"id": "a", "text": "…"})

Rows come one after another, so that what is wrong at the start of a large file is told without reading its end.
Everything that cannot be read raises `InputError`: one sentence with the file's name, the line and what would be right.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ..errors import InputError
from ..store import Progress

MAX_BYTES = 2**30
"""Larger files are refused: their text alone would fill the memory of a small machine."""

MAX_LINE = 10_000_000
"""Characters in one line, and in one CSV cell. A longer one is a file without line ends, or a quote left open."""

HEAD = 100
"""Rows looked at to learn which columns there are: JSON objects need not all have the same keys."""

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


@dataclass(frozen=True)
class Row:
    """One record. `number` counts lines, items or rows from 1, as `Table.unit` says; cells are not yet text."""

    number: int
    cells: Mapping[str, Any]


@dataclass
class Table:
    """Rows still to be read. `notes` may grow while they are; messages are made with `at`."""

    name: str
    unit: str
    rows: Iterator[Row]
    notes: list[str] = field(default_factory=list)

    def at(self, row: Row) -> str:
        """Where a row stands, to begin a message with: "'a.csv' line 3"."""
        return f"{show(self.name)} {self.unit} {row.number}"


def show(value: object) -> str:
    """A value in quotes for a message: at most 80 characters, on one line, whatever it holds."""
    text = str(value)
    cut = text if len(text) <= 80 else text[:79] + "…"
    return "'" + "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut) + "'"


def show_all(values: Iterable[object], most: int = 20) -> str:
    """Values in quotes, separated by commas, the first `most` of them."""
    shown = [show(value) for value in values]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what the operating system refuses (permissions, broken disks, too long names) into `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{show(path.name)} cannot be read: {error.strerror or type(error).__name__}") from error


def as_text(value: Any) -> str:
    """A cell as text: nothing for null and NaN, JSON for numbers, lists and objects. Raises `RecursionError`."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


# --- text ---------------------------------------------------------------------------------------------------------


def text_lines(handle: TextIO, name: str) -> Iterator[tuple[int, str]]:
    """(line number, line with its end) of an open text; `InputError` for NUL characters and endless lines."""
    for number in itertools.count(1):
        line = handle.readline(MAX_LINE + 1)
        if not line:
            return
        if number == 1:
            line = line.removeprefix("\ufeff")
        if len(line) > MAX_LINE:
            raise InputError(
                f"{show(name)} line {number} is longer than {MAX_LINE:,} characters; put one document on each line"
            )
        if "\0" in line:
            raise InputError(f"{show(name)} line {number} has a NUL character; give a text file in UTF-8")
        yield number, line


def file_lines(path: Path, progress: Progress | None = None) -> Iterator[tuple[int, str]]:
    """As `text_lines`, of a file in UTF-8 or, with a byte order mark, UTF-16. `progress` counts bytes."""
    encoding, total = _encoding(path), path.stat().st_size
    try:
        with path.open("rb") as binary, io.TextIOWrapper(binary, encoding, newline="") as handle:
            for number, line in text_lines(handle, path.name):
                if progress and number % 1000 == 0:
                    progress(min(binary.tell(), total), total)
                yield number, line
    except UnicodeDecodeError:
        raise _undecodable(path, encoding) from None
    if progress:
        progress(total, total)


def _encoding(path: Path) -> str:
    """By the byte order mark. `InputError` if the first bytes are no text, so a renamed binary is refused at once."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(f"{show(path.name)} is larger than {MAX_BYTES // 2**20:,} MiB; split it into smaller files")
    with path.open("rb") as handle:
        head = handle.read(65536)
    if not head:
        raise InputError(f"{show(path.name)} is empty; it must hold at least one document")
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    if b"\0" in head:
        raise InputError(
            f"{show(path.name)} is not a text file (byte {head.index(0) + 1:,} is NUL); give text in UTF-8"
        )
    return "utf-8"


def _undecodable(path: Path, encoding: str) -> InputError:
    """The error that names the place where `path` stops being text: decode again, counting."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, read = 1, 0
    with path.open("rb") as handle:
        while True:
            chunk = handle.read(2**20)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                # `error.object` begins with what the decoder kept from the chunk before.
                byte = read + len(chunk) - len(error.object) + error.start + 1
                line += error.object[: error.start].decode(encoding, "ignore").count("\n")
                bad = error.object[error.start]
                where = f"byte 0x{bad:02x} on line {line:,} (byte {byte:,} of the file)"
                label = encoding[:6].rstrip("-").upper()
                return InputError(f"{show(path.name)} is not {label} text: {where} is invalid; save it as UTF-8")
            read += len(chunk)
            if not chunk:
                return InputError(f"{show(path.name)} changed while it was read; read it again")


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
                f"{show(path.name)} line {number} has {len(cells)} cells where the header has {len(header)}; "
                f"separate cells with {DELIMITERS[delimiter]} and put a cell that holds one in double quotes"
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
            yield Row(number, value)


def _json_lines(path: Path, progress: Progress | None) -> Table:
    rows = json_rows(file_lines(path, progress), path.name)
    return Table(path.name, "line", _some(rows, path, "no JSON object; write one on each line"))


def _json(path: Path, progress: Progress | None) -> Table:
    """A JSON array of objects. It is parsed as a whole; JSON Lines is the format for large files."""

    def rows() -> Iterator[Row]:
        encoding = _encoding(path)
        try:
            text = path.read_text(encoding=encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            raise _undecodable(path, encoding) from None
        items = _parse_json(text, show(path.name), lambda line: f"{show(path.name)} line {line}")
        if not isinstance(items, list):
            raise InputError(f"{show(path.name)} holds {_kind(items)}; it must be an array of objects [{{…}}, …]")
        for number, item in enumerate(items, 1):
            if not isinstance(item, dict):
                raise InputError(f"{show(path.name)} item {number} is {_kind(item)}; each item must be an object")
            if progress:
                progress(number, len(items))
            yield Row(number, item)

    return Table(path.name, "item", _some(rows(), path, "an empty array; it must hold objects"))


def _parse_json(text: str, where: str, at_line: Callable[[int], str]) -> Any:
    """The value; `InputError` at `at_line(line of the text)` or, where the parser tells no line, at `where`."""

    def refuse(constant: str) -> None:
        raise InputError(f"{where} holds {constant}, which is not JSON; write a number or null")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise InputError(f'{where} is nested too deep; use plain objects such as {{"text": "…"}}') from None
    except json.JSONDecodeError as error:
        message = f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}"
        raise InputError(f"{at_line(error.lineno)} is not valid JSON ({message}); write valid JSON there") from None
    except InputError:
        raise
    except ValueError:  # Python refuses whole numbers of more than 4,300 digits
        raise InputError(f"{where} holds a number with too many digits; write it as text in quotes") from None


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
    except (pyarrow.ArrowException, OSError, ValueError, ArithmeticError) as error:
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
