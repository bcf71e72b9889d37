"""Doors between tabs: a lesson, a hit or a query among the worst opens the tab in which it is to be looked at."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..errors import InputError
from ..lessons.lesson import CORPUS
from .compare import KEEP_ADDRESS, SHOW_QUERY, Compare, example_updates
from .evaluate import Evaluate
from .layers import Layers
from .learn import Learn, look_at
from .parts import HIDDEN, toast
from .services import Services, readable
from .sidebar import Sidebar, named

SHOW_WHY = "() => setTimeout(() => document.getElementById('why-document').scrollIntoView({ block: 'center' }), 400)"


def search_anew(ready: Any, services: Services, sidebar: Sidebar, compare: Compare) -> Any:
    """After sidebar and query were filled in: the corpus's line and examples, the search, its address; the event of
    its end, after which all queries may run."""

    def examples(corpus: str) -> list[Any]:
        return example_updates(services, corpus)[:-1]

    ready.success(sidebar.describe, sidebar.corpus, sidebar.corpus_note, **HIDDEN)
    ready.success(examples, sidebar.corpus, compare.examples, **HIDDEN)
    searched = ready.success(**compare.search)
    searched.then(fn=None, inputs=[compare.query, sidebar.variants, sidebar.corpus, compare.k], js=KEEP_ADDRESS)
    return searched


def run_all(searched: Any, compare: Compare) -> None:
    """All queries of the corpus, after the search."""
    many = compare.many
    searched.then(many.refresh, many.inputs, many.outputs, concurrency_limit=4, **HIDDEN)


def open_tabs_from_lesson(
    services: Services, sidebar: Sidebar, compare: Compare, layers: Layers, learn: Learn, tabs: gr.Tabs
) -> None:
    """A lesson sets up the sidebar, Compare and Layers, and opens the one in which it is to be looked at."""

    def set_up(id: str) -> list[Any]:
        one, document = look_at(services, id)
        known = [v.name for v in services.shelf.variants]
        there = [name for name in one.setup.variants if name in known] or services.default_variants()
        reads = one.setup.reads if one.setup.reads in known else gr.skip()
        corpus = gr.Dropdown(choices=services.library.names, value=CORPUS)
        tab = gr.Tabs(selected=one.setup.tab)
        return [tab, there, corpus, one.setup.query, reads, one.setup.query, document]

    outputs = [tabs, sidebar.variants, sidebar.corpus, compare.query, layers.variant, layers.text, layers.other]
    searched = search_anew(learn.look.click(set_up, learn.chosen, outputs, **HIDDEN), services, sidebar, compare)
    searched.then(**layers.read)
    run_all(searched, compare)


def open_layers_from_hits(
    services: Services, sidebar: Sidebar, compare: Compare, layers: Layers, tabs: gr.Tabs
) -> None:
    """ "why here?" at a hit opens Layers with that variant, query and document, and explains."""

    def opened(query: str, corpus: str, event: gr.EventData) -> list[Any]:
        return asked_why(services, query, corpus, event._data)

    filled = compare.results.select(
        opened, [compare.query, sidebar.corpus],
        [tabs, layers.variant, layers.text, layers.other, layers.document], **HIDDEN,
    )  # fmt: skip
    filled.success(**layers.read).then(fn=None, js=SHOW_WHY).then(**layers.why)


def open_compare_from_worst(
    services: Services, sidebar: Sidebar, compare: Compare, evaluate: Evaluate, tabs: gr.Tabs
) -> None:
    """A query among the worst of an evaluation opens Compare with it, on its documents and the evaluated variants."""

    def opened(chosen: str | None, task: str | None, event: gr.EventData) -> list[Any]:
        found = evaluate.asked_query(chosen, task, event._data)
        corpus = gr.Dropdown(choices=services.library.names, value=found.corpus)
        return [gr.Tabs(selected="compare"), found.variants, corpus, found.query, gr.Timer(active=False)]

    filled = evaluate.worst.click(
        opened, evaluate.inputs, [tabs, sidebar.variants, sidebar.corpus, compare.query, evaluate.timer],
        api_visibility="private", concurrency_limit=2,
    )  # fmt: skip
    filled.success(fn=None, js=SHOW_QUERY)
    run_all(search_anew(filled, services, sidebar, compare), compare)


def asked_why(services: Services, query: str, corpus_name: str, data: Any) -> list[Any]:
    """Updates of (tab, variant, text A, text B, document) for a hit that was clicked. What the page sent is checked."""
    document, variant = data.get("document"), data.get("variant")
    try:
        if variant not in readable(services) or not isinstance(document, str):
            raise InputError("that click named no document of a variant whose layers can be read")
        corpus = services.library.open(corpus_name)
        corpus.document(document)
    except InputError as error:
        raise toast(error) from error
    text = corpus.passages[corpus.position[document]]
    chosen = gr.Dropdown(choices=named(readable(services)), value=variant)  # it may be new on the shelf
    return [gr.Tabs(selected="layers"), chosen, query, text, document]
