"""report.html and report.md of a study: one file each, nothing to load, no script. Every text of a user is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .. import svg
from ..store import whole_file
from ..styles import style
from . import words
from .markdown import to_markdown
from .results import ClaimCard, Study

CSS = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
"""Rules for what stands in an element of class "report", which the page uses too; it takes these colours from it."""

ALONE = """
:root { color-scheme: light dark; --ink: #1d2126; --dim: #5d6670; --line: #d9dee3; --page: #fff; --soft: #f4f6f8;
  --good: #0072B2; --bad: #B34A00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --dim: #9aa5b1; --line: #39424b; --page: #15191d;
  --soft: #1e242a; --good: #56B4E9; --bad: #E69F00; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto; padding: 24px;
  max-width: 1080px; }
h1 { font-size: 1.6rem; margin: 0 0 8px; } h2 { font-size: 1.2rem; margin: 40px 0 8px; }
"""
"""Of a report that is a file of its own."""

SCROLLS = 'tabindex="0" role="group" aria-label="scrolls"'
"""Attributes of a box that may be narrower or lower than what is in it: the keyboard scrolls it as well."""

VERDICT_SIGNS = {"supported": "✓", "contradicted": "✗", "not told apart": "≈", "not tested": "–"}


def write_reports(study: Study, folder: Path) -> None:
    """report.html and report.md."""
    for name, text in (("report.html", to_html(study)), ("report.md", to_markdown(study))):
        with whole_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Section:
    """A part of the report under its own heading."""

    heading: str
    html: str
    detail: bool = False
    """For those who check; the page folds it."""


def sections(study: Study) -> list[Section]:
    """All that a study has to show, the answer first."""
    found = [Section("Answer", _list([*words.headline(study), *words.claims_line(study)]) + _figures(study))]
    if study.claims:
        cards = "".join(map(claim_html, study.claims))
        found.append(Section("The paper’s claims", f'<div class="claims">{cards}</div>'))
    if study.entries:
        found.append(Section("Scores", f'{_table(study)}<p class="dim">{escape(words.READING)}</p>'))
    matrices = _matrices(study)
    if matrices:
        found.append(Section("Which differences are differences?", f"<p>{escape(words.MATRIX)}</p>{matrices}", True))
    if study.layers:
        found.append(Section("What the multi-layer poolers read", _layers(study)))
    costs = words.costs(study)
    if costs:
        found.append(Section("Cost", table(words.COST_HEADS, [cost.texts for cost in costs]), True))
    if study.limits:
        found.append(Section("What can and cannot be concluded", _list(study.limits)))
    found.append(Section("Set-up", table(("", ""), words.setup_rows(study), "text"), True))
    if study.problems:
        found.append(Section("Problems", _list(study.problems)))
    return found


def to_html(study: Study) -> str:
    """The whole page."""
    head = escape(words.title(study))
    unfinished = f"<p><strong>{escape(words.unfinished(study))}</strong></p>" if not study.finished else ""
    body = "\n".join(f"<h2>{escape(part.heading)}</h2>\n{part.html}" for part in sections(study))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{head}</title>\n<style>{ALONE}{CSS}</style>\n</head>\n<body>\n"
        f'<main class="report">\n<h1>{head}</h1>\n<p>{escape(study.question)}</p>\n{unfinished}\n{body}\n</main>\n'
        "</body>\n</html>\n"
    )


def _figures(study: Study) -> str:
    """One picture of intervals for each task type."""
    made = [(kind, intervals_svg(study, kind)) for kind in study.types]
    shown = [f"<figure><h3>{escape(kind)}</h3>{picture}</figure>" for kind, picture in made if picture]
    if not shown:
        return ""
    legend = "Dot: mean over seeds; rings: seeds; thick: 95 % over seeds; thin with ends: 95 % over examples."
    return f'<div class="figures">{"".join(shown)}</div><p class="dim">{legend}</p>'


def intervals_svg(study: Study, kind: str) -> str:
    """Means of a task type with both intervals, every design and baseline that has them; empty if none has."""
    bars = []
    for entry in study.entries:
        found = entry.averages.get(kind)
        if found is not None:
            seeds = None if found.seed_low is None or found.seed_high is None else (found.seed_low, found.seed_high)
            examples = None if found.low is None or found.high is None else (found.low, found.high)
            points = found.scores if len(found.scores) > 1 else ()
            look = style(entry.name)
            bars.append(svg.Bar(entry.name, look.colour, look.symbol, found.mean, points, seeds, examples))
    return svg.intervals(bars, f"Scores on {kind} tasks with intervals over seeds and over examples")


def _table(study: Study) -> str:
    columns = words.columns(study)
    heads = "".join(map(_head, ("", *(head for head, _, _ in columns))))
    rows = []
    for entry in study.entries:
        note = '<span class="small">baseline</span>' if entry.baseline else ""
        cells = [f"<td>{_symbol(entry.name)}{escape(entry.name)}{note}</td>"]
        for _, key, average in columns:
            found = words.cell(entry, key, average)
            first, _, rest = words.score(found).partition(" ")
            kind = ' class="best"' if found and found.best else ""
            more = f'<span class="small">{escape(rest)}</span>' if rest else ""
            cells.append(f"<td{kind}>{escape(first)}{more}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return _wide(f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def _matrices(study: Study) -> str:
    return "".join(
        f'<h3>{escape(heading)}</h3><p class="dim">{escape(how)}</p>{matrix_html(study, scope)}'
        for heading, scope, how in words.scopes(study)
    )


def matrix_html(study: Study, scope: str) -> str:
    """Every two entries on one scope as a table."""
    names = words.names_on(study, scope)
    rows = []
    for row in names:
        cells = [f"<td>{escape(row)}</td>"]
        for column in names:
            pair = study.between(row, column, scope)
            kind, difference, p = words.mark(pair, row)
            if not pair:
                cells.append("<td></td>")
                continue
            small = f'<span class="small">{escape(p)}</span>'
            said = escape(pair.sentence, quote=True)
            cells.append(f'<td class="{kind}" title="{said}">{words.SIGNS[kind]} {difference}{small}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(map(_head, ("", *names)))
    return _wide(f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def claim_html(card: ClaimCard) -> str:
    """A claim as a card."""
    parts = [f"{part.type}: {part.verdict}; {part.numbers}" for part in card.parts]
    folded = f"<details><summary>The comparisons, with their numbers</summary>{_list(parts)}</details>" if parts else ""
    sign = VERDICT_SIGNS[card.verdict]
    return (
        f'<div class="claim"><h3>{escape(card.title)}</h3><p class="verdict">{sign} {escape(card.verdict)}</p>'
        f"<blockquote>{escape(card.statement)} ({escape(card.source)})</blockquote>"
        f"<p>{escape(card.comparison)} {escape(card.reason)}</p>{folded}</div>"
    )


def _layers(study: Study) -> str:
    shown = []
    for one in study.layers:
        title, look = f"Weight of each layer in {one.name}", style(one.name)
        picture = svg.columns(one.mean, one.weights, 1 / len(one.mean), title, look.colour)
        shown.append(f"<figure><h3>{_symbol(one.name)}{escape(one.name)}</h3>{picture}</figure>")
    return f'<p>{escape(words.attention(study))}</p><div class="figures">{"".join(shown)}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A plain table; all cells are escaped."""
    head = "".join(map(_head, heads)) if any(heads) else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    named = f' class="{kind}"' if kind else ""
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return _wide(f"<table{named}>{top}<tbody>{body}</tbody></table>")


def _symbol(name: str) -> str:
    """A variant's symbol in its colour, before its name."""
    return f'<span style="color:{style(name).colour}" aria-hidden="true">{style(name).symbol}</span> '


def _wide(table: str) -> str:
    return f'<div class="wide" {SCROLLS}>{table}</div>'


def _head(text: str) -> str:
    """The head of a column; over the names of the rows there is none."""
    return f'<th scope="col">{escape(text)}</th>' if text else "<td></td>"


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"
