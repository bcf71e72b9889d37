"""What the Map tab shows as HTML: the frame that map.js fills, numbers under the maps, tables of documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..corpora import Corpus
from ..projection.lab import Space
from ..projection.quality import Quality
from ..retrieval import APPROXIMATE_FROM
from ..styles import label, style
from . import texts_map
from .html import SCROLLS, chip, esc, note, number

FRAME = f"""<div class="map">
<div class="map-tools"><span class="group"><button type="button" data-mode="pan" aria-pressed="true">Move</button>
<button type="button" data-mode="lasso" aria-pressed="false">Lasso</button></span>
<span class="group"><button type="button" data-tool="in" aria-label="zoom in">+</button>
<button type="button" data-tool="out" aria-label="zoom out">−</button>
<button type="button" data-tool="reset">Whole map</button></span>
<input class="map-search" type="search" aria-label="{texts_map.SEARCH}" placeholder="{texts_map.SEARCH}" maxlength="200">
<button type="button" data-tool="find">Find</button>
<button type="button" data-tool="clear" class="map-clear" disabled>Clear selection</button></div>
<p class="map-said help" role="status"></p>
<div class="map-legend" role="group" aria-label="legend: click to filter"></div>
<div class="map-stage" tabindex="0" role="group" aria-label="maps; arrow keys move them, plus and minus zoom">
<canvas class="map-over" aria-hidden="true"></canvas><div class="map-tip" hidden></div></div>
</div>"""
"""No braces, dollars or backticks: gradio reads it as a template."""

ROWS_SHOWN = 100


def told(quality: Quality | None) -> str:
    """The line under a map's name; the table below says what the numbers mean."""
    if quality is None:
        return ""
    if quality.trustworthiness is None or quality.preservation is None:
        return quality.reasons.get("trustworthiness", "")
    return f"trustworthiness {number(quality.trustworthiness)} · kept {number(quality.preservation)}"


def numbers(qualities: Mapping[str, Quality], space: Space) -> str:
    """A row a measure, explained; a column a map."""
    head = "".join(f'<th scope="col" class="narrow">{chip(name)}</th>' for name in space.names)
    rows = ""
    for field, name, meaning in texts_map.MEASURES:
        cells = "".join(_measured(quality, field) for quality in qualities.values())
        rows += f'<tr><th scope="row">{name}<small>{esc(meaning)}</small></th>{cells}</tr>'
    if space.drawn == "pca":
        cells = "".join(f"<td>{number(space.explained[name])}</td>" for name in space.names)
        rows += f'<tr><th scope="row">Variance shown<small>The share of the spread that two axes can show.</small></th>{cells}</tr>'
    return (
        f"<h3>{texts_map.NUMBERS}</h3><div class='scroll' {SCROLLS}><table class='measures' style='--n:{len(qualities)}'><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div><p class='help'>{esc(measured_with(next(iter(qualities.values())), space))}</p>"
    )


def _measured(quality: Quality, field: str) -> str:
    value = getattr(quality, field)
    if value is None:
        return f'<td class="why">– {esc(quality.reasons.get(field, "not defined here"))}</td>'
    if field == "effective_rank":
        return f"<td>{number(value, 1)} <small>of {quality.dimensions}</small></td>"
    return f"<td>{number(value)}</td>"


def measured_with(quality: Quality, space: Space) -> str:
    """What the numbers were measured with."""
    from ..figures.space import settings_line

    sample = (
        f" Trustworthiness at {quality.measured:,} documents drawn with the seed, each against all others."
        if quality.measured < quality.n
        else ""
    )
    exact = ", exact" if quality.n <= APPROXIMATE_FROM else ""
    return (
        f"{settings_line(space)} Neighbours: the {quality.neighbours} nearest by cosine{exact}.{sample} Silhouettes of up "
        "to 2,000 labelled documents (scikit-learn)."
    )


def measuring() -> str:
    """Keeps the place of the numbers."""
    return f'<div class="ghost-measures"><h3>{texts_map.NUMBERS}</h3>{note("Being measured …", "busy")}</div>'


# ----------------------------------------------------------------------------------------------------------- documents


def _doors(id: str) -> str:
    return (
        f'<div class="doors"><button type="button" data-door="compare" data-document="{esc(id)}" '
        f'aria-label="search with {esc(id)}">Search with it</button>'
        f'<button type="button" data-door="layers" data-document="{esc(id)}" aria-label="open {esc(id)} in Layers">'
        "Layers</button></div>"
    )


def _named(corpus: Corpus, row: int, length: int = 160) -> str:
    document = corpus.documents[row]
    text = " ".join(document.text.split())
    short = text if len(text) <= length else text[: length - 1] + "…"
    extra = f' <span class="label">{esc(document.label)}</span>' if document.label else ""
    return (
        f'<button type="button" class="linked" data-choose="{row}">{esc((document.title or document.id)[:160])}</button>'
        f'{extra}<span class="snippet">{esc(short)}</span>'
    )


def selection(corpus: Corpus, rows: Sequence[int], total: int, why: str, changes: np.ndarray | None) -> str:
    """A table of the selected documents, with their change between the two variants where there are two."""
    head = '<th scope="col">document</th>' + ('<th scope="col">change A → B</th>' if changes is not None else "")
    body = ""
    for row in rows[:ROWS_SHOWN]:
        moved = f'<td class="number">{number(float(changes[row]), 2)}</td>' if changes is not None else ""
        body += (
            f'<tr data-row="{row}"><td>{_named(corpus, row)}</td>{moved}'
            f'<td class="doors-cell">{_doors(corpus.ids[row])}</td></tr>'
        )
    more = f" The first {ROWS_SHOWN} are shown." if total > ROWS_SHOWN else ""
    what = f" {why}" if why else ""
    return (
        f"<p class='help'>{total:,} document{'s' if total != 1 else ''}{esc(what)}.{more}</p>"
        f"<div class='scroll tall' {SCROLLS}><table class='documents'><thead><tr>{head}<th scope='col'>open</th></tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def chosen(corpus: Corpus, row: int, near: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """One document: its text, and its nearest neighbours in the original space, a column a variant."""
    document = corpus.documents[row]
    everywhere = set.intersection(*({r for r, _ in found} for found in near.values())) if near else set()
    columns = ""
    for name, found in near.items():
        items = "".join(
            f'<li class="hit slim"><div class="line"><span class="rank">{rank}</span><span class="title">'
            f'<button type="button" class="linked" data-choose="{r}" title="{esc(corpus.ids[r])}">'
            f"{esc((corpus.documents[r].title or corpus.ids[r])[:120])}</button></span>"
            f"{'' if r in everywhere or len(near) < 2 else '<span class=shift>only some</span>'}"
            f'<span class="score">{number(score)}</span></div></li>'
            for rank, (r, score) in enumerate(found, start=1)
        )
        empty = '<li class="empty">There is no other document.</li>'
        columns += (
            f'<section class="column" style="--c:{style(name).colour}" aria-label="neighbours by {esc(name)}">'
            f"<header>{chip(name)}</header><ol>{items or empty}</ol></section>"
        )
    extra = f' <span class="label">{esc(document.label)}</span>' if document.label else ""
    extra += f" <small>{esc(document.id)}</small>" if document.title else ""
    return (
        f"<p><b>{esc(document.title or document.id)}</b>{extra}</p>"
        f'<div class="text" data-chosen="{row}">{esc(document.text[:1500])}</div>{_doors(document.id)}'
        f"<h3>Nearest neighbours by each variant</h3><p class='help'>In the original space, by cosine. “Only some”: not "
        f"among the nearest with every variant.</p><div class='columns' style='--n:{len(near)}'>{columns}</div>"
    )


def moved(corpus: Corpus, a: str, b: str, values: np.ndarray, rows: Sequence[int], k: int) -> str:
    """The documents that moved most between two variants."""
    body = "".join(
        f'<tr><td class="number">{number(float(values[row]), 2)}</td><td>{_named(corpus, row)}</td>'
        f'<td class="doors-cell">{_doors(corpus.ids[row])}</td></tr>'
        for row in rows
    )
    return (
        f"<p class='help'>From {esc(label(a))} to {esc(label(b))}: mean change {number(float(values.mean()))} over "
        f"{len(values):,} documents, {k} neighbours.</p><div class='scroll tall' {SCROLLS}><table class='documents'><thead><tr>"
        f"<th scope='col'>change</th><th scope='col'>document</th><th scope='col'>open</th></tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
