"""What every format has in common: rows, the lines of a text file and its encoding, and how messages show values.

Everything that cannot be read raises `InputError`: one sentence with the file's name, the line and what would be right.
"""

from __future__ import annotations

import codecs
import io
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
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
    """A cell as text: nothing for null and NaN, JSON for numbers, lists and objects."""
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


def read_text(path: Path) -> str:
    """A whole text file, decoded as by `file_lines`."""
    encoding = _encoding(path)
    try:
        return path.read_text(encoding=encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise _undecodable(path, encoding) from None


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
