"""Training pairs: read, mixed by weight, some held out, and put into batches.

    data = read_pairs(["pairs.jsonl.gz", "more.csv:0.5", "hub:owner/name:train", "builtin:docstrings"])
    train, dev = hold_out(data, share=0.02, most=300)
    batches = plan_batches(train, batch_size=64, steps=500, seed=0)     # 500 lists of 64 rows

A row has a query, one or several positives and perhaps negatives. Column names are known (`KNOWN`) or given
("query=question"). Rows that cannot be used are counted and named. The plan of batches depends on seed and data alone:
never on the design, the machine or the number of processes.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .corpora.documents import columns_of, find_column
from .corpora.formats import json_rows, open_table
from .corpora.rows import HEAD, Row, as_text, file_lines, readable, show, show_all, text_lines
from .errors import InputError
from .options import without_folders
from .store import content_hash

KNOWN: dict[str, tuple[str, ...]] = {
    "query": ("query", "anchor", "question", "sentence1", "sentence_1", "sentence_a", "text1", "text_1"),
    "positive": (
        *("positive", "pos", "positives", "answer", "document", "passage", "response"),
        *("sentence2", "sentence_2", "sentence_b", "text2", "text_2"),
    ),
}
"""Column names by which a role is found, best first; upper case, spaces and hyphens do not matter."""

INSTRUCTION = ("instruction", "query_instruction", "prompt")
"""Names of a column that says, row by row, what is put before the query."""

NEGATIVE = re.compile(r"(hard_?)?neg(ative)?s?(_?\d+)?|sentence_?3|text_?3")
"""Names of columns with negatives; there may be several."""

JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
READABLE = (*JSON_LINES, ".csv", ".tsv", ".json", ".parquet")
"""Endings of the files that can be read."""

MAX_HUB_ROWS = 2_000_000
"""A hub dataset is read this far."""

DOCSTRINGS = "builtin:docstrings"
"""Stands for the pairs of `corpora.docstring_pairs`, which need no download."""

SHOWN = 20
"""Instructions of one source that a training record holds."""

NAMED = 5
"""Broken rows that are named one by one; of the others only the number is told."""


@dataclass(frozen=True)
class Pair:
    """What belongs together, and what does not. `source` is the position of its file."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    source: int = 0
    instruction: str = ""
    """Put before the query as it is, in place of the configuration's query prompt; empty: that one is."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All its texts."""
        return (self.query, self.positive, *self.negatives)


@dataclass(frozen=True)
class Source:
    """One file, hub dataset or `builtin:docstrings`: what was asked for and what was found."""

    name: str
    """As given, without the weight."""
    weight: float
    pairs: int
    sha256: str
    """Of the file; of the pairs, for a hub dataset and for `builtin:docstrings`."""
    broken: int = 0
    """Rows that were left out."""
    notes: tuple[str, ...] = ()
    """Sentences about them, with their lines."""
    instructions: tuple[str, ...] = ()
    """What stands before its queries, each once, in order; none where it is the query prompt."""

    def to_json(self) -> dict[str, Any]:
        """As a training record has it: without folders of this machine; of many instructions the first `SHOWN`."""
        name = without_folders(self.name)
        given = self.instructions
        told = {"instructions": list(given[:SHOWN]), "instructions_in_all": len(given)} if given else {}
        return {
            "name": name,
            "weight": self.weight,
            "pairs": self.pairs,
            "left_out": self.broken,
            "sha256": self.sha256,
            **told,
        }


@dataclass(frozen=True)
class Pairs:
    """Training pairs in the order of their files."""

    pairs: Sequence[Pair]
    sources: Sequence[Source]
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def most_per_batch(self) -> int:
        """No batch can hold more pairs without repeating a text."""
        return min(len({p.query for p in self.pairs}), len({p.positive for p in self.pairs}))


# ----------------------------------------------------------------------------------------------------------- reading


def read_pairs(
    specs: Sequence[str],
    columns: Sequence[str] = (),
    negatives: int = 1,
    instructions: Mapping[str, str] | None = None,
) -> Pairs:
    """Read all pairs of files, hub datasets and `builtin:docstrings`.

    Args:
        specs: Sources, with a weight after a colon where they have one.
        columns: ROLE=NAME, where names do not tell.
        negatives: How many negatives of a pair are kept, at most.
        instructions: Source -> what is put before its queries. A source goes by what was given for it, without the
            weight, or by the last part of its path. A row's own instruction goes before it.

    Returns:
        The pairs in the order of the sources.

    Raises:
        InputError: Something cannot be read, a column or source is unknown, a file has no usable row, or there are
            fewer than two different pairs: other pairs are the negatives of each.
    """
    roles = _roles(columns)
    before = _instructions_of([split_weight(spec)[0] for spec in specs], instructions or {})
    pairs: list[Pair] = []
    sources: list[Source] = []
    for number, spec in enumerate(specs):
        name, weight = split_weight(spec)
        known = {} if name == DOCSTRINGS else roles  # its columns are known
        reader = _Reader(name, known, negatives, number, before.get(name, ""))
        found = list(reader.read())
        notes = tuple(f"{show(Path(name).name)}: {note}" for note in reader.notes)
        if not found:
            raise InputError(f"{show(Path(name).name)} holds no usable pair; {reader.why_none()}")
        given = tuple(dict.fromkeys(pair.instruction for pair in found if pair.instruction))
        left_out = sum(reader.broken.values())
        sources.append(Source(name, weight, len(found), reader.sha256(found), left_out, notes, given))
        pairs += found
    data = Pairs(pairs, sources, tuple(note for source in sources for note in source.notes))
    if data.most_per_batch < 2:
        raise InputError(
            f"the data has {len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} but fewer than two different ones; "
            "training tells pairs apart, so give at least two (better: some thousand)"
        )
    return data


def _instructions_of(names: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Source -> instruction. Raises `InputError` for one that is for no source."""
    found = {}
    for key, text in given.items():
        meant = [name for name in names if key in (name, Path(name).name)]
        if not meant:
            raise InputError(
                f"there is an instruction for {show(key)}, which is no data of this training: "
                f"{show_all(Path(name).name for name in names)}"
            )
        found.update(dict.fromkeys(meant, text))
    return found


def split_weight(spec: str) -> tuple[str, float]:
    """'a.jsonl:0.5' -> ('a.jsonl', 0.5); without a number the weight is 1. Raises `InputError` for a weight of 0."""
    name, colon, last = spec.rpartition(":")
    if not colon or not re.fullmatch(r"\d+(\.\d*)?|\.\d+", last) or Path(spec).exists():
        return spec, 1.0
    weight = float(last)
    if not 0 < weight <= 100:
        raise InputError(f"the weight {last} of {show(name)} must lie above 0 and be at most 100")
    return name, weight


def _roles(columns: Sequence[str]) -> dict[str, list[str]]:
    """["query=q", "negative=n"] as role -> columns."""
    roles: dict[str, list[str]] = {}
    for entry in columns:
        role, equals, name = entry.partition("=")
        if role not in ("query", "positive", "negative", "instruction") or not equals or not name:
            raise InputError(
                f"{show(entry)} maps no column; write query=NAME, positive=NAME, negative=NAME or instruction=NAME"
            )
        if role in roles and role != "negative":
            raise InputError(f"the role {role} was given to two columns: {roles[role][0]} and {name}")
        roles.setdefault(role, []).append(name)
    return roles


class _Reader:
    """Reads one source and keeps count of the rows that cannot be used."""

    def __init__(
        self, name: str, roles: Mapping[str, list[str]], negatives: int, number: int, instruction: str = ""
    ) -> None:
        self.name, self.roles, self.negatives, self.number = name, roles, negatives, number
        self.instruction = instruction
        self.unit = "line"
        self.broken: Counter[str] = Counter()
        self.where: dict[str, list[int]] = {}

    def read(self) -> Iterator[Pair]:
        rows = self._rows()
        head = list(itertools.islice(rows, HEAD))
        if not head:
            return
        columns = self._columns(columns_of(head))
        for row in itertools.chain(head, rows):
            yield from self._pairs(row, columns)

    def sha256(self, pairs: Sequence[Pair]) -> str:
        """Of the file's bytes, or of what was read from elsewhere."""
        if self.name.startswith(("hub:", "builtin:")):
            own = any(pair.instruction != self.instruction for pair in pairs)
            return content_hash(text for pair in pairs for text in (*([pair.instruction] if own else []), *pair.texts))
        with Path(self.name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def notes(self) -> list[str]:
        """What was left out and why: "3 rows left out: lines 5, 9 have no positive; …"."""
        notes = []
        for reason, count in self.broken.items():
            listed = ", ".join(map(str, self.where[reason][:NAMED]))
            more = f" and {count - NAMED:,} more" if count > NAMED else ""
            rows, unit = ("1 row was", self.unit) if count == 1 else (f"{count:,} rows were", f"{self.unit}s")
            notes.append(f"{rows} left out ({unit} {listed}{more}): {reason}")
        return notes

    def why_none(self) -> str:
        """The end of the sentence that refuses the source."""
        return self.notes[0] if self.broken else 'each row needs a query and a positive, as {"query": …, "positive": …}'

    def _leave_out(self, number: int, reason: str) -> None:
        self.broken[reason] += 1
        self.where.setdefault(reason, []).append(number)

    # -- rows

    def _rows(self) -> Iterator[Row]:
        if self.name.startswith("hub:"):
            yield from self._hub_rows()
            return
        if self.name.startswith("builtin:"):
            yield from self._builtin_rows()
            return
        path = Path(self.name)
        with readable(path):
            if not path.is_file():
                raise InputError(f"there is no training file {show(self.name)}; check the path")
            if path.name.lower().endswith(JSON_LINES):
                yield from self._json_lines(path)
            elif path.suffix.lower() in READABLE:
                table = open_table(path)
                self.unit = table.unit
                yield from table.rows
            else:
                raise InputError(f"{show(path.name)} is no training file; give {', '.join(READABLE)}")

    def _json_lines(self, path: Path) -> Iterator[Row]:
        """One object a line; a line that is none is left out and named."""
        for number, line in _gz_lines(path) if path.suffix.lower() == ".gz" else file_lines(path):
            try:
                yield from json_rows([(number, line)], path.name)
            except InputError as error:
                self._leave_out(number, str(error).partition(f"line {number} ")[2].partition(";")[0])

    def _hub_rows(self) -> Iterator[Row]:
        from .corpora.readers import check_hub_name, hub_rows

        name, *rest = self.name.removeprefix("hub:").split(":")
        if len(rest) > 2:
            raise InputError(f"{show(self.name)} names no hub dataset; write hub:OWNER/NAME:SPLIT")
        split, config = rest[-1] if rest else "train", rest[0] if len(rest) == 2 else None
        self.unit = "row"
        check_hub_name(name, config, split)
        yield from hub_rows(name, config, split, MAX_HUB_ROWS, None)

    def _builtin_rows(self) -> Iterator[Row]:
        from .corpora.docstring_pairs import pairs

        if self.name != DOCSTRINGS:
            raise InputError(f"there is no built-in training data {show(self.name)}; there is {DOCSTRINGS}")
        self.unit = "pair"
        for number, pair in enumerate(pairs(), 1):
            yield Row(number, {"query": pair.query, "positive": pair.positive})

    # -- columns and texts

    def _columns(self, header: list[str]) -> dict[str, list[str]]:
        """Role -> columns: those given, else those with a known name."""
        missing = [c for names in self.roles.values() for c in names if c not in header]
        if missing:
            raise InputError(
                f"{show(Path(self.name).name)} has no column {show(missing[0])}; its columns are {show_all(header)}"
            )
        columns = {role: list(names) for role, names in self.roles.items()}
        for role, known in KNOWN.items():
            found = find_column([c for c in header if [c] not in columns.values()], known)
            if role not in columns and found is None:
                raise InputError(
                    f"{show(Path(self.name).name)} has no column known as {role}; its columns are "
                    f"{show_all(header)}: say which it is with --columns {role}=NAME"
                )
            columns.setdefault(role, [str(found)])
        taken = {c for names in columns.values() for c in names}
        others = [c for c in header if c not in taken and NEGATIVE.fullmatch(re.sub(r"[\s-]+", "_", c.strip().lower()))]
        columns.setdefault("negative", others)
        given = find_column([c for c in header if c not in taken and c not in others], INSTRUCTION)
        columns.setdefault("instruction", [given] if given else [])
        return columns

    def _pairs(self, row: Row, columns: Mapping[str, list[str]]) -> Iterator[Pair]:
        """One pair for each positive of the row."""
        try:
            query, positives, negatives = (
                [text for column in columns[role] for text in _texts(row.cells.get(column), role)]
                for role in ("query", "positive", "negative")
            )
            if len(query) != 1:
                raise _BrokenError("no query" if not query else "several queries")
            if not positives:
                raise _BrokenError("no positive")
            instruction = next((_one_text(row.cells.get(c)) for c in columns["instruction"]), "") or self.instruction
        except _BrokenError as error:
            self._leave_out(row.number, str(error))
            return
        kept = tuple(dict.fromkeys(n for n in negatives if n != query[0] and n not in positives))[: self.negatives]
        for positive in dict.fromkeys(positives):
            if positive == query[0]:
                self._leave_out(row.number, "query and positive are the same")
            else:
                yield Pair(query[0], positive, kept, self.number, instruction)


class _BrokenError(Exception):
    """A row that cannot be used; the message says why."""


def _one_text(cell: Any) -> str:
    """An instruction as it stands, line ends and spaces too; empty where there is none."""
    if isinstance(cell, dict | list | tuple):
        raise _BrokenError("the instruction is no text")
    text = as_text(cell)
    _check_whole(text, "instruction")
    return text if text.strip() else ""


def _check_whole(text: str, role: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _BrokenError(f"the {role} holds half a character") from None


def _texts(cell: Any, role: str) -> list[str]:
    """The texts of a cell: one, or a list of them; blank ones left out."""
    values = cell if isinstance(cell, list | tuple) else [cell]
    if any(isinstance(value, dict | list | tuple) for value in values):
        raise _BrokenError(f"the {role} is no text and no list of texts")
    texts = [as_text(value).strip() for value in values]
    for text in texts:
        _check_whole(text, role)
    return [text for text in texts if text]


def _gz_lines(path: Path) -> Iterator[tuple[int, str]]:
    """As `file_lines`, of a gzipped file."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
            yield from text_lines(handle, path.name)
    except UnicodeDecodeError:
        raise InputError(f"{show(path.name)} is not UTF-8 text; save it as UTF-8 before packing it") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{show(path.name)} is no complete gzip file; pack it again") from None


# ---------------------------------------------------------------------------------------------------------- held out


def hold_out(data: Pairs, share: float, most: int) -> tuple[Pairs, tuple[Pair, ...]]:
    """What is trained with, and what is held out: `share` of the pairs, at most `most` and a third of the data.

    Chosen by a hash of the texts, so that every seed and every order of the files holds out the same pairs. Training
    pairs that share a text with a held-out one are left out too: several questions may ask about one paragraph.
    """
    count = min(most, int(share * len(data)), len(data) // 3)
    if count < 2:
        return data, ()
    # Of pairs that differ in their instruction or source alone, the same one everywhere.
    chosen = sorted(
        set(data.pairs), key=lambda pair: (content_hash((pair.query, pair.positive)), pair.instruction, pair.source)
    )
    dev: list[Pair] = []
    seen: set[str] = set()
    for pair in chosen:
        if pair.query not in seen and pair.positive not in seen:  # one right answer a query
            dev.append(replace(pair, negatives=()))
            seen |= {pair.query, pair.positive}
        if len(dev) == count:
            break
    left = [pair for pair in data.pairs if seen.isdisjoint(pair.texts)]
    rest = replace(data, pairs=left)
    if rest.most_per_batch < 2:
        return data, ()
    lost = len(data) - len(left) - len(dev)
    note = (f"{lost:,} pairs were left out because they share a text with a held-out one",) if lost > 0 else ()
    return replace(rest, notes=data.notes + note), tuple(dev)


# ----------------------------------------------------------------------------------------------------------- batches


class _Rows:
    """What sentence-transformers' sampler needs of a dataset, without copying the texts into one."""

    def __init__(self, pairs: Sequence[Pair], rows: Sequence[int]) -> None:
        self.pairs, self.rows = pairs, rows
        self.column_names = ["texts"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, str]:
        return {str(i): text for i, text in enumerate(self.pairs[self.rows[index]].texts)}


def plan_batches(data: Pairs, batch_size: int, steps: int, seed: int) -> list[list[int]]:
    """Row numbers of every batch, `steps` lists of `batch_size`.

    No text is twice in a batch, else it would be its own negative. Every pass over the data draws each file by its
    weight and shuffles anew. Pairs with equally many negatives share batches; where these are too few for one, their
    negatives are not used. Raises `InputError` if the data has too few different texts for a batch.
    """
    plan: list[list[int]] = []
    draws = [_draw(rows, seed, i) for i, rows in enumerate(_rows_of_sources(data))]
    for number in itertools.count():
        before = len(plan)
        drawn = [
            row for rows, draw in zip(_rows_of_sources(data), draws, strict=True) for row in _take(draw, rows, data)
        ]
        plan += itertools.islice(_one_pass(data.pairs, drawn, batch_size, seed + number), steps - len(plan))
        if len(plan) >= steps:
            return plan
        if len(plan) == before:
            raise InputError(
                f"the data has too few different texts for batches of {batch_size} pairs; use a smaller batch_size"
            )
    raise AssertionError


def _rows_of_sources(data: Pairs) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in data.sources]
    for row, pair in enumerate(data.pairs):
        rows[pair.source].append(row)
    return rows


def _draw(rows: list[int], seed: int, source: int) -> Iterator[int]:
    """Rows of one file without end, shuffled anew each time round."""
    import torch

    generator = torch.Generator().manual_seed((seed << 8) + source)
    while rows:
        yield from (rows[i] for i in torch.randperm(len(rows), generator=generator).tolist())


def _take(draw: Iterator[int], rows: list[int], data: Pairs) -> Iterable[int]:
    """What one pass takes of a file: as many rows as its weight says, at least one."""
    if not rows:
        return ()
    weight = data.sources[data.pairs[rows[0]].source].weight
    return itertools.islice(draw, max(1, round(weight * len(rows))))


def _one_pass(pairs: Sequence[Pair], drawn: Sequence[int], batch_size: int, seed: int) -> Iterator[list[int]]:
    """Batches of one pass, those with and without negatives mixed in proportion."""
    import torch
    from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

    pools = _pools(pairs, drawn, batch_size)
    samplers = []
    for rows in pools:
        generator = torch.Generator()
        sampler = NoDuplicatesBatchSampler(
            _Rows(pairs, rows), batch_size=batch_size, drop_last=True, generator=generator, seed=seed
        )
        samplers.append(iter(sampler))
    left = [len(rows) / batch_size for rows in pools]
    dice = torch.Generator().manual_seed(seed)
    while samplers:
        which = int(torch.multinomial(torch.tensor(left), 1, generator=dice)) if len(samplers) > 1 else 0
        batch = next(samplers[which], None)
        left[which] = max(left[which] - 1, 1e-6)
        if batch is None:
            del samplers[which], pools[which], left[which]
            continue
        yield [pools[which][i] for i in batch]


def _pools(pairs: Sequence[Pair], drawn: Sequence[int], batch_size: int) -> list[list[int]]:
    """Rows by their number of negatives; a pool too small for a batch joins the one with fewer negatives."""
    by_count: dict[int, list[int]] = {}
    for row in drawn:
        by_count.setdefault(len(pairs[row].negatives), []).append(row)
    for count in sorted(by_count, reverse=True):
        if count and len(by_count[count]) < batch_size:
            fewer = max((c for c in by_count if c < count), default=0)
            by_count.setdefault(fewer, []).extend(by_count.pop(count))
    return [by_count[count] for count in sorted(by_count)]
