"""The Compare tab: which design finds it? One query side by side, then all queries with measures."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from ..comparison import MAX_K, Comparison
from ..corpora import Corpus
from ..corpora.library import query_id
from ..downloads import measures_csv, ranking_csv, snippet, trec_zip
from ..errors import Cancelled, InputError
from ..retrieval import APPROXIMATE_FROM
from . import html, texts
from .html import ViewOptions, note
from .parts import panel
from .services import Services
from .sidebar import MAX_ACTIVE, Sidebar, machine_line

JS = (Path(__file__).parent / "compare.js").read_text(encoding="utf-8")
KINDS = [("exact", "exact"), ("HNSW graph (approximate)", "hnsw"), ("IVF-PQ (approximate, compressed)", "ivfpq")]
BLIND_SALT = random.SystemRandom().random()

KEEP_ADDRESS = """(query, variants, corpus, k) => {
  const state = new URLSearchParams({ corpus, query, variants: (variants || []).join(','), k });
  history.replaceState(null, '', '?' + state.toString() + location.hash);
}"""


@dataclass
class Compare:
    """Components that the page's loading and other tabs need."""

    query: gr.Textbox
    k: gr.Slider
    search_inputs: list[Any]
    search_outputs: list[Any]
    search: Any
    many_inputs: list[Any]
    many_outputs: list[Any]
    run_many: Any


def view_options(view: Comparison, order: list[str], reference: str | None, only: bool, blind: bool) -> ViewOptions:
    """How to show a view: judgments and measures of its query, and letters instead of names when blind."""
    id = query_id(view.corpus, view.query)
    blinded = letters(order, view.query) if blind else {}
    return ViewOptions(
        order=sorted(order, key=lambda name: blinded[name]) if blind else order,
        reference=reference if reference in order else order[0],
        only_disagreements=only,
        blind=blinded,
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


def build_compare(services: Services, sidebar: Sidebar) -> Compare:
    """Draw the tab and wire it."""
    panel(f"<h2>{texts.COMPARE}</h2><p class='help'>{texts.COMPARE_HELP}</p>")
    with gr.Row(equal_height=True):
        query = gr.Textbox(
            texts.FIRST_QUERY["python-stdlib"], label="Query", show_label=False, scale=6, elem_id="query", max_lines=4,
            placeholder="what are you looking for?", autofocus=True,
        )  # fmt: skip
        go = gr.Button("Search", variant="primary", scale=1, min_width=110, elem_id="search")
        stop = gr.Button("Stop", scale=0, min_width=70, elem_id="stop")
    with gr.Row(elem_id="examples"):
        examples = [gr.Button(text, size="sm", min_width=0) for text in texts.EXAMPLES["python-stdlib"]]
    with gr.Accordion("Options", open=False, elem_id="options"):
        with gr.Row():
            k = gr.Slider(1, MAX_K, value=10, step=1, label="Results a column (k)", elem_id="k")
            reference = gr.Dropdown(
                services.default_variants(), value=services.default_variants()[0], elem_id="reference",
                label="Reference", info="rank shifts and differences are against it",
            )  # fmt: skip
            kind = gr.Dropdown(
                KINDS, value="exact", label="Index", elem_id="index",
                info=f"approximate ones for more than {APPROXIMATE_FROM:,} documents",
            )  # fmt: skip
        with gr.Row():
            only = gr.Checkbox(label="Show only disagreements", elem_id="only")
            blind = gr.Checkbox(label="Blind: hide the names until I untick this", elem_id="blind")
    status = panel(elem_id="status")
    results = panel(elem_id="results", js_on_load=JS, min_height=420)
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            panel("<h3>How much do they agree?</h3>")
            matrix = panel(elem_id="agreement")
        with gr.Column(scale=3, min_width=320):
            figure = gr.Plot(show_label=False, elem_id="bump")
    downloads = _downloads("view", ("Table (CSV)", "TREC run + qrels", "Figure (HTML)"))
    with gr.Accordion("Copy as code", open=False):
        code = gr.Code(language="python", show_label=False, elem_id="code", interactive=False)

    inputs = [query, sidebar.variants, sidebar.corpus, k, reference, only, blind, kind]
    outputs = [status, results, matrix, figure, code, sidebar.machine]

    def search(query, variants, corpus, k, reference, only, blind, kind, request: gr.Request):
        yield from show_search(
            services,
            str(query or ""),
            variants or [],
            corpus,
            int(k),
            reference,
            only,
            blind,
            kind,
            request.session_hash,
        )

    keep = {"fn": None, "inputs": [query, sidebar.variants, sidebar.corpus, k], "js": KEEP_ADDRESS}
    triggers = [go.click, query.submit, k.release, reference.input, only.input, blind.input, kind.input]
    run = {"fn": search, "inputs": inputs, "outputs": outputs, "api_visibility": "private", "show_progress": "hidden"}
    gr.on(triggers, **run, concurrency_limit=8, trigger_mode="always_last").then(**keep)  # type: ignore[arg-type]

    def example_texts(corpus: str) -> list[Any]:
        return example_updates(services, corpus)

    for button in examples:
        button.click(lambda text: text, button, query, api_visibility="private", show_progress="hidden").then(
            **run, concurrency_limit=8
        ).then(**keep)
    changed = sidebar.corpus.change(
        example_texts, sidebar.corpus, [*examples, query], api_visibility="private", show_progress="hidden"
    )
    again = [
        changed.then(**run, concurrency_limit=8),
        sidebar.variants.input(**run, concurrency_limit=8, trigger_mode="always_last"),
    ]
    for searched in again:
        searched.then(**keep)

    def references(active: list[str], current: str | None):
        active = active or []
        return gr.Dropdown(choices=active, value=current if current in active else (active[0] if active else None))

    sidebar.variants.change(
        references, [sidebar.variants, reference], reference, api_visibility="private", show_progress="hidden"
    )

    def halt(request: gr.Request) -> None:
        services.stop(str(request.session_hash))

    stop.click(halt, api_visibility="private", queue=False)

    def act(query: str, corpus: str, event: gr.EventData):
        return handle_click(services, query, corpus, event._data)

    results.click(act, [query, sidebar.corpus], [status, sidebar.corpus_note], api_visibility="private").then(
        **run, concurrency_limit=8
    )
    wire_view_downloads(services, downloads, [query, sidebar.variants, sidebar.corpus, k, kind], status)

    many = _build_many(services, sidebar, k, reference, kind, query, run, keep, again)
    return Compare(query, k, inputs, outputs, search, **many)


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


def show_search(
    services: Services, query: str, variants: list[str], corpus_name: str, k: int, reference: str | None,
    only: bool, blind: bool, kind: Any, session: str | None,
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """Updates of (status, columns, agreement, figure, code, machine) while a search runs and when it is done."""
    from ..figures import bump_chart

    skip = gr.skip()
    cancel = services.begin(str(session))
    try:
        yield (
            note("Reading the documents …", "busy") if not services.library.is_open(corpus_name) else skip,
            *[skip] * 5,
        )
        corpus = services.library.open(corpus_name)
        order = services.comparer.names(variants, k)
        if len(order) > MAX_ACTIVE:
            raise InputError(f"{len(order)} variants do not fit side by side; untick some, {MAX_ACTIVE} are the most")
        for view, pending in services.follow(corpus, query, order, k, kind, cancel):
            options = view_options(view, order, reference, only, blind)
            yield ("", html.columns(view, pending, options), *[skip] * 4)
        if not view.results:
            return
        shown = in_order(view, options.order)
        yield (
            note(recall_note(services, shown, kind)),
            skip,
            html.agreement(shown.agreement, options.blind),
            bump_chart(shown, dict(options.blind)),
            snippet(corpus_name, query, list(view.results), k),
            machine_line(services),
        )
    except (InputError, Cancelled) as error:
        yield (note(str(error)[:1].upper() + str(error)[1:] + ".", "error"), *[skip] * 5)


def recall_note(services: Services, view: Comparison, kind: str) -> str:
    """What an approximate index misses on this corpus, measured; nothing for exact search."""
    if kind == "exact":
        return ""
    parts = []
    for name in view.results:
        measured = services.comparer.recall(name, view.corpus, kind)  # type: ignore[arg-type]
        if measured is not None:
            parts.append(f"{html.label(name)} {measured:.3f}")
    return (
        f"Approximate index. Recall@10 against exact search, measured on 100 documents as queries: {', '.join(parts)}."
        if parts
        else ""
    )


def handle_click(services: Services, query: str, corpus_name: str, data: Mapping[str, Any]):
    """A click in the columns: a judgment is kept; everything that comes from the page is checked."""
    from .sidebar import corpus_line

    document, grade = data.get("document"), data.get("grade")
    if not isinstance(document, str) or grade not in (0, 1, None):
        return gr.skip(), gr.skip()
    try:
        if not query.strip():
            raise InputError("type a query first: a judgment belongs to one")
        corpus = services.library.judge(corpus_name, query, document, grade)
        return gr.skip(), corpus_line(corpus)
    except InputError as error:
        return note(str(error), "error"), gr.skip()


# ------------------------------------------------------------------------------------------------------- all queries


def _build_many(services: Services, sidebar: Sidebar, k, reference, kind, query, run, keep, again) -> dict[str, Any]:
    panel(f"<h2>{texts.MANY}</h2><p class='help'>{texts.MANY_HELP}</p>")
    with gr.Row():
        go = gr.Button("Run all queries", variant="primary", scale=0, min_width=180, elem_id="run-many")
        stop = gr.Button("Stop", scale=0, min_width=70)
    with gr.Accordion("Other queries than the corpus’s own", open=False):
        pasted = gr.Textbox(label="One query a line", lines=4, max_lines=12, elem_id="queries")
        upload = gr.File(label="or a file: TXT, CSV or queries.jsonl", height=110, elem_id="queries-file")
    status = panel(elem_id="many-status")
    quality = panel(elem_id="quality")
    table = panel(elem_id="queries-table", js_on_load=JS)
    downloads = _downloads("many", ("Measures (CSV)", "TREC runs + qrels"))
    inputs = [sidebar.variants, sidebar.corpus, k, reference, kind, pasted, upload]
    outputs = [status, quality, table]

    def run_many(variants, corpus, k, reference, kind, pasted, upload, request: gr.Request):
        yield from show_many(
            services, variants or [], corpus, int(k), reference, kind, pasted, upload, f"{request.session_hash}-many"
        )

    go.click(
        run_many, inputs, outputs, api_visibility="private", show_progress="hidden", concurrency_limit=4,
        trigger_mode="always_last",
    )  # fmt: skip

    def halt(request: gr.Request) -> None:
        services.stop(f"{request.session_hash}-many")

    stop.click(halt, api_visibility="private", queue=False)

    def open_query(event: gr.EventData):
        text = event._data.get("query")
        return text[:2000] if isinstance(text, str) else gr.skip()

    table.click(open_query, None, query, api_visibility="private", show_progress="hidden", js=None).then(
        **run, concurrency_limit=8
    ).then(**keep).then(fn=None, js="() => document.getElementById('query').scrollIntoView({block: 'center'})")

    def refresh(variants, corpus, k, reference, kind, pasted, upload, request: gr.Request):
        yield from refresh_many(
            services, variants or [], corpus, int(k), reference, kind, pasted, upload, f"{request.session_hash}-many"
        )

    for searched in again:  # other variants or another corpus: what stands below must not be of the old ones
        searched.then(
            refresh, inputs, outputs, api_visibility="private", show_progress="hidden", concurrency_limit=4,
        )  # fmt: skip
    sources = [sidebar.variants, sidebar.corpus, k, kind, pasted, upload]
    wire_many_downloads(services, downloads, sources, status)
    return {"many_inputs": inputs, "many_outputs": outputs, "run_many": refresh}


def queries_of(corpus: Corpus, pasted: str | None, upload: str | None) -> Mapping[str, str]:
    """The queries to run: uploaded, else pasted, else the corpus's own. Texts that the corpus judges keep its ids."""
    from ..corpora.judgments import read_queries

    if upload:
        given: Mapping[str, str] = read_queries(Path(upload))
    elif pasted and pasted.strip():
        given = read_queries(pasted)
    else:
        return corpus.queries
    return {query_id(corpus, text): text for text in given.values()}


AUTOMATIC = 500
"""Up to this many queries are run without being asked for: it takes seconds."""


def refresh_many(services: Services, variants: list[str], corpus_name: str, *rest: Any) -> Iterator[tuple[Any, ...]]:
    """As `show_many`, but only where it takes seconds; elsewhere the tables are emptied and the button is named."""
    try:
        count = len(services.library.open(corpus_name).queries)
    except InputError:
        count = 0
    if 0 < count <= AUTOMATIC:
        yield from show_many(services, variants, corpus_name, *rest)
    else:
        yield note(f"Press “Run all queries” to run {count:,} queries." if count else texts.NO_QUERIES), "", ""


def show_many(
    services: Services, variants: list[str], corpus_name: str, k: int, reference: str | None, kind: Any,
    pasted: str | None, upload: str | None, session: str,
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """Updates of (status, quality table, queries table)."""
    skip = gr.skip()
    cancel = services.begin(session)
    try:
        corpus = services.library.open(corpus_name)
        queries = queries_of(corpus, pasted, upload)
        if not queries:
            yield note(texts.NO_QUERIES), "", ""
            return
        for message, many in services.follow_many(corpus, queries, variants, k, kind, cancel):
            if many is None:
                yield note(message, "busy"), skip, skip
            else:
                yield "", html.quality_table(many, reference or ""), html.queries_table(many)
    except (InputError, Cancelled) as error:
        yield note(str(error), "error"), skip, skip


# --------------------------------------------------------------------------------------------------------- downloads


@dataclass
class Downloads:
    """Visible buttons, and the hidden one that hands a prepared file to the browser."""

    buttons: list[gr.Button]
    hidden: gr.DownloadButton
    press: str


def _downloads(name: str, labels: Sequence[str]) -> Downloads:
    with gr.Row(elem_id=f"downloads-{name}"):
        buttons = [
            gr.Button(f"↓ {text}", size="sm", min_width=120, scale=0, elem_id=f"download-{name}-{i}")
            for i, text in enumerate(labels)
        ]
        hidden = gr.DownloadButton(visible="hidden", elem_id=f"file-{name}")
    press = f"() => setTimeout(() => {{ const b = document.querySelector('#file-{name}'); (b.querySelector('a, button') || b).click(); }}, 300)"
    return Downloads(buttons, hidden, press)


def _file(name: str, content: str | bytes) -> str:
    path = Path(tempfile.mkdtemp(prefix="pooling-explorer-")) / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return str(path)


def _wire(downloads: Downloads, makers: Sequence[Any], inputs: list[Any], status: gr.HTML) -> None:
    """Each button makes its file from the settings on the page, then presses the hidden button."""

    def wrapped(make):
        def prepare(*values):
            try:
                return make(*values), gr.skip()
            except InputError as error:
                raise gr.Error(str(error), print_exception=False) from error

        return prepare

    for button, make in zip(downloads.buttons, makers, strict=True):
        button.click(
            wrapped(make), inputs, [downloads.hidden, status], api_visibility="private", show_progress="hidden"
        ).success(fn=None, js=downloads.press)


def wire_view_downloads(services: Services, downloads: Downloads, inputs: list[Any], status: gr.HTML) -> None:
    """CSV, TREC zip and figure of the one query."""
    from ..figures import bump_chart

    def view(query, variants, corpus, k, kind) -> Comparison:
        return services.comparer.compare(services.library.open(corpus), query, variants or [], int(k), kind)

    def as_csv(*values) -> str:
        return _file("ranking.csv", ranking_csv(view(*values)))

    def as_trec(*values) -> str:
        found = view(*values)
        id = query_id(found.corpus, found.query)
        return _file("trec.zip", trec_zip(found, {"typed": found.corpus.qrels.get(id, {})}))

    def as_figure(*values) -> str:
        return _file("ranks.html", bump_chart(view(*values)).to_html(include_plotlyjs=True))

    _wire(downloads, (as_csv, as_trec, as_figure), inputs, status)


def wire_many_downloads(services: Services, downloads: Downloads, inputs: list[Any], status: gr.HTML) -> None:
    """CSV of measures and TREC zip of all queries."""

    def many(variants, corpus, k, kind, pasted, upload):
        opened = services.library.open(corpus)
        return services.comparer.compare_many(opened, queries_of(opened, pasted, upload), variants or [], int(k), kind)

    def as_csv(*values) -> str:
        return _file("measures.csv", measures_csv(many(*values)))

    def as_trec(*values) -> str:
        found = many(*values)
        return _file("trec.zip", trec_zip(found, {q: j for q, j in found.corpus.qrels.items() if q in found.queries}))

    _wire(downloads, (as_csv, as_trec), inputs, status)
