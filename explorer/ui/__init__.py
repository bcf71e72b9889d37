"""The page. `build_app(services)` draws it; one file a tab; texts, style sheet and scripts apart."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import InputError
from ..lessons.course import LESSONS
from ..lessons.lesson import CORPUS
from ..study.report import CSS as REPORT_CSS
from . import texts, texts_evaluate
from .api import build_api
from .closed import closed_note
from .compare import KEEP_ADDRESS, SHOW_QUERY, Compare, build_compare, example_updates
from .evaluate import Evaluate, build_evaluate
from .finetune import build_finetune
from .layers import Layers, build_layers
from .learn import Learn, build_learn, look_at, opened_by_link
from .map import build_map, open_doors
from .parts import HIDDEN, toast
from .services import DEFAULT_CORPUS, Services, readable
from .sidebar import Sidebar, build_sidebar
from .study import build_study
from .variants import build_variants, cards

SHEETS = [Path(__file__).parent / f"{name}.css" for name in ("page", "map", "evaluate", "study", "learn")]
CSS = "".join([*(sheet.read_text(encoding="utf-8") for sheet in SHEETS), REPORT_CSS])
SYSTEM_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO_FONTS = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


CLOSE_SIDEBAR_ON_PHONES = """() => {
  const button = document.querySelector('#sidebar .toggle-button, .sidebar .toggle-button');
  if (window.innerWidth < 768 && button) button.click();
}"""


def theme() -> gr.themes.Base:
    """Calm, one accent, system fonts: no font is fetched from anywhere."""
    return gr.themes.Soft(
        primary_hue=gr.themes.Color(*ACCENT, name="accent"), neutral_hue="gray", font=SYSTEM_FONTS, font_mono=MONO_FONTS,
        radius_size="md", spacing_size="md",
    ).set(
        body_background_fill="white", block_border_width="1px", block_shadow="none", button_secondary_shadow="none",
        checkbox_label_background_fill="transparent", checkbox_label_background_fill_selected="transparent",
        checkbox_label_background_fill_selected_dark="transparent", checkbox_label_background_fill_dark="transparent",
        checkbox_label_text_color_selected="*body_text_color", checkbox_label_text_color_selected_dark="*body_text_color",
        checkbox_label_shadow="none", checkbox_label_border_width="0px", checkbox_label_padding="4px 8px",
        block_label_background_fill="transparent", block_title_background_fill="transparent",
        checkbox_border_color="#7d8592", checkbox_border_color_dark="#7d8592",
        body_text_color_subdued="#5a6270", body_text_color_subdued_dark="#a9b1bf",
        block_title_text_color="*body_text_color_subdued", block_title_text_weight="600",
    )  # fmt: skip


ACCENT = (
    "#eef6fb", "#d8eaf6", "#b4d7ee", "#7fbbe0", "#3f99ce", "#0072b2", "#00639b", "#005382", "#00446a", "#003555", "#002a44",
)  # fmt: skip


def build_app(services: Services) -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(
        title=texts.TITLE, analytics_enabled=False, fill_width=True, delete_cache=services.policy.files_kept
    ) as app:
        build_api(services)  # first: gradio gives a name that is taken a number
        remembered = gr.BrowserState({}, storage_key="pooling-explorer", secret="settings-only")
        sidebar = build_sidebar(services)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Compare", id="compare") as compare_tab:
                compare = build_compare(services, sidebar)
            with gr.Tab("Layers", id="layers") as layers_tab:
                layers = build_layers(services, sidebar, compare.query, layers_tab.select)
            with gr.Tab("Map", id="map") as map_tab:
                maps = build_map(services, sidebar, compare.query, compare.k, map_tab.select)
            with gr.Tab("Fine-tune", id="finetune") as finetune_tab:
                following = None
                if services.policy.allows("train"):
                    following = build_finetune(services, sidebar, compare.query, finetune_tab.select)
                else:
                    closed_note(services.policy, "train", texts.FINETUNE)
            with gr.Tab("Evaluate", id="evaluate") as evaluate_tab:
                evaluate = None
                if services.policy.allows("evaluate"):
                    evaluate = build_evaluate(services, sidebar, evaluate_tab.select)
                else:
                    closed_note(services.policy, "evaluate", texts_evaluate.EVALUATE)
            with gr.Tab("Study", id="study") as study_tab:
                studying = build_study(services, sidebar, study_tab.select)
            with gr.Tab("Variants", id="variants") as variants_tab:
                shelf = build_variants(services, sidebar)
            with gr.Tab("Learn", id="learn") as learn_tab:
                learn = build_learn(services)
        variants_tab.select(lambda: cards(services), None, shelf, **HIDDEN)
        timers = {finetune_tab: following, evaluate_tab: evaluate and evaluate.timer, study_tab: studying}
        for tab in (compare_tab, layers_tab, map_tab, finetune_tab, evaluate_tab, study_tab, variants_tab, learn_tab):
            hidden = [timer for of, timer in timers.items() if of is not tab and timer is not None]
            if not hidden:
                continue
            tab.select(partial(_stopped, len(hidden)), None, hidden, **HIDDEN)
        _open_layers_from_hits(services, sidebar, compare, layers, tabs)
        if evaluate is not None:
            _open_compare_from_worst(services, sidebar, compare, evaluate, tabs)
        _open_tabs_from_lesson(services, sidebar, compare, layers, learn, tabs)
        open_doors(services, sidebar, compare, layers, tabs, maps)
        restored = [sidebar.variants, sidebar.corpus, compare.k, compare.query]

        def restore(remembered: dict[str, Any] | None, request: gr.Request) -> list[Any]:
            return starting_values(services, remembered or {}, dict(request.query_params))

        def examples(corpus: str) -> list[Any]:
            return example_updates(services, corpus)[:-1]

        def restore_lesson(request: gr.Request) -> list[Any]:
            return opened_by_link(request.query_params.get("lesson"))

        app.load(fn=None, js=CLOSE_SIDEBAR_ON_PHONES)
        app.load(restore_lesson, None, [tabs, learn.chosen, *learn.shown], **HIDDEN)
        loading = app.load(restore, remembered, restored, **HIDDEN)
        loading.then(sidebar.describe, sidebar.corpus, sidebar.corpus_note, **HIDDEN)
        loading.then(examples, sidebar.corpus, compare.examples, **HIDDEN)
        loading.then(**maps.redraw)
        many = compare.many
        loading.then(**compare.search).then(many.refresh, many.inputs, many.outputs, concurrency_limit=4, **HIDDEN)
        gr.on(
            [sidebar.variants.input, sidebar.corpus.input, compare.k.release],
            lambda variants, corpus, k: {"variants": variants, "corpus": corpus, "k": k},
            [sidebar.variants, sidebar.corpus, compare.k], remembered, **HIDDEN,
        )  # fmt: skip

        def left(request: gr.Request) -> None:
            services.left(str(request.session_hash))

        app.unload(left)
    return app.queue(max_size=services.policy.waiting, default_concurrency_limit=8)


def _stopped(count: int) -> Any:
    """The timers of tabs that are not shown ask nothing."""
    stopped = [gr.Timer(active=False) for _ in range(count)]
    return stopped if count > 1 else stopped[0]


def _open_tabs_from_lesson(
    services: Services, sidebar: Sidebar, compare: Compare, layers: Layers, learn: Learn, tabs: gr.Tabs
) -> None:
    """A lesson sets up the sidebar, Compare and Layers, and opens the one in which it is to be looked at."""

    def set_up(id: str) -> list[Any]:
        one, document = look_at(services, id)
        reads = one.setup.reads or gr.skip()
        corpus = gr.Dropdown(choices=services.library.names, value=CORPUS)
        tab = gr.Tabs(selected=one.setup.tab)
        return [tab, list(one.setup.variants), corpus, one.setup.query, reads, one.setup.query, document]

    outputs = [tabs, sidebar.variants, sidebar.corpus, compare.query, layers.variant, layers.text, layers.other]
    ready = learn.look.click(set_up, learn.chosen, outputs, **HIDDEN)
    ready.success(sidebar.describe, sidebar.corpus, sidebar.corpus_note, **HIDDEN)
    ready.success(lambda: example_updates(services, CORPUS)[:-1], None, compare.examples, **HIDDEN)
    searched = ready.success(**compare.search)
    searched.then(fn=None, inputs=[compare.query, sidebar.variants, sidebar.corpus, compare.k], js=KEEP_ADDRESS)
    searched.then(**layers.read)
    searched.then(compare.many.refresh, compare.many.inputs, compare.many.outputs, concurrency_limit=4, **HIDDEN)


SHOW_WHY = "() => setTimeout(() => document.getElementById('why-document').scrollIntoView({ block: 'center' }), 400)"


def _open_layers_from_hits(
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


def _open_compare_from_worst(
    services: Services, sidebar: Sidebar, compare: Compare, evaluate: Evaluate, tabs: gr.Tabs
) -> None:
    """A query among the worst of an evaluation opens Compare with it, on its documents and the evaluated variants."""

    def opened(chosen: str | None, task: str | None, event: gr.EventData) -> list[Any]:
        found = evaluate.asked_query(chosen, task, event._data)
        corpus = gr.Dropdown(choices=services.library.names, value=found.corpus)
        return [gr.Tabs(selected="compare"), found.variants, corpus, found.query, gr.Timer(active=False)]

    def examples(corpus: str) -> list[Any]:
        return example_updates(services, corpus)[:-1]

    many = compare.many
    filled = evaluate.worst.click(
        opened, evaluate.inputs, [tabs, sidebar.variants, sidebar.corpus, compare.query, evaluate.timer],
        api_visibility="private", concurrency_limit=2,
    )  # fmt: skip
    filled.success(fn=None, js=SHOW_QUERY)
    filled.success(sidebar.describe, sidebar.corpus, sidebar.corpus_note, **HIDDEN)
    filled.success(examples, sidebar.corpus, compare.examples, **HIDDEN)
    searched = filled.success(**compare.search)
    searched.then(fn=None, inputs=[compare.query, sidebar.variants, sidebar.corpus, compare.k], js=KEEP_ADDRESS)
    searched.then(many.refresh, many.inputs, many.outputs, concurrency_limit=4, **HIDDEN)


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
    chosen = gr.Dropdown(choices=readable(services), value=variant)  # it may be new on the shelf
    return [gr.Tabs(selected="layers"), chosen, query, text, document]


def starting_values(services: Services, remembered: dict[str, Any], address: dict[str, str]) -> list[Any]:
    """Variants, corpus, k and query to start with: the address wins, then what was remembered, then
    defaults. What is not valid (any more) is left out."""
    taken = next((one.setup for one in LESSONS if one.id == address.get("lesson")), None)
    if taken:  # a link to a lesson looks the same for everybody
        address = {"variants": ",".join(taken.variants), "corpus": CORPUS, "query": taken.query, **address}
    wanted = address.get("variants", "").split(",") if address.get("variants") else remembered.get("variants") or []
    known = {v.name for v in services.shelf.variants}
    variants = [name for name in wanted if name in known][: services.most_active] or services.default_variants()
    corpus = address.get("corpus") or remembered.get("corpus")
    corpus = corpus if corpus in services.library.names else DEFAULT_CORPUS
    number = str(address.get("k") or remembered.get("k") or 10)
    k = min(services.policy.limits.k, max(1, int(number))) if number.isdigit() else 10
    query = address.get("query") or (texts.EXAMPLES[corpus][0] if corpus in texts.EXAMPLES else None)
    return [
        gr.CheckboxGroup(value=variants),
        gr.Dropdown(choices=services.library.names, value=corpus),
        k,
        query[: services.policy.limits.text or 2000] if query else gr.skip(),
    ]
