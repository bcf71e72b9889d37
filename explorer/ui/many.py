"""All queries of a corpus at once: quality with intervals, and the queries on which the variants disagree most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..corpora import Corpus
from ..corpora.library import query_id
from ..downloads import measures_csv, trec_zip
from ..errors import Cancelled, InputError
from ..policy import Policy
from . import download_buttons, html, texts
from .html import note, problem
from .parts import HIDDEN, JS, panel
from .services import Services

AUTOMATIC = 500
"""Up to this many queries are run without being asked for: it takes seconds."""


@dataclass(frozen=True)
class AskedMany:
    """What the page asks for, in the order of the inputs."""

    variants: list[str]
    corpus: str
    k: int
    reference: str | None
    kind: Any
    pasted: str | None = None
    upload: str | None = None
    same_text: bool = False


@dataclass
class Many:
    """What the Compare tab wires further: run again after a change, and open a query."""

    inputs: list[Any]
    outputs: list[Any]
    refresh: Any
    table: gr.HTML


def build_many(services: Services, shared: list[Any], same_text: gr.Checkbox) -> Many:
    """Draw the section. `shared` are the components variants, corpus, k, reference, index kind."""
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
    buttons = download_buttons.draw("many", ("Measures (CSV)", "TREC runs + qrels"))
    inputs, outputs = [*shared, pasted, upload, same_text], [status, quality, table]

    def run(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from show_many(services, AskedMany(*values), session(request))

    def refresh(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from refresh_many(services, AskedMany(*values), session(request))

    def halt(request: gr.Request) -> None:
        services.stop(session(request))

    go.click(run, inputs, outputs, concurrency_limit=4, trigger_mode="always_last", **HIDDEN)
    stop.click(halt, queue=False, **HIDDEN)
    _wire_downloads(services, buttons, inputs)
    return Many(inputs, outputs, refresh, table)


def session(request: gr.Request) -> str:
    """The key of a visitor's run of all queries, apart from that of the single query."""
    return f"{request.session_hash}-many"


def queries_of(policy: Policy, corpus: Corpus, pasted: str | None, upload: str | None) -> Mapping[str, str]:
    """The queries to run: uploaded, else pasted, else the corpus's own. Texts that the corpus judges keep its ids."""
    from ..corpora.judgments import read_queries

    if upload:
        policy.check_file(Path(upload))
        given: Mapping[str, str] = read_queries(Path(upload))
    elif pasted and pasted.strip():
        given = read_queries(pasted)
    else:
        return corpus.queries
    return {query_id(corpus, text): text for text in given.values()}


def refresh_many(services: Services, asked: AskedMany, session: str) -> Iterator[tuple[Any, ...]]:
    """As `show_many`, but only where it takes seconds; elsewhere the tables are emptied and the button is named."""
    try:
        count = len(services.library.open(asked.corpus).queries)
    except InputError:
        count = 0
    if 0 < count <= AUTOMATIC:
        yield from show_many(services, asked, session)
    else:
        yield note(f"Press “Run all queries” to run {count:,} queries." if count else texts.NO_QUERIES), "", ""


def show_many(services: Services, asked: AskedMany, session: str) -> Iterator[tuple[Any, ...]]:
    """Updates of (status, quality table, queries table)."""
    cancel = services.begin(session)
    try:
        corpus = services.library.open(asked.corpus)
        queries = queries_of(services.policy, corpus, asked.pasted, asked.upload)
        if not queries:
            yield note(texts.NO_QUERIES), "", ""
            return
        following = services.follow_many(
            corpus, queries, asked.variants, int(asked.k), asked.kind, cancel, bool(asked.same_text)
        )
        for message, many in following:
            if many is None:
                yield note(message, "busy"), gr.skip(), gr.skip()
            else:
                yield "", html.quality_table(many, asked.reference or ""), html.queries_table(many)
    except (InputError, Cancelled) as error:
        yield problem(error), gr.skip(), gr.skip()


def opened_query(data: Mapping[str, Any]) -> Any:
    """The query of a clicked row; what comes from the page is checked."""
    text = data.get("query")
    return text[:2000] if isinstance(text, str) else gr.skip()


def _wire_downloads(services: Services, buttons: download_buttons.Downloads, inputs: list[Any]) -> None:
    def many(*values: Any):
        asked = AskedMany(*values)
        corpus = services.library.open(asked.corpus)
        queries = queries_of(services.policy, corpus, asked.pasted, asked.upload)
        return services.comparer.compare_many(
            corpus, queries, asked.variants, int(asked.k), asked.kind, same_text=bool(asked.same_text)
        )

    def as_csv(*values: Any) -> str:
        return download_buttons.file("measures.csv", measures_csv(many(*values)))

    def as_trec(*values: Any) -> str:
        found = many(*values)
        judged = {query: found.corpus.judged(query) for query in found.corpus.qrels if query in found.queries}
        return download_buttons.file("trec.zip", trec_zip(found, judged))

    download_buttons.wire(buttons, (as_csv, as_trec), inputs)
