"""report.html and report.md of a study: one file each, nothing to load, no script. Every text of a user is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from ..store import whole_file
from ..styles import style
from . import svg, words
from .markdown import to_markdown
from .results import ClaimCard, Study

CSS = """
:root { color-scheme: light dark; --ink: #1d2126; --dim: #5d6670; --line: #d9dee3; --page: #fff; --soft: #f4f6f8;
  --good: #0072B2; --bad: #B34A00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --dim: #9aa5b1; --line: #39424b; --page: #15191d;
  --soft: #1e242a; --good: #56B4E9; --bad: #E69F00; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto; padding: 24px;
  max-width: 1080px; }
h1 { font-size: 1.6rem; margin: 0 0 8px; } h2 { font-size: 1.2rem; margin: 40px 0 8px; } h3 { font-size: 1rem; }
p, li { max-width: 76ch; } .dim, caption { color: var(--dim); font-size: .9rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; } .text td { text-align: left; white-space: normal; }
.best { font-weight: 700; } .small { display: block; color: var(--dim); font-size: .8rem; font-weight: 400; }
.win { color: var(--good); font-weight: 600; } .loss { color: var(--bad); font-weight: 600; }
.none { color: var(--dim); }
.card { background: var(--soft); border-radius: 8px; padding: 12px 16px; margin: 12px 0; }
.card h3 { margin: 0 0 4px; } .verdict { font-weight: 700; } .card ul { padding-left: 20px; margin: 4px 0; }
blockquote { margin: 4px 0; padding-left: 12px; border-left: 3px solid var(--line); color: var(--dim);
  max-width: 76ch; }
figure { margin: 0; } svg { width: 100%; height: auto; color: var(--ink); }
svg text { fill: var(--ink); font-size: 12px; }
svg .mean { stroke: var(--ink); stroke-width: .7; }
svg .tick { fill: var(--dim); font-size: 11px; } svg .grid { stroke: var(--line); } svg .uniform { stroke: var(--ink);
  stroke-dasharray: 4 3; } svg .seeds { stroke-width: 6; stroke-opacity: .35; } svg .examples { stroke: var(--ink); }
svg .seed { fill: var(--page); stroke: var(--ink); } svg .number { font-variant-numeric: tabular-nums; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); gap: 16px; }
"""
VERDICT_SIGNS = {"supported": "✓", "contradicted": "✗", "not told apart": "≈", "not tested": "–"}


def write_reports(study: Study, folder: Path) -> None:
    """report.html and report.md."""
    for name, text in (("report.html", to_html(study)), ("report.md", to_markdown(study))):
        with whole_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def to_html(study: Study) -> str:
    """The whole page."""
    head = escape(words.title(study))
    parts = [f"<h1>{head}</h1>", f"<p>{escape(study.question)}</p>", *_unfinished(study)]
    parts += ["<h2>Answer</h2>", _list(words.headline(study)), _figures(study)]
    if study.entries:
        parts += ["<h2>Scores</h2>", _table(study), f'<p class="dim">{escape(words.READING)}</p>']
    parts += _matrices(study)
    if study.claims:
        parts += ["<h2>The paper’s claims</h2>", *map(claim_html, study.claims)]
    parts += _layers(study)
    costs = words.costs(study)
    if costs:
        parts += ["<h2>Cost</h2>", table(words.COST_HEADS, [cost.texts for cost in costs])]
    if study.limits:
        parts += ["<h2>What can and cannot be concluded</h2>", _list(study.limits)]
    parts += ["<h2>Set-up</h2>", table(("", ""), words.setup_rows(study), "text")]
    if study.problems:
        parts += ["<h2>Problems</h2>", _list(study.problems)]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{head}</title>\n<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _unfinished(study: Study) -> list[str]:
    if study.finished:
        return []
    done = sum(run.state == "evaluated" for run in study.runs)
    return [f"<p><strong>Not finished: {done} of {len(study.runs)} runs are evaluated.</strong></p>"]


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
            bars.append(svg.Bar(entry.name, style(entry.name).colour, found.mean, points, seeds, examples))
    return svg.intervals(bars, f"Scores on {kind} tasks with intervals over seeds and over examples")


def _table(study: Study) -> str:
    columns = words.columns(study)
    heads = "".join(f"<th>{escape(head)}</th>" for head in ("", *(head for head, _, _ in columns)))
    rows = []
    for entry in study.entries:
        look = f'<span style="color:{style(entry.name).colour}">{style(entry.name).symbol}</span> '
        note = '<span class="small">baseline</span>' if entry.baseline else ""
        cells = [f"<td>{look}{escape(entry.name)}{note}</td>"]
        for _, key, average in columns:
            found = words.cell(entry, key, average)
            first, _, rest = words.score(found).partition(" ")
            kind = ' class="best"' if found and found.best else ""
            more = f'<span class="small">{escape(rest)}</span>' if rest else ""
            cells.append(f"<td{kind}>{escape(first)}{more}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _matrices(study: Study) -> list[str]:
    parts = []
    for heading, scope, how in words.scopes(study):
        parts += [f"<h3>{escape(heading)}</h3>", f'<p class="dim">{escape(how)}</p>', matrix_html(study, scope)]
    return ["<h2>Which differences are differences?</h2>", f"<p>{escape(words.MATRIX)}</p>", *parts] if parts else []


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
    heads = "".join(f"<th>{escape(name)}</th>" for name in ("", *names))
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def claim_html(card: ClaimCard) -> str:
    """A claim as a card."""
    parts = [f"{part.type}: {part.verdict}; {part.numbers}" for part in card.parts]
    sign = VERDICT_SIGNS[card.verdict]
    return (
        f'<div class="card"><h3>{escape(card.title)}</h3><p class="verdict">{sign} {escape(card.verdict)}</p>'
        f"<blockquote>{escape(card.statement)} ({escape(card.source)})</blockquote>"
        f"<p>{escape(card.comparison)} {escape(card.reason)}</p>{_list(parts) if parts else ''}</div>"
    )


def _layers(study: Study) -> list[str]:
    if not study.layers:
        return []
    shown = []
    for one in study.layers:
        picture = svg.columns(one.mean, one.weights, 1 / len(one.mean), f"Weight of each layer in {one.name}")
        shown.append(f"<figure><h3>{escape(one.name)}</h3>{picture}</figure>")
    heading = "<h2>What the multi-layer poolers read</h2>"
    return [heading, f"<p>{escape(words.ATTENTION)}</p>", f'<div class="figures">{"".join(shown)}</div>']


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A plain table; all cells are escaped."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads) if any(heads) else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    named = f' class="{kind}"' if kind else ""
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f'<div class="wide"><table{named}>{top}<tbody>{body}</tbody></table></div>'


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"
