"""The Map tab: how does the space look? Its controls and their wiring; map_show.py decides what is shown, map.js draws."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..projection.command import figure_html, positions_csv, shade
from ..projection.lab import Space
from . import download_buttons, html_map, texts_map
from .html import note
from .map_show import COLOUR_NAMES, FIELD, AskedMap, Visit, pair_of, show_in_turn, show_selection
from .map_turns import Turns, Update
from .map_view import JS, TABLE_JS, Drawings
from .parts import HIDDEN, panel
from .services import Services
from .sidebar import Sidebar

METHODS = [("UMAP", "umap"), ("PCA", "pca")]
ONLY_IF_SHOWN = """(...values) => {
  values[values.length - 1] = !!(document.querySelector('#map-view') || {}).offsetParent;
  return values;
}"""
"""A choice in the sidebar redraws the maps only where they are seen; opening the tab draws what changed meanwhile."""


@dataclass
class Map:
    """What the doors to other tabs need."""

    tables: list[gr.HTML]
    redraw: dict[str, Any]
    """Arguments of an event that draws anew where the maps are seen: the page's address was read, say."""


def build_map(services: Services, sidebar: Sidebar, query: gr.Textbox, k: gr.Slider, opened: Any) -> Map:
    """Draw the tab and wire it. `query` and `k` are those of Compare; `opened` the event of opening the tab."""
    drawings, turns = Drawings(services.maps), Turns()
    panel(f"<h2>{texts_map.MAP}</h2><p class='help'>{texts_map.MAP_HELP}</p>")
    method, colour, a, b, count, seed, clusters = _controls()
    with gr.Row(equal_height=True):
        go = gr.Button("Draw", variant="primary", scale=0, min_width=110, elem_id="map-draw")
        stop = gr.Button("Stop", scale=0, min_width=70, elem_id="map-stop")
        status = panel(elem_id="map-status", scale=1)
    # No props of its own: gradio loses them with the first update that skips this component.
    view = panel(elem_id="map-view", html_template=html_map.FRAME, js_on_load=JS, server_functions=drawings.functions)
    told = panel(elem_id="map-told")
    numbers = panel(elem_id="map-numbers", min_height=120)
    buttons = download_buttons.draw("map", ("Positions (CSV)", "Figure (HTML)"))
    panel(f"<h3>{texts_map.SELECTION}</h3><p class='help'>{texts_map.SELECTION_HELP}</p>")
    selected = panel(note(texts_map.NO_SELECTION), elem_id="map-selected", js_on_load=TABLE_JS, min_height=120)
    panel(f"<h3>{texts_map.MOVED}</h3><p class='help'>{texts_map.MOVED_HELP}</p>")
    moved = panel(elem_id="map-moved", js_on_load=TABLE_JS, min_height=120)
    shown = gr.Checkbox(value=True, visible=False)

    asked = [sidebar.variants, sidebar.corpus, method, colour, a, b, count, seed, clusters, query, k, shown]
    outputs = [status, view, told, numbers, moved, colour, a, b, sidebar.machine]

    async def run(request: gr.Request, *values: Any) -> AsyncIterator[Update]:
        visit = Visit(services, drawings, turns, str(request.session_hash))
        async for update in show_in_turn(visit, AskedMap(*values)):
            yield update

    def halt(request: gr.Request) -> None:
        turns.stop(str(request.session_hash))

    def choose(variants: list[str], first: str | None, second: str | None, event: gr.EventData) -> str:
        return show_selection(drawings, first, second, event._data)

    # Those that wait cost little, and a later request of a visitor overtakes the earlier one.
    drawing: dict[str, Any] = {
        "fn": run, "inputs": asked, "outputs": outputs, "concurrency_limit": 100, "trigger_mode": "multiple", **HIDDEN,
    }  # fmt: skip
    triggers = [
        opened, go.click, method.input, colour.input, a.input, b.input, count.release, seed.submit, clusters.release,
    ]  # fmt: skip
    gr.on(triggers, **drawing)
    if_shown = drawing | {"js": ONLY_IF_SHOWN}
    gr.on([sidebar.variants.input, sidebar.corpus.input], **if_shown)
    for done in sidebar.corpus_set:
        done.then(**if_shown)
    stop.click(halt, queue=False, **HIDDEN)
    view.select(choose, [sidebar.variants, a, b], selected, concurrency_limit=4, **HIDDEN)
    _wire_downloads(services, buttons, asked)
    return Map([selected, moved], if_shown)


def _controls() -> tuple[Any, ...]:
    with gr.Row(equal_height=True):
        method = gr.Radio(METHODS, value="umap", label="Method", info=texts_map.METHOD_INFO, elem_id="map-method")
        colour = gr.Dropdown(
            [(shown, name) for name, shown in COLOUR_NAMES.items()], value="label", label="Colour by", elem_id="map-colour",
            info=texts_map.COLOUR_INFO,
        )  # fmt: skip
        a = gr.Dropdown([], label="Variant A", elem_id="map-a", info=texts_map.PAIR_INFO)
        b = gr.Dropdown([], label="Variant B", elem_id="map-b", info=texts_map.PAIR_INFO)
    with gr.Accordion("Options", open=False, elem_id="map-options"), gr.Row():
        count = gr.Slider(
            2, 100, value=15, step=1, label="Neighbours (k)", info=texts_map.NEIGHBOURS_INFO, elem_id="map-k"
        )
        clusters = gr.Slider(
            2, 20, value=12, step=1, label="Clusters", info=texts_map.CLUSTERS_INFO, elem_id="map-clusters"
        )
        seed = gr.Number(0, precision=0, minimum=0, label="Seed", info=texts_map.SEED_INFO, elem_id="map-seed")
    return method, colour, a, b, count, seed, clusters


def _wire_downloads(services: Services, buttons: download_buttons.Downloads, inputs: list[Any]) -> None:
    def space(asked: AskedMap) -> Space:
        return services.maps.draw(services.library.open(asked.corpus), asked.variants or [], asked.settings)

    def as_csv(*values: Any) -> str:
        return download_buttons.file("map.csv", positions_csv(space(AskedMap(*values))))

    def as_figure(*values: Any) -> str:
        asked = AskedMap(*values)
        drawn = space(asked)
        pair = pair_of(drawn.names, asked.a, asked.b)
        by = shade(services.maps, drawn, asked.colour.removeprefix(FIELD), pair, int(asked.clusters))
        return download_buttons.file("map.html", figure_html(services.maps, drawn, by, asked.query))

    download_buttons.wire(buttons, (as_csv, as_figure), inputs)
