"""Evaluations -> HTML: where a run stands, the table of scores, the tests in words, the worst examples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from ..evaluation.results import Cell, Column, Evaluation, Line, Table
from ..evaluation.tasks import Task
from ..run import Run
from ..significance import Test, win_tie_loss
from . import texts_evaluate as texts
from .html import SCROLLS, chip, esc, note, number

SHOWN_DOCUMENTS = 3
WORD_BEGINS = re.compile(r"(?<=\w{3})(?=[A-Z][a-z])")
LONG = 400


def run_card(run: Run, records: Sequence[Mapping[str, Any]]) -> str:
    """Where a run stands: a bar, a sentence, what it does now, and what could not be evaluated."""
    share = (run.share or 0.0) * 100
    rows = {(r["row"]["variant"], r["row"]["task"]) for r in records if "row" in r}
    last: Mapping[str, Any] = next((r for r in reversed(records) if r.get("task") and "share" in r), {})
    facts = [f"{len(rows)} {'result' if len(rows) == 1 else 'results'}"] if rows else []
    if run.is_active and last:
        count = f": {last['texts']:,} of {last['texts_total']:,} texts" if last.get("texts_total") else ""
        facts.append(f"now {last['task']} with {last['variant']}{count}")
    elif run.is_active:
        facts.append("reading the tasks and loading the first variant …")
    problems = dict.fromkeys(str(r["problem"]) for r in records if r.get("problem"))
    return (
        f'<div class="progress" role="progressbar" aria-valuenow="{share:.0f}" aria-label="progress">'
        f'<i style="width:{share:.1f}%"></i></div><p><b>{esc(run.title)}</b> {esc(run.sentence)}</p>'
        f'<p class="help">{esc(" · ".join(facts))}</p>' + "".join(note(_sentence(p), "error") for p in problems)
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


# ---- the table -----------------------------------------------------------------------------------------------------


def table(found: Table) -> str:
    """Variants x tasks, grouped by type with averages; published models below; notes and settings at the end."""
    if not found.columns:
        return note(texts.NO_ROWS)
    order = sorted(range(len(found.columns)), key=lambda i: found.types.index(found.columns[i].type))
    columns = [found.columns[i] for i in order]
    averaged = _averaged(found)
    rows = "".join(_line(line, order, columns, averaged) for line in found.lines)
    unlike = [column.name for column in columns if not column.comparable]
    which = "All tasks" if len(unlike) == len(columns) else ", ".join(unlike)
    return (
        f"{note(f'{which}: {texts.NOT_COMPARABLE}') if unlike else ''}"
        f'<div class="scroll" {SCROLLS}><table class="scores"><thead>{_heads(columns, averaged)}</thead>'
        f"<tbody>{rows}</tbody></table></div>{_below(found)}"
    )


def _averaged(found: Table) -> list[str]:
    """Types with more than one task."""
    return [t for t in found.types if sum(c.type == t for c in found.columns) > 1]


def _heads(columns: Sequence[Column], averaged: Sequence[str]) -> str:
    """Two rows: types, then tasks with metric, split and size."""
    groups = [(kind, list(of)) for kind, of in groupby(columns, key=lambda c: c.type)]
    first = "".join(
        f'<th scope="colgroup" colspan="{len(of) + (kind in averaged)}">{esc(kind)}</th>' for kind, of in groups
    )
    second = ""
    for kind, of in groups:
        second += "".join(_head(column) for column in of)
        second += f'<th scope="col" class="mean">mean {esc(kind)}</th>' if kind in averaged else ""
    every, last = ("<td></td>", '<th scope="col" class="mean">mean of all</th>') if len(groups) > 1 else ("", "")
    return f'<tr class="types"><td></td>{first}{every}</tr><tr><th scope="col">variant</th>{second}{last}</tr>'


def _head(column: Column) -> str:
    n = f", n = {column.samples:,}" if column.samples else ""
    flag = "" if column.comparable else '<br><em class="flag">not comparable</em>'
    return (
        f'<th scope="col" title="{esc(column.data)}"><b>{_breakable(column.name)}</b><br>'
        f"<small>{esc(column.head)}{n}</small>{flag}</th>"
    )


def _breakable(name: str) -> str:
    """A task's name, which may be broken where a new word begins in it."""
    return WORD_BEGINS.sub("<wbr>", esc(name))


def _line(line: Line, order: Sequence[int], columns: Sequence[Column], averaged: Sequence[str]) -> str:
    cells = ""
    for kind, of in groupby(zip(order, columns, strict=True), key=lambda pair: pair[1].type):
        cells += "".join(_cell(line.cells[i]) for i, _ in of)
        cells += _mean(line.averages.get(kind)) if kind in averaged else ""
    if len({column.type for column in columns}) > 1:
        cells += _mean(line.averages.get("all"))
    if not line.source:
        return f'<tr><th scope="row">{chip(line.name)}</th>{cells}</tr>'
    name = f'{esc(line.name)} <em class="flag">published</em><br><small>{esc(line.source)}</small>'
    return f'<tr class="published"><th scope="row">{name}</th>{cells}</tr>'


def _mean(value: float | None) -> str:
    return f'<td class="mean">{"–" if value is None else number(value)}</td>'


def _cell(cell: Cell | None) -> str:
    """Score, half its interval, and its mark as a word."""
    if cell is None:
        return '<td class="self">–</td>'
    score = f"<b>{number(cell.score)}</b>" if cell.best else number(cell.score)
    within, title = "", cell.note
    if cell.low is not None and cell.high is not None:
        within = f" <small>± {number((cell.high - cell.low) / 2)}</small>"
        title = f"{cell.score:.4f}, 95 % interval {cell.low:.4f} to {cell.high:.4f}"
    mark = "best" if cell.best else "tied" if cell.tied else ""
    flag = f'<br><em class="flag">{mark}</em>' if mark else ""
    return f'<td title="{esc(title)}">{score}{within}{flag}</td>'


def _below(found: Table) -> str:
    cells = [cell for line in found.lines for cell in line.cells if cell]
    marks = [texts.BEST] if any(cell.best for cell in cells) else []
    marks += [texts.TIED] if any(cell.tied for cell in cells) else []
    marks += [texts.INTERVAL] if any(cell.low is not None for cell in cells) else []
    said = "; ".join(marks)
    notes = "".join(f"<li>{esc(text)}</li>" for text in found.notes)
    return (
        f'<p class="help">{esc(_sentence(said)) if said else ""} {settings_line(found.settings)}</p>'
        f'<details class="notes"><summary>Where the data is from, and other notes ({len(found.notes)})</summary>'
        f"<ul>{notes}</ul></details>"
    )


def settings_line(settings: Mapping[str, Any]) -> str:
    """The settings that made the table, in one sentence."""
    parts = [f"mteb {settings.get('mteb', '')}", str(settings.get("device", "")), str(settings.get("dtype", ""))]
    parts.append(f"instructions: {settings.get('instructions', '')}")
    if settings.get("sample"):
        parts.append(f"at most {settings['sample']} examples a task, so not comparable with the leaderboard")
    return esc(f"Evaluated with {', '.join(part for part in parts if part.strip())}.")


# ---- tests ---------------------------------------------------------------------------------------------------------


def tests(evaluation: Evaluation) -> str:
    """Every two variants over all tasks and within each, in words and numbers; who beats whom, counted."""
    if len(evaluation.rows) < 2:
        return note("A second variant is needed to compare with.")
    within = [test for task, of in evaluation.comparisons.items() if task for test in of]
    sections = _counted(win_tie_loss(within), len(evaluation.comparisons) - 1) if within else ""
    for task, of in sorted(evaluation.comparisons.items(), key=lambda item: item[0] != ""):
        if of:
            name = task or f"Over all {len(evaluation.tasks)} tasks"
            answered = next((test for test in of if not test.refused), of[0])
            sections += (
                f'<details class="tests"{"" if task else " open"}><summary><b>{esc(name)}</b> {_gist(of)}</summary>'
                f'<p class="help">{esc(answered.question)}'
                f"{'' if answered.method == 'none' else esc(f' {_sentence(answered.method)}')}</p>{_tests(of)}</details>"
            )
    return sections


def _gist(tests: Sequence[Test]) -> str:
    """How many pairs are told apart."""
    answered = [test for test in tests if not test.refused]
    if not answered:
        return "<small>no test possible</small>"
    apart = sum(test.significant for test in answered)
    return f"<small>{apart} of {len(answered)} {'pair' if len(answered) == 1 else 'pairs'} told apart</small>"


def _counted(counts: Mapping[str, Mapping[str, int]], tasks: int) -> str:
    """Who is better than whom how often, pairs and tasks counted together."""
    if not any(sum(of.values()) for of in counts.values()):
        return ""
    rows = "".join(
        f'<tr><th scope="row">{chip(name)}</th><td>{of["wins"]}</td><td>{of["ties"]}</td><td>{of["losses"]}</td></tr>'
        for name, of in sorted(counts.items(), key=lambda item: (-item[1]["wins"], item[1]["losses"]))
    )
    return (
        f'<div class="scroll" {SCROLLS}><table class="counts"><thead><tr><th scope="col">against the others, task by task</th>'
        '<th scope="col">better</th><th scope="col">not told apart</th><th scope="col">worse</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _tests(tests: Sequence[Test]) -> str:
    heads = ("comparison", "difference", "p", "p after Holm", "effect", "wins / ties / losses")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    rows = "".join(_test(test) for test in tests)
    return f'<div class="scroll" {SCROLLS}><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _test(test: Test) -> str:
    """One pair, the better one first."""
    if test.refused:
        return (
            f'<tr><th scope="row">{chip(test.a)} and {chip(test.b)}</th>'
            f'<td colspan="5" class="reason">{esc(_sentence(test.refused))}</td></tr>'
        )
    verdict = "is better than" if test.significant else "is ahead of"
    chance = "" if test.significant else ", which may be chance"
    if not test.leaning:
        verdict, chance = "and", " score the same"
    if test.disagrees:
        chance += " <small>by ranks; its mean is lower</small>"
    turn = 1.0 if test.ahead == test.a else -1.0
    counts = (test.wins, test.ties, test.losses) if turn > 0 else (test.losses, test.ties, test.wins)
    effect = "–" if test.effect is None else f"{turn * test.effect:+.2f} <small>{esc(test.effect_name)}</small>"
    ends = f"<small>[{test.ends[0]:+.3f}, {test.ends[1]:+.3f}]</small>" if test.ends else ""
    return (
        f'<tr><th scope="row">{chip(test.ahead)} {verdict} {chip(test.behind)}{chance}</th>'
        f"<td>{number(test.advantage)} {ends}</td><td>{_p(test.p)}</td><td>{_p(test.p_holm)}</td>"
        f"<td>{effect}</td><td>{' / '.join(map(str, counts))} <small>of {test.n:,}</small></td></tr>"
    )


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "&lt; .001" if value < 0.001 else number(value)


# ---- worst examples ------------------------------------------------------------------------------------------------


def worst(rows: Sequence[Mapping[str, Any]], task: Task, variant: str, examples: bool) -> str:
    """The worst examples of a variant on a task; queries with a button that opens them in Compare."""
    if not examples:
        return note(texts.NO_EXAMPLES)
    if not rows:
        return note("This variant has no result on this task yet.")
    heads, line = _kind_of(rows[0])
    head = "".join(f'<th scope="col"{c}>{text}</th>' for text, c in heads)
    body = "".join(line(row) for row in rows)
    return (
        f'<div class="scroll" {SCROLLS}><table class="worst"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="help">{esc(task.name)} with {esc(variant)}, worst first.</p>'
    )


TEXT = ' class="text"'


def _kind_of(row: Mapping[str, Any]):
    if "ndcg_at_10" in row:
        return (("query", ""), ("nDCG@10", ""), ("found first", TEXT), ("", "")), _ranking
    if "similarity" in row:
        return (("pair", ""), ("similarity", ""), ("gold", ""), ("places apart", "")), _pair
    return (("text", ""), ("right", ""), ("gold", TEXT), ("said", TEXT)), _classified


def _cut(text: str) -> str:
    words = " ".join(text.split())
    return esc(words[:LONG] + ("…" if len(words) > LONG else ""))


def _ranking(row: Mapping[str, Any]) -> str:
    found = ", ".join(row["top"][:SHOWN_DOCUMENTS]) or "nothing"
    button = (
        f'<button type="button" data-query="{esc(row["text"])}" '
        f'aria-label="open in Compare: {esc(row["text"][:80])}">open in Compare</button>'
    )
    return (
        f'<tr><th scope="row">{_cut(row["text"]) or esc(row["id"])}</th><td>{number(row["ndcg_at_10"])}</td>'
        f'<td class="text">{_cut(found)}</td><td>{button if row["text"].strip() else ""}</td></tr>'
    )


def _pair(row: Mapping[str, Any]) -> str:
    texts_ = "<br>".join(_cut(text) for text in row["text"].split("\n"))
    return (
        f'<tr><th scope="row">{texts_ or esc(row["id"])}</th><td>{number(row["similarity"])}</td>'
        f"<td>{row['gold']:g}</td><td>{row['badness'] * 100:.0f} % of all</td></tr>"
    )


def _classified(row: Mapping[str, Any]) -> str:
    return (
        f'<tr><th scope="row">{_cut(row["text"]) or esc(row["id"])}</th><td>{row["right"] * 100:.0f} %</td>'
        f'<td class="text">{esc(row["gold"])}</td><td class="text">{esc(row["said"])}</td></tr>'
    )
