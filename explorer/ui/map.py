"""The Map tab: how does the space look? Up to four variants side by side; map.js draws, map_view.py answers it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import numpy as np

from ..corpora import Corpus
from ..errors import Cancelled, InputError
from ..layers.lab import StageProgress
from ..projection import neighbours, shading
from ..projection.command import COLOURS, figure_html, positions_csv, shade
from ..projection.lab import MapSettings, Space, Star
from ..projection.quality import Quality
from ..projection.shading import Shading
from ..store import Cancel
from ..styles import label
from . import download_buttons, html_map, texts_map
from .html import esc, note, problem
from .map_view import JS, TABLE_JS, Drawings, checked_rows, message, neighbours_of, plotly_script, shade_key
from .parts import HIDDEN, panel, toast
from .services import Services, readable
from .sidebar import Sidebar

METHODS = [("UMAP", "umap"), ("PCA", "pca")]
COLOUR_NAMES = {
    "label": "labels", "cluster": "clusters", "change": "neighbourhood change A → B", "trust": "trustworthiness here",
}  # fmt: skip
FIELD = "field: "
MOVED_SHOWN = 30
ONLY_IF_SHOWN = """(...values) => {
  values[values.length - 1] = !!(document.querySelector('#map-view') || {}).offsetParent;
  return values;
}"""
"""A choice in the sidebar redraws the maps only where they are seen; opening the tab draws what changed meanwhile."""


@dataclass(frozen=True)
class AskedMap:
    """What the page asks for, in the order of the inputs."""

    variants: list[str]
    corpus: str
    method: Any
    colour: str
    a: str | None
    b: str | None
    neighbours: int
    seed: float | None
    clusters: int
    query: str
    k: int
    shown: bool = True

    @property
    def settings(self) -> MapSettings:
        """Checked. Raises `InputError`."""
        if self.seed is None or self.seed != int(self.seed):
            raise InputError("the seed must be a whole number")
        return MapSettings(self.method, int(self.neighbours), int(self.seed))


@dataclass
class Map:
    """What the doors to other tabs need."""

    tables: list[gr.HTML]
    redraw: dict[str, Any]
    """Arguments of an event that draws anew where the maps are seen: the page's address was read, say."""


def build_map(services: Services, sidebar: Sidebar, query: gr.Textbox, k: gr.Slider, opened: Any) -> Map:
    """Draw the tab and wire it. `query` and `k` are those of Compare; `opened` the event of opening the tab."""
    drawings = Drawings(services.maps)
    script = plotly_script()
    gr.set_static_paths([script])
    panel(f"<h2>{texts_map.MAP}</h2><p class='help'>{texts_map.MAP_HELP}</p>")
    method, colour, a, b, count, seed, clusters = _controls()
    with gr.Row(equal_height=True):
        go = gr.Button("Draw", variant="primary", scale=0, min_width=110, elem_id="map-draw")
        stop = gr.Button("Stop", scale=0, min_width=70, elem_id="map-stop")
        status = panel(elem_id="map-status", min_height=44, scale=1)
    view = panel(
        elem_id="map-view", html_template=html_map.FRAME, js_on_load=JS, plotly=f"gradio_api/file={script.as_posix()}",
        server_functions=drawings.functions,
    )  # fmt: skip
    told = panel(elem_id="map-told", min_height=60)
    numbers = panel(elem_id="map-numbers", min_height=120)
    buttons = download_buttons.draw("map", ("Positions (CSV)", "Figure (HTML)"))
    panel(f"<h3>{texts_map.SELECTION}</h3><p class='help'>{texts_map.SELECTION_HELP}</p>")
    selected = panel(note(texts_map.NO_SELECTION), elem_id="map-selected", js_on_load=TABLE_JS, min_height=120)
    panel(f"<h3>{texts_map.MOVED}</h3><p class='help'>{texts_map.MOVED_HELP}</p>")
    moved = panel(elem_id="map-moved", js_on_load=TABLE_JS, min_height=120)
    shown = gr.Checkbox(value=True, visible=False)

    asked = [sidebar.variants, sidebar.corpus, method, colour, a, b, count, seed, clusters, query, k, shown]
    outputs = [status, view, told, numbers, moved, colour, a, b, sidebar.machine]

    def run(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        yield from show_map(services, drawings, AskedMap(*values), session(request))

    def halt(request: gr.Request) -> None:
        services.stop(session(request))

    def choose(variants: list[str], first: str | None, second: str | None, event: gr.EventData) -> str:
        return show_selection(drawings, first, second, event._data)

    drawing: dict[str, Any] = {
        "fn": run, "inputs": asked, "outputs": outputs, "concurrency_limit": 4, "trigger_mode": "always_last", **HIDDEN,
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


def session(request: gr.Request) -> str:
    """The key of a visitor's work in this tab."""
    return f"{request.session_hash}-map"


# ------------------------------------------------------------------------------------------------------------- drawing


@dataclass(frozen=True)
class _Drawn:
    """What is there so far; the page shows the rest when it comes."""

    space: Space
    shading: Shading
    stars: dict[str, Star] | None = None
    qualities: dict[str, Quality] | None = None
    changes: np.ndarray | None = None


def show_map(services: Services, drawings: Drawings, asked: AskedMap, session: str) -> Iterator[list[Any]]:
    """Updates of (status, maps, notes, numbers, what moved, colour, A, B, machine): PCA first, then UMAP, then the numbers."""
    from .sidebar import machine_line

    nothing, first = [gr.skip()] * 9, True
    if not asked.shown:
        yield nothing
        return
    try:
        if not services.library.is_open(asked.corpus):
            yield [note("Reading the documents …", "busy"), *nothing[1:]]
        corpus = services.library.open(asked.corpus)
        settings = asked.settings
        names, _ = services.maps.names(asked.variants or [])
        pair = pair_of(names, asked.a, asked.b)
        fields = list(shading.numeric_fields(corpus))
        colour = asked.colour if asked.colour in (*COLOURS, *(FIELD + f for f in fields)) else "label"
        if colour == "change" and pair is None:
            colour = "label"
        choices = [*_choices(colour, fields, names, pair), machine_line(services)]
        for message_, drawn in _stages(services, corpus, names, settings, colour, pair, asked, session):
            if drawn is None:
                yield [note(message_, "busy"), *nothing[1:]]
                continue
            value = _drawn_message(drawings, drawn)
            done = drawn.qualities is not None
            yield [
                note("" if done else message_, "busy"),
                value,
                _told(drawn, asked.query if drawn.stars else ""),
                html_map.numbers(drawn.qualities, drawn.space) if drawn.qualities else html_map.measuring(),
                _moved(drawn, pair) if done else gr.skip(),
                *(choices if first else nothing[5:]),
            ]
            first = False
    except (InputError, Cancelled) as error:
        yield [problem(error), *nothing[1:3], gr.skip() if first else note(texts_map.NOT_MEASURED), *nothing[4:]]


def pair_of(names: list[str], a: str | None, b: str | None) -> tuple[str, str] | None:
    """Variants A and B: those chosen where they are on the maps, else the first two; None where there is one map."""
    if len(names) < 2:
        return None
    first = a if a in names else names[0]
    second = b if b in names and b != first else next(name for name in names if name != first)
    return first, second


def _choices(colour: str, fields: list[str], names: list[str], pair: tuple[str, str] | None) -> list[Any]:
    """Updates of what can be coloured by, and of variants A and B."""
    kinds = [(shown, name) for name, shown in COLOUR_NAMES.items() if name != "change" or pair]
    kinds += [(f"number: {field}", FIELD + field) for field in fields]
    variants = [(label(name), name) for name in names]
    a, b = pair or (names[0], None)
    return [
        gr.Dropdown(choices=kinds, value=colour),
        gr.Dropdown(choices=variants, value=a),
        gr.Dropdown(choices=variants, value=b, interactive=pair is not None),
    ]


def _stages(
    services: Services, corpus: Corpus, names: list[str], settings: MapSettings, colour: str,
    pair: tuple[str, str] | None, asked: AskedMap, session: str,
) -> Iterator[tuple[str, _Drawn | None]]:  # fmt: skip
    """Sentences on the progress with None, and what is drawn, ever more of it."""
    lab = services.maps

    def shaded(space: Space) -> Shading:
        by = colour.removeprefix(FIELD) if colour.startswith(FIELD) else colour
        return shade(lab, space, by, pair, int(asked.clusters))

    def drawing(method: Any) -> Any:
        def work(progress: StageProgress, cancel: Cancel) -> _Drawn:
            space = lab.draw(corpus, asked.variants, replace(settings, method=method), progress, cancel)
            # Before there are neighbours, only labels and numbers cost nothing.
            quick = colour not in ("change", "trust") or (method == settings.method and colour == "change")
            stars = lab.stars(space, asked.query, int(asked.k)) if (asked.query or "").strip() else None
            return _Drawn(space, shaded(space) if quick else shading.by_label(corpus), stars)

        return work

    drawn = None
    methods = ["umap"] if lab.is_ready(corpus, names, settings) else ["pca", "umap"]
    for method in methods if settings.method == "umap" else ["pca"]:
        for message_, found in services.watch(session, drawing(method)):
            drawn = found or drawn
            busy = "UMAP follows …" if method != settings.method else "Measuring …"
            yield message_ if found is None else busy, found
    assert drawn is not None
    last = drawn

    def measuring(progress: StageProgress, cancel: Cancel) -> _Drawn:
        qualities = lab.measure(last.space, progress, cancel)
        changes = lab.change(corpus, *pair, settings.neighbours, progress, cancel) if pair else None
        return replace(last, qualities=qualities, changes=changes, shading=shaded(last.space))

    for message_, found in services.watch(session, measuring):
        yield message_, found


def _drawn_message(drawings: Drawings, drawn: _Drawn) -> str:
    drawings.keep(drawn.space.key, drawn.space)
    key = drawings.keep(shade_key(drawn.shading), drawn.shading)
    return message(drawn.space, key, drawn.qualities, drawn.stars)


def _told(drawn: _Drawn, query: str) -> str:
    """What a reader must know of the picture."""
    star = f"“{query[:120]}”: {texts_map.STAR}" if query else ""
    if star and drawn.space.drawn == "umap":
        star += f" {texts_map.STAR_UMAP}"
    return "".join(note(text) for text in drawn.space.notes) + (f"<p class='help'>★ {esc(star)}</p>" if star else "")


def _moved(drawn: _Drawn, pair: tuple[str, str] | None) -> str:
    if pair is None or drawn.changes is None:
        return note(texts_map.ONE_VARIANT)
    rows = neighbours.most_changed(drawn.changes, MOVED_SHOWN).tolist()
    return html_map.moved(drawn.space.corpus, *pair, drawn.changes, rows, drawn.space.settings.neighbours)


# ----------------------------------------------------------------------------------------------------------- selecting


def show_selection(drawings: Drawings, a: str | None, b: str | None, data: Any) -> str:
    """The table of what was selected; of a single document, its text and its neighbours by each variant."""
    try:
        space = drawings.space(data.get("key"))
        if not data.get("rows"):
            return note(texts_map.NO_SELECTION)
        rows = checked_rows(space, data.get("rows"))
        if len(rows) == 1:
            return html_map.chosen(space.corpus, rows[0], neighbours_of(drawings.lab, space, rows[0]))
        pair = pair_of(space.names, a, b)
        changes = None
        if pair is not None:
            changes = drawings.lab.change(space.corpus, *pair, space.settings.neighbours)
        total, why = data.get("total"), data.get("why")
        total = total if isinstance(total, int) and total >= len(rows) else len(rows)
        return html_map.selection(space.corpus, rows, total, why[:240] if isinstance(why, str) else "", changes)
    except (InputError, Cancelled) as error:
        return problem(error)


# --------------------------------------------------------------------------------------------------------------- doors


def asked_door(services: Services, corpus_name: str, variants: list[str], data: Any) -> tuple[str, str, str]:
    """(tab, text, variant whose layers to read) for a document that is to be opened. What the page sent is checked."""
    document, door = data.get("document"), data.get("door")
    try:
        if door not in ("compare", "layers") or not isinstance(document, str):
            raise InputError("that click named no document to open")
        corpus = services.library.open(corpus_name)
        text = corpus.document(document).passage[:2000]
    except InputError as error:
        raise toast(error) from error
    names = readable(services)
    return door, text, next((name for name in names if name in (variants or [])), next(iter(names), ""))


def open_doors(services: Services, sidebar: Sidebar, compare: Any, layers: Any, tabs: gr.Tabs, drawn: Map) -> None:
    """A document of the maps opens Compare, which searches with its text, or Layers, which reads it."""

    def opened(corpus: str, variants: list[str], event: gr.EventData) -> list[Any]:
        door, text, variant = asked_door(services, corpus, variants, event._data)
        if door == "compare":
            return [gr.Tabs(selected="compare"), text, gr.skip(), gr.skip(), "compare"]
        chosen = gr.Dropdown(choices=readable(services), value=variant)  # it may be new on the shelf
        return [gr.Tabs(selected="layers"), gr.skip(), chosen, text, "layers"]

    where = gr.State("")
    outputs = [tabs, compare.query, layers.variant, layers.text, where]
    for table in drawn.tables:
        filled = table.select(opened, [sidebar.corpus, sidebar.variants], outputs, **HIDDEN)
        filled.success(**_only("compare", where, compare.search)).then(**_only("layers", where, layers.read))


def _only(door: str, where: gr.State, event: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an event, which does nothing unless that door was taken."""
    inner, outputs = event["fn"], event["outputs"]
    skipped = [gr.skip()] * len(outputs)
    if door == "compare":  # a generator that takes the request first

        def search(request: gr.Request, taken: str, *values: Any) -> Iterator[Any]:
            if taken == door:
                yield from inner(request, *values)
            else:
                yield tuple(skipped)

        return event | {"fn": search, "inputs": [where, *event["inputs"]]}

    def read(taken: str, *values: Any) -> Any:
        return inner(*values) if taken == door else skipped

    return event | {"fn": read, "inputs": [where, *event["inputs"]]}


# ----------------------------------------------------------------------------------------------------------- downloads


def _wire_downloads(services: Services, buttons: download_buttons.Downloads, inputs: list[Any]) -> None:
    def space(asked: AskedMap) -> Space:
        return services.maps.draw(services.library.open(asked.corpus), asked.variants or [], asked.settings)

    def as_csv(*values: Any) -> str:
        return download_buttons.file("map.csv", positions_csv(space(AskedMap(*values))))

    def as_figure(*values: Any) -> str:
        asked = AskedMap(*values)
        drawn = space(asked)
        by = shade(services.maps, drawn, asked.colour.removeprefix(FIELD), pair_of(drawn.names, asked.a, asked.b), int(asked.clusters))  # fmt: skip
        return download_buttons.file("map.html", figure_html(services.maps, drawn, by, asked.query))

    download_buttons.wire(buttons, (as_csv, as_figure), inputs)
