"""Results -> HTML. Plain functions; every piece of text from outside goes through `esc`."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..comparison import Comparison, ManyQueries
from ..corpora import Corpus
from ..measures import METRICS, Agreement, QueryScores, interval
from ..retrieval import Hit
from ..significance import MIN_EXAMPLES
from ..study.report import SCROLLS
from ..styles import label, style
from . import texts

BRACES = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})
"""gradio's HTML component reads its content as a template: braces, dollars and backticks must not reach it."""


def esc(text: object) -> str:
    """Text that is shown as text, in an element or an attribute, whatever it holds."""
    return html.escape(str(text), quote=True).translate(BRACES)


def breakable(text: str) -> str:
    """Escaped text that may go on in the next line after a dot or an underscore, as names in code do."""
    return esc(text).replace(".", ".<wbr>").replace("_", "_<wbr>")


def chip(name: str, shown: str | None = None) -> str:
    """A variant's symbol in its colour and its short name. `shown` hides who it is (blind mode)."""
    if shown is not None:
        return f'<span class="chip"><b>{esc(shown)}</b></span>'
    look = style(name)
    return f'<span class="chip"><i style="color:{look.colour}" aria-hidden="true">{look.symbol}</i><b>{esc(label(name))}</b></span>'


def note(text: str, kind: str = "note") -> str:
    """One sentence where the user looks: kind "note", "error" or "busy"."""
    role = ' role="alert"' if kind == "error" else ' role="status"'
    return f'<p class="px-{kind}"{role}>{esc(text)}</p>' if text else ""


def problem(error: Exception) -> str:
    """An error as a sentence, where the user looks."""
    text = str(error)
    return note(f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}", "error")


def log(text: str) -> str:
    """What a run wrote, as it stands there."""
    return f'<pre class="log" {SCROLLS}>{esc(text)}</pre>' if text else f'<p class="help">{texts.NO_LOG}</p>'


def number(value: float, digits: int = 3) -> str:
    """Three digits without a leading zero: .612; signs and 1.00 stay."""
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def mib(count: int) -> str:
    """Bytes as MiB."""
    return f"{count / 2**20:,.1f} MiB"


@dataclass(frozen=True)
class ViewOptions:
    """How the columns are shown; nothing here changes what was found."""

    order: Sequence[str] = ()
    """Variants from left to right, also those still computed; as found when empty."""
    reference: str = ""
    only_disagreements: bool = False
    blind: Mapping[str, str] = field(default_factory=dict)
    """Variant -> letter; empty when names are shown."""
    judged: Mapping[str, int] = field(default_factory=dict)
    quality: Mapping[str, QueryScores] = field(default_factory=dict)
    explained: Collection[str] = ()
    """Variants whose hits can be explained layer by layer."""


@dataclass(frozen=True)
class Pending:
    """A column that is not there yet."""

    message: str
    share: float = 0.0
    failed: bool = False


def columns(view: Comparison, pending: Mapping[str, Pending], options: ViewOptions) -> str:
    """The side-by-side rankings; columns that are still computed show how far they are."""
    names = options.order or list(view.results)
    shifts = view.shifts(options.reference) if options.reference in view.results else {}
    hidden = view.shared_by_all() if options.only_disagreements else set()
    body = "".join(
        _column(
            name,
            view.results[name],
            view.corpus,
            {} if name == options.reference else shifts.get(name, {}),
            hidden,
            options,
            view.notes.get(name, ()),
            view.why_nothing.get(name, ""),
        )
        if name in view.results
        else _pending(name, pending[name], options)
        for name in names
    )
    said = _left_out(view)
    if options.only_disagreements and not pending and len(view.results) > 1:
        said += note(f"{len(hidden)} documents at the same rank in every column are hidden.")
    return f'{said}<div class="columns" style="--n:{len(names)}">{body}</div>'


def _left_out(view: Comparison) -> str:
    """Which documents are no hits, because they are the query itself."""
    shown = ", ".join(sorted(view.left_out)[:3]) + (", …" if len(view.left_out) > 3 else "")
    return note(f"Left out, because it is the query itself: {shown}.") if view.left_out else ""


def _head(name: str, options: ViewOptions) -> str:
    reference = '<em class="flag">reference</em>' if name == options.reference and not options.blind else ""
    scores = options.quality.get(name)
    measured = (
        f'<small title="{esc(texts.METRIC_HELP["nDCG"])}">nDCG {number(scores.mean("nDCG"))}</small>' if scores else ""
    )
    return f"<header>{chip(name, options.blind.get(name))}{reference}{measured}</header>"


def _column(
    name: str,
    ranking: Sequence[Hit],
    corpus: Corpus,
    shifts: Mapping[str, int | None],
    hidden: set[str],
    options: ViewOptions,
    notes: Sequence[str],
    why_empty: str,
) -> str:
    top = max((hit.score for hit in ranking), default=1.0) or 1.0
    colour = "#7F7F7F" if options.blind else style(name).colour
    why = name if name in options.explained and not options.blind else ""
    items = "".join(
        _hit(hit, corpus, hit.score / top, shifts, options.judged.get(hit.id), why)
        for hit in ranking
        if hit.id not in hidden
    )
    if not ranking:
        said = f"No document shares a word with the query: {why_empty}" if "word" in why_empty else why_empty
        items = f'<li class="empty">{esc(said[:1].upper() + said[1:])}.</li>'
    elif not items:
        items = '<li class="empty">Same ranking as everywhere.</li>'
    said = "".join(f'<p class="help">{esc(text)}</p>' for text in notes) if not options.blind else ""
    return f'<section class="column" style="--c:{colour}" aria-label="{esc(options.blind.get(name) or name)}">{_head(name, options)}{said}<ol>{items}</ol></section>'


def _hit(hit: Hit, corpus: Corpus, share: float, shifts: Mapping[str, int | None], grade: int | None, why: str) -> str:
    document = corpus.document(hit.id)
    title = document.title or document.id
    extra = f' <span class="label">{esc(document.label)}</span>' if document.label else ""
    snippet = " ".join(document.text.split())
    explain = (
        f'<button type="button" class="why" data-why="{esc(hit.id)}" data-variant="{esc(why)}" '
        f'aria-label="why is {esc(hit.id)} here?">why here?</button>'
        if why
        else ""
    )
    return (
        f'<li class="hit" data-doc="{esc(hit.id)}" tabindex="0">'
        f'<div class="line"><span class="rank">{hit.rank}</span>'
        f'<span class="title" title="{esc(hit.id)}">{breakable(title[:160])}</span></div>'
        f'<div class="line"><div class="bar"><i style="width:{100 * max(0.0, min(1.0, share)):.1f}%"></i></div>'
        f'{_shift(hit, shifts)}<span class="score">{number(hit.score)}</span></div>'
        f"<details><summary>{esc(snippet[:110])}{'…' if len(snippet) > 110 else ''}</summary>"
        f'<div class="text" {SCROLLS}>{esc(document.text[:4000])}</div><div class="meta">{esc(hit.id)}{extra}</div></details>'
        f'<div class="judge">{explain}{_judge(hit.id, 1, grade)}{_judge(hit.id, 0, grade)}</div></li>'
    )


def _shift(hit: Hit, shifts: Mapping[str, int | None]) -> str:
    if hit.id not in shifts:
        return ""
    moved = shifts[hit.id]
    if moved is None:
        return '<span class="shift new" title="not among the reference’s results">new</span>'
    if moved == 0:
        return '<span class="shift" title="same rank as in the reference">=</span>'
    arrow, way = ("▲", "higher") if moved > 0 else ("▼", "lower")
    return f'<span class="shift {"up" if moved > 0 else "down"}" title="{abs(moved)} places {way} than in the reference">{arrow}{abs(moved)}</span>'


def _judge(document: str, grade: int, current: int | None) -> str:
    pressed = current is not None and (current > 0) == (grade > 0)
    sign, word = ("✓", "relevant") if grade else ("✗", "not relevant")
    return (
        f'<button type="button" class="j{grade}" data-judge="{grade}" data-doc="{esc(document)}" '
        f'aria-pressed="{str(pressed).lower()}" aria-label="{word}: {esc(document)}" title="{word}">{sign}</button>'
    )


def _pending(name: str, state: Pending, options: ViewOptions) -> str:
    head = _head(name, options)
    if state.failed:
        return f'<section class="column">{head}<div>{note(state.message, "error")}</div></section>'
    rows = '<li class="hit ghost"><div></div><div></div></li>' * 5
    bar = f'<div class="progress" role="progressbar" aria-label="progress" aria-valuenow="{state.share * 100:.0f}"><i style="width:{state.share * 100:.1f}%"></i></div>'
    return f'<section class="column" aria-busy="true">{head}<div><p class="px-busy">{esc(state.message)}</p>{bar}<ol>{rows}</ol></div></section>'


def agreement(matrix: Agreement, blind: Mapping[str, str]) -> str:
    """Both agreement measures of every pair: overlap above the diagonal, RBO below."""
    if len(matrix.names) < 2:
        return note("Choose a second variant in the sidebar to see how much two of them agree.")
    head = "".join(
        f"<th scope='col' class='symbol' title='{esc(blind.get(n) or n)}'>{chip(n, blind.get(n))}</th>"
        for n in matrix.names
    )
    rows = ""
    for i, name in enumerate(matrix.names):
        cells = "".join(_cell(matrix, i, j) for j in range(len(matrix.names)))
        rows += f"<tr><th scope='row'>{chip(name, blind.get(name))}</th>{cells}</tr>"
    return (
        f'<div class="scroll" {SCROLLS}><table class="matrix"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p class="help"><b>Above the diagonal: overlap@{matrix.k}.</b> {esc(texts.METRIC_HELP["overlap"])} '
        f"<b>Below: RBO.</b> {esc(texts.METRIC_HELP['RBO'])}</p>"
    )


def _cell(matrix: Agreement, i: int, j: int) -> str:
    if i == j:
        return '<td class="self">–</td>'
    value = float(matrix.overlap[i, j] if j > i else matrix.rbo[i, j])
    kind = f"overlap@{matrix.k}" if j > i else "RBO"
    return f'<td style="--v:{value:.3f}" title="{kind} of {esc(matrix.names[i])} and {esc(matrix.names[j])}">{number(value, 2)}</td>'


def quality_table(many: ManyQueries, reference: str) -> str:
    """Mean nDCG, MRR, Recall with intervals, and each variant against the reference, paired by query."""
    if not many.quality:
        return note(texts.NO_JUDGMENTS)
    reference = reference if reference in many.results else next(iter(many.results))
    n = next(iter(many.quality.values())).n
    differences = many.differences(reference, "nDCG")
    head = "".join(f'<th scope="col" title="{esc(texts.METRIC_HELP[m])}">{m}@{many.k}</th>' for m in METRICS)
    rows = ""
    for name, scores in sorted(many.quality.items(), key=lambda item: -item[1].mean("nDCG")):
        cells = "".join(f"<td>{_with_interval(scores, m)}</td>" for m in METRICS)
        rows += f'<tr><th scope="row">{chip(name)}</th>{cells}{_against(differences.get(name), name == reference)}</tr>'
    few = f" Intervals of fewer than {MIN_EXAMPLES} queries say less than they seem to." if n < MIN_EXAMPLES else ""
    help_ = " ".join(f"<b>{m}.</b> {esc(texts.METRIC_HELP[m])}" for m in METRICS)
    return (
        f'<div class="scroll" {SCROLLS}><table class="quality"><thead><tr><th scope="col">variant</th>{head}'
        f'<th scope="col">nDCG minus {esc(label(reference))}</th><th scope="col">wins / ties / losses</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<p class="help">{_made_with(many)} {n} judged {"query" if n == 1 else "queries"}; ± is half the width of the 95 % interval over queries.{few} {_found_nothing(many)}{help_}</p>'
    )


def _found_nothing(many: ManyQueries) -> str:
    """For how many queries a variant found nothing, of which an empty cell or a 0 does not speak."""
    said = [
        f"{label(name)} found nothing for {len(queries)} of them, for no word of these occurs in the documents: they count as 0."
        for name, queries in many.found_nothing.items()
    ]
    return "".join(f"{esc(sentence)} " for sentence in said)


def _made_with(many: ManyQueries) -> str:
    """The settings that made a table."""
    return (
        f"Corpus {esc(many.corpus.name)}, {len(many.corpus):,} documents, {len(many.results)} variants, k = {many.k}."
    )


def _with_interval(scores: QueryScores, metric: str) -> str:
    if scores.n < 2:
        return number(scores.mean(metric))
    found = interval(scores.values(metric))
    return f"{number(found.mean)} <small>± {number((found.high - found.low) / 2)}</small>"


def _against(difference, is_reference: bool) -> str:
    if is_reference:
        return '<td class="self">reference</td><td class="self"></td>'
    if difference is None:
        return "<td>–</td><td>–</td>"
    clear = difference.low > 0 or difference.high < 0
    word = "interval excludes 0" if clear else "interval includes 0: may be chance"
    return (
        f'<td title="{word}" class="{"clear" if clear else ""}">{difference.mean:+.3f} '
        f"<small>[{difference.low:+.3f}, {difference.high:+.3f}]</small></td>"
        f"<td>{difference.wins} / {difference.ties} / {difference.losses}</td>"
    )


def queries_table(many: ManyQueries, limit: int = 300) -> str:
    """Queries by how much the variants disagree; a click opens one."""
    names = list(many.results)
    head = "".join(f'<th scope="col" class="narrow">{chip(name)}</th>' for name in names)
    rows = ""
    for query, value in list(many.disagreements.items())[:limit]:
        cells = "".join(f"<td>{_query_cell(many, name, query)}</td>" for name in names)
        rows += (
            f'<tr><td style="--v:{value:.3f}" class="heat">{number(value, 2)}</td><th scope="row"><button type="button" '
            f'data-query="{esc(many.queries[query])}">{esc(many.queries[query][:200])}</button></th>{cells}</tr>'
        )
    shown = f" The first {limit} are shown." if len(many.disagreements) > limit else ""
    what = f"nDCG@{many.k}" if many.quality else "first hit"
    return (
        f'<div class="scroll tall" {SCROLLS}><table class="queries"><thead><tr><th scope="col">disagreement</th><th scope="col">query '
        f"({len(many.queries)})</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="help">{_made_with(many)} Disagreement is 1 − mean RBO over all pairs of variants. Cells: {what}.{shown}</p>'
    )


def _query_cell(many: ManyQueries, name: str, query: str) -> str:
    scores, ranking = many.quality.get(name), many.results[name][query]
    nothing = ' <small title="no word of the query occurs in these documents">no word</small>' if not ranking else ""
    if scores is not None:
        value = scores.per_query["nDCG"].get(query)
        return (number(value, 2) if value is not None else "–") + nothing
    return esc(ranking[0].id[:60]) if ranking else nothing
