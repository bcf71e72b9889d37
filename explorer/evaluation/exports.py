"""The table as CSV, JSON, LaTeX and Markdown, each with the settings that made it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import asdict

from ..errors import InputError
from .results import Cell, Line, Table

DIGITS = 4


def to_csv(table: Table) -> str:
    """One row a variant and task: score, interval, marks, where the data is from."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = (
        "variant task type metric split subset score low high best tied examples comparable data source note settings"
    )
    writer.writerow(head.split())
    settings = json.dumps(table.settings, ensure_ascii=False)
    for line in table.lines:
        for column, cell in zip(table.columns, line.cells, strict=True):
            if cell is None:
                continue
            task = [_cell_safe(column.name), column.type, column.metric, column.split, column.subset]
            score = [repr(cell.score), _number(cell.low), _number(cell.high), int(cell.best), int(cell.tied)]
            rest = [column.samples or "", int(column.comparable), column.data, line.source, cell.note, settings]
            writer.writerow([_cell_safe(line.name), *task, *score, *rest])
    return out.getvalue()


def to_json(table: Table) -> str:
    """The whole table."""
    return json.dumps(asdict(table), indent=1, ensure_ascii=False) + "\n"


def to_markdown(table: Table) -> str:
    """A table for a report: best in bold, the tied group marked, notes and settings below."""
    heads = [
        f"{c.name}<br>{c.head}{'' if c.comparable else '<br>not comparable with the leaderboard'}"
        for c in table.columns
    ]
    heads = ["variant", *heads, *(f"mean {t}" for t in _averaged(table))]
    rows = ["| " + " | ".join(map(_bar_safe, heads)) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for line in table.lines:
        cells = [_markdown_cell(cell) for cell in line.cells]
        means = [_mean(line, t) for t in _averaged(table)]
        rows.append("| " + " | ".join([_bar_safe(_name(line)), *cells, *means]) + " |")
    return "\n".join(rows) + f"\n\n{MARKS_WORDS}\n\n" + _below(table, "- ") + "\n"


def to_latex(table: Table) -> str:
    r"""A booktabs table: best in bold, the tied group with a dagger; notes and settings as comments."""
    columns = "l" + "r" * (len(table.columns) + len(_averaged(table)))
    first = ["variant", *(_tex(c.name) for c in table.columns), *(f"mean {_tex(t)}" for t in _averaged(table))]
    second = ["", *(_tex(c.head) for c in table.columns), *("" for _ in _averaged(table))]
    rows = [" & ".join(first) + r" \\", " & ".join(second) + r" \\", r"\midrule"]
    for line in table.lines:
        cells = [_latex_cell(cell) for cell in line.cells]
        means = [_mean(line, t).replace("–", "--") for t in _averaged(table)]
        rows.append(" & ".join([_tex(_name(line)), *cells, *means]) + r" \\")
    body = "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *rows, r"\bottomrule", r"\end{tabular}"])
    marks = r"% bold: best; \dagger: not told apart from the best"
    return f"{body}\n{marks}\n{_below(table, '% ')}\n"


EXPORTS: dict[str, Callable[[Table], str]] = {
    "csv": to_csv,
    "json": to_json,
    "tex": to_latex,
    "md": to_markdown,
}
"""By the suffix of the file."""

MARKS_WORDS = "**bold**: best; †: not told apart from the best."


def export(table: Table, kind: str) -> str:
    """The table as text. Raises `InputError` for another kind."""
    if kind not in EXPORTS:
        raise InputError(f"no export '{kind[:20]}'; valid: {', '.join(EXPORTS)}")
    return EXPORTS[kind](table)


def _averaged(table: Table) -> list[str]:
    """Types with more than one task, and all, where that is more than one type."""
    kinds = [t for t in table.types if sum(c.type == t for c in table.columns) > 1]
    return [*kinds, *(["all"] if len(table.types) > 1 else [])]


def _mean(line: Line, kind: str) -> str:
    value = line.averages.get(kind)
    return "–" if value is None else f"{value:.{DIGITS}f}"


def _name(line: Line) -> str:
    return f"{line.name} (published)" if line.source else line.name


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    score = f"{cell.score:.{DIGITS}f}"
    shown = f"**{score}**" if cell.best else f"{score} †" if cell.tied else score
    return shown if cell.low is None else f"{shown} [{cell.low:.{DIGITS}f}, {cell.high:.{DIGITS}f}]"


def _latex_cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    score = f"{cell.score:.{DIGITS}f}"
    return rf"\textbf{{{score}}}" if cell.best else rf"{score}$^\dagger$" if cell.tied else score


def _below(table: Table, mark: str) -> str:
    settings = json.dumps(table.settings, ensure_ascii=False)
    return "\n".join(mark + " ".join(line.split()) for line in (*table.notes, f"Settings: {settings}"))


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _bar_safe(text: str) -> str:
    return text.replace("|", "\\|")


def _cell_safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return re.sub(r"[\\~^&%$#_{}]", lambda m: special.get(m[0], "\\" + m[0]), text)
