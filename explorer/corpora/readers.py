"""The user's own corpora: pasted lines, files, BEIR folders and zips, hub datasets; and writing them back.

    corpus = read_corpus(Path("my-documents.csv"))                      # columns are guessed by name
    corpus = read_corpus(path, columns=Columns(text="abstract"))        # or chosen, after a look: preview(path)
    corpus = read_hub("owner/name", split="test")
    write_beir(corpus, data_dir("corpora") / "mine")                    # read_corpus gives it back

Formats: formats.py. Which column is what: documents.py. Zips and folders: archives.py. Queries and qrels: judgments.py.
Whatever is wrong with what the user gives raises `InputError`.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..store import Progress, whole_folder
from . import MAX_DOCUMENTS, Corpus
from .archives import Layout, find_layout, unpacked
from .documents import Columns, columns_of, documents_from, guess_columns
from .formats import READABLE, open_table
from .judgments import qrels_without, read_qrels, read_queries
from .rows import HEAD, Row, Table, as_text, readable, show, text_lines

__all__ = [
    "READABLE",
    "Columns",
    "Preview",
    "guess_columns",
    "preview",
    "read_corpus",
    "read_hub",
    "read_lines",
    "read_qrels",
    "read_queries",
    "write_beir",
]

PREVIEW_ROWS, PREVIEW_CHARACTERS = 5, 300


@dataclass(frozen=True)
class Preview:
    """A look at a file before it is read: its columns, the first rows as text (long cells cut), the guessed roles."""

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    guessed: Columns


def read_lines(text: str, name: str = "pasted") -> Corpus:
    """One document a non-empty line; ids are line numbers. `InputError` if there is no text or a line is unfit."""
    lines = text_lines(io.StringIO(text, newline=""), name)
    rows = (Row(number, {"id": str(number), "text": line.strip()}) for number, line in lines if line.strip())
    first = next(rows, None)
    if first is None:
        raise InputError("there is no text; write one document on each line")
    table = Table(name, "line", itertools.chain([first], rows))
    return Corpus(name, documents_from(table, None, MAX_DOCUMENTS).documents, source="pasted lines")


def read_corpus(
    path: Path,
    *,
    name: str | None = None,
    columns: Columns | None = None,
    limit: int = MAX_DOCUMENTS,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus in a file (`READABLE`), a BEIR folder, or a zip of either; queries and qrels come with BEIR.

    `columns` says which column is what, else names decide (`guess_columns`); `name` is by default the file's name
    without suffix; `progress` counts bytes, items or rows of the documents' file. What was skipped is told in
    `Corpus.notes`. Raises `InputError`, one sentence that says where, what, and what would be right.
    """
    with _located(path) as (layout, source):
        table = open_table(layout.corpus, progress)
        reading = documents_from(table, columns, limit)
        notes = [*layout.notes, *reading.notes]
        queries = read_queries(layout.queries) if layout.queries else {}
        qrels: dict[str, dict[str, int]] = {}
        if layout.qrels:
            known = {document.id for document in reading.documents}
            qrels, left_out = qrels_without(layout.qrels, queries, known, reading.skipped)
            if left_out:
                notes.append(f"judgments of skipped rows were left out: {left_out:,}")
        default = source if path.is_dir() else Path(source).stem
        return Corpus(name or default, reading.documents, queries, qrels, source, tuple(notes))


def preview(path: Path) -> Preview:
    """Columns and first rows of the documents' file at `path` (as in `read_corpus`), for the user to choose columns.

    Only the beginning is read, except of a .json file. Raises `InputError` if nothing can be read there.
    """
    with _located(path) as (layout, _):
        rows = list(itertools.islice(open_table(layout.corpus).rows, HEAD))
        header = columns_of(rows)
        guessed = guess_columns(header, [row.cells for row in rows])
        return Preview(tuple(header), tuple(_preview_row(row, header) for row in rows[:PREVIEW_ROWS]), guessed)


def _preview_row(row: Row, header: list[str]) -> dict[str, str]:
    # JSON can spell half a character, which no page can show; reading the file will say where it is.
    texts = {column: as_text(row.cells.get(column)).encode("utf-8", "replace").decode() for column in header}
    return {c: t if len(t) <= PREVIEW_CHARACTERS else t[: PREVIEW_CHARACTERS - 1] + "…" for c, t in texts.items()}


@contextmanager
def _located(path: Path) -> Iterator[tuple[Layout, str]]:
    """The files of the corpus at `path` and the name of what the user gave; a zip is unpacked for the time being."""
    source = path.name or path.resolve().name
    with readable(path):
        if path.is_dir():
            yield find_layout(path, source), source
        elif not path.is_file():
            raise InputError(f"there is no file or folder {show(source)}; check the name")
        elif path.suffix.lower() == ".zip":
            with unpacked(path) as folder:
                yield find_layout(folder, source), source
        else:
            yield Layout(path), source


# --- the hub ------------------------------------------------------------------------------------------------------


def read_hub(
    dataset: str,
    *,
    config: str | None = None,
    split: str = "train",
    columns: Columns | None = None,
    limit: int = MAX_DOCUMENTS,
    progress: Progress | None = None,
) -> Corpus:
    """The documents of a Hugging Face dataset, streamed; code of the dataset's own is never run.

    A dataset longer than `limit` rows is read that far, and a note says so: the user cannot cut it as they can a file.
    Raises `InputError` for an unfit name, an unknown or unreachable dataset, and rows that cannot be read.
    """
    check_hub_name(dataset, config, split)
    rows = hub_rows(dataset, config, split, limit, progress)
    first = next(rows, None)
    if first is None:
        raise InputError(f"dataset {show(dataset)} has no rows in split {show(split)}; choose another split")
    reading = documents_from(Table(dataset, "row", itertools.chain([first], rows)), columns, limit)
    notes = reading.notes
    if len(reading.documents) + len(reading.skipped) == limit:
        notes += (f"reading stopped at the limit of {limit:,} rows; the dataset may have more",)
    source = " ".join(filter(None, [dataset, config, split]))
    return Corpus(dataset, reading.documents, source=f"hub dataset {source}", notes=notes)


def check_hub_name(dataset: str, config: str | None, split: str) -> None:
    """Names must be names: `load_dataset` would also take paths, URLs, and folders that happen to be here."""
    part = r"[A-Za-z0-9][\w.-]*"
    if len(dataset) > 200 or ".." in dataset or not re.fullmatch(f"{part}/{part}", dataset, re.ASCII):
        raise InputError(f"{show(dataset)} is not the name of a hub dataset; write it as owner/name")
    if Path(dataset).exists():
        raise InputError(f"{show(dataset)} is also a folder here, which hides the hub dataset; read the folder instead")
    if config is not None and not re.fullmatch(r"[\w.+-]+", config):
        raise InputError(f"{show(config)} is not the name of a configuration; write letters, digits, '.', '_' and '-'")
    if not re.fullmatch(r"\w+(\.\w+)*", split):
        raise InputError(f"{show(split)} is not the name of a split; write one such as 'train' or 'test'")


def hub_rows(dataset: str, config: str | None, split: str, limit: int, progress: Progress | None) -> Iterator[Row]:
    import datasets

    # The library passes on whatever its network, file-format and decoding libraries raise, so any exception of these
    # two calls, and of nothing else, means that the dataset cannot be read.
    try:
        stream = datasets.load_dataset(dataset, config, split=split, streaming=True)
        items = iter(stream)
    except Exception as error:
        raise _hub_error(dataset, error) from error
    names = _label_names(stream)
    for number in range(1, limit + 1):
        try:
            item = next(items, None)
        except Exception as error:
            raise _hub_error(dataset, error) from error
        if item is None:
            return
        if progress and number % 100 == 0:
            progress(number, limit)
        yield Row(number, {key: _label(value, names.get(key)) for key, value in item.items()})


def _label_names(stream: Any) -> dict[str, list[str]]:
    """Column -> names of its classes, where the dataset says them (`ClassLabel`)."""
    features = getattr(stream, "features", None) or {}
    return {column: feature.names for column, feature in features.items() if hasattr(feature, "names")}


def _label(value: Any, names: list[str] | None) -> Any:
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def _hub_error(dataset: str, error: Exception) -> InputError:
    from datasets.exceptions import DatasetNotFoundError

    if isinstance(error, DatasetNotFoundError):
        return InputError(f"there is no dataset {show(dataset)} on the hub, or it is private; check its name")
    if isinstance(error, OSError):
        return InputError(f"dataset {show(dataset)} cannot be reached; check its name and the network")
    said = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
    return InputError(f"dataset {show(dataset)} cannot be read ({said}); check its configuration and split")


# --- writing ------------------------------------------------------------------------------------------------------


def write_beir(corpus: Corpus, folder: Path) -> None:
    """Write corpus.jsonl and, where there are any, queries.jsonl and qrels/test.tsv, whole or not at all.

    `read_corpus(folder)` gives an equal corpus: labels stand in corpus.jsonl as "label", fields as "metadata". An
    existing corpus folder is replaced. Raises `InputError` for documents and queries without text, a folder that
    holds something else, and one that cannot be written.
    """
    _check_writable(corpus)
    try:
        if folder.exists() and not (folder.is_dir() and _may_be_replaced(folder)):
            raise InputError(f"{show(folder.name)} is there and is not a corpus folder; choose another name")
        with whole_folder(folder) as new:
            _write_jsonl(new / "corpus.jsonl", _corpus_rows(corpus))
            if corpus.queries:
                _write_jsonl(new / "queries.jsonl", ({"_id": id, "text": q} for id, q in corpus.queries.items()))
            if any(corpus.qrels.values()):
                _write_qrels(new / "qrels" / "test.tsv", corpus)
    except OSError as error:
        raise InputError(f"{show(folder.name)} cannot be written: {error.strerror or type(error).__name__}") from error


def _check_writable(corpus: Corpus) -> None:
    """What `read_corpus` would skip or refuse is not written."""
    for document in corpus.documents:
        if not (document.passage and document.id.strip()):
            raise InputError(f"document {show(document.id)} lacks a text or a visible id; give it both to write it")
    for id, query in corpus.queries.items():
        if not (query.strip() and id.strip()):
            raise InputError(f"query {show(id)} lacks a text or a visible id; give it both to write it")


def _may_be_replaced(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {"corpus.jsonl", "queries.jsonl", "qrels"}


def _corpus_rows(corpus: Corpus) -> Iterator[dict[str, Any]]:
    labelled = bool(corpus.labels)  # then on every line: columns are found by looking at the first ones
    for document in corpus.documents:
        row: dict[str, Any] = {"_id": document.id, "title": document.title, "text": document.text}
        if labelled:
            row["label"] = document.label
        if document.fields:
            row["metadata"] = dict(document.fields)
        yield row


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_qrels(path: Path, corpus: Corpus) -> None:
    path.parent.mkdir()
    # A carriage return alone does not make Python 3.11's writer quote a cell.
    returns = any("\r" in id for query, judged in corpus.qrels.items() for id in (query, *judged))
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(
            handle, "excel-tab", lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
        )
        writer.writerow(["query-id", "corpus-id", "score"])
        for query, judged in corpus.qrels.items():
            writer.writerows([query, document, grade] for document, grade in judged.items())
