"""The Layers tab: what does the pooler read? A text, or a query and a document on one scale; below it, the tests.

`layers_test.py` switches layers off and asks why a document is here; `layers_many.py` reads whole corpora.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from ..corpora.library import query_id
from ..errors import InputError
from ..figures import layers as figures
from ..figures.base import plain
from ..layers.reading import NOT_EXPLANATION, Reading, Weights, difference
from ..layers.sinks import TextSinks
from ..styles import label, style
from . import download_buttons, html_layers, texts
from .html import note, problem
from .layers_many import build_many_texts
from .layers_test import build_test
from .parts import HIDDEN, panel
from .services import Services, readable
from .sidebar import Sidebar, named

KINDS = ["query", "document"]
NO_VARIANT = "none"
ALL_HEADS, ALL_GROUPS = "all heads", "all groups"


@dataclass(frozen=True)
class AskedReading:
    """What is to be read, in the order of the inputs."""

    variant: str
    versus: str
    text: str
    kind: Any
    other: str
    other_kind: Any
    head: str = ALL_HEADS
    group: str = ALL_GROUPS

    @property
    def settings(self) -> str:
        """What made the figures, in one line."""
        return f"{plain(label(self.variant))} · {self.head} · {self.group}"


@dataclass
class Layers:
    """What other tabs fill in when they open this one."""

    variant: gr.Dropdown
    text: gr.Textbox
    other: gr.Textbox
    document: gr.Textbox
    read: dict[str, Any]
    """Arguments of an event that reads the texts."""
    why: dict[str, Any]
    """Arguments of an event that tells why the document is here."""


def build_layers(services: Services, sidebar: Sidebar, query: gr.Textbox, opened: Any) -> Layers:
    """Draw the tab and wire it. `query` is that of Compare; `opened` the event of opening the tab."""
    panel(f"<h2>{texts.LAYERS}</h2><p class='help'>{texts.LAYERS_HELP}</p>")
    names = readable(services)
    with gr.Row():
        variant = gr.Dropdown(named(names), value=None, label="Variant", elem_id="layers-variant")
        versus = gr.Dropdown(
            [NO_VARIANT, *named(names)], value=NO_VARIANT, label="Minus variant (optional)", elem_id="layers-versus"
        )
    with gr.Row():
        with gr.Column(min_width=280):
            text = gr.Textbox(label="Text A", lines=2, max_lines=8, elem_id="text-a", placeholder="a text to read")
            kind = gr.Radio(KINDS, value="query", show_label=False, container=False, elem_id="kind-a")
        with gr.Column(min_width=280):
            other = gr.Textbox(label="Text B (optional)", lines=2, max_lines=8, elem_id="text-b")
            other_kind = gr.Radio(KINDS, value="document", show_label=False, container=False, elem_id="kind-b")
    with gr.Row():
        go = gr.Button("Read", variant="primary", scale=0, min_width=110, elem_id="read")
        take = gr.Button("Take Compare’s query and its first hit", scale=0, min_width=340, elem_id="take-query")
    shown, head, group = _draw_reading()
    document, test = build_test(services, sidebar, variant, query)
    build_many_texts(services, sidebar, variant, versus, opened)

    asked = [variant, versus, text, kind, other, other_kind, head, group]
    outputs = [*shown.components, head, group]

    def run(*values: Any) -> list[Any]:
        return show_reading(services, AskedReading(*values))

    read: dict[str, Any] = {"fn": run, "inputs": asked, "outputs": outputs, "concurrency_limit": 4, **HIDDEN}
    triggers = [
        go.click,
        text.submit,
        variant.input,
        versus.input,
        head.input,
        group.input,
        kind.input,
        other_kind.input,
    ]
    gr.on(triggers, **read, trigger_mode="always_last")

    def take_hit(variant: str, corpus: str, query: str) -> list[Any]:
        return first_hit(services, variant, corpus, query)

    def begin(chosen: str, minus: str, variants: list[str], text: str, query: str) -> list[Any]:
        return [*variant_choices(services, chosen, minus, variants or []), text or query]

    take.click(take_hit, [variant, sidebar.corpus, query], [text, other], concurrency_limit=2, **HIDDEN).then(**read)
    opened(begin, [variant, versus, sidebar.variants, text, query], [variant, versus, text], **HIDDEN).then(**read)
    _wire_downloads(services, shown.buttons, asked)
    return Layers(variant, text, other, document, read, test)


@dataclass
class _Shown:
    """Components that show a reading, in the order of `show_reading`."""

    components: list[Any]
    buttons: download_buttons.Downloads


def _draw_reading() -> tuple[_Shown, gr.Dropdown, gr.Dropdown]:
    said = panel(elem_id="layers-said")
    panel(html_layers.CAUTION)
    with gr.Row():
        words = []
        for side in "ab":
            with gr.Column(min_width=300):
                words.append(panel(elem_id=f"words-{side}"))
    with gr.Row():
        head = gr.Dropdown([ALL_HEADS], value=ALL_HEADS, label="Head", elem_id="head")
        group = gr.Dropdown([ALL_GROUPS], value=ALL_GROUPS, label="Latents", elem_id="group")
    bars = gr.Plot(show_label=False, elem_id="weights")
    with gr.Row():
        heads = [gr.Plot(show_label=False, elem_id=f"heads-{side}", min_width=320) for side in "ab"]
    with gr.Row():
        latents = [gr.Plot(show_label=False, elem_id=f"latents-{side}", min_width=320) for side in "ab"]
    with gr.Row():
        added = [gr.Plot(show_label=False, elem_id=f"contributions-{side}", min_width=320) for side in "ab"]
    told = panel(elem_id="contributions-told")
    differing = gr.Plot(show_label=False, elem_id="layers-difference", visible=False)
    panel(f"<h3 id='layers-sinks'>{texts.SINKS}</h3><p class='help'>{texts.SINKS_HELP}</p>")
    sinks_told = panel(elem_id="sinks-told")
    with gr.Row():
        norms = [gr.Plot(show_label=False, elem_id=f"norms-{side}", min_width=320) for side in "ab"]
    held = gr.Plot(show_label=False, elem_id="held")
    with gr.Accordion(texts.STEPS, open=False, elem_id="steps"):
        steps = panel()
    with gr.Accordion(f"{texts.MATRIX}; {texts.DRIFT.lower()}", open=False, elem_id="matrix"):
        with gr.Row():
            matrix, drift = gr.Plot(show_label=False, min_width=320), gr.Plot(show_label=False, min_width=320)
        matrix_told = panel()
    buttons = download_buttons.draw("layers", ("Figures (HTML)", "Numbers (JSON)", "Weights (CSV)"))
    shown = [said, *words, bars, *heads, *latents, *added, told, differing, steps, matrix, drift, matrix_told]
    shown += [sinks_told, *norms, held]
    return _Shown(shown, buttons), head, group


def variant_choices(services: Services, chosen: str | None, minus: str, active: list[str]) -> list[Any]:
    """Updates of both variants when the tab opens: those chosen before, else the first active one with layers."""
    names = readable(services)
    wanted = [name for name in names if name in active] or names
    return [
        gr.Dropdown(choices=named(names), value=chosen if chosen in names else next(iter(wanted), None)),
        gr.Dropdown(choices=[NO_VARIANT, *named(names)], value=minus if minus in names else NO_VARIANT),
    ]


def first_hit(services: Services, variant: str, corpus_name: str, query: str) -> list[Any]:
    """The query and the text of its best document with that variant, as texts A and B."""
    try:
        corpus = services.library.open(corpus_name)
        itself = services.comparer.itself(corpus, {query_id(corpus, query): query})
        hit = services.comparer.rank(variant, corpus, [query], 1, left_out=itself)[0]
        return [query, corpus.passages[corpus.position[hit[0].id]] if hit else ""]
    except InputError:
        return [query, gr.skip()]


# ------------------------------------------------------------------------------------------------------------ readings


def readings_of(services: Services, asked: AskedReading) -> tuple[list[Reading], Reading | None]:
    """Text A and B with the variant, and text A with the variant to subtract. Raises `InputError`."""
    if not asked.variant:
        raise InputError("there is no variant whose layers can be read; train one, or add a backbone in Variants")
    found = [services.lab.read(asked.variant, asked.text or "", asked.kind)]
    if (asked.other or "").strip():
        found.append(services.lab.read(asked.variant, asked.other, asked.other_kind))
    versus = None
    if asked.versus not in (NO_VARIANT, "", None):
        versus = services.lab.read(asked.versus, asked.text, asked.kind)
    return found, versus


def sinks_of(services: Services, asked: AskedReading) -> list[TextSinks]:
    """Norms and shares of the tokens of text A, and of text B if there is one. Raises `InputError`."""
    found = [services.lab.sinks(asked.variant, asked.text or "", asked.kind)]
    if (asked.other or "").strip():
        found.append(services.lab.sinks(asked.variant, asked.other, asked.other_kind))
    return found


def own_weights(reading: Reading) -> Weights:
    """Over what the pooler itself reads: layers, or tokens."""
    return reading.layers if reading.over == "layers" else reading.tokens


def of_head(weights: Weights, head: str) -> Weights:
    """The weights of one head ("head 3"), or all of them. Heads that are not there count as all."""
    number = head.removeprefix("head ")
    if not number.isdigit() or not 1 <= int(number) <= len(weights.values):
        return weights
    i = int(number) - 1
    return Weights(weights.values[i : i + 1], weights.learned, weights.sentence)


def chosen_group(weights: Weights, group: str) -> int | None:
    """The number in "group 2", if there is such a group."""
    number = group.removeprefix("group ").split(":")[0]
    return int(number) if number.isdigit() and 1 <= int(number) <= len(weights.groups.sizes) else None


def show_reading(services: Services, asked: AskedReading) -> list[Any]:
    """Updates of everything that shows a reading, and of the choices of head and group."""
    try:
        found, versus = readings_of(services, asked)
        return _shown(services, asked, found, versus)
    except InputError as error:
        return [problem(error), *[gr.skip()] * 21]


@dataclass(frozen=True)
class _Figures:
    """All figures of a reading; a list has one for text A and one for text B, or is empty."""

    bars: Any
    heads: list[Any]
    latents: list[Any]
    added: list[Any]
    norms: list[Any]
    held: Any
    differing: Any = None
    matrix: Any = None
    drift: Any = None

    @property
    def all(self) -> list[Any]:
        """Those that are there, in the order of the page."""
        found = [self.bars, *self.heads, *self.latents, *self.added, self.differing, *self.norms, self.held]
        found += [self.matrix, self.drift]
        return [figure for figure in found if figure is not None]


def _figures(
    services: Services,
    asked: AskedReading,
    found: list[Reading],
    versus: Reading | None,
    sunk: list[TextSinks],
) -> _Figures:
    from ..figures import sinks
    from ..figures.training import layer_drift

    name, settings, colour = label(asked.variant), asked.settings, style(asked.variant).colour
    first = found[0]
    weights = [of_head(r.layers, asked.head) for r in found]
    kinds = (asked.kind, asked.other_kind)
    means = {f"Text {n} ({k})": w.mean for n, k, w in zip("AB", kinds, weights, strict=False)}
    recorded = services.shelf.find(asked.variant).record.get("training", {}).get("layer_weights") or []
    drift = [{"step": r["step"], "layer_weights": r["weights"]} for r in recorded]
    matrix = first.matrix
    bounds = sinks.norm_range(sunk)
    return _Figures(
        figures.weight_bars(means, "Weight of each layer", settings, colour),
        _heads(asked, found),
        _latents(asked, weights) if first.layers.learned else [],
        [figures.contribution_bars(r, f"What arrives from text {n}", settings, colour)
         for n, r in zip("AB", found, strict=False) if r.contributions],
        [sinks.token_norms(one, f"Text {n}: length of every token’s state", name, bounds)
         for n, one in zip("AB", sunk, strict=False)],
        sinks.held_curves(sunk, "What one token holds of the mean", name, colour),
        _difference(asked, found, versus),
        figures.layer_matrix_heatmap(matrix, "Cosine between the rows of E", settings) if matrix else None,
        layer_drift(drift, name) if drift else None,
    )  # fmt: skip


def _shown(services: Services, asked: AskedReading, found: list[Reading], versus: Reading | None) -> list[Any]:
    first = found[0]
    sunk = sinks_of(services, asked)
    drawn = _figures(services, asked, found, versus, sunk)
    kinds = (asked.kind, asked.other_kind)
    words = [
        html_layers.words_on_text(r, f"Text {n} ({k})")
        + html_layers.spread(of_head(own_weights(r), asked.head), r.over)
        for n, k, r in zip("AB", kinds, found, strict=False)
    ]
    missing = "" if drawn.matrix else "Only a multi-layer pooler has a layer matrix. "
    missing += "" if drawn.drift else "No training run has recorded layer weights for this variant."
    own = own_weights(first)
    groups = len(of_head(first.layers, asked.head).groups.sizes) if first.layers.learned else 0
    return [
        note(first.layers.sentence),
        *[*words, ""][:2],
        drawn.bars,
        *_pair(drawn.heads),
        *_pair(drawn.latents),
        *_pair(drawn.added),
        f"<p class='help'>{texts.CONTRIBUTION}</p>{_of_matrix(found)}" if drawn.added else "",
        _plot(drawn.differing),
        html_layers.steps_table(first.steps),
        _plot(drawn.matrix),
        _plot(drawn.drift),
        note(missing.strip()),
        html_layers.sinks_told(sunk),
        *_pair(drawn.norms),
        drawn.held,
        gr.Dropdown(choices=[ALL_HEADS, *(f"head {h + 1}" for h in range(len(own.values) if own.learned else 0))]),
        gr.Dropdown(choices=[ALL_GROUPS, *(f"group {g + 1}" for g in range(groups))]),
    ]


def _of_matrix(found: list[Reading]) -> str:
    """What the layer matrix contributes to each text's vector, where there is one."""
    said = [(n, r.matrix.sentence) for n, r in zip("AB", found, strict=False) if r.matrix]
    return "".join(f"<p class='help'>Text {n}: {sentence}</p>" for n, sentence in said)


def _heads(asked: AskedReading, found: list[Reading]) -> list[Any]:
    """Heads over what the pooler reads, of A and B on one scale."""
    if found[0].over == "tokens":
        return [figures.tokens_heatmap(r, f"Text {n}: weight of each word", asked.settings)
                for n, r in zip("AB", found, strict=False)]  # fmt: skip
    top = max(float(np.max(r.layers.heads)) for r in found)
    return [figures.heads_heatmap(r.layers, f"Text {n}: heads × layers", asked.settings, top)
            for n, r in zip("AB", found, strict=False)]  # fmt: skip


def _latents(asked: AskedReading, weights: list[Weights]) -> list[Any]:
    """Latents over layers, of A and B on one scale."""
    top = max(float(w.latents.max()) for w in weights)
    return [figures.latents_heatmap(w, f"Text {n}: latents × layers, grouped by what they read", asked.settings, top,
                                    chosen_group(w, asked.group))
            for n, w in zip("AB", weights, strict=False)]  # fmt: skip


def _difference(asked: AskedReading, found: list[Reading], versus: Reading | None) -> Any:
    """Variant minus variant on text A, else A minus B; None where there is nothing to subtract."""
    if versus is not None:
        d = difference(found[0].layers, versus.layers)
        title = f"{label(asked.variant)} minus {label(asked.versus)}, text A"
    elif len(found) == 2 and found[0].layers.learned:
        d, title = difference(found[0].layers, found[1].layers), "Text A minus text B"
    else:
        return None
    return figures.difference_heatmap(d.mean, d.heads, title, asked.settings)


def _plot(figure: Any) -> Any:
    """The update of a plot; one that is not there is hidden, so that no plot stands empty."""
    return gr.Plot(visible=False) if figure is None else gr.Plot(value=figure, visible=True)


def _pair(drawn: list[Any]) -> list[Any]:
    return [_plot(figure) for figure in [*drawn, None, None][:2]]


# ----------------------------------------------------------------------------------------------------------- downloads


def weights_csv(readings: list[Reading]) -> str:
    """One row a text, head, latent and layer or token: all weights there are."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["variant", "text", "over", "head", "latent", "place", "name", "weight"])
    for name, reading in zip("AB", readings, strict=False):
        weights = own_weights(reading)
        places = range(1, weights.values.shape[-1] + 1)
        shown = [f"layer {p}" for p in places] if reading.over == "layers" else list(reading.spelling.tokens)
        for h, latents in enumerate(weights.values.tolist(), start=1):
            for z, row in enumerate(latents, start=1):
                for p, s, w in zip(places, shown, row, strict=True):
                    table.writerow([reading.variant, name, reading.over, h, z, p, s, f"{w:.8f}"])
    return out.getvalue()


def _wire_downloads(services: Services, buttons: download_buttons.Downloads, asked: list[Any]) -> None:
    def as_html(*values: Any) -> str:
        wanted = AskedReading(*values)
        shown = _figures(services, wanted, *readings_of(services, wanted), sinks_of(services, wanted)).all
        options = {"toImageButtonOptions": {"format": "svg"}, "displaylogo": False}
        body = "".join(p.to_html(full_html=False, include_plotlyjs=i == 0, config=options) for i, p in enumerate(shown))
        head = f"<!doctype html><meta charset='utf-8'><title>Layers</title><p>{NOT_EXPLANATION}</p>"
        return download_buttons.file("layers.html", head + body)

    def as_json(*values: Any) -> str:
        wanted = AskedReading(*values)
        found, versus = readings_of(services, wanted)
        result = {"settings": wanted.__dict__, "readings": [r.to_json() for r in found]}
        result["sinks"] = [one.to_json() for one in sinks_of(services, wanted)]
        if versus is not None:
            result["versus"] = versus.to_json()
        return download_buttons.file("layers.json", json.dumps(result, ensure_ascii=False, indent=1))

    def as_csv(*values: Any) -> str:
        return download_buttons.file("weights.csv", weights_csv(readings_of(services, AskedReading(*values))[0]))

    download_buttons.wire(buttons, (as_html, as_json, as_csv), asked)
