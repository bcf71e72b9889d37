"""Layers, second half: does it matter? Layers switched off, one document explained, every layer's worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from ..corpora import Corpus
from ..errors import Cancelled, InputError
from ..figures import ablation as figures
from ..figures.base import plain
from ..layers.ablation import check_switchable
from ..layers.lab import StageProgress
from ..layers.next_token import NextToken
from ..layers.probe import Probe
from ..store import Cancel
from ..styles import label
from . import html_layers, texts
from .html import note, problem
from .parts import HIDDEN, panel
from .services import Services, readable
from .sidebar import Sidebar


def build_test(
    services: Services, sidebar: Sidebar, variant: gr.Dropdown, query: gr.Textbox
) -> tuple[gr.Textbox, dict[str, Any]]:
    """Draw the sections and wire them. Returns the box of the document in question, and the event that explains it."""
    panel(f"<h2 id='layers-test'>{texts.TEST}</h2><p class='help'>{texts.TEST_HELP}</p>")
    with gr.Row(elem_classes="beside"):
        switches = gr.CheckboxGroup([], label="Layers that are on", elem_id="switches")
        stop = gr.Button("Stop", scale=0, min_width=70, elem_id="layers-stop")
    status, ranking = panel(elem_id="switch-status"), panel(note(texts.SWITCH), elem_id="switched")
    panel(f"<h3>{texts.WHY}</h3><p class='help'>{texts.WHY_HELP}</p>")
    with gr.Row(elem_classes="beside"):
        document = gr.Textbox(label="Document (its id)", elem_id="why-document", placeholder="shutil.rmtree")
        why = gr.Button("Why here?", scale=0, min_width=120, elem_id="why")
    why_status = panel(elem_id="why-status")
    why_figure = gr.Plot(show_label=False, elem_id="why-figure", visible=False)
    panel(f"<h3>{texts.WORTH}</h3><p class='help'>{texts.WORTH_HELP}</p>")
    with gr.Row():
        ablate = gr.Button(
            "Every layer removed, and alone", variant="primary", scale=0, min_width=300, elem_id="ablate"
        )
        probe = gr.Button("Every layer’s own vector, active variants", scale=0, min_width=360, elem_id="probe")
    worth_status = panel(elem_id="worth-status")
    ablation_figure = gr.Plot(show_label=False, elem_id="ablation-figure", visible=False)
    told = panel(elem_id="ablation-told")
    probe_figure = gr.Plot(show_label=False, elem_id="probe-figure", visible=False)

    def choices(chosen: str | None) -> Any:
        return switch_choices(services, chosen)

    def halt(request: gr.Request) -> None:
        services.stop(session(request))

    variant.change(choices, variant, switches, **HIDDEN)
    switches.input(
        for_visitor(services, show_switched), [variant, sidebar.corpus, query, switches], [status, ranking],
        trigger_mode="always_last",
        concurrency_limit=4, **HIDDEN,
    )  # fmt: skip
    explain: dict[str, Any] = {
        "fn": for_visitor(services, show_why), "inputs": [variant, sidebar.corpus, query, document],
        "outputs": [why_status, why_figure],
        "concurrency_limit": 4, **HIDDEN,
    }  # fmt: skip
    gr.on([why.click, document.submit], **explain)
    ablate.click(
        for_visitor(services, show_ablation),
        [variant, sidebar.corpus],
        [worth_status, ablation_figure, told],
        concurrency_limit=2,
        **HIDDEN,
    )
    probe.click(
        for_visitor(services, show_probe),
        [sidebar.variants, sidebar.corpus],
        [worth_status, probe_figure],
        concurrency_limit=2,
        **HIDDEN,
    )
    stop.click(halt, queue=False, **HIDDEN)
    return document, explain


def session(request: gr.Request) -> str:
    """The key of a visitor's work in this tab, apart from that in Compare."""
    return f"{request.session_hash}-layers"


def for_visitor(services: Services, show: Callable[..., Iterator[list[Any]]]) -> Callable[..., Iterator[list[Any]]]:
    """A handler that gives `show` the services and the visitor's key before what the page sends."""

    def run(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        yield from show(services, session(request), *values)

    return run


def switch_choices(services: Services, variant: str | None) -> Any:
    """The switches of a variant: one a layer for a multi-layer pooler; for others a sentence instead."""
    try:
        encoder = services.lab.encoder(variant or "")
        check_switchable(encoder)
    except InputError as error:
        return gr.CheckboxGroup(choices=[], value=[], label="Layers that are on", info=f"{error}.")
    layers = [str(i) for i in range(1, encoder.backbone.layers + 1)]
    return gr.CheckboxGroup(
        choices=layers, value=layers, label="Layers that are on", info="untick one to switch it off"
    )


def show_switched(
    services: Services, session: str, variant: str, corpus_name: str, query: str, on: Sequence[str]
) -> Iterator[list[Any]]:
    """Updates of (status, rankings) when layers are switched."""
    try:
        corpus = services.library.open(corpus_name)
        layers = services.lab.encoder(variant).backbone.layers
        off = [i for i in range(1, layers + 1) if str(i) not in on]

        def work(progress: StageProgress, cancel: Cancel):
            return services.lab.rerank(variant, corpus, query, off, progress, cancel)

        for message, found in services.watch(session, work):
            if found is None:
                yield [note(message, "busy"), gr.skip()]
            else:
                yield ["", html_layers.reranking(found, corpus)]
    except (InputError, Cancelled) as error:
        yield [problem(error), gr.skip()]


def show_why(
    services: Services, session: str, variant: str, corpus_name: str, query: str, document: str
) -> Iterator[list[Any]]:
    """Updates of (status, figure): one document's score and rank without each layer."""
    try:
        corpus = services.library.open(corpus_name)
        if not (document or "").strip():
            raise InputError("name a document first: its id stands in Compare when a hit is opened")

        def work(progress: StageProgress, cancel: Cancel):
            return services.lab.why_here(variant, corpus, query, document.strip(), progress, cancel)

        for message, found in services.watch(session, work):
            if found is None:
                yield [note(message, "busy"), gr.skip()]
                continue
            said = (
                f"“{found.document}” stands at rank {found.rank} of {found.candidates} with score {found.score:.3f} for "
                f"“{found.query[:120]}”."
            )
            figure = figures.why_here_bars(found, f"Without each layer: {found.document}", made(variant, corpus_name))
            yield [note(said), gr.Plot(value=figure, visible=True)]
    except (InputError, Cancelled) as error:
        yield [problem(error), gr.Plot(visible=False)]


def show_ablation(services: Services, session: str, variant: str, corpus_name: str) -> Iterator[list[Any]]:
    """Updates of (status, figure, sentences and table): every layer removed, and alone."""
    try:
        corpus = services.library.open(corpus_name)

        def work(progress: StageProgress, cancel: Cancel):
            return services.lab.ablate(variant, corpus, 10, progress, cancel)

        for message, found in services.watch(session, work):
            if found is None:
                yield [note(message, "busy"), gr.skip(), gr.skip()]
                continue
            figure = figures.ablation_bars(found, "What each layer is worth", made(variant, corpus_name))
            yield ["", gr.Plot(value=figure, visible=True), html_layers.predicts(found)]
    except (InputError, Cancelled) as error:
        yield [problem(error), gr.skip(), gr.skip()]


def show_probe(services: Services, session: str, variants: Sequence[str], corpus_name: str) -> Iterator[list[Any]]:
    """Updates of (status, figure): nDCG@10 of every layer's own vector, for each active variant that has layers.

    A layer that is read by a mean has two curves: without the first token and special ones, and of all tokens.
    """
    try:
        corpus = services.library.open(corpus_name)
        names = [v for v in variants or [] if v in readable(services)]
        if not names:
            raise InputError("choose at least one variant of a backbone in the sidebar")
        probes: list[Probe] = []
        guessed: list[NextToken] = []

        def drawn() -> Any:
            figure = figures.probe_curves(probes, "Every layer’s own vector", made("", corpus_name), guessed)
            return gr.Plot(value=figure, visible=True)

        for name in names:

            def work(progress: StageProgress, cancel: Cancel, name: str = name) -> list[Probe]:
                return probes_of(services, name, corpus, progress, cancel)

            for message, found in services.watch(session, work):
                if found is None:
                    yield [note(f"{label(name)}: {message}", "busy"), gr.skip()]
                else:
                    probes += found
            yield ["", drawn()]
            if services.lab.has_next_token(name):

                def guess(progress: StageProgress, cancel: Cancel, name: str = name) -> NextToken:
                    return services.lab.next_token(name, corpus, progress, cancel)

                for message, tokens in services.watch(session, guess):
                    if tokens is None:
                        yield [note(f"{label(name)}: {message}", "busy"), gr.skip()]
                    else:
                        guessed.append(tokens)
                yield ["", drawn()]
    except (InputError, Cancelled) as error:
        yield [problem(error), gr.skip()]


def probes_of(services: Services, variant: str, corpus: Corpus, progress: StageProgress, cancel: Cancel) -> list[Probe]:
    """The probe of a variant and, where it reads means of fewer tokens, the same of all: the difference is the sink."""
    first = services.lab.probe(variant, corpus, progress=progress, cancel=cancel)
    if first.tokens in (None, "all"):
        return [first]
    return [first, services.lab.probe(variant, corpus, progress=progress, cancel=cancel, tokens="all")]


def made(variant: str, corpus: str) -> str:
    """The settings that made a figure."""
    return " · ".join(plain(part) for part in (label(variant) if variant else "", f"corpus {corpus}") if part)
