"""The report as Markdown: the same content as report.html, with numbers instead of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import words
from .results import Study


def to_markdown(study: Study) -> str:
    """report.md."""
    parts = [f"# {safe(words.title(study))}", f"**{safe(study.question)}**"]
    if not study.finished:
        parts.append(words.unfinished(study))
    parts += ["## Answer", bullets([*words.headline(study), *words.claims_line(study)])]
    if study.claims:
        parts += ["## The paper's claims", *(_claim(card) for card in study.claims)]
    if study.entries:
        parts += ["## Scores", _table(study), words.READING]
    parts += _matrices(study)
    if study.layers:
        parts += ["## What the multi-layer poolers read", words.attention(study), _layers(study)]
    costs = words.costs(study)
    if costs:
        parts += ["## Cost", table(words.COST_HEADS, [cost.texts for cost in costs])]
    if study.limits:
        parts += ["## What can and cannot be concluded", bullets(study.limits)]
    parts += ["## Set-up", table(("", ""), words.setup_rows(study))]
    if study.problems:
        parts += ["## Problems", bullets(study.problems)]
    return "\n\n".join(parts) + "\n"


def _table(study: Study) -> str:
    columns = words.columns(study)
    rows = []
    for entry in study.entries:
        cells = []
        for _, key, average in columns:
            found = words.cell(entry, key, average)
            shown = words.score(found)
            cells.append(f"**{shown}**" if found and found.best else shown)
        rows.append([f"{entry.name} (baseline)" if entry.baseline else entry.name, *cells])
    return table(["", *(head for head, _, _ in columns)], rows, marked=True)


def _matrices(study: Study) -> list[str]:
    parts = []
    for heading, scope, how in words.scopes(study):
        names = words.names_on(study, scope)
        rows = []
        for row in names:
            marks = [words.mark(study.between(row, column, scope), row) for column in names]
            rows.append([row, *(f"{words.SIGNS[k]} {d} ({p})".strip() if d else "" for k, d, p in marks)])
        parts += [f"### {safe(heading)}", safe(how), table(["", *names], rows)]
    return ["## Which differences are differences?", words.MATRIX, *parts] if parts else []


def _claim(card) -> str:
    parts = [f"### {safe(card.title)}: {card.verdict}", f"> {safe(card.statement)} ({safe(card.source)})"]
    parts += [safe(card.comparison), safe(card.reason)]
    if card.parts:
        parts.append(bullets(f"{part.type}: {part.verdict}; {part.numbers}" for part in card.parts))
    return "\n\n".join(parts)


def _layers(study: Study) -> str:
    most = max(len(one.mean) for one in study.layers)
    rows = [[one.name, *(f"{w:.3f}" for w in one.mean)] for one in study.layers]
    return table(["", *(str(layer + 1) for layer in range(most))], rows)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], marked: bool = False) -> str:
    """A Markdown table; `marked`: cells carry marks of their own."""
    lines = [heads, ["---"] * len(heads)]
    text = [f"| {' | '.join(map(safe, lines[0]))} |", f"| {' | '.join(lines[1])} |"]
    for row in rows:
        cells = [safe(row[0]), *(row[1:] if marked else map(safe, row[1:]))]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {safe(sentence)}" for sentence in sentences)


def safe(text: str) -> str:
    """A text that stays in its line and its cell, and is no markup."""
    plain = " ".join(str(text).split())
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`").replace("*", "\\*")
