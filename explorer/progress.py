"""Progress of a run as JSON Lines: the run appends records (`report`), whoever follows it reads what is new (`Tail`).

One JSON object a line. Keys with a meaning for everyone, all optional:

    step, steps      how far the run is (or done, total); for work of several parts rather
    share            between 0 and 1
    seconds_left     the run's own estimate when it wrote the record
    time             when that was, in seconds since 1970 (`report` adds it)

All other keys (loss, learning rates, layer weights …) are passed on as they are.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Records = list[Record]

RUN_VARIABLE = "POOLING_EXPLORER_RUN"
"""Environment variable: the folder of the background run that this process is, if it is one."""

FILE_NAME = "progress.jsonl"
TAIL_BYTES = 2**16
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def progress_file(output: str | os.PathLike[str]) -> Path:
    """Where this process writes its progress: the folder of its background run if it is one, else its output folder."""
    return Path(os.environ.get(RUN_VARIABLE) or output) / FILE_NAME


def report(record: Mapping[str, Any], output: str | os.PathLike[str]) -> None:
    """Append one record to `progress_file(output)`, with the time; of a part also what it means for the whole."""
    if not _whole:
        _append(progress_file(output), record)
        return
    _append(Path(output) / FILE_NAME, record)
    folder, tell = _whole[-1]
    if told := tell(record):
        _append(progress_file(folder), told)


_whole: list[tuple[Path, Callable[[Mapping[str, Any]], Record | None]]] = []


@contextmanager
def part_of(whole: Path, tell: Callable[[Mapping[str, Any]], Record | None]) -> Iterator[None]:
    """What is done meanwhile is a part of something larger, as a training is of a study.

    Its records go to its own output folder; `tell` turns them into records of the whole, whose output folder is given,
    or into None. For the whole process.
    """
    _whole.append((whole, tell))
    try:
        yield
    finally:
        _whole.pop()


def _append(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    end_half_line(path)
    line = json.dumps({"time": time.time(), **record}) + "\n"
    with path.open("ab", buffering=0) as file:
        file.write(line.encode("ascii"))


def end_half_line(path: Path) -> None:
    """Close a line that a killed writer left half-written, so that the next record does not continue it."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")


def parse(data: bytes) -> Records:
    """The records of whole lines; what is not a JSON object (a line left half-written by a kill) is left out."""
    records = []
    for line in data.split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


class Tail:
    """All records of one file; each `read` looks only at what was appended since the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._inode = self._offset = 0
        self._records: Records = []

    def read(self, after: int = 0) -> Records:
        """Records but for the first `after`; a last line without its line end is not there yet."""
        with self._lock:
            try:
                self._advance()
            except FileNotFoundError:
                self._start_again(0)
            return self._records[after:]

    def _start_again(self, inode: int) -> None:
        self._inode, self._offset, self._records = inode, 0, []

    def _advance(self) -> None:
        with self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            # Replaced or cut: a resumed run may take back the records after its checkpoint.
            if found.st_ino != self._inode or found.st_size < self._offset:
                self._start_again(found.st_ino)
            file.seek(self._offset)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self._records += parse(whole)
            self._offset += len(whole) + 1


def last_bytes(path: Path, count: int = TAIL_BYTES) -> bytes:
    """The end of a file, which may begin within a line; empty if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - count))
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def last_lines(path: Path, count: int) -> str:
    """The last lines of a log as a terminal would show them: no escapes, of a redrawn progress bar the last state."""
    text = last_bytes(path, max(TAIL_BYTES, 400 * count)).decode("utf-8", "replace").replace("\r\n", "\n")
    lines = [ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in text.rstrip("\n").split("\n")]
    return "\n".join(lines[-count:]) if count > 0 else ""


def share(record: Mapping[str, Any]) -> float | None:
    """How far a record says the run is, between 0 and 1; None if it does not say."""
    value = _number(record, "share")
    for done, total in (("step", "steps"), ("done", "total")):
        if value is None and (of := _number(record, total)) and (part := _number(record, done)) is not None:
            value = part / of
    return None if value is None else min(max(value, 0.0), 1.0)


def latest(path: Path) -> Record:
    """The last record of a file that says how far the run is, with the time it was written; empty if none does."""
    for line in reversed(last_bytes(path).split(b"\n")):
        for record in parse(line):
            if share(record) is not None:
                return {"time": path.stat().st_mtime, **record}
    return {}


def seconds_left(record: Mapping[str, Any]) -> float | None:
    """The run's own estimate in a record, as it was then."""
    return _number(record, "seconds_left")


def written(record: Mapping[str, Any]) -> float | None:
    """When a record was written, if it says so."""
    return _number(record, "time")


def _number(record: Mapping[str, Any], key: str) -> float | None:
    value = record.get(key)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    return value if usable else None
