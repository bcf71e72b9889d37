"""The Compare tab: which design finds it? One query side by side; below it all queries (many.py)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from ..comparison import Comparison
from ..corpora.library import query_id
from ..designs import SMOLLM2
from ..downloads import ranking_csv, snippet, trec_zip
from ..errors import Cancelled, InputError
from ..retrieval import APPROXIMATE_FROM
from ..store import Cancel
from . import download_buttons, html, texts
from .html import ViewOptions, note, problem
from .many import Many, build_many, opened_query
from .parts import HIDDEN, JS, panel, toast
from .services import DEFAULT_CORPUS, MAX_ACTIVE, Services, readable
from .sidebar import Sidebar, corpus_line, machine_line, named

KINDS = [("exact", "exact"), ("HNSW graph (approximate)", "hnsw"), ("IVF-PQ (approximate, compressed)", "ivfpq")]
MANY_DOCUMENTS = 1000
"""A language model takes minutes for so many, on a processor."""
BLIND_SALT = random.SystemRandom().random()

KEEP_ADDRESS = """(query, variants, corpus, k) => {
  const state = new URLSearchParams({ corpus, query, variants: (variants || []).join(','), k });
  history.replaceState(null, '', '?' + state.toString() + location.hash);
}"""
SHOW_QUERY = "() => document.getElementById('query').scrollIntoView({ block: 'center' })"


@dataclass(frozen=True)
class Asked:
    """What the page asks for, in the order of the inputs."""

    query: str
    variants: list[str]
    corpus: str
    k: int
    reference: str | None = None
    only_disagreements: bool = False
    blind: bool = False
    kind: Any = "exact"
    same_text: bool = False


@dataclass
class Compare:
    """What the page's loading needs."""

    query: gr.Textbox
    k: gr.Slider
    examples: list[gr.Button]
    search: dict[str, Any]
    """Arguments of an event that searches."""
    many: Many
    results: gr.HTML
    """The columns; `select` is the event of asking why a hit is here."""


def build_compare(services: Services, sidebar: Sidebar) -> Compare:
    """Draw the tab and wire it."""
    panel(f"<h2>{texts.COMPARE}</h2><p class='help'>{texts.COMPARE_HELP}</p>")
    with gr.Row(equal_height=True):
        query = gr.Textbox(
            texts.FIRST_QUERY[DEFAULT_CORPUS], label="Query", show_label=False, scale=6, elem_id="query", max_lines=4,
            placeholder="what are you looking for?", autofocus=True,
        )  # fmt: skip
        go = gr.Button("Search", variant="primary", scale=1, min_width=110, elem_id="search")
        stop = gr.Button("Stop", scale=0, min_width=70, elem_id="stop")
    with gr.Row(elem_id="examples"):
        examples = [gr.Button(text, size="sm", min_width=0) for text in texts.EXAMPLES[DEFAULT_CORPUS]]
    k, reference, kind, only, blind, same = _options(services)
    status = panel(elem_id="status")
    results = panel(elem_id="results", js_on_load=JS, min_height=420)
    matrix, figure, buttons, code = _below()

    asked = [query, sidebar.variants, sidebar.corpus, k, reference, only, blind, kind, same]
    outputs = [status, results, matrix, figure, code, sidebar.machine]

    def run(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from show_search(services, Asked(*values), str(request.session_hash))

    search: dict[str, Any] = {"fn": run, "inputs": asked, "outputs": outputs, "concurrency_limit": 8, **HIDDEN}
    keep: dict[str, Any] = {"fn": None, "inputs": [query, sidebar.variants, sidebar.corpus, k], "js": KEEP_ADDRESS}
    many = build_many(services, [sidebar.variants, sidebar.corpus, k, reference, kind], same)

    triggers = [go.click, query.submit, k.release, reference.input, only.input, blind.input, kind.input, same.input]
    gr.on(triggers, **search, trigger_mode="always_last").then(**keep)
    for button in examples:
        button.click(lambda text: text, button, query, **HIDDEN).then(**search).then(**keep)
    many.table.click(_clicked_query, None, query, **HIDDEN).then(**search).then(**keep).then(fn=None, js=SHOW_QUERY)
    _wire_changes(services, sidebar, [*examples, query], reference, search, keep, many)
    _wire_clicks(services, sidebar, query, results, stop, search)
    _wire_downloads(services, buttons, asked)
    return Compare(query, k, examples, search, many, results)


def _options(services: Services) -> tuple[gr.Slider, gr.Dropdown, gr.Dropdown, gr.Checkbox, gr.Checkbox, gr.Checkbox]:
    active = services.default_variants()
    with gr.Accordion("Options", open=False, elem_id="options"):
        with gr.Row():
            k = gr.Slider(1, services.policy.limits.k, value=10, step=1, label="Results a column (k)", elem_id="k")
            reference = gr.Dropdown(
                named(active), value=active[0], elem_id="reference", label="Reference",
                info="rank shifts and differences are against it",
            )  # fmt: skip
            kind = gr.Dropdown(
                KINDS, value="exact", label="Index", elem_id="index",
                info=f"approximate ones for more than {APPROXIMATE_FROM:,} documents",
            )  # fmt: skip
        with gr.Row():
            only = gr.Checkbox(label="Show only disagreements", elem_id="only")
            blind = gr.Checkbox(label="Blind: hide the names until I untick this", elem_id="blind")
            same = gr.Checkbox(label=texts.SAME_TEXT, info=texts.SAME_TEXT_INFO, elem_id="same-text")
    return k, reference, kind, only, blind, same


def _below() -> tuple[gr.HTML, gr.Plot, download_buttons.Downloads, gr.Code]:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            panel("<h3>How much do they agree?</h3>")
            matrix = panel(elem_id="agreement")
        with gr.Column(scale=3, min_width=320):
            figure = gr.Plot(show_label=False, elem_id="bump")
    buttons = download_buttons.draw("view", ("Table (CSV)", "TREC run + qrels", "Figure (HTML)"))
    with gr.Accordion("Copy as code", open=False):
        code = gr.Code(
            language="python", show_label=False, elem_id="code", interactive=False, wrap_lines=True, buttons=["copy"]
        )
    return matrix, figure, buttons, code


def _wire_changes(
    services: Services, sidebar: Sidebar, example_row: list[Any], reference: gr.Dropdown, search: dict[str, Any],
    keep: dict[str, Any], many: Many,
) -> None:  # fmt: skip
    """Another corpus or other variants: search again, then run all queries again, so that nothing old stands there."""

    def examples(corpus: str) -> list[Any]:
        return example_updates(services, corpus)

    def references(active: list[str], current: str | None):
        active = active or []
        return gr.Dropdown(
            choices=named(active), value=current if current in active else (active[0] if active else None)
        )

    show = {"fn": examples, "inputs": sidebar.corpus, "outputs": example_row, **HIDDEN}
    corpus_changed = [sidebar.corpus.input(**show), *(done.then(**show) for done in sidebar.corpus_set)]
    for changed in [
        *corpus_changed,
        sidebar.variants.input(references, [sidebar.variants, reference], reference, **HIDDEN),
    ]:
        searched = changed.then(**search)
        searched.then(**keep)
        searched.then(many.refresh, many.inputs, many.outputs, concurrency_limit=4, **HIDDEN)


def _wire_clicks(
    services: Services, sidebar: Sidebar, query: gr.Textbox, results: gr.HTML, stop: gr.Button, search: dict[str, Any]
) -> None:
    def halt(request: gr.Request) -> None:
        services.stop(str(request.session_hash))

    def judge(query: str, corpus: str, event: gr.EventData) -> str:
        try:
            return judged(services, query, corpus, event._data)
        except InputError as error:
            raise toast(error) from error

    stop.click(halt, queue=False, **HIDDEN)
    results.click(judge, [query, sidebar.corpus], sidebar.corpus_note, **HIDDEN).success(**search)


def _clicked_query(event: gr.EventData) -> Any:
    return opened_query(event._data)


def example_updates(services: Services, corpus: str) -> list[Any]:
    """Three example queries of a corpus, and the first of them as the query; own corpora bring their own."""
    shown = list(texts.EXAMPLES.get(corpus, ()))
    if not shown:
        try:
            shown = list(services.library.open(corpus).queries.values())[:3]
        except InputError:
            shown = []
    buttons = [gr.Button(value=text, visible=True) for text in shown] + [gr.Button(visible=False)] * (3 - len(shown))
    return [*buttons, gr.Textbox(value=shown[0]) if shown else gr.skip()]


def show_search(services: Services, asked: Asked, session: str) -> Iterator[tuple[Any, ...]]:
    """Updates of (status, columns, agreement, figure, code, machine) while a search runs and when it is done.

    A search that is still encoding when the next one begins shows nothing any more.
    """
    cancel = services.begin(session)
    for updates in _searched(services, asked, cancel):
        if not services.is_current(session, cancel):
            return
        yield updates


def _searched(services: Services, asked: Asked, cancel: Cancel) -> Iterator[tuple[Any, ...]]:
    from ..figures.compare import bump_chart

    skip = gr.skip()
    try:
        if not services.library.is_open(asked.corpus):
            yield (note("Reading the documents …", "busy"), *[skip] * 5)
        corpus = services.library.open(asked.corpus)
        order = services.comparer.names(asked.variants or [], int(asked.k))
        if len(order) > MAX_ACTIVE:
            raise InputError(f"{len(order)} variants do not fit side by side; untick some, {MAX_ACTIVE} are the most")
        following = services.follow(
            corpus, asked.query or "", order, int(asked.k), asked.kind, cancel, bool(asked.same_text)
        )
        for view, pending in following:
            options = replace(view_options(view, order, asked), explained=readable(services))
            columns = html.columns(view, pending, options)
            yield (note(slow_note(services, list(pending), len(corpus))), columns, *[skip] * 4)
        if not view.results:
            return
        shown = in_order(view, options.order)
        yield (
            note(recall_note(services, shown, asked.kind)),
            columns,  # again: of updates that reach the browser together the last one counts, and a skip would lose it
            html.agreement(shown.agreement, options.blind),
            bump_chart(shown, dict(options.blind)),
            snippet(asked.corpus, view.query, list(view.results), view.k),
            machine_line(services),
        )
    except (InputError, Cancelled) as error:
        yield (problem(error), *[skip] * 5)


def view_options(view: Comparison, order: list[str], asked: Asked) -> ViewOptions:
    """How to show a view: judgments and measures of its query, and letters instead of names when blind."""
    id = query_id(view.corpus, view.query)
    blind = letters(order, view.query) if asked.blind else {}
    return ViewOptions(
        order=sorted(order, key=blind.__getitem__) if blind else order,
        reference=asked.reference if asked.reference in order else order[0],
        only_disagreements=asked.only_disagreements,
        blind=blind,
        judged=view.corpus.qrels.get(id, {}),
        quality=view.quality(id),
    )


def letters(names: Sequence[str], query: str) -> dict[str, str]:
    """A letter for each variant, shuffled anew for every query, so that nobody learns who is who."""
    shuffled = list(names)
    random.Random(f"{BLIND_SALT}{query}").shuffle(shuffled)
    return {name: chr(ord("A") + i) for i, name in enumerate(shuffled)}


def in_order(view: Comparison, order: Sequence[str]) -> Comparison:
    """The view with its columns in that order."""
    return replace(view, results={name: view.results[name] for name in order if name in view.results})


def recall_note(services: Services, view: Comparison, kind: Any) -> str:
    """What an approximate index misses on this corpus, measured; nothing for exact search."""
    if kind == "exact":
        return ""
    measured = {name: services.comparer.recall(name, view.corpus, kind) for name in view.results}
    said = ", ".join(f"{html.label(name)} {value:.3f}" for name, value in measured.items() if value is not None)
    return f"Approximate index; recall@10 against exact search, 100 documents as queries: {said}." if said else ""


def slow_note(services: Services, pending: Sequence[str], documents: int) -> str:
    """Where to go with many documents, while a language model encodes them; else nothing."""
    if documents < MANY_DOCUMENTS or not any(services.shelf.find(name).backbone == SMOLLM2 for name in pending):
        return ""
    return texts.SLOW


def judged(services: Services, query: str, corpus_name: str, data: Mapping[str, Any]) -> str:
    """Keep a judgment that was clicked; the new line on the corpus. What comes from the page is checked."""
    document, grade = data.get("document"), data.get("grade")
    if not isinstance(document, str) or grade not in (0, 1, None):
        raise InputError("that click held no judgment")
    if not query.strip():
        raise InputError("type a query first: a judgment belongs to one")
    return corpus_line(services.library.judge(corpus_name, query, document, grade))


def _wire_downloads(services: Services, buttons: download_buttons.Downloads, inputs: list[Any]) -> None:
    """CSV, TREC zip and figure of the one query, with the names shown even when the page is blind."""
    from ..figures.compare import bump_chart

    def view(*values: Any) -> Comparison:
        asked = Asked(*values)
        corpus = services.library.open(asked.corpus)
        return services.comparer.compare(
            corpus, asked.query, asked.variants or [], int(asked.k), asked.kind, same_text=bool(asked.same_text)
        )

    def as_csv(*values: Any) -> str:
        return download_buttons.file("ranking.csv", ranking_csv(view(*values)))

    def as_trec(*values: Any) -> str:
        found = view(*values)
        grades = found.corpus.judged(query_id(found.corpus, found.query))
        return download_buttons.file("trec.zip", trec_zip(found, {"typed": grades}))

    def as_figure(*values: Any) -> str:
        return download_buttons.file("ranks.html", bump_chart(view(*values)).to_html(include_plotlyjs=True))

    download_buttons.wire(buttons, (as_csv, as_trec, as_figure), inputs)
