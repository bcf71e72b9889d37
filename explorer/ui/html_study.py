"""Studies -> HTML: where a run stands, run by run, and the report in the page's own look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..run import Run
from ..study import words
from ..study.report import sections
from ..study.results import RunInfo, Study
from .html import BRACES, SCROLLS, chip, esc, note

SIGNS = {"waiting": "○", "begun": "◔", "trained": "◑", "evaluated": "●"}


def run_card(run: Run, records: Sequence[Mapping[str, Any]]) -> str:
    """Where a run stands: a bar, a sentence, and what it does now."""
    share = (run.share or 0.0) * 100
    last: Mapping[str, Any] = next((r for r in reversed(records) if "part" in r), {})
    doing = ""
    if run.is_active:
        doing = _doing(last) if last else "reading the data and the tasks …"
    return (
        f'<div class="progress" role="progressbar" aria-valuenow="{share:.0f}" aria-label="progress">'
        f'<i style="width:{share:.1f}%"></i></div><p><b>{esc(run.title)}</b> {esc(run.sentence)}</p>'
        f'<p class="help">{esc(doing)}</p>'
    )


def _doing(record: Mapping[str, Any]) -> str:
    design, _, seed = str(record["run"]).partition(":")
    of = record.get("of", {})
    said = f"now {record['part']} of {design}{f', seed {seed}' if seed else ''}"
    if "step" in of:
        said += f": step {of['step']} of {of.get('steps', '?')}" + (f", loss {of['loss']:.3f}" if "loss" in of else "")
    elif "task" in of:
        said += f": {of['task']}"
    return said


def report(study: Study) -> str:
    """The report: what decides is open, what only those who check need is folded."""
    parts = [f'<h2 class="title">{esc(words.title(study))}</h2>']
    parts += [f'<p class="question">{esc(study.question)}</p>'] if study.question else []
    if not study.finished:
        parts += [note(words.unfinished(study), "busy"), runs_table(study)]
    found = sections(study)
    links = "".join(f'<a href="#study-part-{i}">{esc(part.heading)}</a>' for i, part in enumerate(found))
    parts.append(f'<nav class="parts" aria-label="Parts of the report">{links}</nav>')
    for i, part in enumerate(found):
        html = part.html.translate(BRACES)
        if part.detail:
            parts.append(
                f'<details id="study-part-{i}"><summary><h3>{esc(part.heading)}</h3></summary>{html}</details>'
            )
        else:
            parts.append(f'<section id="study-part-{i}"><h3>{esc(part.heading)}</h3>{html}</section>')
    return f'<article class="report study">{"".join(parts)}</article>'


def runs_table(study: Study) -> str:
    """Designs x seeds, and how far each run is."""
    seeds = list(dict.fromkeys(run.seed for run in study.runs if run.seed is not None))
    names = list(dict.fromkeys(run.name for run in study.runs))
    there = {(run.name, run.seed): run for run in study.runs}
    head = "".join(f'<th scope="col">seed {seed}</th>' for seed in seeds)
    rows = ""
    for name in names:
        cells = [there.get((name, seed)) for seed in seeds]
        if not any(cells):
            cells = [there.get((name, None)), *[None] * (len(seeds) - 1)]
        rows += f'<tr><th scope="row">{chip(name)}</th>{"".join(map(_run_cell, cells))}</tr>'
    return f'<div class="scroll" {SCROLLS}><table class="runs"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _run_cell(run: RunInfo | None) -> str:
    return f"<td>{SIGNS[run.state]} {esc(run.state)}</td>" if run else "<td></td>"
