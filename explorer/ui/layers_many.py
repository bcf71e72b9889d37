"""Layers over many texts: how weights are spread over a corpus, and how labels, queries or variants differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from ..corpora import Corpus
from ..errors import Cancelled, InputError
from ..figures import layers as figures
from ..layers.lab import StageProgress
from ..layers.samples import WeightSample, contrast
from ..store import Cancel
from ..styles import label, style
from . import html_layers, texts
from .html import note, problem
from .layers_test import for_visitor, made
from .parts import HIDDEN, panel
from .services import Services
from .sidebar import Sidebar

ALL, QUERIES = "all documents", "queries"
LABEL = "label: "


def build_many_texts(
    services: Services, sidebar: Sidebar, variant: gr.Dropdown, versus: gr.Dropdown, opened: Any
) -> None:
    """Draw the section and wire it; `versus` is the variant to subtract, of the same group of texts."""
    panel(f"<h3>{texts.MANY_TEXTS}</h3><p class='help'>{texts.MANY_TEXTS_HELP}</p>")
    with gr.Row(elem_classes="beside"):
        first = gr.Dropdown([ALL], value=ALL, label="Group A", elem_id="group-a")
        second = gr.Dropdown([QUERIES, ALL], value=QUERIES, label="Group B", elem_id="group-b")
        go = gr.Button("Read them", variant="primary", scale=0, min_width=120, elem_id="read-many")
    panel(html_layers.CAUTION)
    status = panel(elem_id="many-texts-status")
    with gr.Row():
        spread = gr.Plot(show_label=False, elem_id="spread", visible=False, min_width=320)
        differing = gr.Plot(show_label=False, elem_id="contrast", visible=False, min_width=320)

    def groups(corpus: str) -> list[Any]:
        return group_choices(services, corpus)

    for changed in (opened, sidebar.corpus.input, *(done.then for done in sidebar.corpus_set)):
        changed(groups, sidebar.corpus, [first, second], **HIDDEN)
    go.click(
        for_visitor(services, show_many_texts),
        [variant, versus, sidebar.corpus, first, second],
        [status, spread, differing],
        concurrency_limit=2,
        **HIDDEN,
    )


def group_choices(services: Services, corpus_name: str) -> list[Any]:
    """Updates of both groups for a corpus: all documents, queries, and each label."""
    try:
        corpus = services.library.open(corpus_name)
    except InputError:
        return [gr.skip(), gr.skip()]
    names = [ALL, *([QUERIES] if corpus.queries else []), *(f"{LABEL}{name}" for name in corpus.labels)]
    return [gr.Dropdown(choices=names, value=ALL), gr.Dropdown(choices=names, value=names[min(1, len(names) - 1)])]


def show_many_texts(
    services: Services, session: str, variant: str, versus: str, corpus_name: str, first: str, second: str
) -> Iterator[list[Any]]:
    """Updates of (status, spread, difference). With a variant to subtract: group A with both variants."""
    try:
        corpus = services.library.open(corpus_name)
        two_variants = versus not in ("", "none", None)

        def work(progress: StageProgress, cancel: Cancel) -> tuple[WeightSample, WeightSample]:
            if two_variants:
                found = [sample(services, v, corpus, first, progress, cancel) for v in (variant, versus)]
                return replace(found[0], name=label(variant)), replace(found[1], name=label(versus))
            return (
                sample(services, variant, corpus, first, progress, cancel),
                sample(services, variant, corpus, second, progress, cancel),
            )

        for message, pair in services.watch(session, work):
            if pair is None:
                yield [note(message, "busy"), gr.skip(), gr.skip()]
                continue
            a, b = pair
            settings = made("" if two_variants else variant, corpus_name)
            what = f"Weights of {first}" if two_variants else f"Weights of {label(variant)}"
            differing = gr.Plot(visible=False)
            if two_variants or first != second:
                title = f"{a.name} minus {b.name}, 95 % intervals"
                differing = gr.Plot(value=figures.contrast_bars(contrast(a, b), title, settings), visible=True)
            shown = [a] if not two_variants and first == second else [a, b]
            colours = [style(v).colour for v in (variant, versus if two_variants else variant)]
            yield [
                note(a.sentence),
                gr.Plot(value=figures.weight_boxes(shown, what, settings, colours), visible=True),
                differing,
            ]
    except (InputError, Cancelled) as error:
        yield [problem(error), gr.skip(), gr.skip()]


def sample(
    services: Services, variant: str, corpus: Corpus, group: str, progress: StageProgress, cancel: Cancel
) -> WeightSample:
    """The weights of one group of texts."""
    if group == QUERIES:
        return services.lab.queries(variant, corpus)
    chosen = group.removeprefix(LABEL) if group.startswith(LABEL) else None
    return services.lab.documents(variant, corpus, chosen, progress, cancel)
